//! The broker's nodes: their secrets, certificates, configuration, and the guard before each start.
//!
//! One node's files lie in the broker's folder. Of several, each has a folder of its own with
//! everything it needs, so that copying the folder to its host is all there is to do.

use crate::config::{CloudConfig, NodeSection};
use crate::init::{authority, now};
use crate::log::say;
use anyhow::Context as _;
use cloud_auth::{BrokerSecrets, Volume, broker_config, node};
use cloud_pki::{Authority, authority::CA_CERTIFICATE_FILE, files};
use std::path::Path;

/// Secrets, certificates and configuration; refuses to replace secrets.
pub(crate) fn init(config: &CloudConfig) -> anyhow::Result<()> {
    let path = config.broker_secrets();
    BrokerSecrets::generate()?.write(&path)?;
    say(&format!("broker's secrets: {}", path.display()));
    if config.broker.is_cluster() {
        Authority::init(&config.routes_dir(), "Fogline routes authority", now())?;
        say(&format!(
            "routes' authority: {}",
            config.routes_dir().join(CA_CERTIFICATE_FILE).display()
        ));
    }
    certificates(config)?;
    write(config, &[], None)
}

/// Issues every node's certificates anew.
pub(crate) fn certificates(config: &CloudConfig) -> anyhow::Result<()> {
    let authority = authority(config)?;
    for node in config.broker.nodes() {
        let dir = config.node_dir(&node);
        let mut names = config.broker.names.clone();
        if config.broker.is_cluster() {
            if !names.contains(&node.host) {
                names.push(node.host.clone());
            }
            route_certificate(config, &node, &dir)?;
            files::write_public(&dir.join(CA_CERTIFICATE_FILE), authority.certificate_pem())?;
        }
        authority
            .issue_server(&names, now())?
            .write(&dir, "broker")?;
        say(&format!(
            "broker's certificate: {}",
            dir.join("broker.pem").display()
        ));
    }
    ingest_certificate(config, &authority)
}

/// What ingest shows to another broker than NATS, which knows it by certificate alone.
fn ingest_certificate(config: &CloudConfig, authority: &Authority) -> anyhow::Result<()> {
    let Some(mqtt) = &config.broker.mqtt else {
        return Ok(());
    };
    if !mqtt.is_certificate_ours() {
        return Ok(());
    }
    let dir = config.broker_dir();
    let issued = authority.issue_client(mqtt.group().as_str(), now())?;
    issued.write(&dir, "ingest")?;
    say(&format!(
        "ingest's certificate: {}",
        dir.join("ingest.pem").display()
    ));
    Ok(())
}

fn route_certificate(config: &CloudConfig, node: &NodeSection, dir: &Path) -> anyhow::Result<()> {
    let routes = Authority::load(&config.routes_dir())
        .context("`fogline-cloud broker init` makes the routes' authority")?;
    let issued = routes.issue_peer(std::slice::from_ref(&node.host), now())?;
    issued.write(dir, "route")?;
    files::write_public(&dir.join("routes-ca.pem"), routes.certificate_pem())?;
    Ok(())
}

/// Writes the configuration of the nodes with these names, or of all; of one into `out`.
pub(crate) fn write(
    config: &CloudConfig,
    names: &[String],
    out: Option<&Path>,
) -> anyhow::Result<()> {
    let secrets = BrokerSecrets::read(&config.broker_secrets())
        .context("`fogline-cloud broker init` makes the broker's secrets")?;
    let nodes = config.broker.nodes();
    if let Some(unknown) = names
        .iter()
        .find(|name| !nodes.iter().any(|node| node.name == **name))
    {
        let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        anyhow::bail!(
            "there is no broker node {unknown:?}; known are {}",
            known.join(", ")
        );
    }
    let wanted: Vec<&NodeSection> = nodes
        .iter()
        .filter(|node| names.is_empty() || names.contains(&node.name))
        .collect();
    anyhow::ensure!(
        out.is_none() || wanted.len() == 1,
        "--out takes the files of one node; name it with --node"
    );
    for node in wanted {
        let dir = out.map_or_else(|| config.node_dir(node), Path::to_owned);
        let (settings, file) = config.node(node, &dir, secrets.installation()?);
        let text = broker_config::render(&settings, &secrets)?;
        let path = dir.join(node::CONFIG_FILE);
        files::write_secret(&path, &text)?;
        file.write(&dir)?;
        say(&format!("broker's configuration: {}", path.display()));
    }
    Ok(())
}

/// Whether the node in `dir` may start on its volume.
pub(crate) fn check(dir: &Path, adopt: bool) -> anyhow::Result<()> {
    let (file, volume) = node::check(dir, adopt)?;
    let is = match volume {
        Volume::Own => "is its own",
        Volume::Empty => "was empty and is its own from now on",
        Volume::Adopted => "is taken for its own from now on",
    };
    say(&format!(
        "node {}: the volume {} {is}",
        file.node.name,
        file.store.display()
    ));
    Ok(())
}
