//! The contract of a field driver: what the gateway may expect of anything that reads devices.
//!
//! A driver owns one bus (one serial line, one TCP endpoint, one radio) and the devices on it. It
//! runs as one task, hands [`Sweep`]s to the pipeline and publishes what it sees of its links in a
//! [`BusStatus`]. It knows nothing of filters, spools or the cloud.
//!
//! The rules that every driver keeps:
//! 1. **One task, one bus.** [`Driver::run`] owns the bus for as long as it runs; nobody else
//!    writes to the wire.
//! 2. **It returns only when told to**: after `stop` is cancelled within [`STOP_BOUND`], or when the
//!    receiver of the sweeps is gone. Devices and links that fail are tried again for ever, with
//!    back-off; a transaction on the wire is finished or given up within the bound, never torn.
//! 3. **An answer in hand is never dropped.** A driver takes room in the channel
//!    ([`DriverContext::room`]) *before* it asks the device. While there is no room it does not ask:
//!    the schedule slips, and what could not be polled in time is counted as missed, never queued.
//! 4. **Silence is a reading too.** Each point that is due gets exactly one reading a poll: a good
//!    one, or one with `Bad(reason)`; also while its device is known to be dead (`NotAsked`) or the
//!    link is away (`LinkDown`). The pipeline drops the repeats. Only a missed poll gives no reading.
//! 5. **A value is never guessed.** What cannot be matched to the request that caused it is dropped
//!    and counted; the points get `Bad(BadAnswer)` or `Bad(Timeout)`.
//! 6. **Readings of one request share one timestamp**: the wall clock when the answer was complete.
//!    Schedules, time-outs and back-off run on the monotonic clock alone.
//! 7. **One device's trouble stays its own.** A dead device costs its bus at most
//!    [`PROBE_SHARE`] of the bus time, all dead devices of the bus together.
//! 8. **Orders go ahead of polls** ([`Orders`]), are carried out at most once and answered each. What was
//!    sent and not confirmed is `Unknown` and never repeated.
//! 9. **Everything is bounded and counted** in [`Counters`]; a state change of a link is published
//!    in the moment it is noticed.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backoff;
mod context;
mod counters;
mod order;
mod status;
mod sweep;

pub use backoff::Backoff;
pub use context::{Driver, DriverContext, Room, STOP_BOUND, Stopped};
pub use counters::{Counter, CounterValue, Counters};
pub use order::{ORDER_CAPACITY, OrderDesk, Orders, WriteError, WriteOrder, Written, order_queue};
pub use status::{BusStatus, DeviceLink, LinkState};
pub use sweep::Sweep;
/// The token a driver is stopped by.
pub use tokio_util::sync::CancellationToken;

/// One part in so many of the bus time may go to probing dead devices: 1/20 = 5 %.
pub const PROBE_SHARE: u32 = 20;
