//! How often and how patiently devices are asked, said at several levels: `gateway.defaults` < bus <
//! template < device. For Modbus and serial lines alike.
//!
//! A level says only what differs; the inner level wins, key by key. Poll groups are united by name.

use crate::key::kinds::{Durations, Inner, Pairs, Parsed, Text, Whole};
use crate::key::{Group as KeyGroup, Key, Section};
use crate::notes::Notes;
use crate::point::Head;
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::source::Located;
use crate::units;
use crate::walk::Table;
use protocols_modbus::config::{PERIODS, TIMEOUTS};
use std::time::Duration;

const TIMEOUT: Key<Durations> = Key::new(
    "timeout",
    Durations(*TIMEOUTS.start(), *TIMEOUTS.end()),
    "how long to wait for an answer; on a serial line the time of the bytes themselves is added",
)
.default(Duration::from_secs(1));
const RETRY: Key<Inner> = Key::new(
    "retry",
    Inner(const { &[&RETRIES] }),
    "when a silent device counts as dead, and how often it is asked then",
);
const FAILS: Key<Whole> = Key::new("fails", Whole(1, 1000), "failed requests in a row").default(2);
const BACKOFF: Key<Parsed<(Duration, Duration)>> = Key::new(
    "backoff",
    Parsed {
        allowed: "first and longest wait: \"5s..10m\"",
        parse: parse_backoff,
    },
    "waits before a dead device is asked again, doubling from the first to the longest",
)
.default("5s..1m");
const GROUPS: Key<Pairs> = Key::new(
    "groups",
    Pairs("a period of 10ms..1d, such as \"1s\""),
    "poll groups by name: points with one period",
)
.otherwise("one group, read each second");
pub(crate) const GROUP: Key<Text> = Key::new(
    "group",
    Text("the name of a poll group"),
    "poll group of points that name none",
)
.otherwise("the only group; needed when there are several");

static RETRIES: Section = Section::inline(&[&FAILS, &BACKOFF]);
/// What any level may say.
pub(crate) static POLL: KeyGroup = KeyGroup {
    title: "Poll settings",
    help: "May be said in `gateway.defaults`, a bus, a template and a device, of Modbus and of serial lines; the inner level wins, key by key, and poll groups are united by name.",
    keys: &[&TIMEOUT, &RETRY, &GROUPS, &GROUP, &report::REPORT],
};

/// A poll group: points with one period.
#[derive(Debug, Clone)]
struct Group {
    name: String,
    period: Duration,
}

/// One level's settings; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Poll {
    timeout: Option<Duration>,
    fails: Option<i64>,
    backoff: Option<(Duration, Duration)>,
    pub(crate) report: Option<Report>,
    group: Option<Located<String>>,
    groups: Vec<Group>,
}

/// Poll period where no group is defined at all.
const DEFAULT_PERIOD: Duration = Duration::from_secs(1);

impl Poll {
    /// Reads the keys of a level from `table`.
    pub(crate) fn read(table: &Table<'_>) -> Self {
        let (mut fails, mut backoff) = (None, None);
        if let Some(retry) = table.table(&RETRY) {
            fails = retry.get(&FAILS).map(|found| found.value);
            backoff = retry.get(&BACKOFF).map(|found| found.value);
            retry.finish();
        }
        Self {
            timeout: table.get(&TIMEOUT).map(|found| found.value),
            fails,
            backoff,
            report: report::read(table).map(|found| found.value),
            group: table.get(&GROUP),
            groups: read_groups(table),
        }
    }

    /// This level, with what it leaves open taken from `outer`.
    pub(crate) fn over(mut self, outer: &Self) -> Self {
        self.timeout = self.timeout.or(outer.timeout);
        self.fails = self.fails.or(outer.fails);
        self.backoff = self.backoff.or(outer.backoff);
        self.report = self.report.or(outer.report);
        self.group = self.group.or_else(|| outer.group.clone());
        for group in &outer.groups {
            if !self.groups.iter().any(|own| own.name == group.name) {
                self.groups.push(group.clone());
            }
        }
        self
    }

    pub(crate) fn timeout(&self) -> Duration {
        TIMEOUT.or_default(self.timeout)
    }

    pub(crate) fn fails(&self) -> u32 {
        u32::try_from(FAILS.or_default(self.fails)).unwrap_or(u32::MAX)
    }

    /// First and longest wait before a dead device is asked again.
    pub(crate) fn backoff(&self) -> (Duration, Duration) {
        BACKOFF.or_default(self.backoff)
    }

    /// The period of a point that names `own` as its poll group, or none; `idle` for one that is never
    /// read and so needs none.
    pub(crate) fn period(
        &self,
        head: &Head,
        own: Option<&Located<String>>,
        idle: bool,
        notes: &Notes<'_>,
    ) -> Option<Duration> {
        let names = || self.groups.iter().map(|group| group.name.as_str());
        let list = || names().collect::<Vec<_>>().join(", ");
        match (own.or(self.group.as_ref()), self.groups.as_slice()) {
            (Some(name), groups) => {
                let found = groups.iter().find(|group| group.name == name.value);
                if found.is_none() {
                    let message = format!("unknown poll group {:?}", name.value);
                    let allowed = if groups.is_empty() {
                        "groups = { name = \"1s\" } in the template, the device, the bus or gateway.defaults".to_owned()
                    } else {
                        list()
                    };
                    notes.push(
                        Problem::error(&name.place, message, allowed).suggest(&name.value, names()),
                    );
                }
                found.map(|group| group.period)
            }
            (None, []) => Some(DEFAULT_PERIOD),
            (None, [only]) => Some(only.period),
            (None, [first, ..]) if idle => Some(first.period),
            (None, _) => {
                let id = &head.id.value;
                let message = format!("point {id} names no poll group, and there are several");
                let allowed = format!("group = one of {}", list());
                notes.push(Problem::error(&head.place, message, allowed));
                None
            }
        }
    }
}

fn read_groups(table: &Table<'_>) -> Vec<Group> {
    let mut groups = Vec::new();
    for (name, period) in table
        .get(&GROUPS)
        .map_or_else(Vec::new, |found| found.value)
    {
        match units::parse_duration(&period.value).filter(|p| PERIODS.contains(p)) {
            Some(period) => groups.push(Group {
                name: name.value,
                period,
            }),
            None => {
                let message = format!("{:?} is not a poll period", period.value);
                let allowed = format!(
                    "{}..{}, {}",
                    units::show_duration(*PERIODS.start()),
                    units::show_duration(*PERIODS.end()),
                    units::DURATION_FORM
                );
                let problem = Problem::error(&period.place, message, allowed);
                table.notes().push(problem);
            }
        }
    }
    groups
}

/// Reads `"5s..10m"`.
pub(crate) fn parse_backoff(text: &str) -> Result<(Duration, Duration), String> {
    let span = text.split_once("..").and_then(|(first, longest)| {
        let first = units::parse_duration(first)?;
        Some((first, units::parse_duration(longest)?))
    });
    span.filter(|(first, longest)| !first.is_zero() && first <= longest)
        .ok_or_else(|| "not two waits, the shorter first".to_owned())
}
