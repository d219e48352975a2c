//! One frame of a recording: `kind (1) · length (4, little-endian) · CRC-32 of the body (4) · body`.

use bytes::Bytes;

/// Largest body: a record or a dictionary of the wire format.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 9;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An encoded dictionary; stands before the first record that uses it, in each segment.
    Dictionary,
    /// An encoded record of telemetry.
    Record,
    /// So many readings are missing here: the recorder could not keep up. Eight bytes, little-endian.
    Missed,
    /// The recording ends here as it was meant to; travels, and is not kept.
    End,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Dictionary => 1,
            Self::Record => 2,
            Self::Missed => 3,
            Self::End => 4,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Dictionary),
            2 => Some(Self::Record),
            3 => Some(Self::Missed),
            4 => Some(Self::End),
            _ => None,
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What its body is.
    pub kind: Kind,
    /// The body.
    pub body: Bytes,
}

impl Frame {
    /// Says that so many readings are missing.
    #[must_use]
    pub fn missed(readings: u64) -> Self {
        Self {
            kind: Kind::Missed,
            body: Bytes::copy_from_slice(&readings.to_le_bytes()),
        }
    }

    /// The end.
    #[must_use]
    pub const fn end() -> Self {
        Self {
            kind: Kind::End,
            body: Bytes::new(),
        }
    }

    /// Readings that it says are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let bytes = <[u8; 8]>::try_from(self.body.as_ref());
        match (self.kind, bytes) {
            (Kind::Missed, Ok(bytes)) => u64::from_le_bytes(bytes),
            _ => 0,
        }
    }

    /// How many bytes the frame has that begins here; `None` while its header is not whole.
    #[must_use]
    pub fn length(begin: &[u8]) -> Option<usize> {
        let [_, l0, l1, l2, l3, ..] = begin.first_chunk::<HEADER_BYTES>()?;
        let body = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
        HEADER_BYTES.checked_add(body)
    }

    /// Its bytes; `None` for a body that is too large, which the wire's limits rule out.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let len = u32::try_from(self.body.len()).ok()?;
        if self.body.len() > MAX_BODY_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.push(self.kind.code());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&self.body).to_le_bytes());
        bytes.extend_from_slice(&self.body);
        Some(bytes)
    }

    /// The first frame of `bytes` and what follows it; `None` where it is torn or damaged.
    #[must_use]
    pub fn split(bytes: &Bytes) -> Option<(Self, Bytes)> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let kind = Kind::of(kind)?;
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let end = HEADER_BYTES.checked_add(len)?;
        if len > MAX_BODY_BYTES || bytes.len() < end {
            return None;
        }
        let body = bytes.slice(HEADER_BYTES..end);
        if crc32fast::hash(&body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return None;
        }
        Some((Self { kind, body }, bytes.slice(end..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_comes_back_and_a_damaged_one_does_not(
            body in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let frame = Frame { kind: Kind::Record, body: body.into() };
            let bytes = frame.encode().unwrap();
            let (back, rest) = Frame::split(&Bytes::from(bytes.clone())).unwrap();
            prop_assert_eq!(&back, &frame);
            prop_assert!(rest.is_empty());
            prop_assert_eq!(Frame::length(&bytes), Some(bytes.len()));
            let mut broken = bytes;
            let at = at.index(broken.len());
            broken[at] ^= 1 << bit;
            if let Some((other, _)) = Frame::split(&Bytes::from(broken)) {
                // The kind has no checksum: all it can become is another kind.
                prop_assert_eq!(other.body, frame.body);
            }
        }

        #[test]
        fn any_bytes_are_a_frame_or_none(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let all = Bytes::from(bytes);
            if let Some((frame, rest)) = Frame::split(&all) {
                prop_assert_eq!(9 + frame.body.len() + rest.len(), all.len());
            }
        }
    }
}
