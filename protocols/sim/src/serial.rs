//! Serial devices on lines of their own: a weighing scale, a GPS receiver, an instrument that speaks SCPI,
//! a sensor with binary frames, and anything that says a template now and then or answers this to that.
//!
//! ```text
//!  Device (values, frames, faults) ◀─ asked ─ Terminal (Core of a line) ◀─▶ Port ◀─▶ pty
//!                                  ─ says ─▶
//! ```
//!
//! A device has frames that it [`Say`]s by itself at an interval and [`Answer`]s to what it hears; both
//! are [`Frame`]s: text with values and checksums in it, binary fields, or NMEA sentences. The ready-made
//! devices ([`preset`]) are nothing but such frames.

mod checksum;
mod device;
mod frame;
mod nmea;
pub mod preset;
mod template;
mod terminal;

pub use checksum::Checksum;
pub use device::{Answer, Device, DeviceSetup, Say};
pub use frame::{Binary, Field, Frame, FrameError};
pub use nmea::{Position, Sentence};
pub use template::{Template, TemplateError};
pub use terminal::Terminal;
