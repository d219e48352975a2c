//! Modbus buses and devices of a site.

use super::{BusPlan, LinePlan, Reach, Site, SiteError, cause, part, salt};
use crate::fault::{Board, Fault};
use crate::line::LineSettings;
use crate::modbus::{Limits, Map, Order, Point, Raw, RawKind, Space, UnitSetup};
use crate::script::Script;
use crate::span::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a bus is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusKind {
    /// Modbus TCP.
    ModbusTcp,
    /// RTU frames over TCP, as serial servers pass them on.
    ModbusRtuOverTcp,
    /// A paced line.
    ModbusRtu,
}

/// One bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSite {
    /// How it is reached.
    pub kind: BusKind,
    /// TCP: address and port; port 0, the default, lets the system choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// RTU: the link that is made, relative to the site file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBuf>,
    /// RTU: speed and format; 19200 8E1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<LineSettings>,
    /// RTU: a silence of more than 1.5 characters inside a request spoils it.
    #[serde(default = "yes")]
    pub strict: bool,
    /// RTU: a client that has set another speed is not understood.
    #[serde(default = "yes")]
    pub check_speed: bool,
}

const fn yes() -> bool {
    true
}

/// One Modbus device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSite {
    /// Its bus.
    pub bus: String,
    /// Unit id: 1 to 247 on a line, 0 to 255 over TCP.
    pub unit: u8,
    /// Time from the end of a request to the begin of the answer; on a line at least 3.5 characters.
    #[serde(default = "turnaround")]
    pub turnaround: Time,
    /// Order of bytes of points that name none.
    #[serde(default)]
    pub order: Order,
    /// Exception 3 above so many registers in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_registers: Option<u16>,
    /// Exception 2 for a request that spans addresses without a point.
    #[serde(default)]
    pub refuse_gaps: bool,
    /// Faults from the start on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Its points.
    pub points: Vec<PointSite>,
}

const fn turnaround() -> Time {
    Time(Duration::from_millis(5))
}

/// One point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointSite {
    /// Its name.
    pub id: String,
    /// Where it lies: "co:3", "di:7", "hr:100", "ir:5", counted from 0.
    pub at: String,
    /// Its type; bool for coils and discrete inputs, else u16 when left out.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub kind: Option<RawKind>,
    /// Registers of a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u16>,
    /// Order of bytes; the device's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// value = raw * scale + offset.
    #[serde(default = "one")]
    pub scale: f64,
    /// See `scale`.
    #[serde(default)]
    pub offset: f64,
    /// Unit of the value, for the gateway's configuration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// A client may write it: a coil or holding register; what it wrote stays.
    #[serde(default)]
    pub write: bool,
    /// The value, in engineering units.
    pub value: Script,
}

const fn one() -> f64 {
    1.0
}

impl PointSite {
    /// Space and address.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub fn address(&self) -> Result<(Space, u16), String> {
        let refused = || {
            let at = &self.at;
            format!(
                "at = {at:?} is no address; use \"co:3\", \"di:7\", \"hr:100\" or \"ir:5\", 0 to 65535"
            )
        };
        let (space, number) = self.at.split_once(':').ok_or_else(refused)?;
        let space = match space {
            "co" => Space::Coil,
            "di" => Space::Discrete,
            "hr" => Space::Holding,
            "ir" => Space::Input,
            _ => return Err(refused()),
        };
        Ok((space, number.parse().map_err(|_| refused())?))
    }

    /// How it lies in registers, on a device with this order.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub fn raw(&self, device: Order) -> Result<Raw, String> {
        let (space, _) = self.address()?;
        let usual = if space.is_bits() {
            RawKind::Bool
        } else {
            RawKind::U16
        };
        let kind = self.kind.unwrap_or(usual);
        if space.is_bits() != (kind == RawKind::Bool) {
            return Err(format!(
                "as = \"{kind}\" does not fit {}; coils and discrete inputs are bool, registers are not",
                self.at
            ));
        }
        let mut raw = Raw::new(kind, self.order.unwrap_or(device));
        match self.len {
            Some(len) if kind != RawKind::String || !(1..=125).contains(&len) => {
                return Err(format!(
                    "len = {len} is not allowed; use 1 to 125, with as = \"string\""
                ));
            }
            Some(len) => raw.length = len,
            None if kind == RawKind::String => {
                return Err("a string needs its registers: len = 8, say".to_owned());
            }
            None => {}
        }
        let usable = self.scale.is_finite() && self.offset.is_finite() && self.scale != 0.0;
        if !usable {
            return Err("scale must be a number other than 0, offset a number".to_owned());
        }
        (raw.scale, raw.offset) = (self.scale, self.offset);
        Ok(raw)
    }
}

pub(super) fn plan(site: &Site, folder: &Path) -> Result<Vec<BusPlan>, SiteError> {
    let mut buses = BTreeMap::new();
    for (name, bus) in &site.bus {
        let plan = BusPlan {
            name: name.as_str().into(),
            reach: bus.reach(name, folder)?,
            units: BTreeMap::new(),
        };
        buses.insert(name.as_str(), plan);
    }
    for (name, device) in &site.device {
        let place = format!("device.{name}");
        let Some(bus) = buses.get_mut(device.bus.as_str()) else {
            let known: Vec<&str> = site.bus.keys().map(String::as_str).collect();
            let what = format!("there is no bus {:?}; there are {known:?}", device.bus);
            return Err(part(place, what));
        };
        let on_line = matches!(bus.reach, Reach::Line(_));
        if on_line && !(1..=247).contains(&device.unit) {
            let what = format!(
                "unit = {} is not allowed on a line; use 1 to 247",
                device.unit
            );
            return Err(part(place, what));
        }
        let setup = device.setup(name, folder, site.seed)?;
        if let Some(other) = bus.units.insert(device.unit, setup) {
            let what = format!(
                "unit {} of bus {} is {} already",
                device.unit, bus.name, other.device
            );
            return Err(part(place, what));
        }
    }
    Ok(buses.into_values().collect())
}

impl BusSite {
    fn reach(&self, name: &str, folder: &Path) -> Result<Reach, SiteError> {
        let place = || format!("bus.{name}");
        if self.kind == BusKind::ModbusRtu {
            if self.listen.is_some() {
                return Err(part(place(), "a line has no `listen`; it has a `link`"));
            }
            let link = self.link.as_ref();
            let link =
                link.ok_or_else(|| part(place(), "a line needs a `link`, such as \"bus0\""))?;
            return Ok(Reach::Line(LinePlan {
                link: super::plain(&folder.join(link)),
                line: self.line.unwrap_or(LineSettings::MODBUS),
                strict: self.strict,
                check_speed: self.check_speed,
            }));
        }
        if self.link.is_some() || self.line.is_some() {
            return Err(part(
                place(),
                "`link` and `line` belong to kind = \"modbus-rtu\"",
            ));
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = self.listen.unwrap_or(any);
        Ok(if self.kind == BusKind::ModbusTcp {
            Reach::Tcp(listen)
        } else {
            Reach::RtuOverTcp(listen)
        })
    }
}

impl DeviceSite {
    fn setup(&self, name: &str, folder: &Path, seed: u64) -> Result<UnitSetup, SiteError> {
        let place = || format!("device.{name}");
        let mut points = Vec::new();
        for point in &self.points {
            let at = || format!("device.{name}.{}", point.id);
            let (space, address) = point.address().map_err(|what| part(at(), what))?;
            let raw = point.raw(self.order).map_err(|what| part(at(), what))?;
            if point.write && !matches!(space, Space::Coil | Space::Holding) {
                let what = "write = true fits coils (\"co:\") and holding registers (\"hr:\") only";
                return Err(part(at(), what));
            }
            let signal = point.value.prepare(folder, salt(seed, &[name, &point.id]));
            points.push(Point {
                id: point.id.as_str().into(),
                space,
                address,
                raw,
                signal: signal.map_err(cause(at()))?,
                read_only: !point.write,
            });
        }
        Ok(UnitSetup {
            device: name.into(),
            map: Map::new(points).map_err(cause(place()))?,
            limits: Limits {
                max_registers: self.max_registers,
                refuse_gaps: self.refuse_gaps,
            },
            turnaround: self.turnaround.0,
            faults: Board::new(&self.faults).map_err(cause(place()))?,
        })
    }
}
