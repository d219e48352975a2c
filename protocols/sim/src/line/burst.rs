//! Bytes that follow each other without a pause, and when each of them is on the line. Pure.

use super::settings::LineSettings;
use std::collections::VecDeque;
use std::time::Duration;

/// A receiver hands bytes on in portions, at the latest so long after the first of a portion: what a
/// UART's FIFO and its time-out do to the software behind it.
const PORTION: Duration = Duration::from_millis(1);

/// Bytes on the line, back to back from `start` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// Begin of the first start bit.
    pub start: Duration,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Burst {
    /// When the first `count` bytes are through.
    #[must_use]
    pub fn through(&self, line: &LineSettings, count: usize) -> Duration {
        self.start + line.characters(count as u64)
    }

    /// End of the last stop bit.
    #[must_use]
    pub fn end(&self, line: &LineSettings) -> Duration {
        self.through(line, self.bytes.len())
    }

    /// How many bytes are through at `now`.
    #[must_use]
    pub fn heard(&self, line: &LineSettings, now: Duration) -> usize {
        // Bursts are short: counting is exact, dividing is not.
        let through = |count: &usize| self.through(line, *count) <= now;
        let from = self.estimate(line, now);
        (from..=self.bytes.len())
            .take_while(through)
            .last()
            .unwrap_or(0)
    }

    /// A number of bytes that is through for certain, so that [`Burst::heard`] need not count from 0.
    fn estimate(&self, line: &LineSettings, now: Duration) -> usize {
        let per = line.characters(1).as_nanos().max(1) + 1;
        let since = now.saturating_sub(self.start).as_nanos();
        let whole = usize::try_from(since / per).unwrap_or(usize::MAX);
        whole.min(self.bytes.len())
    }

    /// Turns bytes that are on the line between `from` and `to` into something else; says how many.
    pub fn spoil(&mut self, line: &LineSettings, from: Duration, to: Duration) -> usize {
        let start = self.start;
        let mut spoiled = 0;
        for (place, byte) in (0u64..).zip(&mut self.bytes) {
            let begins = start + line.characters(place);
            let ends = start + line.characters(place + 1);
            if begins < to && ends > from {
                // Two senders pull the line at once: no bit is certain; a byte that is certainly wrong.
                *byte = byte.rotate_left(3) ^ 0x5a;
                spoiled += 1;
            }
        }
        spoiled
    }
}

/// The sending half of a UART: takes bytes at any time, sends one after the other.
#[derive(Debug, Clone, Default)]
pub struct Transmitter {
    free_at: Duration,
}

impl Transmitter {
    /// Sends `bytes` as soon as possible at or after `now`.
    pub fn send(&mut self, line: &LineSettings, now: Duration, bytes: &[u8]) -> Burst {
        let burst = Burst {
            start: now.max(self.free_at),
            bytes: bytes.to_vec(),
        };
        self.free_at = burst.end(line);
        burst
    }
}

/// Bytes under way to whoever has the port open, handed over in portions.
#[derive(Debug, Default)]
pub struct Outgoing {
    bursts: VecDeque<Handing>,
}

#[derive(Debug)]
struct Handing {
    burst: Burst,
    handed: usize,
    /// When the last portion was due.
    last: Duration,
}

impl Outgoing {
    /// Puts a burst on the line.
    pub fn put(&mut self, burst: Burst) {
        if burst.bytes.is_empty() {
            return;
        }
        let last = burst.start;
        let handing = Handing {
            burst,
            handed: 0,
            last,
        };
        let later = |other: &Handing| other.burst.start <= handing.burst.start;
        let place = self.bursts.partition_point(later);
        self.bursts.insert(place, handing);
    }

    /// When the next portion is to be handed over.
    #[must_use]
    pub fn due(&self, line: &LineSettings) -> Option<Duration> {
        let due = |handing: &Handing| {
            let next = handing.burst.through(line, handing.handed + 1);
            let portion = next.max(handing.last + PORTION);
            portion.min(handing.burst.end(line))
        };
        self.bursts.iter().map(due).min()
    }

    /// Hands over what is through at `now`.
    pub fn take(&mut self, line: &LineSettings, now: Duration, out: &mut Vec<u8>) {
        for handing in &mut self.bursts {
            let heard = handing.burst.heard(line, now);
            let bytes = handing.burst.bytes.get(handing.handed..heard);
            if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
                out.extend_from_slice(bytes);
                handing.handed = heard;
                handing.last = now;
            }
        }
        self.bursts
            .retain(|handing| handing.handed < handing.burst.bytes.len());
    }

    /// Everything that is not through: what another sender may still spoil.
    pub fn under_way(&mut self) -> impl Iterator<Item = &mut Burst> {
        self.bursts.iter_mut().map(|handing| &mut handing.burst)
    }

    /// Whether anything is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bursts.is_empty()
    }

    /// Forgets everything that is under way.
    pub fn clear(&mut self) {
        self.bursts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LineSettings {
        text.parse().unwrap()
    }

    #[test]
    fn a_byte_is_through_when_its_last_bit_is_and_not_before() {
        for text in ["9600 8E1", "19200 8N1", "115200 8N2"] {
            let line = line(text);
            let start = Duration::from_micros(12_345);
            let bytes = vec![0; 300];
            let burst = Burst { start, bytes };
            for count in 0..=300 {
                let end = start + line.characters(count);
                let count = usize::try_from(count).unwrap();
                assert_eq!(burst.heard(&line, end), count);
                let before = end.saturating_sub(Duration::from_nanos(1));
                assert_eq!(burst.heard(&line, before), count.saturating_sub(1));
            }
        }
    }

    #[test]
    fn what_is_written_while_the_line_is_busy_follows_without_a_pause() {
        let line = line("9600 8N1");
        let mut transmitter = Transmitter::default();
        let first = transmitter.send(&line, Duration::from_secs(1), &[1, 2]);
        let second = transmitter.send(&line, Duration::from_secs(1), &[3]);
        assert_eq!(second.start, first.end(&line));
        let third = transmitter.send(&line, Duration::from_secs(2), &[4]);
        assert_eq!(third.start, Duration::from_secs(2));
    }

    #[test]
    fn portions_come_at_most_each_millisecond_and_the_last_byte_on_time() {
        let line = line("115200 8N1");
        let mut out = Outgoing::default();
        let burst = Burst {
            start: Duration::from_millis(5),
            bytes: (0..100).collect(),
        };
        let end = burst.end(&line);
        out.put(burst);
        let (mut bytes, mut moments) = (Vec::new(), Vec::new());
        while let Some(due) = out.due(&line) {
            out.take(&line, due, &mut bytes);
            moments.push(due);
        }
        assert_eq!(bytes, (0..100).collect::<Vec<u8>>());
        assert_eq!(moments.last(), Some(&end));
        assert_eq!(moments.len(), 9, "8.68 ms in portions of 1 ms: {moments:?}");
    }
}
