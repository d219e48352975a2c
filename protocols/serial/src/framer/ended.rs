//! Frames with an end delimiter, and perhaps a start, an escape, and bytes behind the end.
//!
//! A start inside a frame begins a new one: the old one is cut. A delimiter counts only where none of
//! its bytes was escaped.

use super::{Event, Frame, Lost, Rules, lose};
use crate::config::{Bytes, Escape};

#[derive(Debug, Clone)]
pub(super) struct Ended {
    rules: Rules,
    /// Any of these begins a frame; none: a frame begins where the last one ended.
    starts: Vec<Vec<u8>>,
    end: Vec<u8>,
    escape: Option<Escape>,
    tail: usize,
    /// A carriage return before the end belongs to it.
    strip_return: bool,

    /// The frame so far, start included, escapes undone; or, while none is open, the bytes that may
    /// become a start.
    raw: Vec<u8>,
    /// Bytes of the start of the open frame; `None`: none is open.
    open: Option<usize>,
    /// Delimiters do not reach before this byte: the one before was escaped.
    plain_from: usize,
    /// The last byte announced an escaped one.
    escaped: bool,
    /// Where the end begins and how many bytes of the tail are missing.
    ended: Option<(usize, usize)>,
    in_doubt: bool,
}

impl Ended {
    pub(super) fn new(
        start: &Bytes,
        end: &Bytes,
        escape: Option<Escape>,
        tail: u8,
        rules: Rules,
    ) -> Self {
        let start = start.as_slice();
        let starts = if start.is_empty() {
            Vec::new()
        } else {
            vec![start.to_vec()]
        };
        Self {
            rules,
            open: starts.is_empty().then_some(0),
            starts,
            end: end.as_slice().to_vec(),
            escape,
            tail: tail.into(),
            strip_return: false,
            raw: Vec::new(),
            plain_from: 0,
            escaped: false,
            ended: None,
            in_doubt: true,
        }
    }

    /// Lines of text that begin with any of these bytes.
    pub(super) fn lines(starts: &[u8], rules: Rules) -> Self {
        let mut lines = Self::new(&Bytes::default(), &Bytes::new(*b"\n"), None, 0, rules);
        lines.starts = starts.iter().map(|byte| vec![*byte]).collect();
        lines.strip_return = true;
        lines.close();
        lines
    }

    pub(super) fn held(&self) -> usize {
        if self.is_idle() { 0 } else { self.raw.len() }
    }

    /// Nothing is held but the flag that ended the last frame and may begin the next.
    fn is_idle(&self) -> bool {
        self.has_one_flag() && self.raw == self.end && !self.escaped
    }

    /// Start and end are the same, and one of them may stand between two frames.
    fn has_one_flag(&self) -> bool {
        self.tail == 0 && self.starts.first().is_some_and(|start| *start == self.end)
    }

    pub(super) fn reset(&mut self, known: bool) -> usize {
        let held = self.raw.len();
        self.close();
        self.in_doubt = !known;
        held
    }

    /// No frame is open any more; without a start the next one begins right here.
    fn close(&mut self) {
        self.raw.clear();
        (self.plain_from, self.escaped, self.ended) = (0, false, None);
        self.open = self.starts.is_empty().then_some(0);
    }

    pub(super) fn silence(&mut self, out: &mut Vec<Event>) {
        if self.raw.is_empty() && !self.escaped || self.is_idle() {
            return;
        }
        let why = if self.open.is_some() {
            Lost::Cut
        } else {
            Lost::Noise
        };
        lose(self.raw.len(), why, out);
        self.close();
        self.in_doubt = true;
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let mut noise = 0;
        for byte in bytes {
            match self.open {
                None => noise += self.hunt(*byte),
                Some(start) => {
                    lose(std::mem::take(&mut noise), Lost::Noise, out);
                    self.take(*byte, start, out);
                }
            }
        }
        lose(noise, Lost::Noise, out);
    }

    /// Looks for a start; how many bytes are surely none of it.
    fn hunt(&mut self, byte: u8) -> usize {
        self.raw.push(byte);
        if let Some(start) = self.start_at_end() {
            let noise = self.raw.len() - start;
            self.begin(start);
            return noise;
        }
        let longest = self.starts.iter().map(Vec::len).max().unwrap_or(0);
        let noise = (self.raw.len() + 1).saturating_sub(longest);
        self.raw.drain(..noise);
        noise
    }

    /// Length of the start that the bytes so far end with.
    fn start_at_end(&self) -> Option<usize> {
        let plain = self.raw.get(self.plain_from..).unwrap_or_default();
        let found = self.starts.iter().find(|start| plain.ends_with(start));
        found.map(Vec::len)
    }

    /// A frame begins with the last `start` bytes.
    fn begin(&mut self, start: usize) {
        let before = self.raw.len() - start;
        self.raw.drain(..before);
        (self.plain_from, self.ended) = (0, None);
        self.open = Some(start);
    }

    fn take(&mut self, byte: u8, start: usize, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.escaped) {
            self.raw
                .push(byte ^ self.escape.map_or(0, |escape| escape.xor));
            self.plain_from = self.raw.len();
        } else if self.escape.is_some_and(|escape| escape.byte == byte) {
            self.escaped = true;
            return;
        } else {
            self.raw.push(byte);
        }
        if let Some((end, missing)) = self.ended {
            self.ended = Some((end, missing - 1));
            if missing == 1 {
                self.complete(start, end, out);
            }
            return;
        }
        let plain = self.raw.get(self.plain_from.max(start)..);
        if plain.is_some_and(|plain| plain.ends_with(&self.end)) {
            let end = self.raw.len() - self.end.len();
            self.ended = Some((end, self.tail));
            if self.tail == 0 || end == start {
                self.complete(start, end, out);
            }
            return;
        }
        if self.raw.len() > start
            && let Some(again) = self.start_at_end()
        {
            lose(self.raw.len() - again, Lost::Cut, out);
            self.begin(again);
        } else if self.raw.len() >= self.rules.max_frame {
            lose(self.raw.len(), Lost::TooLong, out);
            self.close();
            self.in_doubt = true;
        }
    }

    /// A frame is complete; its end begins at `end`.
    fn complete(&mut self, start: usize, end: usize, out: &mut Vec<Event>) {
        let mut body = start..end;
        if self.strip_return
            && self
                .raw
                .get(body.clone())
                .is_some_and(|b| b.ends_with(b"\r"))
        {
            body.end -= 1;
        }
        if body.is_empty() {
            // Nothing between two delimiters: the later one is known to begin a frame.
            self.in_doubt = false;
        } else {
            let payload = self.rules.payload(&self.raw, body, self.tail);
            let vouched = !self.starts.is_empty() && self.rules.checksum.is_some();
            match payload {
                None => {
                    lose(self.raw.len(), Lost::Checksum, out);
                    self.in_doubt = true;
                }
                Some(_) if self.in_doubt && !vouched => {
                    lose(self.raw.len(), Lost::InDoubt, out);
                    self.in_doubt = false;
                }
                Some(payload) => {
                    self.in_doubt = false;
                    let bytes = self.raw.clone();
                    out.push(Event::Frame(Frame { bytes, payload }));
                }
            }
        }
        self.close();
        if self.has_one_flag() {
            self.raw.extend_from_slice(&self.end);
            self.open = Some(self.end.len());
        }
    }
}
