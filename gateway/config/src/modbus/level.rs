//! What can be said at several levels: `gateway.defaults` < bus < template < device.
//!
//! A level says only what differs; the inner level wins, key by key. Poll groups are united by name.

use crate::key::kinds::{Durations, Inner, Pairs, Parsed, Text, Whole, Words};
use crate::key::{Group as KeyGroup, Key, Section};
use crate::problem::Problem;
use crate::report::{self, Report};
use crate::source::Located;
use crate::units;
use crate::walk::Table;
use protocols_modbus::config::{
    BitWrites, Limits, MAX_BITS, MAX_REGISTERS, Order, PAUSES, PERIODS, Quirks, Retry, TIMEOUTS,
    WriteWith,
};
use std::time::Duration;

const TIMEOUT: Key<Durations> = Key::new(
    "timeout",
    Durations(*TIMEOUTS.start(), *TIMEOUTS.end()),
    "how long to wait for an answer; on a serial line the time of the bytes themselves is added",
)
.default(Duration::from_secs(1));
pub(super) const ORDER: Key<Parsed<Order>> = Key::new(
    "order",
    Parsed {
        allowed: "letters from the most significant byte A: ABCD, CDAB, BADC, DCBA, AB, BA, or eight letters",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "order of a value's bytes, A the most significant",
)
.default("ABCD");
const MAX_GAP: Key<Whole> = Key::new(
    "max_gap",
    Whole(0, MAX_REGISTERS as i64 - 1),
    "addresses nobody asked for that may be read along to save a request; 0 for devices that refuse gaps",
)
.otherwise("as many as cost less than a request");
const MAX_REGS: Key<Whole> = Key::new(
    "max_regs",
    Whole(1, MAX_REGISTERS as i64),
    "registers in one request",
)
.default(MAX_REGISTERS as i64);
const MAX_BITS_KEY: Key<Whole> = Key::new(
    "max_bits",
    Whole(1, MAX_BITS as i64),
    "coils or discrete inputs in one request",
)
.default(MAX_BITS as i64);
const PAUSE: Key<Durations> = Key::new(
    "pause",
    PAUSE_BOUNDS,
    "silence before each request to a unit, counted from the last character on the bus",
)
.default(Duration::ZERO);
const AFTER_CONNECT: Key<Durations> = Key::new(
    "after_connect",
    PAUSE_BOUNDS,
    "how long a unit is left alone after the port was opened or the connection made",
)
.default(Duration::ZERO);
const BIT_ALIGN: Key<Whole> = Key::new(
    "bit_align",
    Whole(1, 16),
    "reads of coils and discrete inputs begin at a multiple of this: 1, 8 or 16",
)
.default(1);
pub(super) const WRITE_WITH: Key<Words<WriteWith>> = Key::new(
    "write_with",
    Words(&[
        ("auto", WriteWith::Auto),
        ("single", WriteWith::Single),
        ("multiple", WriteWith::Multiple),
        ("read-write", WriteWith::ReadWrite),
    ]),
    "function that writes; auto: one register or coil by function 6 or 5, several by 16; single: 6 and 5 only; multiple: 16 and 15 only; read-write: 23",
)
.default("auto");
const BIT_WRITES: Key<Words<BitWrites>> = Key::new(
    "bit_writes",
    Words(&[
        ("mask", BitWrites::Mask),
        ("read-modify-write", BitWrites::ReadModifyWrite),
    ]),
    "how bits of a register are written; mask: function 22; read-modify-write only where nobody else writes the register",
)
.default("mask");
const RETRY: Key<Inner> = Key::new(
    "retry",
    Inner(const { &[&RETRIES] }),
    "when a silent unit counts as dead, and how often it is asked then",
);
const FAILS: Key<Whole> = Key::new("fails", Whole(1, 1000), "failed requests in a row").default(2);
const BACKOFF: Key<Parsed<(Duration, Duration)>> = Key::new(
    "backoff",
    Parsed {
        allowed: "first and longest wait: \"5s..10m\"",
        parse: parse_backoff,
    },
    "waits before a dead unit is asked again, doubling from the first to the longest",
)
.default("5s..1m");
const GROUPS: Key<Pairs> = Key::new(
    "groups",
    Pairs("a period of 10ms..1d, such as \"1s\""),
    "poll groups by name: points with one period",
)
.otherwise("one group, read each second");
pub(super) const GROUP: Key<Text> = Key::new(
    "group",
    Text("the name of a poll group"),
    "poll group of points that name none",
)
.otherwise("the only group; needed when there are several");

const PAUSE_BOUNDS: Durations = Durations(*PAUSES.start(), *PAUSES.end());

static RETRIES: Section = Section::inline(&[&FAILS, &BACKOFF]);
/// What any level may say.
pub(crate) static LEVEL: KeyGroup = KeyGroup {
    title: "Poll settings of Modbus",
    help: "May be said in `gateway.defaults`, a bus, a template and a device; the inner level wins, key by key, and poll groups are united by name.",
    keys: &[
        &TIMEOUT,
        &ORDER,
        &MAX_GAP,
        &MAX_REGS,
        &MAX_BITS_KEY,
        &PAUSE,
        &AFTER_CONNECT,
        &BIT_ALIGN,
        &WRITE_WITH,
        &BIT_WRITES,
        &RETRY,
        &GROUPS,
        &GROUP,
        &report::REPORT,
    ],
};
/// `[gateway.defaults]`.
pub(crate) static DEFAULTS: Section = Section::new(
    "[gateway.defaults]",
    "Settings that hold wherever nothing else is said: `report` for all families, the others for Modbus.",
    &[],
)
.with(&[&LEVEL]);

/// A poll group: points with one period.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) period: Duration,
}

/// One level's settings; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    timeout: Option<Duration>,
    pub(super) order: Option<Order>,
    pub(crate) report: Option<Report>,
    pub(super) group: Option<Located<String>>,
    pub(super) groups: Vec<Group>,
    max_gap: Option<i64>,
    max_regs: Option<i64>,
    max_bits: Option<i64>,
    fails: Option<i64>,
    backoff: Option<(Duration, Duration)>,
    pause: Option<Duration>,
    after_connect: Option<Duration>,
    bit_align: Option<i64>,
    write_with: Option<WriteWith>,
    bit_writes: Option<BitWrites>,
}

/// Poll period where no group is defined at all.
pub(super) const DEFAULT_PERIOD: Duration = Duration::from_secs(1);

impl Layer {
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
            order: table.get(&ORDER).map(|found| found.value),
            report: report::read(table).map(|found| found.value),
            group: table.get(&GROUP),
            groups: read_groups(table),
            max_gap: table.get(&MAX_GAP).map(|found| found.value),
            max_regs: table.get(&MAX_REGS).map(|found| found.value),
            max_bits: table.get(&MAX_BITS_KEY).map(|found| found.value),
            fails,
            backoff,
            pause: table.get(&PAUSE).map(|found| found.value),
            after_connect: table.get(&AFTER_CONNECT).map(|found| found.value),
            bit_align: table.get(&BIT_ALIGN).map(|found| found.value),
            write_with: table.get(&WRITE_WITH).map(|found| found.value),
            bit_writes: table.get(&BIT_WRITES).map(|found| found.value),
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
        self.pause = self.pause.or(outer.pause);
        self.after_connect = self.after_connect.or(outer.after_connect);
        self.bit_align = self.bit_align.or(outer.bit_align);
        self.write_with = self.write_with.or(outer.write_with);
        self.bit_writes = self.bit_writes.or(outer.bit_writes);
        self.group = self.group.or_else(|| outer.group.clone());
        for group in &outer.groups {
            if !self.groups.iter().any(|own| own.name == group.name) {
                self.groups.push(group.clone());
            }
        }
        self
    }

    pub(super) fn timeout(&self) -> Duration {
        TIMEOUT.or_default(self.timeout)
    }

    pub(super) fn order(&self) -> Order {
        ORDER.or_default(self.order)
    }

    pub(super) fn limits(&self) -> Limits {
        // The keys' own bounds are those of the protocol, far below 65535.
        let small = |number| u16::try_from(number).unwrap_or(u16::MAX);
        Limits {
            max_gap: self.max_gap.map(small),
            max_regs: small(MAX_REGS.or_default(self.max_regs)),
            max_bits: small(MAX_BITS_KEY.or_default(self.max_bits)),
        }
    }

    pub(super) fn quirks(&self) -> Quirks {
        Quirks {
            pause: PAUSE.or_default(self.pause),
            after_connect: AFTER_CONNECT.or_default(self.after_connect),
            bit_align: u16::try_from(BIT_ALIGN.or_default(self.bit_align)).unwrap_or(u16::MAX),
            write_with: WRITE_WITH.or_default(self.write_with),
            bit_writes: BIT_WRITES.or_default(self.bit_writes),
        }
    }

    pub(super) fn retry(&self) -> Retry {
        let (backoff_min, backoff_max) = BACKOFF.or_default(self.backoff);
        Retry {
            fails: u32::try_from(FAILS.or_default(self.fails)).unwrap_or(u32::MAX),
            backoff_min,
            backoff_max,
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
