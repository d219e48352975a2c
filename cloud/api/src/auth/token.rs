//! Session tokens: what the browser holds, what the database holds, and the CSRF token between.
//!
//! The cookie carries 256 random bits; the database knows only their SHA-256, so a stolen copy of
//! it opens nothing. The CSRF token is an HMAC under the session token: no page of another site can
//! know it, and it needs no more secrets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloud_store::TokenHash;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// Name of the session cookie. `__Host-` makes browsers insist on Secure, `Path=/` and no Domain.
pub(crate) const COOKIE: &str = "__Host-fogline";
/// Header that must carry the CSRF token on every changing request.
pub(crate) const CSRF_HEADER: &str = "x-fogline-csrf";

const TOKEN_BYTES: usize = 32;

/// A session's secret, as the cookie carries it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionToken([u8; TOKEN_BYTES]);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

impl SessionToken {
    /// A fresh token; `None` when the machine has no random numbers.
    #[must_use]
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The token in a `Cookie` header's value, if there is one.
    #[must_use]
    pub(crate) fn from_cookies(header: &str) -> Option<Self> {
        let text = header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == COOKIE).then_some(value))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// What the database stores and looks up.
    #[must_use]
    pub(crate) fn hash(&self) -> TokenHash {
        let mut hash = TokenHash::default();
        // SHA-256 always has the length of a token hash.
        for (to, from) in hash
            .iter_mut()
            .zip(digest::digest(&digest::SHA256, &self.0).as_ref())
        {
            *to = *from;
        }
        hash
    }

    fn csrf_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    /// The CSRF token of this session.
    #[must_use]
    pub(crate) fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.csrf_key(), b"fogline csrf").as_ref())
    }

    /// Whether `given` is this session's CSRF token; takes the same time for every answer.
    #[must_use]
    pub(crate) fn csrf_matches(&self, given: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(given)
            .is_ok_and(|tag| hmac::verify(&self.csrf_key(), b"fogline csrf", &tag).is_ok())
    }

    /// The `Set-Cookie` value that gives this token to the browser until `max_age_s` from now.
    #[must_use]
    pub(crate) fn set_cookie(&self, max_age_s: u64) -> String {
        let value = URL_SAFE_NO_PAD.encode(self.0);
        format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={max_age_s}")
    }

    /// The `Set-Cookie` value that takes the cookie away.
    #[must_use]
    pub(crate) fn clear_cookie() -> String {
        format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_cookie_among_others() {
        let token = SessionToken::generate().unwrap();
        let set = token.set_cookie(60);
        let pair = set.split(';').next().unwrap();
        let back = SessionToken::from_cookies(&format!("theme=dark; {pair}; x=y")).unwrap();
        assert_eq!(back, token);
        assert_eq!(back.hash(), token.hash());
        for part in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "__Host-"] {
            assert!(set.contains(part), "{set}");
        }
    }

    #[test]
    fn a_damaged_cookie_is_no_token() {
        for header in [
            "",
            "__Host-fogline=",
            "__Host-fogline=abc",
            "other=1",
            "__Host-fogline",
        ] {
            assert!(SessionToken::from_cookies(header).is_none(), "{header}");
        }
    }

    #[test]
    fn the_csrf_token_of_one_session_is_refused_by_another() {
        let (a, b) = (
            SessionToken::generate().unwrap(),
            SessionToken::generate().unwrap(),
        );
        assert!(a.csrf_matches(&a.csrf()));
        assert!(!b.csrf_matches(&a.csrf()));
        assert!(!a.csrf_matches(""));
    }
}
