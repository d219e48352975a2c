//! Which points a record speaks of: places of dictionaries and runs of consecutive indices in them.
//!
//! A run is `varint(zigzag(start - expected) << 1 | other dictionary)`, the dictionary's place where it
//! is another one, and `varint(length - 1)`. Expected is the index after the run before; 0 at first
//! and in another dictionary. The dictionary at first is place 0.

use super::varint::{Reader, put_varint, unzigzag, zigzag};
use crate::error::DecodeError;
use protocols_model::DictionaryHash;

/// Collects points.
#[derive(Debug, Default)]
pub(crate) struct PointWriter {
    out: Vec<u8>,
    dictionary: u32,
    expected: u64,
    length: u64,
}

impl PointWriter {
    pub(crate) fn push(&mut self, dictionary: u32, index: u32) {
        let index = u64::from(index);
        if self.length > 0 && dictionary == self.dictionary && index == self.expected {
            self.length += 1;
            self.expected += 1;
            return;
        }
        self.close();
        let other = dictionary != self.dictionary;
        if other {
            self.expected = 0;
        }
        let ahead = zigzag(index.cast_signed() - self.expected.cast_signed());
        put_varint(&mut self.out, ahead << 1 | u64::from(other));
        if other {
            put_varint(&mut self.out, dictionary.into());
            self.dictionary = dictionary;
        }
        self.expected = index + 1;
        self.length = 1;
    }

    fn close(&mut self) {
        if self.length > 0 {
            put_varint(&mut self.out, self.length - 1);
            self.length = 0;
        }
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}

/// Answers (place of the dictionary, index) of each point in turn.
#[derive(Debug)]
pub(crate) struct PointReader<'a> {
    bytes: Reader<'a>,
    dictionaries: usize,
    dictionary: u32,
    expected: u64,
    left: u64,
}

impl<'a> PointReader<'a> {
    /// Reads `bytes`, which may refer to so many `dictionaries`.
    pub(crate) const fn new(bytes: &'a [u8], dictionaries: usize) -> Self {
        Self {
            bytes: Reader::new(bytes, "points"),
            dictionaries,
            dictionary: 0,
            expected: 0,
            left: 0,
        }
    }

    pub(crate) fn point(&mut self) -> Result<(u32, u32), DecodeError> {
        const NO_INDEX: DecodeError = DecodeError::Malformed("a point's index is out of range");
        if self.left == 0 {
            let token = self.bytes.varint()?;
            if token & 1 == 1 {
                self.dictionary = u32::try_from(self.bytes.varint()?).unwrap_or(u32::MAX);
                self.expected = 0;
            }
            if self.dictionary as usize >= self.dictionaries {
                return Err(DecodeError::Malformed(
                    "a point refers to a dictionary that is not listed",
                ));
            }
            let start = self.expected.checked_add_signed(unzigzag(token >> 1));
            self.expected = start.ok_or(NO_INDEX)?;
            self.left = self.bytes.varint()?.saturating_add(1);
        }
        let index = u32::try_from(self.expected).map_err(|_| NO_INDEX)?;
        self.expected += 1;
        self.left -= 1;
        Ok((self.dictionary, index))
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left > 0 {
            return Err(DecodeError::Malformed("a run is longer than its column"));
        }
        self.bytes.finish()
    }
}

/// The hashes one after the other.
pub(crate) fn put_hashes(hashes: &[DictionaryHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The inverse of [`put_hashes`].
pub(crate) fn read_hashes(bytes: &[u8]) -> Result<Vec<DictionaryHash>, DecodeError> {
    let (hashes, []) = bytes.as_chunks::<16>() else {
        return Err(DecodeError::Truncated("dictionary hash"));
    };
    Ok(hashes.iter().map(|hash| DictionaryHash(*hash)).collect())
}
