//! Durations, sizes and rates as people write them: `"250ms"`, `"2GiB"`, `"256MiB/day"`.

use std::time::Duration;

/// Units of time, largest first, in nanoseconds.
const TIME: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size, in bytes.
const SIZE: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// How a duration is written, for messages.
pub const DURATION_FORM: &str = "a number and a unit: \"250ms\", \"1.5s\", \"5m\", \"2h\", \"1d\"";
/// How a size is written, for messages.
pub const SIZE_FORM: &str = "a number and a unit: \"512KiB\", \"64MiB\", \"2GiB\"";

/// Reads a duration.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &TIME).map(Duration::from_nanos)
}

/// Reads a size in bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    scaled(text, &SIZE)
}

/// Number × unit, exact for whole numbers and for decimals that hit whole base units.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (text.get(..split)?, text.get(split..)?.trim_start());
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let mut part = 0u128;
    for digit in fraction.chars() {
        part = part * 10 + u128::from(digit.to_digit(10)?);
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from(part * u128::from(factor) / scale).ok()?;
    whole.checked_add(part)
}

/// A duration in the largest unit that shows it as a whole number.
#[must_use]
pub fn show_duration(span: Duration) -> String {
    if span.is_zero() {
        return "0s".to_owned();
    }
    show(
        u64::try_from(span.as_nanos()).unwrap_or(u64::MAX),
        &TIME,
        "ns",
    )
}

/// A size in the largest binary unit that shows it as a whole number.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZE.get(..4).unwrap_or(&[]), "B")
}

fn show(amount: u64, units: &[(&str, u64)], base: &str) -> String {
    let fits = |&&(name, factor): &&(&str, u64)| {
        amount > 0 && amount.is_multiple_of(factor) && name != "min"
    };
    units.iter().find(fits).map_or_else(
        || format!("{amount}{base}"),
        |(name, factor)| format!("{}{name}", amount / factor),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_exactly() {
        for (text, nanos) in [
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("5m", 300_000_000_000),
            ("5min", 300_000_000_000),
            ("2 h", 7_200_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        assert_eq!(parse_size("1.5KiB"), Some(1536));
        assert_eq!(parse_size("10kB"), Some(10_000));
    }

    #[test]
    fn what_has_no_unit_or_no_number_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.s",
            "1..2s",
            "5 parsec",
            "99999999999999999999s",
            ".5s",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
        assert_eq!(parse_size("12gib"), None);
    }

    #[test]
    fn what_is_shown_reads_back() {
        for nanos in [
            1_000,
            250_000_000,
            1_500_000_000,
            60_000_000_000,
            90_000_000_000,
        ] {
            let span = Duration::from_nanos(nanos);
            assert_eq!(parse_duration(&show_duration(span)), Some(span));
        }
        assert_eq!(show_duration(Duration::from_secs(60)), "1m");
        assert_eq!(show_size(64 << 20), "64MiB");
    }
}
