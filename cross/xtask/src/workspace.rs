//! The workspace: where things are, how they are built, and handing over to the rig.

use crate::machine::{self, Wants};
use crate::{dashboard, step, tools};
use anyhow::Context as _;
use cargo_metadata::{Metadata, MetadataCommand};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The binaries that make up the running system.
const SYSTEM: [&str; 6] = [
    "gateway-agent",
    "cloud-server",
    "tests-cluster",
    "tests-fieldsim",
    "tests-load",
    "tests-rig",
];

/// What `cargo xtask load` runs beside its own binary.
const LOADED: [&str; 2] = ["cloud-server", "tests-fieldsim"];

/// What owns a cluster on this machine.
const CLUSTER: &str = "fogline-cluster";

/// What counts the instructions of the hot stages.
const COUNTING: &str = "tests-instructions";

/// Parts of the benchmark that run the system.
const SYSTEM_PARTS: [&str; 11] = [
    "tcp", "ingest", "filters", "rules", "write", "ble", "rss", "outage", "flash", "link", "fleet",
];

/// This workspace, as cargo describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("asking cargo for the workspace")?;
        Ok(Self { metadata })
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// The target folder.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// What cargo says of our crates.
    pub(crate) const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Where a debug binary of ours lies.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target().join("debug").join(name)
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(self.root()).args(arguments);
        command
    }

    /// Builds the system's binaries, and what counts instructions: beside them it costs hardly anything.
    pub(crate) fn build_system(&self, features: &[&str]) -> anyhow::Result<()> {
        let mut command = self.cargo(&["build", "--bins", "--package", COUNTING]);
        for package in SYSTEM {
            command.args(["--package", package]);
        }
        if !features.is_empty() {
            command.args(["--features", &features.join(",")]);
        }
        step::step(
            "building the gateway, the cloud and the field simulator",
            || step::command(&mut command),
        )
    }

    /// Checks the machine, fetches, builds, and becomes the rig.
    pub(crate) fn rig(&self, wants: &Wants, arguments: &[&str]) -> anyhow::Result<()> {
        machine::check(*wants)?;
        let broker = tools::nats_server(self)?;
        dashboard::build(self)?;
        self.build_system(&[])?;
        self.run_rig(&broker, arguments)
    }

    /// Becomes the tool that owns a cluster, or talks to whoever does; what it runs is built first.
    pub(crate) fn cluster(&self, wants: &Wants, arguments: &[String]) -> anyhow::Result<()> {
        let program = self.binary(CLUSTER);
        let mut cluster = Command::new(&program);
        if arguments.first().is_some_and(|first| first == "up") {
            machine::check(*wants)?;
            cluster.env("FOGLINE_NATS_SERVER", tools::nats_server(self)?);
            dashboard::build(self)?;
            self.build_system(&[])?;
        }
        anyhow::ensure!(
            program.exists(),
            "there is no cluster: `cargo xtask cluster up` builds and starts one"
        );
        cluster
            .args(arguments)
            .current_dir(self.root())
            .env("FOGLINE_BIN_DIR", self.target().join("debug"));
        step::command(&mut cluster)
    }

    /// As [`Self::rig`], with fail points compiled in and without a dashboard.
    pub(crate) fn rig_with_failpoints(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let wants = Wants {
            node: false,
            faketime: true,
            ..Wants::everything()
        };
        machine::check(wants)?;
        let broker = tools::nats_server(self)?;
        self.build_system(&["gateway-agent/failpoints", "cloud-server/failpoints"])?;
        self.run_rig(&broker, arguments)
    }

    /// Loads broker and cloud with simulated gateways, all of it optimised.
    pub(crate) fn load(&self, arguments: &[String]) -> anyhow::Result<()> {
        machine::check(Wants {
            node: false,
            ..Wants::everything()
        })?;
        let broker = tools::nats_server(self)?;
        let mut build = self.cargo(&["build", "--release", "--bins", "--package", "tests-load"]);
        build.args(LOADED.iter().flat_map(|package| ["--package", package]));
        step::step("building what is loaded, optimised", || {
            step::command(&mut build)
        })?;
        let release = self.target().join("release");
        let mut load = Command::new(release.join("fogline-load"));
        load.args(arguments)
            .current_dir(self.root())
            .env("FOGLINE_BIN_DIR", &release)
            .env("FOGLINE_NATS_SERVER", broker);
        step::command(&mut load)
    }

    /// Runs the rig with what it needs to know in its environment.
    pub(crate) fn run_rig(&self, broker: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        self.run_system("fogline-rig", broker, arguments)
    }

    /// The same for another tool that runs the whole system.
    pub(crate) fn run_system(
        &self,
        tool: &str,
        broker: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<()> {
        self.run_programs(tool, &self.target().join("debug"), broker, arguments)
    }

    /// The same with the system's programs from another folder.
    pub(crate) fn run_programs(
        &self,
        tool: &str,
        programs: &Path,
        broker: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<()> {
        let mut rig = Command::new(self.binary(tool));
        rig.args(arguments)
            .current_dir(self.root())
            .env("FOGLINE_NATS_SERVER", broker)
            .env("FOGLINE_BIN_DIR", programs);
        if let Some(library) = machine::faketime() {
            rig.env("FOGLINE_LIBFAKETIME", library);
        }
        step::command(&mut rig)
    }

    /// Counts the instructions of the hot stages under valgrind and holds them against the committed table, or
    /// makes that anew.
    pub(crate) fn instructions(&self, renew: bool) -> anyhow::Result<()> {
        machine::check(Wants {
            valgrind: true,
            ..Wants::default()
        })?;
        let build = ["build", "--profile", "counted", "--package", COUNTING];
        step::step("building what is counted, optimised", || {
            step::command(&mut self.cargo(&build))
        })?;
        let mut count = Command::new(self.target().join("counted/fogline-instructions"));
        count.arg(if renew { "renew" } else { "check" });
        step::step("counting instructions", || {
            step::command(count.current_dir(self.root()))
        })
    }

    /// Builds what is measured optimised and runs the benchmark.
    pub(crate) fn bench(&self, arguments: &[String]) -> anyhow::Result<()> {
        if let [first, rest @ ..] = arguments
            && first == "instructions"
        {
            return match rest {
                [] => self.instructions(false),
                [renew] if renew == "--renew" => self.instructions(true),
                _ => anyhow::bail!(
                    "instructions takes nothing but --renew, and no other part beside it"
                ),
            };
        }
        let named = |part: &&str| arguments.iter().any(|argument| argument == part);
        // The line is measured with a driver and a simulator alone: minutes of building less.
        let system = !named(&"line") || SYSTEM_PARTS.iter().any(named);
        let mut build = self.cargo(&["build", "--release", "--bins", "--package", "tests-bench"]);
        let mut broker = None;
        if system {
            machine::check(Wants {
                node: false,
                ..Wants::everything()
            })?;
            broker = Some(tools::nats_server(self)?);
            for package in SYSTEM {
                build.args(["--package", package]);
            }
        }
        step::step("building what is measured, optimised", || {
            step::command(&mut build)
        })?;
        let release = self.target().join("release");
        let mut bench = Command::new(release.join("fogline-bench"));
        bench
            .args(arguments)
            .current_dir(self.root())
            .env("FOGLINE_BIN_DIR", &release);
        if let Some(broker) = broker {
            bench.env("FOGLINE_NATS_SERVER", broker);
        }
        step::command(&mut bench)
    }
}
