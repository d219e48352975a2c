//! UTC as sentences write it, in milliseconds; pure calendar arithmetic.

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// So many ASCII digits as a number.
fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain && text.len() <= 9)
}

/// `hhmmss[.sss]`: milliseconds since midnight. A leap second counts as the first of the next minute.
pub(super) fn of_day(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.len() != 6 {
        return None;
    }
    let (h, m) = (digits(whole.get(..2)?)?, digits(whole.get(2..4)?)?);
    let s = digits(whole.get(4..)?)?;
    let fraction = fraction.get(..fraction.len().min(3))?;
    let scale = 10i64.pow(3 - u32::try_from(fraction.len()).ok()?);
    let millis = digits(fraction)? * scale;
    let fits = h < 24 && m < 60 && s <= 60;
    fits.then_some(((h * 60 + m) * 60 + s) * 1000 + millis)
}

/// `ddmmyy` and a time of day: milliseconds since 1970-01-01 UTC. Years 80 to 99 are 1980 to 1999.
pub(super) fn from_date(date: &str, time: &str) -> Option<i64> {
    if date.len() != 6 {
        return None;
    }
    let (d, m) = (digits(date.get(..2)?)?, digits(date.get(2..4)?)?);
    let y = digits(date.get(4..)?)?;
    let century = if y >= 80 { 1900 } else { 2000 };
    Some(days(century + y, m, d)? * DAY + of_day(time)?)
}

/// Day, month, year with four digits, and a time of day.
pub(super) fn from_parts([d, m, y]: [&str; 3], time: &str) -> Option<i64> {
    Some(days(digits(y)?, digits(m)?, digits(d)?)? * DAY + of_day(time)?)
}

/// Days from 1970-01-01 to a date of the years 1900 to 2999; `None` for a date that does not exist.
fn days(y: i64, m: i64, d: i64) -> Option<i64> {
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let last = match m {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1900..3000).contains(&y) || !(1..=last).contains(&d) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    Some(y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + d - 719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970_and_impossible_ones_refused() {
        assert_eq!(from_date("010170", "000000"), Some(3_155_760_000_000));
        assert_eq!(from_parts(["01", "01", "1970"], "000000"), Some(0));
        assert_eq!(
            from_parts(["29", "02", "2024"], "123456.789"),
            Some(1_709_210_096_789)
        );
        assert_eq!(from_date("230394", "123519"), Some(764_426_119_000));
        assert_eq!(
            from_parts(["31", "12", "2026"], "235960"),
            Some(1_798_761_600_000)
        );
        for (date, time) in [
            ("290223", "000000"),
            ("310424", "000000"),
            ("001024", "000000"),
            ("011324", "000000"),
            ("010124", "240000"),
            ("010124", "006000"),
            ("010124", "000061"),
            ("0101", "000000"),
            ("0101-4", "000000"),
            ("010124", "1200"),
            ("010124", "+12000"),
        ] {
            assert_eq!(from_date(date, time), None, "{date} {time}");
        }
    }
}
