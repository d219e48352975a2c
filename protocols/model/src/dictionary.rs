//! What a column of a record stands for: points by dictionary (design.md C6).

use crate::{DeviceId, PointId, ValueType};
use std::fmt;

/// Longest unit text, in bytes.
pub const MAX_UNIT_LEN: usize = 32;

/// One entry of a dictionary. Device, point, value type and unit name a series of the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct PointDescriptor {
    /// The device behind the gateway.
    pub device: DeviceId,
    /// The point of the device.
    pub point: PointId,
    /// Type of its values; a changed type is a new series.
    pub value_type: ValueType,
    /// Engineering unit, at most [`MAX_UNIT_LEN`] bytes, may be empty; a changed unit is a new series.
    pub unit: String,
    /// Multiplier from the device's raw integer to the value: the decimal grid that scaled values
    /// sit on. 1 for unscaled points. Tells the encoder and the dashboard how many digits matter.
    pub scale: f64,
}

/// Name of a dictionary: the first 16 bytes of the SHA-256 of its canonical encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DictionaryHash(pub [u8; 16]);

impl fmt::Display for DictionaryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DictionaryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DictionaryHash({self})")
    }
}
