//! `cloud.toml`: strict, with every problem named at once. Paths are relative to the file's folder.

mod broker;

pub(crate) use broker::{BrokerSection, NodeArgument, NodeSection};

use cloud_api::OneTimeLogin;
use cloud_auth::{BrokerSettings, ClusterSettings, Node, NodeFile};
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthSection>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthSection {
    /// Where liveness, readiness and metrics are answered (plain HTTP).
    listen: SocketAddr,
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

impl CloudConfig {
    /// A configuration for one machine, or for a broker of several nodes.
    pub(crate) fn for_init(init: &crate::cli::InitArguments) -> Self {
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
            broker: BrokerSection::for_init(init),
            api: ApiSection {
                listen: SocketAddr::new(init.listen(), init.api_port),
                names: init.hosts(),
                certificate: "pki/api.pem".into(),
                key: "pki/api.key".into(),
                one_time_login: if init.demo {
                    OneTime::MaySkip
                } else {
                    OneTime::MustReplace
                },
                metrics_token_file: Some("metrics-token".into()),
            },
            health: None,
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

    /// Whether what was made of a command line could be read again.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let problems = self.problems();
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(())
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
        demand(!api.names.is_empty(), "api.names is empty".to_owned());
        problems.extend(broker.problems());
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

    pub(crate) fn health_listen(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(|health| health.listen)
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

    /// Folder of a node's files: the broker's own where there is one node.
    pub(crate) fn node_dir(&self, node: &NodeSection) -> PathBuf {
        if self.broker.is_cluster() {
            self.broker_dir().join(&node.name)
        } else {
            self.broker_dir()
        }
    }

    /// Folder of the authority behind the nodes' routes.
    pub(crate) fn routes_dir(&self) -> PathBuf {
        self.broker_dir().join("routes")
    }

    /// What the broker's configuration and its guard say of a node whose files are written to `dir`.
    pub(crate) fn node(
        &self,
        node: &NodeSection,
        dir: &Path,
        installation: String,
    ) -> (BrokerSettings, NodeFile) {
        let broker = &self.broker;
        let made_in = self.absolute(dir.to_owned());
        let files = broker.files_at.clone().unwrap_or(made_in);
        let store = broker.store_at.clone();
        let store = store.unwrap_or_else(|| files.join("jetstream"));
        let cluster = broker.cluster.clone();
        let settings = BrokerSettings {
            server_name: node.name.clone(),
            mqtt_listen: node.mqtt_listen,
            client_listen: node.client_listen,
            store_dir: store.clone(),
            max_file_bytes: self.stream_max_bytes().saturating_add(OTHER_STREAMS_BYTES),
            certificate: files.join("broker.pem"),
            key: files.join("broker.key"),
            ca: if broker.is_cluster() {
                files.join(cloud_pki::authority::CA_CERTIFICATE_FILE)
            } else {
                self.absolute(self.ca())
            },
            replicas: broker.replicas(),
            monitor_listen: broker.is_cluster().then_some(node.monitor_listen),
            cluster: cluster.clone().map(|name| ClusterSettings {
                name,
                listen: node.route_listen,
                routes: broker.routes(),
                certificate: files.join("route.pem"),
                key: files.join("route.key"),
                ca: files.join("routes-ca.pem"),
            }),
        };
        let node = Node {
            installation,
            cluster: cluster.unwrap_or_default(),
            name: node.name.clone(),
        };
        (settings, NodeFile { store, node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::InitArguments;

    fn example() -> String {
        let init = InitArguments::example();
        CloudConfig::for_init(&init).to_toml().unwrap()
    }

    #[test]
    fn what_init_writes_is_what_run_reads() {
        let config = CloudConfig::parse(&example(), "/etc/fogline".into()).unwrap();
        assert_eq!(config.broker.servers, ["mqtts://mqtt.example.com:8883"]);
        assert_eq!(config.database(), Path::new("/etc/fogline/data/fogline.db"));
        assert!(config.broker.nodes()[0].client_listen.ip().is_loopback());
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
        assert!(error.contains("broker.urls"), "{error}");
    }
}
