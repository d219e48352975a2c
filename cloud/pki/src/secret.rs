//! Random secrets for machines and for the first person who logs in.

use crate::error::PkiError;
use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom as _, SystemRandom};

/// A password of 200 random bits in letters and digits: safe in configuration files and easy to copy.
///
/// # Errors
/// [`PkiError::Random`].
pub fn password() -> Result<String, PkiError> {
    let bytes: [u8; 25] = random()?;
    Ok(BASE32_NOPAD.encode(&bytes).to_lowercase())
}

/// Random bytes from the system.
///
/// # Errors
/// [`PkiError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PkiError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_passwords_differ_and_need_no_quoting() {
        let (a, b) = (super::password().unwrap(), super::password().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), 40);
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
