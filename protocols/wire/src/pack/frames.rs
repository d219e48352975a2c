//! Integers that repeat a pattern: the first values of many alike devices, column after column.
//!
//! With a stride S, integers whose places are equal modulo S are of one class (the same register of
//! several devices). A class has a smallest value and a width; each integer is stored as its distance
//! from the smallest, in so many bits.
//!
//! ```text
//! S × { varint(zigzag(smallest)) width } | integers in order, lowest bit first
//! ```
//! Against [`super::ints`] this halves the size of a sweep over equal meters, and neither side needs
//! to know which device a column belongs to: the writer finds the stride by looking.

use super::ints::byte_length;
use super::varint::{Reader, low_byte, put_varint, unzigzag, zigzag};
use crate::error::DecodeError;

/// Largest stride; more registers than one device has.
pub(crate) const MAX_STRIDE: usize = 1024;
/// How many pairs of neighbours tell whether a stride is plausible.
const PROBES: usize = 256;
/// After so many probes a stride at which most pairs differ is given up.
const EARLY: usize = 32;
/// Every other pair different is no pattern.
const WORST: usize = PROBES / 2;

/// The stride at which `marks` repeat, if they repeat at all. A mark is anything that alike columns
/// share. Multiples of the right stride are as good by chance and have fewer columns to a class: of
/// those about as good as the best, the smallest is taken.
pub(crate) fn find_stride(marks: &[u16]) -> Option<usize> {
    let strides = 1..=MAX_STRIDE.min(marks.len() / 2);
    let mut best = WORST;
    for stride in strides.clone() {
        best = differing(marks, stride, best).unwrap_or(best);
    }
    if best >= WORST {
        return None;
    }
    let near = best + best / 8 + PROBES / 32;
    strides
        .into_iter()
        .find(|stride| differing(marks, *stride, near).is_some())
}

/// How many of [`PROBES`] pairs at `stride` differ; `None` when `bearable` or more.
fn differing(marks: &[u16], stride: usize, bearable: usize) -> Option<usize> {
    let far = marks.get(stride..)?;
    let mut different = 0;
    for probe in 0..PROBES {
        let place = probe * far.len() / PROBES;
        different += usize::from(marks.get(place) != far.get(place));
        let hopeless = probe == EARLY && different > EARLY * 9 / 16;
        if different >= bearable || hopeless {
            return None;
        }
    }
    Some(different)
}

#[derive(Debug, Clone, Copy)]
struct Class {
    smallest: i64,
    width: u32,
}

/// Packs `numbers`, each with its place, at `stride`; `None` when that takes `limit` bytes or more.
pub(crate) fn pack(numbers: &[(usize, i64)], stride: usize, limit: usize) -> Option<Vec<u8>> {
    let mut spans: Vec<Option<(i64, i64)>> = vec![None; stride];
    for &(place, number) in numbers {
        let span = spans.get_mut(place.checked_rem(stride)?)?;
        let (low, high) = span.get_or_insert((number, number));
        *low = number.min(*low);
        *high = number.max(*high);
    }
    let mut out = Vec::with_capacity(limit);
    let mut classes = Vec::with_capacity(stride);
    for span in spans {
        let (smallest, largest) = span.unwrap_or_default();
        let width = u64::BITS - distance(largest, smallest).leading_zeros();
        put_varint(&mut out, zigzag(smallest));
        out.push(low_byte(width.into()));
        classes.push(Class { smallest, width });
    }
    let mut bits = Packer {
        out,
        held: 0,
        count: 0,
    };
    for &(place, number) in numbers {
        let class = classes.get(place % stride)?;
        bits.push(distance(number, class.smallest), class.width);
    }
    let out = bits.into_bytes();
    (out.len() < limit).then_some(out)
}

const fn distance(number: i64, smallest: i64) -> u64 {
    number.wrapping_sub(smallest).cast_unsigned()
}

/// What [`super::IntWriter`] would take for one integer, in quarter bytes.
pub(crate) const fn loose_cost(value: u64) -> usize {
    1 + 4 * byte_length(value) as usize
}

struct Packer {
    out: Vec<u8>,
    held: u128,
    count: u32,
}

impl Packer {
    fn push(&mut self, value: u64, width: u32) {
        self.held |= u128::from(value) << self.count;
        self.count += width;
        while self.count >= 8 {
            self.put();
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lowest byte is what is asked for"
    )]
    fn put(&mut self) {
        self.out.push(self.held as u8);
        self.held >>= 8;
        self.count = self.count.saturating_sub(8);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put();
        }
        self.out
    }
}

/// Answers the integers in turn.
#[derive(Debug)]
pub(crate) struct FrameReader<'a> {
    classes: Vec<Class>,
    bits: &'a [u8],
    /// In bits.
    place: usize,
    what: &'static str,
}

impl<'a> FrameReader<'a> {
    /// Reads `bytes`, packed at `stride`.
    pub(crate) fn new(
        bytes: &'a [u8],
        stride: usize,
        what: &'static str,
    ) -> Result<Self, DecodeError> {
        if stride > MAX_STRIDE {
            return Err(DecodeError::TooLarge {
                what: "stride",
                found: stride,
                allowed: MAX_STRIDE,
            });
        }
        let mut bytes = Reader::new(bytes, what);
        let mut classes = Vec::with_capacity(stride);
        for _ in 0..stride {
            let smallest = unzigzag(bytes.varint()?);
            let width = u32::from(bytes.u8()?);
            if width > u64::BITS {
                return Err(DecodeError::Malformed("an integer is longer than 64 bits"));
            }
            classes.push(Class { smallest, width });
        }
        Ok(Self {
            classes,
            bits: bytes.rest(),
            place: 0,
            what,
        })
    }

    /// The next integer, whose place is `place`.
    pub(crate) fn value(&mut self, place: usize) -> Result<i64, DecodeError> {
        let class = place
            .checked_rem(self.classes.len())
            .and_then(|slot| self.classes.get(slot))
            .ok_or(DecodeError::Truncated(self.what))?;
        let end = self.place + class.width as usize;
        // Nine bytes hold any 64 bits, wherever they begin.
        let around = self
            .bits
            .get(self.place / 8..end.div_ceil(8).max(self.place / 8))
            .ok_or(DecodeError::Truncated(self.what))?;
        let wide = around
            .iter()
            .rev()
            .fold(0_u128, |wide, byte| wide << 8 | u128::from(*byte));
        let mask = (1_u128 << class.width) - 1;
        let distance = u64::try_from((wide >> (self.place % 8)) & mask)
            .map_err(|_| DecodeError::Truncated(self.what))?;
        self.place = end;
        Ok(class.smallest.wrapping_add(distance.cast_signed()))
    }

    /// Nothing may be left.
    pub(crate) const fn finish(&self) -> Result<(), DecodeError> {
        if self.bits.len() == self.place.div_ceil(8) {
            Ok(())
        } else {
            Err(DecodeError::Malformed("bytes are left over at the end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back_at_any_stride(
            numbers in prop::collection::vec((any::<i64>(), 0u32..64), 0..200),
            stride in 1usize..20,
        ) {
            let numbers: Vec<_> = numbers.iter().enumerate().map(|(at, (n, bits))| (at * 2, n >> bits)).collect();
            let bytes = pack(&numbers, stride, 1 << 20).unwrap();
            let mut reader = FrameReader::new(&bytes, stride, "test").unwrap();
            for &(place, number) in &numbers {
                prop_assert_eq!(reader.value(place).unwrap(), number);
            }
            reader.finish().unwrap();
        }
    }

    #[test]
    fn the_stride_of_alike_devices_is_found() {
        let device: Vec<u16> = (0..37).map(|register| register * register % 7).collect();
        let marks: Vec<_> = device.iter().cycle().take(37 * 40).copied().collect();
        assert_eq!(find_stride(&marks), Some(37));
        assert_eq!(find_stride(&[]), None);
    }
}
