//! A cloud behind the broker: decodes envelopes, keeps cursors and dictionaries, answers hellos and
//! acknowledges; each of it can be made to fail.

use bytes::Bytes;
use protocols_model::{DictionaryHash, Lane, RecordKey, RefuseReason, SeqRange, SeqSet};
use protocols_wire::{
    Ack, AckItem, Body, Dictionary, Down, EpochState, EventKind, Hello, HelloAnswer, Record,
    RetryLater, RetryReason, Topic, decode_envelope,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;

type Send = Box<dyn Fn(Bytes) + std::marker::Send>;

#[derive(Default)]
pub(crate) struct Cloud {
    pub(crate) stored: BTreeMap<RecordKey, Bytes>,
    /// How often each record arrived.
    pub(crate) arrived: BTreeMap<RecordKey, u32>,
    pub(crate) dictionaries: BTreeSet<DictionaryHash>,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) generation: u64,
    /// Away: messages wait, hellos are not answered.
    pub(crate) away: bool,
    /// So many acknowledgements get lost.
    pub(crate) lose_acks: usize,
    /// Every acknowledgement comes twice.
    pub(crate) twice: bool,
    /// Say "unknown dictionary" for these even when they came along once.
    pub(crate) retries: usize,
    /// Refuse these seqs of telemetry.
    pub(crate) refuse: BTreeSet<u64>,
    pub(crate) history: usize,
    pub(crate) live: usize,
    pub(crate) waiting: Vec<(String, Bytes)>,
    pub(crate) out: Option<(mpsc::Sender<Vec<u8>>, Send)>,
}

impl Cloud {
    pub(crate) fn connect(
        &mut self,
        id: mpsc::Sender<Vec<u8>>,
        send: impl Fn(Bytes) + std::marker::Send + 'static,
    ) {
        self.out = Some((id, Box::new(send)));
    }

    pub(crate) fn disconnect(&mut self, id: &mpsc::Sender<Vec<u8>>) {
        if self
            .out
            .as_ref()
            .is_some_and(|(out, _)| out.same_channel(id))
        {
            self.out = None;
        }
    }

    pub(crate) fn send(&self, payload: Bytes) {
        if let Some((_, send)) = &self.out {
            send(payload);
        }
    }

    pub(crate) fn back(&mut self) {
        self.away = false;
        for (topic, payload) in std::mem::take(&mut self.waiting) {
            self.message(&topic, payload);
        }
    }

    pub(crate) fn message(&mut self, topic: &str, payload: Bytes) {
        match Topic::parse(topic).unwrap_or_else(|| panic!("topic {topic}")) {
            Topic::Hello(_) => {
                let hello = Hello::decode(&payload).unwrap();
                if !self.away {
                    self.answer(&hello);
                }
                self.hellos.push(hello);
            }
            Topic::Up { .. } if self.away => self.waiting.push((topic.to_owned(), payload)),
            Topic::Up { lane, history, .. } => {
                if history {
                    self.history += 1;
                } else {
                    self.live += 1;
                }
                self.envelope(lane, &payload);
            }
            other => panic!("a gateway publishes on {other:?}"),
        }
    }

    fn envelope(&mut self, lane: Lane, payload: &[u8]) {
        let envelope = decode_envelope(payload).unwrap();
        let attached = envelope.dictionaries.iter().map(Dictionary::hash);
        self.dictionaries.extend(attached);
        let mut items: BTreeMap<_, AckItem> = BTreeMap::new();
        for record in envelope.records {
            let key = record.key;
            assert_eq!(key.lane, lane, "one lane an envelope");
            *self.arrived.entry(key).or_default() += 1;
            let item = items.entry(key.epoch).or_insert_with(|| AckItem {
                epoch: key.epoch,
                lane,
                stored: SeqSet::new(),
                refused: Vec::new(),
                retry: Vec::new(),
            });
            let range = SeqRange::one(key.seq).unwrap();
            let body = record.body.unwrap();
            if lane == Lane::Telemetry && self.refuse.contains(&key.seq) {
                item.refused.push((range, RefuseReason::SeriesLimit));
                continue;
            }
            if let Some(hash) = self.lacking(&body) {
                self.retries += 1;
                item.retry.push(RetryLater {
                    range,
                    reason: RetryReason::UnknownDictionary(hash),
                    after: Duration::from_millis(1),
                });
                continue;
            }
            let before = self.stored.insert(key, body.clone());
            assert!(
                before.is_none_or(|b| b == body),
                "bytes changed under {key:?}"
            );
            item.stored.insert(range);
        }
        self.acknowledge(items.into_values().collect());
    }

    fn lacking(&self, body: &[u8]) -> Option<DictionaryHash> {
        let Body::Telemetry(telemetry) = Record::decode(body).unwrap().body else {
            return None;
        };
        let used = telemetry.dictionaries.into_iter();
        used.into_iter()
            .find(|hash| !self.dictionaries.contains(hash))
    }

    fn acknowledge(&mut self, items: Vec<AckItem>) {
        if self.lose_acks > 0 {
            self.lose_acks -= 1;
            return;
        }
        let ack = Down::Ack(Ack {
            generation: self.generation,
            items,
            pace: None,
        });
        let payload = ack.encode().unwrap();
        self.send(payload.clone());
        if self.twice {
            self.send(payload);
        }
    }

    fn answer(&self, hello: &Hello) {
        let epochs = hello.held.iter().map(|held| EpochState {
            epoch: held.epoch,
            lane: held.lane,
            settled: self
                .stored
                .keys()
                .filter(|key| key.epoch == held.epoch && key.lane == held.lane)
                .filter_map(|key| SeqRange::one(key.seq))
                .collect(),
            closed: false,
        });
        let missing = hello
            .dictionaries
            .iter()
            .filter(|h| !self.dictionaries.contains(h));
        let answer = Down::HelloAnswer(HelloAnswer {
            nonce: hello.nonce,
            generation: self.generation,
            newest_version: 1,
            epochs: epochs.collect(),
            missing_dictionaries: missing.copied().collect(),
            stream_pending: u64::try_from(self.waiting.len()).unwrap(),
            pace: None,
        });
        self.send(answer.encode().unwrap());
    }

    pub(crate) fn telemetry(&self) -> usize {
        self.stored
            .keys()
            .filter(|k| k.lane == Lane::Telemetry)
            .count()
    }

    pub(crate) fn arrived_twice(&self) -> Vec<RecordKey> {
        let twice = self.arrived.iter().filter(|(_, n)| **n > 1);
        twice.map(|(key, _)| *key).collect()
    }

    pub(crate) fn events(&self) -> Vec<EventKind> {
        let events =
            self.stored
                .values()
                .filter_map(|body| match Record::decode(body).unwrap().body {
                    Body::Event(event) => Some(event.kind),
                    _ => None,
                });
        events.collect()
    }
}
