//! Recordings: raw readings kept on the gateway for a while, to try a configuration on them before it runs.
//!
//! ```text
//! readings as drivers made them ─▶ Recorder ─▶ frames ─▶ Tape: segments in a folder (mode 0600, bounded)
//!                                                             │
//!                                     Recording ◀─────────────┘ ─▶ replay, sim
//! ```
//!
//! **A recording is raw**: it holds what privacy would keep from leaving. It is local, off by default,
//! readable by its owner only, bounded, and nothing ever sends it.
//!
//! | room | holds |
//! |---|---|
//! | [`frame`] | one frame: kind, length, checksum, body |
//! | [`recorder`] | readings to frames, pure |
//! | [`tape`] | frames in segments on disk, the oldest making room |
//! | [`recording`] | a folder read back, in the order of time |
//!
//! Guarantees: what cannot be written is counted and never holds up readings; a segment whose end is
//! torn is read up to there.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod frame;
pub mod recorder;
pub mod recording;
pub mod tape;

pub use recorder::Recorder;
pub use recording::{MAX_READINGS, Recorded, Recording, RecordingError};
pub use tape::{Tape, TapeLimits};
