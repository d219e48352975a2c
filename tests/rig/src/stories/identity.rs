//! Nobody acts for anyone else (P2): revoked, mistaken and copied identities.

use super::stage::{LIMIT, Stage, Told, at, brisk, gateway, judge, judged, until};
use crate::bearer::Bearer;
use anyhow::Context as _;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tests_harness::api::Api;
use tests_harness::gateway::Gateway;
use tests_harness::site::{HALL_1, HALL_2};
use tests_harness::wait::wait_for;
use tests_oracle::Awake;

/// P2: a revoked certificate stops working within this, live connections included.
const CUT_WITHIN_MS: i64 = 1000;
const MS: i64 = 1_000_000;
/// Attempts of a revoked gateway that must be refused before it counts as kept out.
const REFUSED: u64 = 3;

pub(super) async fn a_revoked_gateway_is_cut_within_a_second_and_stays_out(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let before = connection(gateway(&mut stack, HALL_1)?).await?;
    stack.cloud_command(&["gateway", "revoke", HALL_2]).await?;

    let revoked = gateway(&mut stack, HALL_2)?;
    let out = until(revoked, "cut off", |status| {
        status
            .uplink
            .as_ref()
            .is_some_and(|uplink| !uplink.connected)
    })
    .await?;
    let cut_at = out.uplink.as_ref().and_then(|uplink| uplink.since);
    let view = api.get(&format!("/v1/gateways/{HALL_2}")).await?;
    let revoked_at = at(&view, "/revoked_ms").as_i64().context("not revoked")?;
    let cut_at = cut_at.context("since when is unknown")?;
    // Nobody cuts while the machine stands still.
    let took = Awake::new(&stack.pauses()).between(revoked_at * MS, cut_at * MS) / MS;
    anyhow::ensure!(took <= CUT_WITHIN_MS, "it was cut after {took} ms");

    let refused = refused_as(&mut api, HALL_2, "revoked", REFUSED).await?;
    let view = api.get(&format!("/v1/gateways/{HALL_2}")).await?;
    anyhow::ensure!(*at(&view, "/session/state") == "disconnected", "{view}");
    let still = until(gateway(&mut stack, HALL_2)?, "reads on", |status| {
        status.pipeline.taken > out.pipeline.taken && status.spool.records > 0
    })
    .await?;
    let uplink = still.uplink.context("no uplink")?;
    anyhow::ensure!(!uplink.connected, "it is back");
    anyhow::ensure!(uplink.error.is_some(), "it does not say why it is out");

    let after = connection(gateway(&mut stack, HALL_1)?).await?;
    anyhow::ensure!(
        before == after,
        "{HALL_1} was disturbed: {before:?}, {after:?}"
    );
    // What the revoked one holds is nobody's: the other one is judged.
    gateway(&mut stack, HALL_2)?.stop().await?;
    stack.gateways.retain(|gateway| gateway.id == HALL_1);
    stack.stop_devices().await?;
    stack.wait_for_quiescence(LIMIT).await?;
    let mut evidence = stack.evidence().await?;
    evidence.site.buses.retain(|bus| bus.gateway == HALL_1);
    let verdict = judge(&evidence)?;
    stack.stop().await?;
    Ok(Told::Holds(format!(
        "cut after {took} ms, refused {refused} times; {HALL_1}: {verdict}"
    )))
}

pub(super) async fn a_gateway_with_anothers_certificate_gets_nowhere(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let before = connection(gateway(&mut stack, HALL_2)?).await?;

    // The real program with the other one's id over its own key and certificate.
    let own = gateway(&mut stack, HALL_1)?.dir().join("identity.toml");
    let impostor = bearer_folder(stage, "impostor", HALL_2, &own)?;
    let renamed = std::fs::read_to_string(&own)?.replace(HALL_1, HALL_2);
    std::fs::write(impostor.join("identity.toml"), renamed)?;
    let binary = stage.binaries.ours("fogline-gateway");
    let mut process = Gateway::start(HALL_2, &impostor, &binary, &stage.logs("impostor")?)?;
    let refused = refused_as(&mut api, HALL_2, HALL_1, REFUSED).await?;
    let status = process.status().await?;
    let uplink = status.uplink.context("no uplink")?;
    let tried = uplink.counters.get("envelopes").copied();
    anyhow::ensure!(!uplink.connected && tried == Some(0), "{uplink:?}");
    process.kill().await?;

    // A program of the attacker's own: what it may say, it says as itself alone.
    let lab = stage.dir.join("lab.toml");
    let lab_path = lab.to_string_lossy();
    stack
        .cloud_command(&["gateway", "add", "lab-1", "--out", &lab_path])
        .await?;
    let broker = stack.link.address();
    let as_other = Bearer::connect(&lab, HALL_2, broker).await;
    anyhow::ensure!(as_other.is_err(), "let in as {HALL_2}");
    let mut bearer = Bearer::connect(&lab, "lab-1", broker).await?;
    // Acknowledged, because MQTT 3.1.1 knows no other answer; and gone.
    let foreign = format!("gw/{HALL_2}/up/telemetry");
    bearer.publish(&foreign, b"said by another").await?;
    // What comes after it on the same connection arrives: the one before had its chance.
    bearer
        .publish("gw/lab-1/up/telemetry", b"said by itself")
        .await?;
    quarantined(&mut api, "lab-1", 1).await?;
    let other = api.get(&format!("/v1/quarantine?gateway={HALL_2}")).await?;
    anyhow::ensure!(other.as_array().is_some_and(Vec::is_empty), "{other}");

    let after = connection(gateway(&mut stack, HALL_2)?).await?;
    anyhow::ensure!(
        before == after,
        "{HALL_2} was disturbed: {before:?}, {after:?}"
    );
    let verdict = judged(stack).await?;
    Ok(Told::Holds(format!("refused {refused} times; {verdict}")))
}

pub(super) async fn two_bearers_of_one_identity_are_noticed_and_cost_no_reading(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let own = gateway(&mut stack, HALL_1)?.dir().join("identity.toml");
    let folder = bearer_folder(stage, "clone", HALL_1, &own)?;
    let binary = stage.binaries.ours("fogline-gateway");
    let mut clone = Gateway::start(HALL_1, &folder, &binary, &stage.logs("clone")?)?;
    let text = wait_for("the clone to be noticed", LIMIT, async || {
        let view = api.get(&format!("/v1/gateways/{HALL_1}")).await?;
        anyhow::ensure!(*at(&view, "/cloned") == true, "not cloned yet: {view}");
        let events = api.get(&format!("/v1/events?gateway={HALL_1}")).await?;
        let mut events = events.as_array().into_iter().flatten();
        let told = events
            .find(|event| *at(event, "/kind") == "identity" && *at(event, "/by_cloud") == true);
        let told = told.context("no event tells of it")?;
        Ok(at(told, "/subject").as_str().unwrap_or_default().to_owned())
    })
    .await?;
    clone.stop().await?;
    stack.wait_for_flow(LIMIT).await?;
    Ok(Told::Holds(format!("\"{text}\"; {}", judged(stack).await?)))
}

/// The connection of a gateway that nothing disturbs stays what it was.
pub(super) async fn connection(
    gateway: &Gateway,
) -> anyhow::Result<(bool, Option<i64>, Option<u64>)> {
    let uplink = gateway.status().await?.uplink.context("no uplink")?;
    let reconnects = uplink.counters.get("reconnects").copied();
    Ok((uplink.connected, uplink.since, reconnects))
}

/// Waits until a client was refused so often for a reason that names `why`.
async fn refused_as(api: &mut Api, client: &str, why: &str, often: u64) -> anyhow::Result<u64> {
    wait_for(&format!("{client} to be refused"), LIMIT, async || {
        let refusals = api.get("/v1/refusals").await?;
        let mut all = refusals.as_array().into_iter().flatten();
        let fits = |refusal: &&Value| {
            let reason = at(refusal, "/reason").as_str().unwrap_or_default();
            *at(refusal, "/client") == client && reason.contains(why)
        };
        let times = all
            .find(fits)
            .and_then(|refusal| at(refusal, "/times").as_u64());
        anyhow::ensure!(times >= Some(often), "refused so far: {refusals}");
        Ok(times.unwrap_or_default())
    })
    .await
}

/// Waits until so many inputs of a gateway stand in quarantine; gives them.
pub(super) async fn quarantined(api: &mut Api, id: &str, count: usize) -> anyhow::Result<Value> {
    wait_for(
        &format!("{count} inputs of {id} in quarantine"),
        LIMIT,
        async || {
            let list = api.get(&format!("/v1/quarantine?gateway={id}")).await?;
            let seen = list.as_array().map_or(0, Vec::len);
            anyhow::ensure!(seen >= count, "{seen} so far: {list}");
            Ok(list)
        },
    )
    .await
}

/// A folder for a process that says it is `id`, reads no device, and has a copy of an identity.
fn bearer_folder(stage: &Stage, name: &str, id: &str, identity: &Path) -> anyhow::Result<PathBuf> {
    let folder = stage.dir.join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(identity, folder.join("identity.toml"))?;
    let nothing = tests_fieldsim::Site::default();
    let config = tests_harness::site::gateway_toml(&nothing, id, &Default::default(), &brisk());
    std::fs::write(folder.join("gateway.toml"), config)?;
    Ok(folder)
}
