//! One value of a device: where it stands, what it means, how it is written.

use super::{
    Address, BitRange, Names, NamesError, Order, PERIODS, Problem, RawType, Scale, WriteWith,
};
use protocols_model::{PointId, PointKey, ValueType};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// One value of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its handle in the gateway's point table.
    pub key: PointKey,
    /// Unique within the device.
    pub id: PointId,
    /// Key `at`. Where it stands.
    pub address: Address,
    /// Key `as`. What stands there. Default by the address.
    pub raw: RawType,
    /// Key `order`. How its bytes are ordered. Default `"ABCD"`.
    pub order: Order,
    /// Keys `scale` and `offset`, or `map`. From the raw number to the value. Default as it is.
    pub scale: Scale,
    /// How often it is read, within [`PERIODS`]; that of its poll group.
    pub period: Duration,
    /// Key `range`. Values outside are `Bad(OutOfRange)` and are not written; in engineering units.
    /// Default all.
    pub range: Option<RangeInclusive<f64>>,
    /// Keys `values` or `bits`. What its numbers stand for. Default nothing.
    pub names: Option<Arc<Names>>,
    /// Key `write`. How it is written; `None`, the default: never.
    pub write: Option<Write>,
}

/// How a point is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Write {
    /// Key `verify`. Read back after the device has confirmed, and compared within the point's
    /// resolution. Default false.
    pub verify: bool,
    /// Key `write_with`. Overrides [`super::Quirks::write_with`]. Default the device's.
    pub with: Option<WriteWith>,
    /// `write = "only"`: the point is never polled, for command registers that cannot be read. Points
    /// of the broadcast unit 0 on a serial line are never polled in any case. Default false.
    pub only: bool,
}

impl Point {
    /// Registers, or bits for coils and discrete inputs, that the point occupies.
    #[must_use]
    pub fn width(&self) -> u16 {
        if self.address.space.is_bits() {
            1
        } else {
            self.raw.registers()
        }
    }

    /// Whether it is read at all, see [`Write::only`].
    #[must_use]
    pub fn is_polled(&self) -> bool {
        !self.write.is_some_and(|write| write.only)
    }

    /// Type of the point's values. Unscaled integers stay integers, also BCD; what is scaled,
    /// fixed-point or floating is `f64`; single bits are `bool`; bit ranges are `u64`; times are `i64`
    /// milliseconds since 1970 UTC; named values are text.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        if matches!(self.names.as_deref(), Some(Names::Values(_))) {
            return ValueType::Text;
        }
        match self.raw {
            RawType::Bool => ValueType::Bool,
            RawType::Bits => ValueType::U64,
            RawType::Text { .. } => ValueType::Text,
            RawType::F16 | RawType::F32 | RawType::F64 | RawType::Fixed(_) => ValueType::F64,
            RawType::Epoch32 | RawType::Epoch64 | RawType::Epoch64Ms => ValueType::I64,
            _ if !self.scale.is_identity() => ValueType::F64,
            RawType::I16 | RawType::I32 | RawType::I64 => ValueType::I64,
            RawType::U16 | RawType::U32 | RawType::U64 | RawType::Bcd16 | RawType::Bcd32 => {
                ValueType::U64
            }
        }
    }

    /// Everything that is wrong with the point by itself.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let address = &self.address;
        let fits = match (address.space.is_bits(), address.bits.map(BitRange::len)) {
            (true, _) | (false, Some(1)) => self.raw == RawType::Bool,
            (false, Some(_)) => self.raw == RawType::Bits,
            (false, None) => !matches!(self.raw, RawType::Bool | RawType::Bits),
        };
        if !fits {
            problems.push(Problem::TypeAtAddress(self.raw, *address));
        }
        if u32::from(address.register) + u32::from(self.width()) > 1 << 16 {
            problems.push(Problem::PastEnd(*address, self.width()));
        }
        if !self.raw.is_number() && !self.scale.is_identity() {
            problems.push(Problem::ScaleOnType(self.raw));
        }
        self.check_range(&mut problems);
        self.check_names(&mut problems);
        if self.write.is_some() && address.space.is_read_only() {
            problems.push(Problem::WriteOnSpace(*address));
        }
        if let Some(write) = self.write
            && write.only
            && write.verify
        {
            problems.push(Problem::VerifyUnread);
        }
        if !PERIODS.contains(&self.period) {
            problems.push(Problem::Period(self.period));
        }
        problems
    }

    fn check_range(&self, problems: &mut Vec<Problem>) {
        let Some(range) = &self.range else { return };
        if matches!(self.value_type(), ValueType::Text | ValueType::Bool) {
            problems.push(Problem::RangeOnType(self.raw));
        }
        // Also catches NaN.
        if !matches!(
            range.start().partial_cmp(range.end()),
            Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)
        ) {
            problems.push(Problem::EmptyRange(*range.start(), *range.end()));
        }
    }

    fn check_names(&self, problems: &mut Vec<Problem>) {
        let Some(names) = self.names.as_deref() else {
            return;
        };
        let integer = self.raw.is_integer() && self.scale.is_identity();
        let fits = match names {
            Names::Values(_) => integer || matches!(self.raw, RawType::Bool | RawType::Bits),
            Names::Bits(_) => {
                integer && self.value_type() == ValueType::U64 || self.raw == RawType::Bits
            }
        };
        if !fits {
            problems.push(Problem::NamesOnType(self.raw));
        }
        let wrong: Vec<NamesError> = names.check();
        problems.extend(wrong.into_iter().map(Problem::Names));
    }
}
