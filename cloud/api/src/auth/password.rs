//! Passwords: argon2id hashing and checking, the rules for new ones, and one-time passwords.
//!
//! Hashing runs on blocking threads behind a small semaphore: a flood of logins costs at most
//! [`PARALLEL_HASHES`] × 19 MiB and never starves the server. An unknown user costs the same time
//! as a known one. Nothing here keeps or logs a password.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// Hashes computed at once: two cores' worth, 38 MiB at most.
const PARALLEL_HASHES: usize = 2;
/// 19 MiB, two passes, one lane: the floor for argon2id that OWASP names.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Shortest password a user may choose, in characters.
pub(crate) const MIN_PASSWORD_CHARS: usize = 12;
/// Longest password read at all, in bytes.
pub(crate) const MAX_PASSWORD_BYTES: usize = 256;

static HASHING: Semaphore = Semaphore::const_new(PARALLEL_HASHES);

/// What an unknown name's password is compared with, so that its answer takes as long.
static NOBODY: LazyLock<Option<String>> =
    LazyLock::new(|| hash_now("nobody has this password").ok());

/// Why a password could not be hashed or made.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The user's choice breaks a rule.
    #[error("the password {0}")]
    Rule(&'static str),
    /// The machine gave no random numbers or no memory.
    #[error("hashing a password failed: {0}")]
    Machine(String),
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Machine(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_now(password: &str) -> Result<String, PasswordError> {
    hasher()?
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Machine(error.to_string()))
}

fn matches_now(password: &str, hash: &str) -> bool {
    let (Ok(hasher), Ok(hash)) = (hasher(), PasswordHash::new(hash)) else {
        return false;
    };
    hasher.verify_password(password.as_bytes(), &hash).is_ok()
}

/// Hashes `password` as a PHC string, off the async threads.
///
/// # Errors
/// [`PasswordError::Machine`] when the machine has no random numbers or memory.
pub(crate) async fn hash(password: String) -> Result<String, PasswordError> {
    let _permit = HASHING
        .acquire()
        .await
        .map_err(|error| PasswordError::Machine(error.to_string()))?;
    tokio::task::spawn_blocking(move || hash_now(&password))
        .await
        .map_err(|error| PasswordError::Machine(error.to_string()))?
}

/// Whether `password` is the one behind `hash`; without a hash (no such user) it takes as long and
/// is always false.
pub(crate) async fn matches(password: String, hash: Option<String>) -> bool {
    let Ok(_permit) = HASHING.acquire().await else {
        return false;
    };
    tokio::task::spawn_blocking(move || match hash.as_ref() {
        Some(hash) => matches_now(&password, hash),
        None => {
            if let Some(nobody) = NOBODY.as_ref() {
                matches_now(&password, nobody);
            }
            false
        }
    })
    .await
    .unwrap_or(false)
}

/// Checks a password that a user chose.
///
/// # Errors
/// [`PasswordError::Rule`] names the rule it breaks.
pub(crate) fn check_choice(name: &str, password: &str) -> Result<(), PasswordError> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(PasswordError::Rule("is shorter than 12 characters"));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::Rule("is longer than 256 bytes"));
    }
    if password.eq_ignore_ascii_case(name) {
        return Err(PasswordError::Rule("is the user's name"));
    }
    let mut seen: Vec<char> = password.chars().collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < 4 {
        return Err(PasswordError::Rule(
            "uses fewer than 4 different characters",
        ));
    }
    Ok(())
}

/// A random one-time password, 100 bits, in groups that people can type: `xxxxx-xxxxx-xxxxx-xxxxx`.
///
/// # Errors
/// [`PasswordError::Machine`] when the machine has no random numbers.
pub(crate) fn one_time() -> Result<String, PasswordError> {
    // 32 signs without the look-alikes 0 o 1 l: five bits each, no bias.
    const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 20];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_unspecified| PasswordError::Machine("no random numbers".to_owned()))?;
    let signs: Vec<char> = random
        .iter()
        .filter_map(|byte| SIGNS.get(usize::from(byte & 31)).copied())
        .map(char::from)
        .collect();
    let groups: Vec<String> = signs
        .chunks(5)
        .map(|group| group.iter().collect())
        .collect();
    Ok(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches_and_the_hash_is_argon2id_at_the_floor() {
        let hash = hash("correct horse battery".to_owned()).await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert!(matches("correct horse battery".to_owned(), Some(hash.clone())).await);
        assert!(!matches("correct horse batterz".to_owned(), Some(hash)).await);
        assert!(!matches("nobody has this password".to_owned(), None).await);
        assert!(!matches("x".to_owned(), Some("no hash".to_owned())).await);
    }

    #[test]
    fn weak_choices_are_refused_with_the_rule() {
        for bad in [
            "short",
            "aaaaaaaaaaaaaa",
            "administrator",
            &"x1y2".repeat(65),
        ] {
            assert!(check_choice("administrator", bad).is_err(), "{bad}");
        }
        assert!(check_choice("admin", "a sentence to remember").is_ok());
    }

    #[test]
    fn one_time_passwords_differ_and_are_typed_in_groups() {
        let (a, b) = (one_time().unwrap(), one_time().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 23);
        assert_eq!(a.split('-').count(), 4);
        assert!(check_choice("admin", &a).is_ok());
    }
}
