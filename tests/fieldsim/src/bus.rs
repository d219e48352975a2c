//! A bus of units: finds the unit that is asked, and logs what it says before it is said.

use crate::answer_log::{AnswerLine, AnswerLog, wall_ns};
use crate::site::BusSite;
use crate::unit::Unit;
use anyhow::Context as _;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The units of one bus and the log of what they said.
#[derive(Debug)]
pub struct Bus {
    gateway: String,
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

    /// The answer of `unit` to a request body; `None` where nobody answers. The log has the line
    /// before this returns.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub fn answer(&self, unit: u8, pdu: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        if self.silent.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(unit) = units.get_mut(&unit) else {
            return Ok(None);
        };
        let device = unit.site().device.clone();
        let silent = unit.is_silent(self.started.elapsed());
        let answer = (!silent).then(|| unit.answer(pdu));
        let (kind, polls) = match &answer {
            Some(answer) => ("answer", answer.polls.clone()),
            None => ("silent", Vec::new()),
        };
        let gateway = self.gateway.clone();
        let line = AnswerLine {
            t: wall_ns(),
            gateway,
            device,
            polls,
            kind: kind.to_owned(),
        };
        self.log.write(&line).context("writing the answer log")?;
        Ok(answer.map(|answer| answer.pdu))
    }
}
