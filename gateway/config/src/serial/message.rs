//! Which frames a point is taken from, said at several levels: bus < template < device < point.

use crate::key::kinds::{Parsed, Whole};
use crate::key::{Group, Key};
use crate::walk::Table;
use protocols_serial::config::{Bytes, Command, Framing, Parser};

const ASK: Key<Parsed<Command>> = Key::new(
    "ask",
    Parsed {
        allowed: "what to send: \"W\\r\\n\", \"\\x05\", \"*IDN?\\n\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "the question that such a frame answers, sent once a period",
)
.otherwise("the device sends by itself");
const PARSE: Key<Parsed<Parser>> = Key::new(
    "parse",
    Parsed {
        allowed: "text, \"regex:(?<weight>[0-9.]+) kg\", csv, \"csv:; time weight\", keys, \"keys:;=\", json, binary, nmea",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "how a frame is taken apart",
)
.otherwise("text; for frame = \"nmea\" nmea");
const STARTS: Key<Parsed<Bytes>> = Key::new(
    "starts",
    Parsed {
        allowed: "bytes: \"T1\", \"\\x01\\x03\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "bytes that such a frame begins with: an address, a kind",
)
.otherwise("any");
const LENGTH: Key<Whole> = Key::new(
    "length",
    Whole(1, 65_535),
    "bytes that such a frame has, without delimiters and checksum",
)
.otherwise("any");

/// What any level may say.
pub(super) static MESSAGE: Group = Group {
    title: "Messages of a serial device",
    help: "May be said in a bus, a template, a device and a point; the inner level wins, key by key. Points with equal ones are read from one frame.",
    keys: &[&ASK, &PARSE, &STARTS, &LENGTH],
};

/// One level's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) ask: Option<Command>,
    pub(super) parser: Option<Parser>,
    pub(super) starts: Option<Bytes>,
    pub(super) length: Option<u16>,
}

impl Said {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let length = table.get(&LENGTH);
        Self {
            ask: table.get(&ASK).map(|found| found.value),
            parser: table.get(&PARSE).map(|found| found.value),
            starts: table.get(&STARTS).map(|found| found.value),
            length: length.and_then(|found| u16::try_from(found.value).ok()),
        }
    }

    /// This level, with what it leaves open taken from `outer`.
    pub(super) fn over(self, outer: &Self) -> Self {
        Self {
            ask: self.ask.or_else(|| outer.ask.clone()),
            parser: self.parser.or_else(|| outer.parser.clone()),
            starts: self.starts.or_else(|| outer.starts.clone()),
            length: self.length.or(outer.length),
        }
    }

    /// How frames are taken apart.
    pub(super) fn parser(&self, framing: &Framing) -> Parser {
        self.parser.clone().unwrap_or(match framing {
            Framing::Nmea => Parser::Nmea,
            _ => Parser::Text,
        })
    }
}
