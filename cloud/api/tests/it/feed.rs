//! A gateway's part, without a gateway: registers itself, says hello, commits records of moving
//! values, events and claims.

use cloud_store::{Incoming, NewGateway, Store};
use protocols_model::{
    AlarmLevel, AlarmState, BootId, Claim, DeviceId, DictionaryHash, Epoch, GatewayId, Instant,
    Lane, LossReason, PointDescriptor, PointId, PointLoss, Quality, RecordKey, SeqRange, Timestamp,
    Value, ValueType,
};
use protocols_wire::{
    AlarmNote, AlarmPoint, Body, ClockState, Column, Dictionary, EnvelopeRecord, Event, EventKind,
    Held, Hello, Record, RecordStamp, Sample, Telemetry,
};
use std::collections::HashMap;
use std::time::Duration;

/// One reading to commit: place of the point, time, value or reason.
pub(crate) type Take = (usize, Timestamp, Result<Value, protocols_model::Reason>);

/// A gateway that commits straight into a store.
pub(crate) struct Feed {
    pub(crate) gateway: GatewayId,
    epoch: Epoch,
    dictionary: Dictionary,
    seqs: HashMap<Lane, u64>,
}

/// A point: device, name, type, unit, scale.
pub(crate) type Point<'a> = (&'a str, &'a str, ValueType, &'a str, f64);

/// What is claimed as lost: of the first point where the number is known, of all otherwise.
pub(crate) struct Loss {
    pub(crate) range: SeqRange,
    pub(crate) reason: LossReason,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) readings: Option<u64>,
}

impl Feed {
    /// Registers the gateway.
    pub(crate) async fn start(
        store: &dyn Store,
        id: &str,
        points: &[Point<'_>],
        now: Timestamp,
    ) -> Self {
        let gateway = GatewayId::try_new(id).unwrap();
        let entries = points
            .iter()
            .map(|(device, point, value_type, unit, scale)| PointDescriptor {
                device: DeviceId::try_new(device).unwrap(),
                point: PointId::try_new(point).unwrap(),
                value_type: *value_type,
                unit: (*unit).to_owned(),
                scale: *scale,
            })
            .collect();
        store
            .add_gateway(NewGateway {
                id: gateway.clone(),
                serial: format!("{:08x}", fastrand::u32(..)),
                fingerprint: "00".repeat(32),
                not_after: now.plus(Duration::from_secs(3650 * 86_400)),
                created: now,
                note: String::new(),
            })
            .await
            .unwrap();
        Self {
            gateway,
            epoch: Epoch(fastrand::u64(1..)),
            dictionary: Dictionary::try_new(entries).unwrap(),
            seqs: HashMap::new(),
        }
    }

    fn dictionary_hash(&self) -> DictionaryHash {
        self.dictionary.hash()
    }

    /// Skips so many seqs of the telemetry lane, to be claimed as lost.
    pub(crate) fn skip(&mut self, count: u64) -> SeqRange {
        let last = self.seqs.entry(Lane::Telemetry).or_default();
        let range = SeqRange::new(*last + 1, *last + count).unwrap();
        *last += count;
        range
    }

    async fn commit(&mut self, store: &dyn Store, lane: Lane, body: Body, now: Timestamp) {
        let stamp = RecordStamp {
            boot: BootId(7),
            mono: Instant(Duration::from_secs(1)),
            wall: now,
        };
        let sealed = Record { stamp, body }.encode().unwrap();
        let seq = self.seqs.entry(lane).or_default();
        *seq += 1;
        let key = RecordKey {
            epoch: self.epoch,
            lane,
            seq: *seq,
        };
        let incoming = Incoming {
            gateway: self.gateway.clone(),
            received: now,
            records: vec![EnvelopeRecord {
                key,
                body: Ok(sealed.body),
            }],
            dictionaries: vec![self.dictionary.clone()],
        };
        let settled = store.commit(vec![incoming]).await.unwrap();
        let refused: usize = settled[0].items.iter().map(|item| item.refused.len()).sum();
        assert_eq!(refused, 0, "{settled:?}");
    }

    /// Commits one record of readings, received at `now`.
    pub(crate) async fn readings(&mut self, store: &dyn Store, takes: &[Take], now: Timestamp) {
        let mut columns: Vec<Column> = Vec::new();
        for (place, time, taken) in takes {
            let sample = match taken {
                Ok(value) => Sample {
                    time: *time,
                    value: Some(value.clone()),
                    quality: Quality::Good,
                },
                Err(reason) => Sample {
                    time: *time,
                    value: None,
                    quality: Quality::Bad(*reason),
                },
            };
            let index = u32::try_from(*place).unwrap();
            match columns.iter_mut().find(|column| column.index == index) {
                Some(column) => column.samples.push(sample),
                None => columns.push(Column {
                    dictionary: 0,
                    index,
                    filtered: 2,
                    samples: vec![sample],
                }),
            }
        }
        columns.sort_by_key(|column| column.index);
        let telemetry = Telemetry {
            dictionaries: vec![self.dictionary_hash()],
            columns,
            unchanged: Vec::new(),
        };
        self.commit(store, Lane::Telemetry, Body::Telemetry(telemetry), now)
            .await;
    }

    /// Commits an event.
    pub(crate) async fn event(
        &mut self,
        store: &dyn Store,
        kind: EventKind,
        subject: &str,
        text: &str,
        now: Timestamp,
    ) {
        let event = Event {
            time: now,
            kind,
            subject: subject.to_owned(),
            text: text.to_owned(),
            alarm: None,
        };
        self.commit(store, Lane::Event, Body::Event(event), now)
            .await;
    }

    /// Commits what the gateway says of an alarm: name, level, state, words.
    pub(crate) async fn alarm(
        &mut self,
        store: &dyn Store,
        (name, level, state, text): (&str, AlarmLevel, AlarmState, &str),
        about: usize,
        now: Timestamp,
    ) {
        let point = &self.dictionary.entries()[about];
        let points = vec![AlarmPoint {
            device: point.device.clone(),
            point: point.point.clone(),
        }];
        let event = Event {
            time: now,
            kind: EventKind::Alarm,
            subject: name.to_owned(),
            text: text.to_owned(),
            alarm: Some(AlarmNote {
                level,
                state,
                quiet: false,
                points,
            }),
        };
        self.commit(store, Lane::Alarm, Body::Event(event), now)
            .await;
    }

    /// Claims seqs as lost; the claim comes when the loss ended.
    pub(crate) async fn claim(&mut self, store: &dyn Store, loss: Loss) {
        let points = loss
            .readings
            .map(|readings| PointLoss {
                dictionary: self.dictionary_hash(),
                index: 0,
                readings,
                filtered: 0,
            })
            .into_iter()
            .collect();
        let claim = Claim {
            epoch: self.epoch,
            lane: Lane::Telemetry,
            range: loss.range,
            reason: loss.reason,
            from: loss.from,
            to: loss.to,
            readings: loss.readings,
            at_most: loss.readings.is_none().then_some(40),
            points,
        };
        self.commit(store, Lane::Event, Body::Claims(vec![claim]), loss.to)
            .await;
    }

    /// Says hello and opens the broker session.
    pub(crate) async fn hello(&self, store: &dyn Store, now: Timestamp) {
        let hello = Hello {
            versions: vec![1],
            nonce: 1,
            boot: BootId(7),
            epoch: self.epoch,
            held: vec![Held {
                epoch: self.epoch,
                lane: Lane::Telemetry,
                first: 0,
                last: 0,
            }],
            partial: false,
            dictionaries: vec![self.dictionary_hash()],
            clock: ClockState {
                synced: true,
                wall: now,
                mono: Duration::from_secs(60),
            },
            loss_window: Duration::from_secs(3),
            spool_bytes: 3 << 20,
            spool_quota_bytes: 25 << 20,
            software: "fogline-gateway 0.1.0".to_owned(),
            config_revision: "5f2c9a7be41d0c33".to_owned(),
        };
        store.hello(&self.gateway, hello, now, false).await.unwrap();
        store.set_session(&self.gateway, true, now).await.unwrap();
    }
}
