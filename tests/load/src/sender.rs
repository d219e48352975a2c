//! What one simulated gateway has sent, and what it is told of it. Pure.
//!
//! Numbers its records, keeps what is not settled, says hello when acknowledgements stay away, and
//! sends again only what an answer shows as missing: the protocol as the real gateway speaks it,
//! without a spool. And it watches the cloud: whatever is settled must have been sent, and at the end
//! the cloud's word must be exactly what was sent.

use crate::batch::Shape;
use bytes::Bytes;
use protocols_model::{
    BootId, Epoch, GatewayId, Instant, Lane, RecordKey, Seq, SeqRange, SeqSet, Timestamp,
};
use protocols_wire::{
    AckItem, ClockState, Down, EncodeError, Held, Hello, HelloAnswer, RetryReason,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Something sent and unsettled for so long asks for a hello; doubling up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// All readings travel in this lane.
pub(crate) const LANE: Lane = Lane::Telemetry;

/// One gateway's side of the conversation.
#[derive(Debug)]
pub(crate) struct Sender {
    id: GatewayId,
    epoch: Epoch,
    sealed: Seq,
    open: BTreeMap<Seq, Open>,
    /// Whether the cloud may still lack the dictionary.
    attach: bool,
    nonce: u64,
    asked: Option<Instant>,
    pause: Duration,
    /// When something was settled last, and how long after it the last hello is said: all gateways
    /// together would ask more than is answered.
    settled_at: Instant,
    spread: Duration,
    confirmed: bool,
}

#[derive(Debug)]
struct Open {
    body: Bytes,
    /// When it was sent first; the acknowledgement is measured from there.
    first: Instant,
    /// When it was sent last.
    last: Instant,
}

/// What a message from the cloud meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// From sending to settling, one a record.
    pub(crate) delays: Vec<Duration>,
    /// What is to be sent again.
    pub(crate) again: Vec<Seq>,
    /// The hello is answered.
    pub(crate) answered: bool,
    /// Settlements of what was never sent, or of somebody else's.
    pub(crate) foreign: u64,
    /// Records that will never be stored.
    pub(crate) refused: u64,
    /// It could not be read at all.
    pub(crate) unreadable: bool,
}

impl Sender {
    /// A gateway that begins; its epoch is drawn by the caller, and how far from the others' its last
    /// hello lies.
    pub(crate) const fn new(id: GatewayId, epoch: Epoch, spread: Duration) -> Self {
        Self {
            id,
            epoch,
            sealed: 0,
            open: BTreeMap::new(),
            attach: true,
            nonce: 0,
            asked: None,
            pause: FIRST_PAUSE,
            settled_at: Instant(Duration::ZERO),
            spread,
            confirmed: false,
        }
    }

    /// Its id.
    pub(crate) const fn id(&self) -> &GatewayId {
        &self.id
    }

    /// Batches sealed so far.
    pub(crate) const fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Whether everything sealed is settled, and the cloud's answer to a later hello said so too.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.open.is_empty() && self.confirmed
    }

    /// Seals a batch; it is to be sent now.
    pub(crate) fn seal(
        &mut self,
        shape: &Shape,
        now: Instant,
        wall: Timestamp,
    ) -> anyhow::Result<Seq> {
        let number = u32::try_from(self.sealed)?;
        let sealed = shape.seal(BootId(self.epoch.0), now, wall, number)?;
        self.sealed += 1;
        self.confirmed = false;
        let open = Open {
            body: sealed.body,
            first: now,
            last: now,
        };
        self.open.insert(self.sealed, open);
        Ok(self.sealed)
    }

    /// The records of some seqs, as they are put into an envelope, and whether the dictionary goes
    /// with them. What was settled meanwhile is left out.
    pub(crate) fn take(&mut self, seqs: &[Seq], now: Instant) -> (Vec<(RecordKey, Bytes)>, bool) {
        let mut records = Vec::with_capacity(seqs.len());
        for &seq in seqs {
            let Some(open) = self.open.get_mut(&seq) else {
                continue;
            };
            open.last = now;
            let key = RecordKey {
                epoch: self.epoch,
                lane: LANE,
                seq,
            };
            records.push((key, open.body.clone()));
        }
        (records, self.attach)
    }

    /// A connection stands: what was under way on the one before is told by the answer.
    pub(crate) const fn connected(&mut self) {
        self.asked = None;
        self.pause = FIRST_PAUSE;
    }

    /// When the next hello is due; `None` while nothing is unsettled or unconfirmed.
    pub(crate) fn hello_due(&self, finishing: bool) -> Option<Instant> {
        let Some(asked) = self.asked else {
            return Some(Instant::default());
        };
        if finishing && self.open.is_empty() && !self.confirmed {
            // A hello of before the last settlement says nothing of it: one more.
            let first = self.settled_at.plus(self.spread);
            return Some(if asked < self.settled_at {
                first
            } else {
                asked.plus(self.pause)
            });
        }
        let oldest = self.open.values().map(|open| open.last).min()?;
        Some(oldest.plus(FIRST_PAUSE).max(asked.plus(self.pause)))
    }

    /// Says hello.
    pub(crate) fn hello(
        &mut self,
        shape: &Shape,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Bytes, EncodeError> {
        if self.asked.is_some() {
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        self.asked = Some(now);
        self.nonce += 1;
        let held = Held {
            epoch: self.epoch,
            lane: LANE,
            first: self.open.keys().next().copied().unwrap_or(0),
            last: self.sealed,
        };
        let hello = Hello {
            versions: vec![u32::from(protocols_wire::ENVELOPE_VERSION)],
            nonce: self.nonce,
            boot: BootId(self.epoch.0),
            epoch: self.epoch,
            held: vec![held],
            partial: false,
            dictionaries: vec![shape.dictionary().hash()],
            clock: ClockState {
                synced: true,
                wall,
                mono: now.0,
            },
            loss_window: Duration::from_secs(1),
            spool_bytes: 0,
            spool_quota_bytes: 0,
            software: "load".to_owned(),
            config_revision: String::new(),
        };
        hello.encode()
    }

    /// Takes in what came from the cloud.
    pub(crate) fn heard(&mut self, payload: &[u8], now: Instant) -> Heard {
        let mut heard = Heard::default();
        match Down::decode(payload) {
            Ok(Down::Ack(ack)) => {
                for item in &ack.items {
                    self.acknowledged(item, now, &mut heard);
                }
            }
            Ok(Down::HelloAnswer(answer)) => self.answered(&answer, now, &mut heard),
            Err(_) => heard.unreadable = true,
        }
        heard
    }

    fn acknowledged(&mut self, item: &AckItem, now: Instant, heard: &mut Heard) {
        if item.epoch != self.epoch || item.lane != LANE {
            heard.foreign += item.stored.count().max(1);
            return;
        }
        self.settle(&item.stored, now, heard);
        for (range, _reason) in &item.refused {
            heard.refused += range.count();
            self.forget(*range);
        }
        for retry in &item.retry {
            self.attach |= matches!(retry.reason, RetryReason::UnknownDictionary(_));
            let asked = self.open.range(retry.range.first()..=retry.range.last());
            heard.again.extend(asked.map(|(seq, _)| *seq));
        }
    }

    fn answered(&mut self, answer: &HelloAnswer, now: Instant, heard: &mut Heard) {
        heard.answered = true;
        self.attach = !answer.missing_dictionaries.is_empty();
        let asked = self.asked.unwrap_or_default();
        let mut settled = SeqSet::new();
        for state in &answer.epochs {
            if state.epoch != self.epoch || state.lane != LANE {
                heard.foreign += state.settled.count().max(1);
                continue;
            }
            self.settle(&state.settled, now, heard);
            settled = state.settled.clone();
        }
        self.confirmed = settled.count() == self.sealed && settled.watermark() == self.sealed;
        // What is settled stays so, whichever hello asked; what is missing only the last answer knows.
        if answer.stream_pending == 0 && answer.nonce == self.nonce {
            // Nothing is under way: what was sent before the question and is not there got lost.
            let missing = self.open.iter().filter(|(_, open)| open.last < asked);
            heard.again.extend(missing.map(|(seq, _)| *seq));
        }
    }

    fn settle(&mut self, stored: &SeqSet, now: Instant, heard: &mut Heard) {
        for range in stored.ranges() {
            if range.last() > self.sealed {
                heard.foreign += range.last() - self.sealed;
            }
            let gone = self.forget(*range);
            let delays = gone.iter().map(|open| now.since(open.first));
            heard.delays.extend(delays);
        }
        if !heard.delays.is_empty() {
            self.attach = false;
            self.pause = FIRST_PAUSE;
            self.settled_at = now;
        }
    }

    fn forget(&mut self, range: SeqRange) -> Vec<Open> {
        let held = self.open.range(range.first()..=range.last());
        let seqs: Vec<Seq> = held.map(|(seq, _)| *seq).collect();
        seqs.iter()
            .filter_map(|seq| self.open.remove(seq))
            .collect()
    }
}

#[cfg(test)]
mod tests;
