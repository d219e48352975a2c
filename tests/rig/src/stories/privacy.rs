//! Values, texts and names that must not leave a site: searched for in everything that the broker keeps, the
//! database stores, and all processes write, after filters, rules, an outage and a kill.

use super::plant::Plant;
use super::stage::{LIMIT, Stage, Told, brisk, judged, until};
use std::path::Path;
use tests_harness::proxy::Link;
use tests_harness::stack::Stack;
use tests_harness::wait::wait_for;

const ID: &str = "private";
/// Nothing else that the system prints looks like one of these.
const CANARIES: [&str; 6] = [
    "7361948.25",
    "8213377",
    "47.318274",
    "BADGE-4711-QX",
    "canary-dropped",
    "canary-group",
];
/// What is told instead of 8213377 and of its double.
const ROUNDED: [&str; 2] = ["8200000", "16000000"];

pub(super) async fn nothing_private_reaches_broker_or_database(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let stack = stage.start(stage.demo(), brisk()).await?;
    let dir = stage.gateway_dir(ID);
    let plant = plant().await?;
    let config = CONFIG.replace("PORT", &plant.port.to_string());
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("pseudo"), "5a".repeat(32))?;
    let mut gateway = stage.add_gateway(&stack, ID, &config).await?;
    stored(&stack, 1).await?;
    // An outage with a kill in it: the backlog comes from the disk.
    stack.link.set(Link::Cut);
    until(&gateway, "keeps what it reads", |status| {
        status.spool.records > 5
    })
    .await?;
    gateway.kill().await?;
    gateway.restart()?;
    until(&gateway, "reads again", |status| {
        status.pipeline.taken > 200
    })
    .await?;
    let before = count(&export(&stack).await?);
    stack.link.set(Link::Passing);
    stack.wait_for_flow(LIMIT).await?;
    stored(&stack, before + 20).await?;
    gateway.stop().await?;

    let export = export(&stack).await?;
    search("the export of the database", export.as_bytes())?;
    for told in ROUNDED {
        anyhow::ensure!(export.contains(told), "{told} is not told");
    }
    let files = search_below(&stage.dir, &dir)?;
    let kept = count(&export);
    drop(gateway);
    Ok(Told::Holds(format!(
        "{kept} rounded readings stored, no canary in {files} files; {}",
        judged(stack).await?
    )))
}

/// Everything the cloud has stored, decoded.
async fn export(stack: &Stack) -> anyhow::Result<String> {
    stack.cloud_command(&["export", "--readings"]).await
}

fn count(export: &str) -> usize {
    export
        .lines()
        .filter(|line| line.contains(ROUNDED[0]))
        .count()
}

async fn stored(stack: &Stack, least: usize) -> anyhow::Result<()> {
    wait_for("rounded readings in the database", LIMIT, async || {
        let found = count(&export(stack).await?);
        anyhow::ensure!(found >= least, "{found} of {least}");
        Ok(())
    })
    .await
}

const CONFIG: &str = r#"schema = 1
[gateway]
id = "private"
state_dir = "state"
[bus.b]
kind = "modbus-tcp"
addr = "127.0.0.1:PORT"
[device.site]
bus = "b"
unit = 1
groups = { fast = "100ms" }
points = [
  { id = "canary-dropped", at = "hr:0", as = "f64" },
  { id = "weight", at = "hr:4", as = "f64" },
  { id = "lat", at = "hr:8", as = "f64" },
  { id = "lon", at = "hr:12", as = "f64" },
  { id = "badge", at = "hr:16", as = "string", len = 8 },
  { id = "canary-group", at = "hr:24", as = "f64" },
]
[derive.twice]
value = "site.weight * 2"
[filter.w]
match = ["derived/twice", "site/l*"]
do = [ { swing = { error = 0.001, beat = "1s" } } ]
[rule.heavy]
when = "site.weight > 1000 && site.canary-dropped > 0"
alarm = { level = "low", text = "too heavy" }
event = "weighed"
capture = { points = "site/*", for = "1m" }
[privacy.cloud]
drop = "site/canary-*"
round = { "site/weight" = 100000, "derived/*" = 1000000 }
place = { latitude = "site/lat", longitude = "site/lon", cell = "50km" }
pseudonymise = { match = "site/badge", key = "file:pseudo" }
[uplink.cloud]
identity = "identity.toml"
batch_age = { live = "500ms", offline = "1s" }
[spool]
commit = "1s"
[log]
level = "debug"
"#;

/// Fails where a canary is found.
fn search(what: &str, content: &[u8]) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(content);
    for canary in CANARIES {
        anyhow::ensure!(!text.contains(canary), "{canary} stands in {what}");
    }
    Ok(())
}

/// Searches all files but the gateway's own configuration and identity; how many.
fn search_below(folder: &Path, gateway: &Path) -> anyhow::Result<usize> {
    let own = ["gateway.toml", "pseudo", "state/last-good.json"].map(|name| gateway.join(name));
    let mut folders = vec![folder.to_owned()];
    let mut searched = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && !own.contains(&path) {
                // What goes away meanwhile (a journal of the database) is told by what replaces it.
                if let Ok(content) = std::fs::read(&path) {
                    search(&path.to_string_lossy(), &content)?;
                    searched += 1;
                }
            }
        }
    }
    Ok(searched)
}

/// A device whose registers hold the canaries.
async fn plant() -> anyhow::Result<Plant> {
    let plant = Plant::start().await?;
    let numbers: [f64; 4] = [7_361_948.250_917, 8_213_377.125_5, 47.318_274, 8.549_162];
    for (register, number) in (0_u16..).step_by(4).zip(numbers) {
        plant.set(register, &number.to_be_bytes());
    }
    plant.set(16, b"BADGE-4711-QX");
    plant.set(24, &6_120_931.5_f64.to_be_bytes());
    Ok(plant)
}
