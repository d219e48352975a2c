//! A bus of units: finds the unit that is asked, and logs what it says before it is said. How requests
//! arrive and answers leave is not its business: it is a [`Station`].

use crate::answer_log::{ANSWER, AnswerLine, AnswerLog, SILENT, wall_ns};
use crate::site::{BusKind, BusSite};
use crate::unit::Unit;
use protocols_sim::modbus::{Carrier, LineTrouble, Reply, Station};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time a unit takes to think before it answers on a serial line; over TCP it answers at once.
const TURNAROUND: Duration = Duration::from_millis(4);

/// The units of one bus and the log of what they said.
#[derive(Debug)]
pub struct Bus {
    gateway: String,
    turnaround: Duration,
    units: Mutex<HashMap<u8, Unit>>,
    log: Arc<AnswerLog>,
    started: Instant,
    silent: AtomicBool,
}

impl Bus {
    /// The bus of `site`, writing to `log`.
    #[must_use]
    pub fn new(site: &BusSite, log: Arc<AnswerLog>) -> Self {
        let units = site
            .units
            .iter()
            .map(|unit| (unit.unit, Unit::new(unit.clone())))
            .collect();
        Self {
            gateway: site.gateway.clone(),
            turnaround: match site.kind {
                BusKind::Tcp { .. } => Duration::ZERO,
                _ => TURNAROUND,
            },
            units: Mutex::new(units),
            log,
            started: Instant::now(),
            silent: AtomicBool::new(false),
        }
    }

    /// From now on nobody answers, and nothing is logged.
    pub fn fall_silent(&self) {
        // Under the lock: an answer that is being made is in the log before this returns.
        let _units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Ends the silence; poll numbers go on where they were.
    pub fn speak_again(&self) {
        self.silent.store(false, Ordering::Relaxed);
    }

    /// The answer of `unit` to a request body; `None` where nobody answers. The log has the line
    /// before this returns.
    pub fn answer(&self, unit: u8, pdu: &[u8]) -> Option<Vec<u8>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        let unit = units.get_mut(&unit)?;
        let device = unit.site().device.clone();
        let silent = unit.is_silent(self.started.elapsed());
        let answer = (!silent).then(|| unit.answer(pdu));
        let (kind, polls) = match &answer {
            Some(answer) => (ANSWER, answer.polls.clone()),
            None => (SILENT, Vec::new()),
        };
        let gateway = self.gateway.clone();
        let line = AnswerLine {
            t: wall_ns(),
            gateway,
            device,
            polls,
            kind: kind.to_owned(),
        };
        self.log.write_or_end(&line);
        answer.map(|answer| answer.pdu)
    }
}

impl Station for Bus {
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        let answer = self.answer(unit, pdu);
        answer.map_or(Carrier::Silence, |answer| {
            Carrier::Answer(Reply::good(unit, self.turnaround, answer))
        })
    }

    fn trouble(&self, _trouble: LineTrouble) {
        // Nothing was read and nothing was said: nothing to judge.
    }
}
