//! What to open, and how.

use crate::LineSettings;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Allowed delays of RS-485 direction control: what the kernel accepts, in whole milliseconds.
pub const DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(100);

/// A serial port as a driver wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// The device; a `/dev/serial/by-id/` path survives replugging.
    pub path: PathBuf,
    /// Speed and character format.
    pub line: LineSettings,
    /// Who may hold the other up. Default none.
    pub flow: FlowControl,
    /// Direction control by the kernel; `None` leaves it to the adapter, which is right for nearly all
    /// USB adapters.
    pub rs485: Option<Rs485>,
}

impl PortConfig {
    /// A port without flow control and without direction control of ours.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, line: LineSettings) -> Self {
        Self {
            path: path.into(),
            line,
            flow: FlowControl::None,
            rs485: None,
        }
    }
}

/// How one end tells the other to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowControl {
    /// Not at all.
    #[default]
    None,
    /// By the wires RTS and CTS.
    RtsCts,
    /// By the characters XON (0x11) and XOFF (0x13), which then cannot be data.
    XonXoff,
}

/// How the kernel's driver switches a half-duplex transceiver (`TIOCSRS485`, Linux
/// `Documentation/driver-api/serial/serial-rs485.rst`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485 {
    /// RTS is high while sending (default), or low for transceivers that are wired the other way round.
    pub rts_on_send: bool,
    /// RTS is high while not sending. Default false.
    pub rts_after_send: bool,
    /// From switching to the first character; whole milliseconds in [`DELAYS`]. Default zero.
    pub delay_before: Duration,
    /// From the last character to switching back; whole milliseconds in [`DELAYS`]. Default zero.
    pub delay_after: Duration,
    /// Whether the receiver listens while we send, and so hears us. Default false.
    pub rx_during_tx: bool,
}

impl Default for Rs485 {
    fn default() -> Self {
        Self {
            rts_on_send: true,
            rts_after_send: false,
            delay_before: Duration::ZERO,
            delay_after: Duration::ZERO,
            rx_during_tx: false,
        }
    }
}
