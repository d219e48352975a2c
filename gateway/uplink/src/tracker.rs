//! What of the spool may be sent, and what must not be: per epoch and lane.
//!
//! Pure. For every stream the tracker knows what the spool holds and which of it is *covered*:
//! under way, settled, put off or found gone. The rest is to be sent: live in order of birth,
//! backlog oldest first. Guarantees: nothing covered is offered; whatever is given up becomes
//! uncovered again and is offered once more; an acknowledgement for something that this process never
//! sent settles nothing.
//!
//! Live and backlog part at `live_from`: everything that waited when the connection came up, or that
//! live sending could not keep up with, is backlog. Each such jump leaves a gap in the cloud's
//! cursor, which holds 64 ranges: near that bound only seqs that extend a range are offered.

use crate::lanes::Class;
use crate::window::{Stream, set_of};
use protocols_model::{Epoch, Instant, Lane, Seq, SeqRange, SeqSet};
use protocols_wire::Held;
use protocols_wire::limits::MAX_RANGES;
use std::time::Duration;

/// Live records that wait so long are backlog: what comes after them is what "now" means.
const LIVE_LAG: Duration = Duration::from_secs(5);
/// Put-off groups kept apart; beyond, those of one stream are put off together.
const MAX_DEFERRED: usize = 128;

#[derive(Debug)]
struct State {
    stream: Stream,
    /// Lowest unsettled and highest appended seq; `None` when the spool holds nothing.
    held: Option<SeqRange>,
    /// Never to be offered now.
    covered: SeqSet,
    /// Handed over at least once by this tracker.
    handed: SeqSet,
    /// Held no more by the spool, although what is before and behind is: thinned or evicted, and claimed.
    let_go: SeqSet,
    /// Up to here another tracker of this process may have handed them over.
    before: Seq,
    /// Lowest seq that counts as live; of older epochs nothing does.
    live_from: Seq,
    /// At `.1` the live part ended at `.0`.
    mark: (Seq, Instant),
}

/// A group of records to be offered again later.
#[derive(Debug)]
struct Deferred {
    until: Instant,
    stream: Stream,
    seqs: SeqSet,
}

/// What the tracker lets pass of an acknowledgement.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Accepted {
    /// Of what the spool holds, settled now.
    pub seqs: SeqSet,
    /// How many seqs were acknowledged that this gateway never sent.
    pub never_sent: u64,
}

/// The tracker.
#[derive(Debug)]
pub struct Tracker {
    own: Epoch,
    /// Oldest epoch first, as the spool lists them.
    streams: Vec<State>,
    deferred: Vec<Deferred>,
    /// By lane number: nothing of the lane before then.
    paused: [Option<Instant>; 4],
    /// What the spool holds at the next look may have been sent by an uplink before this one.
    inherits: bool,
}

impl Tracker {
    /// Nothing held yet; `own` is the epoch that records appended now get.
    #[must_use]
    pub const fn new(own: Epoch) -> Self {
        Self {
            own,
            streams: Vec::new(),
            deferred: Vec::new(),
            paused: [None; 4],
            inherits: false,
        }
    }

    /// Another uplink of this process, before the identity was renewed, has sent of the same epoch:
    /// acknowledgements of what the spool holds at the first look are no stranger's.
    pub const fn inherit(&mut self) {
        self.inherits = true;
    }

    /// The spool holds something else than before. Streams it lists no more are forgotten.
    pub fn held(&mut self, held: &[Held], now: Instant) {
        let same = self.streams.len() == held.len();
        let mut pairs = self.streams.iter().zip(held);
        if same && pairs.all(|(state, entry)| state.stream == stream_of(entry)) {
            let pairs = self.streams.iter_mut().zip(held);
            pairs.for_each(|(state, entry)| state.set_held(entry));
            return;
        }
        let inherited = std::mem::take(&mut self.inherits);
        self.streams
            .retain(|state| held.iter().any(|h| state.stream == stream_of(h)));
        for (place, entry) in held.iter().enumerate() {
            let stream = stream_of(entry);
            let at = self.streams.iter().position(|s| s.stream == stream);
            let at = at.unwrap_or_else(|| {
                // A stream born under way starts live; what waited is parted at connect.
                let live_from = if stream.epoch == self.own {
                    1
                } else {
                    Seq::MAX
                };
                let place = place.min(self.streams.len());
                let state = State {
                    stream,
                    held: None,
                    covered: SeqSet::new(),
                    handed: SeqSet::new(),
                    let_go: SeqSet::new(),
                    before: if inherited { entry.last } else { 0 },
                    live_from,
                    mark: (0, now),
                };
                self.streams.insert(place, state);
                place
            });
            if let Some(state) = self.streams.get_mut(at) {
                state.set_held(entry);
            }
        }
    }

    /// Of the running epoch's `stream` the spool holds these no more: they are not asked for, and the
    /// cloud settles them by their claims although they were never sent.
    pub fn let_go(&mut self, stream: Stream, seqs: &SeqSet) {
        if let Some(state) = self.state(stream)
            && state.let_go != *seqs
        {
            state.let_go.clone_from(seqs);
            state.covered.union(seqs);
        }
    }

    /// A connection stands: what waits now is backlog.
    pub fn connected(&mut self, now: Instant) {
        let own = self.own;
        for state in self.streams.iter_mut().filter(|s| s.stream.epoch == own) {
            state.part_live(now);
        }
    }

    /// Time passes: what was put off is offered again, what live sending left behind is backlog.
    pub fn tick(&mut self, now: Instant) {
        let (due, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.deferred)
            .into_iter()
            .partition(|group| group.until <= now);
        self.deferred = kept;
        for group in due {
            self.give_up(group.stream, &group.seqs);
        }
        for pause in &mut self.paused {
            *pause = pause.filter(|until| *until > now);
        }
        let own = self.own;
        for state in self.streams.iter_mut().filter(|s| s.stream.epoch == own) {
            match state.run(true) {
                Some(run) if run.first() <= state.mark.0 => {
                    if now.since(state.mark.1) >= LIVE_LAG {
                        state.part_live(now);
                    }
                }
                _ => state.mark = (state.held.map_or(0, SeqRange::last), now),
            }
        }
    }

    /// When [`Self::tick`] has to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let deferred = self.deferred.iter().map(|group| group.until);
        deferred.chain(self.paused.iter().flatten().copied()).min()
    }

    /// The next records of `class` to send: the first run that is not covered.
    #[must_use]
    pub fn candidate(&self, class: Class) -> Option<(Stream, SeqRange)> {
        let paused = self.paused.get(usize::from(class.lane.to_index()));
        if paused.copied().flatten().is_some() {
            return None;
        }
        self.streams
            .iter()
            .filter(|state| state.stream.lane == class.lane)
            .find_map(|state| Some((state.stream, state.run(!class.history)?)))
    }

    /// These records were handed to the link. Returns how many of them not for the first time.
    pub fn hand(&mut self, stream: Stream, range: SeqRange) -> u64 {
        let Some(state) = self.state(stream) else {
            return 0;
        };
        let again = state.handed.held_in(range).count();
        state.covered.insert(range);
        state.handed.insert(range);
        again
    }

    /// The spool did not give these out: evicted, damaged, or its disk is away. Asked for again at
    /// `until`, unless the spool lists them no more by then.
    pub fn gone(&mut self, stream: Stream, range: SeqRange, until: Instant) {
        if let Some(state) = self.state(stream) {
            state.covered.insert(range);
        }
        self.defer(stream, set_of(range), until);
    }

    /// What of `range` may be sent now.
    #[must_use]
    pub fn uncovered(&self, stream: Stream, range: SeqRange) -> SeqSet {
        let state = self.streams.iter().find(|s| s.stream == stream);
        state.map_or_else(SeqSet::new, |state| state.covered.missing_in(range))
    }

    /// These records have to be offered again.
    pub fn give_up(&mut self, stream: Stream, seqs: &SeqSet) {
        if let Some(state) = self.state(stream) {
            seqs.ranges()
                .iter()
                .for_each(|&range| state.covered.remove(range));
            if !state.let_go.is_empty() {
                state.covered.union(&state.let_go);
            }
        }
    }

    /// These records are offered again, but not before `until`.
    pub fn defer(&mut self, stream: Stream, seqs: SeqSet, until: Instant) {
        let room = self.deferred.len() < MAX_DEFERRED;
        match self.deferred.iter_mut().rfind(|g| g.stream == stream) {
            Some(group) if !room || group.until == until => {
                group.until = group.until.max(until);
                group.seqs.union(&seqs);
            }
            _ => self.deferred.push(Deferred {
                until,
                stream,
                seqs,
            }),
        }
    }

    /// Nothing of `lane` goes out before `until`.
    pub fn pause(&mut self, lane: Lane, until: Instant) {
        if let Some(pause) = self.paused.get_mut(usize::from(lane.to_index())) {
            *pause = Some(pause.map_or(until, |other| other.max(until)));
        }
    }

    /// What of an acknowledgement of `stream` may be believed; the believed part becomes covered.
    pub fn settle(&mut self, stream: Stream, seqs: &SeqSet) -> Accepted {
        let own = stream.epoch == self.own;
        let Some(state) = self.state(stream) else {
            // Long settled and forgotten, or of somebody else: nothing of it is here.
            return Accepted {
                seqs: SeqSet::new(),
                never_sent: if own { seqs.count() } else { 0 },
            };
        };
        let Some(held) = state.held else {
            return Accepted::default();
        };
        let mut believed = seqs.held_in(held);
        let mut never_sent = 0;
        if own {
            let beyond = SeqRange::new(held.last().saturating_add(1), Seq::MAX);
            never_sent += beyond.map_or(0, |range| seqs.held_in(range).count());
            let mine = SeqRange::new(state.before.saturating_add(1), Seq::MAX);
            let mine = mine.map_or_else(SeqSet::new, |mine| believed.held_in(mine));
            for &range in mine.ranges() {
                for &foreign in state.handed.missing_in(range).ranges() {
                    // Covered without having been sent: found gone, perhaps claimed as lost.
                    for &unknown in state.covered.missing_in(foreign).ranges() {
                        never_sent += unknown.count();
                        believed.remove(unknown);
                    }
                }
            }
        }
        state.covered.union(&believed);
        for group in self.deferred.iter_mut().filter(|g| g.stream == stream) {
            believed
                .ranges()
                .iter()
                .for_each(|&range| group.seqs.remove(range));
        }
        Accepted {
            seqs: believed,
            never_sent,
        }
    }

    /// The store is another one than before: what was settled there is not settled. Everything held
    /// is offered again except what `under_way` and the put-off groups still cover.
    pub fn forget_settled(&mut self, under_way: impl Fn(Stream) -> SeqSet) {
        for state in &mut self.streams {
            state.covered = under_way(state.stream);
            state.covered.union(&state.let_go);
        }
        for group in &self.deferred {
            let state = self.streams.iter_mut().find(|s| s.stream == group.stream);
            if let Some(state) = state {
                state.covered.union(&group.seqs);
            }
        }
    }

    /// Everything held of `stream`.
    #[must_use]
    pub fn held_of(&self, stream: Stream) -> Option<SeqRange> {
        self.streams.iter().find(|s| s.stream == stream)?.held
    }

    /// Streams of `lane`, oldest epoch first.
    pub fn streams_of(&self, lane: Lane) -> impl Iterator<Item = Stream> {
        let streams = self.streams.iter().map(|state| state.stream);
        streams.filter(move |stream| stream.lane == lane)
    }

    fn state(&mut self, stream: Stream) -> Option<&mut State> {
        self.streams.iter_mut().find(|s| s.stream == stream)
    }
}

const fn stream_of(held: &Held) -> Stream {
    Stream {
        epoch: held.epoch,
        lane: held.lane,
    }
}

impl State {
    fn set_held(&mut self, entry: &Held) {
        self.held = SeqRange::new(entry.first, entry.last);
        // Below the lowest held one nothing is offered: no need to remember it.
        let below = entry.first.max(1) - 1;
        let below = if self.held.is_none() {
            entry.last
        } else {
            below
        };
        if let Some(range) = SeqRange::new(1, below) {
            if self
                .covered
                .ranges()
                .first()
                .is_some_and(|r| r.first() <= below)
            {
                self.covered.remove(range);
            }
            if self
                .handed
                .ranges()
                .first()
                .is_some_and(|r| r.first() <= below)
            {
                self.handed.remove(range);
            }
        }
    }

    fn part_live(&mut self, now: Instant) {
        let last = self.held.map_or(0, SeqRange::last);
        // An empty spool keeps its place: the next append is live in any case.
        if last > 0 {
            self.live_from = last.saturating_add(1);
        }
        self.mark = (last, now);
    }

    /// The first run to offer, live or backlog.
    fn run(&self, live: bool) -> Option<SeqRange> {
        let held = self.held?;
        let part = if live {
            SeqRange::new(held.first().max(self.live_from), held.last())
        } else {
            SeqRange::new(
                held.first(),
                held.last().min(self.live_from.saturating_sub(1)),
            )
        }?;
        let run = self.first_missing(part)?;
        let extends = run.first() == held.first() || self.covered.contains(run.first() - 1);
        let bounded = self.covered.ranges().len() + 1 >= MAX_RANGES;
        (extends || !bounded).then_some(run)
    }

    /// As `covered.missing_in(range)`, the first range alone and without building the rest.
    fn first_missing(&self, range: SeqRange) -> Option<SeqRange> {
        let ranges = self.covered.ranges();
        let at = ranges.partition_point(|held| held.last() < range.first());
        let mut first = range.first();
        for held in ranges.get(at..).unwrap_or_default() {
            if held.first() > first {
                return SeqRange::new(first, range.last().min(held.first() - 1));
            }
            first = held.last().checked_add(1)?;
        }
        SeqRange::new(first, range.last())
    }
}

#[cfg(test)]
impl Tracker {
    /// Ranges of the cursor that the cloud would have once everything under way is stored.
    pub(crate) fn ranges(&self, stream: Stream) -> usize {
        let state = self.streams.iter().find(|s| s.stream == stream).unwrap();
        state.covered.ranges().len()
    }
}

/// The set `first..=last`, for tests and callers that know the ends are in order.
#[must_use]
pub fn seqs(first: Seq, last: Seq) -> SeqSet {
    SeqRange::new(first, last).map(set_of).unwrap_or_default()
}

#[cfg(test)]
mod tests;
