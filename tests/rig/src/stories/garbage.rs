//! Bad input from a trusted gateway: set aside, counted, visible, and never in the way.

use super::identity::quarantined;
use super::stage::{Stage, Told, at, brisk, gateway, judged, until};
use crate::bearer::Bearer;
use anyhow::Context as _;
use std::collections::BTreeSet;
use tests_harness::site::{HALL_1, HALL_2};

/// What no decoder can use, on topics that are the gateway's own. A fixed seed: the same each time.
fn garbage() -> Vec<(String, Vec<u8>)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = |length: usize| -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..))
            .take(length)
            .collect()
    };
    let lane = |lane: &str| format!("gw/{HALL_1}/up/{lane}");
    vec![
        (lane("telemetry"), noise(300)),
        (lane("telemetry"), noise(200_000)),
        (lane("telemetry"), b"{\"temperature\": 21.5}".to_vec()),
        (lane("telemetry"), vec![0; 4096]),
        (lane("telemetry/history"), noise(1)),
        (lane("event"), noise(64)),
        (lane("alarm"), noise(64)),
        // Right for nobody: a hello is said at QoS 0, and there is no such lane.
        (lane("hello"), noise(64)),
        (lane("gossip"), noise(64)),
    ]
}

pub(super) async fn garbage_from_a_gateway_is_quarantined_and_what_is_behind_it_flows(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let mut stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let own = gateway(&mut stack, HALL_1)?;
    own.stop().await?;
    let identity = own.dir().join("identity.toml");
    let before = gateway(&mut stack, HALL_2)?.status().await?;

    let mut bearer = Bearer::connect(&identity, HALL_1, stack.link.address()).await?;
    let thrown = garbage();
    for (topic, payload) in &thrown {
        bearer.publish(topic, payload).await?;
    }
    drop(bearer);
    // Behind it: the gateway's own readings, and everybody else's.
    gateway(&mut stack, HALL_1)?.restart()?;
    let settled = |status: &tests_harness::gateway::Status| {
        status.spool.counters.get("settled_records").copied()
    };
    let behind = settled(&before).map(|records| records + 3);
    until(gateway(&mut stack, HALL_2)?, "goes on", |status| {
        settled(status) >= behind
    })
    .await?;
    until(gateway(&mut stack, HALL_1)?, "goes on", |status| {
        settled(status) >= Some(3)
    })
    .await?;

    let listed = quarantined(&mut api, HALL_1, thrown.len()).await?;
    let listed = listed.as_array().context("no list")?;
    let bytes = |length: &usize| u64::try_from(*length).unwrap_or(u64::MAX);
    // The broker's name for a topic has dots between its parts.
    let dotted = |topic: &str| topic.replace('/', ".");
    let topics = listed.iter().filter_map(|one| at(one, "/topic").as_str());
    let topics: BTreeSet<String> = topics.map(dotted).collect();
    let wanted: BTreeSet<String> = thrown.iter().map(|(topic, _)| dotted(topic)).collect();
    anyhow::ensure!(
        topics == wanted,
        "set aside: {topics:?}, thrown: {wanted:?}"
    );
    let blank = listed
        .iter()
        .find(|one| at(one, "/reason").as_str().is_none_or(str::is_empty));
    anyhow::ensure!(blank.is_none(), "no reason: {blank:?}");
    let view = api.get(&format!("/v1/gateways/{HALL_1}")).await?;
    let counted = at(&view, "/quarantined").as_u64();
    anyhow::ensure!(counted == Some(bytes(&thrown.len())), "counted {counted:?}");
    let command = ["quarantine", "list", "--gateway", HALL_1];
    let told = stack.cloud_command(&command).await?;
    let lines = told.lines().count();
    anyhow::ensure!(lines == thrown.len(), "the command lists {lines}:\n{told}");
    let verdict = judged(stack).await?;
    Ok(Told::Holds(format!("{lines} set aside; {verdict}")))
}
