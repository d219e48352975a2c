//! The units on the measured line: what each takes, how long it thinks, and the requests by which a
//! master that knows all this would read it.
//!
//! Every register holds its unit's number and its own, so that a reading can be told from any other.

use protocols_modbus::config::LineSettings;
use protocols_sim::modbus::{Carrier, LineTrouble, Reply, Station};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Takes at most [`SHORT`] registers.
const LIMITED: u8 = 3;
const SHORT: u16 = 30;
/// Refuses to read what is not there.
const STRICT: u8 = 5;
/// Each unit has these registers.
const REGISTERS: [Range<u16>; 2] = [0..40, 46..60];
/// Unit id, function and byte count before, checksum behind the registers of an answer.
const ANSWER_FRAME: u32 = 5;
const REQUEST: u32 = 8;
/// Codes of the exceptions: no such address, no such quantity.
const NO_ADDRESS: u8 = 2;
const NO_QUANTITY: u8 = 3;

/// The units: numbers from 1 on live, those after them are dead.
#[derive(Debug)]
pub(crate) struct Units {
    /// How many live.
    pub living: u8,
    /// How many the master asks in vain.
    pub dead: u8,
    /// Requests that reached no unit whole.
    pub spoiled: AtomicU64,
}

/// One request of the ideal master.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub unit: u8,
    pub start: u16,
    pub count: u16,
}

/// The registers of every unit.
pub(crate) fn registers() -> impl Iterator<Item = u16> {
    REGISTERS.into_iter().flatten()
}

/// Readings in a cycle over one unit.
pub(crate) fn readings() -> u64 {
    registers().count() as u64
}

/// What a register holds.
pub(crate) const fn value(unit: u8, register: u16) -> u16 {
    (unit as u16) << 8 | (register & 0xff)
}

impl Units {
    pub(crate) const fn new(living: u8, dead: u8) -> Self {
        Self {
            living,
            dead,
            spoiled: AtomicU64::new(0),
        }
    }

    /// 2 ms for the first, 20 ms for the eighth.
    fn turnaround(unit: u8) -> Duration {
        Duration::from_micros(2000 + 18_000 * u64::from(unit.saturating_sub(1)) / 7)
    }

    /// How a master that knows the units reads them all once, with nothing lost.
    pub(crate) fn cycle(&self, line: &LineSettings) -> Vec<Request> {
        let one = |unit| {
            let request = |start, count| Request { unit, start, count };
            let apart = vec![request(0, 40), request(46, 14)];
            let whole = vec![request(0, 60)];
            match unit {
                LIMITED => vec![request(0, SHORT), request(SHORT, SHORT)],
                STRICT => apart,
                _ if time(&whole, line) < time(&apart, line) => whole,
                _ => apart,
            }
        };
        (1..=self.living).flat_map(one).collect()
    }
}

/// What requests take on the line, from the first byte of the first to where another may begin.
pub(crate) fn time(requests: &[Request], line: &LineSettings) -> Duration {
    let gap = line.frame_gap();
    let one = |request: &Request| {
        let bytes = REQUEST + ANSWER_FRAME + 2 * u32::from(request.count);
        // The unit knows that the request is over when the line was silent for a frame gap.
        line.characters(bytes) + Units::turnaround(request.unit).max(gap) + gap
    };
    requests.iter().map(one).sum()
}

impl Station for Units {
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        let [function, start_high, start_low, count_high, count_low] = *pdu else {
            return Carrier::Silence;
        };
        if !(1..=self.living).contains(&unit) {
            return Carrier::Silence;
        }
        let start = u16::from_be_bytes([start_high, start_low]);
        let count = u16::from_be_bytes([count_high, count_low]);
        let end = start.saturating_add(count);
        let in_a_hole = |register| !REGISTERS.iter().any(|range| range.contains(&register));
        let refused = if end > 60 || unit == STRICT && (start..end).any(in_a_hole) {
            Some(NO_ADDRESS)
        } else {
            (unit == LIMITED && count > SHORT).then_some(NO_QUANTITY)
        };
        let body = if let Some(code) = refused {
            vec![function | 0x80, code]
        } else {
            let words = (start..end).flat_map(|register| value(unit, register).to_be_bytes());
            let bytes = u8::try_from(2 * count).unwrap_or(u8::MAX);
            [function, bytes].into_iter().chain(words).collect()
        };
        Carrier::Answer(Reply::good(unit, Self::turnaround(unit), body))
    }

    fn trouble(&self, _trouble: LineTrouble) {
        self.spoiled.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ideal_master_reads_every_register_of_every_living_unit_once_and_is_never_refused() {
        let units = Units::new(8, 1);
        for text in ["9600 8E1", "19200 8E1", "115200 8E1"] {
            let line = text.parse().unwrap();
            let cycle = units.cycle(&line);
            for unit in 1..=8 {
                let of_unit = cycle.iter().filter(|request| request.unit == unit);
                let read: Vec<u16> = of_unit
                    .flat_map(|request| request.start..request.start + request.count)
                    .collect();
                let wanted = |register| read.iter().filter(|&&r| r == register).count() == 1;
                assert!(registers().all(wanted), "unit {unit} at {text}");
            }
            for request in &cycle {
                let [start, count] = [request.start, request.count].map(u16::to_be_bytes);
                let pdu = [&[3], &start[..], &count[..]].concat();
                let Carrier::Answer(reply) = units.ask(request.unit, &pdu) else {
                    panic!("{request:?} is not answered");
                };
                assert_eq!(reply.pdu.len(), 2 + 2 * usize::from(request.count));
            }
        }
        assert_eq!(units.ask(9, &[3, 0, 0, 0, 1]), Carrier::Silence);
    }
}
