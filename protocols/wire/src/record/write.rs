//! Values into columns: chooses for each column the smallest coding that gives every value back
//! bit by bit.
//!
//! Two passes. The first looks at each column by itself ([`Survey`]) and then for a stride at which
//! alike columns repeat. The second writes: floats on the decimal grid that their class (or their
//! neighbour) uses, so that alike columns have one layout and comparable numbers.

use super::layout::{Coding, Grid, Layout, MAX_EXPONENT};
use super::proto;
use crate::error::EncodeError;
use crate::limits::MAX_VALUE_BYTES;
use crate::pack::ints::byte_length;
use crate::pack::{BitWriter, IntWriter, RunWriter, frames, put_varint, zigzag};
use crate::record::{ColumnRef, Sample};
use protocols_model::Value;

/// From so many values on, saying "constant" is cheaper than a run of zero deltas even where the
/// column's neighbours are not constant.
const CONSTANT_FROM: usize = 9;
/// Fewer first values than this are not worth looking for a pattern.
const FRAMES_FROM: usize = 64;
const MIXED: EncodeError = EncodeError::Invalid("a column mixes value types");

/// First number of a numeric column.
#[derive(Debug, Clone, Copy)]
struct First {
    /// The column's place in the record.
    place: usize,
    layout: Layout,
    number: i64,
}

/// Writes the values of columns with samples.
#[derive(Debug)]
struct ValueWriter {
    layouts: RunWriter,
    firsts: Vec<First>,
    deltas: IntWriter,
    bits: BitWriter,
    blobs: Vec<u8>,
    last: Layout,
    /// The coarsest grid of the column being written.
    own: Option<Grid>,
    /// The grid of its class.
    shared: Option<Grid>,
    /// Scratch: the column's values as integers whose differences are small.
    ints: Vec<i64>,
    floats: Vec<f64>,
}

impl Default for ValueWriter {
    fn default() -> Self {
        Self {
            layouts: RunWriter::default(),
            firsts: Vec::new(),
            deltas: IntWriter::default(),
            bits: BitWriter::default(),
            blobs: Vec::new(),
            last: Layout {
                coding: Coding::Nothing,
                constant: false,
            },
            own: None,
            shared: None,
            ints: Vec::new(),
            floats: Vec::new(),
        }
    }
}

/// Bytes of a column of numbers, without the length codes.
fn cost_of(coding: Coding, numbers: &[i64]) -> u32 {
    let first = numbers.first().map_or(0, |n| byte_length(coding.fold(*n)));
    let steps = numbers.windows(2).map(|pair| match pair {
        [a, b] => byte_length(coding.step(*a, *b)),
        _ => 0,
    });
    first + steps.sum::<u32>()
}

/// The bits of `floats` as numbers: as f32 where every one is exactly an f32.
fn bits_of(floats: &[f64], numbers: &mut Vec<i64>) -> Coding {
    let shorts = floats.iter().map_while(|float| as_f32(*float));
    numbers.extend(shorts.map(|short| i64::from(short.to_bits())));
    if numbers.len() == floats.len() {
        return Coding::Xor32;
    }
    numbers.clear();
    numbers.extend(floats.iter().map(|float| float.to_bits().cast_signed()));
    Coding::Xor64
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

/// What the first pass knows of the columns of a record.
#[derive(Debug, Default)]
struct Survey {
    /// The coarsest grid of each column of floats that sits on one.
    grids: Vec<Option<Grid>>,
    /// What alike columns share: type and magnitude of the first value.
    marks: Vec<u16>,
    numeric: usize,
    floats: Vec<f64>,
    ints: Vec<i64>,
}

impl Survey {
    fn column(&mut self, samples: &[Sample]) {
        let mut values = samples.iter().filter_map(|sample| sample.value.as_ref());
        let first = values.clone().next();
        let mut grid = None;
        if let Some(Value::F64(_)) = first {
            self.floats.clear();
            self.floats
                .extend(values.by_ref().filter_map(|value| match value {
                    Value::F64(float) => Some(*float),
                    _ => None,
                }));
            grid = (0..=MAX_EXPONENT)
                .flat_map(|exponent| [false, true].map(|product| Grid { exponent, product }))
                .find(|grid| place_all(*grid, &self.floats, &mut self.ints));
        }
        // Magnitudes are binary orders in pairs: alike devices seldom differ by more.
        let mark = match first {
            None => 0,
            Some(Value::Bool(_)) => 0x1000,
            Some(Value::Text(_) | Value::Bytes(_)) => 0x2000,
            Some(Value::I64(int)) => 0x3000 | low_bits(byte_length(zigzag(*int)).into()),
            Some(Value::U64(int)) => 0x4000 | low_bits(byte_length(*int).into()),
            Some(Value::F64(float)) => 0x8000 | low_bits((float.to_bits() << 1) >> 54),
        };
        self.numeric += usize::from(mark >= 0x3000);
        self.marks.push(mark);
        self.grids.push(grid);
    }

    /// The stride, if one is to be tried, and the grid of each class.
    fn classes(&self) -> Vec<Option<Grid>> {
        let stride = if self.numeric >= FRAMES_FROM {
            frames::find_stride(&self.marks).unwrap_or(0)
        } else {
            0
        };
        let mut classes: Vec<Option<Grid>> = vec![None; stride];
        for (place, grid) in self.grids.iter().enumerate() {
            let slot = place.checked_rem(stride).and_then(|c| classes.get_mut(c));
            if let (Some(slot), Some(grid)) = (slot, grid) {
                let finer = slot.is_none_or(|s| s.exponent < grid.exponent);
                *slot = if finer { Some(*grid) } else { *slot };
            }
        }
        classes
    }
}

const fn low_bits(value: u64) -> u16 {
    (value & 0xfff) as u16
}

/// Packs the values of `columns`; those without samples have none.
pub(super) fn pack_values(
    columns: &[ColumnRef<'_>],
    out: &mut proto::Telemetry,
) -> Result<(), EncodeError> {
    let mut survey = Survey::default();
    for column in columns {
        survey.column(column.samples);
    }
    let classes = survey.classes();
    let mut writer = ValueWriter::default();
    for ((place, column), own) in columns.iter().enumerate().zip(&survey.grids) {
        if !column.samples.is_empty() {
            let class = place.checked_rem(classes.len());
            writer.own = *own;
            writer.shared = class.and_then(|c| classes.get(c)).copied().flatten();
            writer.column(place, column.samples)?;
        }
    }
    writer.finish(classes.len(), out);
    Ok(())
}

impl ValueWriter {
    fn column(&mut self, place: usize, samples: &[Sample]) -> Result<(), EncodeError> {
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
                self.numbers(place, Coding::I64);
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
                self.numbers(place, Coding::U64);
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
                self.floats(place);
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

    /// Writes `self.ints`.
    fn numbers(&mut self, place: usize, coding: Coding) {
        let Some((&number, rest)) = self.ints.split_first() else {
            return;
        };
        let constant = rest.iter().all(|int| *int == number)
            && !rest.is_empty()
            && (self.ints.len() >= CONSTANT_FROM || self.neighbour_is_constant(coding));
        if !constant {
            let mut before = number;
            for &int in rest {
                self.deltas.push(coding.step(before, int));
                before = int;
            }
        }
        self.layout(coding, constant);
        self.firsts.push(First {
            place,
            layout: self.last,
            number,
        });
    }

    fn neighbour_is_constant(&self, coding: Coding) -> bool {
        self.last
            == Layout {
                coding,
                constant: true,
            }
    }

    /// Writes `self.floats`.
    fn floats(&mut self, place: usize) {
        let coding = if let Some(grid) = self.choose_grid() {
            Coding::Grid(grid)
        } else {
            self.ints.clear();
            bits_of(&self.floats, &mut self.ints)
        };
        self.numbers(place, coding);
    }

    /// The grid for `self.floats`, if that is smaller than XOR; then `self.ints` are their places.
    fn choose_grid(&mut self) -> Option<Grid> {
        let own = self.own?;
        let neighbour = match self.last.coding {
            Coding::Grid(grid) => Some(grid),
            _ => None,
        };
        let fits = |grid: &Grid, ints: &mut Vec<i64>| {
            grid.exponent >= own.exponent && place_all(*grid, &self.floats, ints)
        };
        // The class' grid makes frames; the neighbour's a longer run, which is worth a byte.
        if let Some(shared) = self.shared
            && fits(&shared, &mut self.ints)
        {
            return self.unless_bits(shared);
        }
        place_all(own, &self.floats, &mut self.ints);
        let most = cost_of(Coding::Grid(own), &self.ints) + 1;
        if let Some(grid) = neighbour
            && grid != own
            && fits(&grid, &mut self.ints)
            && cost_of(Coding::Grid(grid), &self.ints) <= most
        {
            return self.unless_bits(grid);
        }
        place_all(own, &self.floats, &mut self.ints);
        self.unless_bits(own)
    }

    /// `grid`, on which `self.ints` stand, unless the bit patterns take less.
    fn unless_bits(&self, grid: Grid) -> Option<Grid> {
        let cost = cost_of(Coding::Grid(grid), &self.ints);
        (!self.bits_are_smaller(cost)).then_some(grid)
    }

    /// Whether XOR of the bit patterns takes less than `cost` bytes. Up to four bytes a value it is
    /// not worth the question.
    fn bits_are_smaller(&self, cost: u32) -> bool {
        if u64::from(cost) <= 4 * self.floats.len() as u64 {
            return false;
        }
        let mut patterns = Vec::with_capacity(self.floats.len());
        let coding = bits_of(&self.floats, &mut patterns);
        cost_of(coding, &patterns) < cost
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

    fn finish(self, stride: usize, out: &mut proto::Telemetry) {
        (out.stride, out.firsts) = pack_firsts(&self.firsts, stride);
        out.layouts = self.layouts.into_bytes();
        out.deltas = self.deltas.into_bytes();
        out.bits = self.bits.into_bytes();
        out.blobs = self.blobs;
    }
}

/// First values as (stride, bytes): in frames where many alike devices make that smaller, else, with
/// stride 0, as integers of their own lengths.
fn pack_firsts(firsts: &[First], stride: usize) -> (u32, Vec<u8>) {
    if stride > 0 {
        let folded = firsts.iter().map(|f| f.layout.coding.fold(f.number));
        let loose: usize = folded.map(frames::loose_cost).sum();
        let numbers: Vec<_> = firsts.iter().map(|f| (f.place, f.number)).collect();
        // zstd takes more from loose integers than from frames: those must win clearly.
        let limit = loose / 4 * 9 / 10;
        if let Some(packed) = frames::pack(&numbers, stride, limit) {
            return (u32::try_from(stride).unwrap_or(0), packed);
        }
    }
    let mut ints = IntWriter::default();
    for first in firsts {
        ints.push(first.layout.coding.fold(first.number));
    }
    (0, ints.into_bytes())
}
