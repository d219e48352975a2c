//! What can go wrong, by name. Each fault has a beginning; most have an end.

use serde::{Deserialize, Serialize};

use crate::names::Address;

/// A fault to begin ([`BlueZ::begin`](crate::BlueZ::begin)) and to end ([`BlueZ::end`](crate::BlueZ::end)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The link to a sensor breaks, in the middle of whatever was going on. Has no end.
    Disconnect {
        /// Which sensor.
        address: Address,
    },
    /// A sensor is out of range: not heard, cannot be connected, its link breaks.
    OutOfRange {
        /// Which sensor.
        address: Address,
    },
    /// A sensor connects, but its services are never resolved.
    ServicesNeverResolved {
        /// Which sensor.
        address: Address,
    },
    /// Connecting fails at once.
    ConnectRefused {
        /// Which sensor.
        address: Address,
    },
    /// Connecting is never answered, neither with success nor with failure.
    ConnectHangs {
        /// Which sensor.
        address: Address,
    },
    /// A subscription stands, but no notification comes.
    NotificationsStop {
        /// Which sensor.
        address: Address,
    },
    /// Reads fail.
    ReadsFail {
        /// Which sensor.
        address: Address,
    },
    /// Reads are never answered.
    ReadsHang {
        /// Which sensor.
        address: Address,
    },
    /// Writes are refused with `NotPermitted`.
    WritesRefused {
        /// Which sensor.
        address: Address,
    },
    /// Writes reach the sensor, but are never answered.
    WritesHang {
        /// Which sensor.
        address: Address,
    },
    /// The content of a sensor's advertisements is cut, lengthened or replaced by noise.
    Spoiled {
        /// Which sensor.
        address: Address,
    },
    /// The adapter is unplugged; ends with its return, powered off, as after plugging in a dongle.
    AdapterRemoved {
        /// Which adapter.
        adapter: String,
    },
    /// The adapter's firmware hangs: what has to go through it is never answered, nothing is heard.
    AdapterWedged {
        /// Which adapter.
        adapter: String,
    },
    /// Nothing is heard although the adapter says that it is discovering. Ends by itself when discovery is
    /// started again, as it does with the kernel's lost scan.
    AdvertsStop {
        /// Which adapter.
        adapter: String,
    },
    /// Someone else switches the adapter off. Has no end: someone has to switch it on.
    PoweredOff {
        /// Which adapter.
        adapter: String,
    },
    /// The adapter is blocked by rfkill: off, and cannot be switched on.
    PowerBlocked {
        /// Which adapter.
        adapter: String,
    },
    /// bluetoothd is not running; ends with its start. Beginning and ending it is a restart.
    DaemonStopped,
    /// bluetoothd does not answer anything; calls are answered late, when it ends.
    DaemonHangs,
    /// Many devices pass by, each heard once under an address of its own.
    Crowd {
        /// How many.
        devices: u32,
        /// Over how long, milliseconds.
        within_ms: u32,
    },
}
