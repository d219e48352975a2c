//! Keys from the bytes that a terminal sends: those of a VT100, and what terminals since then send for
//! paging. Pure.
//!
//! A sequence may come in parts: over a serial line its bytes are a millisecond apart. An ESC alone is a
//! key of its own once nothing follows ([`Keys::idle`]). What is not known is passed over whole.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Backspace,
    Escape,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C and Ctrl-D.
    Interrupt,
    /// Ctrl-L.
    Redraw,
}

/// Longest sequence; what is longer is noise on the line.
const MOST: usize = 16;

/// Bytes that do not make a key yet.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// Takes a byte; a key where it completes one.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Key> {
        if self.pending.is_empty() {
            match byte {
                0x1b | 0xc2..=0xf4 => self.pending.push(byte),
                _ => return single(byte),
            }
            return None;
        }
        self.pending.push(byte);
        let known = match self.pending.as_slice() {
            [0x1b, b'[' | b'O'] => return None,
            [0x1b, b'[', .., b'0'..=b'9' | b';'] if self.pending.len() < MOST => return None,
            [0x1b, b'[' | b'O', rest @ ..] => sequence(rest),
            // ESC, then something else: Alt on some terminals. The key counts.
            [0x1b, byte] => single(*byte),
            bytes => match std::str::from_utf8(bytes) {
                Ok(text) => text.chars().next().map(Key::Char),
                Err(error) if error.error_len().is_none() => return None,
                Err(_) => None,
            },
        };
        self.pending.clear();
        known
    }

    /// Nothing came for a moment: an ESC that waits was the key of that name.
    pub(crate) fn idle(&mut self) -> Option<Key> {
        let alone = self.pending == [0x1b];
        self.pending.clear();
        alone.then_some(Key::Escape)
    }

    /// Whether bytes wait for more.
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }
}

fn single(byte: u8) -> Option<Key> {
    match byte {
        b'\r' | b'\n' => Some(Key::Enter),
        0x08 | 0x7f => Some(Key::Backspace),
        b'\t' => Some(Key::Tab),
        0x03 | 0x04 => Some(Key::Interrupt),
        0x0c => Some(Key::Redraw),
        b' '..=b'~' => Some(Key::Char(char::from(byte))),
        _ => None,
    }
}

/// What stands behind `ESC [` or `ESC O`.
fn sequence(rest: &[u8]) -> Option<Key> {
    match rest {
        b"A" => Some(Key::Up),
        b"B" => Some(Key::Down),
        b"C" => Some(Key::Right),
        b"D" => Some(Key::Left),
        b"Z" => Some(Key::BackTab),
        b"H" | b"1~" | b"7~" => Some(Key::Home),
        b"F" | b"4~" | b"8~" => Some(Key::End),
        b"5~" => Some(Key::PageUp),
        b"6~" => Some(Key::PageDown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut found: Vec<Key> = bytes.iter().filter_map(|byte| keys.take(*byte)).collect();
        found.extend(keys.idle());
        found
    }

    #[test]
    fn the_keys_of_old_and_new_terminals_are_understood() {
        use Key::{BackTab, Char, Down, End, Escape, Home, Interrupt, PageDown, PageUp, Tab, Up};
        assert_eq!(keys(b"q\t\x1b[Z\x03"), [Char('q'), Tab, BackTab, Interrupt]);
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~"),
            [Up, Down, PageUp, PageDown]
        );
        assert_eq!(keys(b"\x1b[H\x1b[4~\x1bOF"), [Home, End, End]);
        assert_eq!(keys(b"\x1b"), [Escape]);
        assert_eq!(keys("µ".as_bytes()), [Char('µ')]);
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_the_next_key_counts() {
        for noise in [
            &b"\x1b[15~"[..],
            b"\x1b[1;5C",
            b"\x1b[200~",
            b"\xff\xfe",
            b"\xc3(",
            b"\0",
        ] {
            let all = [noise, b"q"].concat();
            assert_eq!(keys(&all), [Key::Char('q')], "{noise:?}");
        }
        let long = [&b"\x1b["[..], &[b'1'; 40], b"q"].concat();
        assert!(keys(&long).ends_with(&[Key::Char('q')]));
    }
}
