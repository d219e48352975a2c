//! NMEA 0183: sentences of positioning receivers, and what a point takes from one.
//!
//! A sentence arrives here without `$`, checksum and line end; its checksum was checked before. Talkers
//! (`GP`, `GL`, `GA`, `GN`, …) are told apart only where the field asks for one.
//!
//! A receiver without a fix goes on sending, often with the last or a made-up position. What depends on
//! the fix is then no reading: `Bad(DeviceError)`; so is an empty field. A dead-reckoned position is
//! `Uncertain(DeviceError)`, a simulated or typed-in one is none.

mod field;
mod time;

pub use field::{FIELDS, FieldInfo, NmeaField, NmeaFieldError};

use field::Item;
use protocols_model::{Quality, Reason, Value};

/// Longest sentence accepted, `$` and line end included. The standard says 82; receivers with
/// proprietary sentences send more.
pub const MAX_SENTENCE: usize = 256;

/// What a field says: `Ok(None)` when this sentence does not carry it (later parts of GSV).
pub type Said = Result<Option<(Value, Quality)>, Reason>;

/// One sentence, split.
#[derive(Debug, Clone, Copy)]
pub struct Sentence<'a> {
    text: &'a str,
}

impl<'a> Sentence<'a> {
    /// Splits the body of a sentence; `None` when it is none: not printable ASCII, or without an
    /// address such as `GPRMC` or `PGRME`.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let text = text.split_once('*').map_or(text, |(text, _)| text);
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let (address, _) = text.split_once(',')?;
        let upper = address
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let long =
            address.len() == 5 || address.starts_with('P') && (2..=10).contains(&address.len());
        (printable && upper && long).then_some(Self { text })
    }

    /// Talker and kind, such as `GPRMC`.
    #[must_use]
    pub fn address(&self) -> &'a str {
        self.at(0)
    }

    /// The `n`-th field, the address being the 0th; empty when there is none.
    fn at(&self, n: usize) -> &'a str {
        self.text.split(',').nth(n).unwrap_or_default()
    }

    /// What the sentence says of a field; `None` when it is not of the field's kind.
    #[must_use]
    pub fn read(&self, field: &NmeaField) -> Option<Said> {
        field
            .is_from(self.address())
            .then(|| self.item(field.item()))
    }

    fn item(&self, item: Item) -> Said {
        let fix = self.fix(item);
        let quality = match (item.needs_fix(), fix) {
            (true, Fix::None) => return Err(Reason::DeviceError),
            (true, Fix::Estimated) => Quality::Uncertain(Reason::DeviceError),
            _ => Quality::Good,
        };
        let good = |value| Ok(Some((value, quality)));
        match item {
            Item::Column(n) => {
                let text = self.filled(n.into())?;
                good(Value::Text(text.into()))
            }
            Item::Number(n) => good(Value::F64(self.number(n.into())?)),
            Item::Knots(n) => {
                // One knot is 1.852 km/h, exactly.
                good(Value::F64(round(self.number(n.into())? * 1.852, 6)))
            }
            Item::Count(n) => {
                let count = self
                    .filled(n.into())?
                    .parse()
                    .map_err(|_| Reason::Undecodable)?;
                good(Value::U64(count))
            }
            Item::Latitude(n) => good(Value::F64(self.angle(n.into(), 2, b"NS")?)),
            Item::Longitude(n) => good(Value::F64(self.angle(n.into(), 3, b"EW")?)),
            Item::TimeOfDay(n) => {
                let millis = time::of_day(self.filled(n.into())?).ok_or(Reason::Undecodable)?;
                good(Value::I64(millis))
            }
            Item::RmcTime => {
                let (day, time) = (self.filled(9)?, self.filled(1)?);
                let at = time::from_date(day, time).ok_or(Reason::Undecodable)?;
                // Before its first fix a receiver shows the clock it woke up with.
                let quality = match fix {
                    Fix::None => Quality::Uncertain(Reason::ClockUnsynced),
                    Fix::Estimated | Fix::Good => Quality::Good,
                };
                Ok(Some((Value::I64(at), quality)))
            }
            Item::ZdaTime => {
                let parts = [self.filled(2)?, self.filled(3)?, self.filled(4)?];
                let at = time::from_parts(parts, self.filled(1)?).ok_or(Reason::Undecodable)?;
                good(Value::I64(at))
            }
            Item::HasFix => good(Value::Bool(fix != Fix::None)),
            Item::UsedSatellites => {
                let used = (3..15).filter(|n| !self.at(*n).is_empty()).count();
                good(Value::U64(used as u64))
            }
            Item::InView if self.at(2) != "1" => Ok(None),
            Item::InView => self.item(Item::Count(3)),
        }
    }

    /// Whether the receiver knows where it is, as far as this sentence says.
    fn fix(&self, item: Item) -> Fix {
        let mode = |n| match self.at(n) {
            "N" | "M" | "S" => Fix::None,
            "E" => Fix::Estimated,
            // Before NMEA 2.3 there was no mode.
            _ => Fix::Good,
        };
        let address = self.address();
        let kind = address.get(2..).unwrap_or_default();
        match (item, kind) {
            (Item::Column(_), _) => Fix::Good,
            (_, "GGA") => match self.at(6) {
                "1" | "2" | "3" | "4" | "5" | "9" => Fix::Good,
                "6" => Fix::Estimated,
                _ => Fix::None,
            },
            (_, "RMC") if self.at(2) == "A" => mode(12),
            (_, "RMC") => Fix::None,
            (_, "GLL") if self.at(6) == "A" => mode(7),
            (_, "GLL") => Fix::None,
            (_, "VTG") => mode(9),
            (_, "GSA") if !matches!(self.at(2), "2" | "3") => Fix::None,
            _ => Fix::Good,
        }
    }

    fn filled(&self, n: usize) -> Result<&'a str, Reason> {
        let text = self.at(n);
        if text.is_empty() {
            Err(Reason::DeviceError)
        } else {
            Ok(text)
        }
    }

    fn number(&self, n: usize) -> Result<f64, Reason> {
        decimal(self.filled(n)?).ok_or(Reason::Undecodable)
    }

    /// Degrees and minutes in one number, `4807.038`, with the hemisphere in the next field; in degrees.
    fn angle(&self, n: usize, degrees: usize, signs: &[u8; 2]) -> Result<f64, Reason> {
        let (text, hemisphere) = (self.filled(n)?, self.filled(n + 1)?);
        let parse = || {
            let (whole, minutes) = (text.get(..degrees)?, text.get(degrees..)?);
            let digits = whole.bytes().all(|b| b.is_ascii_digit());
            let plain = minutes.as_bytes().first().is_some_and(u8::is_ascii_digit);
            let minutes =
                decimal(minutes).filter(|m| plain && digits && (0.0..60.0).contains(m))?;
            let sign = match *hemisphere.as_bytes() {
                [c] if c == signs[0] => 1.0,
                [c] if c == signs[1] => -1.0,
                _ => return None,
            };
            let most = if degrees == 2 { 90.0 } else { 180.0 };
            let angle = whole.parse::<f64>().ok()? + minutes / 60.0;
            // Nine decimals are a tenth of a millimetre; more is noise of the division.
            (angle <= most).then(|| round(sign * angle, 9))
        };
        parse().ok_or(Reason::Undecodable)
    }
}

/// Whether a receiver knows where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fix {
    None,
    Estimated,
    Good,
}

/// A plain decimal number: digits with at most one point and a sign, no exponent, no words.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let some = digits.bytes().any(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|n: &f64| plain && some && n.is_finite())
}

fn round(number: f64, places: i32) -> f64 {
    let grid = 10f64.powi(places);
    (number * grid).round() / grid
}

#[cfg(test)]
mod tests;
