//! A running simulator: everything that a [`Plan`] names, until it is stopped or dropped.

use crate::control::Action;
use crate::event::{Counts, Event, Hook};
use crate::fault::Fault;
use crate::line::{Port, PortState};
use crate::modbus::{Bus, RtuLine, RtuOptions, TcpFraming, TcpServer};
use crate::serial::{Device, Terminal};
use crate::site::{LinePlan, Plan, Reach, SerialPlan};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A simulator that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A port that cannot be listened on.
    #[error("bus {bus}: listening on {address}")]
    Listen {
        /// The bus.
        bus: String,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line that cannot be made.
    #[error("{name}: making the serial line")]
    Line {
        /// Bus or serial device.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Why an action was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// Nobody has the name.
    #[error("nothing here is called {name:?}; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The device has no such point.
    #[error("{device} has no point {point:?}")]
    Point {
        /// The device.
        device: String,
        /// The point.
        point: String,
    },
    /// It cannot be done to this one.
    #[error("{0}")]
    Senseless(String),
}

/// Something that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// Bus or serial device.
    pub name: Arc<str>,
    /// Where it is reached.
    pub at: Place,
    /// Devices and their faults.
    pub devices: Vec<(Arc<str>, Vec<Fault>)>,
    /// The line, where it is one.
    pub port: Option<PortState>,
}

/// Where something is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Modbus TCP.
    Tcp(SocketAddr),
    /// RTU frames over TCP.
    RtuOverTcp(SocketAddr),
    /// Modbus RTU on a line.
    Rtu(LinePlan),
    /// A serial device on a line.
    Serial(LinePlan),
}

#[derive(Debug)]
enum Wire {
    Tcp(Arc<TcpServer>, SocketAddr, TcpFraming),
    Line(Port, LinePlan),
}

#[derive(Debug)]
struct RunningBus {
    bus: Arc<Bus>,
    wire: Wire,
}

#[derive(Debug)]
struct RunningSerial {
    device: Arc<Device>,
    port: Port,
    line: LinePlan,
}

/// The simulator.
#[derive(Debug)]
pub struct Sim {
    started: Instant,
    buses: Vec<RunningBus>,
    serials: Vec<RunningSerial>,
    counts: Arc<Mutex<Counts>>,
    stop: DropGuard,
}

impl Sim {
    /// Serves everything in `plan`; `hook` is told every event before it reaches a wire.
    ///
    /// # Errors
    /// What could not be served; what was begun is taken back.
    pub async fn start(plan: Plan, hook: Option<Hook>) -> Result<Self, SimError> {
        let started = Instant::now();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let entered = Arc::clone(&counts);
        let hook: Hook = Arc::new(move |event: &Event<'_>| {
            let mut counts = entered.lock().unwrap_or_else(PoisonError::into_inner);
            counts.enter(&event.what);
            drop(counts);
            if let Some(hook) = &hook {
                hook(event);
            }
        });
        let stop = CancellationToken::new();
        let mut buses = Vec::new();
        for bus in plan.buses {
            let name = Arc::clone(&bus.name);
            let hook = Arc::clone(&hook);
            let station = Arc::new(Bus::new(bus.name, bus.units, hook, started));
            let wire = match bus.reach {
                Reach::Tcp(address) => {
                    tcp(&name, &station, address, TcpFraming::Mbap, &stop).await?
                }
                Reach::RtuOverTcp(address) => {
                    tcp(&name, &station, address, TcpFraming::Rtu, &stop).await?
                }
                Reach::Line(line) => rtu(&name, &station, line)?,
            };
            let bus = station;
            buses.push(RunningBus { bus, wire });
        }
        let mut serials = Vec::new();
        for serial in plan.serials {
            serials.push(terminal(serial, &hook, started)?);
        }
        Ok(Self {
            started,
            buses,
            serials,
            counts,
            stop: stop.drop_guard(),
        })
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served, where, and the faults at work.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        let bus = |running: &RunningBus| {
            let (at, port) = match &running.wire {
                Wire::Tcp(_, address, TcpFraming::Mbap) => (Place::Tcp(*address), None),
                Wire::Tcp(_, address, TcpFraming::Rtu) => (Place::RtuOverTcp(*address), None),
                Wire::Line(port, line) => (Place::Rtu(line.clone()), Some(port.state())),
            };
            Served {
                name: running.bus.name().into(),
                at,
                devices: running.bus.faults(),
                port,
            }
        };
        let serial = |running: &RunningSerial| Served {
            name: Arc::clone(running.device.name()),
            at: Place::Serial(running.line.clone()),
            devices: vec![(Arc::clone(running.device.name()), running.device.faults())],
            port: Some(running.port.state()),
        };
        let buses = self.buses.iter().map(bus);
        buses.chain(self.serials.iter().map(serial)).collect()
    }

    /// Links that were made.
    #[must_use]
    pub fn links(&self) -> Vec<PathBuf> {
        let of_bus = |running: &RunningBus| match &running.wire {
            Wire::Line(port, _) => Some(port.link().to_owned()),
            Wire::Tcp(..) => None,
        };
        let serials = self
            .serials
            .iter()
            .map(|serial| serial.port.link().to_owned());
        self.buses
            .iter()
            .filter_map(of_bus)
            .chain(serials)
            .collect()
    }

    /// Does something to a device, a serial device or a bus; says what was done.
    ///
    /// # Errors
    /// Why it was not.
    pub fn act(&self, name: &str, action: &Action) -> Result<String, ActionError> {
        let senseless = |text: &dyn std::fmt::Display| ActionError::Senseless(text.to_string());
        if let Some(serial) = self.serials.iter().find(|s| &**s.device.name() == name) {
            return match action {
                Action::Fault(fault) => {
                    crate::site::means_something(fault).map_err(ActionError::Senseless)?;
                    serial
                        .device
                        .arm(*fault)
                        .map_err(|error| senseless(&error))?;
                    Ok(format!("{name}: {fault}"))
                }
                Action::Ok => {
                    serial.device.heal();
                    Ok(format!("{name}: ok"))
                }
                Action::Unplug(time) => {
                    serial
                        .port
                        .unplug(*time)
                        .map_err(|error| senseless(&error))?;
                    Ok(format!("{name}: unplugged"))
                }
                Action::Set(point, value) => {
                    set(name, point, Some(serial.device.set(point, value.clone())))
                }
            };
        }
        match action {
            Action::Fault(fault) => {
                let mut found = false;
                for running in &self.buses {
                    found |= running
                        .bus
                        .arm(name, *fault)
                        .map_err(|error| senseless(&error))?;
                }
                found
                    .then(|| format!("{name}: {fault}"))
                    .ok_or_else(|| self.unknown(name))
            }
            Action::Ok => {
                let healed = self.buses.iter().map(|running| running.bus.heal(name));
                let found = healed.fold(false, |any, found| any | found);
                found
                    .then(|| format!("{name}: ok"))
                    .ok_or_else(|| self.unknown(name))
            }
            Action::Set(point, value) => {
                let mut buses = self.buses.iter();
                let done = buses.find_map(|running| running.bus.set(name, point, value.clone()));
                done.ok_or_else(|| self.unknown(name))?;
                set(name, point, done)
            }
            Action::Unplug(time) => {
                let mut buses = self.buses.iter();
                let running = buses.find(|running| running.bus.name() == name);
                let Some(running) = running else {
                    let devices = self.buses.iter().flat_map(|running| running.bus.faults());
                    let is_device = devices.into_iter().any(|(device, _)| &*device == name);
                    return Err(if is_device {
                        senseless(&format_args!(
                            "unplug a bus or a serial device; {name} is a device on a bus"
                        ))
                    } else {
                        self.unknown(name)
                    });
                };
                match &running.wire {
                    Wire::Line(port, _) => port.unplug(*time).map_err(|error| senseless(&error))?,
                    Wire::Tcp(server, ..) => unplug(server, *time),
                }
                Ok(format!("{name}: unplugged"))
            }
        }
    }

    fn unknown(&self, name: &str) -> ActionError {
        let mut known: Vec<String> = Vec::new();
        for served in self.served() {
            known.push(served.name.to_string());
            let devices = served.devices.iter().map(|(device, _)| device.to_string());
            known.extend(devices.filter(|device| **device != *served.name));
        }
        ActionError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        }
    }

    /// Ends everything and removes the links. Dropping does the same.
    pub fn stop(self) {
        drop(self.stop);
    }
}

fn set(device: &str, point: &str, found: Option<bool>) -> Result<String, ActionError> {
    if found == Some(true) {
        return Ok(format!("{device}: {point} is set"));
    }
    Err(ActionError::Point {
        device: device.to_owned(),
        point: point.to_owned(),
    })
}

/// The network is gone for a time.
fn unplug(server: &Arc<TcpServer>, time: Duration) {
    server.unplug(true);
    let server = Arc::clone(server);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        server.unplug(false);
    });
}

async fn tcp(
    name: &str,
    station: &Arc<Bus>,
    address: SocketAddr,
    framing: TcpFraming,
    stop: &CancellationToken,
) -> Result<Wire, SimError> {
    let failed = |source| SimError::Listen {
        bus: name.to_owned(),
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let station: Arc<Bus> = Arc::clone(station);
    let server = Arc::new(TcpServer::new(station, framing));
    tokio::spawn(Arc::clone(&server).serve(listener, stop.clone()));
    Ok(Wire::Tcp(server, address, framing))
}

fn rtu(name: &str, station: &Arc<Bus>, plan: LinePlan) -> Result<Wire, SimError> {
    let options = RtuOptions {
        line: plan.line,
        strict: plan.strict,
    };
    let station: Arc<Bus> = Arc::clone(station);
    let core = Box::new(RtuLine::new(options, station));
    let port = port(name, &plan, core)?;
    Ok(Wire::Line(port, plan))
}

fn terminal(serial: SerialPlan, hook: &Hook, started: Instant) -> Result<RunningSerial, SimError> {
    let name = Arc::clone(&serial.setup.name);
    let device = Device::new(serial.setup, Arc::clone(hook), started, utc_now());
    let device = Arc::new(device);
    let core = Box::new(Terminal::new(serial.line.line, Arc::clone(&device)));
    let port = port(&name, &serial.line, core)?;
    let line = serial.line;
    Ok(RunningSerial { device, port, line })
}

fn port(name: &str, plan: &LinePlan, core: Box<dyn crate::line::Core>) -> Result<Port, SimError> {
    let speed = plan.check_speed.then_some(plan.line.baud);
    Port::start(&plan.link, core, speed).map_err(|source| SimError::Line {
        name: name.to_owned(),
        source,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a receiver tells the time that it is; nothing else here asks for it"
)]
fn utc_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
