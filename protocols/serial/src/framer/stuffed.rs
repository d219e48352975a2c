//! SLIP (RFC 1055) and COBS (Cheshire and Baker, 1999): encodings in which one byte value never occurs
//! inside a frame and so separates frames.

use super::{Event, Frame, Lost, Rules, lose};

const SLIP_END: u8 = 0xc0;
const SLIP_ESC: u8 = 0xdb;
const SLIP_ESC_END: u8 = 0xdc;
const SLIP_ESC_ESC: u8 = 0xdd;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Slip,
    Cobs,
}

impl Coding {
    const fn end(self) -> u8 {
        match self {
            Self::Slip => SLIP_END,
            Self::Cobs => 0,
        }
    }

    /// The frame behind the bytes between two ends; `None` when they are no encoding of anything.
    fn decode(self, raw: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Slip => slip(raw),
            Self::Cobs => cobs(raw),
        }
    }
}

fn slip(raw: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        frame.push(match *byte {
            SLIP_ESC => match *rest.next()? {
                SLIP_ESC_END => SLIP_END,
                SLIP_ESC_ESC => SLIP_ESC,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(frame)
}

fn cobs(raw: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((code, behind)) = rest.split_first() {
        let (block, next) = behind.split_at_checked(usize::from(code.checked_sub(1)?))?;
        frame.extend_from_slice(block);
        // A full block has no zero behind it, and the last block none either.
        if *code != 0xff && !next.is_empty() {
            frame.push(0);
        }
        rest = next;
    }
    Some(frame)
}

#[derive(Debug, Clone)]
pub(super) struct Stuffed {
    coding: Coding,
    rules: Rules,
    /// Since the last end, as on the wire.
    raw: Vec<u8>,
    in_doubt: bool,
}

impl Stuffed {
    pub(super) const fn new(coding: Coding, rules: Rules) -> Self {
        Self {
            coding,
            rules,
            raw: Vec::new(),
            in_doubt: true,
        }
    }

    pub(super) const fn held(&self) -> usize {
        self.raw.len()
    }

    pub(super) fn reset(&mut self, known: bool) -> usize {
        let held = self.raw.len();
        self.raw.clear();
        self.in_doubt = !known;
        held
    }

    pub(super) fn silence(&mut self, out: &mut Vec<Event>) {
        if !self.raw.is_empty() {
            lose(self.raw.len(), Lost::Cut, out);
            self.raw.clear();
            self.in_doubt = true;
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        for byte in bytes {
            if *byte == self.coding.end() {
                self.complete(out);
                continue;
            }
            self.raw.push(*byte);
            // Twice: SLIP may double a frame.
            if self.raw.len() > 2 * self.rules.max_frame {
                lose(self.raw.len(), Lost::TooLong, out);
                self.raw.clear();
                self.in_doubt = true;
            }
        }
    }

    fn complete(&mut self, out: &mut Vec<Event>) {
        let raw = std::mem::take(&mut self.raw);
        let doubt = std::mem::take(&mut self.in_doubt);
        if raw.is_empty() {
            return;
        }
        let Some(bytes) = self.coding.decode(&raw) else {
            self.in_doubt = true;
            return lose(raw.len(), Lost::Malformed, out);
        };
        if bytes.len() > self.rules.max_frame {
            return lose(raw.len(), Lost::TooLong, out);
        }
        match self.rules.payload(&bytes, 0..bytes.len(), 0) {
            None => {
                // A separator may have been made of a byte inside: the next piece may be half a frame.
                self.in_doubt = true;
                lose(raw.len(), Lost::Checksum, out);
            }
            Some(_) if doubt => lose(raw.len(), Lost::InDoubt, out),
            Some(payload) => out.push(Event::Frame(Frame { bytes, payload })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_undone_as_published() {
        // RFC 1055.
        assert_eq!(slip(b"\x01\xdb\xdc\xdb\xdd"), Some(vec![1, 0xc0, 0xdb]));
        assert_eq!(slip(b"\xdb\x01"), None);
        assert_eq!(slip(b"\x01\xdb"), None);
        // Examples of the paper's encoding, without the zero at the end.
        for (raw, frame) in [
            (b"\x01\x01".as_slice(), b"\0".as_slice()),
            (b"\x01\x01\x01", b"\0\0"),
            (b"\x03\x11\x22\x02\x33", b"\x11\x22\0\x33"),
            (b"\x05\x11\x22\x33\x44", b"\x11\x22\x33\x44"),
            (b"\x02\x11\x01\x01\x01", b"\x11\0\0\0"),
        ] {
            assert_eq!(cobs(raw).as_deref(), Some(frame));
        }
        let mut long = vec![0xff];
        long.extend(1..=0xfe);
        assert_eq!(cobs(&long), Some((1..=0xfe).collect()));
        long.extend([0x02, 0xff]);
        assert_eq!(cobs(&long), Some((1..=0xff).collect()));
        assert_eq!(cobs(b"\x05\x11"), None);
    }
}
