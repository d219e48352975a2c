//! A key that never prints.

use crate::address::{NameError, hex};
use std::fmt;
use std::str::FromStr;

/// The 16 bytes of a sensor's encryption key. Neither `Debug` nor any error shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct BindKey([u8; 16]);

impl BindKey {
    /// A key of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for BindKey {
    type Err = NameError;
    /// 32 hexadecimal digits; white space around them is what editors leave in files.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = hex(text.trim(), &[' ', '-', ':']).ok_or(NameError::Key)?;
        bytes.try_into().map(Self).map_err(|_| NameError::Key)
    }
}

impl fmt::Debug for BindKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindKey(…)")
    }
}
