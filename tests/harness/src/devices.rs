//! The simulated devices of a site: started, silenced, and what they answered.

use crate::process::{Process, Recipe};
use crate::stack::{Binaries, START_LIMIT};
use crate::wait::wait_for;
use anyhow::Context as _;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::answer_log::AnswerLine;
use tests_fieldsim::{BusKind, BusSite, Site, radio};
use tests_net::Host;
use tests_oracle::Evidence;

/// How long the devices may take to fall silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How long an answer that was begun may take to leave.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// Starts the simulator in `<dir>/field` and waits until every bus can be reached. Gives its process and
/// the TCP ports by bus.
///
/// # Errors
/// Where it cannot be started; its last words are added.
pub async fn start(
    dir: &Path,
    binaries: &Binaries,
    site: &Site,
    host: Option<&Host>,
) -> anyhow::Result<(Process, BTreeMap<String, u16>)> {
    let field = dir.join("field");
    let (file, ready) = (field.join("site.json"), ready_file(dir));
    std::fs::write(&file, serde_json::to_vec_pretty(site)?)?;
    for bus in &site.buses {
        if let Some(link) = bus.kind.link() {
            let parent = Path::new(link)
                .parent()
                .context("the terminal's link has no folder")?;
            std::fs::create_dir_all(parent)?;
        }
    }
    let log = field.join("answers.ndjson");
    let arguments = [
        "--site",
        &file.to_string_lossy(),
        "--log",
        &log.to_string_lossy(),
        "--ready",
        &ready.to_string_lossy(),
    ];
    let program = binaries.ours("fogline-fieldsim");
    let recipe = Recipe::new("field", &program, &arguments, &dir.join("logs"));
    let process = Process::start(match host {
        Some(host) => recipe.on(host),
        None => recipe,
    })?;
    let ports = wait_for("the simulated devices", START_LIMIT, async || {
        let text = std::fs::read(&ready).with_context(|| process.last_words())?;
        Ok(serde_json::from_slice(&text)?)
    });
    let ports = ports.await?;
    Ok((process, ports))
}

/// Stops the devices for good: they fall silent. Their simulator stays until the end, or its ports and
/// terminals could be given to another one that runs beside this system.
///
/// # Errors
/// Where the simulator does not run.
pub async fn silence(field: &Process, dir: &Path) -> anyhow::Result<()> {
    field.signal(Signal::USR1)?;
    let ready = ready_file(dir);
    wait_for("the devices to fall silent", SILENCE_LIMIT, async || {
        anyhow::ensure!(!ready.exists(), "the simulator has not said so");
        Ok(())
    })
    .await?;
    tokio::time::sleep(LAST_ANSWER).await;
    Ok(())
}

/// Lets Modbus units that were silenced answer again; other families stay silent.
///
/// # Errors
/// Where the simulator does not run.
pub async fn resume(field: &Process, dir: &Path) -> anyhow::Result<()> {
    field.signal(Signal::USR2)?;
    let ready = ready_file(dir);
    wait_for("the devices to answer again", SILENCE_LIMIT, async || {
        anyhow::ensure!(ready.exists(), "the simulator has not said so");
        Ok(())
    })
    .await
}

/// What the devices answered so far, by time.
///
/// # Errors
/// Where the log cannot be read.
pub fn answers(dir: &Path) -> anyhow::Result<Vec<AnswerLine>> {
    let text = std::fs::read_to_string(dir.join("field/answers.ndjson"))?;
    let mut answers: Vec<AnswerLine> = Evidence::read_lines(&text)?;
    // Lines of several buses are written as they come; the judge wants them by time.
    answers.sort_by_key(|line| line.t);
    Ok(answers)
}

/// What a gateway must have in its environment to find the simulated adapter, where there is one.
///
/// # Errors
/// Where the folder of the field is not there.
pub fn air(dir: &Path, site: &Site) -> anyhow::Result<Vec<(String, String)>> {
    let is_radio = |bus: &BusSite| matches!(bus.kind, BusKind::Radio { .. });
    if !site.buses.iter().any(is_radio) {
        return Ok(Vec::new());
    }
    let address = radio::bus_address(&dir.join("field").canonicalize()?);
    Ok(vec![("DBUS_SYSTEM_BUS_ADDRESS".to_owned(), address)])
}

/// There while the simulated devices answer.
fn ready_file(dir: &Path) -> PathBuf {
    dir.join("field/ready.json")
}
