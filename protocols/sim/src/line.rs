//! A serial line that keeps real time, on a pseudo-terminal that has none.
//!
//! ```text
//!  gateway ─write─▶ pty ─▶ Port (thread) ─▶ Core: written(now, bytes) ─▶ bytes arrive one by one
//!          ◀─read── pty ◀─ Port          ◀─ Core: advance(now)        ◀─ answers, paced, in portions
//! ```
//!
//! All rules about time live in pure [`Core`]s that take `now`: [`crate::modbus::RtuLine`] for a Modbus
//! bus, [`crate::serial::Terminal`] for a device on a line of its own. [`Port`] is the thin thread that
//! owns the terminal, waits for bytes and deadlines and measures its own lateness ([`Accuracy`]).
//!
//! Guarantees: a byte counts as received only after the time that its bits take on the line, counted from
//! the end of the byte before it or from when it was written, whichever is later; deadlines are absolute,
//! so a late wake-up delays one portion and never the ones behind it.

mod accuracy;
mod burst;
mod port;
mod pty;
mod settings;

pub use accuracy::Accuracy;
pub use burst::{Burst, Outgoing, Transmitter};
pub use port::{Core, Notes, Port, PortState, Stopped};
pub use settings::{LineError, LineSettings, Parity};
