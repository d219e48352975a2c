//! One point of a serial device as written.

use super::message::{MESSAGE, Said};
use crate::key::kinds::{ANY_NUMBER, Flag, Mapping, Number, Parsed, Text, Texts, Words};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::point::{self, Head};
use crate::poll::{self, Poll};
use crate::problem::Problem;
use crate::source::Located;
use crate::walk::Table;
use protocols_layout::Scale;
use protocols_model::PointKey;
use protocols_serial::config::{
    Command, Confirm, Device, FieldRef, Framing, Kind, Message, ParserError, Pattern, Point,
    ValueRules, Write,
};

const FIELD: Key<Text> = Key::new(
    "field",
    Text(
        "a group, column, key, JSON pointer \"/weight\", place \"u16be@2\" or sentence \"RMC.lat\"",
    ),
    "what the point takes from its frame, by the names of `parse`",
)
.otherwise("the whole frame; with write: it is not read");
const AS: Key<Words<Kind>> = Key::new(
    "as",
    Words(&[
        ("f64", Kind::F64),
        ("i64", Kind::I64),
        ("u64", Kind::U64),
        ("hex", Kind::Hex),
        ("bool", Kind::Bool),
        ("text", Kind::Text),
    ]),
    "how the text is read; binary places and NMEA fields have a type of their own",
)
.default("f64");
const SCALE: Key<Number> =
    Key::new("scale", ANY_NUMBER, "value = raw * scale + offset").default(1.0);
const OFFSET: Key<Number> = Key::new("offset", ANY_NUMBER, "see scale").default(0.0);
const COMMA: Key<Flag> = Key::new("comma", Flag, "numbers have a decimal comma").default(false);
const INVALID: Key<Texts> = Key::new(
    "invalid",
    Texts("a list of texts: [\"------\", \"OVER\"]"),
    "texts that mean \"no reading\"",
)
.otherwise("none");
const MAP: Key<Mapping> = Key::new(
    "map",
    Mapping("texts and their values, all of one type: { ST = true, US = false }"),
    "texts and the values they stand for; what is not in it is undecodable",
)
.otherwise("values as they are");
const GROUP: Key<Text> = poll::GROUP.of_point("its poll group");
const WRITE: Key<Parsed<Command>> = Key::new(
    "write",
    Parsed {
        allowed: "a command: \"SOUR:VOLT {value:.3}\\n\", \"T\\r\\n\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "what is sent to write the point; {value}, {value:.2}, {value:ON|OFF}, {value:u16be}, {check}",
)
.otherwise("it is only read");
const PATTERN: fn(&str) -> Result<Pattern, String> =
    |text| Pattern::new(text).map_err(|error: ParserError| error.to_string());
const EXPECT: Key<Parsed<Pattern>> = Key::new(
    "expect",
    Parsed {
        allowed: "a pattern of the whole frame: \"OK.*\"",
        parse: PATTERN,
    },
    "the answer by which the device confirms a write",
)
.otherwise("it does not confirm: a write that was sent is \"unknown\"");
const REFUSED: Key<Parsed<Pattern>> = Key::new(
    "refused",
    Parsed {
        allowed: "a pattern of the whole frame: \"ERR.*\"",
        parse: PATTERN,
    },
    "the answer by which the device refuses a write; needs expect",
)
.otherwise("none");
const VERIFY: Key<Flag> = Key::new(
    "verify",
    Flag,
    "the point is asked for after a write and must be what was written; excludes expect",
)
.default(false);

pub(super) static POINT: Section = Section::new(
    "points of serial devices",
    "One value of a serial device: `points = [ { id = \"weight\", field = \"weight\" }, … ]`, or a row of a points_file with the same names as columns.",
    &[
        &FIELD, &AS, &SCALE, &OFFSET, &COMMA, &INVALID, &MAP, &GROUP, &WRITE, &EXPECT, &REFUSED,
        &VERIFY,
    ],
)
.with(&[&point::COMMON, &MESSAGE]);

/// A point before it meets a device: every part is right by itself.
#[derive(Debug, Clone)]
pub(super) struct RawPoint {
    pub(super) head: Head,
    field: Option<Located<String>>,
    value: ValueRules,
    group: Option<Located<String>>,
    write: Option<Write>,
    said: Said,
}

pub(super) fn read(table: &Table<'_>) -> Option<RawPoint> {
    let head = point::read_head(table);
    let field = table.get(&FIELD);
    let value = read_value(table, head.as_ref());
    let group = table.get(&GROUP);
    let write = read_write(table);
    let said = Said::read(table);
    Some(RawPoint {
        head: head?,
        field,
        value: value?,
        group,
        write: write?,
        said,
    })
}

fn read_value(table: &Table<'_>, head: Option<&Head>) -> Option<ValueRules> {
    let kind = AS.value(table.get(&AS));
    let (factor, offset) = (table.get(&SCALE), table.get(&OFFSET));
    let place = factor.as_ref().or(offset.as_ref());
    let place = place.map_or_else(|| table.place(), |found| found.place.clone());
    let scale = Scale::new(SCALE.value(factor), OFFSET.value(offset));
    let scale = scale.map_err(|error| {
        let problem = Problem::error(&place, error.to_string(), "");
        table.notes().push(problem);
    });
    let invalid = table
        .get(&INVALID)
        .map_or_else(Vec::new, |found| found.value);
    let map = table.get(&MAP).map_or_else(Vec::new, |found| found.value);
    Some(ValueRules {
        kind,
        comma: COMMA.value(table.get(&COMMA)),
        invalid: invalid.into_iter().map(|text| text.value).collect(),
        map,
        range: head.and_then(|head| head.range.clone()),
        scale: scale.ok()?,
    })
}

/// `Some(None)` for a point that is only read, `None` where it is wrong.
fn read_write(table: &Table<'_>) -> Option<Option<Write>> {
    let write = table.get(&WRITE);
    let (expect, refused) = (table.get(&EXPECT), table.get(&REFUSED));
    let verify = table.get(&VERIFY).filter(|verify| verify.value);
    let note = |place, message: &str, allowed: &str| {
        table.notes().push(Problem::error(place, message, allowed));
    };
    let Some(write) = write else {
        let of_write = [
            expect.map(|found| found.place),
            refused.map(|found| found.place),
            verify.map(|found| found.place),
        ];
        let written = table.has(&WRITE);
        if let Some(place) = of_write.into_iter().flatten().next().filter(|_| !written) {
            note(
                &place,
                "the point is not written",
                "write = \"…\" beside it",
            );
            return None;
        }
        return (!written).then_some(None);
    };
    let confirm = match (expect, verify) {
        (Some(expect), None) => Confirm::Answer {
            expect: expect.value,
            refused: refused.map(|refused| refused.value),
        },
        (Some(_), Some(verify)) => {
            let message = "`expect` and `verify` exclude each other";
            note(&verify.place, message, "one of expect, verify");
            return None;
        }
        (None, verify) => {
            if let Some(refused) = refused {
                note(
                    &refused.place,
                    "`refused` needs `expect`",
                    "expect = \"…\" beside it",
                );
                return None;
            }
            if verify.is_some() {
                Confirm::ReadBack
            } else {
                Confirm::None
            }
        }
    };
    Some(Some(Write {
        command: write.value,
        confirm,
    }))
}

impl RawPoint {
    /// The decimal grid that its values sit on.
    pub(super) fn grid(&self) -> f64 {
        self.value.scale.factor()
    }

    /// The point under the settings of its device, to which its message is added; its key comes with
    /// its place in the point table.
    pub(super) fn under(
        &self,
        poll: &Poll,
        outer: &Said,
        framing: &Framing,
        device: &mut Device,
        notes: &Notes<'_>,
    ) -> Option<Point> {
        // A command alone is not read: there is nothing to ask and nothing to take.
        let idle = self.write.is_some() && self.field.is_none() && self.said.ask.is_none();
        let period = poll.period(&self.head, self.group.as_ref(), idle, notes)?;
        let said = self.said.clone().over(outer);
        let read = if idle {
            None
        } else {
            let parser = said.parser(framing);
            let text = self.field.as_ref().map(|field| field.value.as_str());
            let field: FieldRef = parser
                .field(text)
                .map_err(|error| {
                    let place = self.field.as_ref().map(|field| &field.place);
                    let place = place.unwrap_or(&self.head.place);
                    notes.push(Problem::error(place, error.to_string(), ""));
                })
                .ok()?;
            let message = device.message(Message {
                ask: said.ask,
                period,
                parser,
                starts: said.starts.unwrap_or_default(),
                length: said.length,
            });
            Some((message, field))
        };
        Some(Point {
            key: PointKey(0),
            id: self.head.id.value.clone(),
            read,
            value: self.value.clone(),
            write: self.write.clone(),
        })
    }
}
