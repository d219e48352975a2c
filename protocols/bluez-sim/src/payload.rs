//! What sensors put into advertisements, byte by byte, from their makers' descriptions.
//!
//! Written without a look at the driver's decoders, and sharing nothing with them, so that a
//! misunderstanding on one side shows instead of cancelling out. Values that a field cannot hold are
//! clamped to its ends: a simulated sensor does not refuse to measure.

mod beacon;
pub mod bthome;
mod ccm;
mod ruuvi;
mod thermometer;

pub use beacon::{Tlm, eddystone_tlm, eddystone_uid, eddystone_url, ibeacon};
pub use ruuvi::{RuuviTag, ruuvi_3, ruuvi_5};
pub use thermometer::{Thermometer, atc, pvvx};

/// The nearest whole number that an integer field holds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is what is promised"
)]
fn rounded(value: f64) -> i64 {
    value.round() as i64
}

macro_rules! clamped {
    ($($name:ident: $int:ident),*) => {$(
        /// Clamped to the type.
        fn $name(value: f64) -> $int {
            let whole = rounded(value).clamp(i64::from($int::MIN), i64::from($int::MAX));
            $int::try_from(whole).unwrap_or($int::MAX)
        }
    )*};
}
clamped!(to_u8: u8, to_u16: u16, to_i16: i16);
