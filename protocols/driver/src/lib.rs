//! The contract of a field driver: what the gateway may expect of anything that reads devices.
//!
//! A driver owns one bus (one serial line, one TCP endpoint, one radio) and the devices on it. It
//! runs as one task, hands [`Sweep`]s to the pipeline and publishes what it sees of its links in a
//! [`BusStatus`]. It knows nothing of filters, spools or the cloud.
//!
//! The rules that every driver keeps; `protocols-conformance` tests them by these numbers:
//! 1. **One task, one bus.** [`Driver::run`] owns the bus for as long as it runs; nobody else
//!    writes to the wire, and when it has returned (or was dropped) nothing of it is left behind: the
//!    next driver finds the bus free.
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
//!    sent and not confirmed is `Unknown` and never repeated. A full channel holds up polls, not orders
//!    ([`DriverContext::turn`]); a driver that cannot write answers `ReadOnly`.
//! 9. **Everything is bounded and counted** in [`Counters`]; a state change of a link is published
//!    in the moment it is noticed, and its cause told where the state does not say it
//!    ([`BusStatus::tell`]).
//! 10. **It neither blocks nor panics.** What may wait (files, names, libraries) waits off the thread,
//!     under a time-out; other drivers run on the same thread.
//!
//! # Devices that speak unasked
//! Advertisements and listening serial lines have no request; rules 3 and 4 read for them:
//! - *3.* The driver listens on while there is no room ([`DriverContext::try_room`]). What it heard waits
//!   in a bounded place: the latest sweep per device, or a short queue where each one counts (a bar
//!   code). What has to make way there is counted as [`overrun`](Counters::overrun).
//! - *4.* Each point has a span within which its device speaks. What is heard is a reading, however
//!   often; each span without anything gives exactly one `Bad(Timeout)`, or `Bad(LinkDown)` while the
//!   port or adapter is away. With a duplicate (a repeated advertisement) the span begins anew, and no
//!   reading is made of it.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod backoff;
mod context;
mod counters;
mod events;
mod health;
mod order;
mod status;
mod sweep;

pub use backoff::Backoff;
pub use context::{Driver, DriverContext, Next, Room, STOP_BOUND, Stopped};
pub use counters::{Counter, CounterValue, Counters};
pub use events::{BusEvent, EVENT_CAPACITY, Told};
pub use health::{Health, PATIENCE, Retry};
pub use order::{ORDER_CAPACITY, OrderDesk, Orders, WriteError, WriteOrder, Written, order_queue};
pub use status::{BusStatus, DeviceLink, LinkState};
pub use sweep::Sweep;
/// The token a driver is stopped by.
pub use tokio_util::sync::CancellationToken;

/// One part in so many of the bus time may go to probing dead devices: 1/20 = 5 %.
pub const PROBE_SHARE: u32 = 20;
