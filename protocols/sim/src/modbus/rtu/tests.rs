//! The bus in virtual time: nothing here waits, and no machine is too slow for it.

use super::super::station::Reply;
use super::*;
use std::sync::Mutex;

/// Answers each read with its own unit id after a turnaround per unit; remembers what went wrong.
#[derive(Debug, Default)]
struct Fake {
    turnaround: Vec<(u8, Duration)>,
    asked: Mutex<Vec<u8>>,
    troubles: Mutex<Vec<LineTrouble>>,
}

impl Station for Fake {
    fn ask(&self, unit: u8, _pdu: &[u8]) -> Carrier {
        self.asked.lock().unwrap().push(unit);
        let known = self.turnaround.iter().find(|(id, _)| *id == unit);
        known.map_or(Carrier::Silence, |(_, after)| {
            Carrier::Answer(Reply::good(unit, *after, vec![3, 2, 0, unit]))
        })
    }

    fn trouble(&self, trouble: LineTrouble) {
        self.troubles.lock().unwrap().push(trouble);
    }
}

struct Rehearsal {
    core: RtuLine,
    station: Arc<Fake>,
    line: LineSettings,
}

const MS: Duration = Duration::from_millis(1);

fn rehearsal(line: &str, turnaround: &[(u8, u64)]) -> Rehearsal {
    let turnaround = turnaround
        .iter()
        .map(|(unit, ms)| (*unit, Duration::from_millis(*ms)));
    let station = Arc::new(Fake {
        turnaround: turnaround.collect(),
        ..Fake::default()
    });
    let line = line.parse().unwrap();
    let options = RtuOptions { line, strict: true };
    Rehearsal {
        core: RtuLine::new(options, Arc::<Fake>::clone(&station)),
        station,
        line,
    }
}

fn request(unit: u8) -> Vec<u8> {
    let mut frame = vec![unit, 3, 0, 0, 0, 1];
    frame.extend(crc16(&frame));
    frame
}

impl Rehearsal {
    /// Writes at a time; gives when the last byte is through.
    fn write(&mut self, at: Duration, bytes: &[u8]) -> (Duration, Vec<u8>) {
        let mut out = Vec::new();
        self.core.advance(at, &mut out);
        self.core.written(at, bytes);
        (at + self.line.characters(bytes.len() as u64), out)
    }

    /// Runs until nothing is due; portions with their times.
    fn run(&mut self) -> Vec<(Duration, Vec<u8>)> {
        let mut portions = Vec::new();
        while let Some(due) = self.core.due() {
            let mut out = Vec::new();
            self.core.advance(due, &mut out);
            if !out.is_empty() {
                portions.push((due, out));
            }
        }
        portions
    }

    fn heard(&mut self) -> Vec<u8> {
        self.run()
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect()
    }

    fn troubles(&self) -> Vec<LineTrouble> {
        self.station.troubles.lock().unwrap().clone()
    }

    fn asked(&self) -> Vec<u8> {
        self.station.asked.lock().unwrap().clone()
    }
}

fn answer(unit: u8) -> Vec<u8> {
    let mut frame = vec![unit, 3, 2, 0, unit];
    frame.extend(crc16(&frame));
    frame
}

#[test]
fn a_transaction_takes_request_turnaround_and_answer_at_every_speed() {
    for text in ["9600 8E1", "19200 8N1", "115200 8N1"] {
        let mut bus = rehearsal(text, &[(1, 10)]);
        let (sent, _) = bus.write(MS, &request(1));
        assert_eq!(sent, MS + bus.line.characters(8));
        assert_eq!(
            bus.asked(),
            [],
            "{text}: asked before the request was through"
        );
        let portions = bus.run();
        let last = portions.last().unwrap().0;
        assert_eq!(last, sent + 10 * MS + bus.line.characters(7), "{text}");
        let bytes: Vec<u8> = portions.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(bytes, answer(1));
        assert_eq!(bus.troubles(), []);
    }
}

#[test]
fn the_answer_is_begun_no_sooner_than_a_frame_gap_after_the_request() {
    let mut bus = rehearsal("9600 8E1", &[(1, 0)]);
    let (sent, _) = bus.write(MS, &request(1));
    let last = bus.run().last().unwrap().0;
    assert_eq!(last, sent + bus.line.t3_5() + bus.line.characters(7));
}

#[test]
fn a_request_within_the_gap_after_an_answer_is_thrown_away_and_one_after_it_is_heard() {
    let just = Duration::from_nanos(1);
    for (early, heard) in [(just, vec![1]), (Duration::ZERO, vec![1, 1])] {
        let mut bus = rehearsal("19200 8E1", &[(1, 5)]);
        bus.write(MS, &request(1));
        let end = bus.run().last().unwrap().0;
        bus.write(end + bus.line.t3_5() - early, &request(1));
        bus.run();
        assert_eq!(bus.asked(), heard);
        assert_eq!(bus.troubles().len(), 2 - heard.len());
    }
}

#[test]
fn a_silence_inside_a_request_spoils_it_unless_the_bus_is_lenient() {
    let just = Duration::from_nanos(1);
    for (strict, over, heard) in [(true, just, 0), (true, Duration::ZERO, 1), (false, just, 1)] {
        let mut bus = rehearsal("9600 8N1", &[(1, 5)]);
        bus.core.options.strict = strict;
        let bytes = request(1);
        let (end, _) = bus.write(MS, &bytes[..4]);
        bus.write(end + bus.line.t1_5() + over, &bytes[4..]);
        bus.run();
        assert_eq!(bus.asked().len(), heard);
        let troubles = bus.troubles();
        assert_eq!(troubles.is_empty(), heard == 1, "{troubles:?}");
    }
    // Longer than the gap: two frames, neither of which is one.
    let mut bus = rehearsal("9600 8N1", &[(1, 5)]);
    let (end, _) = bus.write(MS, &request(1)[..4]);
    bus.write(end + bus.line.t3_5(), &request(1)[4..]);
    bus.run();
    assert_eq!(bus.troubles(), [LineTrouble::Checksum; 2]);
}

#[test]
fn a_client_that_talks_into_an_answer_spoils_both() {
    let mut bus = rehearsal("9600 8N1", &[(1, 5), (2, 5)]);
    let (sent, _) = bus.write(MS, &request(1));
    // Three characters into the answer.
    let (_, before) = bus.write(sent + 5 * MS + bus.line.characters(3), &request(2));
    let mut bytes = before;
    bytes.extend(bus.heard());
    assert_eq!(bytes.len(), 7);
    assert_eq!(bytes[..3], answer(1)[..3], "what was through stays");
    assert!(bytes[3..].iter().zip(&answer(1)[3..]).all(|(a, b)| a != b));
    assert_eq!(bus.asked(), [1]);
    assert_eq!(bus.troubles(), [LineTrouble::Collision]);
}

#[test]
fn a_unit_that_answers_late_talks_into_the_next_request() {
    let mut bus = rehearsal("9600 8N1", &[(1, 300), (2, 5)]);
    let (sent, _) = bus.write(MS, &request(1));
    let answer_begins = sent + 300 * MS;
    bus.write(answer_begins - bus.line.characters(4), &request(2));
    let bytes = bus.heard();
    assert_ne!(bytes, answer(1));
    assert_eq!(bus.asked(), [1], "the second request was not understood");
    assert_eq!(bus.troubles(), [LineTrouble::Collision]);

    // Where it fits between two others nobody is disturbed, and the client hears both.
    let mut bus = rehearsal("9600 8N1", &[(1, 300), (2, 5)]);
    bus.write(MS, &request(1));
    bus.write(100 * MS, &request(2));
    assert_eq!(bus.heard(), [answer(2), answer(1)].concat());
    assert_eq!(bus.troubles(), []);
}

#[test]
fn two_units_that_answer_at_once_spoil_each_other() {
    let mut bus = rehearsal("9600 8N1", &[(1, 100), (2, 50)]);
    let (first, _) = bus.write(MS, &request(1));
    // So that both answers begin at the same time.
    let second = first + 50 * MS - bus.line.characters(8);
    bus.write(second, &request(2));
    let bytes = bus.heard();
    assert_eq!(bytes.len(), 14);
    assert!(!bytes.windows(7).any(|w| w == answer(1) || w == answer(2)));
    assert_eq!(bus.troubles(), [LineTrouble::Collision]);
}

#[test]
fn nobody_answers_a_broadcast_a_foreign_unit_noise_or_a_wrong_speed() {
    let mut bus = rehearsal("9600 8N1", &[(0, 5), (1, 5)]);
    bus.write(MS, &request(0));
    assert_eq!(bus.heard(), []);
    assert_eq!(bus.asked(), [0], "a broadcast is heard");
    bus.write(100 * MS, &request(9));
    assert_eq!(bus.heard(), []);
    bus.write(200 * MS, &[0xff; 40]);
    assert_eq!(bus.heard(), []);
    bus.write(Duration::from_secs(1), &[0xff; 4000]);
    assert_eq!(bus.heard(), []);
    bus.core.tuned(false);
    bus.write(Duration::from_secs(9), &request(1));
    assert_eq!(bus.heard(), []);
    use LineTrouble::{Checksum, WrongSpeed};
    assert_eq!(bus.troubles(), [Checksum, Checksum, WrongSpeed]);
    bus.core.tuned(true);
    bus.write(Duration::from_secs(10), &request(1));
    assert_eq!(bus.heard(), answer(1));
}

#[test]
fn a_thread_that_stood_still_keeps_to_the_times_of_the_line() {
    // The same transaction, looked at once after a second instead of at every deadline.
    let mut bus = rehearsal("9600 8N1", &[(1, 5)]);
    let (sent, _) = bus.write(MS, &request(1));
    let mut out = Vec::new();
    bus.core.advance(Duration::from_secs(1), &mut out);
    assert_eq!(out, answer(1));
    let end = sent + 5 * MS + bus.line.characters(7);
    assert_eq!(bus.core.silent_since, end);
    assert_eq!(bus.core.due(), None);
}
