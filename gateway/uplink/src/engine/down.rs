//! What the cloud says: acknowledgements, hints, hello answers.
//!
//! Sets are united and never shrink. An acknowledgement of another store generation than the known
//! one settles nothing: only the answer to our own hello moves the generation, because a late message
//! of the store before its restore vouches for data that the restored one never had.

use super::{Engine, Stream};
use crate::window::Phase;
use protocols_model::{Instant, RefuseReason, SeqSet};
use protocols_wire::{Ack, AckItem, Down, HelloAnswer, RetryLater, RetryReason};
use std::time::Duration;

/// Shortest and longest span that a hint may put records off.
const RETRY_SPAN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// Longest span that a busy cloud may put a lane off: it says so again where it has to.
const BUSY_SPAN: Duration = Duration::from_secs(60);
/// Longest span that a lacking dictionary may put records off: we hold it, so it can go soon.
const DICTIONARY_SPAN: Duration = Duration::from_secs(60);

impl Engine {
    /// A message on the acknowledgement topic.
    pub fn down(&mut self, payload: &[u8], now: Instant) {
        match Down::decode(payload) {
            Ok(Down::Ack(ack)) => self.ack(&ack, now),
            Ok(Down::HelloAnswer(answer)) => self.answer(&answer, now),
            Err(error) => {
                self.counters.unreadable += 1;
                tracing::warn!(%error, bytes = payload.len(), "acknowledgement ignored");
            }
        }
    }

    fn ack(&mut self, ack: &Ack, now: Instant) {
        match self.generation {
            Some(known) if known != ack.generation => {
                self.hellos.ask_at_once();
                return;
            }
            Some(_) => {}
            None => self.generation = Some(ack.generation),
        }
        self.pace.told(ack.pace, now);
        let before = self.counters.settled + self.counters.refused;
        for item in &ack.items {
            self.ack_item(item, now);
        }
        if self.counters.settled + self.counters.refused > before {
            self.hellos.progress();
        }
    }

    fn ack_item(&mut self, item: &AckItem, now: Instant) {
        let stream = Stream {
            epoch: item.epoch,
            lane: item.lane,
        };
        self.settle(stream, &item.stored, None, now);
        for &(range, reason) in &item.refused {
            self.settle(stream, &crate::window::set_of(range), Some(reason), now);
        }
        for hint in &item.retry {
            self.retry_later(stream, hint, now);
        }
    }

    /// Put off what is under way of the range; what is not under way needs no hint.
    fn retry_later(&mut self, stream: Stream, hint: &RetryLater, now: Instant) {
        let seqs = self.window.of(stream).held_in(hint.range);
        if seqs.is_empty() {
            return;
        }
        self.drop_out(stream, &seqs);
        let span = hint.after.clamp(RETRY_SPAN.0, RETRY_SPAN.1);
        match hint.reason {
            RetryReason::UnknownDictionary(hash) => {
                self.known.unknown(hash);
                let until = now.plus(span.min(DICTIONARY_SPAN));
                self.tracker.defer(stream, seqs, until);
            }
            RetryReason::Quota | RetryReason::NewerVersion | RetryReason::SlowDown => {
                let busy = hint.reason == RetryReason::SlowDown;
                let span = if busy { span.min(BUSY_SPAN) } else { span };
                // The whole lane: what comes next would meet the same answer.
                self.tracker.pause(stream.lane, now.plus(span));
                self.tracker.give_up(stream, &seqs);
            }
        }
        // The cloud is there and answers, even if it stores nothing of this.
        self.hellos.progress();
    }

    fn answer(&mut self, answer: &HelloAnswer, now: Instant) {
        let asked = self.hellos.answered(answer.nonce);
        self.pace.told(answer.pace, now);
        if self.generation != Some(answer.generation) {
            if asked.is_none() {
                self.hellos.ask_at_once();
                return;
            }
            if self.generation.is_some() {
                tracing::warn!("the cloud's store is another one: offering what is held again");
                self.new_generation();
            }
            self.generation = Some(answer.generation);
        }
        if asked.is_some() && self.generation_told != Some(answer.generation) {
            self.generation_told = Some(answer.generation);
            self.generation_news = self.generation_told;
        }
        let before = self.counters.settled;
        for state in &answer.epochs {
            let stream = Stream {
                epoch: state.epoch,
                lane: state.lane,
            };
            self.settle(stream, &state.settled, None, now);
            // Of the running epoch the cloud refuses record by record; older ones end here.
            if state.closed && state.epoch != self.options.epoch {
                self.refuse_held(stream, &state.settled, now);
            }
        }
        if self.counters.settled > before {
            self.hellos.progress();
        }
        let Some(asked) = asked else { return };
        for hash in std::mem::take(&mut self.asked_dictionaries) {
            if answer.missing_dictionaries.contains(&hash) {
                self.known.unknown(hash);
            } else {
                self.known.known(hash);
            }
        }
        self.resend_missing(asked, answer.stream_pending, now);
        if self.roll.goes_on() {
            self.hellos.ask_at_once();
        }
    }

    fn refuse_held(&mut self, stream: Stream, settled: &SeqSet, now: Instant) {
        let Some(held) = self.tracker.held_of(stream) else {
            return;
        };
        let closed = settled.missing_in(held);
        self.settle(stream, &closed, Some(RefuseReason::EpochClosed), now);
    }

    /// What was handed over before the hello and is not settled in the answer is missing: unless the
    /// broker took it and ingest is still behind, it goes again. (A hello that does not name all epochs
    /// names those of everything that is under way.)
    fn resend_missing(&mut self, asked: Instant, pending: u64, now: Instant) {
        let patience = self.hellos.times().resend_anyway;
        self.send_again(|open| match open.phase {
            Phase::Sending => false,
            Phase::Unsure => open.handed_at <= asked,
            Phase::Taken(at) => at <= asked && (pending == 0 || now.since(at) > patience),
        });
    }

    fn new_generation(&mut self) {
        // Confirmations of the old store that the spool has not been told yet are void.
        self.settled.clear();
        self.known.forget();
        let window = &self.window;
        self.tracker.forget_settled(|stream| window.of(stream));
    }

    /// Raises the identity count: somebody else acts under this name, or the cloud mixes gateways up.
    pub fn identity_alarm(&mut self) {
        self.counters.identity += 1;
    }
}
