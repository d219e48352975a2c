//! A gateway as the cloud sees it: an identity file, an MQTT connection, envelopes of readings.

use crate::site::{DEADLINE, Site};
use bytes::Bytes;
use cloud_pki::Identity;
use protocols_model::{
    BootId, Clock as _, DeviceId, Epoch, Lane, PointDescriptor, PointId, Quality, RecordKey,
    SystemClock, Timestamp, Value, ValueType,
};
use protocols_wire::{
    Ack, Body, Column, Dictionary, Down, Record, RecordStamp, Sample, Telemetry, encode_envelope,
};
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct Gateway {
    client: Client,
    connection: Connection,
    id: String,
}

impl Gateway {
    pub(crate) fn connect(site: &Site, id: &str) -> Result<Self, String> {
        let identity = Identity::read(&site.path(&format!("gateways/{id}.toml"))).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(identity.ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        let mut options = MqttOptions::new(id, site.mqtt.ip().to_string(), site.mqtt.port());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            Arc::new(tls),
        )));
        let (client, mut connection) = Client::new(options, 16);
        let network = &mut connection.eventloop.network_options;
        network.set_connection_timeout(DEADLINE.as_secs());
        let mut gateway = Self {
            client,
            connection,
            id: id.to_owned(),
        };
        gateway.until(|packet| matches!(packet, Packet::ConnAck(_)))?;
        let topic = format!("gw/{id}/down/#");
        gateway.client.subscribe(topic, QoS::AtMostOnce).unwrap();
        gateway.until(|packet| matches!(packet, Packet::SubAck(_)))?;
        Ok(gateway)
    }

    /// Waits for a packet; an error is the end of the connection.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Result<Packet, String> {
        let begin = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(begin.elapsed());
            match self.connection.recv_timeout(left) {
                Ok(Ok(Event::Incoming(packet))) if wanted(&packet) => return Ok(packet),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(error) => panic!("nothing came: {error:?}"),
            }
        }
    }

    pub(crate) fn publish(&mut self, payload: Bytes) {
        let topic = format!("gw/{}/up/telemetry", self.id);
        let sent = self
            .client
            .publish(topic, QoS::AtLeastOnce, false, payload.to_vec());
        sent.unwrap();
    }

    /// The next acknowledgement: how many records it says are settled.
    pub(crate) fn settled(&mut self) -> u64 {
        let ack = self.acknowledged();
        ack.items.iter().map(|item| item.stored.count()).sum()
    }

    /// The next acknowledgement.
    pub(crate) fn acknowledged(&mut self) -> Ack {
        loop {
            let packet = self.until(|packet| matches!(packet, Packet::Publish(_)));
            let Ok(Packet::Publish(message)) = packet else {
                panic!("gone while waiting for an acknowledgement");
            };
            if let Ok(Down::Ack(ack)) = Down::decode(&message.payload) {
                return ack;
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) fn hears_nothing_for(&mut self, span: Duration) -> bool {
        let begin = Instant::now();
        while let Some(left) = span.checked_sub(begin.elapsed()) {
            if let Ok(Ok(Event::Incoming(Packet::Publish(_)))) = self.connection.recv_timeout(left)
            {
                return false;
            }
        }
        true
    }
}

/// One record of two readings of one point, and its dictionary.
pub(crate) fn envelope(seq: u64, values: [f64; 2]) -> Bytes {
    let dictionary = Dictionary::try_new(vec![PointDescriptor {
        device: DeviceId::try_new("meter").unwrap(),
        point: PointId::try_new("power").unwrap(),
        value_type: ValueType::F64,
        unit: "kW".into(),
        scale: 0.1,
    }])
    .unwrap();
    let now = SystemClock::start().wall();
    let sample = |n: usize| Sample {
        time: Timestamp::from_millis(now.as_millis() + i64::try_from(n).unwrap()),
        value: Some(Value::F64(values[n])),
        quality: Quality::Good,
    };
    let record = Record {
        stamp: RecordStamp {
            boot: BootId(1),
            mono: protocols_model::Instant::default(),
            wall: now,
        },
        body: Body::Telemetry(Telemetry {
            dictionaries: vec![dictionary.hash()],
            columns: vec![Column {
                dictionary: 0,
                index: 0,
                filtered: 3,
                samples: vec![sample(0), sample(1)],
            }],
            unchanged: Vec::new(),
        }),
    };
    let key = RecordKey {
        epoch: Epoch(9),
        lane: Lane::Telemetry,
        seq,
    };
    let body = record.encode().unwrap().body;
    encode_envelope(&[(key, body)], &[dictionary.encoded().clone()]).unwrap()
}
