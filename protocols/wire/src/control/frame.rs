//! The frame of control messages: `version kind protobuf crc32`, the same in all versions.

use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_CONTROL_BYTES, MAX_CONTROL_TEXT_BYTES};
use bytes::Bytes;
use prost::Message;

const VERSION: u8 = 1;

/// What a control message is; numbers on the wire, never reassigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 1,
    Ack = 2,
    HelloAnswer = 3,
}

pub(super) const fn check_text(what: &'static str, text: &str) -> Result<(), EncodeError> {
    if text.len() > MAX_CONTROL_TEXT_BYTES {
        return Err(EncodeError::TooLarge {
            what,
            found: text.len(),
            allowed: MAX_CONTROL_TEXT_BYTES,
        });
    }
    Ok(())
}

pub(super) fn seal(kind: Kind, message: &impl Message) -> Result<Bytes, EncodeError> {
    let length = 2 + message.encoded_len() + 4;
    if length > MAX_CONTROL_BYTES {
        return Err(EncodeError::TooLarge {
            what: "control message in bytes",
            found: length,
            allowed: MAX_CONTROL_BYTES,
        });
    }
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&[VERSION, kind as u8]);
    message.encode_raw(&mut out);
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out.into())
}

pub(super) fn open(payload: &[u8]) -> Result<(Kind, &[u8]), DecodeError> {
    if payload.len() > MAX_CONTROL_BYTES {
        return Err(DecodeError::TooLarge {
            what: "control message in bytes",
            found: payload.len(),
            allowed: MAX_CONTROL_BYTES,
        });
    }
    let (content, crc) = payload
        .split_last_chunk::<4>()
        .ok_or(DecodeError::Truncated("control message"))?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Err(DecodeError::Checksum("control message"));
    }
    let ([version, kind], body) = content
        .split_first_chunk::<2>()
        .ok_or(DecodeError::Truncated("control message"))?;
    match *version {
        VERSION => {}
        0 => return Err(DecodeError::Malformed("control version 0 does not exist")),
        newer => return Err(DecodeError::UnknownVersion(newer.into())),
    }
    let kind = [Kind::Hello, Kind::Ack, Kind::HelloAnswer]
        .into_iter()
        .find(|known| *known as u8 == *kind)
        .ok_or(DecodeError::Malformed("unknown kind of control message"))?;
    Ok((kind, body))
}

pub(super) fn message<M: Message + Default>(body: &[u8]) -> Result<M, DecodeError> {
    M::decode(body).map_err(|_| DecodeError::Malformed("a control message is not valid protobuf"))
}
