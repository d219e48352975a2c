//! An MQTT client that bears a gateway's identity and says whatever it likes.

use anyhow::Context as _;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration, Transport,
};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Longest payload; more than the broker takes.
const MAX_PAYLOAD: usize = 4 << 20;

/// What an identity file holds.
struct Papers(toml::Table);

impl Papers {
    fn read(identity: &Path) -> anyhow::Result<Self> {
        Ok(Self(std::fs::read_to_string(identity)?.parse()?))
    }

    fn pem(&self, key: &str) -> anyhow::Result<&[u8]> {
        let text = self.0.get(key).and_then(toml::Value::as_str);
        let text = text.with_context(|| format!("no {key} in the identity file"))?;
        Ok(text.as_bytes())
    }

    fn trusting(&self) -> anyhow::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem("ca")?)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider);
        let versions = versions.with_safe_default_protocol_versions()?;
        Ok(versions.with_root_certificates(roots))
    }

    fn bearing(&self) -> anyhow::Result<ClientConfig> {
        let chain = vec![CertificateDer::from_pem_slice(self.pem("certificate")?)?];
        let key = PrivateKeyDer::from_pem_slice(self.pem("key")?)?;
        Ok(self.trusting()?.with_client_auth_cert(chain, key)?)
    }
}

/// A way of coming in that is none.
#[derive(Debug)]
pub(crate) enum Knock {
    /// Without TLS.
    Plain,
    /// With TLS that believes the broker and shows nothing.
    WithoutCertificate(Arc<ClientConfig>),
    /// In the newer version, with the identity of this file and its name.
    Mqtt5(PathBuf, &'static str),
}

/// TLS that believes the broker of this identity file and shows nothing.
pub(crate) fn trusting(identity: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let papers = Papers::read(identity)?;
    Ok(Arc::new(papers.trusting()?.with_no_client_auth()))
}

/// Tries to come in that way; ends well when let in.
pub(crate) async fn knock(broker: SocketAddr, how: &Knock) -> anyhow::Result<()> {
    let (host, port) = (broker.ip().to_string(), broker.port());
    let rustls = |tls: Arc<ClientConfig>| Transport::tls_with_config(TlsConfiguration::Rustls(tls));
    if let Knock::Mqtt5(identity, name) = how {
        let papers = Papers::read(identity)?;
        let mut options = rumqttc::v5::MqttOptions::new(*name, host, port);
        options.set_transport(rustls(Arc::new(papers.bearing()?)));
        let (_client, mut events) = rumqttc::v5::AsyncClient::new(options, 1);
        tokio::time::timeout(ANSWER_LIMIT, events.poll()).await??;
        return Ok(());
    }
    let mut options = MqttOptions::new("somebody", host, port);
    if let Knock::WithoutCertificate(tls) = how {
        options.set_transport(rustls(Arc::clone(tls)));
    }
    let (_client, mut events) = AsyncClient::new(options, 1);
    tokio::time::timeout(ANSWER_LIMIT, events.poll()).await??;
    Ok(())
}

/// A connection under some identity.
pub(crate) struct Bearer {
    client: AsyncClient,
    events: EventLoop,
    /// Messages that reached it.
    heard: u64,
}

impl Bearer {
    /// Connects as `client_id` with key and certificate of an identity file.
    pub(crate) async fn connect(
        identity: &Path,
        client_id: &str,
        broker: SocketAddr,
    ) -> anyhow::Result<Self> {
        let tls = Papers::read(identity)?.bearing()?;
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(MAX_PAYLOAD, MAX_PAYLOAD);
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            Arc::new(tls),
        )));
        let (client, mut events) = AsyncClient::new(options, 16);
        let network = &mut events.network_options;
        network.set_connection_timeout(ANSWER_LIMIT.as_secs());
        let mut bearer = Self {
            client,
            events,
            heard: 0,
        };
        bearer
            .until(|packet| matches!(packet, Packet::ConnAck(_)))
            .await?;
        Ok(bearer)
    }

    /// Publishes and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)
            .await?;
        self.until(|packet| matches!(packet, Packet::PubAck(_)))
            .await
            .with_context(|| format!("publishing {} bytes on {topic}", payload.len()))
    }

    /// Subscribes and waits for the answer, whatever it is.
    pub(crate) async fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        self.client.subscribe(filter, QoS::AtMostOnce).await?;
        self.until(|packet| matches!(packet, Packet::SubAck(_)))
            .await
            .with_context(|| format!("subscribing to {filter}"))
    }

    /// Listens for a while.
    pub(crate) async fn listen(&mut self, span: Duration) -> anyhow::Result<()> {
        match tokio::time::timeout(span, self.until(|_| false)).await {
            Ok(ended) => ended,
            Err(_elapsed) => Ok(()),
        }
    }

    /// Messages that reached it so far.
    pub(crate) const fn heard(&self) -> u64 {
        self.heard
    }

    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> anyhow::Result<()> {
        let found = async {
            loop {
                let Event::Incoming(packet) = self.events.poll().await? else {
                    continue;
                };
                if matches!(packet, Packet::Publish(_)) {
                    self.heard += 1;
                }
                if wanted(&packet) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, found).await?
    }
}
