//! Frames that stand between silences.

use super::{Event, Frame, Lost, Rules, lose};

#[derive(Debug, Clone)]
pub(super) struct Silent {
    rules: Rules,
    raw: Vec<u8>,
    /// Too long already; goes on being dropped until the silence.
    too_long: usize,
    /// No silence was seen in front of what comes.
    in_doubt: bool,
}

impl Silent {
    pub(super) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            raw: Vec::new(),
            too_long: 0,
            in_doubt: true,
        }
    }

    #[cfg(any(fuzzing, test))]
    pub(super) const fn memory(&self) -> usize {
        self.raw.len()
    }

    /// Bytes that have no fate yet, also those that were dropped as too many.
    pub(super) const fn held(&self) -> usize {
        self.raw.len() + self.too_long
    }

    pub(super) fn reset(&mut self, known: bool) -> usize {
        let held = self.held();
        self.raw.clear();
        self.too_long = 0;
        self.in_doubt = !known;
        held
    }

    pub(super) fn push(&mut self, bytes: &[u8], _: &mut Vec<Event>) {
        if self.too_long > 0 || self.raw.len() + bytes.len() > self.rules.max_frame {
            self.too_long += self.raw.len() + bytes.len();
            self.raw.clear();
        } else {
            self.raw.extend_from_slice(bytes);
        }
    }

    pub(super) fn silence(&mut self, out: &mut Vec<Event>) {
        let bytes = std::mem::take(&mut self.raw);
        let doubt = std::mem::take(&mut self.in_doubt);
        lose(std::mem::take(&mut self.too_long), Lost::TooLong, out);
        if bytes.is_empty() {
            return;
        }
        match self.rules.payload(&bytes, 0..bytes.len(), 0) {
            None => lose(bytes.len(), Lost::Checksum, out),
            Some(_) if doubt => lose(bytes.len(), Lost::InDoubt, out),
            Some(payload) => out.push(Event::Frame(Frame { bytes, payload })),
        }
    }
}
