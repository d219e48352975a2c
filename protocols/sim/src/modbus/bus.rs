//! The units of one bus, their faults, and what becomes of each request.

use super::map::Map;
use super::station::{Carrier, LineTrouble, Reply, Spoil, Station};
use super::unit::{self, Done, Limits};
use crate::event::{Event, Hook, What};
use crate::fault::{Board, Fault, FaultError, Kind};
use crate::script::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One unit as it is built from a site.
#[derive(Debug, Clone)]
pub struct UnitSetup {
    /// Name of the device.
    pub device: Arc<str>,
    /// Its points.
    pub map: Map,
    /// What it refuses.
    pub limits: Limits,
    /// Time from the end of a request to the begin of the answer.
    pub turnaround: Duration,
    /// Its faults from the start on.
    pub faults: Board,
}

#[derive(Debug)]
struct Unit {
    setup: UnitSetup,
    asked: u64,
}

/// The bus.
pub struct Bus {
    name: Arc<str>,
    units: Mutex<BTreeMap<u8, Unit>>,
    hook: Hook,
    started: Instant,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// A bus of these units, by unit id. Times count from `started`.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        units: BTreeMap<u8, UnitSetup>,
        hook: Hook,
        started: Instant,
    ) -> Self {
        let unit = |(id, setup)| (id, Unit { setup, asked: 0 });
        Self {
            name,
            units: Mutex::new(units.into_iter().map(unit).collect()),
            hook,
            started,
        }
    }

    /// The bus' name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Arms a fault at a device, or at all of the bus when `device` is its name. Whether it is here.
    ///
    /// # Errors
    /// Where there are too many faults.
    pub fn arm(&self, device: &str, fault: Fault) -> Result<bool, FaultError> {
        let now = self.started.elapsed();
        let mut found = false;
        for unit in self
            .lock()
            .values_mut()
            .filter(|unit| self.is(unit, device))
        {
            unit.setup.faults.arm(fault, now)?;
            found = true;
        }
        Ok(found)
    }

    /// Takes all faults of a device back. Whether it is here.
    pub fn heal(&self, device: &str) -> bool {
        let mut units = self.lock();
        let found = units.values_mut().filter(|unit| self.is(unit, device));
        found.map(|unit| unit.setup.faults.clear()).count() > 0
    }

    /// Holds a point at a value, or lets it follow its script again. `None` where the device is not
    /// here, else whether it has such a point.
    pub fn set(&self, device: &str, point: &str, value: Option<Value>) -> Option<bool> {
        let mut units = self.lock();
        let unit = units
            .values_mut()
            .find(|unit| &*unit.setup.device == device)?;
        Some(match value {
            Some(value) => unit.setup.map.hold(point, value),
            None => unit.setup.map.release(point),
        })
    }

    /// Faults that are at work or will be, by device.
    #[must_use]
    pub fn faults(&self) -> Vec<(Arc<str>, Vec<Fault>)> {
        let now = self.started.elapsed();
        let of = |unit: &Unit| {
            let faults = unit.setup.faults.armed(now).copied().collect();
            (Arc::clone(&unit.setup.device), faults)
        };
        self.lock().values().map(of).collect()
    }

    fn is(&self, unit: &Unit, name: &str) -> bool {
        &*unit.setup.device == name || &*self.name == name
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u8, Unit>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, elapsed: Duration, device: Option<&str>, what: What<'_>) {
        (self.hook)(&Event {
            elapsed,
            bus: &self.name,
            device,
            what,
        });
    }

    fn broadcast(&self, pdu: &[u8], elapsed: Duration) -> Carrier {
        for unit in self.lock().values_mut() {
            let setup = &mut unit.setup;
            let (done, _) = unit::answer(&mut setup.map, setup.limits, pdu, elapsed);
            // Only writes mean anything to all; nobody complains of what it cannot do.
            if matches!(done, Done::Wrote(_)) {
                self.tell(elapsed, Some(&setup.device), what(&done));
            }
        }
        Carrier::Silence
    }
}

impl Station for Bus {
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        let elapsed = self.started.elapsed();
        let mut units = self.lock();
        if unit == 0 && !units.contains_key(&0) {
            drop(units);
            return self.broadcast(pdu, elapsed);
        }
        let Some(asked) = units.get_mut(&unit) else {
            return Carrier::Silence;
        };
        let number = asked.asked;
        asked.asked += 1;
        let setup = &mut asked.setup;
        let device = Arc::clone(&setup.device);
        let faults: Vec<Kind> = setup.faults.active(elapsed, number).collect();
        let mut limits = setup.limits;
        let mut reply = Reply::good(unit, setup.turnaround, Vec::new());
        let mut spoilt_by = None;
        for fault in &faults {
            match *fault {
                Kind::Silent | Kind::Drop => {
                    self.tell(elapsed, Some(&device), What::Faulted(&fault.to_string()));
                    let is_silent = *fault == Kind::Silent;
                    return if is_silent {
                        Carrier::Silence
                    } else {
                        Carrier::HangUp
                    };
                }
                Kind::Exception(code) => {
                    self.tell(elapsed, Some(&device), What::Faulted(&fault.to_string()));
                    let function = pdu.first().copied().unwrap_or(0);
                    reply.pdu = super::pdu::exception(function, code);
                    return Carrier::Answer(reply);
                }
                Kind::RefuseGaps => limits.refuse_gaps = true,
                Kind::Limit(most) => limits.max_registers = Some(most),
                Kind::Late(by) => reply.after += by,
                Kind::Stall(pause) => reply.pause += pause,
                Kind::Garbage => reply.spoil = Spoil::Garbage(number),
                Kind::WrongCrc => reply.spoil = Spoil::Checksum,
                Kind::Cut => reply.spoil = Spoil::Cut,
                Kind::WrongUnit => reply.unit = unit.wrapping_add(1),
            }
            if !matches!(fault, Kind::RefuseGaps | Kind::Limit(_)) {
                spoilt_by = Some(fault);
            }
        }
        let (done, body) = unit::answer(&mut setup.map, limits, pdu, elapsed);
        reply.pdu = body;
        match spoilt_by {
            Some(fault) => self.tell(elapsed, Some(&device), What::Faulted(&fault.to_string())),
            None => self.tell(elapsed, Some(&device), what(&done)),
        }
        Carrier::Answer(reply)
    }

    fn trouble(&self, trouble: LineTrouble) {
        self.tell(self.started.elapsed(), None, What::Trouble(trouble));
    }
}

fn what(done: &Done) -> What<'_> {
    match done {
        Done::Read(range, shown) => What::Read {
            function: range.function,
            address: range.address,
            count: range.count,
            shown,
        },
        Done::Wrote(range) => What::Wrote {
            function: range.function,
            address: range.address,
            count: range.count,
        },
        Done::Refused { function, code } => What::Refused {
            function: *function,
            code: *code,
        },
    }
}

#[cfg(test)]
mod tests;
