//! chronyd's own protocol, as far as its state of tracking needs (version 6 of `candm.h`, chrony 2.2 and
//! later): one question, one answer, by UDP on the loopback interface. Anybody on the machine may ask.

use crate::snapshot::SourceReport;

/// Where it listens for commands.
pub(super) const PORT: u16 = 323;
const VERSION: u8 = 6;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const TRACKING: u16 = 33;
const TRACKING_REPLY: u16 = 5;
/// A reply is never longer than its request, so that nobody is flooded: the request is as long.
const LENGTH: usize = 104;
/// Places in the reply, after 28 bytes of header.
const REFERENCE: usize = 28;
const STRATUM: usize = 52;
const LEAP: usize = 54;
const CORRECTION: usize = 68;
/// The reference of a clock that is left to itself (`local` in its configuration): nobody has set it.
const LOCAL: [u8; 4] = [0x7f, 0x7f, 1, 1];
/// Leap state of a clock that is not synchronised.
const UNSYNCHRONISED: u16 = 3;

/// The question how the clock is tracked.
pub(super) fn request() -> Vec<u8> {
    let mut request = vec![VERSION, REQUEST, 0, 0];
    request.extend(TRACKING.to_be_bytes());
    request.resize(LENGTH, 0);
    request
}

/// The answer, if it is one.
pub(super) fn read(answer: &[u8]) -> Option<SourceReport> {
    let word = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let is_answer = answer.starts_with(&[VERSION, REPLY])
        && word(4)? == TRACKING
        && word(6)? == TRACKING_REPLY
        && word(8)? == 0;
    if !is_answer {
        return None;
    }
    let (stratum, leap) = (word(STRATUM)?, word(LEAP)?);
    let correction = answer.get(CORRECTION..CORRECTION + 4)?.try_into().ok()?;
    let off = float(u32::from_be_bytes(correction)) * 1000.0;
    let local = answer.get(REFERENCE..REFERENCE + 4)? == LOCAL;
    let right = leap < UNSYNCHRONISED && stratum > 0 && !local;
    let state = if local {
        "its own clock alone, left to itself".to_owned()
    } else if right {
        format!("stratum {stratum}, {off:.1} ms to correct")
    } else {
        "no server is followed".to_owned()
    };
    Some(SourceReport {
        name: "chrony".to_owned(),
        right,
        state,
    })
}

/// Its floating point: 7 bits of exponent, 25 of coefficient, both signed.
fn float(bits: u32) -> f64 {
    // Shifted to the top and back, so that the sign is spread.
    let exponent = bits.cast_signed() >> 25;
    let coefficient = (bits << 7).cast_signed() >> 7;
    f64::from(coefficient) * 2f64.powi(exponent - 25)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stratum: u16, leap: u16, correction: u32) -> Vec<u8> {
        let mut answer = vec![VERSION, REPLY, 0, 0];
        answer.extend(TRACKING.to_be_bytes());
        answer.extend(TRACKING_REPLY.to_be_bytes());
        answer.resize(LENGTH, 0);
        answer[STRATUM..STRATUM + 2].copy_from_slice(&stratum.to_be_bytes());
        answer[LEAP..LEAP + 2].copy_from_slice(&leap.to_be_bytes());
        answer[CORRECTION..CORRECTION + 4].copy_from_slice(&correction.to_be_bytes());
        answer
    }

    #[test]
    fn tracking_tells_whether_a_server_is_followed_and_how_far_off_the_clock_is() {
        // 0.001 s: coefficient 0x10624de = 0.001 * 2^34, exponent -9.
        let bits = (0x77 << 25) | 0x010_624d;
        let report = read(&answer(2, 0, bits)).unwrap();
        assert!(report.right);
        assert!(report.state.starts_with("stratum 2"), "{}", report.state);
        let lost = read(&answer(0, 3, 0)).unwrap();
        assert!(!lost.right);
        let mut alone = answer(8, 0, 0);
        alone[REFERENCE..REFERENCE + 4].copy_from_slice(&LOCAL);
        assert!(!read(&alone).unwrap().right);
    }

    #[test]
    fn floats_are_read_with_both_signs() {
        // 1.0 = 2^23 * 2^(2 - 25); -0.5 = -2^24 * 2^(0 - 25)
        assert!((float((2 << 25) | (1 << 23)) - 1.0).abs() < 1e-12);
        assert!((float(1 << 24) + 0.5).abs() < 1e-12);
        assert!((float((0x7e << 25) | (1 << 23)) - 0.0625).abs() < 1e-12);
    }

    #[test]
    fn an_answer_to_something_else_or_a_refusal_is_none() {
        let good = answer(2, 0, 0);
        for place in [0, 1, 5, 7, 9] {
            let mut other = good.clone();
            other[place] ^= 1;
            assert_eq!(read(&other), None, "byte {place}");
        }
        assert_eq!(read(&good[..60]), None);
    }
}
