//! How requests to Modbus devices are put together, said at several levels: `gateway.defaults` < bus <
//! template < device. What holds for other families too is in `poll`.

use crate::key::kinds::{Durations, Parsed, Whole, Words};
use crate::key::{Group as KeyGroup, Key};
use crate::poll::Poll;
use crate::walk::Table;
use protocols_modbus::config::{
    BitWrites, Limits, MAX_BITS, MAX_REGISTERS, Order, PAUSES, Quirks, Retry, WriteWith,
};
use std::time::Duration;

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
const PAUSE_BOUNDS: Durations = Durations(*PAUSES.start(), *PAUSES.end());

/// What any level may say.
pub(crate) static LEVEL: KeyGroup = KeyGroup {
    title: "Requests of Modbus",
    help: "May be said in `gateway.defaults`, a bus, a template and a device; the inner level wins, key by key.",
    keys: &[
        &ORDER,
        &MAX_GAP,
        &MAX_REGS,
        &MAX_BITS_KEY,
        &PAUSE,
        &AFTER_CONNECT,
        &BIT_ALIGN,
        &WRITE_WITH,
        &BIT_WRITES,
    ],
};
/// One level's settings; `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) poll: Poll,
    order: Option<Order>,
    max_gap: Option<i64>,
    max_regs: Option<i64>,
    max_bits: Option<i64>,
    pause: Option<Duration>,
    after_connect: Option<Duration>,
    bit_align: Option<i64>,
    write_with: Option<WriteWith>,
    bit_writes: Option<BitWrites>,
}

impl Layer {
    /// Reads the keys of a level from `table`.
    pub(crate) fn read(table: &Table<'_>) -> Self {
        Self {
            poll: Poll::read(table),
            order: table.get(&ORDER).map(|found| found.value),
            max_gap: table.get(&MAX_GAP).map(|found| found.value),
            max_regs: table.get(&MAX_REGS).map(|found| found.value),
            max_bits: table.get(&MAX_BITS_KEY).map(|found| found.value),
            pause: table.get(&PAUSE).map(|found| found.value),
            after_connect: table.get(&AFTER_CONNECT).map(|found| found.value),
            bit_align: table.get(&BIT_ALIGN).map(|found| found.value),
            write_with: table.get(&WRITE_WITH).map(|found| found.value),
            bit_writes: table.get(&BIT_WRITES).map(|found| found.value),
        }
    }

    /// This level, with what it leaves open taken from `outer`.
    pub(crate) fn over(mut self, outer: &Self) -> Self {
        self.poll = self.poll.over(&outer.poll);
        self.order = self.order.or(outer.order);
        self.max_gap = self.max_gap.or(outer.max_gap);
        self.max_regs = self.max_regs.or(outer.max_regs);
        self.max_bits = self.max_bits.or(outer.max_bits);
        self.pause = self.pause.or(outer.pause);
        self.after_connect = self.after_connect.or(outer.after_connect);
        self.bit_align = self.bit_align.or(outer.bit_align);
        self.write_with = self.write_with.or(outer.write_with);
        self.bit_writes = self.bit_writes.or(outer.bit_writes);
        self
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
        let (backoff_min, backoff_max) = self.poll.backoff();
        Retry {
            fails: self.poll.fails(),
            backoff_min,
            backoff_max,
        }
    }
}
