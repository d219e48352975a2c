//! The broker's configuration: rendered from one template, with the secrets its users need.
//!
//! ```text
//! broker init   ─▶ BrokerSecrets (0600 TOML: issuer seed, three passwords), certificates
//! broker config ─▶ template + BrokerSettings of each node + BrokerSecrets ─▶ nats-server.conf (0600)
//! ```
//!
//! Guarantees: secrets never stand in a command line or a log; a client listener that is not on
//! loopback, and every one of a cluster, has TLS; nodes of a cluster talk over mutual TLS under an
//! authority of their own, so that no gateway's certificate opens a route; every text from outside is
//! quoted.

use crate::nkeys::AccountKey;
use cloud_pki::{PkiError, files, secret};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("../../../deploy/broker/nats-server.conf.template");

/// Memory streams are not used; JetStream wants a bound all the same.
const MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Account of gateways and ingest.
pub const FIELD_ACCOUNT: &str = "FIELD";
/// User of ingest, in [`FIELD_ACCOUNT`].
pub const INGEST_USER: &str = "ingest";
/// User of the callout's responder.
pub const AUTH_USER: &str = "auth";
/// User of the system account.
pub const SYSTEM_USER: &str = "system";

/// What differs between nodes.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Unique among the nodes of a cluster, and never changed.
    pub server_name: String,
    /// Where gateways connect (MQTT over TLS).
    pub mqtt_listen: SocketAddr,
    /// Where our own services connect.
    pub client_listen: SocketAddr,
    /// JetStream's folder.
    pub store_dir: PathBuf,
    /// Bound of that folder, bytes.
    pub max_file_bytes: u64,
    /// The broker's certificate, PEM file.
    pub certificate: PathBuf,
    /// Its key, PEM file.
    pub key: PathBuf,
    /// The authority that vouches for gateways, PEM file.
    pub ca: PathBuf,
    /// Copies of each of the broker's streams.
    pub replicas: usize,
    /// The broker's own health page, plain HTTP.
    pub monitor_listen: Option<SocketAddr>,
    /// The other nodes; `None` where it is alone.
    pub cluster: Option<ClusterSettings>,
}

/// What makes a node one of several.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Name of the cluster, the same on every node.
    pub name: String,
    /// Where other nodes connect.
    pub listen: SocketAddr,
    /// Where every node is reached by the others, `host:port`; this one may be among them.
    pub routes: Vec<String>,
    /// Certificate for both ends of a route, PEM file.
    pub certificate: PathBuf,
    /// Its key, PEM file.
    pub key: PathBuf,
    /// The authority behind the nodes' certificates, PEM file. Not the gateways' one.
    pub ca: PathBuf,
}

impl BrokerSettings {
    /// Whether our own services must speak TLS to this node.
    #[must_use]
    pub const fn client_tls(&self) -> bool {
        self.cluster.is_some() || !self.client_listen.ip().is_loopback()
    }
}

/// Passwords of our services at the broker, and the key that signs the callout's answers.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSecrets {
    /// Seed of the account key that signs answers.
    pub issuer_seed: String,
    /// Password of [`INGEST_USER`].
    pub ingest_password: String,
    /// Password of [`AUTH_USER`].
    pub auth_password: String,
    /// Password of [`SYSTEM_USER`].
    pub system_password: String,
}

/// Why a broker's configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BrokerConfigError {
    /// The issuer's seed is not one.
    #[error("issuer_seed in the broker's secrets is not usable")]
    Seed(#[from] crate::nkeys::KeyError),
    /// A text would break out of its quotes.
    #[error("{0:?} holds a character that cannot stand in the broker's configuration")]
    Text(String),
    /// The secrets cannot be read or written.
    #[error("could not handle the broker's secrets")]
    Secrets(#[from] PkiError),
}

impl BrokerSecrets {
    /// New secrets.
    ///
    /// # Errors
    /// [`PkiError::Random`].
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self {
            issuer_seed: AccountKey::seed_text(&secret::random()?),
            ingest_password: secret::password()?,
            auth_password: secret::password()?,
            system_password: secret::password()?,
        })
    }

    /// Writes the file, mode 0600; refuses to replace one.
    ///
    /// # Errors
    /// [`BrokerConfigError::Secrets`].
    pub fn write(&self, path: &Path) -> Result<(), BrokerConfigError> {
        files::refuse_existing(path)?;
        let body = toml::to_string(self).map_err(|e| unusable(path, &e))?;
        let head = "# Secrets of the Fogline broker's own users. Keep at mode 0600.\n";
        Ok(files::write_secret(path, &format!("{head}{body}"))?)
    }

    /// Names the installation these secrets belong to; no secret itself.
    ///
    /// # Errors
    /// [`BrokerConfigError::Seed`].
    pub fn installation(&self) -> Result<String, BrokerConfigError> {
        let issuer = AccountKey::from_seed(&self.issuer_seed)?;
        Ok(issuer.public().to_owned())
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`BrokerConfigError::Secrets`].
    pub fn read(path: &Path) -> Result<Self, BrokerConfigError> {
        Ok(toml::from_str(&files::read(path)?).map_err(|e| unusable(path, &e))?)
    }
}

impl std::fmt::Debug for BrokerSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerSecrets").finish_non_exhaustive()
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> PkiError {
    PkiError::Unusable {
        what: path.display().to_string(),
        why: why.to_string(),
    }
}

/// The text of `nats-server.conf`.
///
/// # Errors
/// [`BrokerConfigError::Seed`], [`BrokerConfigError::Text`].
pub fn render(
    settings: &BrokerSettings,
    secrets: &BrokerSecrets,
) -> Result<String, BrokerConfigError> {
    let issuer = secrets.installation()?;
    let values = [
        ("@SERVER_NAME@", quote(&settings.server_name)?),
        (
            "@CLIENT_LISTEN@",
            quote(&settings.client_listen.to_string())?,
        ),
        ("@CLIENT_TLS@", client_tls(settings)?),
        ("@CLUSTER@", cluster(settings)?),
        ("@MONITOR@", monitor(settings)?),
        ("@REPLICAS@", settings.replicas.to_string()),
        ("@STORE_DIR@", path(&settings.store_dir)?),
        ("@MAX_MEMORY_BYTES@", MAX_MEMORY_BYTES.to_string()),
        ("@MAX_FILE_BYTES@", settings.max_file_bytes.to_string()),
        ("@MQTT_LISTEN@", quote(&settings.mqtt_listen.to_string())?),
        ("@CERTIFICATE@", path(&settings.certificate)?),
        ("@KEY@", path(&settings.key)?),
        ("@CA@", path(&settings.ca)?),
        ("@INGEST_PASSWORD@", quote(&secrets.ingest_password)?),
        ("@AUTH_PASSWORD@", quote(&secrets.auth_password)?),
        ("@SYSTEM_PASSWORD@", quote(&secrets.system_password)?),
        ("@ISSUER@", quote(&issuer)?),
    ];
    // Values hold no '@' markers of ours: each is replaced once, from the template alone.
    Ok(values
        .iter()
        .fold(TEMPLATE.to_owned(), |text, (marker, value)| {
            text.replace(marker, value)
        }))
}

fn client_tls(settings: &BrokerSettings) -> Result<String, BrokerConfigError> {
    if !settings.client_tls() {
        return Ok(String::new());
    }
    Ok(format!(
        "tls {{\n  cert_file: {}\n  key_file: {}\n  timeout: 10\n}}\n",
        path(&settings.certificate)?,
        path(&settings.key)?
    ))
}

fn cluster(settings: &BrokerSettings) -> Result<String, BrokerConfigError> {
    let Some(cluster) = &settings.cluster else {
        return Ok(String::new());
    };
    let routes = cluster
        .routes
        .iter()
        .map(|route| {
            Ok(format!(
                "    {}\n",
                quote(&format!("nats-route://{route}"))?
            ))
        })
        .collect::<Result<String, BrokerConfigError>>()?;
    Ok(format!(
        "\
# The other nodes, over mutual TLS. Our services know every node by their own configuration: what nodes
# tell of each other is not advertised. A node that falls silent is missed within seconds.
cluster {{
  name: {name}
  listen: {listen}
  no_advertise: true
  ping_interval: 5s
  ping_max: 2
  tls {{
    cert_file: {certificate}
    key_file: {key}
    ca_file: {ca}
    verify: true
    timeout: 10
  }}
  routes: [
{routes}  ]
}}
",
        name = quote(&cluster.name)?,
        listen = quote(&cluster.listen.to_string())?,
        certificate = path(&cluster.certificate)?,
        key = path(&cluster.key)?,
        ca = path(&cluster.ca)?,
    ))
}

fn monitor(settings: &BrokerSettings) -> Result<String, BrokerConfigError> {
    let Some(listen) = settings.monitor_listen else {
        return Ok(String::new());
    };
    let listen = quote(&listen.to_string())?;
    Ok(format!(
        "# Health for whoever supervises the node.\nhttp: {listen}\n"
    ))
}

fn path(path: &Path) -> Result<String, BrokerConfigError> {
    quote(&path.to_string_lossy())
}

/// A quoted text; the broker's parser knows no escape that would be safe for these characters.
fn quote(text: &str) -> Result<String, BrokerConfigError> {
    let breaks = |c: char| c.is_control() || matches!(c, '"' | '\\' | '@');
    if text.is_empty() || text.contains(breaks) {
        return Err(BrokerConfigError::Text(text.to_owned()));
    }
    Ok(format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(client: &str) -> BrokerSettings {
        BrokerSettings {
            server_name: "fogline-1".into(),
            mqtt_listen: "0.0.0.0:8883".parse().unwrap(),
            client_listen: client.parse().unwrap(),
            store_dir: "/var/lib/fogline/broker".into(),
            max_file_bytes: 1 << 30,
            certificate: "/etc/fogline/broker.pem".into(),
            key: "/etc/fogline/broker.key".into(),
            ca: "/etc/fogline/ca.pem".into(),
            replicas: 1,
            monitor_listen: None,
            cluster: None,
        }
    }

    fn one_of_three() -> BrokerSettings {
        BrokerSettings {
            replicas: 3,
            monitor_listen: Some("127.0.0.1:8222".parse().unwrap()),
            cluster: Some(ClusterSettings {
                name: "fogline".into(),
                listen: "0.0.0.0:6222".parse().unwrap(),
                routes: ["n1:6222", "n2:6222", "n3:6222"]
                    .map(str::to_owned)
                    .to_vec(),
                certificate: "/etc/fogline/route.pem".into(),
                key: "/etc/fogline/route.key".into(),
                ca: "/etc/fogline/routes-ca.pem".into(),
            }),
            ..settings("127.0.0.1:4222")
        }
    }

    #[test]
    fn every_marker_of_the_template_is_filled() {
        let secrets = BrokerSecrets::generate().unwrap();
        let text = render(&settings("127.0.0.1:4222"), &secrets).unwrap();
        assert!(!text.contains('@'), "{text}");
        assert!(text.contains(&secrets.ingest_password));
        assert!(!text.contains(&secrets.issuer_seed), "the seed stays here");
    }

    #[test]
    fn a_client_listener_that_leaves_the_machine_has_tls() {
        let secrets = BrokerSecrets::generate().unwrap();
        let inside = render(&settings("127.0.0.1:4222"), &secrets).unwrap();
        let outside = render(&settings("10.0.0.1:4222"), &secrets).unwrap();
        assert_eq!(inside.matches("tls {").count(), 1);
        assert_eq!(outside.matches("tls {").count(), 2);
    }

    #[test]
    fn nodes_of_a_cluster_speak_tls_on_every_side_and_verify_each_other() {
        let secrets = BrokerSecrets::generate().unwrap();
        let text = render(&one_of_three(), &secrets).unwrap();
        assert!(!text.contains('@'), "{text}");
        assert_eq!(text.matches("tls {").count(), 3);
        assert_eq!(text.matches("verify: true").count(), 2);
        assert_eq!(text.matches("\"nats-route://n").count(), 3);
        assert!(text.contains("stream_replicas: 3"));
        assert!(!text.contains("verify: false") && !text.contains("insecure"));
    }

    #[test]
    fn a_path_cannot_break_out_of_its_quotes() {
        let secrets = BrokerSecrets::generate().unwrap();
        let mut bad = settings("127.0.0.1:4222");
        bad.store_dir = "/x\" }\nlisten: \"0.0.0.0:1".into();
        assert!(matches!(
            render(&bad, &secrets),
            Err(BrokerConfigError::Text(_))
        ));
    }

    #[test]
    fn secrets_survive_their_file_and_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker-secrets.toml");
        let secrets = BrokerSecrets::generate().unwrap();
        secrets.write(&path).unwrap();
        let back = BrokerSecrets::read(&path).unwrap();
        assert_eq!(back.issuer_seed, secrets.issuer_seed);
        assert!(secrets.write(&path).is_err());
    }
}
