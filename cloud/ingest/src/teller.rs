//! Tells gateways what was settled, then the broker. One task owns the book.
//!
//! Order: commit, acknowledgement, receipt. A crash in between has the message delivered again, the
//! store finds it covered, and the acknowledgement is repeated.

use crate::acks::{AckBook, Due};
use crate::failpoint;
use crate::source::{IngestSource, Receipt};
use crate::stats::IngestStats;
use protocols_model::{Clock, GatewayId};
use protocols_wire::limits::MAX_RANGES;
use protocols_wire::{Ack, AckItem, Down, EncodeError, Pace};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a commit settled of one message.
#[derive(Debug)]
pub(crate) struct Told {
    /// Who sent it; `None` when nobody can be told.
    pub(crate) gateway: Option<GatewayId>,
    pub(crate) items: Vec<AckItem>,
    pub(crate) receipt: Receipt,
}

/// Four full groups: the worker waits rather than run ahead of what the broker can take.
pub(crate) const TOLD_CAPACITY: usize = 4 * crate::source::GROUP_MESSAGES;

pub(crate) struct Teller {
    pub(crate) source: Arc<dyn IngestSource>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<IngestStats>,
    pub(crate) generation: u64,
}

impl Teller {
    /// Runs until the worker is gone, then tells what is left.
    pub(crate) async fn run(self, mut told: mpsc::Receiver<Told>) {
        let mut book = AckBook::default();
        loop {
            let wait = book.next_due().map(|due| due.since(self.clock.monotonic()));
            let next = match wait {
                None => Some(told.recv().await),
                Some(wait) => tokio::time::timeout(wait, told.recv()).await.ok(),
            };
            match next {
                Some(Some(first)) => {
                    self.note(&mut book, first).await;
                    while let Ok(more) = told.try_recv() {
                        self.note(&mut book, more).await;
                    }
                }
                Some(None) => break,
                None => {}
            }
            for due in book.due(self.clock.monotonic()) {
                self.tell(due).await;
            }
        }
        for due in book.drain(self.clock.monotonic()) {
            self.tell(due).await;
        }
    }

    async fn note(&self, book: &mut AckBook, told: Told) {
        match told.gateway {
            Some(gateway) => book.add(gateway, told.items, Some(told.receipt)),
            None => self.settle(vec![told.receipt]).await,
        }
    }

    async fn tell(&self, due: Due) {
        if !due.items.is_empty() {
            let pace = self.stats.pace(self.clock.monotonic());
            for payload in encode(self.generation, pace, due.items) {
                if let Err(error) = self.source.send_down(&due.gateway, payload).await {
                    // The gateway asks again by hello; the receipts may go.
                    tracing::warn!(gateway = %due.gateway, %error, "acknowledgement not sent");
                }
                self.stats.acknowledgements.add(1);
                self.stats.slowing.add(u64::from(pace.is_some()));
            }
        }
        self.settle(due.receipts).await;
        failpoint::hit(failpoint::AFTER_SETTLE);
    }

    async fn settle(&self, receipts: Vec<Receipt>) {
        if let Err(error) = self.source.settle(receipts).await {
            tracing::warn!(%error, "settled messages will come again");
        }
    }
}

/// As few messages as the size limit allows.
fn encode(generation: u64, pace: Option<Pace>, items: Vec<AckItem>) -> Vec<bytes::Bytes> {
    let mut done = Vec::new();
    let mut open = vec![items];
    while let Some(items) = open.pop() {
        // A longer list would be cut when it is encoded, and its end never told.
        let (long, items): (Vec<_>, Vec<_>) = items.into_iter().partition(has_long_list);
        open.extend(long.into_iter().flat_map(|item| halve(vec![item])));
        if items.is_empty() {
            continue;
        }
        let ack = Down::Ack(Ack {
            generation,
            items: items.clone(),
            pace,
        });
        match ack.encode() {
            Ok(payload) => done.push(payload),
            Err(EncodeError::TooLarge { .. }) if items.len() > 1 => {
                let (left, right) = items.split_at(items.len() / 2);
                open.push(right.to_vec());
                open.push(left.to_vec());
            }
            Err(EncodeError::TooLarge { .. }) => open.extend(halve(items)),
            Err(error) => tracing::error!(%error, "an acknowledgement cannot be encoded"),
        }
    }
    done
}

fn has_long_list(item: &AckItem) -> bool {
    item.refused.len() > MAX_RANGES || item.retry.len() > MAX_RANGES
}

/// Splits the lists of hints in the one item that is left; what cannot be split is dropped, the
/// hello that follows tells it.
fn halve(items: Vec<AckItem>) -> Vec<Vec<AckItem>> {
    let Some(item) = items.into_iter().next() else {
        return Vec::new();
    };
    if item.refused.len() + item.retry.len() < 2 {
        return Vec::new();
    }
    let (refused, more_refused) = item.refused.split_at(item.refused.len() / 2);
    let (retry, more_retry) = item.retry.split_at(item.retry.len() / 2);
    let part = |stored, refused: &[_], retry: &[_]| {
        vec![AckItem {
            stored,
            refused: refused.to_vec(),
            retry: retry.to_vec(),
            ..item
        }]
    };
    vec![
        part(item.stored.clone(), refused, retry),
        part(protocols_model::SeqSet::new(), more_refused, more_retry),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{Epoch, Lane, RefuseReason, SeqRange, SeqSet};
    use protocols_wire::{RetryLater, RetryReason};
    use std::time::Duration;

    #[test]
    fn every_refusal_and_hint_is_told_however_scattered_they_are() {
        let ranges = || (1..=200_u64).filter_map(|n| SeqRange::one(3 * n));
        let retry = |range| RetryLater {
            range,
            reason: RetryReason::SlowDown,
            after: Duration::from_secs(1),
        };
        let item = AckItem {
            epoch: Epoch(1),
            lane: Lane::Telemetry,
            stored: SeqRange::new(1000, 1001).into_iter().collect(),
            refused: ranges().map(|r| (r, RefuseReason::Malformed)).collect(),
            retry: ranges().map(retry).collect(),
        };
        let (mut stored, mut refused, mut retried) = (SeqSet::new(), SeqSet::new(), SeqSet::new());
        for payload in encode(7, None, vec![item]) {
            let Ok(Down::Ack(ack)) = Down::decode(&payload) else {
                panic!("not an acknowledgement");
            };
            assert_eq!(ack.generation, 7);
            for item in ack.items {
                stored.union(&item.stored);
                item.refused
                    .iter()
                    .for_each(|(range, _)| refused.insert(*range));
                item.retry
                    .iter()
                    .for_each(|hint| retried.insert(hint.range));
            }
        }
        assert_eq!(
            (stored.count(), refused.count(), retried.count()),
            (2, 200, 200)
        );
    }
}
