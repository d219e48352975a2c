//! What a person sees: plain lines on stderr; stdout belongs to results.

use std::io::Write as _;

/// A line for people.
pub fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stderr().lock();
    let _nobody_listens = writeln!(out, "{text}");
}

/// A line that is a result.
pub fn result(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _nobody_listens = writeln!(out, "{text}");
}

/// Bytes as people read them.
#[must_use]
pub fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::megabytes;

    #[test]
    fn sizes_are_rounded_to_tenths_of_a_megabyte() {
        assert_eq!(megabytes(0), "0.0 MB");
        assert_eq!(megabytes(101_011_302), "101.0 MB");
        assert_eq!(megabytes(7_950_001), "8.0 MB");
    }
}
