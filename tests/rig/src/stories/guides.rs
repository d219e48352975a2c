//! The guides tell the truth: their commands are run as they stand, with the built programs on the
//! PATH.
//!
//! A block marked `sh` is one script, in a folder that its guide's blocks share; a line that ends with
//! `&` runs until the end of its block. A block marked `toml` whose first line is `# NAME` is that
//! file. Nothing is changed but the default ports, which others may have: `fogline-cloud init` is told
//! free ones, and addresses in commands follow.

use super::stage::{Stage, Told, brisk};
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tests_deploy::guide::{self, Block};
use tests_harness::ports;
use tokio::process::Command;

/// No block takes longer: it hangs.
const BLOCK_LIMIT: Duration = Duration::from_secs(240);
/// Where the guides are, from the workspace's root.
const FRONT: &str = "README.md";
const GATEWAY: &str = "gateway/agent/README.md";
const CLOUD: &str = "cloud/server/README.md";
const BROKER: &str = "deploy/broker/README.md";
/// Guides of deployments, as far as one machine can follow them: blocks marked `sh live` it cannot
/// (`tests/deploy` looks at those).
const DEPLOYMENTS: [&str; 5] = [
    "deploy/guides/plain-hosts.md",
    "deploy/guides/kubernetes.md",
    "deploy/guides/openshift.md",
    "deploy/guides/certificates.md",
    "deploy/guides/backup.md",
];
/// The gateway that the technician's guide speaks of.
const EXAMPLE: &str = "hall2-gw3";
/// The API's default port and those of health listeners, as they stand in commands.
const PORTS: [&str; 4] = ["8443", "9464", "9465", "9466"];

pub(super) async fn the_commands_of_the_guides_run(stage: &Stage) -> anyhow::Result<Told> {
    let curl = Command::new("curl").arg("--version").output().await;
    curl.context("the guides use curl: apt-get install curl")?;
    front_page()?;
    let mut run = 0;
    for guide in [CLOUD, BROKER].into_iter().chain(DEPLOYMENTS) {
        run += Desk::new(stage, guide)?.run().await?;
    }
    // The technician is handed an identity, and there is a cloud to report to.
    let stack = stage.start(stage.demo(), brisk()).await?;
    let desk = Desk::new(stage, GATEWAY)?;
    let identity = desk.folder.join("identity.toml");
    let identity = identity.to_string_lossy();
    let server = format!("mqtts://{}", stack.link.address());
    let add = ["gateway", "add", EXAMPLE, "--out", &identity];
    stack
        .cloud_command(&[&add[..], &["--server", &server]].concat())
        .await?;
    run += desk.run().await?;
    let show = stack.cloud_command(&["gateway", "show", EXAMPLE]).await?;
    anyhow::ensure!(
        show.contains("\"last_hello\": \""),
        "the gateway of the guide was never heard:\n{show}"
    );
    stack.stop().await?;
    Ok(Told::Holds(format!("{run} blocks of commands")))
}

/// The front page names only commands of `cargo xtask`, which other tests run.
fn front_page() -> anyhow::Result<()> {
    let text = std::fs::read_to_string(FRONT)
        .with_context(|| format!("reading {FRONT}; run this from the workspace's root"))?;
    for block in guide::of(&text).filter(|block| block.kind == "sh") {
        let odd = block
            .text
            .lines()
            .find(|line| !line.starts_with("cargo xtask "));
        anyhow::ensure!(odd.is_none(), "{FRONT}:{}: who tests {odd:?}?", block.line);
    }
    Ok(())
}

/// One guide and the folder in which its commands run.
struct Desk {
    guide: &'static str,
    text: String,
    folder: PathBuf,
    path: String,
    /// What stands for [`PORTS`].
    ports: [u16; PORTS.len()],
}

impl Desk {
    fn new(stage: &Stage, guide: &'static str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(guide).with_context(|| format!("reading {guide}"))?;
        let folder = stage.dir.join("guides").join(guide.replace('/', "-"));
        let programs = folder.join(".programs");
        std::fs::create_dir_all(&programs)?;
        let [mqtt, client, route, monitor] = ports::free()?;
        let free: [u16; PORTS.len()] = ports::free()?;
        let [api, ..] = free;
        symlink(&stage.binaries.nats_server, programs.join("nats-server"))?;
        let gateway = stage.binaries.ours("fogline-gateway");
        symlink(gateway, programs.join("fogline-gateway"))?;
        let cloud = stage.binaries.ours("fogline-cloud");
        let cloud = cloud.display();
        let ports = format!(
            "--mqtt-port {mqtt} --client-port {client} --api-port {api} --route-port {route} \
             --monitor-port {monitor}"
        );
        let wrapper = format!(
            "#!/bin/sh\n[ \"$1\" != init ] || exec '{cloud}' \"$@\" {ports}\nexec '{cloud}' \"$@\"\n"
        );
        let file = programs.join("fogline-cloud");
        std::fs::write(&file, wrapper)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        let before = std::env::var("PATH").unwrap_or_default();
        Ok(Self {
            guide,
            text,
            path: format!("{}:{before}", programs.display()),
            folder,
            ports: free,
        })
    }

    /// Writes the guide's files and runs its blocks, in their order; how many.
    async fn run(&self) -> anyhow::Result<usize> {
        let mut run = 0;
        for block in guide::of(&self.text) {
            match (block.kind, block.file()) {
                ("toml", Some(name)) => std::fs::write(self.folder.join(name), block.text)?,
                ("sh", _) => {
                    let place = || format!("{}:{}", self.guide, block.line);
                    self.script(&block).await.with_context(place)?;
                    run += 1;
                }
                _ => {}
            }
        }
        anyhow::ensure!(run > 0, "{} has no commands", self.guide);
        Ok(run)
    }

    async fn script(&self, block: &Block<'_>) -> anyhow::Result<()> {
        let ports = PORTS.iter().zip(self.ports);
        let script = ports.fold(block.script(), |script, (told, free)| {
            script.replace(told, &free.to_string())
        });
        let shell = Command::new("sh")
            .args(["-c", &script])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting sh")?;
        let _group = Group::of(&shell)?;
        let output = tokio::time::timeout(BLOCK_LIMIT, shell.wait_with_output());
        let output = output.await.context("the block did not end in time")??;
        let told = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = told.lines().collect();
        let last = lines.get(lines.len().saturating_sub(12)..);
        let last = last.unwrap_or_default().join("\n");
        anyhow::ensure!(output.status.success(), "{}:\n{last}", output.status);
        Ok(())
    }
}

/// A shell and whatever it started: all of it ends with this value.
struct Group(Pid);

impl Group {
    fn of(shell: &tokio::process::Child) -> anyhow::Result<Self> {
        let id = shell.id().context("the shell is gone")?;
        let id = Pid::from_raw(i32::try_from(id)?).context("no such process id")?;
        Ok(Self(id))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Usually nobody is left: the script stops what it started.
        let _gone = kill_process_group(self.0, Signal::KILL);
    }
}
