//! From fetched records to a publish: which of them may go, which dictionaries go along.
//!
//! Whatever cannot be packed is put off or refused by name and never stands in the way of what is
//! behind it.

use super::{Ask, Engine, Fetched, Publish};
use crate::lanes::Class;
use crate::window::{Open, Phase};
use bytes::Bytes;
use protocols_model::{DictionaryHash, Instant, RefuseReason, SeqRange};
use protocols_wire::limits::MAX_ENVELOPE_DICTIONARIES;
use protocols_wire::{EncodeError, Topic, encode_envelope};
use std::time::Duration;

/// Bytes of framing per record or dictionary, as an upper bound.
const PART_OVERHEAD: usize = 48;
/// When what the spool did not give out is asked for again.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(30);

impl Engine {
    /// Those dictionaries of `records` that have to be attached.
    #[must_use]
    pub fn lacking(&self, records: &[Fetched]) -> Vec<DictionaryHash> {
        let mut lacking: Vec<DictionaryHash> = Vec::new();
        for hash in records.iter().flat_map(|record| &record.dictionaries) {
            if self.known.lacks(hash)
                && !lacking.contains(hash)
                && lacking.len() < MAX_ENVELOPE_DICTIONARIES
            {
                lacking.push(*hash);
            }
        }
        lacking
    }

    /// Packs what was fetched for `ask`. `dictionaries` are those of [`Self::lacking`] that the
    /// spool has. `None` when nothing is to be sent after all.
    pub fn pack(
        &mut self,
        ask: &Ask,
        records: &[Fetched],
        dictionaries: &[(DictionaryHash, Bytes)],
        now: Instant,
    ) -> Option<Publish> {
        if !self.connected || ask.connection != self.connection {
            return None;
        }
        let run = self.usable(ask, records, now);
        let (run, kept) = self.without_lost_dictionaries(ask, run, dictionaries, now);
        let first = run.first()?.key.seq;
        let (count, payload, carried) = fit(ask, run, &kept)?;
        let Ok(payload) = payload else {
            // A single record that no envelope can carry: set aside by name, never in the way.
            let range = SeqRange::one(first)?;
            self.settle_refused(ask.stream, range, RefuseReason::TooLarge, now);
            return None;
        };
        let last = first + u64::try_from(count).unwrap_or(1).saturating_sub(1);
        let range = SeqRange::new(first, last)?;
        self.hand(ask, range, &payload, carried, now);
        Some(Publish {
            topic: self.topic(ask.class),
            payload,
        })
    }

    /// The longest run of fetched records that may still be sent; what the spool did not give out is
    /// put off.
    fn usable<'a>(&mut self, ask: &Ask, records: &'a [Fetched], now: Instant) -> &'a [Fetched] {
        let wanted = |record: &Fetched| {
            record.key.epoch == ask.stream.epoch
                && record.key.lane == ask.stream.lane
                && ask.range.contains(record.key.seq)
        };
        let start = records.iter().position(&wanted);
        let found = start.and_then(|start| records.get(start..)).unwrap_or(&[]);
        let first = found.first().map(|record| record.key.seq);
        let gone = match first {
            Some(first) => SeqRange::new(ask.range.first(), first - 1),
            None => Some(ask.range),
        };
        if let Some(gone) = gone {
            self.tracker.gone(ask.stream, gone, now.plus(ASK_AGAIN));
        }
        let Some(first) = first else { return &[] };
        let free = self.tracker.uncovered(ask.stream, ask.range);
        let fits = |(place, record): &(u64, &Fetched)| {
            wanted(record)
                && record.key.seq == first.saturating_add(*place)
                && free.contains(record.key.seq)
        };
        let count = (0u64..).zip(found).take_while(fits).count();
        found.get(..count).unwrap_or(&[])
    }

    /// Cuts the run before a record whose dictionary the cloud lacks and the spool does not have:
    /// sending it would be in vain. It is put off, what is behind it goes its way.
    fn without_lost_dictionaries<'a, 'd>(
        &mut self,
        ask: &Ask,
        run: &'a [Fetched],
        dictionaries: &'d [(DictionaryHash, Bytes)],
        now: Instant,
    ) -> (&'a [Fetched], Vec<&'d (DictionaryHash, Bytes)>) {
        let lost = |hash: &DictionaryHash| {
            self.known.missed(hash) && !dictionaries.iter().any(|(have, _)| have == hash)
        };
        let end = run.iter().position(|r| r.dictionaries.iter().any(lost));
        if end == Some(0)
            && let Some(range) = run.first().and_then(|r| SeqRange::one(r.key.seq))
        {
            self.tracker.gone(ask.stream, range, now.plus(ASK_AGAIN));
        }
        let run = run.get(..end.unwrap_or(run.len())).unwrap_or(&[]);
        let used = |hash: &DictionaryHash| run.iter().any(|r| r.dictionaries.contains(hash));
        let kept = dictionaries.iter().filter(|(hash, _)| used(hash)).collect();
        (run, kept)
    }

    fn hand(
        &mut self,
        ask: &Ask,
        range: SeqRange,
        payload: &Bytes,
        dictionaries: Vec<DictionaryHash>,
        now: Instant,
    ) {
        let bytes = payload.len();
        let under_way = self.window.under_way() + bytes;
        let sample = self.rate.sent(bytes, under_way, now);
        self.rate.occupies(bytes, now);
        let size = u64::try_from(bytes).unwrap_or(0);
        if ask.class.history {
            self.pace.sent(bytes, now);
            self.counters.history_envelopes += 1;
            self.counters.history_bytes += size;
        }
        dictionaries.iter().for_each(|&h| self.known.attached(h));
        self.counters.resent += self.tracker.hand(ask.stream, range);
        self.window.hand(Open {
            stream: ask.stream,
            left: crate::window::set_of(range),
            bytes,
            history: ask.class.history,
            handed_at: now,
            phase: Phase::Sending,
            dictionaries,
            sample,
        });
        self.shares.charge(ask.class, bytes);
        self.counters.envelopes += 1;
        self.counters.records += range.count();
        self.counters.bytes += size;
    }

    fn topic(&self, class: Class) -> String {
        Topic::Up {
            gateway: self.options.gateway.clone(),
            lane: class.lane,
            history: class.history,
        }
        .to_mqtt()
    }
}

/// The longest prefix of `run` that fits the asked size, packed; and the dictionaries it carries.
/// `Err` in the middle when not even one record can be packed.
fn fit(
    ask: &Ask,
    run: &[Fetched],
    dictionaries: &[&(DictionaryHash, Bytes)],
) -> Option<(usize, Result<Bytes, EncodeError>, Vec<DictionaryHash>)> {
    let mut wanted = ask.max_bytes;
    let mut hard = ask.hard_bytes;
    let mut parts = Vec::with_capacity(run.len().min(ask.max_records));
    for record in run.iter().take(ask.max_records) {
        let size = record.body.len() + PART_OVERHEAD;
        if size > wanted && !parts.is_empty() {
            break;
        }
        wanted = wanted.saturating_sub(size);
        hard = hard.saturating_sub(size);
        parts.push((record.key, record.body.clone()));
    }
    // Dictionaries go along as far as the window allows; for the rest the cloud asks.
    let mut carried = Vec::new();
    let mut attached = Vec::new();
    for (hash, encoded) in dictionaries {
        let size = encoded.len() + PART_OVERHEAD;
        if size <= hard {
            hard -= size;
            carried.push(*hash);
            attached.push(encoded.clone());
        }
    }
    loop {
        let packed = encode_envelope(&parts, &attached);
        match packed {
            Ok(_) => return Some((parts.len(), packed, carried)),
            Err(_) if parts.len() > 1 => parts.truncate(parts.len() / 2),
            Err(_) if !attached.is_empty() => {
                attached.clear();
                carried.clear();
            }
            Err(_) => return (!parts.is_empty()).then_some((1, packed, carried)),
        }
    }
}
