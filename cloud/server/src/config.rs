//! `cloud.toml`: strict, with every problem named at once. Paths are relative to the file's folder.

use cloud_api::OneTimeLogin;
use cloud_auth::BrokerSettings;
use cloud_store::{Limits, SqliteOptions};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: u64 = 24 * 3600;
/// Room for the broker's other streams beside the one that ingest reads.
const OTHER_STREAMS_BYTES: u64 = 256 * 1024 * 1024;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloudConfig {
    /// Folder of the file; not part of it.
    #[serde(skip)]
    base: PathBuf,
    pub(crate) pki: PkiSection,
    pub(crate) database: DatabaseSection,
    pub(crate) broker: BrokerSection,
    pub(crate) api: ApiSection,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PkiSection {
    /// Folder of the authority.
    dir: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseSection {
    path: PathBuf,
    #[serde(default = "default_retention_days")]
    retention_days: u64,
    #[serde(default = "default_rollup_retention_days")]
    rollup_retention_days: u64,
    #[serde(default = "default_compact_after_s")]
    compact_after_s: u64,
    #[serde(default = "default_series")]
    series_per_gateway: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrokerSection {
    /// Folder of secrets, certificate, configuration and JetStream's files.
    dir: PathBuf,
    /// Unique among the nodes of a cluster.
    server_name: String,
    /// Where this program reaches the broker: `nats://` on loopback, `tls://` elsewhere.
    pub(crate) url: String,
    /// Where the broker listens for this program.
    client_listen: SocketAddr,
    /// Where the broker listens for gateways.
    mqtt_listen: SocketAddr,
    /// Names and addresses in the broker's certificate.
    pub(crate) names: Vec<String>,
    /// What identities tell gateways, `mqtts://host:port`.
    pub(crate) servers: Vec<String>,
    /// Bound of the stream that ingest reads; at least twice the sum of all gateways' windows.
    #[serde(default = "default_stream_max_mb")]
    stream_max_mb: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiSection {
    /// Where API and dashboard listen (HTTPS).
    pub(crate) listen: SocketAddr,
    /// Names and addresses in the API's certificate.
    pub(crate) names: Vec<String>,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    one_time_login: OneTime,
    /// File with the bearer token that opens `/metrics` without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics_token_file: Option<PathBuf>,
}

/// What a one-time password opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OneTime {
    /// Nothing but choosing a password.
    #[default]
    MustReplace,
    /// Everything, once: for demonstrations.
    MaySkip,
}

const fn default_retention_days() -> u64 {
    400
}
const fn default_rollup_retention_days() -> u64 {
    3650
}
const fn default_compact_after_s() -> u64 {
    300
}
const fn default_series() -> u64 {
    100_000
}
const fn default_stream_max_mb() -> u64 {
    1024
}

impl CloudConfig {
    /// A configuration for one machine.
    pub(crate) fn for_one_machine(init: &crate::cli::InitArguments) -> Self {
        let first = init.host.first().map_or("127.0.0.1", String::as_str);
        // An IPv6 address stands in brackets in a URL.
        let host = if first.contains(':') {
            format!("[{first}]")
        } else {
            first.to_owned()
        };
        let loopback = SocketAddr::from(([127, 0, 0, 1], init.client_port));
        Self {
            base: init.dir.clone(),
            pki: PkiSection { dir: "pki".into() },
            database: DatabaseSection {
                path: "data/fogline.db".into(),
                retention_days: default_retention_days(),
                rollup_retention_days: default_rollup_retention_days(),
                compact_after_s: default_compact_after_s(),
                series_per_gateway: default_series(),
            },
            broker: BrokerSection {
                dir: "broker".into(),
                server_name: "fogline-1".to_owned(),
                url: format!("nats://{loopback}"),
                client_listen: loopback,
                mqtt_listen: SocketAddr::new(init.listen, init.mqtt_port),
                names: init.host.clone(),
                servers: vec![format!("mqtts://{host}:{}", init.mqtt_port)],
                stream_max_mb: default_stream_max_mb(),
            },
            api: ApiSection {
                listen: SocketAddr::new(init.listen, init.api_port),
                names: init.host.clone(),
                certificate: "pki/api.pem".into(),
                key: "pki/api.key".into(),
                one_time_login: if init.demo {
                    OneTime::MaySkip
                } else {
                    OneTime::MustReplace
                },
                metrics_token_file: Some("metrics-token".into()),
            },
        }
    }

    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow::anyhow!(
                "cannot read the configuration {}: {error}; `fogline-cloud init --dir FOLDER` makes \
                 one, `--config FILE` names another",
                path.display()
            )
        })?;
        let base = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(&text, base).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    fn parse(text: &str, base: PathBuf) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        config.base = base;
        let problems = config.problems();
        if problems.is_empty() {
            return Ok(config);
        }
        Err(problems.join("; "))
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let (database, broker, api) = (&self.database, &self.broker, &self.api);
        for (key, found, allowed) in [
            (
                "database.retention_days",
                database.retention_days,
                1..=36_500,
            ),
            (
                "database.rollup_retention_days",
                database.rollup_retention_days,
                1..=36_500,
            ),
            (
                "database.compact_after_s",
                database.compact_after_s,
                10..=86_400,
            ),
            (
                "database.series_per_gateway",
                database.series_per_gateway,
                1..=10_000_000,
            ),
            ("broker.stream_max_mb", broker.stream_max_mb, 16..=1_048_576),
        ] {
            let range = format!("{} to {}", allowed.start(), allowed.end());
            demand(
                allowed.contains(&found),
                format!("{key} is {found}; allowed are {range}"),
            );
        }
        demand(
            database.rollup_retention_days >= database.retention_days,
            "database.rollup_retention_days is below database.retention_days".to_owned(),
        );
        let scheme_fits = if broker.client_listen.ip().is_loopback() {
            broker.url.starts_with("nats://") || broker.url.starts_with("tls://")
        } else {
            broker.url.starts_with("tls://")
        };
        demand(
            scheme_fits,
            format!(
                "broker.url is {:?}; allowed are tls://host:port, and nats://host:port where \
                 broker.client_listen is on loopback",
                broker.url
            ),
        );
        for server in &broker.servers {
            demand(
                server.starts_with("mqtts://"),
                format!("broker.servers holds {server:?}; allowed is mqtts://host:port"),
            );
        }
        for (key, list) in [
            ("broker.servers", &broker.servers),
            ("broker.names", &broker.names),
            ("api.names", &api.names),
        ] {
            demand(!list.is_empty(), format!("{key} is empty"));
        }
        problems
    }

    /// The file's text.
    pub(crate) fn to_toml(&self) -> anyhow::Result<String> {
        let body = toml::to_string_pretty(self)?;
        Ok(format!(
            "# Fogline cloud. Paths are relative to this file. After a change of [broker]:\n\
             # `fogline-cloud broker config`, then restart the broker.\n\n{body}"
        ))
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// The same path from the root of the file system: the broker runs in another folder.
    fn absolute(&self, path: PathBuf) -> PathBuf {
        std::path::absolute(&path).unwrap_or(path)
    }

    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.path(&self.pki.dir)
    }

    pub(crate) fn broker_dir(&self) -> PathBuf {
        self.path(&self.broker.dir)
    }

    pub(crate) fn broker_secrets(&self) -> PathBuf {
        self.broker_dir().join("secrets.toml")
    }

    pub(crate) fn broker_config(&self) -> PathBuf {
        self.broker_dir().join("nats-server.conf")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.pki_dir()
            .join(cloud_pki::authority::CA_CERTIFICATE_FILE)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path(&self.database.path)
    }

    pub(crate) fn one_time_password_file(&self) -> PathBuf {
        self.base.join("first-login")
    }

    pub(crate) fn identity_file(&self, id: &protocols_model::GatewayId) -> PathBuf {
        self.base.join("gateways").join(format!("{id}.toml"))
    }

    pub(crate) fn api_files(&self) -> (PathBuf, PathBuf) {
        (self.path(&self.api.certificate), self.path(&self.api.key))
    }

    pub(crate) fn metrics_token_file(&self) -> Option<PathBuf> {
        let file = self.api.metrics_token_file.as_ref()?;
        Some(self.path(file))
    }

    pub(crate) const fn one_time_login(&self) -> OneTimeLogin {
        match self.api.one_time_login {
            OneTime::MustReplace => OneTimeLogin::MustReplace,
            OneTime::MaySkip => OneTimeLogin::MaySkip,
        }
    }

    pub(crate) const fn stream_max_bytes(&self) -> u64 {
        self.broker.stream_max_mb.saturating_mul(1024 * 1024)
    }

    pub(crate) fn store_options(&self) -> SqliteOptions {
        let database = &self.database;
        SqliteOptions {
            limits: Limits {
                series_per_gateway: database.series_per_gateway,
                compact_after: Duration::from_secs(database.compact_after_s),
                retention: Duration::from_secs(database.retention_days.saturating_mul(DAY)),
                rollup_retention: Duration::from_secs(
                    database.rollup_retention_days.saturating_mul(DAY),
                ),
                ..Limits::default()
            },
        }
    }

    pub(crate) fn broker_settings(&self) -> BrokerSettings {
        let dir = self.absolute(self.broker_dir());
        BrokerSettings {
            server_name: self.broker.server_name.clone(),
            mqtt_listen: self.broker.mqtt_listen,
            client_listen: self.broker.client_listen,
            store_dir: dir.join("jetstream"),
            max_file_bytes: self.stream_max_bytes().saturating_add(OTHER_STREAMS_BYTES),
            certificate: dir.join("broker.pem"),
            key: dir.join("broker.key"),
            ca: self.absolute(self.ca()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::InitArguments;

    fn example() -> String {
        let init = InitArguments {
            dir: "x".into(),
            host: vec!["mqtt.example.com".into()],
            listen: [0, 0, 0, 0].into(),
            mqtt_port: 8883,
            client_port: 4222,
            api_port: 8443,
            demo: false,
        };
        CloudConfig::for_one_machine(&init).to_toml().unwrap()
    }

    #[test]
    fn what_init_writes_is_what_run_reads() {
        let config = CloudConfig::parse(&example(), "/etc/fogline".into()).unwrap();
        assert_eq!(config.broker.servers, ["mqtts://mqtt.example.com:8883"]);
        assert_eq!(config.database(), Path::new("/etc/fogline/data/fogline.db"));
        assert!(config.broker_settings().client_listen.ip().is_loopback());
    }

    #[test]
    fn a_mistyped_key_is_named_with_its_line() {
        let text = example().replace("retention_days = 400", "retension_days = 400");
        let error = CloudConfig::parse(&text, PathBuf::new()).unwrap_err();
        assert!(error.contains("retension_days"), "{error}");
        assert!(error.contains("line "), "{error}");
    }

    #[test]
    fn every_value_out_of_range_is_named_at_once() {
        let text = example()
            .replace("stream_max_mb = 1024", "stream_max_mb = 1")
            .replace("\nretention_days = 400", "\nretention_days = 0")
            .replace("mqtts://", "mqtt://");
        let error = CloudConfig::parse(&text, PathBuf::new()).unwrap_err();
        for key in [
            "broker.stream_max_mb",
            "database.retention_days",
            "broker.servers",
        ] {
            assert!(error.contains(key), "{key}: {error}");
        }
    }

    #[test]
    fn a_plain_connection_never_leaves_the_machine() {
        let text = example().replace(
            "client_listen = \"127.0.0.1:4222\"",
            "client_listen = \"10.0.0.1:4222\"",
        );
        let error = CloudConfig::parse(&text, PathBuf::new()).unwrap_err();
        assert!(error.contains("broker.url"), "{error}");
    }
}
