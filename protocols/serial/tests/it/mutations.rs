//! Damaged streams: what comes out was sent.
//!
//! Each case damages a valid stream in one way and runs it through framer and parser. With a checksum
//! the damage is of a kind that it is certain to catch, or the generator is fixed and so is its luck:
//! nothing here is random from run to run.

use crate::rig::{WEIGHT, bus};
use protocols_model::{Instant, Value};
use protocols_serial::config::{Bus, Bytes, Checksum, FieldRef, Message, ValueRules};
use protocols_serial::framer::{Event, Framer};
use protocols_serial::message::{self, Said};
use std::collections::BTreeSet;
use std::time::Duration;

/// A line and what devices send on it.
struct Line {
    bus: Bus,
    message: Message,
    field: FieldRef,
    frame: fn(u16) -> Vec<u8>,
}

fn line(
    frame: &str,
    check: &str,
    parse: &str,
    field: Option<&str>,
    encode: fn(u16) -> Vec<u8>,
) -> Line {
    let message = Message {
        ask: None,
        period: Duration::from_secs(1),
        parser: parse.parse().unwrap(),
        starts: Bytes::default(),
        length: None,
    };
    let field = message.parser.field(field).unwrap();
    Line {
        bus: bus(frame, check),
        message,
        field,
        frame: encode,
    }
}

fn checked(check: &str, mut body: Vec<u8>) -> Vec<u8> {
    let check: Checksum = check.parse().unwrap();
    let sum = check.render(&body);
    body.extend(sum);
    body
}

fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match *byte {
        0xc0 => vec![0xdb, 0xdc],
        0xdb => vec![0xdb, 0xdd],
        byte => vec![byte],
    };
    let mut frame = vec![0xc0];
    frame.extend(bytes.iter().flat_map(escape));
    frame.push(0xc0);
    frame
}

/// Lines with a checksum of 16 bits and more.
fn with_checksum() -> Vec<Line> {
    vec![
        line(
            "length:u8@1+4 start:\\xaa",
            "crc16/modbus le",
            "binary",
            Some("u16be@2"),
            |n| {
                checked(
                    "crc16/modbus le",
                    [vec![0xaa, 2], n.to_be_bytes().to_vec()].concat(),
                )
            },
        ),
        line(
            "fixed:6 start:\\xaa",
            "crc16/xmodem be",
            "binary",
            Some("u16be@1"),
            |n| {
                checked(
                    "crc16/xmodem be",
                    [vec![0xaa], n.to_be_bytes().to_vec(), vec![7]].concat(),
                )
            },
        ),
        line("slip", "crc32 le", "binary", Some("u16be@0"), |n| {
            stuffed(&checked("crc32 le", n.to_be_bytes().to_vec()))
        }),
        line(
            "start:\\x02 end:\\x03",
            "crc16/x25 hex",
            "text",
            None,
            |n| {
                let body = checked("crc16/x25 hex", n.to_string().into_bytes());
                [b"\x02".to_vec(), body, b"\x03".to_vec()].concat()
            },
        ),
        line("end:\\r\\n", "crc32 hex", "csv:, *2", Some("2"), |n| {
            let body = checked(
                "crc32 hex",
                format!("v,{n},").trim_end_matches(',').as_bytes().to_vec(),
            );
            [body, b"\r\n".to_vec()].concat()
        }),
        line(
            "start:\\x02 end:\\x03 tail:2",
            "crc16/modbus le with:end",
            "text",
            None,
            |n| {
                let body = checked(
                    "crc16/modbus le",
                    [n.to_string().as_bytes(), b"\x03"].concat(),
                );
                [b"\x02".to_vec(), body].concat()
            },
        ),
    ]
}

/// The numbers that come out of pieces, each after this silence.
fn values(line: &Line, pieces: &[(u64, &[u8])]) -> Vec<u16> {
    let mut framer = Framer::new(&line.bus, Instant::default());
    let (mut out, mut now) = (Vec::new(), 0);
    let end = [(5000, b"".as_slice())];
    for (pause, piece) in pieces.iter().chain(&end) {
        now += pause;
        let at = |ms| Instant(Duration::from_millis(ms));
        while let Some(due) = framer.deadline().filter(|due| *due <= at(now)) {
            framer.tick(due, &mut out);
        }
        framer.push(piece, at(now), &mut out);
    }
    let rules = ValueRules::default();
    let value = |event| {
        let Event::Frame(frame) = event else {
            return None;
        };
        let said = message::read(&line.message, [(&line.field, &rules)], frame.payload())?;
        match said.first()? {
            Said::Value(Value::U64(n), _) => u16::try_from(*n).ok(),
            Said::Value(Value::F64(n), _) => format!("{n}").parse().ok(),
            _ => None,
        }
    };
    out.into_iter().filter_map(value).collect()
}

/// A generator of ours, so that a case that fails fails again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

const NUMBERS: [u16; 8] = [1, 300, 4711, 170, 43690, 65535, 9, 12345];

fn stream(line: &Line) -> (Vec<u8>, Vec<usize>) {
    let (mut stream, mut ends) = (Vec::new(), Vec::new());
    for n in NUMBERS {
        stream.extend((line.frame)(n));
        ends.push(stream.len());
    }
    (stream, ends)
}

#[test]
fn whole_streams_give_all_but_perhaps_the_first() {
    for line in with_checksum().iter().chain(&without_checksum()) {
        let (stream, _) = stream(line);
        let values = values(line, &[(0, &stream)]);
        assert!(
            values == NUMBERS || values == NUMBERS[1..],
            "{} {values:?}",
            line.bus.framing
        );
    }
}

#[test]
fn a_burst_of_16_bits_is_never_a_value() {
    for line in &with_checksum() {
        let (clean, _) = stream(line);
        let mut hits = 0;
        // Every place, every length of burst, with its first and last bit wrong.
        for from in 0..clean.len() * 8 {
            for len in [1, 2, 7, 8, 15, 16] {
                let mut dirty = clean.clone();
                for bit in [from, from + len - 1].into_iter().collect::<BTreeSet<_>>() {
                    if let Some(byte) = dirty.get_mut(bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                let values = values(line, &[(0, &dirty)]);
                assert!(
                    values.iter().all(|n| NUMBERS.contains(n)),
                    "{}: {len} bits from {from}: {values:?}",
                    line.bus.framing
                );
                hits += values.len();
            }
        }
        // Most frames survive damage done to another one.
        assert!(
            hits > clean.len() * 8 * 6 * 3,
            "{}: {hits}",
            line.bus.framing
        );
    }
}

#[test]
fn dropped_inserted_swapped_and_merged_bytes_are_never_a_value() {
    for line in &with_checksum() {
        let (clean, ends) = stream(line);
        let mut dice = Dice(7);
        for case in 0..4000 {
            let mut dirty = clean.clone();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(dirty.len());
                match dice.roll(5) {
                    0 => drop(dirty.remove(at)),
                    1 => dirty.insert(at, u8::try_from(dice.roll(256)).unwrap()),
                    2 => dirty.truncate(at.max(1)),
                    3 => {
                        // Two frames merged: the end of one and the start of the next are lost.
                        let end = ends[dice.roll(ends.len())].min(dirty.len());
                        let from = end.saturating_sub(dice.roll(5));
                        dirty.drain(from..(end + dice.roll(5)).min(dirty.len()));
                    }
                    _ => dirty.rotate_left(at),
                }
                if dirty.is_empty() {
                    dirty.push(0);
                }
            }
            let values = values(line, &[(0, &dirty)]);
            let wrong = values.iter().find(|n| !NUMBERS.contains(n));
            assert_eq!(wrong, None, "{}: case {case}", line.bus.framing);
        }
    }
}

/// Lines without a checksum.
fn without_checksum() -> Vec<Line> {
    vec![
        line("line", "", WEIGHT, Some("w"), |n| {
            format!("ST,+ {n}.00kg\r\n").into_bytes()
        }),
        line("start:\\x02 end:\\x03", "", WEIGHT, Some("w"), |n| {
            format!("\x02ST,+ {n}.00kg\x03").into_bytes()
        }),
        line("line", "", "json", Some("/w"), |n| {
            format!("{{\"w\":{n}}}\n").into_bytes()
        }),
    ]
}

#[test]
fn without_a_checksum_a_frame_cut_by_silence_is_never_a_value() {
    for line in &without_checksum() {
        let (clean, _) = stream(line);
        for from in 0..clean.len() {
            for to in from..clean.len() {
                // Everything between is lost, and the rest comes after a silence.
                let (head, tail) = (clean.get(..from).unwrap(), clean.get(to..).unwrap());
                let values = values(line, &[(0, head), (600, tail)]);
                let wrong = values.iter().find(|n| !NUMBERS.contains(n));
                assert_eq!(wrong, None, "{}: {from}..{to}", line.bus.framing);
            }
        }
    }
}

#[test]
fn without_a_checksum_frames_merged_where_they_meet_are_never_a_value() {
    for line in &without_checksum() {
        let (clean, ends) = stream(line);
        for end in &ends[..ends.len() - 1] {
            // What is lost holds the end of one frame and the beginning of the next, but no digits: lost
            // digits nobody can see without a checksum.
            for from in end - 2..=*end {
                for to in *end..=end + 4 {
                    let dirty = [&clean[..from], &clean[to..]].concat();
                    let values = values(line, &[(0, &dirty)]);
                    let wrong = values.iter().find(|n| !NUMBERS.contains(n));
                    assert_eq!(wrong, None, "{}: {from}..{to}", line.bus.framing);
                }
            }
        }
    }
}

#[test]
fn a_nmea_sentence_with_one_wrong_bit_is_never_a_value() {
    let sentence = |n: u16| {
        let body = format!("GPHDT,{n},T");
        let sum = body.bytes().fold(0, |sum, b| sum ^ b);
        format!("${body}*{sum:02X}\r\n").into_bytes()
    };
    let line = line(
        "nmea",
        "xor8 hex after:*",
        "nmea",
        Some("HDT.heading"),
        sentence,
    );
    let (clean, _) = stream(&line);
    for bit in 0..clean.len() * 8 {
        let mut dirty = clean.clone();
        dirty[bit / 8] ^= 1 << (bit % 8);
        let values = values(&line, &[(0, &dirty)]);
        assert!(
            values.iter().all(|n| NUMBERS.contains(n)),
            "bit {bit}: {values:?}"
        );
    }
}
