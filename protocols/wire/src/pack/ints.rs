//! A stream of unsigned integers, most of them small, laid out for an entropy coder behind it.
//!
//! ```text
//! 2-bit length codes, 4 a byte | 4-bit extra lengths, 2 a byte | lowest bytes | second bytes | … | eighth bytes
//! ```
//! Code 0 is the number zero, 1 and 2 a number of so many bytes, 3 a number of 3 + extra length
//! bytes. Bytes of one weight stand together, so that zstd sees the repetitive high ones apart from
//! the noisy low ones, and equal devices side by side become matches.

use super::varint::low_byte;
use crate::error::DecodeError;

const WEIGHTS: usize = 8;

/// Collects integers.
#[derive(Debug, Default)]
pub(crate) struct IntWriter {
    count: usize,
    codes: Vec<u8>,
    longs: usize,
    extra: Vec<u8>,
    planes: [Vec<u8>; WEIGHTS],
}

/// Bytes that `value` needs: 0 to 8.
pub(crate) const fn byte_length(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).div_ceil(8)
}

impl IntWriter {
    pub(crate) fn push(&mut self, value: u64) {
        let length = byte_length(value);
        let code = low_byte(u64::from(length.min(3)));
        Self::put_packed(&mut self.codes, self.count % 4, 2, code);
        self.count += 1;
        if let Some(extra) = length.checked_sub(3) {
            Self::put_packed(
                &mut self.extra,
                self.longs % 2,
                4,
                low_byte(u64::from(extra)),
            );
            self.longs += 1;
        }
        let mut rest = value;
        for plane in &mut self.planes {
            if rest == 0 {
                break;
            }
            plane.push(low_byte(rest));
            rest >>= 8;
        }
    }

    fn put_packed(out: &mut Vec<u8>, slot: usize, width: usize, code: u8) {
        if slot == 0 {
            out.push(code);
        } else if let Some(last) = out.last_mut() {
            *last |= code << (slot * width);
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut out = self.codes;
        out.reserve(self.extra.len() + self.planes.iter().map(Vec::len).sum::<usize>());
        out.extend_from_slice(&self.extra);
        for plane in &self.planes {
            out.extend_from_slice(plane);
        }
        out
    }
}

/// Answers the integers in turn.
#[derive(Debug)]
pub(crate) struct IntReader<'a> {
    count: usize,
    place: usize,
    codes: &'a [u8],
    long: usize,
    extra: &'a [u8],
    planes: [&'a [u8]; WEIGHTS],
    what: &'static str,
}

fn packed(bytes: &[u8], place: usize, per_byte: usize, width: usize) -> u8 {
    let byte = bytes.get(place / per_byte).copied().unwrap_or_default();
    byte >> (place % per_byte * width) & ((1 << width) - 1)
}

impl<'a> IntReader<'a> {
    /// Reads `count` integers from `bytes`, which must hold them exactly.
    pub(crate) fn new(
        bytes: &'a [u8],
        count: usize,
        what: &'static str,
    ) -> Result<Self, DecodeError> {
        let short = || DecodeError::Truncated(what);
        let (codes, rest) = bytes
            .split_at_checked(count.div_ceil(4))
            .ok_or_else(short)?;
        // How many integers have exactly 0, 1, … 8 bytes.
        let mut longs = 0_usize;
        let mut lengths = [0_usize; WEIGHTS + 1];
        for place in 0..count {
            let code = packed(codes, place, 4, 2);
            if code == 3 {
                longs += 1;
            } else if let Some(slot) = lengths.get_mut(usize::from(code)) {
                *slot += 1;
            }
        }
        let (extra, mut rest) = rest.split_at_checked(longs.div_ceil(2)).ok_or_else(short)?;
        for place in 0..longs {
            let length = 3 + usize::from(packed(extra, place, 2, 4));
            *lengths
                .get_mut(length)
                .ok_or(DecodeError::Malformed("an integer is longer than 8 bytes"))? += 1;
        }
        let mut planes = [&[][..]; WEIGHTS];
        let mut having = count;
        for (plane, shorter) in planes.iter_mut().zip(lengths) {
            having = having.saturating_sub(shorter);
            (*plane, rest) = rest.split_at_checked(having).ok_or_else(short)?;
        }
        if !rest.is_empty() {
            return Err(DecodeError::Malformed("bytes are left over at the end"));
        }
        Ok(Self {
            count,
            place: 0,
            codes,
            long: 0,
            extra,
            planes,
            what,
        })
    }

    pub(crate) fn value(&mut self) -> Result<u64, DecodeError> {
        if self.place >= self.count {
            return Err(DecodeError::Truncated(self.what));
        }
        let mut length = usize::from(packed(self.codes, self.place, 4, 2));
        self.place += 1;
        if length == 3 {
            length += usize::from(packed(self.extra, self.long, 2, 4));
            self.long += 1;
        }
        let mut value = 0_u64;
        for (weight, plane) in self.planes.iter_mut().take(length).enumerate() {
            let (&byte, rest) = plane
                .split_first()
                .ok_or(DecodeError::Truncated(self.what))?;
            *plane = rest;
            value |= u64::from(byte) << (8 * weight);
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_size() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..=64).prop_map(|(value, bits)| value.checked_shr(bits).unwrap_or(0))
    }

    proptest! {
        #[test]
        fn integers_of_any_length_come_back(values in prop::collection::vec(any_size(), 0..200)) {
            let mut writer = IntWriter::default();
            values.iter().for_each(|&v| writer.push(v));
            let bytes = writer.into_bytes();
            let mut reader = IntReader::new(&bytes, values.len(), "test").unwrap();
            for &value in &values {
                prop_assert_eq!(reader.value().unwrap(), value);
            }
            prop_assert!(reader.value().is_err());
            for cut in 0..bytes.len() {
                prop_assert!(IntReader::new(&bytes[..cut], values.len(), "test").is_err());
            }
        }
    }
}
