//! The answer to a request among the bytes of a serial line: pure.
//!
//! RTU frames carry no length and no number; what tells an answer apart is unit, function, byte
//! count and checksum. Only bytes that match all four are let through. Noise before the answer is
//! skipped, as transceivers make it when they turn round; a damaged answer, or one to another
//! request, is named as such.

/// Longest frame on a serial line (Modbus over serial line 1.02, page 13).
pub const MAX_FRAME: usize = 256;
/// Unit and function code before, checksum after the data.
const OVERHEAD: usize = 4;
/// Unit, function code, exception code, checksum.
const EXCEPTION: usize = 5;

/// What the answer to a request has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The unit that was asked.
    pub unit: u8,
    /// The function code.
    pub function: u8,
    /// What follows it.
    pub body: Body,
}

/// What follows the function code in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A byte count and as many bytes of data, at most 250: the answer to a read.
    Data(u8),
    /// These bytes, the first four or all six: the answer to a write repeats its request.
    Echo([u8; 6], usize),
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet that could not still become the answer.
    Partial,
    /// The answer or an exception, at this place.
    Answer {
        /// First byte.
        start: usize,
        /// Bytes.
        len: usize,
    },
    /// The answer with a wrong checksum.
    Damaged,
    /// A complete frame of another unit, function or length: the answer to an earlier request, or a
    /// device that breaks the protocol.
    Foreign,
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler: out of bounds would not build"
)]
const CRC_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut index = 0u16;
    while index < 256 {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xa001 } else { 0 };
            bit += 1;
        }
        table[index as usize] = crc;
        index += 1;
    }
    table
};

/// The checksum of a frame without its last two bytes; sent low byte first.
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, &byte| {
        let [low, _] = crc.to_le_bytes();
        let entry = CRC_TABLE.get(usize::from(low ^ byte)).copied();
        crc >> 8 ^ entry.unwrap_or(0)
    })
}

fn intact(frame: &[u8]) -> bool {
    frame
        .split_last_chunk::<2>()
        .is_some_and(|(body, sum)| crc(body).to_le_bytes() == *sum)
}

/// Length of the frame that `bytes` begin with, if they can begin an answer at all.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [_, 1..=4 | 23, count, ..] => Some(usize::from(count) + OVERHEAD + 1),
        [_, 5 | 6 | 15 | 16, _, ..] => Some(OVERHEAD + 4),
        [_, 22, _, ..] => Some(OVERHEAD + 6),
        [_, 0x81..=0x97, _, ..] => Some(EXCEPTION),
        _ => None,
    }
}

/// Whether `bytes` hold a complete, intact answer of whatever unit; its place.
#[must_use]
pub fn any_answer(bytes: &[u8]) -> Option<(usize, usize)> {
    (0..bytes.len()).find_map(|start| {
        let rest = bytes.get(start..)?;
        let len = frame_len(rest).filter(|len| *len <= MAX_FRAME)?;
        intact(rest.get(..len)?).then_some((start, len))
    })
}

impl Expected {
    /// Whether `bytes` begin as the answer would, as far as they go.
    fn begins(self, bytes: &[u8]) -> bool {
        let unit = bytes.first().is_none_or(|b| *b == self.unit);
        let exception = bytes.get(1) == Some(&(self.function | 0x80));
        let function = bytes.get(1).is_none_or(|b| *b == self.function) || exception;
        let rest = bytes.get(2..).unwrap_or_default();
        let body = match &self.body {
            Body::Data(count) => rest.first().is_none_or(|b| b == count),
            Body::Echo(echo, len) => {
                let echo = echo.get(..*len).unwrap_or_default();
                rest.iter().zip(echo).all(|(a, b)| a == b)
            }
        };
        unit && function && (exception || body)
    }

    /// Looks for the answer in everything that came since the request.
    #[must_use]
    pub fn find(self, bytes: &[u8]) -> Found {
        let candidates = (0..bytes.len()).filter_map(|start| {
            let rest = bytes.get(start..)?;
            Some((start, rest)).filter(|(_, rest)| self.begins(rest))
        });
        let mut damaged = false;
        for (start, rest) in candidates {
            let Some(len) = frame_len(rest) else { continue };
            match rest.get(..len) {
                Some(frame) if intact(frame) => return Found::Answer { start, len },
                Some(_) => damaged |= start == 0,
                None => {}
            }
        }
        if damaged {
            Found::Damaged
        } else if any_answer(bytes).is_some() {
            Found::Foreign
        } else {
            Found::Partial
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = body.to_vec();
        frame.extend(crc(body).to_le_bytes());
        frame
    }

    const ASKED: Expected = Expected {
        unit: 1,
        function: 3,
        body: Body::Data(4),
    };

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // The widely published example: unit 1 reads one register at 0.
        assert_eq!(frame(&[1, 3, 0, 0, 0, 1])[6..], [0x84, 0x0a]);
    }

    #[test]
    fn an_answer_is_found_whole_and_after_noise_and_not_before_its_end() {
        let answer = frame(&[1, 3, 4, 0, 1, 0, 2]);
        for end in 0..answer.len() {
            assert_eq!(ASKED.find(&answer[..end]), Found::Partial);
        }
        assert_eq!(ASKED.find(&answer), Found::Answer { start: 0, len: 9 });
        let noisy = [&[0, 0xff, 1][..], &answer, &[0]].concat();
        assert_eq!(ASKED.find(&noisy), Found::Answer { start: 3, len: 9 });
        let exception = frame(&[1, 0x83, 2]);
        assert_eq!(ASKED.find(&exception), Found::Answer { start: 0, len: 5 });
    }

    #[test]
    fn what_answers_another_request_is_told_apart() {
        for body in [
            &[2, 3, 4, 0, 1, 0, 2][..],
            &[1, 4, 4, 0, 1, 0, 2],
            &[1, 3, 2, 0, 1],
            &[1, 3, 6, 0, 1, 0, 2, 0, 3],
            &[1, 0x84, 2],
            &[2, 0x83, 2],
        ] {
            assert_eq!(ASKED.find(&frame(body)), Found::Foreign, "{body:?}");
        }
        let mut damaged = frame(&[1, 3, 4, 0, 1, 0, 2]);
        damaged[4] ^= 1;
        assert_eq!(ASKED.find(&damaged), Found::Damaged);
    }

    #[test]
    fn the_answer_to_a_write_is_the_one_that_repeats_it() {
        let asked = |body, len| Expected {
            unit: 1,
            function: 6,
            body: Body::Echo(body, len),
        };
        let write = asked([0, 7, 0x12, 0x34, 0, 0], 4);
        let answer = frame(&[1, 6, 0, 7, 0x12, 0x34]);
        for end in 0..answer.len() {
            assert_eq!(write.find(&answer[..end]), Found::Partial);
        }
        assert_eq!(write.find(&answer), Found::Answer { start: 0, len: 8 });
        let refused = frame(&[1, 0x86, 2]);
        assert_eq!(write.find(&refused), Found::Answer { start: 0, len: 5 });
        for other in [
            &[1, 6, 0, 7, 0x12, 0x35][..],
            &[1, 6, 0, 8, 0x12, 0x34],
            &[2, 6, 0, 7, 0x12, 0x34],
            &[1, 5, 0, 7, 0x12, 0x34],
            &[1, 3, 2, 0x12, 0x34],
        ] {
            assert_eq!(write.find(&frame(other)), Found::Foreign, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_never_an_answer_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), unit: u8, function in 1u8..5, count: u8) {
            let expected = Expected { unit, function, body: Body::Data(count) };
            if let Found::Answer { start, len } = expected.find(&bytes) {
                let frame = &bytes[start..start + len];
                prop_assert_eq!(frame[0], unit);
                prop_assert_eq!(frame[1] & 0x7f, function);
                prop_assert_eq!(crc(&frame[..len - 2]).to_le_bytes(), [frame[len - 2], frame[len - 1]]);
            }
        }

        #[test]
        fn one_flipped_bit_is_never_let_through(data in prop::collection::vec(any::<u8>(), 4), byte in 0usize..9, bit in 0u8..8) {
            let mut answer = frame(&[&[1, 3, 4][..], &data].concat());
            answer[byte] ^= 1 << bit;
            let let_through = matches!(ASKED.find(&answer), Found::Answer { .. });
            prop_assert!(!let_through);
        }
    }
}
