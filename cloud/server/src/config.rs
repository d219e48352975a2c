//! `cloud.toml`: strict, with every problem named at once. Paths are relative to the file's folder.

mod broker;
mod database;
mod mqtt;

pub(crate) use broker::{BrokerSection, NodeArgument, NodeSection};
pub(crate) use database::DatabaseSection;

use anyhow::Context as _;
use cloud_api::OneTimeLogin;
use cloud_auth::{BrokerSettings, ClusterSettings, Node, NodeFile};
use cloud_store::{PostgresOptions, SqliteOptions};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Bits of a file's mode: what others than owner and group may do.
const OTHERS: u32 = 0o007;
/// Room for the broker's other streams beside the one that ingest reads.
const OTHER_STREAMS_BYTES: u64 = 256 * 1024 * 1024;

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloudConfig {
    /// Folder of the file; not part of it.
    #[serde(skip)]
    base: PathBuf,
    /// The file; not part of it.
    #[serde(skip)]
    file: PathBuf,
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

/// Which database, and how to open it.
pub(crate) enum Database {
    /// A SQLite file.
    File(PathBuf, SqliteOptions),
    /// PostgreSQL.
    Postgres(PostgresOptions),
}

impl CloudConfig {
    /// A configuration for one machine, or for a broker of several nodes.
    pub(crate) fn for_init(init: &crate::cli::InitArguments) -> Self {
        Self {
            base: init.dir.clone(),
            file: init.dir.join("cloud.toml"),
            pki: PkiSection { dir: "pki".into() },
            database: DatabaseSection::in_file(),
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
        let mut config = Self::parse(&text, base)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        config.file = path.to_owned();
        Ok(config)
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
        let mut problems = self.database.problems();
        problems.extend(self.broker.problems());
        if self.api.names.is_empty() {
            problems.push("api.names is empty".to_owned());
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

    /// Which database, and how to open it.
    pub(crate) fn database(&self) -> anyhow::Result<Database> {
        let database = &self.database;
        let limits = database.limits();
        let Some(url) = &database.url else {
            let path = database.path.as_deref().unwrap_or(Path::new(""));
            return Ok(Database::File(self.path(path), SqliteOptions { limits }));
        };
        let (url, password) = without_password(url)?;
        if password.is_some() {
            self.insist_on_privacy()?;
        }
        let own = self.ca();
        let root = database.root_certificate.as_ref();
        let root = root.map_or(own, |file| self.path(file));
        Ok(Database::Postgres(PostgresOptions {
            password,
            password_file: database.password_file.as_ref().map(|file| self.path(file)),
            // Where there is no TLS none is needed.
            root_certificate: root.exists().then_some(root),
            limits,
            ..PostgresOptions::new(&url)
        }))
    }

    /// A file with a password in it is not for everybody's eyes.
    fn insist_on_privacy(&self) -> anyhow::Result<()> {
        let mode = std::fs::metadata(&self.file)?.permissions().mode();
        anyhow::ensure!(
            mode & OTHERS == 0,
            "{} holds a password (database.url) and everybody may read it (mode {:o}): make it 0600, or \
             put the password into a file of its own (database.password_file)",
            self.file.display(),
            mode & 0o777
        );
        Ok(())
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

/// A URL and the password that stood in it.
fn without_password(url: &str) -> anyhow::Result<(String, Option<String>)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok((url.to_owned(), None));
    };
    let (authority, place) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let Some((user, hosts)) = authority.rsplit_once('@') else {
        return Ok((url.to_owned(), None));
    };
    let Some((user, password)) = user.split_once(':') else {
        return Ok((url.to_owned(), None));
    };
    let password = decoded(password).context("the password in database.url is not well written")?;
    Ok((format!("{scheme}://{user}@{hosts}{place}"), Some(password)))
}

/// Text in which `%41` stands for `A`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
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
        let Database::File(path, _) = config.database().unwrap() else {
            panic!("a file");
        };
        assert_eq!(path, Path::new("/etc/fogline/data/fogline.db"));
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

    #[test]
    fn a_password_in_the_url_is_taken_out_of_it_and_wants_a_private_file() {
        let url = "postgres://f:a%2Fb%40c@db.example:5432,two/fogline?sslmode=disable";
        let (bare, password) = without_password(url).unwrap();
        assert_eq!(
            bare,
            "postgres://f@db.example:5432,two/fogline?sslmode=disable"
        );
        assert_eq!(password.as_deref(), Some("a/b@c"));
        assert!(without_password("postgres://f:%zz@h/d").is_err());

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cloud.toml");
        let at = format!("url = \"{url}\"");
        let text = example().replace("path = \"data/fogline.db\"", &at);
        std::fs::write(&file, text).unwrap();
        let set_mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, mode).unwrap();
        };
        set_mode(0o644);
        let config = CloudConfig::read(&file).unwrap();
        let error = config.database().err().unwrap().to_string();
        assert!(
            error.contains("password_file") && !error.contains("a/b"),
            "{error}"
        );
        set_mode(0o640);
        assert!(matches!(config.database(), Ok(Database::Postgres(_))));
        assert!(!format!("{config:?}").contains("%2Fb"), "never in a log");
    }

    #[test]
    fn one_database_is_named_and_not_two() {
        let both = example().replace(
            "path = \"data/fogline.db\"",
            "path = \"data/fogline.db\"\nurl = \"postgres://f@h/d\"",
        );
        let error = CloudConfig::parse(&both, PathBuf::new()).unwrap_err();
        assert!(error.contains("either path (SQLite) or url"), "{error}");
    }
}
