//! Pseudonyms: names that stay the same within a period, and tell nothing without the key.

use data_encoding::BASE32_NOPAD;
use protocols_model::Timestamp;
use ring::hkdf;
use ring::hmac;
use std::fmt;
use std::time::Duration;

/// Bytes of a key: as many as HMAC-SHA-256 makes use of.
pub const KEY_BYTES: usize = 32;
/// Bytes of a pseudonym before it becomes text: a collision among a million is less likely than one in
/// ten million.
const PSEUDONYM_BYTES: usize = 10;

/// A secret key. It never prints.
#[derive(Clone)]
pub struct PseudonymKey {
    key: hkdf::Prk,
    /// Names change with every period; never without one.
    rotate: Option<Duration>,
    /// Keys of one group of points do not tell of another.
    group: String,
    /// The period whose key is at hand.
    current: Option<(i64, hmac::Key)>,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too short.
    #[error("the key has {0} bytes; {KEY_BYTES} random ones are needed")]
    Length(usize),
    /// Too short a period.
    #[error("names that change more often than once an hour tell nothing")]
    Period,
}

impl PseudonymKey {
    /// A key from secret bytes, for one group of points.
    ///
    /// # Errors
    /// Wrong length or period.
    pub fn new(secret: &[u8], group: &str, rotate: Option<Duration>) -> Result<Self, KeyError> {
        if secret.len() != KEY_BYTES {
            return Err(KeyError::Length(secret.len()));
        }
        if rotate.is_some_and(|period| period < Duration::from_hours(1)) {
            return Err(KeyError::Period);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fogline pseudonyms");
        Ok(Self {
            key: salt.extract(secret),
            rotate,
            group: group.to_owned(),
            current: None,
        })
    }

    /// The pseudonym of `name` at this time.
    pub fn pseudonym(&mut self, at: Timestamp, name: &[u8]) -> String {
        let period = self.period(at);
        let key = match &self.current {
            Some((current, key)) if *current == period => key,
            _ => {
                let key = self.derive(period);
                &self.current.insert((period, key)).1
            }
        };
        let tag = hmac::sign(key, name);
        let short = tag.as_ref().get(..PSEUDONYM_BYTES).unwrap_or_default();
        BASE32_NOPAD.encode(short).to_ascii_lowercase()
    }

    fn period(&self, at: Timestamp) -> i64 {
        self.rotate.map_or(0, |period| {
            let period = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
            at.0.div_euclid(period)
        })
    }

    fn derive(&self, period: i64) -> hmac::Key {
        let parts = [self.group.as_bytes(), b"\0", &period.to_be_bytes()];
        let okm = self
            .key
            .expand(&parts, hmac::HMAC_SHA256)
            .expect("invariant: one block is within what HKDF gives");
        okm.into()
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudonymKey")
            .field("group", &self.group)
            .field("rotate", &self.rotate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn key(secret: u8, group: &str, rotate: Option<Duration>) -> PseudonymKey {
        PseudonymKey::new(&[secret; KEY_BYTES], group, rotate).unwrap()
    }

    fn at(day: u64) -> Timestamp {
        Timestamp(0).plus(DAY * u32::try_from(day).unwrap())
    }

    #[test]
    fn a_name_stays_within_its_period_and_changes_with_period_group_and_key() {
        let mut k = key(1, "badges", Some(DAY));
        let first = k.pseudonym(at(3), b"ada");
        assert_eq!(first.len(), 16);
        assert_eq!(k.pseudonym(at(3).plus(DAY / 2), b"ada"), first);
        assert_ne!(k.pseudonym(at(3), b"adb"), first);
        assert_ne!(k.pseudonym(at(4), b"ada"), first);
        assert_eq!(
            k.pseudonym(at(3), b"ada"),
            first,
            "also after another period"
        );
        assert_ne!(key(1, "cards", Some(DAY)).pseudonym(at(3), b"ada"), first);
        assert_ne!(key(2, "badges", Some(DAY)).pseudonym(at(3), b"ada"), first);
        let mut forever = key(1, "badges", None);
        assert_eq!(
            forever.pseudonym(at(3), b"ada"),
            forever.pseudonym(at(999), b"ada")
        );
    }

    #[test]
    fn a_weak_key_is_refused_and_a_key_never_prints() {
        assert_eq!(
            PseudonymKey::new(b"short", "", None).unwrap_err(),
            KeyError::Length(5)
        );
        let fast = PseudonymKey::new(&[1; 32], "", Some(Duration::from_secs(1)));
        assert_eq!(fast.unwrap_err(), KeyError::Period);
        let shown = format!("{:?}", key(0x5a, "g", None));
        assert!(
            !shown.contains("90") && !shown.to_lowercase().contains("5a5a"),
            "{shown}"
        );
    }
}
