//! What can be said at several levels: `gateway.defaults` < bus < template < device.
//!
//! A level says only what differs; the inner level wins, key by key. Poll groups are united by name.

use crate::problem::Problem;
use crate::report::{self, Report};
use crate::source::Located;
use crate::units;
use crate::walk::Table;
use protocols_modbus::config::{Limits, MAX_BITS, MAX_REGISTERS, Order, PERIODS, Retry, TIMEOUTS};
use std::time::Duration;

/// A poll group: points with one period.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) period: Duration,
}

/// One level's settings; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) timeout: Option<Duration>,
    pub(crate) order: Option<Order>,
    pub(crate) report: Option<Report>,
    pub(crate) group: Option<Located<String>>,
    pub(crate) groups: Vec<Group>,
    max_gap: Option<u16>,
    max_regs: Option<u16>,
    max_bits: Option<u16>,
    fails: Option<u32>,
    backoff: Option<(Duration, Duration)>,
}

/// Answer time-out where nobody says one.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// Poll period where no group is defined at all.
pub(crate) const DEFAULT_PERIOD: Duration = Duration::from_secs(1);

pub(crate) const ORDER: &str =
    "letters from the most significant byte A: ABCD, CDAB, BADC, DCBA, AB, BA, or eight letters";

impl Layer {
    /// Reads the keys of a level from `table`.
    pub(crate) fn read(table: &Table<'_>) -> Self {
        let small = |key, most: u16| {
            let found = table.integer(key, i64::from(key != "max_gap")..=i64::from(most));
            found.and_then(|found| u16::try_from(found.value).ok())
        };
        let mut layer = Self {
            timeout: table.duration("timeout", TIMEOUTS).map(|t| t.value),
            order: table.parse("order", ORDER, str::parse).map(|o| o.value),
            report: report::read(table).map(|report| report.value),
            group: table.text("group"),
            groups: Vec::new(),
            max_gap: small("max_gap", MAX_REGISTERS - 1),
            max_regs: small("max_regs", MAX_REGISTERS),
            max_bits: small("max_bits", MAX_BITS),
            fails: None,
            backoff: None,
        };
        if let Some(groups) = table.table("groups") {
            layer.read_groups(&groups);
        }
        if let Some(retry) = table.table("retry") {
            let fails = retry.integer("fails", 1..=1000);
            layer.fails = fails.and_then(|fails| u32::try_from(fails.value).ok());
            layer.backoff = read_backoff(&retry);
            retry.finish();
        }
        layer
    }

    fn read_groups(&mut self, groups: &Table<'_>) {
        let allowed = format!(
            "{}..{}, {}",
            units::show_duration(*PERIODS.start()),
            units::show_duration(*PERIODS.end()),
            units::DURATION_FORM
        );
        for (name, period) in groups.pairs("a period such as \"1s\"") {
            match units::parse_duration(&period.value).filter(|p| PERIODS.contains(p)) {
                Some(period) => self.groups.push(Group {
                    name: name.value,
                    period,
                }),
                None => {
                    let message = format!("{:?} is not a poll period", period.value);
                    let problem = Problem::error(&period.place, message, &allowed);
                    groups.notes().push(problem);
                }
            }
        }
    }

    /// This level, with what it leaves open taken from `outer`.
    pub(crate) fn over(mut self, outer: &Self) -> Self {
        self.timeout = self.timeout.or(outer.timeout);
        self.order = self.order.or(outer.order);
        self.report = self.report.or(outer.report);
        self.max_gap = self.max_gap.or(outer.max_gap);
        self.max_regs = self.max_regs.or(outer.max_regs);
        self.max_bits = self.max_bits.or(outer.max_bits);
        self.fails = self.fails.or(outer.fails);
        self.backoff = self.backoff.or(outer.backoff);
        self.group = self.group.or_else(|| outer.group.clone());
        for group in &outer.groups {
            if !self.groups.iter().any(|own| own.name == group.name) {
                self.groups.push(group.clone());
            }
        }
        self
    }

    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            max_gap: self.max_gap.unwrap_or(default.max_gap),
            max_regs: self.max_regs.unwrap_or(default.max_regs),
            max_bits: self.max_bits.unwrap_or(default.max_bits),
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        let default = Retry::default();
        let (backoff_min, backoff_max) = self
            .backoff
            .unwrap_or((default.backoff_min, default.backoff_max));
        Retry {
            fails: self.fails.unwrap_or(default.fails),
            backoff_min,
            backoff_max,
        }
    }
}

/// Reads `backoff = "5s..10m"`.
fn read_backoff(retry: &Table<'_>) -> Option<(Duration, Duration)> {
    let span = |text: &str| {
        let (first, longest) = text.split_once("..")?;
        let span = (
            units::parse_duration(first)?,
            units::parse_duration(longest)?,
        );
        (!span.0.is_zero() && span.0 <= span.1).then_some(span)
    };
    let found = retry.parse("backoff", "first and longest wait: \"5s..10m\"", |text| {
        span(text).ok_or("not two waits, the shorter first")
    });
    found.map(|found| found.value)
}
