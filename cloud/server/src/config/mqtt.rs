//! `[broker.mqtt]`: another broker than NATS. What `[broker]` says of nodes and streams is then unused;
//! its `servers` is what gateways are told, its `names` what the broker's certificate holds.

use super::CloudConfig;
use cloud_ingest::{MqttSettings, MqttTls};
use protocols_model::GatewayId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

const DEFAULT_GROUP: &str = "fogline-ingest";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MqttSection {
    /// Where ingest reaches it: `mqtts://host:port`; `mqtt://` on loopback.
    url: String,
    /// The group of the shared subscription and the common name of ingest's certificate.
    #[serde(default = "default_group")]
    group: GatewayId,
    /// The authority that vouches for the broker; default: our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// Ingest's certificate and key; default: `ingest.pem` and `ingest.key` in `broker.dir`, which
    /// `fogline-cloud broker certificate` issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

fn default_group() -> GatewayId {
    GatewayId::try_new(DEFAULT_GROUP).expect("invariant: the default group is a valid name")
}

/// Where a URL leads.
struct Place<'a> {
    host: &'a str,
    port: u16,
    encrypted: bool,
}

impl MqttSection {
    /// What is wrong with it.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.place().is_none() {
            problems.push(format!(
                "broker.mqtt.url is {:?}; allowed are mqtts://host:port, and mqtt://127.0.0.1:port for a \
                 broker on this machine",
                self.url
            ));
        }
        if self.certificate.is_some() != self.key.is_some() {
            problems.push("broker.mqtt needs certificate and key together, or neither".to_owned());
        }
        problems
    }

    /// Who ingest is at the broker. No gateway may bear this name.
    pub(crate) const fn group(&self) -> &GatewayId {
        &self.group
    }

    /// Whether ingest's certificate is ours to issue.
    pub(crate) const fn is_certificate_ours(&self) -> bool {
        self.certificate.is_none()
    }

    /// What the source needs, with a client id that no other replica has.
    pub(crate) fn settings(&self, config: &CloudConfig) -> anyhow::Result<MqttSettings> {
        let place = self.place();
        let place = place.ok_or_else(|| anyhow::anyhow!("broker.mqtt.url cannot be read"))?;
        let file = |own: &Option<PathBuf>, usual: PathBuf| match own {
            Some(path) => config.path(path),
            None => usual,
        };
        let tls = place.encrypted.then(|| MqttTls {
            ca: file(&self.ca, config.ca()),
            certificate: file(&self.certificate, config.broker_dir().join("ingest.pem")),
            key: file(&self.key, config.broker_dir().join("ingest.key")),
        });
        let unique = data_encoding::HEXLOWER.encode(&cloud_pki::secret::random::<4>()?);
        Ok(MqttSettings {
            host: place.host.to_owned(),
            port: place.port,
            tls,
            group: self.group.to_string(),
            client_id: format!("{}-{unique}", self.group),
            patience: cloud_ingest::mqtt::PATIENCE,
        })
    }

    fn place(&self) -> Option<Place<'_>> {
        let (scheme, rest) = self.url.split_once("://")?;
        let (host, port) = rest.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let encrypted = match scheme {
            "mqtts" => true,
            "mqtt" if matches!(host, "127.0.0.1" | "::1" | "localhost") => false,
            _ => return None,
        };
        let port = port.parse().ok()?;
        (!host.is_empty()).then_some(Place {
            host,
            port,
            encrypted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(url: &str) -> MqttSection {
        toml::from_str(&format!("url = {url:?}")).unwrap()
    }

    #[test]
    fn a_plain_connection_never_leaves_the_machine() {
        for good in [
            "mqtts://broker.example.com:8884",
            "mqtts://[2001:db8::1]:8884",
            "mqtt://127.0.0.1:1883",
        ] {
            assert_eq!(section(good).problems(), [""; 0], "{good}");
        }
        for bad in [
            "mqtt://broker.example.com:1883",
            "mqtts://broker",
            "tls://a:1",
            "mqtts://:1",
        ] {
            let problems = section(bad).problems();
            assert!(
                problems[0].contains("broker.mqtt.url"),
                "{bad}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        let mut section = section("mqtts://a:1");
        section.key = Some("own.key".into());
        assert_eq!(section.problems().len(), 1);
    }
}
