//! Byte and word order by letters: A is the most significant byte of the value.
//!
//! Every order in practice comes from three swaps (bytes in a register, registers in a pair, pairs
//! in 64 bits), so 2, 4 and 8 letters describe one thing and a device's order serves all widths:
//! `CDAB` reads 64-bit values as `GHEFCDAB` and 16-bit values as `AB`.

use std::fmt;
use std::str::FromStr;

/// The order in which a device sends the bytes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Order {
    /// The low byte of each register comes first.
    pub swap_bytes: bool,
    /// The low register of each pair comes first.
    pub swap_words: bool,
    /// The low pair of a 64-bit value comes first.
    pub swap_pairs: bool,
}

/// Why letters are not an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an order; use AB or BA, one of ABCD, CDAB, BADC, DCBA, or for 64 bits one of {list}", list = Self::EIGHT.join(", "))]
pub struct OrderError(String);

impl OrderError {
    const EIGHT: [&str; 8] = [
        "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA", "CDABGHEF", "DCBAHGFE", "EFGHABCD",
        "FEHGBADC",
    ];
}

impl Order {
    /// Most significant byte first: `ABCD`.
    pub const BIG_ENDIAN: Self = Self {
        swap_bytes: false,
        swap_words: false,
        swap_pairs: false,
    };

    /// Which byte of the value (0 = A) the device sends at `position` of `width` (2, 4 or 8) bytes.
    #[must_use]
    pub const fn byte_at(self, position: usize, width: usize) -> usize {
        // Swapping neighbours of a power-of-two size is flipping one bit of the index.
        let mut flip = 0;
        if self.swap_bytes {
            flip |= 1;
        }
        if self.swap_words && width >= 4 {
            flip |= 2;
        }
        if self.swap_pairs && width >= 8 {
            flip |= 4;
        }
        position ^ flip
    }

    fn letters(self, width: usize) -> String {
        let letter = |position| {
            let index = u8::try_from(self.byte_at(position, width)).unwrap_or(0);
            char::from(b'A' + index)
        };
        (0..width).map(letter).collect()
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let width = text.len();
        let all = [false, true];
        all.into_iter()
            .flat_map(|b| all.map(|w| (b, w)))
            .flat_map(|(b, w)| all.map(|p| (b, w, p)))
            .map(|(swap_bytes, swap_words, swap_pairs)| Self {
                swap_bytes,
                swap_words,
                swap_pairs,
            })
            // Fewer letters say less: what they leave open follows what they say.
            .filter(|o| width >= 4 || !o.swap_words)
            .filter(|o| width >= 8 || o.swap_pairs == o.swap_words)
            .filter(|_| matches!(width, 2 | 4 | 8))
            .find(|order| order.letters(width) == text)
            .ok_or_else(|| OrderError(text.to_owned()))
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.swap_pairs == self.swap_words {
            4
        } else {
            8
        };
        f.write_str(&self.letters(width))
    }
}
