//! Frames that know their length: fixed, or from a field of their own.
//!
//! Where a frame begins is known from its neighbours: right behind a good frame, or behind a silence
//! where the line keeps one between frames. Everything else that looks like a frame is a guess; a
//! guess that fits is discarded and only places the next one. Without a checksum the end needs a proof
//! too: the start of the next frame right behind it, or silence.

use super::{Event, Frame, Lost, Rules, lose};
use crate::config::LengthPrefix;
use protocols_layout::ByteOrder;

#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Fixed(usize),
    Prefix(LengthPrefix),
}

#[derive(Debug, Clone)]
pub(super) struct Sized {
    rules: Rules,
    length: Length,
    start: Vec<u8>,
    /// Frames stand between silences.
    spaced: bool,
    buffer: Vec<u8>,
    /// The first byte of the buffer is the first of a frame.
    placed: bool,
}

/// What the front of the buffer is.
enum Front {
    /// Cannot be told yet.
    Open,
    /// No frame; this many bytes are surely none of one.
    None(usize, Lost),
    /// A frame of so many bytes.
    Frame(usize),
}

impl Sized {
    pub(super) fn new(length: Length, start: &[u8], spaced: bool, rules: Rules) -> Self {
        Self {
            rules,
            length,
            start: start.to_vec(),
            spaced,
            buffer: Vec::new(),
            placed: false,
        }
    }

    pub(super) const fn held(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn reset(&mut self, known: bool) -> usize {
        let held = self.buffer.len();
        self.buffer.clear();
        self.placed = known;
        held
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        // In pieces, so that the buffer never holds much more than a frame.
        for piece in bytes.chunks(self.rules.max_frame) {
            self.buffer.extend_from_slice(piece);
            self.extract(false, out);
        }
    }

    pub(super) fn silence(&mut self, out: &mut Vec<Event>) {
        self.extract(true, out);
        // What is left never becomes a frame. Only lines that keep a silence between frames say by it
        // that the next byte is a first one.
        if !self.buffer.is_empty() {
            lose(self.buffer.len(), Lost::Cut, out);
            self.buffer.clear();
            self.placed = false;
        }
        self.placed |= self.spaced;
    }

    fn extract(&mut self, silent: bool, out: &mut Vec<Event>) {
        let mut noise = 0;
        loop {
            match self.front(silent) {
                Front::Open if silent && !self.buffer.is_empty() => {
                    // No more comes: perhaps a damaged length hides good frames behind it.
                    self.buffer.drain(..1);
                    noise += 1;
                    self.placed = false;
                }
                Front::Open => break,
                Front::None(bytes, why) => {
                    self.buffer.drain(..bytes);
                    // One damaged frame is told once, not once for each guess inside it.
                    if std::mem::take(&mut self.placed) && why != Lost::Noise {
                        lose(bytes, why, out);
                    } else {
                        noise += bytes;
                    }
                }
                Front::Frame(len) => {
                    lose(std::mem::take(&mut noise), Lost::Noise, out);
                    let bytes: Vec<u8> = self.buffer.drain(..len).collect();
                    let payload = self.rules.payload(&bytes, 0..len, 0);
                    match payload.filter(|_| self.placed) {
                        Some(payload) => out.push(Event::Frame(Frame { bytes, payload })),
                        None => lose(len, Lost::InDoubt, out),
                    }
                    self.placed = true;
                }
            }
        }
        lose(noise, if silent { Lost::Cut } else { Lost::Noise }, out);
    }

    fn front(&self, silent: bool) -> Front {
        let begin = self.start.len().min(self.buffer.len());
        if self.buffer.get(..begin) != self.start.get(..begin) {
            let next = (1..self.buffer.len()).find(|at| self.may_start(*at));
            return Front::None(next.unwrap_or(self.buffer.len()), Lost::Noise);
        }
        let len = match self.len() {
            Some(Ok(len)) => len,
            Some(Err(())) => return Front::None(1, Lost::Malformed),
            None => return Front::Open,
        };
        if self.buffer.len() < len {
            return Front::Open;
        }
        let frame = self.buffer.get(..len).unwrap_or_default();
        if self.rules.payload(frame, 0..len, 0).is_none() {
            return Front::None(1, Lost::Checksum);
        }
        if self.rules.checksum.is_some() {
            return Front::Frame(len);
        }
        let behind = self.buffer.len() - len;
        if behind == 0 {
            return if silent {
                Front::Frame(len)
            } else {
                Front::Open
            };
        }
        if self.spaced {
            // More bytes before the silence than the frame has.
            return Front::None(self.buffer.len(), Lost::TooLong);
        }
        let seen = behind.min(self.start.len());
        match self.buffer.get(len..len + seen) == self.start.get(..seen) {
            true if seen == self.start.len() => Front::Frame(len),
            true if silent => Front::None(1, Lost::Malformed),
            true => Front::Open,
            false => Front::None(1, Lost::Malformed),
        }
    }

    /// Whether a frame may start here, as far as bytes are there.
    fn may_start(&self, at: usize) -> bool {
        let there = self.buffer.get(at..).unwrap_or_default();
        let seen = there.len().min(self.start.len());
        there.get(..seen) == self.start.get(..seen)
    }

    /// Bytes of the frame at the front; `None` while its length is not there yet.
    fn len(&self) -> Option<Result<usize, ()>> {
        let prefix = match self.length {
            Length::Fixed(len) => return Some(Ok(len)),
            Length::Prefix(prefix) => prefix,
        };
        let (at, width) = (usize::from(prefix.at), usize::from(prefix.width));
        let bytes = self.buffer.get(at..at + width)?;
        let push = |sum: i64, byte: &u8| sum << 8 | i64::from(*byte);
        let said = match prefix.order {
            ByteOrder::Big => bytes.iter().fold(0, push),
            ByteOrder::Little => bytes.iter().rev().fold(0, push),
        };
        let len = usize::try_from(said + i64::from(prefix.extra)).ok();
        let least = (at + width).max(self.start.len());
        Some(
            len.filter(|len| (least..=self.rules.max_frame).contains(len))
                .ok_or(()),
        )
    }
}
