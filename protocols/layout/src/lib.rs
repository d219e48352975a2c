//! Binary layouts: which bytes of a payload are which value. Shared by serial frames and GATT values.
//!
//! ```text
//! "u16le@4*0.1" ─▶ Field ─▶ Layout::decode(&[u8]) ─▶ Value by field, or why not
//!                       └─▶ Field::write(&Value, &mut [u8])
//! ```
//!
//! A field is written as `TYPE@OFFSET`, with what else it needs behind it, in this order:
//!
//! | part | means |
//! |---|---|
//! | `u8` `i8` `u16le` `u16be` … `u64be` (16, 24, 32, 40, 48, 64 bits) | integers; wider than a byte they name their byte order |
//! | `f16le` `f32be` `f64le` … | IEEE 754 floats |
//! | `bcd2` `bcd4be` … `bcd16le` | packed decimal digits, two in a byte |
//! | `bool` | one byte, true unless zero; or one bit with `.BIT` |
//! | `text8` `latin8` `bytes8` | so many bytes; without a number everything to the end |
//! | `@4`, `@-2` | first byte, counted from 0; negative: from the end |
//! | `.3`, `.4..7` | one bit (a bool) or a range of bits (a `u64`) of an unsigned integer; bit 0 is the lowest |
//! | `*0.01` `+20` `-40` | value = raw * 0.01 + 20; exact on the decimal grid |
//! | `!0x8000` | this raw value means "no reading"; up to four |
//! | `?6` `?6..` `?2..6` | the field exists in payloads of that many bytes only |
//!
//! Guarantees: decoding reads nothing outside the payload and never panics; a text that parses prints
//! in one canonical form that parses to the same field; unscaled integers never pass through `f64`; a
//! value is written so that it reads back equal within the field's resolution, or it is refused.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod decode;
mod encode;
mod field;
mod layout;
mod parse;

pub use decode::FieldError;
pub use encode::WriteFieldError;
pub use field::{
    ByteOrder, Encoding, Field, IntWidth, Lengths, MAX_INVALID, MAX_LEN, MAX_OFFSET, Offset,
};
pub use layout::{Layout, LayoutError, MAX_FIELDS};
pub use parse::ParseFieldError;
pub use protocols_model::{Scale, ScaleError};
