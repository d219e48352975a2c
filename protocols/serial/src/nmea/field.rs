//! Fields of sentences by name: `"RMC.lat"`, `"GPGSV.in_view"`, `"PGRME.1"`.

use protocols_model::ValueType;
use std::fmt;
use std::str::FromStr;

/// A field of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NmeaField {
    /// `RMC` for any talker, or a whole address such as `GPRMC` or `PGRME`.
    sentence: String,
    name: String,
    item: Item,
}

/// A field that has a name.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// The kind of sentence.
    pub sentence: &'static str,
    /// The field's name.
    pub name: &'static str,
    /// What it is, with its unit.
    pub help: &'static str,
    item: Item,
}

/// How a field is read; numbers are places in the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// As it stands there, whatever the fix.
    Column(u8),
    Number(u8),
    /// Knots, given in km/h.
    Knots(u8),
    Count(u8),
    Latitude(u8),
    Longitude(u8),
    TimeOfDay(u8),
    RmcTime,
    ZdaTime,
    HasFix,
    UsedSatellites,
    InView,
}

impl Item {
    pub(super) const fn needs_fix(self) -> bool {
        matches!(
            self,
            Self::Number(_) | Self::Knots(_) | Self::Latitude(_) | Self::Longitude(_)
        )
    }
}

const fn info(
    sentence: &'static str,
    name: &'static str,
    item: Item,
    help: &'static str,
) -> FieldInfo {
    FieldInfo {
        sentence,
        name,
        help,
        item,
    }
}

/// All fields that have a name.
pub const FIELDS: [FieldInfo; 33] = [
    info(
        "GGA",
        "time",
        Item::TimeOfDay(1),
        "milliseconds since midnight UTC",
    ),
    info(
        "GGA",
        "lat",
        Item::Latitude(2),
        "latitude in degrees, north positive",
    ),
    info(
        "GGA",
        "lon",
        Item::Longitude(4),
        "longitude in degrees, east positive",
    ),
    info(
        "GGA",
        "quality",
        Item::Count(6),
        "0 no fix, 1 GNSS, 2 differential, 4 RTK, 5 RTK float, 6 estimated",
    ),
    info("GGA", "satellites", Item::Count(7), "satellites in use"),
    info(
        "GGA",
        "hdop",
        Item::Number(8),
        "horizontal dilution of precision",
    ),
    info(
        "GGA",
        "altitude",
        Item::Number(9),
        "above mean sea level, in metres",
    ),
    info(
        "GGA",
        "geoid",
        Item::Number(11),
        "geoid above the ellipsoid, in metres",
    ),
    info("GGA", "fix", Item::HasFix, "whether there is a fix"),
    info(
        "RMC",
        "utc",
        Item::RmcTime,
        "milliseconds since 1970-01-01 UTC",
    ),
    info(
        "RMC",
        "lat",
        Item::Latitude(3),
        "latitude in degrees, north positive",
    ),
    info(
        "RMC",
        "lon",
        Item::Longitude(5),
        "longitude in degrees, east positive",
    ),
    info(
        "RMC",
        "speed_knots",
        Item::Number(7),
        "speed over ground, in knots",
    ),
    info(
        "RMC",
        "speed_kmh",
        Item::Knots(7),
        "speed over ground, in km/h",
    ),
    info(
        "RMC",
        "course",
        Item::Number(8),
        "course over ground, in degrees from true north",
    ),
    info("RMC", "fix", Item::HasFix, "whether there is a fix"),
    info(
        "VTG",
        "course",
        Item::Number(1),
        "course over ground, in degrees from true north",
    ),
    info(
        "VTG",
        "course_magnetic",
        Item::Number(3),
        "course over ground, in degrees from magnetic north",
    ),
    info(
        "VTG",
        "speed_knots",
        Item::Number(5),
        "speed over ground, in knots",
    ),
    info(
        "VTG",
        "speed_kmh",
        Item::Number(7),
        "speed over ground, in km/h",
    ),
    info(
        "ZDA",
        "utc",
        Item::ZdaTime,
        "milliseconds since 1970-01-01 UTC",
    ),
    info("GSA", "fix", Item::HasFix, "whether there is a fix"),
    info(
        "GSA",
        "dimensions",
        Item::Count(2),
        "1 no fix, 2 or 3 dimensions",
    ),
    info(
        "GSA",
        "satellites",
        Item::UsedSatellites,
        "satellites in use, of this talker or system",
    ),
    info(
        "GSA",
        "pdop",
        Item::Number(15),
        "dilution of precision of the position",
    ),
    info(
        "GSA",
        "hdop",
        Item::Number(16),
        "horizontal dilution of precision",
    ),
    info(
        "GSA",
        "vdop",
        Item::Number(17),
        "vertical dilution of precision",
    ),
    info(
        "HDT",
        "heading",
        Item::Number(1),
        "heading, in degrees from true north",
    ),
    info(
        "GSV",
        "in_view",
        Item::InView,
        "satellites in view, of this talker; write GPGSV, GLGSV, …",
    ),
    info(
        "GLL",
        "lat",
        Item::Latitude(1),
        "latitude in degrees, north positive",
    ),
    info(
        "GLL",
        "lon",
        Item::Longitude(3),
        "longitude in degrees, east positive",
    ),
    info(
        "GLL",
        "time",
        Item::TimeOfDay(5),
        "milliseconds since midnight UTC",
    ),
    info("GLL", "fix", Item::HasFix, "whether there is a fix"),
];

/// Why a text names no field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NmeaFieldError {
    /// Not a sentence and a field.
    #[error("{0:?} is not a field of a sentence; write sentence and field, such as \"RMC.lat\"")]
    Form(String),
    /// A sentence without named fields.
    #[error(
        "{0:?} is not a sentence with named fields; use GGA, RMC, GLL, VTG, ZDA, GSA, HDT or GSV, with or without a talker (GPRMC); of others take fields by number: \"PGRME.1\""
    )]
    Sentence(String),
    /// A field that the sentence does not have.
    #[error("{sentence} has no field {found:?}; it has {known}, or a number from 1 to 99")]
    Name {
        /// The sentence.
        sentence: String,
        /// What was written.
        found: String,
        /// What there is.
        known: String,
    },
}

impl NmeaField {
    pub(super) const fn item(&self) -> Item {
        self.item
    }

    /// Whether sentences of this address carry the field.
    pub(super) fn is_from(&self, address: &str) -> bool {
        if self.sentence.len() == 3 && !self.sentence.starts_with('P') {
            address.len() == 5
                && !address.starts_with('P')
                && address.ends_with(self.sentence.as_str())
        } else {
            address == self.sentence
        }
    }

    /// Type of its values; text for a field by number, which then is read like any text.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self.item {
            Item::Column(_) => ValueType::Text,
            Item::Count(_) | Item::UsedSatellites | Item::InView => ValueType::U64,
            Item::TimeOfDay(_) | Item::RmcTime | Item::ZdaTime => ValueType::I64,
            Item::HasFix => ValueType::Bool,
            Item::Number(_) | Item::Knots(_) | Item::Latitude(_) | Item::Longitude(_) => {
                ValueType::F64
            }
        }
    }
}

impl FromStr for NmeaField {
    type Err = NmeaFieldError;

    fn from_str(text: &str) -> Result<Self, NmeaFieldError> {
        let form = || NmeaFieldError::Form(text.to_owned());
        let (sentence, name) = text.split_once('.').ok_or_else(form)?;
        let plain = sentence
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !plain || !(3..=10).contains(&sentence.len()) {
            return Err(form());
        }
        let number = name.parse::<u8>().ok().filter(|n| (1..=99).contains(n));
        let kind = match sentence.len() {
            5 if !sentence.starts_with('P') => sentence.get(2..).unwrap_or_default(),
            _ => sentence,
        };
        let mut known = FIELDS.iter().filter(|field| field.sentence == kind);
        let item = match number {
            Some(n) => Item::Column(n),
            None if known.clone().next().is_none() => {
                return Err(NmeaFieldError::Sentence(sentence.to_owned()));
            }
            None => match known.clone().find(|field| field.name == name) {
                Some(field) => field.item,
                None => {
                    let first = known.next().map(|f| f.name.to_owned()).unwrap_or_default();
                    let known = known.fold(first, |list, f| format!("{list}, {}", f.name));
                    return Err(NmeaFieldError::Name {
                        sentence: sentence.to_owned(),
                        found: name.to_owned(),
                        known,
                    });
                }
            },
        };
        Ok(Self {
            sentence: sentence.to_owned(),
            name: name.to_owned(),
            item,
        })
    }
}

impl fmt::Display for NmeaField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sentence, self.name)
    }
}
