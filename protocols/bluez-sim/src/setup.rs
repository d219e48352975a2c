//! How the simulated `BlueZ` is set up: its adapters, and how long things take.

use std::fmt;
use std::time::Duration;

use crate::journal::OnRecord;
use crate::names::Address;

/// An adapter that is there from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSetup {
    /// `hci0`, `hci1` …
    pub name: String,
    /// Its own address.
    pub address: Address,
    /// Whether it is switched on.
    pub powered: bool,
}

impl AdapterSetup {
    /// `hci<number>`, switched on.
    #[must_use]
    pub fn number(number: u8) -> Self {
        Self {
            name: format!("hci{number}"),
            address: Address([0x00, 0x1A, 0x7D, 0xDA, 0x71, number]),
            powered: true,
        }
    }
}

/// What becomes of an advertisement with the same content as the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Each is reported, as with clients that ask for duplicates and a controller that does not filter.
    Report,
    /// The controller reports one of them in this span, as many do (about 10 s).
    OneIn(Duration),
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Until the link to a sensor is up.
    pub connect: Duration,
    /// Until its services are resolved, from then on.
    pub resolve: Duration,
    /// Until connecting to a sensor that does not answer fails.
    pub connect_limit: Duration,
    /// Until a device that was never connected and is not heard any more is forgotten.
    pub forget: Duration,
    /// What becomes of repeated advertisements.
    pub repeats: Repeats,
}

impl Default for Timing {
    /// As bluetoothd and the kernel do it by default, with sensors that are quick.
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(40),
            resolve: Duration::from_millis(60),
            connect_limit: Duration::from_secs(20),
            forget: Duration::from_secs(30),
            repeats: Repeats::Report,
        }
    }
}

/// How to set up a simulated `BlueZ`.
#[derive(Clone)]
pub struct Setup {
    /// Its adapters.
    pub adapters: Vec<AdapterSetup>,
    /// How long things take.
    pub timing: Timing,
    /// Feeds what is random: the noise of spoiled advertisements, the payloads of a crowd.
    pub seed: u64,
    /// Told of everything that happens.
    pub on_record: Option<OnRecord>,
}

impl Default for Setup {
    /// One adapter, `hci0`.
    fn default() -> Self {
        Self {
            adapters: vec![AdapterSetup::number(0)],
            timing: Timing::default(),
            seed: 1,
            on_record: None,
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("adapters", &self.adapters)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
