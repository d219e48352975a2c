//! Ingest on another broker than NATS: what is needed to start it, and which roles make no sense there.

use crate::cli::Role;
use crate::config::CloudConfig;
use crate::roles::Roles;
use cloud_ingest::{IngestSource, MqttLink, MqttSource};
use protocols_model::Clock;
use std::sync::Arc;

/// The source and the task that feeds it, where the configuration names another broker.
pub(crate) fn source(
    config: &CloudConfig,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Option<(Arc<dyn IngestSource>, MqttLink)>> {
    let Some(mqtt) = &config.broker.mqtt else {
        return Ok(None);
    };
    let (source, link) = MqttSource::new(mqtt.settings(config)?, clock);
    Ok(Some((Arc::new(source), link)))
}

/// The roles that a process has with this broker: the role `auth` answers for NATS, and no other broker
/// asks it.
pub(crate) fn roles(config: &CloudConfig, wanted: &[Role]) -> anyhow::Result<Roles> {
    let roles = Roles::of(wanted);
    if config.broker.mqtt.is_none() {
        return Ok(roles);
    }
    anyhow::ensure!(
        !wanted.contains(&Role::Auth),
        "the role auth answers for NATS; with [broker.mqtt] the broker itself decides who connects, by \
         certificate and access rules: leave the role out"
    );
    if roles.auth {
        tracing::info!("the broker decides who connects: the role auth does not run");
    }
    Ok(Roles {
        auth: false,
        ..roles
    })
}
