//! A gateway's MQTT client: rumqttc over mutual TLS, one connection, events as a stream.

use crate::stand::DEADLINE;
use bytes::Bytes;
use cloud_pki::Identity;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, MqttOptions, Packet, QoS,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the broker said.
#[derive(Debug)]
pub(crate) enum Said {
    PubAck,
    SubAck(Vec<bool>),
    Message(String, Bytes),
    Gone(String),
}

pub(crate) struct Mqtt {
    pub(crate) client: AsyncClient,
    said: mpsc::Receiver<Said>,
    /// Messages that came while something else was waited for.
    inbox: VecDeque<(String, Bytes)>,
}

pub(crate) fn tls(identity: &Identity, with_certificate: bool) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(identity.ca.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    if !with_certificate {
        return Arc::new(builder.with_no_client_auth());
    }
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    Arc::new(
        builder
            .with_client_auth_cert(vec![certificate], key)
            .unwrap(),
    )
}

impl Mqtt {
    /// Connects with one certificate and any client id; the error says how it was refused.
    pub(crate) async fn connect(
        server: SocketAddr,
        identity: &Identity,
        client_id: &str,
    ) -> Result<Self, String> {
        Self::connect_with(server, tls(identity, true), client_id).await
    }

    pub(crate) async fn connect_with(
        server: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
        client_id: &str,
    ) -> Result<Self, String> {
        let mut options = MqttOptions::new(client_id, server.ip().to_string(), server.port());
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        Self::begin(options).await
    }

    /// Connects without TLS, to a broker that wants none.
    pub(crate) async fn connect_plain(server: SocketAddr, client_id: &str) -> Result<Self, String> {
        let (ip, port) = (server.ip().to_string(), server.port());
        Self::begin(MqttOptions::new(client_id, ip, port)).await
    }

    async fn begin(mut options: MqttOptions) -> Result<Self, String> {
        options.set_clean_session(true);
        options.set_max_packet_size(1 << 20, 2 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        let network = &mut events.network_options;
        network.set_connection_timeout(DEADLINE.as_secs());
        let first = tokio::time::timeout(DEADLINE, events.poll()).await;
        match first.map_err(|_| "no answer".to_owned())? {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if ack.code == ConnectReturnCode::Success => {
            }
            Ok(other) => return Err(format!("{other:?}")),
            Err(ConnectionError::ConnectionRefused(code)) => return Err(format!("{code:?}")),
            Err(error) => return Err(error.to_string()),
        }
        let (sender, said) = mpsc::channel(1024);
        tokio::spawn(async move {
            loop {
                let said = match events.poll().await {
                    Ok(Event::Incoming(Packet::PubAck(_))) => Said::PubAck,
                    Ok(Event::Incoming(Packet::SubAck(ack))) => Said::SubAck(
                        ack.return_codes
                            .iter()
                            .map(|code| matches!(code, SubscribeReasonCode::Success(_)))
                            .collect(),
                    ),
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        Said::Message(message.topic, message.payload)
                    }
                    Ok(_) => continue,
                    Err(error) => Said::Gone(error.to_string()),
                };
                let gone = matches!(said, Said::Gone(_));
                if sender.send(said).await.is_err() || gone {
                    return;
                }
            }
        });
        Ok(Self {
            client,
            said,
            inbox: VecDeque::new(),
        })
    }

    pub(crate) async fn next(&mut self) -> Said {
        let said = tokio::time::timeout(DEADLINE, self.said.recv()).await;
        said.expect("the broker says something")
            .expect("still polled")
    }

    pub(crate) async fn subscribe(&mut self, topic: &str, qos: QoS) -> bool {
        self.client.subscribe(topic, qos).await.unwrap();
        loop {
            match self.next().await {
                Said::SubAck(codes) => return codes.into_iter().all(|granted| granted),
                Said::Gone(_) => return false,
                Said::Message(topic, payload) => self.inbox.push_back((topic, payload)),
                Said::PubAck => {}
            }
        }
    }

    /// Publishes at `QoS 1` and waits for the PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        let sent = self
            .client
            .publish(topic, QoS::AtLeastOnce, false, payload.into());
        sent.await.unwrap();
        loop {
            match self.next().await {
                Said::PubAck => return,
                Said::Gone(why) => panic!("gone: {why}"),
                // What comes meanwhile is kept: on a busy machine an answer may be early.
                Said::Message(topic, payload) => self.inbox.push_back((topic, payload)),
                Said::SubAck(_) => {}
            }
        }
    }

    pub(crate) async fn message(&mut self) -> (String, Bytes) {
        if let Some(message) = self.inbox.pop_front() {
            return message;
        }
        loop {
            match self.next().await {
                Said::Message(topic, payload) => return (topic, payload),
                Said::Gone(why) => panic!("gone: {why}"),
                Said::SubAck(_) | Said::PubAck => {}
            }
        }
    }

    /// Waits for the end of the connection.
    pub(crate) async fn gone(&mut self) -> String {
        loop {
            if let Said::Gone(why) = self.next().await {
                return why;
            }
        }
    }
}
