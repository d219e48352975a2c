//! The site file: which buses, units and points there are. Also read by the oracle, which recomputes
//! from it what a gateway must have seen.

use serde::{Deserialize, Serialize};

/// Everything one simulator process serves.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The buses.
    pub buses: Vec<BusSite>,
}

/// One bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSite {
    /// Its name, as in the gateway's configuration.
    pub name: String,
    /// The gateway that polls it.
    pub gateway: String,
    /// How it is reached.
    pub kind: BusKind,
    /// The units on it.
    pub units: Vec<UnitSite>,
}

/// How a bus is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum BusKind {
    /// Modbus TCP on loopback.
    Tcp {
        /// Port; 0 lets the system choose, the ready file tells which.
        port: u16,
    },
    /// Modbus RTU on a pseudo-terminal.
    Rtu {
        /// Where the link to the terminal is made.
        link: String,
        /// Line rate: answers are delayed as long as their bytes would take.
        baud: u32,
    },
    /// A weighing scale on a line of its own, which sends by itself: one frame with all its points.
    Scale {
        /// Where the link to the terminal is made.
        link: String,
        /// Line rate.
        baud: u32,
        /// Milliseconds from frame to frame.
        every_ms: u32,
    },
    /// An instrument that answers questions, on a line of its own.
    Scpi {
        /// Where the link to the terminal is made.
        link: String,
        /// Line rate.
        baud: u32,
    },
    /// Bluetooth LE sensors around one simulated adapter; see [`crate::radio`].
    Radio {
        /// Milliseconds from advertisement to advertisement.
        every_ms: u32,
    },
}

impl BusKind {
    /// The link to its terminal, where it has one.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Rtu { link, .. } | Self::Scale { link, .. } | Self::Scpi { link, .. } => {
                Some(link)
            }
            Self::Tcp { .. } | Self::Radio { .. } => None,
        }
    }
}

/// One unit (device) on a bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSite {
    /// Unit id, 1 to 247.
    pub unit: u8,
    /// The device's name in the gateway's configuration.
    pub device: String,
    /// Its points.
    pub points: Vec<PointSite>,
    /// The unit stays silent for `silent_s` out of every `silent_every_s` seconds; 0 means never.
    #[serde(default)]
    pub silent_every_s: u32,
    /// See `silent_every_s`.
    #[serde(default)]
    pub silent_s: u32,
}

/// Which address space of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Coils, function code 1.
    Coil,
    /// Discrete inputs, function code 2.
    Discrete,
    /// Holding registers, function code 3.
    Holding,
    /// Input registers, function code 4.
    Input,
}

/// How a point lies in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WordKind {
    /// One bit of a bank; see [`crate::signal`].
    Bit,
    /// One register, unsigned.
    U16,
    /// One register, signed: hundredths, as sensors that advertise have them.
    Centi,
    /// Two registers, unsigned, high word first.
    U32,
    /// Two registers, signed, low word first (order CDAB).
    I32,
    /// Four registers, signed, high word first.
    I64,
    /// Two registers, IEEE 754 single, high word first.
    F32,
}

impl WordKind {
    /// Addresses that one value takes.
    #[must_use]
    pub const fn width(self) -> u16 {
        match self {
            Self::Bit | Self::U16 | Self::Centi => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::I64 => 4,
        }
    }
}

/// How a point's value moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Shape {
    /// The poll number itself.
    Count,
    /// A sine around `base`.
    Sine {
        /// Middle.
        base: f64,
        /// Amplitude.
        amplitude: f64,
        /// Period in polls.
        period: f64,
    },
    /// A measured quantity: stays for some polls, then moves by a few steps around a slow sine.
    Walk {
        /// Middle.
        base: f64,
        /// Amplitude.
        amplitude: f64,
        /// Period in polls.
        period: f64,
        /// Same seed, same values.
        seed: u64,
    },
    /// A counter that begins anywhere and rises by 1 to `2 * step - 1` with every poll, `step` on
    /// average.
    Total {
        /// Average rise; at least 1.
        step: u64,
        /// Same seed, same values.
        seed: u64,
    },
    /// Always the same.
    Constant {
        /// The value.
        value: u64,
    },
    /// Anything from `base` to `base + spread - 1`, new with every poll.
    Noise {
        /// Lowest value.
        base: u64,
        /// How many values there are; at least 1.
        spread: u64,
        /// Same seed, same values.
        seed: u64,
    },
}

impl Shape {
    /// Whether the poll number can be read out of the value. The shapes where it cannot are there to
    /// be measured with, not to be judged by.
    #[must_use]
    pub const fn carries_poll_number(self) -> bool {
        matches!(self, Self::Count | Self::Sine { .. })
    }
}

/// One point of a unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointSite {
    /// The point's name in the gateway's configuration.
    pub id: String,
    /// Where it lies.
    pub space: Space,
    /// First address, counted from 0.
    pub address: u16,
    /// How it lies in registers.
    pub kind: WordKind,
    /// How its value moves.
    pub shape: Shape,
    /// Engineering unit, for the gateway's configuration.
    #[serde(default)]
    pub unit: String,
    /// Deadband in engineering units that the gateway applies; 0 means every reading is sent.
    #[serde(default)]
    pub deadband: f64,
    /// Longest silence of the deadband, seconds.
    #[serde(default)]
    pub beat_s: u32,
}
