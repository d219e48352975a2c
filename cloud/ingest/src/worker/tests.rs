//! Commit, then tell, then settle; and what happens when the database is away or an element is bad.

use crate::run::{IngestParts, run};
use crate::source::*;
use crate::stats::IngestStats;
use async_trait::async_trait;
use bytes::Bytes;
use cloud_store::{HelloState, Incoming, Ingest, LiveUpdate, QuarantineInput, Settled, StoreError};
use protocols_model::{Epoch, GatewayId, Lane, RecordKey, SeqSet, SystemClock, Timestamp};
use protocols_wire::{AckItem, Down, Hello, Pace, encode_envelope};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

/// What happened, in order.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Commit(usize),
    Ack(u64),
    Settle(String),
    GiveBack(String),
    Aside(String),
}

#[derive(Default)]
struct World {
    queue: Mutex<VecDeque<Delivery>>,
    arrived: Notify,
    seen: Mutex<Vec<Seen>>,
    stored: Mutex<BTreeMap<GatewayId, SeqSet>>,
    away: Mutex<bool>,
    /// How fast acknowledgements said that backlog may come.
    paces: Mutex<Vec<Option<Pace>>>,
    /// A record that makes every transaction with it fail.
    poison: Mutex<Option<u64>>,
}

impl World {
    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn send(&self, topic: &str, payload: Bytes, receipt: &str) {
        self.queue.lock().unwrap().push_back(Delivery {
            topic: topic.to_owned(),
            payload,
            receipt: Receipt(receipt.to_owned()),
        });
        self.arrived.notify_one();
    }

    async fn wait(&self, what: impl Fn(&[Seen]) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !what(&self.seen()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "never came: {:?}", self.seen());
    }
}

#[async_trait]
impl IngestSource for World {
    async fn ensure(&self, _: Timestamp) -> Result<StreamState, SourceError> {
        Ok(StreamState::default())
    }

    async fn next(&self) -> Result<Vec<Delivery>, SourceError> {
        loop {
            let arrived = self.arrived.notified();
            let group: Vec<Delivery> = self.queue.lock().unwrap().drain(..).collect();
            if !group.is_empty() {
                return Ok(group);
            }
            arrived.await;
        }
    }

    async fn settle(&self, receipts: Vec<Receipt>) -> Result<(), SourceError> {
        for Receipt(name) in receipts {
            self.note(Seen::Settle(name));
        }
        Ok(())
    }

    async fn give_back(&self, receipts: Vec<Receipt>) {
        for Receipt(name) in receipts {
            self.note(Seen::GiveBack(name));
        }
    }

    async fn pending(&self) -> Result<u64, SourceError> {
        Ok(0)
    }

    async fn tell_peers(&self, _: Bytes) -> Result<(), SourceError> {
        Ok(())
    }

    async fn next_peer(&self) -> Result<Bytes, SourceError> {
        std::future::pending().await
    }

    async fn waited(&self, _: Timestamp) -> Result<Duration, SourceError> {
        Ok(Duration::ZERO)
    }

    async fn next_hello(&self) -> Result<HelloMessage, SourceError> {
        std::future::pending().await
    }

    async fn send_down(&self, _: &GatewayId, payload: Bytes) -> Result<(), SourceError> {
        if let Ok(Down::Ack(ack)) = Down::decode(&payload) {
            let stored = ack.items.iter().map(|item| item.stored.count()).sum();
            self.paces.lock().unwrap().push(ack.pace);
            self.note(Seen::Ack(stored));
        }
        Ok(())
    }
}

#[async_trait]
impl Ingest for World {
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError> {
        if *self.away.lock().unwrap() {
            return Err(StoreError::Database {
                doing: "testing",
                source: "away".into(),
            });
        }
        let poison = *self.poison.lock().unwrap();
        let is_poison = |incoming: &Incoming| {
            let mut records = incoming.records.iter();
            records.any(|record| record.body.is_ok() && Some(record.key.seq) == poison)
        };
        if batch.iter().any(is_poison) {
            return Err(StoreError::Damaged {
                what: "poison".into(),
            });
        }
        self.note(Seen::Commit(batch.len()));
        let settle = |incoming: Incoming| {
            let mut set = SeqSet::new();
            let good = incoming.records.iter().filter(|r| r.body.is_ok());
            good.for_each(|record| set.insert_one(record.key.seq));
            let mut all = self.stored.lock().unwrap();
            let known = all.entry(incoming.gateway.clone()).or_default();
            let before = known.count();
            known.union(&set);
            Settled {
                gateway: incoming.gateway,
                readings: known.count() - before,
                duplicates: set.count() - (known.count() - before),
                items: vec![AckItem {
                    epoch: Epoch(1),
                    lane: Lane::Telemetry,
                    stored: set,
                    refused: vec![],
                    retry: vec![],
                }],
            }
        };
        Ok(batch.into_iter().map(settle).collect())
    }

    async fn hello(
        &self,
        _: &GatewayId,
        _: Hello,
        _: Timestamp,
        _: bool,
    ) -> Result<HelloState, StoreError> {
        unreachable!("no hello is sent here")
    }

    async fn quarantine(&self, input: QuarantineInput) -> Result<(), StoreError> {
        self.note(Seen::Aside(input.topic));
        Ok(())
    }

    fn generation(&self) -> u64 {
        1
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<LiveUpdate>> {
        broadcast::channel(1).1
    }
}

fn envelope(seqs: &[u64]) -> Bytes {
    let record = |&seq: &u64| {
        let key = RecordKey {
            epoch: Epoch(1),
            lane: Lane::Telemetry,
            seq,
        };
        (key, Bytes::from(format!("record {seq}")))
    };
    let records: Vec<_> = seqs.iter().map(record).collect();
    encode_envelope(&records, &[]).unwrap()
}

fn start(
    world: &Arc<World>,
) -> (
    Arc<IngestStats>,
    CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    start_with(world, IngestStats::default())
}

fn start_with(
    world: &Arc<World>,
    stats: IngestStats,
) -> (
    Arc<IngestStats>,
    CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    let stats = Arc::new(stats);
    let stop = CancellationToken::new();
    let parts = IngestParts {
        source: Arc::clone(world) as Arc<dyn IngestSource>,
        store: Arc::clone(world) as Arc<dyn Ingest>,
        clock: Arc::new(SystemClock::start()),
        stats: Arc::clone(&stats),
    };
    let task = tokio::spawn(run(parts, stop.clone()));
    (stats, stop, task)
}

fn settled(name: &str) -> impl Fn(&[Seen]) -> bool {
    let wanted = Seen::Settle(name.to_owned());
    move |seen| seen.contains(&wanted)
}

#[tokio::test]
async fn a_message_is_committed_then_told_then_settled() {
    let world = Arc::new(World::default());
    world.send("gw.a.up.telemetry", envelope(&[1, 2]), "m1");
    let (stats, stop, task) = start(&world);
    world.wait(settled("m1")).await;
    assert_eq!(
        world.seen(),
        [Seen::Commit(1), Seen::Ack(2), Seen::Settle("m1".into())]
    );
    world.send("gw.a.up.telemetry", envelope(&[1, 2]), "again");
    world.wait(settled("again")).await;
    assert_eq!(stats.duplicates.get(), 2);
    assert!(world.seen().iter().filter(|s| **s == Seen::Ack(2)).count() == 2);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_settled_and_afterwards_everything_is() {
    let world = Arc::new(World::default());
    *world.away.lock().unwrap() = true;
    world.send("gw.a.up.telemetry", envelope(&[1]), "m1");
    let (stats, stop, task) = start(&world);
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while stats.failed_commits.get() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
    assert!(world.seen().is_empty(), "{:?}", world.seen());
    assert!(!stats.store_ready());
    *world.away.lock().unwrap() = false;
    world.wait(settled("m1")).await;
    assert!(stats.store_ready());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_a_stopping_replica_could_not_commit_it_gives_back() {
    let world = Arc::new(World::default());
    *world.away.lock().unwrap() = true;
    world.send("gw.a.up.telemetry", envelope(&[1]), "a");
    world.send("gw.a.up.telemetry", envelope(&[2]), "b");
    let (stats, stop, task) = start(&world);
    while stats.failed_commits.get() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    task.await.unwrap();
    let given = ["a", "b"].map(|name| Seen::GiveBack(name.to_owned()));
    assert_eq!(world.seen(), given);
}

#[tokio::test]
async fn garbage_is_set_aside_and_what_is_behind_it_flows() {
    let world = Arc::new(World::default());
    world.send("gw.a.up.telemetry", Bytes::from_static(b"garbage"), "bad");
    world.send("gw.a.up.x.y", envelope(&[9]), "lost");
    world.send("gw.a.up.telemetry", envelope(&[1]), "good");
    let (stats, stop, task) = start(&world);
    for name in ["bad", "lost", "good"] {
        world.wait(settled(name)).await;
    }
    assert_eq!(stats.quarantined.get(), 2);
    assert!(world.seen().contains(&Seen::Ack(1)));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn one_element_that_the_store_cannot_take_does_not_hold_up_the_group() {
    let world = Arc::new(World::default());
    *world.poison.lock().unwrap() = Some(2);
    for seq in 1..=3 {
        world.send("gw.a.up.telemetry", envelope(&[seq]), &format!("m{seq}"));
    }
    let (_, stop, task) = start(&world);
    for name in ["m1", "m2", "m3"] {
        world.wait(settled(name)).await;
    }
    let id = GatewayId::try_new("a").unwrap();
    let set = world.stored.lock().unwrap().get(&id).unwrap().clone();
    assert!(set.contains(1) && set.contains(3) && !set.contains(2));
    assert!(world.seen().contains(&Seen::Aside("store".into())));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn an_ingest_that_is_behind_says_so_with_every_acknowledgement_and_one_that_is_not_does_not()
{
    for (pending, slows) in [(0, false), (1_000_000, true)] {
        let world = Arc::new(World::default());
        world.send("gw.a.up.telemetry.history", envelope(&[1]), "m1");
        let stats = IngestStats::default();
        stats.set_stream(StreamState {
            live: pending,
            ..StreamState::default()
        });
        let (stats, stop, task) = start_with(&world, stats);
        world.wait(settled("m1")).await;
        let paces = world.paces.lock().unwrap().clone();
        assert_eq!(paces.first().map(Option::is_some), Some(slows), "{paces:?}");
        assert_eq!(stats.slowing.get() > 0, slows);
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn stopping_tells_what_was_committed_first() {
    let world = Arc::new(World::default());
    let (_, stop, task) = start(&world);
    for seq in 1..=20 {
        world.send("gw.a.up.telemetry", envelope(&[seq]), &format!("m{seq}"));
    }
    world
        .wait(|seen| seen.iter().any(|s| matches!(s, Seen::Commit(_))))
        .await;
    stop.cancel();
    task.await.unwrap();
    let seen = world.seen();
    let stored = world
        .stored
        .lock()
        .unwrap()
        .values()
        .map(SeqSet::count)
        .sum::<u64>();
    let settled = seen.iter().filter(|s| matches!(s, Seen::Settle(_))).count() as u64;
    assert_eq!(stored, settled);
}
