//! Users of the API and their sessions. Passwords and tokens arrive hashed; nothing here can log in.

use protocols_model::Timestamp;
use std::time::Duration;

/// SHA-256 of a session token.
pub type TokenHash = [u8; 32];

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name, unique.
    pub name: String,
    /// argon2id hash in PHC format.
    pub password_hash: String,
    /// When it was made.
    pub created: Timestamp,
    /// When the password was last set.
    pub password_set: Timestamp,
    /// A one-time password: the first login with it must set a new one.
    pub one_time: bool,
}

/// A login session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's token.
    pub token: TokenHash,
    /// Whose it is.
    pub user: String,
    /// When it began.
    pub created: Timestamp,
    /// Last use; moved at most once a minute.
    pub last_seen: Timestamp,
    /// Ends after this long without use.
    pub idle: Duration,
    /// Ends then in any case.
    pub expires: Timestamp,
    /// Proof against cross-site requests, for the API crate's use.
    pub csrf: String,
}

/// Failed logins of one key (a user name or an address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoginFailures {
    /// How many since the last success or the last quiet hour.
    pub count: u32,
    /// The last one.
    pub last: Timestamp,
}
