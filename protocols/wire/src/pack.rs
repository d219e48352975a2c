//! Packing of columns into bytes: the pieces that record bodies and dictionaries are made of.
//!
//! Writers never fail. Readers take untrusted bytes: they check before they allocate, and every
//! error names the column it was found in.

pub(crate) mod bits;
pub(crate) mod frames;
pub(crate) mod ints;
pub(crate) mod points;
pub(crate) mod runs;
pub(crate) mod varint;

pub(crate) use bits::{BitReader, BitWriter};
pub(crate) use ints::{IntReader, IntWriter};
pub(crate) use points::{PointReader, PointWriter, put_hashes, read_hashes};
pub(crate) use runs::{RunReader, RunWriter};
pub(crate) use varint::{Reader, put_varint, unzigzag, zigzag};
