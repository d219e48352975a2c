//! Serial ports: opened exclusively, named stably, closed at once when the adapter is unplugged.
//!
//! Every driver on a serial line stands on this crate.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | pure: speed and character format, and how long characters and silences take |
//! | `config` | what to open and how: path, format, flow control, RS-485 |
//! | `port` | the open port: bytes in, bytes out, and its end |
//! | `lock` | who else has the port, by name |
//! | `names` | names that survive replugging, and waiting for a port that went away |
//! | `rs485` | direction control by the kernel: the only unsafe code of the workspace |
//! | `timer` | waits that are exact to some ten microseconds; tokio's tick is a millisecond |
//!
//! # What it guarantees
//! 1. **One owner.** A port that somebody else has, in this process or another, is
//!    [`OpenError::Held`] with the holder's name. What a dead process left behind is no obstacle.
//! 2. **An unplugged adapter is noticed by the first read or write that meets it**, said as
//!    [`Unplugged`], and its file descriptor is closed in that moment: an adapter whose old descriptor
//!    is still open comes back under another name. Keep a read pending while the line is idle.
//! 3. **Nothing here blocks the runtime.** Opening (an adapter may take tens of milliseconds) happens
//!    on a blocking thread; flushing never waits for the wire ([`LineSettings::characters`] says how
//!    long the wire needs).

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod config;
mod lock;
mod names;
mod port;
mod rs485;
mod settings;
mod timer;

pub use config::{DELAYS, FlowControl, PortConfig, Rs485};
pub use lock::Holder;
pub use names::{appeared, stable_name, stable_names};
pub use port::{OpenError, Port, Unplugged, is_unplugged, open};
pub use settings::{DataBits, LineError, LineSettings, Parity};
pub use timer::FineTimer;
