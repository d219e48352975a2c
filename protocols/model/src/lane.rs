//! Lanes: what may overtake what, in the spool and on the link (design.md C1).

use std::fmt;

/// One of the four queues every record belongs to. Each lane counts its own seqs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Lane {
    /// Alarms: durable at once, evicted last.
    Alarm = 0,
    /// Things that happened, and the loss ledger's claims; its space is reserved.
    Event = 1,
    /// Readings.
    Telemetry = 2,
    /// Everything large and patient.
    Bulk = 3,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Alarm, Self::Event, Self::Telemetry, Self::Bulk];

    /// The lane's name in topics, keys and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Event => "event",
            Self::Telemetry => "telemetry",
            Self::Bulk => "bulk",
        }
    }

    /// The lane's number on the wire and on disk; never reassigned.
    #[must_use]
    pub const fn to_index(self) -> u8 {
        self as u8
    }

    /// The lane with this wire number.
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Alarm),
            1 => Some(Self::Event),
            2 => Some(Self::Telemetry),
            3 => Some(Self::Bulk),
            _ => None,
        }
    }

    /// The lane with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == name)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
