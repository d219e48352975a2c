//! Values into columns: chooses for each column the smallest coding that gives every value back
//! bit by bit.

use super::layout::{Coding, Grid, Layout, MAX_EXPONENT};
use super::proto;
use crate::error::EncodeError;
use crate::limits::MAX_VALUE_BYTES;
use crate::pack::ints::byte_length;
use crate::pack::{BitWriter, IntWriter, RunWriter, put_varint, zigzag};
use crate::record::Sample;
use protocols_model::Value;

/// From so many values on, saying "constant" is cheaper than a run of zero deltas even where the
/// column's neighbours are not constant.
const CONSTANT_FROM: usize = 9;
const MIXED: EncodeError = EncodeError::Invalid("a column mixes value types");

/// Collects the values of columns with samples.
#[derive(Debug)]
pub(super) struct ValueWriter {
    layouts: RunWriter,
    firsts: IntWriter,
    deltas: IntWriter,
    bits: BitWriter,
    blobs: Vec<u8>,
    last: Layout,
    /// Scratch: the column's values as integers whose differences are small.
    ints: Vec<i64>,
    floats: Vec<f64>,
}

impl Default for ValueWriter {
    fn default() -> Self {
        Self {
            layouts: RunWriter::default(),
            firsts: IntWriter::default(),
            deltas: IntWriter::default(),
            bits: BitWriter::default(),
            blobs: Vec::new(),
            last: Layout {
                coding: Coding::Nothing,
                constant: false,
            },
            ints: Vec::new(),
            floats: Vec::new(),
        }
    }
}

/// Wire bytes of a column of integers, without the length codes: first value and differences.
fn cost(ints: &[i64]) -> u32 {
    let first = ints.first().map_or(0, |int| byte_length(zigzag(*int)));
    let differences = ints.windows(2).map(|pair| match pair {
        [a, b] => byte_length(zigzag(b.wrapping_sub(*a))),
        _ => 0,
    });
    first + differences.sum::<u32>()
}

fn place_all(grid: Grid, floats: &[f64], ints: &mut Vec<i64>) -> bool {
    ints.clear();
    for &float in floats {
        match grid.place(float) {
            Some(int) => ints.push(int),
            None => return false,
        }
    }
    true
}

/// An f64 that is exactly an f32.
#[expect(
    clippy::cast_possible_truncation,
    reason = "verified by the way back, bit by bit"
)]
fn as_f32(value: f64) -> Option<f32> {
    let short = value as f32;
    (f64::from(short).to_bits() == value.to_bits()).then_some(short)
}

impl ValueWriter {
    /// Adds a column.
    pub(super) fn column(&mut self, samples: &[Sample]) -> Result<(), EncodeError> {
        let mut values = samples.iter().filter_map(|sample| sample.value.as_ref());
        let Some(first) = values.clone().next() else {
            self.layout(Coding::Nothing, false);
            return Ok(());
        };
        match first {
            Value::Bool(_) => {
                self.layout(Coding::Bool, false);
                values.try_for_each(|value| match value {
                    Value::Bool(bit) => {
                        self.bits.push(*bit);
                        Ok(())
                    }
                    _ => Err(MIXED),
                })
            }
            Value::I64(_) => {
                self.ints.clear();
                for value in values {
                    let Value::I64(int) = value else {
                        return Err(MIXED);
                    };
                    self.ints.push(*int);
                }
                self.integers(Coding::I64, zigzag);
                Ok(())
            }
            Value::U64(_) => {
                self.ints.clear();
                for value in values {
                    let Value::U64(int) = value else {
                        return Err(MIXED);
                    };
                    self.ints.push(int.cast_signed());
                }
                self.integers(Coding::U64, i64::cast_unsigned);
                Ok(())
            }
            Value::F64(_) => {
                self.floats.clear();
                for value in values {
                    let Value::F64(float) = value else {
                        return Err(MIXED);
                    };
                    self.floats.push(*float);
                }
                self.floats();
                Ok(())
            }
            Value::Text(_) => self.blobs(Coding::Text, values, |value| match value {
                Value::Text(text) => Some(text.as_bytes()),
                _ => None,
            }),
            Value::Bytes(_) => self.blobs(Coding::Bytes, values, |value| match value {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            }),
        }
    }

    fn layout(&mut self, coding: Coding, constant: bool) {
        self.last = Layout { coding, constant };
        self.layouts.push(self.last.to_index().into());
    }

    /// Writes `self.ints`; `first` codes the first of them.
    fn integers(&mut self, coding: Coding, first: impl Fn(i64) -> u64) {
        let Some((&head, rest)) = self.ints.split_first() else {
            return;
        };
        self.firsts.push(first(head));
        let constant = rest.iter().all(|int| *int == head)
            && !rest.is_empty()
            && (self.ints.len() >= CONSTANT_FROM || self.neighbour_is_constant(coding));
        if !constant {
            let mut before = head;
            for &int in rest {
                self.deltas.push(zigzag(int.wrapping_sub(before)));
                before = int;
            }
        }
        self.layout(coding, constant);
    }

    fn neighbour_is_constant(&self, coding: Coding) -> bool {
        self.last
            == Layout {
                coding,
                constant: true,
            }
    }

    /// Writes `self.floats`.
    fn floats(&mut self) {
        if let Some(grid) = self.choose_grid() {
            self.integers(Coding::Grid(grid), zigzag);
            return;
        }
        let short = self.floats.iter().all(|float| as_f32(*float).is_some());
        let coding = if short { Coding::Xor32 } else { Coding::Xor64 };
        // Bytes are turned round: what floats of one column share, and the zeros of short ones,
        // then stand where the integers' leading zeros cost nothing.
        let patterns = self.floats.iter().map(|float| match as_f32(*float) {
            Some(narrow) if short => u64::from(narrow.to_bits().swap_bytes()),
            _ => float.to_bits().swap_bytes(),
        });
        let mut before = None;
        let mut constant = self.floats.len() >= CONSTANT_FROM;
        for pattern in patterns.clone() {
            constant &= before.is_none_or(|last| last == pattern);
            before = Some(pattern);
        }
        let mut before = None;
        for pattern in patterns {
            match before {
                None => self.firsts.push(pattern),
                Some(_) if constant => {}
                Some(last) => self.deltas.push(pattern ^ last),
            }
            before = Some(pattern);
        }
        self.layout(coding, constant);
    }

    /// The grid that all of `self.floats` sit on, if that is smaller than XOR; then `self.ints` are
    /// their places.
    fn choose_grid(&mut self) -> Option<Grid> {
        // The neighbour's grid makes a longer run; worth a byte.
        let mut best = None;
        if let Coding::Grid(grid) = self.last.coding
            && place_all(grid, &self.floats, &mut self.ints)
        {
            best = Some((grid, cost(&self.ints)));
        }
        let own = (0..=MAX_EXPONENT)
            .flat_map(|exponent| [false, true].map(|product| Grid { exponent, product }))
            .take_while(|grid| best.is_none_or(|(found, _)| found != *grid))
            .find(|grid| place_all(*grid, &self.floats, &mut self.ints));
        if let Some(own) = own {
            let cost = cost(&self.ints);
            if best.is_none_or(|(_, other)| other > cost + 1) {
                best = Some((own, cost));
            }
        }
        let (grid, cost) = best?;
        if self.bits_are_smaller(cost) {
            return None;
        }
        place_all(grid, &self.floats, &mut self.ints).then_some(grid)
    }

    /// Whether XOR of the bit patterns takes less than `cost` bytes. Up to four bytes a value it is
    /// not worth the question.
    fn bits_are_smaller(&self, cost: u32) -> bool {
        if u64::from(cost) <= 4 * self.floats.len() as u64 {
            return false;
        }
        let short = self.floats.iter().all(|float| as_f32(*float).is_some());
        let mut before = 0;
        let bits = self.floats.iter().map(|float| {
            let pattern = match as_f32(*float) {
                Some(narrow) if short => u64::from(narrow.to_bits().swap_bytes()),
                _ => float.to_bits().swap_bytes(),
            };
            let length = byte_length(pattern ^ before);
            before = pattern;
            length
        });
        bits.sum::<u32>() < cost
    }

    fn blobs<'a>(
        &mut self,
        coding: Coding,
        values: impl Iterator<Item = &'a Value> + Clone,
        bytes: impl Fn(&'a Value) -> Option<&'a [u8]>,
    ) -> Result<(), EncodeError> {
        let mut head = None;
        let mut constant = values.clone().nth(1).is_some();
        for value in values.clone() {
            let blob = bytes(value).ok_or(MIXED)?;
            if blob.len() > MAX_VALUE_BYTES {
                return Err(EncodeError::TooLarge {
                    what: "value in bytes",
                    found: blob.len(),
                    allowed: MAX_VALUE_BYTES,
                });
            }
            constant &= *head.get_or_insert(blob) == blob;
        }
        for blob in values
            .filter_map(bytes)
            .take(if constant { 1 } else { usize::MAX })
        {
            put_varint(&mut self.blobs, blob.len() as u64);
            self.blobs.extend_from_slice(blob);
        }
        self.layout(coding, constant);
        Ok(())
    }

    pub(super) fn finish(self, out: &mut proto::Telemetry) {
        out.layouts = self.layouts.into_bytes();
        out.firsts = self.firsts.into_bytes();
        out.deltas = self.deltas.into_bytes();
        out.bits = self.bits.into_bytes();
        out.blobs = self.blobs;
    }
}
