//! Mosquitto as the broker of a system, with the configuration and the access rules that are shipped
//! (`deploy/broker/other`).

use crate::process::Recipe;
use anyhow::Context as _;
use std::path::{Path, PathBuf};

const TEMPLATE: &str = include_str!("../../../deploy/broker/other/mosquitto.conf.template");
const ACCESS_RULES: &str = include_str!("../../../deploy/broker/other/mosquitto.acl");

/// Where it listens on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// For gateways.
    pub gateways: u16,
    /// For ingest.
    pub ingest: u16,
}

/// Where Mosquitto is: Debian keeps it outside the path of ordinary users.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let places = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "/usr/bin/mosquitto",
    ];
    let found = places.into_iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned)
}

/// Has an installation's configuration name this broker; its certificates are then to be issued.
///
/// # Errors
/// Where the file cannot be changed.
pub fn name_in(config: &Path, ports: Ports) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let section = format!(
        "\n[broker.mqtt]\nurl = \"mqtts://127.0.0.1:{}\"\n",
        ports.ingest
    );
    std::fs::write(config, text + &section).with_context(|| format!("writing {}", config.display()))
}

/// Writes configuration and access rules for the installation in `cloud`; how to start it.
///
/// # Errors
/// Where Mosquitto is not installed, or a file cannot be written.
pub fn prepare(cloud: &Path, logs: &Path, ports: Ports) -> anyhow::Result<Recipe> {
    let program = program().context("Mosquitto is not installed: apt-get install mosquitto")?;
    let cloud = cloud.canonicalize()?;
    let broker = cloud.join("broker");
    let (rules, file) = (broker.join("mosquitto.acl"), broker.join("mosquitto.conf"));
    std::fs::write(&rules, ACCESS_RULES)?;
    let path = |path: PathBuf| path.display().to_string();
    let values = [
        ("@ACL@", path(rules)),
        ("@LISTEN@", "127.0.0.1".to_owned()),
        ("@MQTT_PORT@", ports.gateways.to_string()),
        ("@INGEST_PORT@", ports.ingest.to_string()),
        ("@CA@", path(cloud.join("pki/ca.pem"))),
        ("@CERTIFICATE@", path(broker.join("broker.pem"))),
        ("@KEY@", path(broker.join("broker.key"))),
    ];
    let fill = |text: String, (marker, value): &(&str, String)| text.replace(marker, value);
    let mut text = values.iter().fold(TEMPLATE.to_owned(), fill);
    if rustix::process::geteuid().is_root() {
        // It would become another user, who may not read the key.
        text.push_str("\nuser root\n");
    }
    std::fs::write(&file, text)?;
    let arguments = ["-c", &file.to_string_lossy()];
    Ok(Recipe::new("broker", &program, &arguments, logs))
}
