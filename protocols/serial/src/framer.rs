//! Bytes in, frames out: pure, bounded, on a clock that is handed in.
//!
//! ```text
//! push(bytes, now) ─▶ where does a frame begin and end? ─▶ checksum ─▶ in doubt? ─▶ Event::Frame
//! tick(now): silence                                          └────────────┴──▶ Event::Lost(why)
//! ```
//!
//! Guarantees:
//! 1. With a checksum only frames whose checksum is right come out.
//! 2. Both ends of a frame were seen: its delimiters, silence, or a neighbour that ends or begins
//!    exactly there.
//! 3. The first frame after opening, a silence inside a frame, an overlong one or a damaged one is *in
//!    doubt*: its beginning may be missing. It is discarded, unless a start delimiter and a checksum
//!    vouch for it.
//! 4. No more than one frame of `max_frame` bytes is held. Every byte is part of one event, or of
//!    delimiters between frames.
//!
//! A silence is believed when [`Framer::tick`] says that nothing came, or when the bytes after it come
//! so late; a machine that stood still may take one for the other, and loses a frame, never gains one.

mod ended;
mod silent;
mod sized;
mod stuffed;

use crate::config::{Bus, Checksum, Form, Framing, Place};
use ended::Ended;
use protocols_model::Instant;
use silent::Silent;
use sized::Sized;
use std::ops::Range;
use std::time::Duration;
use stuffed::{Coding, Stuffed};

/// A frame that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    payload: Range<usize>,
}

impl Frame {
    /// What parsers read: the frame without delimiters and checksum, escapes undone. Frames of fixed
    /// length and with a length prefix keep their start and their length.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload.clone()).unwrap_or_default()
    }

    /// The whole frame with delimiters and checksum, escapes undone.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why bytes became no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The checksum is wrong.
    Checksum,
    /// The beginning may be missing (rule 3).
    InDoubt,
    /// Longer than allowed.
    TooLong,
    /// Cut off: by silence, or by the start of the next frame.
    Cut,
    /// An escape that does not exist, a length that cannot be.
    Malformed,
    /// Outside of any frame.
    Noise,
}

/// What came of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame.
    Frame(Frame),
    /// So many bytes that are none.
    Lost {
        /// How many.
        bytes: usize,
        /// Why.
        why: Lost,
    },
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Clone)]
pub struct Framer {
    core: Core,
    /// Silence that ends a frame or cuts it.
    silence: Duration,
    /// Bytes that come after such a silence are believed to, even if nobody ticked.
    strict: bool,
    last_byte: Instant,
}

#[derive(Debug, Clone)]
enum Core {
    Ended(Ended),
    Stuffed(Stuffed),
    Sized(Sized),
    Silent(Silent),
}

impl Framer {
    /// A framer for the bus, as after opening: nothing is known of where frames begin.
    #[must_use]
    pub fn new(bus: &Bus, now: Instant) -> Self {
        let rules = Rules {
            checksum: bus.checksum.clone(),
            max_frame: bus.max_frame,
        };
        let core = match &bus.framing {
            Framing::Slip => Core::Stuffed(Stuffed::new(Coding::Slip, rules)),
            Framing::Cobs => Core::Stuffed(Stuffed::new(Coding::Cobs, rules)),
            Framing::Gap(_) => Core::Silent(Silent::new(rules)),
            Framing::Fixed { len, start, gap } => {
                let len = sized::Length::Fixed((*len).into());
                Core::Sized(Sized::new(len, start.as_slice(), gap.is_some(), rules))
            }
            Framing::Length { prefix, start, gap } => {
                let len = sized::Length::Prefix(*prefix);
                Core::Sized(Sized::new(len, start.as_slice(), gap.is_some(), rules))
            }
            Framing::Line => Core::Ended(Ended::lines(&[], rules)),
            Framing::Nmea => {
                let max_frame = rules.max_frame.min(crate::nmea::MAX_SENTENCE);
                Core::Ended(Ended::lines(b"$!", Rules { max_frame, ..rules }))
            }
            Framing::Delimited {
                start,
                end,
                escape,
                tail,
            } => Core::Ended(Ended::new(start, end, *escape, *tail, rules)),
        };
        let gap = bus.framing.gap();
        Self {
            core,
            silence: gap.unwrap_or(bus.pause),
            strict: bus.checksum.is_none() || gap.is_some(),
            last_byte: now,
        }
    }

    /// Takes bytes that came at `now`.
    pub fn push(&mut self, bytes: &[u8], now: Instant, out: &mut Vec<Event>) {
        if self.strict {
            self.tick(now, out);
        }
        if !bytes.is_empty() {
            self.last_byte = now;
        }
        match &mut self.core {
            Core::Ended(core) => core.push(bytes, out),
            Core::Stuffed(core) => core.push(bytes, out),
            Core::Sized(core) => core.push(bytes, out),
            Core::Silent(core) => core.push(bytes, out),
        }
    }

    /// Nothing came until `now`: what silence ends, it ends. Read what is there before calling this.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Event>) {
        if now.since(self.last_byte) < self.silence {
            return;
        }
        match &mut self.core {
            Core::Ended(core) => core.silence(out),
            Core::Stuffed(core) => core.silence(out),
            Core::Sized(core) => core.silence(out),
            Core::Silent(core) => core.silence(out),
        }
    }

    /// When to [`tick`](Self::tick), if nothing comes until then; `None` while nothing is held.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let held = match &self.core {
            Core::Ended(core) => core.held(),
            Core::Stuffed(core) => core.held(),
            Core::Sized(core) => core.held(),
            Core::Silent(core) => core.held(),
        };
        (held > 0).then(|| self.last_byte.plus(self.silence))
    }

    /// Bytes it keeps in memory.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn memory(&self) -> usize {
        match &self.core {
            Core::Ended(core) => core.held(),
            Core::Stuffed(core) => core.held(),
            Core::Sized(core) => core.held(),
            Core::Silent(core) => core.memory(),
        }
    }

    /// Forgets what it holds and gives its size. `known`: the line is silent now, so that the next byte
    /// is the first of a frame; else nothing is known, as after opening.
    pub fn reset(&mut self, known: bool, now: Instant) -> usize {
        self.last_byte = now;
        match &mut self.core {
            Core::Ended(core) => core.reset(known),
            Core::Stuffed(core) => core.reset(known),
            Core::Sized(core) => core.reset(known),
            Core::Silent(core) => core.reset(known),
        }
    }
}

/// What all kinds of frames are held to.
#[derive(Debug, Clone)]
struct Rules {
    checksum: Option<Checksum>,
    max_frame: usize,
}

impl Rules {
    /// The payload of a frame whose delimiters stand around `body`, with `tail` bytes behind its end;
    /// `None` when its checksum is wrong.
    fn payload(&self, bytes: &[u8], body: Range<usize>, tail: usize) -> Option<Range<usize>> {
        let Some(checksum) = &self.checksum else {
            return Some(body);
        };
        let len = checksum.len();
        let at_end = body.end.checked_sub(len).filter(|at| *at >= body.start);
        let (at, covered_to, payload_to) = match checksum.place {
            Place::End if tail > 0 => {
                let at = bytes.len().checked_sub(tail)?;
                let to = if checksum.with_end { at } else { body.end };
                (at, to, body.end)
            }
            Place::End => (at_end?, at_end?, at_end?),
            Place::Back(back) => {
                let at = body.end.checked_sub(back.into())?;
                let last = usize::from(back) == len;
                (at, at, if last { at } else { body.end })
            }
            Place::After(mark) => {
                let at = at_end?;
                let before = at.checked_sub(1).filter(|m| *m >= body.start)?;
                if bytes.get(before) != Some(&mark) {
                    return None;
                }
                (at, before, before)
            }
        };
        let from = if checksum.with_start { 0 } else { body.start };
        let covered = bytes.get(from + usize::from(checksum.from)..covered_to)?;
        let found = bytes.get(at..at + len)?;
        let expected = checksum.render(covered);
        let right = match checksum.form {
            Form::Hex => found.eq_ignore_ascii_case(&expected),
            Form::Little | Form::Big => found == expected,
        };
        (right && !covered.is_empty() && body.start <= payload_to).then_some(body.start..payload_to)
    }
}

/// Tells that bytes are lost, if there are any.
fn lose(bytes: usize, why: Lost, out: &mut Vec<Event>) {
    if bytes > 0 {
        out.push(Event::Lost { bytes, why });
    }
}

#[cfg(test)]
mod tests;
