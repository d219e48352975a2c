//! What can be wrong with bytes: to encode, to decode, to name.

use protocols_model::RecordKey;

/// Why something cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A limit of [`crate::limits`] would be broken.
    #[error("{what} is {found}, at most {allowed} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The limit.
        allowed: usize,
    },
    /// The parts contradict each other.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Why bytes are not what they claim to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// A limit of [`crate::limits`] is broken.
    #[error("{what} is {found}, at most {allowed} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The limit.
        allowed: usize,
    },
    /// A checksum does not match.
    #[error("checksum of {0} does not match")]
    Checksum(&'static str),
    /// The content breaks a rule of the format.
    #[error("{0}")]
    Malformed(&'static str),
    /// A newer version of the format, or a body kind that this version does not know.
    #[error("format version {0} is newer than this program knows")]
    UnknownVersion(u32),
}

/// Why an envelope as a whole cannot be used; the records whose headers could be read are named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct EnvelopeError {
    /// What is wrong.
    pub why: DecodeError,
    /// The records that the readable headers name; each can be refused or retried by name.
    pub named: Vec<RecordKey>,
}
