//! One MQTT 3.1.1 connection over mutual TLS, with as little memory as it takes: rumqttc's codec over
//! tokio-rustls, no queues, no task of its own. rumqttc's client would cost each of thousands of
//! gateways two channels and a buffer of 10 KiB.

use crate::identities::Bearer;
use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Packet, Publish, Subscribe, SubscribeReasonCode,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// As a real gateway's.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest packet either way; an envelope has at most 256 KiB.
const MAX_PACKET: usize = 1 << 20;
/// Room that a read is offered: acknowledgements are small.
const READ_ROOM: usize = 512;
/// How long a connection may take until it is subscribed, on a machine that does other things.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// How long the broker may refuse to read.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// Where to connect, and whom to believe.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The broker, or what stands before it.
    pub(crate) address: SocketAddr,
    /// Who vouches for it.
    pub(crate) roots: Arc<RootCertStore>,
    /// The cryptography, shared by all connections.
    pub(crate) provider: Arc<CryptoProvider>,
}

/// A connection that is subscribed.
#[derive(Debug)]
pub(crate) struct Mqtt {
    stream: TlsStream<TcpStream>,
    incoming: BytesMut,
    outgoing: BytesMut,
    packet_id: u16,
}

impl Target {
    /// A TCP connection from an address of its own: with one for all, ports would run out, and
    /// whoever counts by source would see a single one.
    pub(crate) async fn tcp(&self, from: SocketAddr) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(from)?;
        let stream = socket.connect(self.address).await;
        let stream = stream.with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// TLS over a connection; without a bearer, without a certificate.
    pub(crate) async fn tls(
        &self,
        stream: TcpStream,
        bearer: Option<&Bearer>,
    ) -> anyhow::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match bearer {
            Some(bearer) => {
                let chain = vec![bearer.certificate.clone()];
                config.with_client_auth_cert(chain, bearer.key.clone_key())?
            }
            None => config.with_no_client_auth(),
        };
        // A cache of tickets for each of thousands would be most of the memory.
        config.resumption = Resumption::disabled();
        let name = ServerName::from(self.address.ip());
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connected.await.context("TLS")
    }
}

impl Mqtt {
    /// Connects as `bearer` and subscribes to `filter`.
    pub(crate) async fn connect(
        target: &Target,
        from: SocketAddr,
        bearer: &Bearer,
        filter: &str,
    ) -> anyhow::Result<Self> {
        let connecting = async {
            let stream = target.tcp(from).await?;
            let mut mqtt = Self {
                stream: target.tls(stream, Some(bearer)).await?,
                incoming: BytesMut::new(),
                outgoing: BytesMut::new(),
                packet_id: 0,
            };
            mqtt.begin(bearer.id.as_str(), filter).await?;
            Ok(mqtt)
        };
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        connected.context("no session in time")?
    }

    async fn begin(&mut self, client_id: &str, filter: &str) -> anyhow::Result<()> {
        let mut connect = Connect::new(client_id);
        connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs())?;
        self.send(&Packet::Connect(connect)).await?;
        match self.next().await? {
            Packet::ConnAck(ack) => ensure!(
                ack.code == ConnectReturnCode::Success,
                "refused: {:?}",
                ack.code
            ),
            other => bail!("instead of a CONNACK: {other:?}"),
        }
        let mut subscribe = Subscribe::new(filter, QoS::AtMostOnce);
        subscribe.pkid = 1;
        self.packet_id = 1;
        self.send(&Packet::Subscribe(subscribe)).await?;
        match self.next().await? {
            Packet::SubAck(ack) => {
                let granted =
                    |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                ensure!(ack.return_codes.iter().all(granted), "subscription refused");
                Ok(())
            }
            other => bail!("instead of a SUBACK: {other:?}"),
        }
    }

    /// Publishes; nobody waits for the PUBACK, which comes as a packet.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        qos: QoS,
        payload: bytes::Bytes,
    ) -> anyhow::Result<()> {
        let mut publish = Publish::from_bytes(topic, qos, payload);
        if qos != QoS::AtMostOnce {
            // 1 to 65535; far fewer are under way.
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            publish.pkid = self.packet_id;
        }
        self.send(&Packet::Publish(publish)).await
    }

    /// Sends a packet.
    pub(crate) async fn send(&mut self, packet: &Packet) -> anyhow::Result<()> {
        self.outgoing.clear();
        packet.write(&mut self.outgoing, MAX_PACKET)?;
        let writing = async {
            self.stream.write_all(&self.outgoing).await?;
            self.stream.flush().await
        };
        let written = tokio::time::timeout(WRITE_LIMIT, writing).await;
        written.context("the broker does not read")??;
        Ok(())
    }

    /// The next packet. Cancel-safe: what was read stays.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Packet> {
        loop {
            match Packet::read(&mut self.incoming, MAX_PACKET) {
                Ok(packet) => return Ok(packet),
                Err(CodecError::InsufficientBytes(_)) => {}
                Err(error) => return Err(error).context("an MQTT packet"),
            }
            self.incoming.reserve(READ_ROOM);
            let read = self.stream.read_buf(&mut self.incoming).await?;
            ensure!(read > 0, "the broker closed the connection");
        }
    }
}
