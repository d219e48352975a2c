//! Which requests read which points: pure.
//!
//! Points that stand close together share a request, as far as the device's limits go. Every point
//! lies wholly inside one request, so that a wide value is never torn. After an error the next
//! request to the unit is made distinct here, so that a late answer to the failed one cannot pass.

use crate::config::{Limits, Point, Space};

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

const fn limit(space: Space, limits: &Limits) -> u16 {
    if space.is_bits() {
        limits.max_bits
    } else {
        limits.max_regs
    }
}

/// The requests that read `points` (index in the device, point), fewest first to last address.
///
/// The points must have passed [`crate::config::Bus::check`]; one that is wider than the limits is
/// left out.
#[must_use]
pub fn plan(points: &[(usize, &Point)], limits: &Limits) -> Vec<Request> {
    let mut spans: Vec<(Space, u16, u16, usize)> = points
        .iter()
        .map(|&(index, p)| (p.address.space, p.address.register, p.width(), index))
        .filter(|&(space, start, width, _)| {
            width <= limit(space, limits) && u32::from(start) + u32::from(width) <= 1 << 16
        })
        .collect();
    spans.sort_unstable();
    let mut requests: Vec<Request> = Vec::new();
    for (space, start, width, point) in spans {
        if let Some(last) = requests.last_mut()
            && last.space == space
        {
            // Sorted by start, so the offset cannot be negative.
            let offset = start - last.start;
            let count = last.count.max(offset.saturating_add(width));
            let gap = offset.saturating_sub(last.count);
            if gap <= limits.max_gap.unwrap_or(8) && count <= limit(space, limits) {
                last.has_gap |= gap > 0;
                last.count = count;
                last.slots.push(Slot {
                    point,
                    offset,
                    width,
                });
                continue;
            }
        }
        requests.push(Request {
            space,
            start,
            count: width,
            slots: vec![Slot {
                point,
                offset: 0,
                width,
            }],
            has_gap: false,
        });
    }
    requests
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

/// The parts of `request` before and from the `at`-th slot; `None` when a slot spans the border.
fn split(request: &Request, at: usize) -> Option<(Request, Request)> {
    let (left, right) = request.slots.split_at_checked(at)?;
    let border = right.first()?.offset;
    let count = left.iter().map(|slot| slot.end()).max()?;
    if count > border {
        return None;
    }
    let moved = right.iter().map(|slot| Slot {
        offset: slot.offset - border,
        ..*slot
    });
    let left = Request {
        count,
        slots: left.to_vec(),
        ..request.clone()
    };
    let right = Request {
        start: request.start + border,
        count: request.count - border,
        slots: moved.collect(),
        ..request.clone()
    };
    Some((left, right))
}

/// `request` with `by` more addresses at its end or, at the end of the table, at its start.
fn extend(request: &Request, by: u16, limits: &Limits) -> Option<Request> {
    let count = request.count.checked_add(by)?;
    if count > limit(request.space, limits) {
        return None;
    }
    if u32::from(request.start) + u32::from(count) <= 1 << 16 {
        return Some(Request {
            count,
            ..request.clone()
        });
    }
    let start = request.start.checked_sub(by)?;
    let slots = request.slots.iter();
    let slots = slots.map(|slot| Slot {
        offset: slot.offset + by,
        ..*slot
    });
    Some(Request {
        start,
        count,
        slots: slots.collect(),
        ..request.clone()
    })
}

/// Another way to read what `request` reads whose first answer has none of the shapes in `avoid`.
/// Splitting stays within the plan's addresses and comes first; else a little more is read. `None`
/// when nothing needs to be, or can be, changed.
#[must_use]
pub fn distinct(request: &Request, avoid: &[Shape], limits: &Limits) -> Option<Distinct> {
    let clear = |request: &Request| !avoid.contains(&request.shape());
    if clear(request) {
        return None;
    }
    let splits = (1..request.slots.len()).filter_map(|at| split(request, at));
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
    let longer = (1..=4).filter_map(|n| extend(request, n * step, limits));
    let longer = longer.into_iter().find(clear)?;
    Some(Distinct {
        requests: vec![longer],
        reaches_out: true,
    })
}

/// Smaller requests for the same points, for a device that refuses this one: first without reading
/// across gaps, then in halves, so that one address it does not have does not take the others along.
/// Empty when the request cannot be made smaller.
#[must_use]
pub fn smaller(request: &Request) -> Vec<Request> {
    if request.has_gap {
        return without_gaps(request);
    }
    let middle = request.slots.len() / 2;
    let nearest = (1..request.slots.len()).filter_map(|at| Some((at, split(request, at)?)));
    let halves = nearest.min_by_key(|(at, _)| at.abs_diff(middle));
    halves.map_or(Vec::new(), |(_, (left, right))| vec![left, right])
}

/// The same points without reading across gaps.
fn without_gaps(request: &Request) -> Vec<Request> {
    let mut parts = Vec::new();
    let mut rest = request.clone();
    rest.has_gap = false;
    let mut at = 1;
    while at < rest.slots.len() {
        match split(&rest, at) {
            Some((left, right)) if left.count < right.start - left.start => {
                parts.push(left);
                rest = right;
                at = 1;
            }
            _ => at += 1,
        }
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests;
