//! Another broker than ours: Mosquitto, with the configuration that is shipped.

use super::identity::{connection, quarantined};
use super::stage::{LIMIT, Stage, Told, brisk, gateway, judged};
use crate::bearer::Bearer;
use std::time::Duration;
use tests_harness::mosquitto;
use tests_harness::site::{HALL_1, HALL_2};
use tests_harness::stack::BrokerKind;

/// How long broker and cloud are away, each in its turn.
const AWAY: Duration = Duration::from_secs(2);

pub(super) async fn on_another_broker_nothing_is_lost_and_nobody_speaks_for_another(
    stage: &Stage,
) -> anyhow::Result<Told> {
    if mosquitto::program().is_none() {
        let must = std::env::var_os("FOGLINE_REQUIRE_INTEROP").is_some_and(|value| value == "1");
        anyhow::ensure!(
            !must,
            "Mosquitto is not installed: apt-get install mosquitto"
        );
        return Ok(Told::NotRun("Mosquitto is not installed".to_owned()));
    }
    let mut stack = stage
        .start_on(BrokerKind::Mosquitto, stage.demo(), brisk())
        .await?;
    let mut api = stack.log_in().await?;
    let before = connection(gateway(&mut stack, HALL_2)?).await?;

    // Under its own certificate with another one's client id: it is taken for who it is.
    let lab = stage.dir.join("lab.toml");
    let lab_path = lab.to_string_lossy();
    let add = ["gateway", "add", "lab-1", "--out", &lab_path];
    stack.cloud_command(&add).await?;
    let mut bearer = Bearer::connect(&lab, HALL_2, stack.link.address()).await?;
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
    drop(bearer);
    // The name of ingest opens what all gateways say: no gateway gets it.
    let taken = stack
        .cloud_command(&["gateway", "add", "fogline-ingest"])
        .await;
    anyhow::ensure!(taken.is_err(), "a gateway may bear the name of ingest");

    // Nothing is kept by this broker: what it took with it is offered again.
    stack.broker.kill().await?;
    tokio::time::sleep(AWAY).await;
    stack.broker.restart()?;
    stack.wait_for_flow(LIMIT).await?;
    // Without ingest it takes what gateways send, and forgets it.
    stack.cloud.kill().await?;
    tokio::time::sleep(AWAY).await;
    stack.cloud.restart()?;
    stack.wait_for_flow(LIMIT).await?;

    let verdict = judged(stack).await?;
    Ok(Told::Holds(format!("{HALL_1} and {HALL_2}: {verdict}")))
}
