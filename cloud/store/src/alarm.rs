//! How an alarm stands, from what its gateway said of it in whatever order it came. Pure.
//!
//! An event's place is its gateway's: by seq within an epoch, between epochs by the order in which they
//! ran, which the gateway's hellos tell. Clocks decide only where nobody knows that order: epochs that
//! came and went without a connection. So an event that comes late, or again, changes nothing that a
//! later one decided.

use protocols_model::{AlarmState, Epoch, Timestamp};

/// When an epoch ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Long ago: nobody knows the epoch any more.
    Forgotten,
    /// The how-manieth of its gateway.
    Known(i64),
    /// No hello spoke of it yet: it has just begun.
    New,
}

/// Where an event of the alarm lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) place: Place,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
    pub(crate) time: Timestamp,
}

/// Whether the gateway said `a` after `b`.
pub(crate) fn is_after(a: Standing, b: Standing) -> bool {
    if a.epoch == b.epoch {
        return a.seq > b.seq;
    }
    (a.place, a.time, a.epoch) > (b.place, b.time, b.epoch)
}

/// When an alarm was last raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raised {
    /// Then.
    At(Timestamp),
    /// Then or, should it have been raised in an epoch before, earlier.
    NotAfter(Timestamp),
    /// These events do not say.
    Unknown,
}

/// When it was last raised, from events of one epoch, the newest first.
pub(crate) fn raised(newest_first: impl Iterator<Item = (AlarmState, Timestamp)>) -> Raised {
    let mut begin: Option<(AlarmState, Timestamp)> = None;
    for (state, time) in newest_first {
        let fresh = match begin {
            // Behind the newest words of a clear lies the raising it ended.
            None if state == AlarmState::Normal => continue,
            None => false,
            Some((later, _)) => {
                state == AlarmState::Normal
                    || (later == AlarmState::Raised && state == AlarmState::Returned)
            }
        };
        match begin {
            Some((_, time)) if fresh => return Raised::At(time),
            _ => begin = Some((state, time)),
        }
    }
    begin.map_or(Raised::Unknown, |(_, time)| Raised::NotAfter(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use AlarmState::{Acknowledged, Normal, Raised as Up, Returned};

    fn standing(place: Place, epoch: u64, seq: u64, time: i64) -> Standing {
        Standing {
            place,
            epoch: Epoch(epoch),
            seq,
            time: Timestamp(time),
        }
    }

    #[test]
    fn within_an_epoch_the_seq_decides_whatever_the_clock_says() {
        let early = standing(Place::New, 7, 3, 900);
        let late = standing(Place::New, 7, 4, 5);
        assert!(is_after(late, early));
        assert!(!is_after(early, late));
        assert!(!is_after(early, early), "a duplicate changes nothing");
    }

    #[test]
    fn between_epochs_the_order_they_ran_in_decides_and_the_clock_only_where_it_is_unknown() {
        let before = standing(Place::Known(1), 9, 50, 900);
        // A board that booted in 1970.
        let after = standing(Place::Known(2), 4, 1, 5);
        assert!(is_after(after, before));
        assert!(is_after(standing(Place::New, 3, 1, 0), after));
        assert!(is_after(before, standing(Place::Forgotten, 2, 80, 999)));
        let (one, other) = (
            standing(Place::Known(1), 5, 1, 10),
            standing(Place::Known(1), 6, 9, 8),
        );
        assert!(is_after(one, other));
        assert!(!is_after(other, one));
    }

    fn of(states: &[AlarmState]) -> Raised {
        let times = (0..states.len()).rev();
        let times = times.map(|at| Timestamp(i64::try_from(at).unwrap()));
        raised(states.iter().copied().zip(times))
    }

    #[test]
    fn an_alarm_is_raised_since_the_begin_of_its_last_activation() {
        let at = |time| Raised::At(Timestamp(time));
        assert_eq!(of(&[Acknowledged, Up, Normal, Up]), at(2));
        // Told again when its shelving ended: raised as long ago as before.
        assert_eq!(of(&[Up, Acknowledged, Up, Normal]), at(1));
        // Its cause came back before anybody knew.
        assert_eq!(of(&[Up, Returned, Up]), at(2));
        assert_eq!(of(&[Normal, Acknowledged, Up, Normal]), at(1));
        assert_eq!(of(&[Acknowledged]), Raised::NotAfter(Timestamp(0)));
        assert_eq!(of(&[Normal]), Raised::Unknown);
        assert_eq!(of(&[]), Raised::Unknown);
    }
}
