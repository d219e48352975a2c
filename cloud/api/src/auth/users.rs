//! Users and logins: the first user, one-time passwords, logging in, setting a password.
//!
//! There is no default password. The first user gets a random one-time password, shown once to
//! whoever starts the server. It logs in exactly once: its hash is replaced by one that nothing
//! matches before the session begins, so a copy of it in a log opens nothing afterwards.

use crate::app::AppState;
use crate::auth::gate::Who;
use crate::auth::lockout::{self, Keys};
use crate::auth::password::{self, PasswordError};
use crate::auth::token::SessionToken;
use crate::problem::Problem;
use axum::http::StatusCode;
use cloud_store::{Accounts, Session, StoreError, User};
use protocols_model::Timestamp;
use std::net::IpAddr;

/// Name of the first user.
pub const FIRST_USER: &str = "admin";
/// Longest login name, bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;
/// A PHC string that no password matches: what a spent one-time password leaves behind.
const SPENT: &str = "spent";

/// A login that works once.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimePassword {
    /// Login name.
    pub name: String,
    /// The password; show it once, keep it nowhere.
    pub password: String,
}

impl std::fmt::Debug for OneTimePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneTimePassword")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a one-time password could not be given.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The database failed.
    #[error("giving out a one-time password failed")]
    Store(#[from] StoreError),
    /// Hashing failed.
    #[error("making a one-time password failed")]
    Password(#[from] PasswordError),
}

/// Makes the first user, [`FIRST_USER`], with a one-time password, unless there are users already.
///
/// # Errors
/// [`BootstrapError`].
pub async fn first_user(
    store: &(impl Accounts + ?Sized),
    now: Timestamp,
) -> Result<Option<OneTimePassword>, BootstrapError> {
    if !store.users().await?.is_empty() {
        return Ok(None);
    }
    let password = password::one_time()?;
    let password_hash = password::hash(password.clone()).await?;
    let user = User {
        name: FIRST_USER.to_owned(),
        password_hash,
        created: now,
        password_set: now,
        one_time: true,
    };
    match store.add_user(user).await {
        Ok(()) => Ok(Some(OneTimePassword {
            name: FIRST_USER.to_owned(),
            password,
        })),
        // Another replica was faster: it shows its password, not we.
        Err(StoreError::Exists { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives an existing user a fresh one-time password and ends all of their sessions: for people who
/// lost theirs and for demonstrations.
///
/// # Errors
/// [`BootstrapError::Store`] with [`StoreError::NotFound`] for an unknown user.
pub async fn reset_password(
    store: &(impl Accounts + ?Sized),
    name: &str,
    now: Timestamp,
) -> Result<OneTimePassword, BootstrapError> {
    let password = password::one_time()?;
    let hash = password::hash(password.clone()).await?;
    store.set_password(name, &hash, true, now, None).await?;
    Ok(OneTimePassword {
        name: name.to_owned(),
        password,
    })
}

fn locked(wait: std::time::Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let seconds = u32::try_from(seconds.max(1)).unwrap_or(u32::MAX);
    let mut problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "locked-out",
        "too many failed logins",
    );
    problem.retry_after_s = Some(seconds);
    problem.detail(format!("try again in {seconds} s"))
}

fn store_failed(error: &StoreError) -> Problem {
    Problem::internal("checking the password", error)
}

/// Counts the attempt and checks the password behind the lockout.
async fn check_password(
    state: &AppState,
    name: &str,
    password: &str,
    from: IpAddr,
) -> Result<User, Problem> {
    let keys = Keys::new(name, from);
    let now = state.clock.wall();
    let seen = state
        .store
        .login_failures(&keys.name, now)
        .await
        .map_err(|e| store_failed(&e))?;
    let address = state
        .store
        .login_failures(&keys.address, now)
        .await
        .map_err(|e| store_failed(&e))?;
    let wait = lockout::wait_for(seen, address, now);
    if !wait.is_zero() {
        return Err(locked(wait));
    }
    // Counted before it is checked: parallel guesses gain nothing.
    let counted = state
        .store
        .login_failed(&keys.name, now)
        .await
        .map_err(|e| store_failed(&e))?;
    if lockout::raced(seen, counted) {
        return Err(locked(lockout::wait_for(counted, address, now)));
    }
    let user = state.store.user(name).await.map_err(|e| store_failed(&e))?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let good = password::matches(password.to_owned(), hash).await;
    match user {
        Some(user) if good => {
            state
                .store
                .login_succeeded(&keys.name)
                .await
                .map_err(|e| store_failed(&e))?;
            Ok(user)
        }
        _ => {
            state
                .store
                .login_failed(&keys.address, now)
                .await
                .map_err(|e| store_failed(&e))?;
            // The name is told too: a wrong one is how guessing shows in the log.
            tracing::warn!(name, %from, failures = counted.count, "login failed");
            let mut problem = Problem::new(
                StatusCode::UNAUTHORIZED,
                "wrong-login",
                "name or password is wrong",
            );
            problem.field = Some("password".into());
            Err(problem)
        }
    }
}

/// Logs in; gives the session's token to put into the cookie.
pub(crate) async fn log_in(
    state: &AppState,
    name: &str,
    password: &str,
    from: IpAddr,
) -> Result<(SessionToken, Who), Problem> {
    let mut user = check_password(state, name, password, from).await?;
    let now = state.clock.wall();
    if user.one_time {
        // One at a time, and the hash must still be the one that was checked: exactly one wins.
        let _turn = state.one_time_turn.lock().await;
        let again = state.store.user(name).await.map_err(|e| store_failed(&e))?;
        if again.is_none_or(|again| again.password_hash != user.password_hash) {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "wrong-login",
                "this one-time password was used already",
            ));
        }
        state
            .store
            .set_password(name, SPENT, true, now, None)
            .await
            .map_err(|e| store_failed(&e))?;
        user.password_hash = SPENT.to_owned();
    }
    let token = SessionToken::generate().ok_or_else(|| Problem::busy("no random numbers", 1))?;
    let session = Session {
        token: token.hash(),
        user: user.name.clone(),
        created: now,
        last_seen: now,
        idle: state.sessions.idle,
        expires: now.plus(state.sessions.absolute),
        csrf: token.csrf(),
    };
    state
        .store
        .add_session(session.clone())
        .await
        .map_err(|error| Problem::internal("beginning the session", &error))?;
    tracing::info!(name, %from, one_time = user.one_time, "logged in");
    Ok((token, Who { user, session }))
}

/// Sets a new password; every other session of the user ends.
///
/// `current` is asked of everybody but a session that began with a one-time password, which is spent.
pub(crate) async fn set_password(
    state: &AppState,
    who: &Who,
    current: Option<&str>,
    new: &str,
    from: IpAddr,
) -> Result<(), Problem> {
    if !who.user.one_time {
        let current = current.ok_or_else(|| Problem::field("current", "is missing"))?;
        check_password(state, &who.user.name, current, from)
            .await
            .map_err(|mut problem| {
                if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
                    // 401 would tell the page that the session is over.
                    problem = Problem::field("current", "is not the current password");
                }
                problem
            })?;
    }
    password::check_choice(&who.user.name, new)
        .map_err(|error| Problem::field("new", error.to_string()))?;
    let hash = password::hash(new.to_owned())
        .await
        .map_err(|error| Problem::internal("hashing the password", &error))?;
    state
        .store
        .set_password(
            &who.user.name,
            &hash,
            false,
            state.clock.wall(),
            Some(who.session.token),
        )
        .await
        .map_err(|error| Problem::internal("setting the password", &error))
}
