//! Spans, sizes and moments for people, the same in every command.

use jiff::tz::TimeZone;

/// A span in its two largest units.
pub(crate) fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A span in its largest unit alone: at most four characters for a year.
pub(crate) fn age(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..100 => format!("{seconds}s"),
        seconds @ 100..6000 => format!("{}m", seconds / 60),
        seconds @ 6000..360_000 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A size.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024),
    }
}

/// A count a second: two digits of what is small.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// A moment in UTC, to the second.
pub(crate) fn moment(millis: i64) -> String {
    let stamp = jiff::Timestamp::from_millisecond(millis).ok();
    let shown = stamp.map(|stamp| {
        stamp
            .to_zoned(TimeZone::UTC)
            .strftime("%Y-%m-%d %H:%M:%S UTC")
            .to_string()
    });
    shown.unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_sizes_and_rates_read_at_a_glance() {
        assert_eq!(span(-5), "0s");
        assert_eq!(span(65_000), "1m 5s");
        assert_eq!(span(90_000_000), "1d 1h");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(
            [age(99_999), age(100_000), age(6_000_000)],
            ["99s", "1m", "1h"]
        );
        assert_eq!(age(400 * 86_400_000), "400d");
        assert_eq!([rate(0.04), rate(9.96), rate(512.4)], ["0.0", "10", "512"]);
        assert_eq!(moment(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
    }
}
