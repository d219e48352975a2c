//! Deadlines of numbered things: which one is next, which are over.
//!
//! One deadline a thing; setting it again moves it. Time and memory grow with the number of things, never
//! with how often they are set.

use protocols_model::Instant;
use std::collections::{BTreeSet, HashMap};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    order: BTreeSet<(Instant, usize)>,
    of: HashMap<usize, Instant>,
}

impl Deadlines {
    /// The deadline of `thing` is `at` from now on.
    pub(crate) fn set(&mut self, thing: usize, at: Instant) {
        if let Some(before) = self.of.insert(thing, at) {
            self.order.remove(&(before, thing));
        }
        self.order.insert((at, thing));
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the thing whose deadline passed first. It has none until it is set again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (at, thing) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.remove(&(at, thing));
        self.of.remove(&thing);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_moved_deadline_counts_at_its_new_time_only() {
        let at = |s| Instant(Duration::from_secs(s));
        let mut deadlines = Deadlines::default();
        deadlines.set(1, at(5));
        deadlines.set(2, at(6));
        deadlines.set(1, at(7));
        assert_eq!(deadlines.next(), Some(at(6)));
        assert_eq!(deadlines.take_due(at(5)), None);
        assert_eq!(deadlines.take_due(at(9)), Some(2));
        assert_eq!(deadlines.take_due(at(9)), Some(1));
        assert_eq!((deadlines.take_due(at(9)), deadlines.next()), (None, None));
    }
}
