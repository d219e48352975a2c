//! What a bus has taught us about its devices: pure.
//!
//! Devices refuse to read addresses they do not have, and requests longer than they like; both are found
//! out by asking, once. A refusal alone does not say which of the two it was: it is kept until the
//! addresses of the refused request have been read in smaller ones, and explained then, the latest first.
//! - Everything was read: the request was too long. The longest good and the shortest refused length
//!   close in on the device's limit by halves.
//! - Everything asked for was read, and of the gaps the request had reached across one was left out by
//!   the smaller requests: it holds an address that does not exist and is not read along again. (Of
//!   several holes in one request the innermost shows first, the others when they are met again.)
//! - One address is refused even alone: it is asked alone from then on, and takes nobody along.
//!
//! What a device refuses while it answers nothing at all (it restarts, it is busy) teaches nothing, nor
//! does exception 04. Everything here is bounded; a device at the bound is read without gaps.

mod memory;
mod spans;

pub use memory::{Facts, FileMemory, Memory, Snapshot, SnapshotError, fingerprint};
pub use spans::Spans;

use crate::config::{Limits, Space};
use crate::plan::Request;
use std::collections::BTreeMap;
use std::time::Duration;

/// Spans of addresses kept per device. A map with more holes than that is read without gaps.
pub const MAX_HOLES: usize = 128;
/// Refusals of a device that wait for their explanation.
const MAX_OPEN: usize = 16;
/// Part of a new measurement in the smoothed turnaround: one in so many.
const SMOOTHING: u32 = 8;
/// How far turnaround moves before it counts as another one: a quarter.
const DRIFT: u32 = 4;
/// And not less than this: what a scheduler adds.
const LEAST_DRIFT: Duration = Duration::from_millis(1);
/// "Illegal data value": the specification's answer to a request that is too long.
const ILLEGAL_VALUE: u8 = 0x03;

/// How long requests may be, as far as is known, in addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Length {
    /// The longest that was answered.
    pub good: u16,
    /// The shortest that was refused for its length.
    pub refused: Option<u16>,
}

impl Length {
    /// The length to plan with: halfway to the shortest refused one, until they meet.
    #[must_use]
    pub fn limit(self, most: u16) -> u16 {
        match self.refused {
            Some(refused) => {
                let good = self.good.min(refused.saturating_sub(1)).max(1);
                (good + (refused - good) / 2).clamp(1, most.max(1))
            }
            None => most,
        }
    }

    fn learn_refused(&mut self, count: u16) -> bool {
        // One address is never too long; a length that was answered before is not too long either.
        if count <= 1 || count <= self.good || self.refused.is_some_and(|known| known <= count) {
            return false;
        }
        self.refused = Some(count);
        true
    }
}

/// A refused request without explanation yet.
#[derive(Debug, Clone)]
struct Open {
    space: Space,
    start: u16,
    count: u16,
    /// Addresses between its points that were not read since.
    gaps: Spans,
    /// Addresses of points that were not read since.
    missing: Spans,
}

/// What is known about one device.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    holes: BTreeMap<Space, Spans>,
    alone: BTreeMap<Space, Spans>,
    registers: Length,
    bits: Length,
    without_gaps: bool,
    turnaround: Option<Duration>,
    open: Vec<Open>,
    /// Refused alone in the pass under way.
    suspects: Vec<(Space, u16, u16)>,
    /// Counts everything that asks for another plan.
    revision: u64,
}

impl Learned {
    /// Grows whenever another plan may be better.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The smoothed turnaround: from the last character of a question to the first of its answer; over
    /// TCP the round trip.
    #[must_use]
    pub const fn turnaround(&self) -> Option<Duration> {
        self.turnaround
    }

    /// Whether gaps may be read along at all.
    #[must_use]
    pub const fn takes_gaps(&self) -> bool {
        !self.without_gaps
    }

    /// Addresses that are never read along.
    #[must_use]
    pub fn holes(&self, space: Space) -> Option<&Spans> {
        self.holes.get(&space)
    }

    /// Addresses that the device refuses even alone.
    #[must_use]
    pub fn refused_alone(&self, space: Space) -> Option<&Spans> {
        self.alone.get(&space)
    }

    /// The device's limits as far as they are known, within the configured ones.
    #[must_use]
    pub fn limits(&self, configured: &Limits) -> Limits {
        Limits {
            max_gap: configured.max_gap,
            max_regs: self.registers.limit(configured.max_regs),
            max_bits: self.bits.limit(configured.max_bits),
        }
    }

    fn length(&mut self, space: Space) -> &mut Length {
        if space.is_bits() {
            &mut self.bits
        } else {
            &mut self.registers
        }
    }

    /// The device took this turnaround for a good answer.
    pub fn took(&mut self, turnaround: Duration) {
        self.turnaround = Some(match self.turnaround {
            Some(known) => (known * (SMOOTHING - 1) + turnaround) / SMOOTHING,
            None => turnaround,
        });
    }

    /// Whether the turnaround is another one than that a plan was made with: by more than a quarter and
    /// more than a millisecond, so that plans do not follow every wind.
    #[must_use]
    pub fn has_drifted(&self, planned_with: Duration) -> bool {
        let least = (planned_with / DRIFT).max(LEAST_DRIFT);
        self.turnaround
            .is_some_and(|now| now.abs_diff(planned_with) > least)
    }

    /// The device answered this request with data.
    pub fn answered(&mut self, request: &Request) {
        let (space, count) = (request.space, request.count);
        let length = self.length(space);
        if length.good < count {
            length.good = count;
            let closing_in = length.refused.is_some();
            // What was thought too long was refused for another reason.
            length.refused = length.refused.filter(|refused| *refused > count);
            self.revision += u64::from(closing_in);
        }
        let (first, last) = (request.start, request.last());
        if let Some(alone) = self.alone.get_mut(&space)
            && alone.overlaps(first, last)
        {
            alone.remove(first, last);
            self.revision += 1;
        }
        for open in self.open.iter_mut().filter(|open| open.space == space) {
            open.missing.remove(first, last);
            open.gaps.remove(first, last);
        }
        self.explain();
    }

    /// The device refused this request with exception 02 or 03.
    pub fn refused(&mut self, request: &Request, exception: u8) {
        let space = request.space;
        if request.slots.iter().all(|slot| slot.width == request.count) {
            if self.suspects.len() < MAX_HOLES {
                self.suspects.push((space, request.start, request.last()));
            }
            return;
        }
        if exception == ILLEGAL_VALUE && self.length(space).learn_refused(request.count) {
            self.revision += 1;
        }
        let mut missing = Spans::default();
        for slot in &request.slots {
            let first = request.start + slot.offset;
            missing.insert(first, first + (slot.width - 1));
        }
        let gaps = missing.gaps_in(request.start, request.last());
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(Open {
            space,
            start: request.start,
            count: request.count,
            gaps,
            missing,
        });
    }

    /// A pass over the device's points is complete; `answered` says whether any of it was answered.
    pub fn pass_done(&mut self, answered: bool) {
        let suspects = std::mem::take(&mut self.suspects);
        if !answered {
            // It refuses everything: that says nothing about addresses or lengths.
            self.open.clear();
            return;
        }
        for (space, first, last) in suspects {
            let open = self.open.iter_mut().filter(|open| open.space == space);
            for open in open.filter(|open| open.missing.overlaps(first, last)) {
                open.missing.remove(first, last);
                // Explained by this address, whatever its length was.
                open.count = 0;
                open.gaps = Spans::default();
            }
            let alone = self.alone.entry(space).or_default();
            if !alone.contains(first, last) && alone.len() < MAX_HOLES {
                alone.insert(first, last);
                self.revision += 1;
            }
        }
        self.explain();
    }

    /// Settles the refusals whose addresses were all read since, the latest first.
    fn explain(&mut self) {
        while let Some(at) = self.open.iter().rposition(|open| open.missing.is_empty()) {
            let open = self.open.remove(at);
            let known = self.length(open.space).refused;
            if open.count == 0 || known.is_some_and(|refused| refused <= open.count) {
                continue;
            }
            if open.gaps.is_empty() {
                if self.length(open.space).learn_refused(open.count) {
                    self.revision += 1;
                }
                continue;
            }
            let holes = self.holes.entry(open.space).or_default();
            if holes.overlaps(open.start, open.start + (open.count - 1)) {
                // A part of it has shown the reason; what else was left out may be tried again.
                self.revision += 1;
                continue;
            }
            holes.extend(&open.gaps);
            if holes.len() > MAX_HOLES {
                self.without_gaps = true;
                holes.clear();
            }
            self.revision += 1;
        }
    }
}

#[cfg(test)]
mod tests;
