//! Single bits, lowest bit of a byte first.

use crate::error::DecodeError;

/// Collects bits.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    pub(crate) fn push(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.used;
        }
        self.used = (self.used + 1) % 8;
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads bits; the padding of the last byte must be zero.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    place: usize,
    what: &'static str,
}

impl<'a> BitReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            bytes,
            place: 0,
            what,
        }
    }

    pub(crate) fn bit(&mut self) -> Result<bool, DecodeError> {
        let byte = self
            .bytes
            .get(self.place / 8)
            .ok_or(DecodeError::Truncated(self.what))?;
        let bit = byte >> (self.place % 8) & 1 == 1;
        self.place += 1;
        Ok(bit)
    }

    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        let whole = self.bytes.len() == self.place.div_ceil(8);
        while !self.place.is_multiple_of(8) {
            if self.bit()? {
                return Err(DecodeError::Malformed("padding bits are not zero"));
            }
        }
        if whole {
            Ok(())
        } else {
            Err(DecodeError::Malformed("bytes are left over at the end"))
        }
    }
}
