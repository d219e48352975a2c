//! Dictionaries: immutable ordered lists of points, named by their hash (design.md C6).

use crate::error::{DecodeError, EncodeError};
use bytes::Bytes;
use protocols_model::{DictionaryHash, PointDescriptor};

/// An immutable ordered list of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    entries: Vec<PointDescriptor>,
    encoded: Bytes,
    hash: DictionaryHash,
}

impl Dictionary {
    /// Makes a dictionary of `entries`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when its encoding would break the limit.
    pub fn try_new(_entries: Vec<PointDescriptor>) -> Result<Self, EncodeError> {
        todo!()
    }

    /// Cuts a list of any length into dictionaries that fit the limit, in order.
    ///
    /// # Errors
    /// [`EncodeError`] where a single entry breaks a rule.
    pub fn chunk(_points: Vec<PointDescriptor>) -> Result<Vec<Self>, EncodeError> {
        todo!()
    }

    /// Reads the canonical encoding; the hash is computed, never believed.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics.
    pub fn decode(_encoded: Bytes) -> Result<Self, DecodeError> {
        todo!()
    }

    /// The points, in order.
    #[must_use]
    pub fn entries(&self) -> &[PointDescriptor] {
        &self.entries
    }

    /// The canonical encoding.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The dictionary's name.
    #[must_use]
    pub const fn hash(&self) -> DictionaryHash {
        self.hash
    }
}
