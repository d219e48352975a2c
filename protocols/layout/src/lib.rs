//! Binary layouts: which bytes of a payload are which value. Shared by serial frames and GATT values.
//!
//! ```text
//! "u16le@4*0.1" ─▶ Field ─▶ Layout::decode(&[u8]) ─▶ Value by field, or why not
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]
