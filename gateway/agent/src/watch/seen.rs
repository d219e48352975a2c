//! What is known of the gateway: its last answer, how old that is, and rates over the last few. Pure.

use crate::control::WatchNow;
use crate::snapshot::{BusReport, Report};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Rates are told over so many answers: a second's batch more or less does not show.
const KEPT: usize = 6;

/// The counters that rates are told of.
#[derive(Debug)]
struct Sums {
    at: Duration,
    pid: u32,
    taken: u64,
    kept: u64,
    bytes_up: u64,
    buses: BTreeMap<String, (u64, u64)>,
}

/// What happens each second.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) taken: f64,
    pub(super) kept: f64,
    pub(super) bytes_up: f64,
    /// Requests, and the part of the time that the bus is taken.
    pub(super) buses: BTreeMap<String, (f64, f64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) now: Option<WatchNow>,
    /// Nothing before the second answer.
    pub(super) rates: Option<Rates>,
    /// Why the last question was not answered.
    pub(super) problem: Option<String>,
    answered: Option<Duration>,
    past: VecDeque<Sums>,
}

/// A counter of a bus.
pub(super) fn counter(bus: &BusReport, name: &str) -> u64 {
    let found = bus.counters.iter().find(|counter| counter.name == name);
    found.map_or(0, |counter| counter.value)
}

impl Seen {
    /// Takes an answer that came at `at`, by any clock that runs on.
    pub(super) fn answered(&mut self, at: Duration, now: WatchNow) {
        let sums = sums(at, &now.report);
        // A gateway that was started again, or whose driver was, counts from nothing.
        let restarted = self.past.back().is_some_and(|last| {
            last.pid != sums.pid || last.taken > sums.taken || last.bytes_up > sums.bytes_up
        });
        if restarted {
            self.past.clear();
        }
        self.past.push_back(sums);
        if self.past.len() > KEPT {
            self.past.pop_front();
        }
        self.rates = self.past.front().zip(self.past.back()).and_then(rates);
        (self.now, self.answered, self.problem) = (Some(now), Some(at), None);
    }

    /// The question of `at` was not answered.
    pub(super) fn failed(&mut self, problem: String) {
        self.problem = Some(problem);
        self.rates = None;
        self.past.clear();
    }

    /// How old the last answer is.
    pub(super) fn age(&self, at: Duration) -> Option<Duration> {
        Some(at.saturating_sub(self.answered?))
    }
}

fn sums(at: Duration, report: &Report) -> Sums {
    let uplink = report.uplink.as_ref();
    let bytes = uplink.and_then(|uplink| uplink.counters.get("bytes").copied());
    let bus = |bus: &BusReport| {
        let counts = (counter(bus, "requests"), counter(bus, "busy_microseconds"));
        (bus.name.clone(), counts)
    };
    Sums {
        at,
        pid: report.pid,
        taken: report.pipeline.taken,
        kept: report.pipeline.kept,
        bytes_up: bytes.unwrap_or(0),
        buses: report.buses.iter().map(bus).collect(),
    }
}

fn rates((first, last): (&Sums, &Sums)) -> Option<Rates> {
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    if seconds <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a difference of seconds")]
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
    let buses = last.buses.iter().filter_map(|(name, (requests, busy))| {
        let (requests_before, busy_before) = first.buses.get(name)?;
        let load = rate(*busy_before, *busy) / 1e6;
        Some((name.clone(), (rate(*requests_before, *requests), load)))
    });
    Some(Rates {
        taken: rate(first.taken, last.taken),
        kept: rate(first.kept, last.kept),
        bytes_up: rate(first.bytes_up, last.bytes_up),
        buses: buses.collect(),
    })
}
