//! The commands.

use crate::serve;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests_cluster::{Answer, Control, Request, leftovers};
use tests_harness::wait::wait_for;

/// How long a cluster may take to come up on a slow machine.
const UP_LIMIT: Duration = Duration::from_secs(300);
/// How long its owner may take to be gone.
const DOWN_LIMIT: Duration = Duration::from_secs(120);

/// A cluster on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask cluster")]
pub(crate) struct Cli {
    /// Folder of the cluster: configuration, logs, disks.
    #[arg(long, global = true, default_value = "target/cluster")]
    dir: PathBuf,
    #[command(subcommand)]
    task: Task,
}

/// What is raised.
#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Broker nodes: 3 or 5.
    #[arg(long, default_value_t = 3)]
    pub(crate) nodes: u8,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Raise it: three zones, brokers, balancers, cloud roles, gateways with simulated devices.
    Up(Up),
    /// Show how everything is.
    Status,
    /// End a process at once, or take the power from a host or a zone, with what it had not synced.
    Kill {
        /// A process (is started again), a host or a zone (stays off until it is healed).
        name: String,
    },
    /// Stop a process, or all on a host or in a zone, where it stands.
    Pause {
        /// Which one.
        name: String,
    },
    /// Let no packet through between two hosts or zones.
    Cut {
        /// One end.
        from: String,
        /// The other; everybody else where it is not named.
        #[arg(default_value = "all")]
        to: String,
        /// Only from the first to the second.
        #[arg(long)]
        one_way: bool,
    },
    /// Make a network bad between two hosts or zones.
    Slow {
        /// One end.
        from: String,
        /// The other; everybody else where it is not named.
        #[arg(default_value = "all")]
        to: String,
        /// Milliseconds to each side.
        #[arg(long, default_value_t = 200)]
        delay: u64,
        /// Per cent of the packets that vanish.
        #[arg(long, default_value_t = 5.0)]
        loss: f64,
        /// Bits a second.
        #[arg(long)]
        rate: Option<u64>,
    },
    /// Fill the disk of a host.
    Fill {
        /// Which one.
        name: String,
    },
    /// Undo what was done to a process, a host, a zone, or to everything.
    Heal {
        /// Whom; everything where nobody is named.
        name: Option<String>,
    },
    /// End a process in order; it stays away until it is healed.
    Drain {
        /// Which one.
        name: String,
    },
    /// Start processes of a role, or end some in order, until there are so many.
    Scale {
        /// The role.
        role: String,
        /// How many.
        count: u8,
    },
    /// End a process in order and start the binary of the same name in another folder in its place.
    Upgrade {
        /// Which one.
        name: String,
        /// The folder.
        binaries: PathBuf,
    },
    /// End everything and take it away, also what a killed owner left behind.
    Down,
    /// Own the cluster, until it is told to go down.
    #[command(hide = true)]
    Serve(Up),
}

impl Cli {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let control = Control::there(&self.dir);
        let request = match self.task {
            Task::Up(up) => return raise(&self.dir, &up).await,
            Task::Serve(up) => return serve::serve(&self.dir, &up).await,
            Task::Down => return down(&self.dir).await,
            Task::Status => {
                result(&control.status().await?.render());
                return Ok(());
            }
            Task::Kill { name } => Request::Kill { name },
            Task::Pause { name } => Request::Pause { name },
            Task::Cut { from, to, one_way } => Request::Cut { from, to, one_way },
            Task::Slow {
                from,
                to,
                delay,
                loss,
                rate,
            } => Request::Slow {
                from,
                to,
                delay_ms: delay,
                loss: loss / 100.0,
                rate,
            },
            Task::Fill { name } => Request::Fill { name },
            Task::Heal { name } => Request::Heal { name },
            Task::Scale { role, count } => Request::Scale { role, count },
            Task::Drain { name } => Request::Drain { name },
            Task::Upgrade { name, binaries } => Request::Upgrade {
                name,
                dir: binaries.canonicalize().context("finding the folder")?,
            },
        };
        if let Answer::Done(words) = control.ask(request).await? {
            say(&words);
        }
        Ok(())
    }
}

async fn raise(dir: &Path, up: &Up) -> anyhow::Result<()> {
    tests_cluster::can_run()?;
    let control = Control::there(dir);
    anyhow::ensure!(
        control.status().await.is_err(),
        "a cluster runs here already: `cargo xtask cluster down` takes it away"
    );
    anyhow::ensure!(
        leftovers::Mark::read(dir).is_none(),
        "a cluster was killed here: `cargo xtask cluster down` takes away what it left"
    );
    if dir.exists() {
        // Of a cluster that went down: logs and a database that nobody asked to keep.
        std::fs::remove_dir_all(dir).with_context(|| format!("emptying {}", dir.display()))?;
    }
    std::fs::create_dir_all(dir)?;
    let log = std::fs::File::create(dir.join("owner.log"))?;
    // In a session of its own: it outlives this command and the terminal.
    let mut owner = Command::new("setsid")
        .arg(std::env::current_exe()?)
        .args(["serve", "--nodes", &up.nodes.to_string(), "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the cluster's owner")?;
    let waited = wait_for("the cluster", UP_LIMIT, async || {
        if let Some(ended) = owner.try_wait()? {
            return Ok(Err(ended));
        }
        Ok(Ok(control.status().await?))
    });
    let words = || std::fs::read_to_string(dir.join("owner.log")).unwrap_or_default();
    match waited.await.with_context(words)? {
        Ok(status) => result(&status.render()),
        Err(ended) => anyhow::bail!("the owner ended with {ended}:\n{}", words()),
    }
    Ok(())
}

async fn down(dir: &Path) -> anyhow::Result<()> {
    let control = Control::there(dir);
    let is_owned = control.status().await.is_ok();
    if is_owned {
        // What it had to kill it tells; what is left is swept all the same.
        if let Err(error) = control.ask(Request::Down).await {
            say(&format!("not everything ended in order: {error:#}"));
        }
        wait_for("the owner to end", DOWN_LIMIT, async || {
            anyhow::ensure!(leftovers::Mark::read(dir).is_none(), "its mark is there");
            Ok(())
        })
        .await?;
    }
    let swept = leftovers::sweep(dir)?;
    swept
        .iter()
        .for_each(|what| say(&format!("removed {what}")));
    if !is_owned && swept.is_empty() {
        say("there was no cluster");
    }
    Ok(())
}

/// A line for people.
#[expect(
    clippy::print_stderr,
    reason = "a tool talks on stderr, stdout belongs to results"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// What was asked for. A reader that has seen enough may have closed the pipe.
fn result(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{}", text.trim_end());
}
