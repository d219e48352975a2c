//! Rules need no cloud: they act in an outage and across a kill, and what they did is told afterwards, once.

use super::plant::Plant;
use super::stage::{LIMIT, Stage, Told, at, brisk, judged, until};
use anyhow::Context as _;
use serde_json::Value;
use std::path::Path;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::api::Api;
use tests_harness::gateway::{Gateway, Status};
use tests_harness::proxy::Link;
use tests_harness::wait::wait_for;
use tokio::process::Command;

const ID: &str = "cellar";
const ALARM: &str = "overtemp";
/// Registers of the device.
const TEMPERATURE: u16 = 0;
const FAN: u16 = 10;
/// Tenths of a degree.
const COOL: i16 = 250;
const HOT: i16 = 342;

pub(super) async fn a_rule_acts_in_an_outage_and_its_alarm_survives_a_kill_and_is_told_once(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let stack = stage.start(stage.demo(), brisk()).await?;
    let mut api = stack.log_in().await?;
    let plant = Plant::start().await?;
    plant.set(TEMPERATURE, &COOL.to_be_bytes());
    let config = CONFIG.replace("PORT", &plant.port.to_string());
    // Never connected before the alarm: the link is cut from the first boot on.
    stack.link.set(Link::Cut);
    let mut gateway = stage.add_gateway(&stack, ID, &config).await?;
    let site = Site {
        binary: stage.binaries.ours("fogline-gateway"),
        config: gateway.dir().join("gateway.toml"),
    };
    until(&gateway, "reads", |status| status.pipeline.taken > 20).await?;
    anyhow::ensure!(plant.written().is_empty(), "nothing is hot yet");

    let from_ms = wall_ns() / 1_000_000;
    plant.set(TEMPERATURE, &HOT.to_be_bytes());
    site.until_alarm(&gateway, "raised").await?;
    wait_for("the fan is on", LIMIT, async || {
        anyhow::ensure!(plant.written() == [(FAN, 1)], "{:?}", plant.written());
        Ok(())
    })
    .await?;
    // What was told so far is on disk: a kill takes none of it.
    let commits = |status: &Status| status.spool.counters.get("commits").copied().unwrap_or(0);
    let before = commits(&gateway.status().await?);
    until(&gateway, "commits", |status| commits(status) >= before + 2).await?;
    gateway.kill().await?;
    gateway.restart()?;
    site.until_alarm(&gateway, "raised").await?;
    until(&gateway, "reads again", |status| status.pipeline.taken > 20).await?;
    anyhow::ensure!(
        plant.written() == [(FAN, 1)],
        "what was done is done again: {:?}",
        plant.written()
    );
    plant.set(TEMPERATURE, &COOL.to_be_bytes());
    site.until_alarm(&gateway, "returned").await?;
    wait_for("the fan is off", LIMIT, async || {
        let written = plant.written();
        anyhow::ensure!(written == [(FAN, 1), (FAN, 0)], "{written:?}");
        Ok(())
    })
    .await?;
    let to_ms = wall_ns() / 1_000_000;

    stack.link.set(Link::Passing);
    until_told(&mut api, "returned").await?;
    site.run(&["alarms", "ack", ALARM, "--by", "ada"]).await?;
    until_told(&mut api, "normal").await?;
    let events = told_once(&mut api, (from_ms, to_ms)).await?;
    gateway.stop().await?;
    drop(gateway);
    stack.wait_for_flow(LIMIT).await?;
    Ok(Told::Holds(format!(
        "{events} changes of the alarm told after the outage; {}",
        judged(stack).await?
    )))
}

/// The gateway as the people on site see it.
struct Site {
    binary: std::path::PathBuf,
    config: std::path::PathBuf,
}

impl Site {
    /// Runs a command of the gateway; what it prints.
    async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let config: &Path = &self.config;
        let output = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(config)
            .output()
            .await
            .context("starting the gateway's command")?;
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{arguments:?}: {words}");
        Ok(String::from_utf8(output.stdout)?)
    }

    async fn until_alarm(&self, gateway: &Gateway, state: &str) -> anyhow::Result<()> {
        wait_for(&format!("the alarm is {state}"), LIMIT, async || {
            let said = self.run(&["alarms", "--json"]).await?;
            let said: Value = serde_json::from_str(&said)?;
            let found = at(&said, "/alarms/0/state");
            anyhow::ensure!(found == state, "{}: {said}", gateway.id);
            Ok(())
        })
        .await
    }
}

/// Waits until the cloud shows the alarm in a state.
async fn until_told(api: &mut Api, state: &str) -> anyhow::Result<()> {
    wait_for(&format!("the cloud knows: {state}"), LIMIT, async || {
        let path = format!("/v1/alarms?gateway={ID}&state=all");
        let alarms = api.get(&path).await?;
        let known = alarms.as_array().context("no list of alarms")?;
        let is_so = |alarm: &Value| at(alarm, "/name") == ALARM && at(alarm, "/state") == state;
        anyhow::ensure!(known.len() == 1 && known.iter().all(is_so), "{alarms}");
        Ok(())
    })
    .await
}

/// Each change is an event, once, at the time it had in the outage; how many.
async fn told_once(api: &mut Api, (from_ms, to_ms): (i64, i64)) -> anyhow::Result<usize> {
    let path = format!("/v1/events?gateway={ID}&kind=alarm&limit=100");
    let events = api.get(&path).await?;
    let list = events.as_array().context("no list of events")?;
    for (state, in_outage) in [("raised", true), ("returned", true), ("normal", false)] {
        let mut told = list.iter().filter(|one| *at(one, "/alarm/state") == state);
        let time = told.next().and_then(|one| at(one, "/time_ms").as_i64());
        let time = time.with_context(|| format!("{state} was never told: {events}"))?;
        anyhow::ensure!(
            told.next().is_none(),
            "{state} was told more than once: {events}"
        );
        anyhow::ensure!(
            (from_ms..=to_ms).contains(&time) == in_outage,
            "{state} at {time}, the outage was {from_ms} to {to_ms}: {events}"
        );
    }
    Ok(list.len())
}

const CONFIG: &str = r#"schema = 1
[gateway]
id = "cellar"
state_dir = "state"
[bus.b]
kind = "modbus-tcp"
addr = "127.0.0.1:PORT"
[device.cellar]
bus = "b"
unit = 1
groups = { fast = "100ms" }
points = [
  { id = "temperature", at = "hr:0", as = "i16", scale = 0.1, unit = "°C" },
  { id = "fan", at = "hr:10", write = true, verify = true },
]
[rule.overtemp]
when = "cellar.temperature > 30"
for = "300ms"
clear = "cellar.temperature < 28"
alarm = { level = "high", text = "cellar hot", latch = true }
write = [ { point = "cellar/fan", value = 1 } ]
on_clear = [ { point = "cellar/fan", value = 0 } ]
[uplink.cloud]
identity = "identity.toml"
batch_age = { live = "500ms", offline = "1s" }
[spool]
commit = "1s"
"#;
