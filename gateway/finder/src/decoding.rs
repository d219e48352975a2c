//! Which registers, type, order and scale give what the display of a device shows.
//!
//! A range of registers was read several times; every decoding of every place in it is a candidate.
//! Candidates are ranked by how well one of their values rounds to the expected number as it was written
//! (`231.4` stands for 231.35 to 231.45), and by how likely a coincidence is: a float that hits is worth
//! more than an integer that some power of ten makes fit, a usual scale more than an unusual one, a
//! steady value more than one that leaps about.

use protocols_modbus::codec::Codec;
use protocols_modbus::config::{Address, Order, Point, RawType, Scale, Space};
use protocols_model::{PointId, PointKey, Value};
use std::time::Duration;

/// What a display shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The number.
    pub value: f64,
    /// Half a unit of its last digit: what rounds to it.
    pub half_digit: f64,
}

/// A text that is no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number as a display shows it, such as 231.4")]
pub struct NotShown(String);

impl std::str::FromStr for Expected {
    type Err = NotShown;

    fn from_str(text: &str) -> Result<Self, NotShown> {
        let wrong = || NotShown(text.to_owned());
        let number = text.trim().replace(',', ".");
        let value: f64 = number.parse().map_err(|_| wrong())?;
        let decimals = number.split_once('.').map_or(0, |(_, digits)| digits.len());
        let decimals = i32::try_from(decimals).ok().filter(|d| *d <= 9);
        let half_digit = 0.5 * 10f64.powi(-decimals.ok_or_else(wrong)?);
        if value.is_finite() {
            Ok(Self { value, half_digit })
        } else {
            Err(wrong())
        }
    }
}

/// Registers as they were read at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The table.
    pub space: Space,
    /// The first register.
    pub start: u16,
    /// What stood there.
    pub words: Vec<u16>,
}

/// One way to read one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Where it begins.
    pub address: Address,
    /// What stands there.
    pub raw: RawType,
    /// How its bytes are ordered.
    pub order: Order,
    /// From raw number to value.
    pub scale: f64,
    /// Its value in each sample; `None` where it cannot be decoded.
    pub values: Vec<Option<f64>>,
    /// How far the nearest value is from what was expected, in half digits; at most 1 is a hit.
    pub distance: f64,
    /// The rank: the smaller, the better.
    score: f64,
}

impl Candidate {
    /// Whether a value rounds to what was expected.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.distance <= 1.0
    }

    /// The line for the configuration.
    #[must_use]
    pub fn line(&self, id: &str) -> String {
        let mut line = format!(
            "{{ id = {id:?}, at = \"{}\", as = \"{}\"",
            self.address, self.raw
        );
        if self.order != Order::BIG_ENDIAN {
            line += &format!(", order = \"{}\"", self.order_text());
        }
        if (self.scale - 1.0).abs() > f64::EPSILON {
            line += &format!(", scale = {}", self.scale);
        }
        line + " },"
    }

    /// The order in as many letters as its width has.
    #[must_use]
    pub fn order_text(&self) -> String {
        let width = usize::from(self.raw.registers()) * 2;
        let letter =
            |at| u8::try_from(self.order.byte_at(at, width)).map_or('?', |i| char::from(b'A' + i));
        (0..width).map(letter).collect()
    }
}

/// Types that meters use, the usual ones first.
const TYPES: [RawType; 10] = [
    RawType::U16,
    RawType::I16,
    RawType::F32,
    RawType::U32,
    RawType::I32,
    RawType::F64,
    RawType::U64,
    RawType::I64,
    RawType::Bcd16,
    RawType::Bcd32,
];
/// Scales that register maps use, and what each adds to the rank.
const SCALES: [(f64, f64); 9] = [
    (1.0, 0.0),
    (0.1, 0.2),
    (0.01, 0.3),
    (0.001, 0.4),
    (10.0, 1.0),
    (0.0001, 1.2),
    (100.0, 1.2),
    (1000.0, 1.0),
    (0.00001, 1.6),
];
/// A candidate further from the expected value than this part of it is not shown.
const FAR: f64 = 0.1;

/// All decodings of `samples` that come near `expected`, the best first, at most `most`.
#[must_use]
pub fn rank(samples: &[Sample], expected: Expected, most: usize) -> Vec<Candidate> {
    let mut found: Vec<_> = all(samples)
        .flat_map(|place| SCALES.map(|scale| (place.clone(), scale)))
        .filter_map(|(place, scale)| place.scored(scale, expected))
        .collect();
    sort(&mut found);
    found.truncate(most);
    found
}

/// Brings candidates of several ranges into one order, the best first.
pub fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| a.score.total_cmp(&b.score));
}

/// Every decoding of every place, unscaled, for people to look at side by side: the readable ones, in
/// the order of addresses.
#[must_use]
pub fn side_by_side(samples: &[Sample]) -> Vec<Candidate> {
    all(samples)
        .map(|place| Candidate {
            address: place.address,
            raw: place.raw,
            order: place.order,
            scale: 1.0,
            values: place.values,
            distance: f64::INFINITY,
            score: 0.0,
        })
        .collect()
}

/// A place with a type and order, decoded in each sample.
#[derive(Debug, Clone)]
struct Place {
    address: Address,
    raw: RawType,
    order: Order,
    values: Vec<Option<f64>>,
}

fn all(samples: &[Sample]) -> impl Iterator<Item = Place> {
    let first = samples.first();
    let places = first.map_or(0, |sample| sample.words.len());
    (0..places).flat_map(move |at| {
        TYPES
            .into_iter()
            .flat_map(orders)
            .filter_map(move |(raw, order)| Place::decode(samples, at, raw, order))
    })
}

/// The orders that differ for a type's width.
fn orders(raw: RawType) -> Vec<(RawType, Order)> {
    let swaps = |width: u16| match width {
        1 => vec![(false, false)],
        _ => vec![(false, false), (false, true), (true, false), (true, true)],
    };
    let order = |(bytes, words)| Order {
        swap_bytes: bytes,
        swap_words: words,
        swap_pairs: words,
    };
    let mut orders: Vec<_> = swaps(raw.registers()).into_iter().map(order).collect();
    if raw.registers() == 1 {
        orders.push(Order {
            swap_bytes: true,
            ..Order::BIG_ENDIAN
        });
    }
    orders.into_iter().map(|order| (raw, order)).collect()
}

impl Place {
    fn decode(samples: &[Sample], at: usize, raw: RawType, order: Order) -> Option<Self> {
        let first = samples.first()?;
        let register = first.start.checked_add(u16::try_from(at).ok()?)?;
        let address = Address {
            space: first.space,
            register,
            bits: None,
        };
        let codec = Codec::new(&Point {
            key: PointKey(0),
            id: PointId::try_new("candidate").ok()?,
            address,
            raw,
            order,
            scale: Scale::IDENTITY,
            period: Duration::from_secs(1),
            range: None,
            names: None,
            write: None,
        });
        let width = usize::from(raw.registers());
        let value = |sample: &Sample| {
            let words = sample.words.get(at..at.checked_add(width)?)?;
            codec.decode(words).ok().as_ref().and_then(Value::as_f64)
        };
        let values: Vec<_> = samples.iter().map(value).collect();
        let place = Self {
            address,
            raw,
            order,
            values,
        };
        place.values.iter().any(Option::is_some).then_some(place)
    }

    fn scored(self, (scale, unusual): (f64, f64), expected: Expected) -> Option<Candidate> {
        // A float is scaled by its device; a power of ten is still seen, for kilowatts.
        let float = matches!(self.raw, RawType::F32 | RawType::F64);
        let fits_float = scale >= 1.0 || (scale - 0.001).abs() < f64::EPSILON;
        if float && !fits_float {
            return None;
        }
        let values: Vec<_> = self
            .values
            .iter()
            .map(|value| value.map(|value| value * scale))
            .collect();
        let off = |value: &f64| (value - expected.value).abs();
        let nearest = values.iter().flatten().map(off).min_by(f64::total_cmp)?;
        let near = FAR * expected.value.abs() + expected.half_digit;
        if nearest > near {
            return None;
        }
        let distance = nearest / expected.half_digit;
        // A hit is worth more than any amount of likelihood; beyond it the distance counts in tens.
        let missed = if distance <= 1.0 + 1e-9 {
            0.0
        } else {
            10.0 + distance.log10()
        };
        let score = missed + unusual + leaps(&values) + doubt(self.raw, self.order);
        Some(Candidate {
            address: self.address,
            raw: self.raw,
            order: self.order,
            scale,
            values,
            distance,
            score,
        })
    }
}

/// How much a series leaps about: 0 for a steady one, up to 4.
fn leaps(values: &[Option<f64>]) -> f64 {
    let pairs = values.windows(2);
    let leap = |pair: &[Option<f64>]| match pair {
        [Some(a), Some(b)] => {
            let size = a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
            ((a - b).abs() / size).min(1.0)
        }
        _ => 1.0,
    };
    4.0 * pairs.map(leap).max_by(f64::total_cmp).unwrap_or(0.0)
}

/// What a type and order add to the rank: how likely they hit by accident, how rarely they are used.
fn doubt(raw: RawType, order: Order) -> f64 {
    let of_type = match raw {
        // A float that hits is no accident.
        RawType::F32 => -1.0,
        RawType::F64 => -0.5,
        RawType::U16 => 0.0,
        RawType::I16 => 0.05,
        RawType::U32 => 0.1,
        RawType::I32 => 0.15,
        RawType::U64 | RawType::I64 => 0.6,
        _ => 1.0,
    };
    let of_order = match (order.swap_bytes, order.swap_words) {
        (false, false) => 0.0,
        (false, true) => 0.1,
        (true, true) => 0.6,
        (true, false) => 1.0,
    };
    of_type + of_order
}

#[cfg(test)]
mod tests;
