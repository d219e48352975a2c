//! What a request costs a bus: pure arithmetic on speed and turnaround.
//!
//! On a serial line every byte has its price and every request an overhead of thirteen characters, a
//! frame gap and the time the device takes to begin its answer. Over TCP a request costs a round trip
//! and bytes nearly nothing. From both follows how many addresses nobody asked for are cheaper than
//! another request.

use crate::config::{Bus, Device, LineSettings, Transport};
use crate::plan::Request;
use std::time::Duration;

/// Characters of a read request: unit, function, address, count, checksum.
pub const REQUEST_CHARACTERS: u32 = 8;
/// Characters of an answer beside its data: unit, function, byte count, checksum.
pub const ANSWER_CHARACTERS: u32 = 5;
/// Turnaround of a device that was never measured, on a serial line.
pub const ASSUMED_TURNAROUND: Duration = Duration::from_millis(10);
/// Round trip to a device that was never measured, over TCP.
pub const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(5);
/// A byte over TCP: 10 Mbit/s, what a small controller's stack gets through.
const BYTE_ON_NETWORK: Duration = Duration::from_nanos(800);

/// The time a bus takes for things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    line: Option<LineSettings>,
    gap: Duration,
}

impl Timing {
    /// The times of a bus.
    #[must_use]
    pub fn of(bus: &Bus) -> Self {
        let frame_gap = match &bus.transport {
            Transport::Rtu { line, .. } | Transport::RtuOverTcp { line, .. } => line.frame_gap(),
            Transport::Tcp { .. } => Duration::ZERO,
        };
        Self {
            line: bus.transport.line(),
            gap: bus.gap.max(frame_gap),
        }
    }

    /// The turnaround to reckon with until one is measured.
    #[must_use]
    pub const fn assumed(&self) -> Duration {
        match self.line {
            Some(_) => ASSUMED_TURNAROUND,
            None => ASSUMED_ROUND_TRIP,
        }
    }

    fn bytes(&self, count: u32) -> Duration {
        match self.line {
            Some(line) => line.characters(count),
            None => BYTE_ON_NETWORK * count,
        }
    }

    /// How long the characters of a whole exchange take: question and answer with so many bytes of data.
    #[must_use]
    pub fn exchange(&self, data: u16) -> Duration {
        self.bytes(REQUEST_CHARACTERS + ANSWER_CHARACTERS + u32::from(data))
    }

    /// What a request to a device costs, silence before it included.
    #[must_use]
    pub fn request(&self, request: &Request, device: &Device, turnaround: Duration) -> Duration {
        let pause = self.gap.max(device.quirks.pause);
        pause + self.exchange(request.shape().bytes) + turnaround
    }

    /// What a request that nobody answers costs: the time-out, and on a serial line as long a silence
    /// after it, in which a late answer dies.
    #[must_use]
    pub fn silence(&self, device: &Device) -> Duration {
        match self.line {
            Some(_) => self.exchange(0) + device.timeout * 2,
            None => device.timeout,
        }
    }

    /// Registers that nobody asked for and that cost no more than a request of their own.
    #[must_use]
    pub fn break_even(&self, device: &Device, turnaround: Duration) -> u16 {
        let overhead = self.gap.max(device.quirks.pause) + self.exchange(0) + turnaround;
        let register = self.bytes(2).as_nanos().max(1);
        u16::try_from(overhead.as_nanos() / register).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::bus_of;

    /// Frame gap of the device before its answer, which is part of a measured turnaround.
    fn break_even(line: &str, turnaround: u64) -> u16 {
        let bus = bus_of(line, &["hr:0"]);
        let timing = Timing::of(&bus);
        let gap = bus.transport.line().unwrap().frame_gap();
        timing.break_even(&bus.devices[0], gap + Duration::from_millis(turnaround))
    }

    #[test]
    fn gaps_pay_as_far_as_was_computed_for_each_speed() {
        // Request 8, answer 5 characters, two frame gaps, 11 bits a character; 0 and 5 ms turnaround.
        for (line, at_once, slow) in [
            ("9600 8E1", 10, 12),
            ("19200 8E1", 10, 14),
            ("38400 8E1", 13, 21),
            ("57600 8E1", 16, 29),
            ("115200 8E1", 25, 51),
        ] {
            let (fast, late) = (break_even(line, 0), break_even(line, 5));
            assert!(fast.abs_diff(at_once) <= 1, "{line}: {fast}");
            assert!(late.abs_diff(slow) <= 1, "{line}: {late}");
        }
    }

    #[test]
    fn a_request_takes_what_its_characters_and_the_device_take() {
        let bus = bus_of("9600 8N1", &["hr:0"]);
        let timing = Timing::of(&bus);
        let request = &crate::plan::plan_device(&bus.devices[0], &timing)[0];
        let took = timing.request(request, &bus.devices[0], Duration::from_millis(5));
        // 15 characters of 10 bits and 3.5 of silence at 9600 baud.
        let expected =
            Duration::from_nanos(18_500_000_000_000 / 960_000) + Duration::from_millis(5);
        assert!(
            took.abs_diff(expected) < Duration::from_micros(2),
            "{took:?}"
        );
    }
}
