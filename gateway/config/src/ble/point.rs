//! One point of a Bluetooth LE device as written: of its advertisements, or of a characteristic.

use crate::field::About;
use crate::key::kinds::{Durations, Flag, Parsed, Text};
use crate::key::{Key, Section};
use crate::point::{self, Head};
use crate::problem::Problem;
use crate::walk::Table;
use protocols_ble::config::{
    Access, AdvertPoint, Field, Format, GattPoint, INTERVALS, PERIODS, Uuid, WriteMode,
};
use protocols_model::PointKey;

const FIELD: Key<Text> = Key::new(
    "field",
    Text("the name of a field of the format, such as \"temperature\""),
    "which field of the advertisements",
)
.otherwise("the one named as the point's id");
const CHARACTERISTIC: Key<Parsed<Uuid>> = Key::new(
    "characteristic",
    UUID_FORM,
    "the characteristic that holds the value",
)
.required();
const SERVICE: Key<Parsed<Uuid>> = Key::new(
    "service",
    UUID_FORM,
    "its service; tells two characteristics of the same UUID apart",
)
.otherwise("whichever has the characteristic");
const UUID_FORM: Parsed<Uuid> = Parsed {
    allowed: "a UUID: \"2a6e\", or in full",
    parse: |text| text.parse().map_err(|error| format!("{error}")),
};
const VALUE: Key<Parsed<Field>> = Key::new(
    "value",
    Parsed {
        allowed: "type and first byte: \"i16le@0*0.01\", \"u8@2\", \"bool@0.3\", \"text8@0\"",
        parse: |text| text.parse().map_err(|error| format!("{error}")),
    },
    "where the value stands in the bytes of the characteristic and what it means; integers and floats name their byte order (le, be), *0.01 and +20 scale, !0x8000 is \"no reading\"",
)
.required();
const PERIOD: Key<Durations> = Key::new(
    "period",
    Durations(*PERIODS.start(), *PERIODS.end()),
    "the characteristic is read so often",
)
.otherwise("it is not polled");
const NOTIFY: Key<Flag> = Key::new(
    "notify",
    Flag,
    "the device tells: its notifications are subscribed",
)
.default(false);
const TELLS: Key<Durations> = Key::new(
    "interval",
    Durations(*INTERVALS.start(), *INTERVALS.end()),
    "with notify: the device tells at least so often; each such span of silence is a reading \"timeout\"",
)
.otherwise("silence is no fault while the connection holds");
const WRITE: Key<Flag> = Key::new("write", Flag, "whether it may be written").default(false);
const RESPONSE: Key<Flag> = Key::new(
    "response",
    Flag,
    "whether the device confirms a write; needs write",
)
.default(true);
const VERIFY: Key<Flag> = Key::new(
    "verify",
    Flag,
    "whether a written value is read back and compared; needs write",
)
.default(false);

pub(super) static HEARD: Section = Section::new(
    "points of advertisements",
    "One value of a device that is heard (`decode`).",
    &[&FIELD],
)
.with(&[&point::COMMON]);
pub(super) static READ: Section = Section::new(
    "points of characteristics",
    "One value of a device that is connected to (`connect = true`).",
    &[
        &CHARACTERISTIC,
        &SERVICE,
        &VALUE,
        &PERIOD,
        &NOTIFY,
        &TELLS,
        &WRITE,
        &RESPONSE,
        &VERIFY,
    ],
)
.with(&[&point::COMMON]);

/// A point before it meets a device: every part is right by itself.
#[derive(Debug, Clone)]
pub(super) enum RawPoint {
    Heard { head: Head, field: String },
    Read(Head, Box<GattPoint>),
}

pub(super) fn read(table: &Table<'_>) -> Option<RawPoint> {
    if [table.has(&CHARACTERISTIC), table.has(&VALUE)].contains(&true) {
        table.choose(&READ);
        read_characteristic(table)
    } else {
        table.choose(&HEARD);
        let head = point::read_head(table);
        let field = table.get(&FIELD);
        let head = head?;
        let field = field.map_or_else(|| head.id.value.to_string(), |field| field.value);
        Some(RawPoint::Heard { head, field })
    }
}

fn read_characteristic(table: &Table<'_>) -> Option<RawPoint> {
    let head = point::read_head(table);
    let characteristic = table.get(&CHARACTERISTIC);
    let service = table.get(&SERVICE).map(|service| service.value);
    let value = table.get(&VALUE);
    let (period, notify, interval) = (table.get(&PERIOD), table.get(&NOTIFY), table.get(&TELLS));
    let notify = NOTIFY.value(notify);
    if let Some(period) = period.as_ref().filter(|_| notify) {
        let message = "`period` and `notify` exclude each other: it is read or told";
        let problem = Problem::error(&period.place, message, "one of period, notify");
        table.notes().push(problem);
    }
    if let Some(interval) = interval.as_ref().filter(|_| !notify) {
        let message = "`interval` of a point that is not told";
        let problem = Problem::error(&interval.place, message, "notify = true beside it");
        table.notes().push(problem);
    }
    let access = match period {
        _ if notify => Access::Notify(interval.map(|interval| interval.value)),
        Some(period) => Access::Read(period.value),
        None => Access::None,
    };
    let write = WRITE.value(table.get(&WRITE));
    let response = table.get(&RESPONSE);
    if let Some(response) = response.as_ref().filter(|_| !write) {
        let message = "`response` of a point that is not written";
        let problem = Problem::error(&response.place, message, "write = true beside it");
        table.notes().push(problem);
    }
    let mode = if RESPONSE.value(response) {
        WriteMode::WithResponse
    } else {
        WriteMode::WithoutResponse
    };
    let verify = VERIFY.value(table.get(&VERIFY));
    let head = head?;
    let point = GattPoint {
        key: PointKey(0),
        id: head.id.value.clone(),
        characteristic: characteristic?.value,
        service,
        access,
        value: value?.value,
        range: head.range.clone(),
        write: write.then_some(mode),
        verify,
    };
    Some(RawPoint::Read(head, Box::new(point)))
}

impl RawPoint {
    pub(super) const fn head(&self) -> &Head {
        match self {
            Self::Heard { head, .. } | Self::Read(head, _) => head,
        }
    }

    /// Type, unit and grid under a device that is heard in `format`, or connected to.
    pub(super) fn about(&self, format: Option<Format>) -> Result<About, (String, String)> {
        match (self, format) {
            (Self::Heard { head, field }, Some(format)) => {
                let info = format.field(field).ok_or_else(|| {
                    let names: Vec<_> = format.fields().map(|field| field.name).collect();
                    let message = format!("format {format} has no field {field:?}");
                    (message, names.join(", "))
                })?;
                let unit = head.unit.clone().unwrap_or_else(|| info.unit.to_owned());
                Ok((info.value_type, unit, 1.0))
            }
            (Self::Read(head, point), None) => {
                let unit = head.unit.clone().unwrap_or_default();
                Ok((point.value_type(), unit, point.value.scale().factor()))
            }
            (Self::Heard { .. }, None) => Err((
                "a point of a device that is connected to needs its characteristic".to_owned(),
                "characteristic = \"2a6e\" and value = \"i16le@0*0.01\"".to_owned(),
            )),
            (Self::Read(..), Some(_)) => Err((
                "a device that is heard has no characteristics".to_owned(),
                "field = \"…\", or connect = true for the device".to_owned(),
            )),
        }
    }

    pub(super) fn heard(&self, key: PointKey) -> Option<AdvertPoint> {
        let Self::Heard { head, field } = self else {
            return None;
        };
        Some(AdvertPoint {
            key,
            id: head.id.value.clone(),
            field: field.clone(),
            range: head.range.clone(),
        })
    }

    pub(super) fn read(&self, key: PointKey) -> Option<GattPoint> {
        let Self::Read(_, point) = self else {
            return None;
        };
        Some(GattPoint {
            key,
            ..point.as_ref().clone()
        })
    }
}
