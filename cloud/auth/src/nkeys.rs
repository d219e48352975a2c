//! NATS keys: Ed25519 keys in NATS' own text form, just what an auth callout needs.
//!
//! Text form: base32 without padding over `prefix byte | 32 bytes | CRC-16/XMODEM, little endian`;
//! a seed has two prefix bytes that also name the kind of key. The first letter of the text then
//! tells the kind: `A`ccount, `U`ser, server (`N`ode), `S`eed.
//!
//! Guarantee: a text that was read has the right length, prefix and checksum.

use data_encoding::BASE32_NOPAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

const SEED: u8 = 18 << 3;
const ACCOUNT: u8 = 0;
const SERVER: u8 = 13 << 3;
const USER: u8 = 20 << 3;

/// Why a text is not the key it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base32, wrong length or wrong checksum.
    #[error("the key is not a NATS key: it is cut, mistyped or something else")]
    Malformed,
    /// A key of another kind.
    #[error("the key is of another kind than {0}")]
    Kind(&'static str),
}

/// Kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `A…`: signs user claims.
    Account,
    /// `N…`: a server.
    Server,
    /// `U…`: a connection.
    User,
}

impl KeyKind {
    const fn prefix(self) -> u8 {
        match self {
            Self::Account => ACCOUNT,
            Self::Server => SERVER,
            Self::User => USER,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Account => "an account key",
            Self::Server => "a server key",
            Self::User => "a user key",
        }
    }
}

/// An account's key pair: what signs the callout's answers.
pub struct AccountKey {
    pair: Ed25519KeyPair,
    public: String,
}

impl AccountKey {
    /// Reads a seed (`SA…`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_seed(text: &str) -> Result<Self, KeyError> {
        let raw = unwrap(text, 34)?;
        let (prefix, seed) = raw.split_at_checked(2).ok_or(KeyError::Malformed)?;
        if prefix != [SEED | (ACCOUNT >> 5), (ACCOUNT & 31) << 3] {
            return Err(KeyError::Kind("an account seed"));
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Malformed)?;
        let public = encode(ACCOUNT, pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    /// The seed's text for 32 random bytes.
    #[must_use]
    pub fn seed_text(random: &[u8; 32]) -> String {
        let mut raw = vec![SEED | (ACCOUNT >> 5), (ACCOUNT & 31) << 3];
        raw.extend_from_slice(random);
        wrap(raw)
    }

    /// The public key (`A…`), as the broker's configuration names the issuer.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The seed stays out of logs.
        f.debug_tuple("AccountKey").field(&self.public).finish()
    }
}

/// Reads a public key of one kind.
///
/// # Errors
/// [`KeyError`].
pub fn decode_public(text: &str, kind: KeyKind) -> Result<[u8; 32], KeyError> {
    let raw = unwrap(text, 33)?;
    let (&prefix, key) = raw.split_first().ok_or(KeyError::Malformed)?;
    if prefix != kind.prefix() {
        return Err(KeyError::Kind(kind.name()));
    }
    key.try_into().map_err(|_| KeyError::Malformed)
}

/// Whether `signature` over `message` is by the holder of the public key.
#[must_use]
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

fn encode(prefix: u8, key: &[u8]) -> String {
    let mut raw = vec![prefix];
    raw.extend_from_slice(key);
    wrap(raw)
}

fn wrap(mut raw: Vec<u8>) -> String {
    let checksum = crc16(&raw);
    raw.extend_from_slice(&checksum.to_le_bytes());
    BASE32_NOPAD.encode(&raw)
}

fn unwrap(text: &str, length: usize) -> Result<Vec<u8>, KeyError> {
    let mut raw = BASE32_NOPAD
        .decode(text.trim().as_bytes())
        .map_err(|_| KeyError::Malformed)?;
    let (body, checksum) = raw.split_at_checked(length).ok_or(KeyError::Malformed)?;
    if checksum != crc16(body).to_le_bytes() {
        return Err(KeyError::Malformed);
    }
    raw.truncate(length);
    Ok(raw)
}

/// CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_seed_gives_an_account_key_whose_signature_verifies() {
        let text = AccountKey::seed_text(&[7; 32]);
        assert!(text.starts_with("SA"), "{text}");
        let key = AccountKey::from_seed(&text).unwrap();
        assert!(key.public().starts_with('A'));
        let public = decode_public(key.public(), KeyKind::Account).unwrap();
        let signature = key.sign(b"hello");
        assert!(verify(&public, b"hello", &signature));
        assert!(!verify(&public, b"hullo", &signature));
        assert!(!format!("{key:?}").contains(&text));
    }

    #[test]
    fn a_key_of_another_kind_a_cut_one_and_a_mistyped_one_are_refused() {
        let key = AccountKey::from_seed(&AccountKey::seed_text(&[7; 32])).unwrap();
        let public = key.public().to_owned();
        assert_eq!(
            decode_public(&public, KeyKind::User),
            Err(KeyError::Kind("a user key"))
        );
        assert_eq!(
            decode_public(
                public.trim_end_matches(char::is_alphanumeric),
                KeyKind::Account
            ),
            Err(KeyError::Malformed)
        );
        let mut typo = public.into_bytes();
        typo[20] = if typo[20] == b'A' { b'B' } else { b'A' };
        let typo = String::from_utf8(typo).unwrap();
        assert_eq!(
            decode_public(&typo, KeyKind::Account),
            Err(KeyError::Malformed)
        );
        assert!(matches!(
            AccountKey::from_seed("nonsense"),
            Err(KeyError::Malformed)
        ));
    }
}
