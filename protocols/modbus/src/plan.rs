//! Which requests read which points: pure.
//!
//! Points that stand close together share a request, as far as the device's limits go. Every point
//! lies wholly inside one request, so that a wide value is never torn. After an error the next
//! request to the unit is made distinct here, so that a late answer to the failed one cannot pass.

use crate::config::{Device, Limits, Point, Space};
use crate::learned::Learned;
use crate::timing::Timing;

/// One read request and the points in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The table.
    pub space: Space,
    /// First address, counted from 0.
    pub start: u16,
    /// Registers or bits to read.
    pub count: u16,
    /// The points, by where they start.
    pub slots: Vec<Slot>,
    /// Whether it reads addresses that no point asked for.
    pub has_gap: bool,
}

/// Where a point stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Index of the point in its device.
    pub point: usize,
    /// First register or bit of it in the answer.
    pub offset: u16,
    /// Registers or bits.
    pub width: u16,
}

impl Slot {
    const fn end(self) -> u16 {
        self.offset + self.width
    }
}

/// What an answer's length check sees of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Function code.
    pub function: u8,
    /// Bytes of data in the answer.
    pub bytes: u16,
}

impl Request {
    /// What the answer to this request looks like from outside.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let bytes = if self.space.is_bits() {
            self.count.div_ceil(8)
        } else {
            self.count * 2
        };
        Shape {
            function: self.space.function(),
            bytes,
        }
    }
}

/// What requests to a device have to keep to: its configuration, what it has taught, and what pays.
#[derive(Debug, Clone)]
pub struct Rules<'a> {
    max_regs: u16,
    max_bits: u16,
    /// Registers, and bits, that may be read along unasked.
    gap_regs: u16,
    gap_bits: u16,
    bit_align: u16,
    learned: Option<&'a Learned>,
}

impl<'a> Rules<'a> {
    /// The rules for a device on a bus with these times.
    #[must_use]
    pub fn new(device: &Device, timing: &Timing, learned: &'a Learned) -> Self {
        let limits = learned.limits(&device.limits);
        let turnaround = learned.turnaround().unwrap_or(timing.assumed());
        let (gap_regs, gap_bits) = match limits.max_gap {
            _ if !learned.takes_gaps() => (0, 0),
            Some(gap) => (gap, gap),
            None => {
                let registers = timing.break_even(device, turnaround);
                (registers, registers.saturating_mul(16))
            }
        };
        Self {
            max_regs: limits.max_regs,
            max_bits: limits.max_bits,
            gap_regs,
            gap_bits,
            bit_align: device.quirks.bit_align.max(1),
            learned: Some(learned),
        }
    }

    /// The rules of a device that has taught nothing, with gaps up to the configured ones.
    #[must_use]
    pub fn of_limits(limits: &Limits) -> Self {
        let gap = limits.max_gap.unwrap_or(0);
        Self {
            max_regs: limits.max_regs,
            max_bits: limits.max_bits,
            gap_regs: gap,
            gap_bits: gap,
            bit_align: 1,
            learned: None,
        }
    }

    const fn most(&self, space: Space) -> u16 {
        if space.is_bits() {
            self.max_bits
        } else {
            self.max_regs
        }
    }

    /// Whether these addresses may be read although nobody asked for them.
    fn may_read_along(&self, space: Space, first: u16, last: u16) -> bool {
        let gap = if space.is_bits() {
            self.gap_bits
        } else {
            self.gap_regs
        };
        let holes = self.learned.and_then(|learned| learned.holes(space));
        let is_hole = holes.is_some_and(|holes| holes.overlaps(first, last))
            || self.is_alone(space, first, last);
        last - first < gap && !is_hole
    }

    /// Whether one of these addresses was refused even alone.
    fn is_alone(&self, space: Space, first: u16, last: u16) -> bool {
        let alone = self
            .learned
            .and_then(|learned| learned.refused_alone(space));
        alone.is_some_and(|alone| alone.overlaps(first, last))
    }

    /// Where a request that reads `address` has to begin.
    const fn aligned(&self, space: Space, address: u16) -> u16 {
        if space.is_bits() {
            address - address % self.bit_align
        } else {
            address
        }
    }
}

/// All requests that read a device's polled points, whatever their periods: for costs and tools.
#[must_use]
pub fn plan_device(device: &Device, timing: &Timing) -> Vec<Request> {
    let learned = Learned::default();
    let rules = Rules::new(device, timing, &learned);
    plan(&polled(device), &rules)
}

/// The points of a device that are read, with their index.
#[must_use]
pub fn polled(device: &Device) -> Vec<(usize, &Point)> {
    let points = device.points.iter().enumerate();
    points.filter(|(_, point)| point.is_polled()).collect()
}

/// The requests that read `points` (index in the device, point), few and cheap, first to last address.
///
/// No request is longer than allowed, reads an address that was refused before unless a point is there,
/// or reads across a gap that costs more than another request. The points must have passed
/// [`crate::config::Bus::check`]; one that is wider than the limits is asked by itself.
#[must_use]
pub fn plan(points: &[(usize, &Point)], rules: &Rules<'_>) -> Vec<Request> {
    let mut spans: Vec<(Space, u16, u16, usize)> = points
        .iter()
        .map(|&(index, p)| (p.address.space, p.address.register, p.width(), index))
        .filter(|&(_, start, width, _)| u32::from(start) + u32::from(width) <= 1 << 16)
        .collect();
    spans.sort_unstable();
    let mut requests: Vec<Request> = Vec::new();
    for (space, start, width, point) in spans {
        if let Some(last) = requests.last_mut()
            && last.space == space
            && last.take(start, width, point, rules)
        {
            continue;
        }
        let first = rules.aligned(space, start);
        let offset = start - first;
        requests.push(Request {
            space,
            start: first,
            count: offset + width,
            slots: vec![Slot {
                point,
                offset,
                width,
            }],
            has_gap: false,
        });
    }
    requests
}

impl Request {
    /// The last address.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.start + (self.count - 1)
    }

    /// Takes a point along that stands behind the others, if the rules allow it.
    fn take(&mut self, start: u16, width: u16, point: usize, rules: &Rules<'_>) -> bool {
        // Sorted by start, so the offset cannot be negative.
        let offset = start - self.start;
        let count = self.count.max(offset.saturating_add(width));
        if count > rules.most(self.space) {
            return false;
        }
        let gap = offset.saturating_sub(self.count);
        if gap > 0 && !rules.may_read_along(self.space, start - gap, start - 1) {
            return false;
        }
        // What is refused alone takes nobody along, unless it is the same place read twice.
        let mut slots = self.slots.iter();
        let is_same = slots.all(|slot| (slot.offset, slot.width) == (offset, width));
        let alone = |first, last| rules.is_alone(self.space, first, last);
        if !is_same && (alone(start, start + (width - 1)) || alone(self.start, self.last())) {
            return false;
        }
        self.has_gap |= gap > 0;
        self.count = count;
        self.slots.push(Slot {
            point,
            offset,
            width,
        });
        true
    }
}

/// A request taken apart or made longer so that its answer has a shape of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    /// What to ask instead, in this order.
    pub requests: Vec<Request>,
    /// Whether it reads an address that the plan did not: if the device refuses that, ask the
    /// original.
    pub reaches_out: bool,
}

/// Whether nobody asked for some of the addresses between these points.
fn has_gap(slots: &[Slot]) -> bool {
    let mut end = slots.first().map_or(0, |slot| slot.offset);
    slots.iter().any(|slot| {
        let gap = slot.offset > end;
        end = end.max(slot.end());
        gap
    })
}

/// The parts of `request` before and from the `at`-th slot; `None` when a slot spans the border.
fn split(request: &Request, at: usize, rules: &Rules<'_>) -> Option<(Request, Request)> {
    let (left, right) = request.slots.split_at_checked(at)?;
    let border = right.first()?.offset;
    let count = left.iter().map(|slot| slot.end()).max()?;
    if count > border {
        return None;
    }
    let start = rules.aligned(request.space, request.start + border);
    let border = start - request.start;
    let moved = right.iter().map(|slot| Slot {
        offset: slot.offset - border,
        ..*slot
    });
    let left = Request {
        count,
        has_gap: has_gap(left),
        slots: left.to_vec(),
        ..request.clone()
    };
    let right = Request {
        start,
        count: request.count - border,
        has_gap: has_gap(right),
        slots: moved.collect(),
        ..request.clone()
    };
    Some((left, right))
}

/// `request` with `by` more addresses at its end or, at the end of the table, at its start. Known holes
/// are no reason against it: a refusal proves as well as an answer that the line is in step.
fn extend(request: &Request, by: u16, rules: &Rules<'_>) -> Option<Request> {
    let count = request.count.checked_add(by)?;
    if count > rules.most(request.space) {
        return None;
    }
    if u32::from(request.start) + u32::from(count) <= 1 << 16 {
        return Some(Request {
            count,
            ..request.clone()
        });
    }
    let start = rules.aligned(request.space, request.start.checked_sub(by)?);
    let by = request.start - start;
    let slots = request.slots.iter();
    let slots = slots.map(|slot| Slot {
        offset: slot.offset + by,
        ..*slot
    });
    Some(Request {
        start,
        count: request.count + by,
        slots: slots.collect(),
        ..request.clone()
    })
}

/// Another way to read what `request` reads whose first answer has none of the shapes in `avoid`.
/// Splitting stays within the plan's addresses and comes first; else a little more is read. `None`
/// when nothing needs to be, or can be, changed.
#[must_use]
pub fn distinct(request: &Request, avoid: &[Shape], rules: &Rules<'_>) -> Option<Distinct> {
    let clear = |request: &Request| !avoid.contains(&request.shape());
    if clear(request) {
        return None;
    }
    let splits = (1..request.slots.len()).filter_map(|at| split(request, at, rules));
    let best = splits
        .filter(|(left, _)| clear(left))
        .max_by_key(|(_, right)| clear(right));
    if let Some((left, right)) = best {
        return Some(Distinct {
            requests: vec![left, right],
            reaches_out: false,
        });
    }
    let step = if request.space.is_bits() { 8 } else { 1 };
    let longer = (1..=4).filter_map(|n| extend(request, n * step, rules));
    let longer = longer.into_iter().find(clear)?;
    Some(Distinct {
        requests: vec![longer],
        reaches_out: true,
    })
}

/// Two smaller requests for the same points, for a device that refuses this one, so that one address it
/// does not have does not take the others along. Divided near the middle where no gap lies if possible:
/// a gap that is left out stays unproven. Empty when the request cannot be made smaller.
#[must_use]
pub fn smaller(request: &Request, rules: &Rules<'_>) -> Vec<Request> {
    let middle = request.slots.len() / 2;
    let splits = (1..request.slots.len()).filter_map(|at| {
        let (left, right) = split(request, at, rules)?;
        let in_gap = left.start + left.count < right.start;
        Some(((in_gap, at.abs_diff(middle)), left, right))
    });
    let best = splits.min_by_key(|(rank, ..)| *rank);
    best.map_or(Vec::new(), |(_, left, right)| vec![left, right])
}

#[cfg(test)]
mod tests;
