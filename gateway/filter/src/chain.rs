//! The stages of one point, in order, and what they did.

use crate::bound::Bound;
use crate::stage::Stage;
use protocols_model::Instant;
use protocols_wire::Sample;

/// What a chain did so far. `taken = sent + filtered + held`; repeated samples were taken before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Readings that came in.
    pub taken: u64,
    /// Readings that went out.
    pub sent: u64,
    /// Readings left out for good.
    pub filtered: u64,
}

/// All filters of one point.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    stages: Box<[Stage]>,
    taken: u64,
    sent: u64,
}

impl Chain {
    /// A chain of these stages; none sends everything.
    #[must_use]
    pub fn new(stages: impl Into<Box<[Stage]>>) -> Self {
        Self {
            stages: stages.into(),
            taken: 0,
            sent: 0,
        }
    }

    /// Whether everything passes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The error of the whole chain.
    #[must_use]
    pub fn bound(&self) -> Bound {
        let bounds = self.stages.iter().map(Stage::bound);
        bounds.fold(Bound::Exact, Bound::then)
    }

    /// Takes a well-formed reading that arrived at `now`; what is worth sending goes to `sink`, in order.
    pub fn take(&mut self, now: Instant, sample: Sample, sink: &mut dyn FnMut(Sample)) {
        self.taken += 1;
        let sent = &mut self.sent;
        push(&mut self.stages, now, sample, &mut |sample| {
            *sent += 1;
            sink(sample);
        });
    }

    /// Gives out what is held back: before a stop, a reload, or whenever nothing may wait any longer.
    pub fn flush(&mut self, now: Instant, sink: &mut dyn FnMut(Sample)) {
        let sent = &mut self.sent;
        let mut out = |sample| {
            *sent += 1;
            sink(sample);
        };
        let mut rest: &mut [Stage] = &mut self.stages;
        while let Some((stage, following)) = rest.split_first_mut() {
            if let Some(held) = stage.flush() {
                push(following, now, held, &mut out);
            }
            rest = following;
        }
    }

    /// How many readings are held back.
    #[must_use]
    pub fn held(&self) -> u64 {
        let held = self.stages.iter().filter(|stage| stage.holds());
        held.count() as u64
    }

    /// What the chain did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            taken: self.taken,
            sent: self.sent,
            filtered: self.taken - self.sent - self.held(),
        }
    }
}

fn push(stages: &mut [Stage], now: Instant, sample: Sample, sink: &mut dyn FnMut(Sample)) {
    match stages.split_first_mut() {
        None => sink(sample),
        Some((stage, rest)) => stage.take(now, sample, &mut |sample| push(rest, now, sample, sink)),
    }
}

#[cfg(test)]
mod tests;
