//! Whether gateways may come in. Pure.
//!
//! Not while stream or consumers are missing: the broker would acknowledge what nobody keeps. But
//! while a leader is elected the broker only cannot say, and whoever is kept out then waits longer than
//! the election takes: a gateway that is refused comes back late. What existed a moment ago is
//! believed in for as long as such a moment lasts.

use crate::source::Trouble;
use protocols_model::Instant;
use std::time::Duration;

/// An election takes up to 11 s, and nodes that come back one after the other longer.
pub const BELIEVED: Duration = Duration::from_secs(30);
/// A connection to another node is made by then; longer, and the broker is gone, perhaps with all it had.
pub const BELIEVED_UNREACHABLE: Duration = Duration::from_secs(5);

/// The gate, shut at first.
#[derive(Debug, Default)]
pub struct Gate {
    seen: Option<Instant>,
}

impl Gate {
    /// After a look at stream and consumers: whether the gate is open now.
    pub fn looked(&mut self, looked: Result<(), Trouble>, now: Instant) -> bool {
        let believed = match looked {
            Ok(()) => {
                self.seen = Some(now);
                return true;
            }
            Err(Trouble::Missing) => {
                self.seen = None;
                return false;
            }
            Err(Trouble::Unknown) => BELIEVED,
            Err(Trouble::Unreachable) => BELIEVED_UNREACHABLE,
        };
        self.seen.is_some_and(|seen| now.since(seen) < believed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn nobody_comes_in_before_stream_and_consumers_were_seen() {
        let mut gate = Gate::default();
        assert!(!gate.looked(Err(Trouble::Unknown), at(1)));
        assert!(!gate.looked(Err(Trouble::Unreachable), at(2)));
        assert!(gate.looked(Ok(()), at(3)));
    }

    #[test]
    fn an_election_keeps_nobody_out_and_a_missing_stream_everybody() {
        let mut gate = Gate::default();
        gate.looked(Ok(()), at(100));
        assert!(gate.looked(Err(Trouble::Unreachable), at(101)));
        assert!(gate.looked(Err(Trouble::Unknown), at(112)));
        assert!(!gate.looked(Err(Trouble::Missing), at(113)));
        // What was missing is not believed in again before it was seen.
        assert!(!gate.looked(Err(Trouble::Unknown), at(114)));
    }

    #[test]
    fn belief_ends() {
        let mut gate = Gate::default();
        gate.looked(Ok(()), at(100));
        assert!(!gate.looked(Err(Trouble::Unreachable), at(105)));
        assert!(!gate.looked(Err(Trouble::Unknown), at(130)));
    }
}
