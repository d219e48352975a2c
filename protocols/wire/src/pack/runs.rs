//! Run-length coding of a number per item: what most neighbours share costs almost nothing.
//!
//! A run is `varint(value << 1 | 0) varint(length - 2)`, or `varint(value << 1 | 1)` for one item.
//! A last run of value 0 is left out: a reader that finds no more bytes answers 0. So a column of
//! zeros has no bytes at all.

use super::varint::{Reader, put_varint};
use crate::error::DecodeError;

/// Largest value a run can carry.
pub(crate) const MAX_RUN_VALUE: u64 = u64::MAX >> 1;

/// Collects runs.
#[derive(Debug, Default)]
pub(crate) struct RunWriter {
    out: Vec<u8>,
    value: u64,
    length: u64,
}

impl RunWriter {
    /// Adds one item; `value` is at most [`MAX_RUN_VALUE`] (larger ones are held to it).
    pub(crate) fn push(&mut self, value: u64) {
        self.push_many(value, 1);
    }

    /// Adds `count` items of the same value.
    pub(crate) fn push_many(&mut self, value: u64, count: u64) {
        let value = value.min(MAX_RUN_VALUE);
        if value == self.value {
            self.length += count;
        } else if count > 0 {
            self.put();
            self.value = value;
            self.length = count;
        }
    }

    fn put(&mut self) {
        match self.length {
            0 => {}
            1 => put_varint(&mut self.out, self.value << 1 | 1),
            length => {
                put_varint(&mut self.out, self.value << 1);
                put_varint(&mut self.out, length - 2);
            }
        }
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        if self.value != 0 {
            self.put();
        }
        self.out
    }
}

/// Answers the number of each item in turn.
#[derive(Debug)]
pub(crate) struct RunReader<'a> {
    bytes: Reader<'a>,
    value: u64,
    left: u64,
}

impl<'a> RunReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            bytes: Reader::new(bytes, what),
            value: 0,
            left: 0,
        }
    }

    pub(crate) fn value(&mut self) -> Result<u64, DecodeError> {
        if self.left == 0 {
            if self.bytes.is_empty() {
                return Ok(0);
            }
            let token = self.bytes.varint()?;
            self.value = token >> 1;
            self.left = if token & 1 == 1 {
                1
            } else {
                self.bytes.varint()?.saturating_add(2)
            };
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left > 0 {
            return Err(DecodeError::Malformed("a run is longer than its column"));
        }
        self.bytes.finish()
    }
}
