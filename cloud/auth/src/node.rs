//! Who a broker node is, and whether its volume agrees: looked at before each start of the broker.
//!
//! ```text
//! broker config ─▶ node.toml ─┐
//!                             ├─▶ broker check ─▶ nats-server
//! the volume: node.toml ──────┘       └─ refused: another node's, cluster's, installation's volume
//! ```
//!
//! A node's name is its identity in every quorum. Under another name the volume's old votes and log
//! entries count as a new node's; on another node's volume it votes twice. The broker itself notices
//! neither. So the first start leaves a record in the volume, and every later one must agree with it.
//! An empty volume is fine: the other nodes fill it.

use cloud_pki::{PkiError, files};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// File of a node's folder, and of its volume.
pub const NODE_FILE: &str = "node.toml";
/// File of a node's folder.
pub const CONFIG_FILE: &str = "nats-server.conf";
/// What the broker makes in its volume.
const JETSTREAM_DIR: &str = "jetstream";

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The installation's public key: [`crate::BrokerSecrets::installation`].
    pub installation: String,
    /// The cluster's name; empty for a node that is alone.
    pub cluster: String,
    /// The node's name within it.
    pub name: String,
}

/// A node and where its volume is: `node.toml` in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// JetStream's folder.
    pub store: PathBuf,
    /// Who the node is.
    pub node: Node,
}

/// What a volume turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// This node's own.
    Own,
    /// Empty: recorded as this node's from now on; the other nodes fill it.
    Empty,
    /// Of an earlier start that left no record; recorded as this node's because that was asked for.
    Adopted,
}

/// Why a node must not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A file cannot be read or written.
    #[error("the node's files cannot be used")]
    File(#[from] PkiError),
    /// A file holds something else.
    #[error("{path} is not a node's description: {why}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The broker's configuration speaks of somebody else.
    #[error(
        "{path} is not the configuration of node {name:?} with the volume {store}; write it anew with \
         `fogline-cloud broker config`"
    )]
    Configuration {
        /// The configuration.
        path: PathBuf,
        /// The node's name.
        name: String,
        /// Its volume.
        store: PathBuf,
    },
    /// The volume is not there or not ours.
    #[error("the volume {path} cannot be used; is it mounted, and the broker's user its owner?")]
    Volume {
        /// The volume.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The volume belongs to somebody else.
    #[error(
        "the volume {path} belongs to {what} {found:?}, this node is of {what} {expected:?}; mount this \
         node's own volume, or an empty one"
    )]
    Foreign {
        /// The volume.
        path: PathBuf,
        /// Node, cluster or installation.
        what: &'static str,
        /// What the volume says.
        found: String,
        /// What the node's folder says.
        expected: String,
    },
    /// The volume holds streams and does not say whose.
    #[error(
        "the volume {path} holds streams but no {NODE_FILE}; if it is this node's, say so once with \
         `fogline-cloud broker check --adopt`"
    )]
    Unrecorded {
        /// The volume.
        path: PathBuf,
    },
}

impl NodeFile {
    /// Writes `node.toml` into a node's folder.
    ///
    /// # Errors
    /// [`NodeError::File`].
    pub fn write(&self, dir: &Path) -> Result<(), NodeError> {
        let head = "# Who this broker node is. Made by `fogline-cloud broker config`.\n";
        write(&dir.join(NODE_FILE), head, self)
    }
}

/// Looks at the node in `dir` before its broker starts; records it in a volume that has no record
/// where the volume is empty, or where `adopt` says that it is this node's.
///
/// # Errors
/// [`NodeError`]: do not start the broker.
pub fn check(dir: &Path, adopt: bool) -> Result<(NodeFile, Volume), NodeError> {
    let file: NodeFile = read(&dir.join(NODE_FILE))?;
    agrees(&dir.join(CONFIG_FILE), &file)?;
    let volume = |source| NodeError::Volume {
        path: file.store.clone(),
        source,
    };
    std::fs::create_dir_all(&file.store).map_err(volume)?;
    let record = file.store.join(NODE_FILE);
    if record.try_exists().map_err(volume)? {
        same(&file.store, &read(&record)?, &file.node)?;
        return Ok((file, Volume::Own));
    }
    let has_streams = file.store.join(JETSTREAM_DIR).try_exists();
    let volume = match (has_streams.map_err(volume)?, adopt) {
        (false, _) => Volume::Empty,
        (true, true) => Volume::Adopted,
        (true, false) => return Err(NodeError::Unrecorded { path: file.store }),
    };
    let head = "# Whose volume this is. Do not change: see `fogline-cloud broker check`.\n";
    write(&record, head, &file.node)?;
    Ok((file, volume))
}

/// The configuration was rendered for this node: a name changed by hand is found here.
fn agrees(path: &Path, file: &NodeFile) -> Result<(), NodeError> {
    let text = files::read(path)?;
    let says = |key: &str, value: &str| {
        let line = format!("{key}: \"{value}\"");
        text.lines().any(|found| found.trim() == line)
    };
    if says("server_name", &file.node.name) && says("store_dir", &file.store.to_string_lossy()) {
        return Ok(());
    }
    Err(NodeError::Configuration {
        path: path.to_owned(),
        name: file.node.name.clone(),
        store: file.store.clone(),
    })
}

fn same(volume: &Path, found: &Node, expected: &Node) -> Result<(), NodeError> {
    for (what, found, expected) in [
        ("installation", &found.installation, &expected.installation),
        ("cluster", &found.cluster, &expected.cluster),
        ("node", &found.name, &expected.name),
    ] {
        if found != expected {
            return Err(NodeError::Foreign {
                path: volume.to_owned(),
                what,
                found: found.clone(),
                expected: expected.clone(),
            });
        }
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, NodeError> {
    toml::from_str(&files::read(path)?).map_err(|error| unusable(path, &error))
}

fn write(path: &Path, head: &str, value: &impl Serialize) -> Result<(), NodeError> {
    let body = toml::to_string(value).map_err(|error| unusable(path, &error))?;
    Ok(files::write_public(path, &format!("{head}{body}"))?)
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> NodeError {
    NodeError::Unusable {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            installation: "AONE".to_owned(),
            cluster: "fogline".to_owned(),
            name: name.to_owned(),
        }
    }

    /// A node's folder and its volume below `dir`.
    fn folder(dir: &Path, node: Node) -> PathBuf {
        let folder = dir.join(&node.name);
        let store = dir.join("volume");
        let conf = format!(
            "server_name: \"{}\"\njetstream {{\n  store_dir: \"{}\"\n}}\n",
            node.name,
            store.display()
        );
        files::write_secret(&folder.join(CONFIG_FILE), &conf).unwrap();
        NodeFile { store, node }.write(&folder).unwrap();
        folder
    }

    fn foreign(result: Result<(NodeFile, Volume), NodeError>) -> &'static str {
        match result {
            Err(NodeError::Foreign { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_volume_remembers_its_node_and_takes_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let one = folder(dir.path(), node("n1"));
        assert_eq!(check(&one, false).unwrap().1, Volume::Empty);
        std::fs::create_dir(dir.path().join("volume/jetstream")).unwrap();
        assert_eq!(check(&one, false).unwrap().1, Volume::Own);

        let two = folder(dir.path(), node("n2"));
        assert_eq!(foreign(check(&two, false)), "node");
        // Not even on request: it is known whose it is.
        assert_eq!(foreign(check(&two, true)), "node");
        let other = Node {
            cluster: "other".to_owned(),
            ..node("n1")
        };
        assert_eq!(foreign(check(&folder(dir.path(), other), false)), "cluster");
        let other = Node {
            installation: "ATWO".to_owned(),
            ..node("n1")
        };
        let other = folder(dir.path(), other);
        assert_eq!(foreign(check(&other, false)), "installation");
    }

    #[test]
    fn streams_without_a_record_are_taken_on_request_only() {
        let dir = tempfile::tempdir().unwrap();
        let one = folder(dir.path(), node("n1"));
        std::fs::create_dir_all(dir.path().join("volume/jetstream")).unwrap();
        assert!(matches!(
            check(&one, false),
            Err(NodeError::Unrecorded { .. })
        ));
        assert_eq!(check(&one, true).unwrap().1, Volume::Adopted);
        assert_eq!(check(&one, false).unwrap().1, Volume::Own);
    }

    #[test]
    fn a_configuration_changed_by_hand_and_a_damaged_record_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let one = folder(dir.path(), node("n1"));
        check(&one, false).unwrap();
        let conf = files::read(&one.join(CONFIG_FILE)).unwrap();
        files::write_secret(&one.join(CONFIG_FILE), &conf.replace("n1", "n9")).unwrap();
        assert!(matches!(
            check(&one, false),
            Err(NodeError::Configuration { .. })
        ));
        files::write_secret(&one.join(CONFIG_FILE), &conf).unwrap();
        std::fs::write(dir.path().join("volume").join(NODE_FILE), "cut of").unwrap();
        assert!(matches!(
            check(&one, false),
            Err(NodeError::Unusable { .. })
        ));
    }
}
