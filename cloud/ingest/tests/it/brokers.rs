//! The broker: one node or three, real processes on loopback, each with a folder and a volume of its own.

use crate::stand::{DEADLINE, free_port};
use async_nats::{Client, ConnectOptions};
use cloud_auth::broker_config::{self, AUTH_USER, INGEST_USER, SYSTEM_USER};
use cloud_auth::{BrokerSecrets, BrokerSettings, ClusterSettings, Node, NodeFile, Volume, node};
use cloud_pki::{Authority, files};
use protocols_model::{Clock as _, SystemClock};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

pub(crate) struct Brokers {
    dir: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) secrets: BrokerSecrets,
    nodes: Vec<BrokerNode>,
}

struct BrokerNode {
    dir: PathBuf,
    settings: BrokerSettings,
    child: Option<Child>,
}

/// Where the broker's binary is; tells how to get it when it is nowhere.
pub(crate) fn nats_server() -> PathBuf {
    let fetched = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/tools/bin/nats-server"
    );
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join("nats-server"))
            .collect::<Vec<_>>()
    });
    std::env::var_os("FOGLINE_NATS_SERVER")
        .map(PathBuf::from)
        .into_iter()
        .chain(on_path)
        .chain([PathBuf::from(fetched)])
        .find(|path| path.is_file())
        .expect("no nats-server found; `cargo xtask tools` installs it")
}

impl Brokers {
    /// Certificates, secrets and configuration, as `fogline-cloud init` makes them; nothing runs.
    pub(crate) fn make(dir: &Path, count: usize) -> Self {
        let now = SystemClock::start().wall();
        let authority = Authority::init(dir, "test", now).unwrap();
        let routes = Authority::init(&dir.join("routes"), "test routes", now).unwrap();
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let secrets = BrokerSecrets::generate().unwrap();
        let listens: Vec<SocketAddr> = (0..count).map(|_| free_port()).collect();
        let nodes = listens.iter().enumerate().map(|(number, listen)| {
            let dir = dir.join(format!("n{number}"));
            let certificate = authority.issue_server(&names, now).unwrap();
            certificate.write(&dir, "broker").unwrap();
            let route = routes.issue_peer(&names, now).unwrap();
            route.write(&dir, "route").unwrap();
            let cluster = (count > 1).then(|| ClusterSettings {
                name: "test".into(),
                listen: *listen,
                routes: listens.iter().map(ToString::to_string).collect(),
                certificate: dir.join("route.pem"),
                key: dir.join("route.key"),
                ca: dir.join("../routes/ca.pem"),
            });
            let settings = BrokerSettings {
                server_name: format!("n{number}"),
                mqtt_listen: free_port(),
                client_listen: free_port(),
                store_dir: dir.join("volume"),
                max_file_bytes: 256 << 20,
                certificate: dir.join("broker.pem"),
                key: dir.join("broker.key"),
                ca: dir.join("../ca.pem"),
                replicas: count,
                monitor_listen: None,
                cluster,
            };
            let text = broker_config::render(&settings, &secrets).unwrap();
            files::write_secret(&dir.join(node::CONFIG_FILE), &text).unwrap();
            let file = NodeFile {
                store: settings.store_dir.clone(),
                node: Node {
                    installation: secrets.installation().unwrap(),
                    cluster: "test".into(),
                    name: settings.server_name.clone(),
                },
            };
            file.write(&dir).unwrap();
            BrokerNode {
                dir,
                settings,
                child: None,
            }
        });
        let nodes = nodes.collect();
        Self {
            dir: dir.to_owned(),
            authority,
            secrets,
            nodes,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Where gateways connect to a node.
    pub(crate) fn mqtt(&self, number: usize) -> SocketAddr {
        self.nodes[number].settings.mqtt_listen
    }

    /// The node of this name.
    pub(crate) fn number(&self, name: &str) -> usize {
        let named = |node: &BrokerNode| node.settings.server_name == name;
        self.nodes.iter().position(named).unwrap()
    }

    /// Starts a node, as its unit does: the guard first. Says what its volume was.
    pub(crate) fn start(&mut self, number: usize) -> Volume {
        let node = &mut self.nodes[number];
        assert!(node.child.is_none(), "it runs");
        let (_, volume) = node::check(&node.dir, false).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(node.dir.join("nats-server.log"))
            .unwrap();
        let child = Command::new(nats_server())
            .arg("-c")
            .arg(node.dir.join(node::CONFIG_FILE))
            .arg("-D")
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        node.child = Some(child.unwrap());
        volume
    }

    pub(crate) fn start_all(&mut self) {
        for number in 0..self.count() {
            self.start(number);
        }
    }

    /// `kill -9`; returns when it is gone.
    pub(crate) async fn kill(&mut self, number: usize) {
        let mut child = self.nodes[number].child.take().unwrap();
        child.kill().await.unwrap();
    }

    pub(crate) async fn kill_all(&mut self) {
        for number in 0..self.count() {
            if self.nodes[number].child.is_some() {
                self.kill(number).await;
            }
        }
    }

    /// The volume of a node that is down is lost.
    pub(crate) fn empty(&self, number: usize) {
        std::fs::remove_dir_all(&self.nodes[number].settings.store_dir).unwrap();
    }

    async fn connect(&self, user: &str, password: &str) -> Client {
        let scheme = if self.count() > 1 { "tls" } else { "nats" };
        let urls: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("{scheme}://{}", node.settings.client_listen))
            .collect();
        let options = ConnectOptions::with_user_and_password(user.into(), password.into())
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(10))
            .request_timeout(Some(DEADLINE))
            .reconnect_delay_callback(|_| Duration::from_millis(50));
        let options = if self.count() > 1 {
            options
                .add_root_certificates(self.dir.join("ca.pem"))
                .require_tls(true)
        } else {
            options
        };
        options.connect(urls).await.unwrap()
    }

    pub(crate) async fn ingest_user(&self) -> Client {
        self.connect(INGEST_USER, &self.secrets.ingest_password)
            .await
    }

    pub(crate) async fn auth_user(&self) -> Client {
        self.connect(AUTH_USER, &self.secrets.auth_password).await
    }

    pub(crate) async fn system_user(&self) -> Client {
        self.connect(SYSTEM_USER, &self.secrets.system_password)
            .await
    }
}
