//! How busy the machine is with what is not ours, and what kind of machine it is.

use crate::measure::float;
use anyhow::Context as _;
use std::time::Instant;

/// CPU time of the machine at one moment, in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    busy: u64,
    ours: u64,
    at: Instant,
}

impl Machine {
    /// Looks, with the processes `ours` known as our own beside this one.
    pub(crate) fn look(ours: &[u32]) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let total = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<u64> = total
            .split_whitespace()
            .skip(1)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq, steal: what is neither idle nor waiting.
        let busy = [0, 1, 2, 5, 6, 7];
        let busy = busy.iter().filter_map(|&place| ticks.get(place)).sum();
        let this = std::process::id();
        let own = ours.iter().chain([&this]);
        Ok(Self {
            busy,
            ours: own.map(|&pid| ticks_of(pid)).sum(),
            at: Instant::now(),
        })
    }

    /// Share of the machine's whole CPU that others took since `earlier`: 0 is none, 1 is all.
    pub(crate) fn foreign_since(&self, earlier: &Self) -> f64 {
        let busy = self.busy.saturating_sub(earlier.busy);
        let ours = self.ours.saturating_sub(earlier.ours);
        let room = self.at.duration_since(earlier.at).as_secs_f64() * 100.0 * cpus();
        float(busy.saturating_sub(ours)) / room.max(1.0)
    }
}

fn ticks_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn cpus() -> f64 {
    let found = std::thread::available_parallelism().map_or(1, usize::from);
    f64::from(u32::try_from(found).unwrap_or(1))
}

/// Processes that want to run, averaged over a minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|load| load.parse().ok());
    first.unwrap_or(f64::NAN)
}

/// One line about the machine, for whoever keeps the figures.
pub(crate) fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} × {model}, {}, Linux {}",
        cpus(),
        std::env::consts::ARCH,
        kernel.trim()
    )
}
