//! Commands on the registry, the users and the quarantine, beside a running server or without one.

use crate::broker::{Broker, BrokerUser};
use crate::config::{CloudConfig, Database};
use crate::log::{say, say_error};
use crate::{database, init};
use anyhow::Context as _;
use cloud_auth::{AuthStats, Monitor};
use cloud_store::{Gateway, GatewayState, NewGateway};
use protocols_model::{GatewayId, Timestamp};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a quarantined payload that are shown.
const SHOWN_BYTES: usize = 32;

/// Enters a gateway and writes its identity file.
pub(crate) async fn add(
    config: &CloudConfig,
    id: GatewayId,
    note: String,
    out: Option<PathBuf>,
    servers: Vec<String>,
) -> anyhow::Result<()> {
    if let Some(bad) = servers.iter().find(|url| !url.starts_with("mqtts://")) {
        anyhow::bail!("--server is {bad:?}; allowed is mqtts://host:port");
    }
    let ingest = config.broker.mqtt.as_ref().map(|mqtt| mqtt.group());
    anyhow::ensure!(
        ingest != Some(&id),
        "{id} is the name of ingest at the broker (broker.mqtt.group): a gateway of that name could read \
         what all gateways publish"
    );
    let store = database::beside(config).await?;
    let servers = if servers.is_empty() {
        config.broker.servers.clone()
    } else {
        servers
    };
    let now = init::now();
    let identity = init::authority(config)?.issue_gateway(&id, servers, now)?;
    let facts = cloud_pki::inspect_pem(&identity.certificate)?;
    let out = out.unwrap_or_else(|| config.identity_file(&id));
    // The file first: a registry entry whose key was never written would block the id for ever.
    identity.write(&out)?;
    let entry = NewGateway {
        id: id.clone(),
        serial: facts.serial,
        fingerprint: facts.fingerprint,
        not_after: facts.not_after,
        created: now,
        note,
    };
    if let Err(error) = store.add_gateway(entry).await {
        // Made a moment ago, trusted by nobody.
        drop(std::fs::remove_file(&out));
        return Err(error).context(format!("{id} was not added"));
    }
    store.close().await?;
    say(&format!("identity of {id}: {}", out.display()));
    Ok(())
}

/// Lists gateways, one JSON object a line.
pub(crate) async fn list(config: &CloudConfig) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    for gateway in store.gateways().await? {
        say(&entry(&gateway).to_string());
    }
    Ok(())
}

/// Shows one gateway.
pub(crate) async fn show(config: &CloudConfig, id: &GatewayId) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    let state = store.gateway_state(id).await?;
    let state = state.with_context(|| format!("there is no gateway {id}"))?;
    say(&serde_json::to_string_pretty(&everything(&state))?);
    Ok(())
}

/// Revokes a gateway: the registry first, then its sessions.
pub(crate) async fn revoke(config: &CloudConfig, id: &GatewayId) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    let was_trusted = store.revoke_gateway(id, init::now()).await?;
    store.close().await?;
    say(&format!(
        "{id} {}",
        if was_trusted {
            "is revoked"
        } else {
            "was revoked before"
        }
    ));
    if config.broker.mqtt.is_some() {
        say(
            "its data is refused from now on; its session ends when the broker ends it: take the \
             certificate out of what the broker accepts",
        );
        return Ok(());
    }
    match cut(config, id).await {
        Ok(sessions) => say(&format!("live sessions cut: {sessions}")),
        // Not a failure: whoever connects from now on is refused, and the auth role looks for
        // sessions that should not be every few seconds.
        Err(error) => say_error(&format!(
            "live sessions were not cut by this command ({error:#}); the auth role cuts them as \
             soon as it sees them"
        )),
    }
    Ok(())
}

async fn cut(config: &CloudConfig, id: &GatewayId) -> anyhow::Result<u64> {
    let broker = Broker::new(config)?;
    let client = broker.connect_once(BrokerUser::System).await?;
    let monitor = Monitor::new(client, Arc::new(AuthStats::default()), broker.nodes);
    Ok(monitor.cut(id).await?)
}

/// Gives a user a new one-time password.
pub(crate) async fn reset_user(config: &CloudConfig, name: &str) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    let login = cloud_api::reset_password(&*store, name, init::now()).await?;
    store.close().await?;
    say(&format!(
        "user {}, one-time password {}",
        login.name, login.password
    ));
    Ok(())
}

/// Notes that the database was put back from a backup. Nobody may serve it meanwhile: acknowledgements
/// of the old generation would go on.
pub(crate) async fn restored(config: &CloudConfig) -> anyhow::Result<()> {
    if let Database::File(path, _) = config.database()? {
        anyhow::ensure!(path.exists(), "there is no database at {}", path.display());
    }
    let store = database::alone(config).await;
    let store = store.context("stop the services first")?;
    store.restored().await?;
    store.close().await?;
    say("noted: gateways will offer again what they still hold, and name what is lost");
    Ok(())
}

/// Lists the quarantine, one JSON object a line.
pub(crate) async fn quarantine(
    config: &CloudConfig,
    gateway: Option<&GatewayId>,
    limit: usize,
) -> anyhow::Result<()> {
    let store = database::beside(config).await?;
    for input in store.quarantined(gateway, limit).await? {
        let shown = input.payload.get(..SHOWN_BYTES).unwrap_or(&input.payload);
        let line = json!({
            "id": input.id,
            "gateway": input.gateway.as_ref().map(GatewayId::as_str),
            "topic": input.topic,
            "reason": input.reason,
            "received": rfc3339(input.received),
            "times": input.times,
            "begins_with": data_encoding::HEXLOWER.encode(shown),
        });
        say(&line.to_string());
    }
    Ok(())
}

fn entry(gateway: &Gateway) -> Value {
    json!({
        "id": gateway.id.as_str(),
        "created": rfc3339(gateway.created),
        "revoked": gateway.revoked.map(rfc3339),
        "certificate_ends": rfc3339(gateway.not_after),
        "serial": gateway.serial,
        "fingerprint": gateway.fingerprint,
        "note": gateway.note,
    })
}

fn everything(state: &GatewayState) -> Value {
    let mut value = entry(&state.gateway);
    let more = json!({
        "connected": state.session.map(|(connected, _)| connected),
        "connected_changed": state.session.map(|(_, at)| rfc3339(at)),
        "last_hello": state.hello.as_ref().map(|(at, _)| rfc3339(*at)),
        "software": state.hello.as_ref().map(|(_, hello)| hello.software.clone()),
        "configuration": state.hello.as_ref().map(|(_, hello)| hello.config_revision.clone()),
        "spool_bytes": state.hello.as_ref().map(|(_, hello)| hello.spool_bytes),
        "cloned": state.cloned,
        "newest_sample": state.newest_sample.map(rfc3339),
        "newest_received": state.newest_received.map(rfc3339),
        "series": state.series,
        "quarantined": state.quarantined,
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| format!("{at:?}"), |time| time.to_string())
}
