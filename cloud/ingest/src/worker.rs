//! Takes groups of messages, commits them, and has gateways told: commit, then settle, never before.
//!
//! The database away: the group is kept and tried again with back-off, nothing is settled, ingest is
//! not ready; the broker keeps what comes, and offers again what took too long. The repetition is
//! harmless: the store finds covered what it has.

#[cfg(feature = "failpoints")]
mod mutant;

use crate::decode::{Decoded, decode, refuse_all};
use crate::failpoint;
use crate::pace::Pacer;
use crate::source::{Delivery, GROUP_MESSAGES, IngestSource, Receipt};
use crate::stats::IngestStats;
use crate::teller::Told;
use cloud_store::{Incoming, Ingest, QuarantineInput, Settled, StoreError};
use protocols_model::Clock;
use protocols_wire::Topic;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After the first message, how long others may join its transaction.
const LINGER: Duration = Duration::from_millis(20);
/// Payload bytes after which a group is closed: bounds memory and the transaction.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Back-off while broker or database are away.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(crate) struct Worker {
    pub(crate) source: Arc<dyn IngestSource>,
    pub(crate) store: Arc<dyn Ingest>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<IngestStats>,
    pub(crate) told: mpsc::Sender<Told>,
}

/// The process stops: what is not settled comes again.
struct Stopped;

struct Job {
    receipt: Receipt,
    decoded: Decoded,
    /// Its length, where it is backlog.
    backlog: Option<usize>,
}

impl Worker {
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pause = BACK_OFF.0;
        let mut pacer = Pacer::default();
        let mut unfinished = Vec::new();
        while let Ok(group) = self.take(&mut pause, &stop).await {
            let receipts = group.iter().map(|delivery| delivery.receipt.clone());
            let receipts: Vec<Receipt> = receipts.collect();
            if self.handle(group, &mut pacer, &stop).await.is_err() {
                unfinished = receipts;
                break;
            }
        }
        self.source.give_back(unfinished).await;
    }

    async fn take(
        &self,
        pause: &mut Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, Stopped> {
        let mut group = loop {
            let next = tokio::select! { biased;
                () = stop.cancelled() => return Err(Stopped),
                next = self.source.next() => next,
            };
            match next {
                Ok(group) => break group,
                Err(error) => {
                    // The watch over the broker tells people; this is for those who look closely.
                    tracing::debug!(error = %chain(&error), "no messages from the broker");
                    rest(pause, stop).await?;
                }
            }
        };
        *pause = BACK_OFF.0;
        let deadline = Instant::now() + LINGER;
        while group.len() < GROUP_MESSAGES && bytes(&group) < GROUP_BYTES {
            // `next` is cancel-safe: what it took it has returned.
            match tokio::time::timeout_at(deadline, self.source.next()).await {
                Ok(Ok(more)) => group.extend(more),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        self.stats.received.add_len(group.len());
        Ok(group)
    }

    async fn handle(
        &self,
        group: Vec<Delivery>,
        pacer: &mut Pacer,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let received = self.clock.wall();
        let mut jobs: Vec<Job> = group
            .into_iter()
            .map(|delivery| Job {
                decoded: decode(&delivery.topic, &delivery.payload, received),
                backlog: is_backlog(&delivery.topic).then_some(delivery.payload.len()),
                receipt: delivery.receipt,
            })
            .collect();
        for input in jobs
            .iter_mut()
            .filter_map(|job| job.decoded.quarantine.take())
        {
            self.set_aside(input, stop).await?;
        }
        #[cfg(feature = "failpoints")]
        if mutant::settles_before_commit() {
            return mutant::settle_then_commit(self, jobs, stop).await;
        }
        let batch: Vec<Incoming> = jobs
            .iter_mut()
            .filter_map(|job| job.decoded.commit.clone())
            .collect();
        let mut settled = self.commit(batch, stop).await?.into_iter();
        failpoint::hit(failpoint::AFTER_COMMIT);
        self.pace(pacer, &jobs);
        for Job {
            receipt, decoded, ..
        } in jobs
        {
            let result = decoded.commit.is_some().then(|| settled.next()).flatten();
            let told = match (result, decoded.hints) {
                (Some(settled), _) => self.count(settled, receipt),
                (None, Some((gateway, items))) => {
                    self.stats.retried.add_len(items.len());
                    Told {
                        gateway: Some(gateway),
                        items,
                        receipt,
                    }
                }
                (None, None) => Told {
                    gateway: None,
                    items: Vec::new(),
                    receipt,
                },
            };
            self.told.send(told).await.map_err(|_| Stopped)?;
        }
        let free = self.told.capacity();
        self.stats
            .set_untold(self.told.max_capacity().saturating_sub(free));
        Ok(())
    }

    /// Finds out whether gateways are to slow down; from now on every message to them says so.
    fn pace(&self, pacer: &mut Pacer, jobs: &[Job]) {
        let now = self.clock.monotonic();
        for job in jobs {
            if let Some(incoming) = &job.decoded.commit {
                pacer.took(&incoming.gateway, job.backlog, now);
            }
        }
        if pacer.is_due(now) {
            let others = self.stats.peers.others(now);
            let (load, pace) = pacer.look(self.stats.stream().pending(), others, now);
            self.stats.set_load(load, now);
            self.stats.set_pace(pace, now);
        }
    }

    fn count(&self, settled: Settled, receipt: Receipt) -> Told {
        self.stats.committed.add(1);
        self.stats.readings.add(settled.readings);
        self.stats.duplicates.add(settled.duplicates);
        for item in &settled.items {
            self.stats.refused.add_len(item.refused.len());
            self.stats.retried.add_len(item.retry.len());
        }
        Told {
            gateway: Some(settled.gateway),
            items: settled.items,
            receipt,
        }
    }

    /// Commits, however long it takes; one result per element.
    async fn commit(
        &self,
        batch: Vec<Incoming>,
        stop: &CancellationToken,
    ) -> Result<Vec<Settled>, Stopped> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        failpoint::hit(failpoint::BEFORE_COMMIT);
        let mut pause = BACK_OFF.0;
        loop {
            match self.try_commit(batch.clone()).await {
                Ok(settled) => return Ok(settled),
                Err(error) if is_away(&error) => {
                    tracing::error!(error = %chain(&error), "nothing can be committed; trying on");
                    rest(&mut pause, stop).await?;
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "a group failed; trying one by one");
                    return self.commit_one_by_one(batch, stop).await;
                }
            }
        }
    }

    async fn commit_one_by_one(
        &self,
        batch: Vec<Incoming>,
        stop: &CancellationToken,
    ) -> Result<Vec<Settled>, Stopped> {
        let mut all = Vec::with_capacity(batch.len());
        for mut incoming in batch {
            let mut pause = BACK_OFF.0;
            loop {
                match self.try_commit(vec![incoming.clone()]).await {
                    Ok(settled) => break all.extend(settled),
                    Err(error) if is_away(&error) => rest(&mut pause, stop).await?,
                    Err(error) => {
                        // Never blocks what is behind it: refused by name, and kept for people.
                        let why = chain(&error);
                        tracing::error!(gateway = %incoming.gateway, %why, "refused");
                        self.set_aside(quarantine(&incoming, why), stop).await?;
                        incoming = refuse_all(&incoming, "the store cannot take it");
                        rest(&mut pause, stop).await?;
                    }
                }
            }
        }
        Ok(all)
    }

    async fn try_commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError> {
        let begin = self.clock.monotonic();
        let result = self.store.commit(batch).await;
        self.stats.set_store_ready(result.is_ok());
        match &result {
            Ok(_) => self.stats.committed_in(self.clock.monotonic().since(begin)),
            Err(_) => self.stats.failed_commits.add(1),
        }
        result
    }

    async fn set_aside(
        &self,
        input: QuarantineInput,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        tracing::warn!(topic = input.topic, reason = input.reason, "set aside");
        self.stats.quarantined.add(1);
        let mut pause = BACK_OFF.0;
        while let Err(error) = self.store.quarantine(input.clone()).await {
            if !is_away(&error) {
                // The quarantine itself is damaged: the log has it, the stream must go on.
                tracing::error!(error = %chain(&error), "could not be set aside");
                break;
            }
            self.stats.set_store_ready(false);
            rest(&mut pause, stop).await?;
        }
        Ok(())
    }
}

/// Whether trying again can help, as opposed to an answer that depends on what is committed.
const fn is_away(error: &StoreError) -> bool {
    !matches!(error, StoreError::Damaged { .. })
}

fn quarantine(incoming: &Incoming, reason: String) -> QuarantineInput {
    let records = incoming.records.iter();
    let names: Vec<String> = records
        .map(|record| {
            format!(
                "{}/{}/{}",
                record.key.epoch, record.key.lane, record.key.seq
            )
        })
        .collect();
    QuarantineInput {
        gateway: Some(incoming.gateway.clone()),
        topic: "store".to_owned(),
        payload: names.join(" ").into_bytes(),
        reason,
        received: incoming.received,
    }
}

async fn rest(pause: &mut Duration, stop: &CancellationToken) -> Result<(), Stopped> {
    tokio::select! { biased;
        () = stop.cancelled() => return Err(Stopped),
        () = tokio::time::sleep(*pause) => {}
    }
    *pause = pause.saturating_mul(2).min(BACK_OFF.1);
    Ok(())
}

fn is_backlog(topic: &str) -> bool {
    matches!(Topic::parse(topic), Some(Topic::Up { history: true, .. }))
}

fn bytes(group: &[Delivery]) -> usize {
    group.iter().map(|delivery| delivery.payload.len()).sum()
}

/// An error with its causes, for one log line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests;
