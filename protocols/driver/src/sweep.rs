//! What a driver hands over: the readings of one request.

use protocols_model::{DeviceId, Instant, Reading};
use std::sync::Arc;

/// The readings that one request gave, or, where no request was made (device dead, link away), those
/// of one poll of one group.
///
/// Never empty; all readings are of one device and carry the same timestamp.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Name of the bus.
    pub bus: Arc<str>,
    /// The device that was, or was not, asked.
    pub device: DeviceId,
    /// When the answer was complete or given up, on the monotonic clock of the context.
    pub taken: Instant,
    /// One reading for each point of the request.
    pub readings: Vec<Reading>,
}
