//! Which epochs a hello names.
//!
//! Pure. A gateway that crashed often while offline has more open epochs than a hello, or its answer,
//! has room for. Then each hello names a part and says so (the cloud closes nothing for being left
//! out): the running epoch, those of which something is under way, because only an answer tells
//! whether that has to go again, and of the others the next ones, oldest first. After a connect,
//! hellos follow each other until all have been named once.

use protocols_model::Epoch;
use protocols_wire::Held;
use std::collections::BTreeSet;

/// Most lines (epoch and lane) of one hello: 18 KiB at most, and 64 KiB of answer hold them with a few
/// ranges each.
pub const MAX_LINES: usize = 512;
/// Lines that an epoch can have.
const MOST_OF_ONE: usize = 4;

/// What a hello names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Lines in the order of the spool.
    pub held: Vec<Held>,
    /// Whether epochs were left out.
    pub partial: bool,
}

/// The way through the epochs.
#[derive(Debug, Default)]
pub struct Roll {
    /// Named in this round; bounded by what the spool lists.
    named: BTreeSet<Epoch>,
    /// Whether some have not been named since the connect.
    goes_on: bool,
}

impl Roll {
    /// A connection stands: all have to be named anew.
    pub fn begin(&mut self) {
        self.named.clear();
        self.goes_on = true;
    }

    /// The lines of the next hello out of `held`, which lists epochs oldest first; those of `always`
    /// whatever their turn.
    pub fn name(&mut self, held: &[Held], always: &BTreeSet<Epoch>) -> Named {
        if held.len() <= MAX_LINES {
            self.named.clear();
            self.goes_on = false;
            return Named {
                held: held.to_vec(),
                partial: false,
            };
        }
        let listed: BTreeSet<Epoch> = held.iter().map(|line| line.epoch).collect();
        self.named.retain(|epoch| listed.contains(epoch));
        let mut now: BTreeSet<Epoch> = listed.intersection(always).copied().collect();
        let mut room = MAX_LINES.saturating_sub(MOST_OF_ONE * now.len());
        for line in held {
            if room < MOST_OF_ONE {
                break;
            }
            if !self.named.contains(&line.epoch) && now.insert(line.epoch) {
                room -= MOST_OF_ONE;
            }
        }
        self.named.extend(&now);
        if self.named.len() == listed.len() {
            // The round is done; the next one begins with the oldest.
            self.named.clear();
            self.goes_on = false;
        }
        let held = held.iter().filter(|line| now.contains(&line.epoch));
        Named {
            held: held.copied().collect(),
            partial: true,
        }
    }

    /// Whether there are epochs that no hello of this connection has named.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.goes_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::Lane;

    fn held(epochs: u64) -> Vec<Held> {
        let line = |epoch, lane| Held {
            epoch: Epoch(epoch),
            lane,
            first: 1,
            last: 2,
        };
        (0..epochs)
            .flat_map(|n| [Lane::Event, Lane::Telemetry].map(|lane| line(n * 7919 % 10_007, lane)))
            .collect()
    }

    fn names(named: &Named) -> BTreeSet<Epoch> {
        named.held.iter().map(|line| line.epoch).collect()
    }

    #[test]
    fn what_fits_one_hello_is_named_whole() {
        let held = held(256);
        let mut roll = Roll::default();
        roll.begin();
        let named = roll.name(&held, &BTreeSet::new());
        assert_eq!((&named.held, named.partial), (&held, false));
        assert!(!roll.goes_on());
    }

    #[test]
    fn of_too_many_every_one_is_named_in_one_round_and_the_running_one_each_time() {
        let held = held(3000);
        let own = held.last().unwrap().epoch;
        let under_way = held[2000].epoch;
        let always = BTreeSet::from([own, under_way]);
        let mut roll = Roll::default();
        roll.begin();
        let mut seen = BTreeSet::new();
        let mut hellos = 0;
        while roll.goes_on() {
            let named = roll.name(&held, &always);
            assert!(named.partial && named.held.len() <= MAX_LINES);
            let now = names(&named);
            assert!(now.contains(&own) && now.contains(&under_way));
            seen.extend(now);
            hellos += 1;
        }
        assert_eq!(seen.len(), 3000);
        assert!(hellos <= 25, "{hellos}");
        let oldest = held[0].epoch;
        assert!(
            names(&roll.name(&held, &always)).contains(&oldest),
            "round and round"
        );
    }

    #[test]
    fn an_epoch_that_goes_away_in_its_turn_does_not_stop_the_round() {
        let mut held = held(1000);
        let mut roll = Roll::default();
        roll.begin();
        for _ in 0..100 {
            let named = roll.name(&held, &BTreeSet::new());
            if !roll.goes_on() {
                return;
            }
            let last = named.held.last().unwrap().epoch;
            held.retain(|line| line.epoch != last);
        }
        panic!("the round never ends");
    }
}
