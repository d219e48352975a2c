//! The samples of the open batch, of all points, in the order they came.
//!
//! While the link is down a batch is the largest thing in memory: 100 000 samples and more. So each takes 24
//! bytes instead of the 40 of a [`Sample`], and they lie in a few large blocks instead of a vector a point
//! that grows: ten thousand growing vectors leave holes as large as themselves. The samples of one
//! point are a chain through the blocks, oldest first.

use protocols_model::{Quality, Timestamp, Value};
use protocols_wire::Sample;
use std::mem::size_of;

/// Samples of a block: 96 KiB, which the system has back as a whole when it is freed.
const BLOCK: usize = 4096;

/// What a number in [`Held`] stands for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    None,
    Bool,
    I64,
    U64,
    F64,
    /// The place of a text or of bytes beside the numbers.
    Beside,
}

/// A sample.
#[derive(Debug)]
struct Held {
    time: Timestamp,
    bits: u64,
    /// The next one of the same point.
    next: Option<Next>,
    quality: Quality,
    kind: Kind,
}

/// A place, one higher: so that "none" takes no room.
type Next = std::num::NonZeroU32;

/// The samples of one point.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain {
    ends: Option<(Next, Next)>,
}

impl Chain {
    pub(super) const fn is_empty(self) -> bool {
        self.ends.is_none()
    }
}

/// Samples in chains.
#[derive(Debug, Default)]
pub(super) struct Samples {
    blocks: Vec<Vec<Held>>,
    beside: Vec<Value>,
    len: u32,
}

impl Samples {
    /// Memory that a sample takes.
    pub(super) fn bytes(sample: &Sample) -> usize {
        let payload = match &sample.value {
            Some(Value::Text(text)) => size_of::<Value>() + text.len(),
            Some(Value::Bytes(bytes)) => size_of::<Value>() + bytes.len(),
            _ => 0,
        };
        size_of::<Held>() + payload
    }

    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Puts a sample at the end of a chain. `false` where no more can be counted, long after a batch is
    /// due for its size.
    pub(super) fn push(&mut self, chain: &mut Chain, sample: Sample) -> bool {
        let Some(place) = self.len.checked_add(1).and_then(Next::new) else {
            return false;
        };
        let (kind, bits) = match sample.value {
            None => (Kind::None, 0),
            Some(Value::Bool(bit)) => (Kind::Bool, u64::from(bit)),
            Some(Value::I64(int)) => (Kind::I64, int.cast_unsigned()),
            Some(Value::U64(int)) => (Kind::U64, int),
            Some(Value::F64(float)) => (Kind::F64, float.to_bits()),
            Some(value @ (Value::Text(_) | Value::Bytes(_))) => {
                self.beside.push(value);
                (Kind::Beside, self.beside.len() as u64 - 1)
            }
        };
        let held = Held {
            time: sample.time,
            bits,
            next: None,
            quality: sample.quality,
            kind,
        };
        let (block, _) = split(self.len);
        if block == self.blocks.len() {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.get_mut(block) {
            block.push(held);
        }
        self.len = place.get();
        match &mut chain.ends {
            None => chain.ends = Some((place, place)),
            Some((_, last)) => {
                let before = std::mem::replace(last, place);
                let (block, at) = split(before.get() - 1);
                if let Some(before) = self.blocks.get_mut(block).and_then(|b| b.get_mut(at)) {
                    before.next = Some(place);
                }
            }
        }
        true
    }

    /// The samples of a chain, oldest first.
    pub(super) fn of(&self, chain: Chain) -> impl Iterator<Item = Sample> {
        let mut next = chain.ends.map(|(first, _)| first);
        std::iter::from_fn(move || {
            let (block, at) = split(next?.get() - 1);
            let held = self.blocks.get(block)?.get(at)?;
            next = held.next;
            Some(self.sample(held))
        })
    }

    fn sample(&self, held: &Held) -> Sample {
        let value = match held.kind {
            Kind::None => None,
            Kind::Bool => Some(Value::Bool(held.bits != 0)),
            Kind::I64 => Some(Value::I64(held.bits.cast_signed())),
            Kind::U64 => Some(Value::U64(held.bits)),
            Kind::F64 => Some(Value::F64(f64::from_bits(held.bits))),
            Kind::Beside => {
                let place = usize::try_from(held.bits).unwrap_or(usize::MAX);
                self.beside.get(place).cloned()
            }
        };
        Sample {
            time: held.time,
            value,
            quality: held.quality,
        }
    }

    /// Forgets all samples; chains to them must be forgotten as well. The room that they needed is kept for
    /// the next batch, no more.
    pub(super) fn clear(&mut self) {
        let (used, _) = split(self.len.saturating_sub(1));
        self.blocks.truncate(used + 1);
        for block in &mut self.blocks {
            block.clear();
        }
        self.beside = Vec::new();
        self.len = 0;
    }
}

/// Which block, and where in it.
const fn split(place: u32) -> (usize, usize) {
    let place = place as usize;
    (place / BLOCK, place % BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::Reason;

    fn sample(time: i64, value: Option<Value>) -> Sample {
        let bad = value.is_none();
        Sample {
            time: Timestamp(time),
            value,
            quality: if bad {
                Quality::Bad(Reason::Timeout)
            } else {
                Quality::Uncertain(Reason::LinkDown)
            },
        }
    }

    #[test]
    fn a_sample_takes_24_bytes() {
        assert_eq!(size_of::<Held>(), 24);
    }

    #[test]
    fn samples_of_every_type_come_back_as_they_were_point_by_point() {
        let values = [
            None,
            Some(Value::Bool(true)),
            Some(Value::Bool(false)),
            Some(Value::I64(i64::MIN)),
            Some(Value::U64(u64::MAX)),
            Some(Value::F64(-0.0)),
            Some(Value::Text("pump".into())),
            Some(Value::Bytes([0, 255].as_slice().into())),
        ];
        let mut samples = Samples::default();
        // Twice: what is cleared leaves nothing behind.
        for _ in 0..2 {
            let mut chains = [Chain::default(); 3];
            let mut given = [Vec::new(), Vec::new(), Vec::new()];
            for (n, time) in (0..3 * BLOCK).zip(-5..) {
                let value = values[n % values.len()].clone();
                let sample = sample(time, value);
                let point = n % 5 % 3;
                assert!(samples.push(&mut chains[point], sample.clone()));
                given[point].push(sample);
            }
            for (chain, given) in chains.into_iter().zip(given) {
                let back: Vec<_> = samples.of(chain).collect();
                assert_eq!(back, given);
            }
            samples.clear();
            assert_eq!(samples.len(), 0);
        }
    }

    #[test]
    fn a_small_batch_after_a_large_one_gives_room_back() {
        let mut samples = Samples::default();
        for count in [10 * BLOCK, 1] {
            let mut chain = Chain::default();
            for _ in 0..count {
                samples.push(&mut chain, sample(0, Some(Value::U64(1))));
            }
            samples.clear();
        }
        assert_eq!(samples.blocks.len(), 1);
    }
}
