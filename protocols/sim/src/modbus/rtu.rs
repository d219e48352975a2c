//! A Modbus RTU bus in time: when a request is complete, when the answer is on the line, and what two
//! senders at once do to each other. Pure: takes `now`, asks a [`Station`] for answers.
//!
//! | on the line | what the units make of it |
//! |---|---|
//! | silence of 3.5 characters after the last byte | the frame is complete; only now it is looked at |
//! | silence of more than 1.5 characters inside a frame | the frame is thrown away (unless not strict) |
//! | a request that begins less than 3.5 characters after the last answer | both are one frame to the units: thrown away |
//! | a request while an answer is on the line, or two answers at once | collision: all bytes that overlap are spoiled on both sides, the request is thrown away |
//! | wrong checksum, wrong speed | thrown away |
//! | good request | the answer begins after the unit's turnaround, at least 3.5 characters, whatever happens until then |
//!
//! Nobody answers a frame that was thrown away; each one is told to the station and counted.
//! Source: Modbus over Serial Line V1.02, 2.5.1.1 and 2.5.2.1.

use super::crc::crc16;
use super::station::{Carrier, LineTrouble, Station};
use crate::line::{Core, LineSettings, Outgoing, Transmitter};
use std::sync::Arc;
use std::time::Duration;

/// Longest frame on a line: what is longer is no frame, whatever its checksum says.
const LONGEST_FRAME: usize = 256;
/// Answers of different units that may wait for their turnaround at once; a client that asks on
/// while units think cannot make it grow.
const MOST_WAITING: usize = 32;

/// How a bus judges what it hears.
#[derive(Debug, Clone, Copy)]
pub struct RtuOptions {
    /// Speed and format.
    pub line: LineSettings,
    /// Whether a silence between 1.5 and 3.5 characters inside a frame spoils it; the standard says so,
    /// many devices do not mind.
    pub strict: bool,
}

/// The bus.
#[derive(Debug)]
pub struct RtuLine {
    options: RtuOptions,
    station: Arc<dyn Station>,
    client: Transmitter,
    heard: Option<Heard>,
    answers: Outgoing,
    /// End of the last answer that began before now.
    silent_since: Duration,
    /// Begin and end of answers that are not over yet; `silent_since` comes from them.
    talks: Vec<(Duration, Duration)>,
    wrong_speed: bool,
}

#[derive(Debug)]
struct Heard {
    bytes: Vec<u8>,
    start: Duration,
    end: Duration,
    trouble: Option<LineTrouble>,
}

impl RtuLine {
    /// A bus on which `station` answers.
    #[must_use]
    pub fn new(options: RtuOptions, station: Arc<dyn Station>) -> Self {
        Self {
            options,
            station,
            client: Transmitter::default(),
            heard: None,
            answers: Outgoing::default(),
            silent_since: Duration::ZERO,
            talks: Vec::new(),
            wrong_speed: false,
        }
    }

    /// What a burst of the client that begins now does to the bus before a byte of it is judged.
    fn first_trouble(&self, start: Duration) -> Option<LineTrouble> {
        let line = &self.options.line;
        let began = self.talks.iter().filter(|(from, _)| *from <= start);
        let busy_until = began
            .map(|(_, until)| *until)
            .fold(self.silent_since, Duration::max);
        if busy_until > start {
            Some(LineTrouble::Collision)
        } else if busy_until > Duration::ZERO && start < busy_until + line.t3_5() {
            Some(LineTrouble::TooEarly)
        } else {
            None
        }
    }

    /// Spoils the answers under way between `from` and `to`; whether there were any.
    fn spoil_answers(&mut self, from: Duration, to: Duration) -> bool {
        let line = self.options.line;
        let spoiled = self.answers.under_way().map(|b| b.spoil(&line, from, to));
        spoiled.sum::<usize>() > 0
    }

    fn forget_talks(&mut self, now: Duration) {
        let over = self.talks.iter().filter(|(_, until)| *until <= now);
        let last = over.map(|(_, until)| *until).max();
        self.silent_since = self.silent_since.max(last.unwrap_or_default());
        self.talks.retain(|(_, until)| *until > now);
    }

    fn complete(&mut self, heard: Heard) {
        let trouble = heard.trouble.or_else(|| self.judge(&heard.bytes));
        if let Some(trouble) = trouble {
            self.station.trouble(trouble);
            return;
        }
        let Some((&unit, pdu)) = heard
            .bytes
            .split_last_chunk::<2>()
            .and_then(|(frame, _)| frame.split_first())
        else {
            return;
        };
        let Carrier::Answer(reply) = self.station.ask(unit, pdu) else {
            return;
        };
        if unit == 0 || self.talks.len() >= MOST_WAITING {
            return;
        }
        self.speak(heard.end, &reply);
    }

    fn judge(&self, bytes: &[u8]) -> Option<LineTrouble> {
        if self.wrong_speed {
            return Some(LineTrouble::WrongSpeed);
        }
        let checked = bytes.split_last_chunk::<2>();
        let good = checked.is_some_and(|(frame, sum)| frame.len() >= 2 && crc16(frame) == *sum);
        let fits = bytes.len() <= LONGEST_FRAME;
        (!good || !fits).then_some(LineTrouble::Checksum)
    }

    fn speak(&mut self, asked_at: Duration, reply: &super::station::Reply) {
        let line = self.options.line;
        let mut start = asked_at + reply.after.max(line.t3_5());
        // A stalled answer is two bursts with a silence between them.
        for bytes in reply.on_a_line() {
            let mut burst = crate::line::Burst { start, bytes };
            let end = burst.end(&line);
            if self.spoil_answers(start, end) {
                // Whoever answers at the same time is spoiled, and this one as well.
                let others: Vec<_> = self.talks.clone();
                for (from, until) in others {
                    burst.spoil(&line, from, until);
                }
                self.station.trouble(LineTrouble::Collision);
            }
            if let Some(heard) = &mut self.heard
                && heard.start < end
                && heard.end > start
            {
                burst.spoil(&line, heard.start, heard.end);
                heard.trouble = Some(LineTrouble::Collision);
            }
            self.talks.push((start, end));
            self.answers.put(burst);
            start = end + reply.pause;
        }
    }

    fn frame_due(&self) -> Option<Duration> {
        let heard = self.heard.as_ref()?;
        Some(heard.end + self.options.line.t3_5())
    }
}

impl Core for RtuLine {
    fn written(&mut self, now: Duration, bytes: &[u8]) {
        let line = self.options.line;
        let burst = self.client.send(&line, now, bytes);
        let (start, end) = (burst.start, burst.end(&line));
        let collides = self.spoil_answers(start, end);
        self.forget_talks(start);
        let first = self.first_trouble(start);
        let heard = self.heard.get_or_insert_with(|| Heard {
            bytes: Vec::new(),
            start,
            end: start,
            trouble: first,
        });
        if start > heard.end + line.t1_5() && self.options.strict {
            heard.trouble = heard.trouble.or(Some(LineTrouble::Broken));
        }
        if collides {
            heard.trouble = Some(LineTrouble::Collision);
        }
        // One byte more than the longest frame is enough to know that it is none.
        let room = (LONGEST_FRAME + 1).saturating_sub(heard.bytes.len());
        heard.bytes.extend(burst.bytes.iter().take(room));
        heard.end = end;
    }

    fn due(&self) -> Option<Duration> {
        let answer = self.answers.due(&self.options.line);
        answer.into_iter().chain(self.frame_due()).min()
    }

    fn advance(&mut self, now: Duration, out: &mut Vec<u8>) {
        while let Some(at) = self.due().filter(|due| *due <= now) {
            self.answers.take(&self.options.line, at, out);
            if self.frame_due().is_some_and(|due| due <= at)
                && let Some(heard) = self.heard.take()
            {
                self.forget_talks(heard.start);
                self.complete(heard);
            }
        }
        self.forget_talks(now);
    }

    fn tuned(&mut self, right: bool) {
        self.wrong_speed = !right;
    }

    fn opened(&mut self, _now: Duration) {}

    fn closed(&mut self, _now: Duration) {
        // What the client had not sent is gone with it; the units' answers go to nobody.
        self.client = Transmitter::default();
        self.heard = None;
        self.answers.clear();
    }
}

#[cfg(test)]
mod tests;
