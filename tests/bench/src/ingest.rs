//! Load for the ingest measurement: many gateways that publish a second of 1 Hz points in one batch,
//! as fast as the broker takes them, over the real MQTTS listener.
//!
//! Everything is sealed and packed beforehand, so that what is measured is broker, ingest and database;
//! the publishers' own TLS shares the machine with them.

use crate::broker::Identity;
use crate::field;
use anyhow::Context as _;
use bytes::Bytes;
use protocols_model::{
    BootId, Epoch, GatewayId, Instant, Lane, PointDescriptor, Quality, RecordKey, Timestamp, Value,
    ValueType,
};
use protocols_wire::{
    Column, Dictionary, EnvelopeEncoder, Record, RecordStamp, Sample, Telemetry, Topic,
};
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};
use std::time::Duration;
use tests_fieldsim::{UnitSite, signal};
use tokio::task::{JoinHandle, JoinSet};

/// Gateways that publish at once.
pub(crate) const GATEWAYS: usize = 40;
/// Units of the committed set that each reads: 2 500 points.
const UNITS: usize = 25;
/// Publishes of a gateway under way: as the gateway's own window.
const INFLIGHT: u16 = 16;
/// Between the answers of two units.
const ANSWER_MS: i64 = 2;

/// One simulated sender.
#[derive(Debug)]
pub(crate) struct Sender {
    client: AsyncClient,
    topic: String,
    events: JoinHandle<anyhow::Result<()>>,
    dictionaries: Vec<Dictionary>,
    units: Vec<UnitSite>,
    seq: u64,
    packer: EnvelopeEncoder,
}

/// Envelopes ready to go, and what is in them.
#[derive(Debug, Default)]
pub(crate) struct Load {
    payloads: Vec<Bytes>,
    /// Records in all of them.
    pub records: u64,
    /// Readings in all of them.
    pub readings: u64,
}

impl Sender {
    /// Connects and waits for the broker's word.
    pub(crate) async fn connect(
        identity: &Identity,
        broker: &str,
        number: usize,
    ) -> anyhow::Result<Self> {
        let (client, mut events) = identity.client(broker, INFLIGHT)?;
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
                break;
            }
        }
        let gateway = GatewayId::try_new(&identity.gateway)?;
        let lane = Lane::Telemetry;
        let topic = Topic::Up {
            gateway,
            lane,
            history: false,
        };
        let skipped = number * UNITS % usize::from(field::UNITS);
        let units = field::units().into_iter().skip(skipped).take(UNITS);
        let units: Vec<UnitSite> = units.collect();
        let points = units
            .iter()
            .flat_map(|unit| unit.points.iter().map(move |point| (unit, point)))
            .map(|(unit, point)| {
                Ok(PointDescriptor {
                    device: unit.device.parse()?,
                    point: point.id.parse()?,
                    value_type: ValueType::U64,
                    unit: String::new(),
                    scale: 1.0,
                })
            });
        let points = points.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            client,
            topic: topic.to_mqtt(),
            events: tokio::spawn(drive(events)),
            dictionaries: Dictionary::chunk(points)?,
            units,
            seq: 0,
            packer: EnvelopeEncoder::new(),
        })
    }

    /// Seals and packs `seconds` of readings that began at `begin`, one envelope a second; the very
    /// first one brings the dictionaries.
    pub(crate) fn pack(
        &mut self,
        epoch: Epoch,
        begin: Timestamp,
        seconds: u32,
    ) -> anyhow::Result<Load> {
        let mut load = Load::default();
        for second in 0..seconds {
            let at = begin.plus(Duration::from_secs(u64::from(second)));
            let sealed = Record::seal_telemetry(
                RecordStamp {
                    boot: BootId(epoch.0),
                    mono: Instant(Duration::from_secs(self.seq + 1)),
                    wall: at,
                },
                self.telemetry(at)?,
            )?;
            let first = self.seq == 0;
            let mut records = Vec::with_capacity(sealed.len());
            for record in sealed {
                self.seq += 1;
                let key = RecordKey {
                    epoch,
                    lane: Lane::Telemetry,
                    seq: self.seq,
                };
                load.readings += record.summary.readings;
                load.records += 1;
                records.push((key, record.body));
            }
            let attached = self.dictionaries.iter().filter(|_| first);
            let attached: Vec<Bytes> = attached.map(|one| one.encoded().clone()).collect();
            load.payloads.push(self.packer.encode(&records, &attached)?);
        }
        Ok(load)
    }

    fn telemetry(&self, at: Timestamp) -> anyhow::Result<Telemetry> {
        let n = u64::try_from(at.as_millis() / 1000)?;
        let places = self
            .dictionaries
            .iter()
            .zip(0u32..)
            .flat_map(|(dictionary, place)| {
                let indexes = (0u32..).take(dictionary.entries().len());
                indexes.map(move |index| (place, index))
            });
        let points = self.units.iter().zip(0i64..).flat_map(|(unit, answer)| {
            let time = Timestamp::from_millis(at.as_millis() + answer * ANSWER_MS);
            unit.points.iter().map(move |point| (time, point))
        });
        let columns = places
            .zip(points)
            .map(|((dictionary, index), (time, point))| {
                let raw = signal::raw_at(point, n).rem_euclid(1 << 16);
                Ok(Column {
                    dictionary,
                    index,
                    filtered: 0,
                    samples: vec![Sample {
                        time,
                        value: Some(Value::U64(u64::try_from(raw)?)),
                        quality: Quality::Good,
                    }],
                })
            });
        Ok(Telemetry {
            dictionaries: self.dictionaries.iter().map(Dictionary::hash).collect(),
            columns: columns.collect::<anyhow::Result<_>>()?,
            unchanged: Vec::new(),
        })
    }
}

/// Hands every sender's load to its connection, all at once; returns when all are handed over.
pub(crate) async fn publish(senders: &[Sender], loads: Vec<Load>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (sender, load) in senders.iter().zip(loads) {
        anyhow::ensure!(!sender.events.is_finished(), "a sender's connection ended");
        let (client, topic) = (sender.client.clone(), sender.topic.clone());
        tasks.spawn(async move {
            for payload in load.payloads {
                let sent = client.publish(&topic, QoS::AtLeastOnce, false, payload);
                sent.await.context("a sender's connection ended")?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Disconnects all.
pub(crate) fn stop(senders: Vec<Sender>) {
    for sender in senders {
        sender.events.abort();
    }
}

async fn drive(mut events: EventLoop) -> anyhow::Result<()> {
    loop {
        events.poll().await?;
    }
}
