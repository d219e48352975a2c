//! The pure core of the live stream: coalescing, numbering, and the ring that resumes are served
//! from.
//!
//! Invariants: (1) of each series a frame holds the newest value only, with the number of readings
//! it stands for; (2) frames are numbered 1, 2, 3 … within one life of the hub, and an id names that
//! life, so an id of another process is never mistaken for ours; (3) a resume gives every frame
//! after the named one or says *gap*, never a part; (4) the ring is bounded by frames and by
//! updates: the oldest frame goes first.

use protocols_model::GatewayId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Two minutes at four frames a second.
const MAX_FRAMES: usize = 480;
/// All frames together; at some 200 bytes an update about 20 MiB.
const MAX_UPDATES: usize = 100_000;

/// The newest value of one series, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// The series.
    pub(crate) series: i64,
    /// Whose it is.
    pub(crate) gateway: GatewayId,
    /// The value as JSON.
    pub(crate) json: String,
}

/// Which lists of a gateway are out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changed {
    /// An event was stored.
    pub(crate) events: bool,
    /// An alarm changed.
    pub(crate) alarms: bool,
    /// The loss ledger changed.
    pub(crate) ledger: bool,
}

/// What changed in a quarter of a second.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its number in this life of the hub.
    pub(crate) number: u64,
    /// At most one update a series.
    pub(crate) updates: Vec<Update>,
    /// Lists that are out of date.
    pub(crate) changed: Vec<(GatewayId, Changed)>,
}

/// What a client that comes back gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Everything after the id it named; may be empty.
    Frames(Vec<Arc<Frame>>),
    /// The id is too old, of another process or unreadable: fetch afresh.
    Gap,
}

/// The live stream's memory.
#[derive(Debug)]
pub(crate) struct Ring {
    life: u64,
    last: u64,
    frames: VecDeque<Arc<Frame>>,
    updates_held: usize,
    pending: BTreeMap<i64, Update>,
    changed: BTreeMap<GatewayId, Changed>,
}

impl Ring {
    /// An empty ring of a new life.
    pub(crate) fn new(life: u64) -> Self {
        Self {
            life,
            last: 0,
            frames: VecDeque::new(),
            updates_held: 0,
            pending: BTreeMap::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Notes the newest value of a series; replaces what has not been sent yet.
    pub(crate) fn note(&mut self, update: Update) {
        self.pending.insert(update.series, update);
    }

    /// Notes that lists of a gateway are out of date.
    pub(crate) fn changed(&mut self, gateway: &GatewayId, lists: Changed) {
        let changed = self.changed.entry(gateway.clone()).or_default();
        changed.events |= lists.events;
        changed.alarms |= lists.alarms;
        changed.ledger |= lists.ledger;
    }

    /// Ends the frame; `None` when nothing changed.
    pub(crate) fn seal(&mut self) -> Option<Arc<Frame>> {
        if self.pending.is_empty() && self.changed.is_empty() {
            return None;
        }
        let updates: Vec<Update> = std::mem::take(&mut self.pending).into_values().collect();
        let changed = std::mem::take(&mut self.changed).into_iter().collect();
        self.last += 1;
        self.updates_held += updates.len();
        let frame = Arc::new(Frame {
            number: self.last,
            updates,
            changed,
        });
        self.frames.push_back(Arc::clone(&frame));
        while self.frames.len() > MAX_FRAMES
            || (self.updates_held > MAX_UPDATES && self.frames.len() > 1)
        {
            if let Some(old) = self.frames.pop_front() {
                self.updates_held -= old.updates.len();
            }
        }
        Some(frame)
    }

    /// The id of the frame with this number.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{:016x}-{number}", self.life)
    }

    /// The id of the newest frame.
    pub(crate) fn newest_id(&self) -> String {
        self.id(self.last)
    }

    /// What comes after the frame with this id.
    pub(crate) fn resume(&self, id: &str) -> Resume {
        let number = id.split_once('-').and_then(|(life, number)| {
            let life = u64::from_str_radix(life, 16).ok()?;
            (life == self.life)
                .then(|| number.parse::<u64>().ok())
                .flatten()
        });
        let Some(number) = number else {
            return Resume::Gap;
        };
        let oldest_held = self
            .frames
            .front()
            .map_or(self.last + 1, |frame| frame.number);
        if number > self.last || number + 1 < oldest_held {
            return Resume::Gap;
        }
        Resume::Frames(
            self.frames
                .iter()
                .filter(|f| f.number > number)
                .map(Arc::clone)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(series: i64, json: &str) -> Update {
        Update {
            series,
            gateway: GatewayId::try_new("gw-1").unwrap(),
            json: json.to_owned(),
        }
    }

    fn filled(frames: u64) -> Ring {
        let mut ring = Ring::new(7);
        for n in 0..frames {
            ring.note(update(1, &n.to_string()));
            ring.seal().unwrap();
        }
        ring
    }

    #[test]
    fn a_frame_holds_the_newest_value_of_each_series_only() {
        let mut ring = Ring::new(7);
        assert!(ring.seal().is_none());
        for json in ["1", "2", "3"] {
            ring.note(update(1, json));
        }
        ring.note(update(2, "9"));
        let frame = ring.seal().unwrap();
        assert_eq!(frame.updates, vec![update(1, "3"), update(2, "9")]);
        assert!(ring.seal().is_none());
    }

    #[test]
    fn a_resume_gives_every_frame_after_the_named_one() {
        let ring = filled(5);
        let Resume::Frames(frames) = ring.resume(&ring.id(3)) else {
            panic!("gap")
        };
        assert_eq!(
            frames.iter().map(|f| f.number).collect::<Vec<_>>(),
            vec![4, 5]
        );
        assert_eq!(ring.resume(&ring.newest_id()), Resume::Frames(vec![]));
    }

    #[test]
    fn what_the_ring_no_longer_holds_is_a_gap_and_so_is_another_life() {
        let ring = filled(MAX_FRAMES as u64 + 10);
        assert_eq!(ring.resume(&ring.id(9)), Resume::Gap);
        assert!(matches!(ring.resume(&ring.id(10)), Resume::Frames(f) if f.len() == MAX_FRAMES));
        assert_eq!(ring.resume(&ring.id(ring.last + 1)), Resume::Gap);
        for id in ["", "x", "7", "0000000000000008-5", "0000000000000007-x"] {
            assert_eq!(ring.resume(id), Resume::Gap, "{id}");
        }
        // Nothing sent yet: an id of frame 0 of this life has missed nothing.
        let fresh = Ring::new(7);
        assert_eq!(fresh.resume(&fresh.newest_id()), Resume::Frames(vec![]));
    }

    #[test]
    fn the_ring_is_bounded_by_updates_too() {
        let mut ring = Ring::new(7);
        for _ in 0..30 {
            for series in 0..10_000 {
                ring.note(update(series, "1"));
            }
            ring.seal().unwrap();
        }
        assert!(ring.updates_held <= MAX_UPDATES);
        assert_eq!(ring.frames.len(), 10);
    }
}
