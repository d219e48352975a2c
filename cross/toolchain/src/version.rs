//! Order of Debian's version numbers, as Debian Policy 5.6.12 defines it.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Compares two versions, `[epoch:]upstream[-revision]`.
#[must_use]
pub fn compare(left: &str, right: &str) -> Ordering {
    let (le, lu, lr) = parts(left);
    let (re, ru, rr) = parts(right);
    le.cmp(&re)
        .then_with(|| stretch(lu, ru))
        .then_with(|| stretch(lr, rr))
}

fn parts(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Text and numbers in turn; text by [`weight`], numbers by value.
fn stretch(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.chars().peekable(), right.chars().peekable());
    while left.peek().is_some() || right.peek().is_some() {
        loop {
            let (l, r) = (text(&mut left), text(&mut right));
            match weight(l).cmp(&weight(r)) {
                Ordering::Equal if l.is_none() && r.is_none() => break,
                Ordering::Equal => {}
                other => return other,
            }
        }
        match number(&mut left).cmp(&number(&mut right)) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    Ordering::Equal
}

/// The next character that is no digit.
fn text(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    chars.next_if(|c| !c.is_ascii_digit())
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn weight(c: Option<char>) -> u32 {
    match c {
        Some('~') => 0,
        None => 1,
        Some(c) if c.is_ascii_alphabetic() => u32::from(c),
        Some(c) => u32::from(c) + 0x100,
    }
}

fn number(chars: &mut Peekable<Chars<'_>>) -> u128 {
    let mut value = 0_u128;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let digit = u128::from(digit.to_digit(10).unwrap_or(0));
        value = value.saturating_mul(10).saturating_add(digit);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn versions_sort_as_dpkg_sorts_them() {
        for (left, right, order) in [
            ("1.0", "1.0", Equal),
            ("1.0", "1.0-0", Equal),
            ("1.0-1", "1.0-2", Less),
            ("1.9", "1.10", Less),
            ("1:0.1", "9.9", Greater),
            ("1.0~rc1", "1.0", Less),
            ("1.0~~", "1.0~", Less),
            ("1.0+b1", "1.0", Greater),
            ("1.0a", "1.0+", Less),
            ("1.96.0+dfsg1-1~deb12u2", "1.85.0+dfsg3-1~deb12u3", Greater),
            ("1:7.2+dfsg-7+deb12u18+b3", "1:7.2+dfsg-7+deb12u15", Greater),
            ("2.36-9+deb12u10", "2.36-9+deb12u9", Greater),
            ("0.0.0", "0.00", Greater),
        ] {
            assert_eq!(compare(left, right), order, "{left} and {right}");
            assert_eq!(compare(right, left), order.reverse(), "{right} and {left}");
        }
    }
}
