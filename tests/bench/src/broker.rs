//! An MQTT client over mutual TLS from an identity file: the plain use of rumqttc that the yardstick
//! and the load of the ingest measurement share.

use anyhow::Context as _;
use gateway_uplink::{Pem, TlsIdentity};
use rumqttc::{AsyncClient, EventLoop, MqttOptions, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::time::Duration;

/// Publishes handed over and not yet sent.
pub(crate) const QUEUE: usize = 64;
/// Largest packet that our envelopes and the yardstick's records need.
const MAX_PACKET: usize = 1 << 20;

/// Who a client is.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Certificate's name and client id.
    pub gateway: String,
    table: toml::Table,
}

impl Identity {
    /// Reads the file that `fogline-cloud gateway add` wrote.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let table: toml::Table = std::fs::read_to_string(path)?.parse()?;
        let gateway = text(&table, "gateway")?.to_owned();
        Ok(Self { gateway, table })
    }

    /// A client of the broker at `host:port`, not yet connected.
    pub(crate) fn client(
        &self,
        broker: &str,
        inflight: u16,
    ) -> anyhow::Result<(AsyncClient, EventLoop)> {
        let (host, port) = broker.rsplit_once(':').context("the broker is host:port")?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem("ca")?)?)?;
        let chain = CertificateDer::pem_slice_iter(self.pem("certificate")?);
        let chain: Vec<_> = chain.collect::<Result<_, _>>()?;
        let private = PrivateKeyDer::from_pem_slice(self.pem("key")?)?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)?;
        let mut options = MqttOptions::new(&self.gateway, host, port.parse()?);
        options.set_keep_alive(Duration::from_secs(15));
        options.set_inflight(inflight);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        options.set_transport(Transport::tls_with_config(tls.into()));
        Ok(AsyncClient::new(options, QUEUE))
    }

    /// The same for the gateway's own uplink.
    pub(crate) fn tls(&self) -> anyhow::Result<TlsIdentity> {
        let inline = |key| anyhow::Ok(Pem::Inline(text(&self.table, key)?.into()));
        Ok(TlsIdentity {
            ca: inline("ca")?,
            certificate: inline("certificate")?,
            key: inline("key")?,
        })
    }

    fn pem(&self, key: &str) -> anyhow::Result<&[u8]> {
        Ok(text(&self.table, key)?.as_bytes())
    }
}

fn text<'a>(table: &'a toml::Table, key: &str) -> anyhow::Result<&'a str> {
    table
        .get(key)
        .and_then(toml::Value::as_str)
        .with_context(|| format!("{key} is not in the identity file"))
}
