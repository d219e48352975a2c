//! Envelopes: what one publish carries.
//!
//! ```text
//! "FG" version flags | n record headers {epoch lane seq length crc(body)} each + crc(header) |
//! m dictionary lengths | zstd(bodies … dictionaries …)
//! ```

use crate::dictionary::Dictionary;
use crate::error::{DecodeError, EncodeError, EnvelopeError};
use bytes::Bytes;
use protocols_model::RecordKey;

/// A decoded envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The records, in the order they were put in.
    pub records: Vec<EnvelopeRecord>,
    /// Dictionaries attached for a cloud that may lack them.
    pub dictionaries: Vec<Dictionary>,
}

/// One record of an envelope: named in any case, readable unless damaged.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeRecord {
    /// Its identity within the gateway.
    pub key: RecordKey,
    /// The body, checksum verified; or what is wrong with it.
    pub body: Result<Bytes, DecodeError>,
}

/// Packs records and attached dictionaries for one publish. All records are of one lane.
///
/// # Errors
/// [`EncodeError::TooLarge`] where a limit would be broken.
pub fn encode_envelope(
    _records: &[(RecordKey, Bytes)],
    _dictionaries: &[Bytes],
) -> Result<Bytes, EncodeError> {
    todo!()
}

/// Unpacks a publish.
///
/// # Errors
/// [`EnvelopeError`] where the whole cannot be used, with the records that could be named.
pub fn decode_envelope(_payload: &[u8]) -> Result<Envelope, EnvelopeError> {
    todo!()
}
