//! Sentences of a GPS receiver. Source: NMEA 0183 V3.01, the sentences GGA, RMC, VTG, GSA and ZDA as
//! receivers send them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Which sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Sentence {
    /// Position, height, quality.
    Gga,
    /// The least that is recommended: time, position, speed, course, date.
    Rmc,
    /// Course and speed.
    Vtg,
    /// Satellites in use and precision.
    Gsa,
    /// Date and time.
    Zda,
}

impl Sentence {
    /// All of them, in the order in which they are sent.
    pub const ALL: [Self; 5] = [Self::Gga, Self::Rmc, Self::Vtg, Self::Gsa, Self::Zda];
}

/// What a receiver knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// UTC, since 1970.
    pub utc: Duration,
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres above the sea.
    pub altitude: f64,
    /// Knots.
    pub speed: f64,
    /// Degrees from north.
    pub course: f64,
    /// Satellites in use; below 4 there is no fix.
    pub satellites: u8,
}

/// A sentence with its checksum (made wrong on request) and line end.
pub(super) fn sentence(kind: Sentence, at: &Position, wrong: bool) -> String {
    let body = body(kind, at);
    let sum = body.bytes().fold(u8::from(wrong), |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

fn body(kind: Sentence, at: &Position) -> String {
    let clock = Clock::of(at.utc);
    let latitude = Degrees(at.latitude, 2, ["N", "S"]);
    let longitude = Degrees(at.longitude, 3, ["E", "W"]);
    let has_fix = at.satellites >= 4;
    let (speed, course) = (at.speed, at.course.rem_euclid(360.0));
    match (kind, has_fix) {
        (Sentence::Gga, true) => format!(
            "GPGGA,{clock},{latitude},{longitude},1,{:02},0.9,{:.1},M,47.0,M,,",
            at.satellites, at.altitude
        ),
        (Sentence::Gga, false) => format!("GPGGA,{clock},,,,,0,{:02},,,,,,,", at.satellites),
        (Sentence::Rmc, true) => format!(
            "GPRMC,{clock},A,{latitude},{longitude},{speed:.2},{course:.1},{},,,A",
            clock.date()
        ),
        (Sentence::Rmc, false) => format!("GPRMC,{clock},V,,,,,,,{},,,N", clock.date()),
        (Sentence::Vtg, true) => {
            let kmh = speed * 1.852;
            format!("GPVTG,{course:.1},T,,M,{speed:.2},N,{kmh:.2},K,A")
        }
        (Sentence::Vtg, false) => "GPVTG,,T,,M,,N,,K,N".to_owned(),
        (Sentence::Gsa, true) => {
            let used = |place: u8| {
                if place < at.satellites {
                    format!("{:02}", place * 2 + 3)
                } else {
                    String::new()
                }
            };
            let used: Vec<String> = (0..12).map(used).collect();
            format!("GPGSA,A,3,{},1.6,0.9,1.3", used.join(","))
        }
        (Sentence::Gsa, false) => "GPGSA,A,1,,,,,,,,,,,,,99.9,99.9,99.9".to_owned(),
        (Sentence::Zda, _) => format!(
            "GPZDA,{clock},{:02},{:02},{:04},00,00",
            clock.day, clock.month, clock.year
        ),
    }
}

/// Degrees as NMEA writes them: whole degrees and minutes run together, then the side.
struct Degrees(f64, usize, [&'static str; 2]);

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(degrees, width, [positive, negative]) = self;
        // Rounded first: 59.99999 minutes must not become 60.
        let minutes = (degrees.abs() * 600_000.0).round() / 10_000.0;
        let whole = (minutes / 60.0).floor();
        let side = if *degrees < 0.0 { negative } else { positive };
        write!(f, "{whole:0width$.0}{:07.4},{side}", minutes - whole * 60.0)
    }
}

struct Clock {
    year: i64,
    month: u64,
    day: u64,
    of_day: Duration,
}

impl Clock {
    /// Civil date from days since 1970 (Gregorian, proleptic): years begin in March, so that the day
    /// that is sometimes missing is the last.
    fn of(utc: Duration) -> Self {
        let seconds = utc.as_secs();
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Self {
            year: i64::try_from(year).unwrap_or(0),
            month,
            day,
            of_day: utc.saturating_sub(Duration::from_secs(seconds - seconds % 86_400)),
        }
    }

    fn date(&self) -> String {
        format!("{:02}{:02}{:02}", self.day, self.month, self.year % 100)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.of_day.as_secs();
        let hundredths = self.of_day.subsec_millis() / 10;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(
            f,
            "{hours:02}{minutes:02}{:02}.{hundredths:02}",
            seconds % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position {
            // 2024-02-29 12:35:19.25 UTC.
            utc: Duration::from_millis(1_709_210_119_250),
            latitude: 48.1173,
            longitude: -11.516_666_666,
            altitude: 545.44,
            speed: 22.4,
            course: 84.4,
            satellites: 8,
        }
    }

    #[test]
    fn sentences_are_as_receivers_send_them() {
        let said = Sentence::ALL.map(|kind| body(kind, &position()));
        assert_eq!(
            said,
            [
                "GPGGA,123519.25,4807.0380,N,01131.0000,W,1,08,0.9,545.4,M,47.0,M,,",
                "GPRMC,123519.25,A,4807.0380,N,01131.0000,W,22.40,84.4,290224,,,A",
                "GPVTG,84.4,T,,M,22.40,N,41.48,K,A",
                "GPGSA,A,3,03,05,07,09,11,13,15,17,,,,,1.6,0.9,1.3",
                "GPZDA,123519.25,29,02,2024,00,00",
            ]
        );
        let whole = sentence(Sentence::Vtg, &position(), false);
        assert!(whole.starts_with("$GPVTG") && whole.ends_with("\r\n"));
        assert_ne!(whole, sentence(Sentence::Vtg, &position(), true));
    }

    #[test]
    fn without_satellites_there_is_no_fix_and_no_position() {
        let at = Position {
            satellites: 3,
            ..position()
        };
        for kind in Sentence::ALL {
            let said = body(kind, &at);
            assert!(!said.contains("4807"), "{said}");
            let commas = |at: &Position| body(kind, at).matches(',').count();
            assert_eq!(commas(&at), commas(&position()), "{said}");
        }
    }

    #[test]
    fn minutes_never_become_sixty() {
        let text = Degrees(9.999_999_999, 2, ["N", "S"]).to_string();
        assert_eq!(text, "1000.0000,N");
    }
}
