//! When to tell a gateway what was settled. Pure.
//!
//! One acknowledgement per gateway unites what several commits settled: the first goes at once,
//! further ones at least [`SPACING`] after it, which keeps every one of them far below the 250 ms
//! that design.md C2 allows. Receipts travel along: the broker may forget a message only when its
//! acknowledgement is on the way.

use crate::source::Receipt;
use protocols_model::{GatewayId, Instant};
use protocols_wire::AckItem;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two acknowledgements to the same gateway.
pub const SPACING: Duration = Duration::from_millis(50);

/// Gateways whose last acknowledgement is remembered; a forgotten one is at worst answered sooner.
const REMEMBERED: usize = 10_000;

/// What waits to be told.
#[derive(Debug, Default)]
pub struct AckBook {
    waiting: BTreeMap<GatewayId, Waiting>,
    last: BTreeMap<GatewayId, Instant>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<AckItem>,
    receipts: Vec<Receipt>,
}

/// An acknowledgement to send now, and the messages it settles.
#[derive(Debug, PartialEq)]
pub struct Due {
    /// To whom.
    pub gateway: GatewayId,
    /// What was settled; may be empty when only receipts are to be returned.
    pub items: Vec<AckItem>,
    /// Messages to settle at the broker afterwards.
    pub receipts: Vec<Receipt>,
}

impl AckBook {
    /// Adds what a commit settled.
    pub fn add(&mut self, gateway: GatewayId, items: Vec<AckItem>, receipt: Option<Receipt>) {
        let waiting = self.waiting.entry(gateway).or_default();
        for item in items {
            unite(&mut waiting.items, item);
        }
        waiting.receipts.extend(receipt);
    }

    /// What is due now.
    pub fn due(&mut self, now: Instant) -> Vec<Due> {
        let last = &self.last;
        let is_due = |gateway: &GatewayId| {
            last.get(gateway)
                .is_none_or(|last| now.since(*last) >= SPACING)
        };
        let ready: Vec<GatewayId> = self
            .waiting
            .keys()
            .filter(|gateway| is_due(gateway))
            .cloned()
            .collect();
        if self.last.len() >= REMEMBERED {
            self.last.retain(|_, last| now.since(*last) < SPACING);
        }
        self.take(ready, now)
    }

    /// Everything, due or not: the process stops.
    pub fn drain(&mut self, now: Instant) -> Vec<Due> {
        let all = self.waiting.keys().cloned().collect();
        self.take(all, now)
    }

    /// When the next one is due; `None` while nothing waits.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let due = |gateway| {
            let last: Option<&Instant> = self.last.get(gateway);
            last.map_or(Instant::default(), |last| last.plus(SPACING))
        };
        self.waiting.keys().map(due).min()
    }

    fn take(&mut self, gateways: Vec<GatewayId>, now: Instant) -> Vec<Due> {
        let mut all = Vec::with_capacity(gateways.len());
        for gateway in gateways {
            let Some(Waiting { items, receipts }) = self.waiting.remove(&gateway) else {
                continue;
            };
            self.last.insert(gateway.clone(), now);
            all.push(Due {
                gateway,
                items,
                receipts,
            });
        }
        all
    }
}

fn unite(items: &mut Vec<AckItem>, new: AckItem) {
    let same = |item: &&mut AckItem| item.epoch == new.epoch && item.lane == new.lane;
    let Some(held) = items.iter_mut().find(same) else {
        items.push(new);
        return;
    };
    held.stored.union(&new.stored);
    for refused in new.refused {
        if !held.refused.contains(&refused) {
            held.refused.push(refused);
        }
    }
    for retry in new.retry {
        if !held.retry.contains(&retry) {
            held.retry.push(retry);
        }
    }
    // What was stored meanwhile needs no further offer.
    let stored = &held.stored;
    held.retry
        .retain(|retry| !stored.contains_range(retry.range));
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{Epoch, Lane, SeqRange, SeqSet};
    use protocols_wire::{RetryLater, RetryReason};

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    fn gw() -> GatewayId {
        GatewayId::try_new("a").unwrap()
    }

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange::new(first, last).unwrap()
    }

    fn stored(first: u64, last: u64) -> AckItem {
        AckItem {
            epoch: Epoch(1),
            lane: Lane::Telemetry,
            stored: SeqSet::from_iter([range(first, last)]),
            refused: vec![],
            retry: vec![],
        }
    }

    fn receipt(n: u32) -> Option<Receipt> {
        Some(Receipt(n.to_string()))
    }

    #[test]
    fn the_first_goes_at_once_and_the_next_ones_together() {
        let mut book = AckBook::default();
        book.add(gw(), vec![stored(1, 1)], receipt(1));
        assert_eq!(book.due(at(1000)).len(), 1);
        book.add(gw(), vec![stored(2, 2)], receipt(2));
        book.add(gw(), vec![stored(3, 4)], receipt(3));
        assert!(book.due(at(1049)).is_empty());
        assert_eq!(book.next_due(), Some(at(1050)));
        let due = book.due(at(1050));
        assert_eq!(due[0].items, [stored(2, 4)]);
        assert_eq!(due[0].receipts.len(), 2);
        assert_eq!(book.next_due(), None);
    }

    #[test]
    fn one_gateway_never_waits_for_another() {
        let mut book = AckBook::default();
        book.add(gw(), vec![stored(1, 1)], None);
        book.due(at(0));
        book.add(gw(), vec![stored(2, 2)], None);
        let other = GatewayId::try_new("b").unwrap();
        book.add(other.clone(), vec![stored(1, 1)], None);
        let due = book.due(at(10));
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].gateway, other);
    }

    #[test]
    fn a_hint_to_retry_is_dropped_once_the_record_is_stored() {
        let mut book = AckBook::default();
        let mut hint = stored(5, 5);
        hint.stored = SeqSet::new();
        hint.retry.push(RetryLater {
            range: range(5, 5),
            reason: RetryReason::SlowDown,
            after: Duration::from_secs(1),
        });
        book.add(gw(), vec![hint], None);
        book.add(gw(), vec![stored(5, 5)], None);
        let due = book.drain(at(0));
        assert_eq!(due[0].items, [stored(5, 5)]);
    }
}
