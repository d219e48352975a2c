//! The uplink's core: everything that has to do with order, time and loss, without I/O.
//!
//! The task ([`crate::run`]) tells it what happened (spool changed, connected, PUBACK, message from
//! the cloud) and asks what to do next (records to fetch, envelope to publish, hello, settlement).
//! Guarantees: what is known to be settled is never sent again; whatever is not settled is offered
//! until it is; a settlement names only what the cloud (or, by configuration, the broker) confirmed
//! and the spool holds; the window is never exceeded.

use self::pack::ASK_AGAIN;
use crate::ack_window::AckWindow;
use crate::delay::Delays;
use crate::hello::{HelloTimes, Hellos};
use crate::known::KnownDictionaries;
use crate::lanes::{Class, Shares};
use crate::pace::Pace;
use crate::rate::{Flight, LinkRate};
use crate::roll::{Named, Roll};
use crate::tracker::Tracker;
use crate::window::{Open, Phase, Stream, Unpaired, Window, WindowLimits};
use bytes::Bytes;
use protocols_model::{
    DictionaryHash, Epoch, GatewayId, Instant, Lane, RecordKey, RefuseReason, SeqRange, SeqSet,
};
use protocols_wire::Held;
use protocols_wire::limits::{MAX_ENVELOPE_BYTES, MAX_ENVELOPE_RECORDS};
use std::collections::BTreeMap;
use std::time::Duration;

mod down;
mod pack;

/// What makes records that have their PUBACK leave the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// The cloud's store acknowledgement.
    #[default]
    Store,
    /// The broker's PUBACK, for a foreign broker without our ingest. What the broker loses, and what
    /// its ACL throws away while it PUBACKs, is lost and appears in no ledger.
    Broker,
}

/// How the core behaves.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Whose records.
    pub gateway: GatewayId,
    /// The epoch that records appended now get.
    pub epoch: Epoch,
    /// What confirms.
    pub confirm: Confirm,
    /// Bounds of what is under way.
    pub window: WindowLimits,
    /// Spans of the hello rules.
    pub hello: HelloTimes,
    /// Whether an uplink before this one has sent records of the same epoch.
    pub inherits: bool,
    /// A PUBACK later than this ends the connection.
    pub puback_timeout: Duration,
}

/// Records to fetch and pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// For which class.
    pub class: Class,
    /// Of which stream.
    pub stream: Stream,
    /// Which seqs, at most.
    pub range: SeqRange,
    /// Most bytes of bodies, but for the first record.
    pub max_bytes: usize,
    /// Most bytes of bodies and dictionaries.
    hard_bytes: usize,
    /// Most records.
    pub max_records: usize,
    connection: u64,
}

/// A record as the spool gave it out.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its identity.
    pub key: RecordKey,
    /// Its bytes.
    pub body: Bytes,
    /// The dictionaries it uses.
    pub dictionaries: Vec<DictionaryHash>,
}

/// A publish that the broker has to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The envelope.
    pub payload: Bytes,
}

/// What the spool has to be told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settled {
    /// Confirmed.
    pub stored: SeqSet,
    /// Refused for ever.
    pub refused: Vec<(SeqRange, RefuseReason)>,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Envelopes handed to the link.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records handed to the link.
    pub records: u64,
    /// Records handed over once more.
    pub resent: u64,
    /// Records confirmed.
    pub settled: u64,
    /// Records refused.
    pub refused: u64,
    /// Seqs acknowledged that were never sent, and other signs of a second bearer of the identity.
    pub identity: u64,
    /// Messages from the cloud that could not be read.
    pub unreadable: u64,
    /// Hellos said.
    pub hellos: u64,
    /// Envelopes of backlog among the envelopes.
    pub history_envelopes: u64,
    /// Their bytes.
    pub history_bytes: u64,
}

/// After an outage backlog begins within this part of its length, at random: a fleet that lost its broker
/// together does not come back with all its backlog at once.
const SPREAD_PART: u32 = 4;
/// It never waits longer.
const SPREAD_MOST: Duration = Duration::from_secs(10);

/// Bytes of an envelope that are not its parts: header, and room for content that does not compress.
const fn framing(envelope: usize) -> usize {
    512 + envelope / 128
}

/// The core.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    tracker: Tracker,
    window: Window,
    hellos: Hellos,
    shares: Shares,
    rate: LinkRate,
    known: KnownDictionaries,
    /// How much backlog the cloud settles soon, and how fast it wants it.
    acks: AckWindow,
    pace: Pace,
    /// When backlog may go that may not go yet, as of the last look.
    turn: Option<Instant>,
    /// Since when there has been no connection, after there was one.
    down_since: Option<Instant>,
    delays: Delays,
    counters: Counters,
    settled: BTreeMap<Stream, Settled>,
    generation: Option<u64>,
    /// A generation that the spool has not been told; and the one that it was.
    generation_news: Option<u64>,
    generation_told: Option<u64>,
    asked_dictionaries: Vec<DictionaryHash>,
    /// Which epochs the hellos name.
    roll: Roll,
    connection: u64,
    connected: bool,
}

impl Engine {
    /// A core that knows nothing yet.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let mut tracker = Tracker::new(options.epoch);
        if options.inherits {
            tracker.inherit();
        }
        Self {
            tracker,
            window: Window::new(options.window),
            acks: AckWindow::new(options.window.max_bytes / 4 * 3),
            pace: Pace::default(),
            turn: None,
            down_since: None,
            hellos: Hellos::new(options.hello),
            shares: Shares::default(),
            rate: LinkRate::default(),
            known: KnownDictionaries::default(),
            delays: Delays::default(),
            counters: Counters::default(),
            settled: BTreeMap::new(),
            generation: None,
            generation_news: None,
            generation_told: None,
            asked_dictionaries: Vec::new(),
            roll: Roll::default(),
            connection: 0,
            connected: false,
            options,
        }
    }

    /// The spool holds something else than before.
    pub fn spool(&mut self, held: &[Held], now: Instant) {
        self.tracker.held(held, now);
        // What the spool gave up need not be confirmed any more (evicted and claimed).
        let lost: Vec<(Stream, SeqSet)> = self
            .window
            .iter()
            .filter_map(|open| {
                let last = open.left.last();
                let held = self.tracker.held_of(open.stream);
                let gone = held.map_or(last, |range| range.first() - 1).min(last);
                let below = SeqRange::new(1, gone)?;
                let gone = open.left.held_in(below);
                (!gone.is_empty()).then_some((open.stream, gone))
            })
            .collect();
        for (stream, gone) in lost {
            self.drop_out(stream, &gone);
        }
    }

    /// Of the running epoch the spool holds these no more, by lane number: settled, or thinned or evicted
    /// and claimed.
    pub fn let_go(&mut self, gone: &[SeqSet; 4]) {
        for (lane, gone) in Lane::ALL.into_iter().zip(gone) {
            let stream = Stream {
                epoch: self.options.epoch,
                lane,
            };
            self.tracker.let_go(stream, gone);
            if gone.is_empty() {
                continue;
            }
            let under_way = self.window.of(stream);
            let ranges = gone.ranges().iter();
            for lost in ranges.map(|&range| under_way.held_in(range)) {
                if !lost.is_empty() {
                    self.drop_out(stream, &lost);
                }
            }
        }
    }

    /// A connection stands.
    pub fn connected(&mut self, now: Instant) {
        self.connected = true;
        self.connection += 1;
        self.rate.connected();
        self.acks.connected();
        self.tracker.connected(now);
    }

    /// The cloud's answers can be heard: hello is due. `random` is uniform in 0..1 and says when, after an
    /// outage, backlog begins.
    pub fn subscribed(&mut self, now: Instant, random: f64) {
        let down = self.down_since.take();
        if self.options.confirm == Confirm::Store {
            let outage = down.map_or(Duration::ZERO, |since| now.since(since));
            let most = (outage / SPREAD_PART).min(SPREAD_MOST);
            self.roll.begin();
            let spread = most.mul_f64(random.clamp(0.0, 1.0));
            self.hellos.connected(now, spread);
        }
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, now: Instant) {
        if let Some(since) = self.window.waiting_since() {
            self.rate.lost(now.since(since));
        }
        if self.connected {
            self.down_since.get_or_insert(now);
        }
        self.connected = false;
        self.connection += 1;
        self.window.disconnected();
        self.hellos.disconnected();
        if self.options.confirm == Confirm::Broker {
            self.send_again(|_| true);
        }
    }

    /// The link gave the next handed envelope this packet id.
    ///
    /// # Errors
    /// [`Unpaired`]: the connection has to go.
    pub fn sent(&mut self, packet: u16) -> Result<(), Unpaired> {
        self.window.paired(packet)
    }

    /// A PUBACK came.
    pub fn puback(&mut self, packet: u16, now: Instant) {
        let Some((stream, left, bytes, sample)) = self.window.taken(packet, now) else {
            return;
        };
        self.rate.taken(sample, bytes, now);
        if self.window.under_way() == 0 {
            self.rate.quiet(now);
        }
        if self.options.confirm == Confirm::Broker {
            self.settle(stream, &left, None, now);
        }
    }

    /// What to fetch next, if anything may be sent now.
    pub fn ask(&mut self, now: Instant) -> Option<Ask> {
        self.tracker.tick(now);
        self.turn = None;
        if !self.connected {
            return None;
        }
        let flight = Flight {
            unsettled: self.acks.bytes(),
            ..self.rate.flight(now)
        };
        let open = self.options.confirm == Confirm::Broker || self.hellos.history_open(now);
        let slowed = self.pace.waits_until(now);
        let class = self.shares.next(|class| {
            (!class.history || (open && slowed.is_none()))
                && self.window.room(class.history, flight).is_some()
                && self.tracker.candidate(class).is_some()
        });
        let Some(class) = class else {
            self.turn = slowed.or_else(|| self.rate.next_turn());
            return None;
        };
        let (stream, range) = self.tracker.candidate(class)?;
        let room = self.window.room(class.history, flight)?;
        let hard = room.hard.min(MAX_ENVELOPE_BYTES);
        let mut wanted = room.wanted.min(self.rate.max_envelope()).min(hard);
        if class.history {
            wanted = wanted.min(self.pace.max_envelope(now));
        }
        let records = usize::try_from(range.count()).unwrap_or(usize::MAX);
        Some(Ask {
            class,
            stream,
            range,
            max_bytes: wanted.saturating_sub(framing(wanted)),
            hard_bytes: hard.saturating_sub(framing(hard)),
            max_records: records.min(MAX_ENVELOPE_RECORDS),
            connection: self.connection,
        })
    }

    /// Whether a hello has to be said now.
    pub fn hello_due(&mut self, now: Instant) -> bool {
        self.connected && self.hellos.poll(self.window.unsettled_since(), now)
    }

    /// The epochs that the next hello names: all of `held`, or as many as a hello may, the running one
    /// and those of what is under way among them.
    pub fn name_epochs(&mut self, held: &[Held]) -> Named {
        let under_way = self.window.iter().map(|open| open.stream.epoch);
        let always = std::iter::once(self.options.epoch).chain(under_way);
        self.roll.name(held, &always.collect())
    }

    /// A hello that names `dictionaries` goes out: its nonce.
    pub fn say_hello(&mut self, dictionaries: Vec<DictionaryHash>, now: Instant) -> u64 {
        self.asked_dictionaries = dictionaries;
        self.counters.hellos += 1;
        self.hellos.say(now)
    }

    /// Whether the cloud has just become silent; true once per silence.
    pub fn store_away_now(&mut self, now: Instant) -> bool {
        self.hellos.away_now(self.window.unsettled_since(), now)
    }

    /// Whether a PUBACK is overdue: the connection has to go.
    #[must_use]
    pub fn stalled(&self, now: Instant) -> bool {
        self.window
            .waiting_since()
            .is_some_and(|since| now.since(since) >= self.options.puback_timeout)
    }

    /// When the core has to be asked again although nothing happened.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.connected {
            return None;
        }
        let stall = self.window.waiting_since();
        // What has opened stays open: only what lies ahead wakes anybody.
        let ahead = |at: &Instant| *at > now;
        [
            stall.map(|since| since.plus(self.options.puback_timeout)),
            self.hellos.due(self.window.unsettled_since()),
            self.hellos.history_opens().filter(ahead),
            self.turn.filter(ahead),
            self.tracker.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A store generation that the spool has to be told: after every settlement taken so far, before
    /// the next one.
    pub fn take_generation(&mut self) -> Option<u64> {
        self.generation_news.take()
    }

    /// The next thing to tell the spool.
    pub fn take_settled(&mut self) -> Option<(Stream, Settled)> {
        self.settled.pop_first()
    }

    fn settle(
        &mut self,
        stream: Stream,
        seqs: &SeqSet,
        refused: Option<RefuseReason>,
        now: Instant,
    ) {
        let accepted = self.tracker.settle(stream, seqs);
        self.counters.identity += u64::from(accepted.never_sent > 0);
        if accepted.seqs.is_empty() {
            return;
        }
        let entry = self.settled.entry(stream).or_default();
        let ranges = accepted.seqs.ranges().iter();
        match refused {
            None => entry.stored.union(&accepted.seqs),
            Some(reason) => entry.refused.extend(ranges.map(|&range| (range, reason))),
        }
        let closed = self.close(stream, &accepted.seqs, now);
        match refused {
            None => self.counters.settled += closed,
            Some(_) => self.counters.refused += accepted.seqs.count(),
        }
    }

    fn settle_refused(
        &mut self,
        stream: Stream,
        range: SeqRange,
        reason: RefuseReason,
        now: Instant,
    ) {
        let entry = self.settled.entry(stream).or_default();
        entry.refused.push((range, reason));
        self.tracker.gone(stream, range, now.plus(ASK_AGAIN));
        self.counters.refused += range.count();
    }

    /// Takes settled records out of the window; returns how many were under way.
    fn close(&mut self, stream: Stream, seqs: &SeqSet, now: Instant) -> u64 {
        let before = self.window.records();
        for open in self.window.take_out(stream, seqs) {
            // What lost its connection tells how long that was away.
            if open.phase != Phase::Unsure {
                self.delays.add(now.since(open.handed_at));
            }
            let delay = match open.phase {
                Phase::Taken(at) => Some(now.since(at)),
                // The cloud was quicker than the PUBACK.
                Phase::Sending => Some(Duration::ZERO),
                Phase::Unsure => None,
            };
            if let Some(delay) = delay.filter(|_| open.history) {
                self.acks.settled(open.bytes, delay, now);
            }
            open.dictionaries.iter().for_each(|&h| self.known.known(h));
        }
        before.saturating_sub(self.window.records())
    }

    /// Takes records out of the window that nobody confirmed.
    fn drop_out(&mut self, stream: Stream, seqs: &SeqSet) {
        for open in self.window.take_out(stream, seqs) {
            open.dictionaries
                .iter()
                .for_each(|h| self.known.given_up(h));
        }
    }

    fn send_again(&mut self, lost: impl FnMut(&Open) -> bool) {
        for open in self.window.give_up(lost) {
            self.tracker.give_up(open.stream, &open.left);
            open.dictionaries
                .iter()
                .for_each(|h| self.known.given_up(h));
        }
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The window, to look at.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// Settling delays, median and 99th percentile.
    #[must_use]
    pub fn delays(&self) -> Option<(Duration, Duration)> {
        self.delays.quantiles()
    }

    /// Bytes a second that the link is thought to carry.
    #[must_use]
    pub fn link_bytes_per_second(&self) -> u64 {
        u64::try_from(self.rate.max_envelope()).unwrap_or(u64::MAX)
    }

    /// Bytes of backlog that may be unsettled now.
    #[must_use]
    pub const fn history_window(&self) -> usize {
        self.acks.bytes()
    }

    /// The cloud's wish, as far as it is obeyed: bytes of backlog a second, and hints so far.
    #[must_use]
    pub fn slowed(&self, now: Instant) -> (Option<u64>, u64) {
        (self.pace.bytes_per_second(now), self.pace.hints())
    }

    /// A cap for the send buffer of the next connection.
    #[must_use]
    pub fn send_buffer(&self) -> u32 {
        self.rate.send_buffer()
    }

    /// Whether the cloud behind the broker is silent.
    #[must_use]
    pub const fn store_away(&self) -> bool {
        self.hellos.away()
    }

    /// The epochs of `lane` in the order the spool lists them, oldest first.
    pub fn streams_of(&self, lane: Lane) -> impl Iterator<Item = Stream> {
        self.tracker.streams_of(lane)
    }
}

#[cfg(test)]
mod tests;
