//! A reading: one value (or the reason why there is none) of one point at one time.

use crate::{Quality, Timestamp, Value};

/// Index of a point in the gateway's point table of the running configuration.
///
/// It is a handle inside one process; on the wire a point is a dictionary entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointKey(pub u32);

/// What a driver says about one point at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which point.
    pub point: PointKey,
    /// When the gateway took it: wall clock estimate, UTC.
    pub sampled: Timestamp,
    /// The value; `None` exactly when the quality is bad.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
}

impl Reading {
    /// A good reading.
    #[must_use]
    pub const fn good(point: PointKey, sampled: Timestamp, value: Value) -> Self {
        Self {
            point,
            sampled,
            value: Some(value),
            quality: Quality::Good,
        }
    }

    /// A reading that failed.
    #[must_use]
    pub const fn bad(point: PointKey, sampled: Timestamp, reason: crate::Reason) -> Self {
        Self {
            point,
            sampled,
            value: None,
            quality: Quality::Bad(reason),
        }
    }
}
