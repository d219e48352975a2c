//! The conformance kit: runs a driver against its simulated device and proves the rules of
//! `protocols_driver`, one by one. For a driver's tests, as a dev-dependency.
//!
//! ```text
//! check(make) ─▶ for each trial: own thread, own runtime ─▶ Bench (device) ◀── driver ─▶ sweeps
//!                                                             └ moods        └ judged ─▶ Report
//! ```
//! The author of a driver writes a [`Bench`]: the simulated device with its [`Mood`]s, and how to make a
//! driver for it. [`check`] runs every trial and reports each violation with the number of the rule and
//! what was seen; [`Report::assert_conforms`] ends the test.
//!
//! A stalled machine is never blamed on the driver. Where the device lives in memory the trials run on
//! tokio's paused clock ([`Time::Paused`]): exact, and in no time. Where sockets, terminals or threads are
//! involved ([`Time::Real`]) deadlines are counted in the ticks of a control thread: while the machine
//! stands still, or is slow, it ticks less too.
//!
//! Memory is checked where the test binary installs [`Counting`] as its allocator; without it that
//! trial counts as not run, and [`Report::assert_conforms`] says so.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod bench;
mod clock;
mod counting;
mod kit;
mod meter;
mod pulse;
mod report;
mod stand;
mod trials;

pub use bench::{Bench, DeviceFacts, Facts, Mood, Seen, Time};
pub use counting::Counting;
pub use kit::check;
pub use report::{Report, Rule, Violation};
