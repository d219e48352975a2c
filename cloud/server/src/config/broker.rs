//! `[broker]`: one node, told in the section itself, or several, one `[[broker.node]]` each.

use super::mqtt::MqttSection;
use crate::cli::InitArguments;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Nodes a cluster may have: an even number survives the loss of no more nodes than one less, and one
/// alone would wait for others for ever.
const NODE_COUNTS: [usize; 2] = [3, 5];
/// Copies that a stream may have.
const COPIES: [usize; 3] = [1, 3, 5];
/// Copies of each stream where nothing else is said: one node may be lost, and every copy more slows
/// each publish down.
const DEFAULT_REPLICAS: usize = 3;
/// Bounds of the stream that ingest reads.
const STREAM_MB: RangeInclusive<u64> = 16..=1_048_576;
const ANY_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BrokerSection {
    /// Folder of secrets, certificates, configuration and, for one node, JetStream's files.
    pub(super) dir: PathBuf,
    /// Where this program reaches the broker, every node: `nats://` on loopback, `tls://` elsewhere.
    /// One that fails is left for the next.
    #[serde(alias = "url", deserialize_with = "one_or_several")]
    pub(crate) urls: Vec<String>,
    /// Names and addresses in the broker's certificate, beside each node's own.
    pub(crate) names: Vec<String>,
    /// What identities tell gateways, `mqtts://host:port`.
    pub(crate) servers: Vec<String>,
    /// Bound of the stream that ingest reads; at least twice the sum of all gateways' windows.
    #[serde(default = "default_stream_max_mb")]
    pub(super) stream_max_mb: u64,
    /// The cluster's name; for several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<String>,
    /// Copies of each stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replicas: Option<usize>,
    /// Where a node's folder lies on its host; default: where it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) files_at: Option<PathBuf>,
    /// JetStream's folder on a node's host; default: `jetstream` in the node's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) store_at: Option<PathBuf>,
    /// Its name, where there is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    /// Where it listens for this program, where there is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_listen: Option<SocketAddr>,
    /// Where it listens for gateways, where there is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mqtt_listen: Option<SocketAddr>,
    /// Another broker than NATS, instead of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mqtt: Option<MqttSection>,
    /// The nodes, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    node: Vec<NodeSection>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSection {
    /// Its name, for ever.
    pub(crate) name: String,
    /// How the other nodes reach it: a name or an address; in its certificates.
    pub(crate) host: String,
    #[serde(default = "default_client_listen")]
    pub(super) client_listen: SocketAddr,
    #[serde(default = "default_mqtt_listen")]
    pub(super) mqtt_listen: SocketAddr,
    #[serde(default = "default_route_listen")]
    pub(super) route_listen: SocketAddr,
    #[serde(default = "default_monitor_listen")]
    pub(super) monitor_listen: SocketAddr,
}

/// `NAME@HOST` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeArgument {
    name: String,
    pub(crate) host: String,
}

impl std::str::FromStr for NodeArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('@') {
            Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok(Self {
                name: name.to_owned(),
                host: host.to_owned(),
            }),
            _ => Err("allowed is NAME@HOST".to_owned()),
        }
    }
}

pub(super) const fn default_stream_max_mb() -> u64 {
    1024
}
const fn default_client_listen() -> SocketAddr {
    SocketAddr::new(ANY_ADDRESS, 4222)
}
const fn default_mqtt_listen() -> SocketAddr {
    SocketAddr::new(ANY_ADDRESS, 8883)
}
const fn default_route_listen() -> SocketAddr {
    SocketAddr::new(ANY_ADDRESS, 6222)
}
const fn default_monitor_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8222)
}

fn one_or_several<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a URL or a list of URLs")]
    enum Urls {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Urls::deserialize(from)? {
        Urls::One(url) => vec![url],
        Urls::Several(urls) => urls,
    })
}

/// Host and port as a URL has them: an IPv6 address stands in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl BrokerSection {
    /// One node on loopback, or the nodes that were named.
    pub(super) fn for_init(init: &InitArguments) -> Self {
        let hosts = init.hosts();
        let mut section = Self {
            dir: "broker".into(),
            urls: Vec::new(),
            servers: hosts
                .first()
                .map(|host| format!("mqtts://{}", authority(host, init.mqtt_port)))
                .into_iter()
                .collect(),
            names: hosts,
            stream_max_mb: default_stream_max_mb(),
            cluster: None,
            replicas: None,
            files_at: None,
            store_at: None,
            server_name: None,
            client_listen: None,
            mqtt_listen: None,
            mqtt: None,
            node: Vec::new(),
        };
        if init.node.is_empty() {
            let loopback = SocketAddr::from(([127, 0, 0, 1], init.client_port));
            section.urls = vec![format!("nats://{loopback}")];
            section.server_name = Some("fogline-1".to_owned());
            section.client_listen = Some(loopback);
            section.mqtt_listen = Some(SocketAddr::new(init.listen(), init.mqtt_port));
            return section;
        }
        section.cluster = Some("fogline".to_owned());
        section.node = init.node.iter().map(|node| made(node, init)).collect();
        let nodes = section.node.iter();
        section.urls = nodes
            .clone()
            .map(|node| format!("tls://{}", authority(&node.host, init.client_port)))
            .collect();
        if init.host.is_empty() {
            section.servers = nodes
                .map(|node| format!("mqtts://{}", authority(&node.host, init.mqtt_port)))
                .collect();
        }
        section
    }

    /// The nodes, whichever way they are told.
    pub(crate) fn nodes(&self) -> Vec<NodeSection> {
        let (Some(name), Some(client_listen), Some(mqtt_listen)) =
            (&self.server_name, self.client_listen, self.mqtt_listen)
        else {
            return self.node.clone();
        };
        vec![NodeSection {
            name: name.clone(),
            host: self.names.first().cloned().unwrap_or_default(),
            client_listen,
            mqtt_listen,
            route_listen: default_route_listen(),
            monitor_listen: default_monitor_listen(),
        }]
    }

    /// Where the nodes reach each other.
    pub(super) fn routes(&self) -> Vec<String> {
        let route = |node: &NodeSection| authority(&node.host, node.route_listen.port());
        self.node.iter().map(route).collect()
    }

    /// Whether nodes have folders of their own.
    pub(crate) const fn is_cluster(&self) -> bool {
        !self.node.is_empty()
    }

    /// Copies of each stream.
    pub(crate) fn replicas(&self) -> usize {
        let nodes = self.nodes().len().max(1);
        self.replicas.unwrap_or(DEFAULT_REPLICAS).min(nodes)
    }

    /// What is wrong with it, each with the key and what is allowed.
    pub(super) fn problems(&self) -> Vec<String> {
        let nodes = self.nodes();
        let mut problems = self.problems_of_nodes(&nodes);
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        demand(
            STREAM_MB.contains(&self.stream_max_mb),
            format!(
                "broker.stream_max_mb is {}; allowed are {} to {}",
                self.stream_max_mb,
                STREAM_MB.start(),
                STREAM_MB.end()
            ),
        );
        if let Some(replicas) = self.replicas {
            demand(
                COPIES.contains(&replicas) && replicas <= nodes.len(),
                format!(
                    "broker.replicas is {replicas}; allowed are {COPIES:?}, not above the number of nodes"
                ),
            );
        }
        let on_loopback = |node: &NodeSection| node.client_listen.ip().is_loopback();
        let plain = !self.is_cluster() && nodes.iter().all(on_loopback);
        for url in &self.urls {
            demand(
                url.starts_with("tls://") || (plain && url.starts_with("nats://")),
                format!(
                    "broker.urls holds {url:?}; allowed are tls://host:port, and nats://host:port of one \
                     node whose client_listen is on loopback"
                ),
            );
        }
        for server in &self.servers {
            demand(
                server.starts_with("mqtts://"),
                format!("broker.servers holds {server:?}; allowed is mqtts://host:port"),
            );
        }
        for (key, list) in [
            ("broker.urls", &self.urls),
            ("broker.servers", &self.servers),
            ("broker.names", &self.names),
        ] {
            demand(!list.is_empty(), format!("{key} is empty"));
        }
        problems.extend(self.mqtt.iter().flat_map(MqttSection::problems));
        problems
    }

    fn problems_of_nodes(&self, nodes: &[NodeSection]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let alone = [
            self.server_name.is_some(),
            self.client_listen.is_some(),
            self.mqtt_listen.is_some(),
        ];
        demand(
            alone == [!self.is_cluster(); 3],
            "[broker] needs either server_name, client_listen and mqtt_listen, or [[broker.node]]"
                .to_owned(),
        );
        demand(
            !self.is_cluster() || NODE_COUNTS.contains(&self.node.len()),
            format!(
                "broker.node names {} nodes; allowed are {NODE_COUNTS:?}: a cluster of an even number \
                 stops as early as one with a node less; for one node use server_name, client_listen and \
                 mqtt_listen",
                self.node.len()
            ),
        );
        demand(
            self.cluster.is_some() == self.is_cluster(),
            "broker.cluster names the cluster of [[broker.node]]: one needs the other".to_owned(),
        );
        let of_nodes = nodes.iter().map(|node| ("broker.node.name", &node.name));
        let of_cluster = self.cluster.iter().map(|name| ("broker.cluster", name));
        for (key, name) in of_nodes.chain(of_cluster) {
            demand(
                is_name(name),
                format!("{key} is {name:?}; allowed are 1 to 63 of a-z, 0-9 and '-'"),
            );
        }
        let names: BTreeSet<&String> = nodes.iter().map(|node| &node.name).collect();
        demand(
            names.len() == nodes.len(),
            "broker.node has one name twice".to_owned(),
        );
        problems
    }
}

/// Listens on its own address where that is known, so that several fit on one machine.
fn made(node: &NodeArgument, init: &InitArguments) -> NodeSection {
    let own = node.host.parse().unwrap_or(ANY_ADDRESS);
    NodeSection {
        name: node.name.clone(),
        host: node.host.clone(),
        client_listen: SocketAddr::new(own, init.client_port),
        mqtt_listen: SocketAddr::new(own, init.mqtt_port),
        route_listen: SocketAddr::new(own, init.route_port),
        monitor_listen: SocketAddr::new(
            if own.is_loopback() {
                own
            } else {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            },
            init.monitor_port,
        ),
    }
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests;
