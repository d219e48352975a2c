//! A question to an NTP server on this machine (ntpd and its relatives, where they listen): whether it is
//! synchronised itself.

use crate::snapshot::SourceReport;

pub(super) const PORT: u16 = 123;
const LENGTH: usize = 48;
/// Version 4, client.
const ASK: u8 = 0x23;
const SERVER: u8 = 4;
/// Leap indicator of a server that does not know the time.
const ALARM: u8 = 3;
/// A server this far from the source is not synchronised.
const UNSYNCHRONISED: u8 = 16;

pub(super) fn request() -> Vec<u8> {
    let mut request = vec![ASK];
    request.resize(LENGTH, 0);
    // Servers give it back; one that answered without a question would be believed otherwise.
    if let Some(sent) = request.get_mut(40..LENGTH) {
        sent.copy_from_slice(&MARK);
    }
    request
}

/// What stands where the time of sending belongs: any value serves.
const MARK: [u8; 8] = *b"fogline?";

pub(super) fn read(answer: &[u8]) -> Option<SourceReport> {
    let first = *answer.first()?;
    let stratum = *answer.get(1)?;
    if first & 7 != SERVER || answer.get(24..32)? != MARK || answer.len() < LENGTH {
        return None;
    }
    let right = first >> 6 != ALARM && (1..UNSYNCHRONISED).contains(&stratum);
    let state = if right {
        format!("stratum {stratum}")
    } else {
        "not synchronised".to_owned()
    };
    Some(SourceReport {
        name: "ntp".to_owned(),
        right,
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(leap: u8, mode: u8, stratum: u8) -> Vec<u8> {
        let mut answer = vec![0; LENGTH];
        (answer[0], answer[1]) = ((leap << 6) | (4 << 3) | mode, stratum);
        answer[24..32].copy_from_slice(&MARK);
        answer
    }

    #[test]
    fn a_server_says_whether_it_knows_the_time() {
        assert!(read(&answer(0, SERVER, 3)).unwrap().right);
        assert!(!read(&answer(ALARM, SERVER, 3)).unwrap().right);
        assert!(!read(&answer(0, SERVER, 16)).unwrap().right);
        assert!(!read(&answer(0, SERVER, 0)).unwrap().right);
    }

    #[test]
    fn what_answers_no_question_of_ours_is_none() {
        assert_eq!(read(&answer(0, 3, 3)), None);
        let mut unasked = answer(0, SERVER, 3);
        unasked[24] ^= 1;
        assert_eq!(read(&unasked), None);
        assert_eq!(read(&answer(0, SERVER, 3)[..40]), None);
    }
}
