//! The site file: which buses, devices and serial lines a simulator serves. TOML; the words are those of
//! the gateway's configuration (`at`, `as`, `order`, `scale`, `line`), so that a point can be copied from
//! one to the other.
//!
//! [`Site::parse`] finds what is wrong with the text, [`Site::build`] what shows only when the parts come
//! together. Errors name the place and what is allowed.

mod modbus;
mod serial;

pub use modbus::{BusKind, BusSite, DeviceSite, PointSite};
pub(crate) use serial::means_something;
pub use serial::{AnswerSite, SaySite, SerialKind, SerialSite};

use crate::fault::FaultError;
use crate::line::LineSettings;
use crate::modbus::{MapError, OrderError, UnitSetup};
use crate::script::ScriptError;
use crate::serial::{DeviceSetup, FrameError, TemplateError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything one simulator serves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Another seed gives other noise.
    #[serde(default)]
    pub seed: u64,
    /// Modbus buses.
    #[serde(default)]
    pub bus: BTreeMap<String, BusSite>,
    /// Modbus devices on the buses.
    #[serde(default)]
    pub device: BTreeMap<String, DeviceSite>,
    /// Serial devices, each on a line of its own.
    #[serde(default)]
    pub serial: BTreeMap<String, SerialSite>,
    /// Bluetooth LE sensors; read by whoever can serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ble: Option<toml::Table>,
}

/// A site that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The text is no site; line and column are in the cause's text.
    #[error("the site file cannot be read")]
    Text(#[from] toml::de::Error),
    /// Something about one part.
    #[error("{place}: {what}")]
    Part {
        /// `device.meter1`, say.
        place: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// Something about one part, with a cause of its own.
    #[error("{place}")]
    Cause {
        /// `device.meter1.points.u_l1`, say.
        place: String,
        /// What is wrong and what is allowed.
        #[source]
        source: PartError,
    },
}

/// What is wrong with a part.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum PartError {
    /// Its value script.
    Script(#[from] ScriptError),
    /// Its points together.
    Map(#[from] MapError),
    /// Its byte order.
    Order(#[from] OrderError),
    /// Its faults.
    Fault(#[from] FaultError),
    /// Its frames.
    Frame(#[from] FrameError),
    /// The text of a frame.
    Template(#[from] TemplateError),
}

/// A site that fits together.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Modbus buses.
    pub buses: Vec<BusPlan>,
    /// Serial devices.
    pub serials: Vec<SerialPlan>,
}

/// One Modbus bus.
#[derive(Debug, Clone)]
pub struct BusPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is reached.
    pub reach: Reach,
    /// Its units, by id.
    pub units: BTreeMap<u8, UnitSetup>,
}

/// Where a bus is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A TCP port with Modbus TCP frames.
    Tcp(SocketAddr),
    /// A TCP port with RTU frames.
    RtuOverTcp(SocketAddr),
    /// A paced line.
    Line(LinePlan),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePlan {
    /// The link that a client opens.
    pub link: PathBuf,
    /// Speed and format.
    pub line: LineSettings,
    /// Whether a silence inside a Modbus frame spoils it.
    pub strict: bool,
    /// Whether a client with another speed is not understood.
    pub check_speed: bool,
}

/// One serial device.
#[derive(Debug, Clone)]
pub struct SerialPlan {
    /// Its line.
    pub line: LinePlan,
    /// The device.
    pub setup: DeviceSetup,
}

impl Site {
    /// Reads a site file.
    ///
    /// # Errors
    /// Line, column, what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        Ok(toml::from_str(text)?)
    }

    /// Puts the parts together; files and links are relative to `folder`.
    ///
    /// # Errors
    /// The first part that does not fit, by its place in the file.
    pub fn build(&self, folder: &Path) -> Result<Plan, SiteError> {
        let names = self.bus.keys().chain(self.device.keys());
        for name in names.chain(self.serial.keys()) {
            check_name(name)?;
        }
        let serials = self.serial.iter();
        let serials = serials.map(|(name, serial)| serial.plan(name, folder, self.seed));
        let serials: Vec<SerialPlan> = serials.collect::<Result<_, _>>()?;
        let buses = modbus::plan(self, folder)?;
        one_link_each(&buses, &serials)?;
        Ok(Plan { buses, serials })
    }
}

fn check_name(name: &str) -> Result<(), SiteError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let good = (1..=63).contains(&name.len()) && name.chars().all(fits);
    good.then_some(()).ok_or_else(|| {
        let what = "is no name; use 1 to 63 of a-z 0-9 - _";
        part(format!("{name:?}"), what)
    })
}

fn one_link_each(buses: &[BusPlan], serials: &[SerialPlan]) -> Result<(), SiteError> {
    let of_bus = |bus: &BusPlan| match &bus.reach {
        Reach::Line(line) => Some((line.link.clone(), format!("bus.{}", bus.name))),
        Reach::Tcp(_) | Reach::RtuOverTcp(_) => None,
    };
    let of_serial = |serial: &SerialPlan| {
        (
            serial.line.link.clone(),
            format!("serial.{}", serial.setup.name),
        )
    };
    let links = buses.iter().filter_map(of_bus);
    let mut seen: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (link, place) in links.chain(serials.iter().map(of_serial)) {
        if let Some(other) = seen.get(&link) {
            let what = format!("link {} is {other}'s already", link.display());
            return Err(part(place, what));
        }
        seen.insert(link, place);
    }
    Ok(())
}

/// A path without `.` in it, so that equal ones are equal and people read what they wrote.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}

fn part(place: impl Into<String>, what: impl Into<String>) -> SiteError {
    SiteError::Part {
        place: place.into(),
        what: what.into(),
    }
}

fn cause<E: Into<PartError>>(place: impl Into<String>) -> impl FnOnce(E) -> SiteError {
    let place = place.into();
    move |source| SiteError::Cause {
        place,
        source: source.into(),
    }
}

/// A number for a name: tells the noise of points apart, the same in every run.
fn salt(seed: u64, names: &[&str]) -> u64 {
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
