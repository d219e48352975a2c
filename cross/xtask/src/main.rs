//! `cargo xtask`: everything one does with this workspace, as one tool that needs no other.
//!
//! It checks what the machine has, fetches what it lacks into `target/tools`, builds, and hands over
//! to the rig (`tests/rig`) for whatever runs the whole system.

mod arm;
mod ci;
mod dashboard;
mod failures;
mod fuzz;
mod layers;
mod machine;
mod sizes;
mod stages;
mod stall;
mod step;
mod supervise;
mod tools;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Build, run, test and measure Fogline.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo                     everything on this machine, with a dashboard to look at
  cargo xtask demo --check             the same without a person: exit 0 only if nothing was lost
  cargo xtask test                     all tests
  cargo xtask chaos --rounds 15 --seed 7   kill everything at random, prove that nothing is lost
  cargo xtask cluster up --nodes 3     three brokers, balancers, roles, gateways on hosts of this machine
  cargo xtask chaos --cluster --rounds 15   break that cluster in every way, prove the same
  cargo xtask bench                    the numbers, beside a bare yardstick
  cargo xtask load --gateways 5000     simulated gateways, all with a session of their own
  cargo xtask cross aarch64            the gateway for ARM; armv7 for older boards
  cargo xtask cross aarch64 --smoke    and the whole system with it, under emulation
  cargo xtask cross aarch64 -- test -p protocols-wire   tests under emulation
  cargo xtask package gateway aarch64  a Debian package of it
  cargo xtask bench line ble           two parts of them: tcp, ingest, filters, rules, write, ble, rss,
                                       outage, flash, link, fleet, line
  cargo xtask bench instructions       instructions of the hot stages, against the committed table";

/// What a cluster takes beside what it names itself; its dashboard is for looking at.
const CLUSTER: machine::Wants = machine::Wants::everything();

#[derive(Debug, Subcommand)]
enum Task {
    /// Run simulated devices, gateways, broker and cloud, and print the dashboard's address.
    Demo {
        /// Run until data flows, stop the devices, wait for quiescence and judge.
        #[arg(long)]
        check: bool,
        /// Seconds of flowing data before --check stops the devices.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Run all tests: unit, property, integration, end to end, dashboard.
    Test {
        /// Also what takes longer than a coffee.
        #[arg(long)]
        full: bool,
    },
    /// Kill, cut, stall, damage and fill at random; then let the oracle judge.
    Chaos {
        /// How many faults to inject, one a round.
        #[arg(long, default_value_t = 15)]
        rounds: u32,
        /// Same seed, same faults in the same order.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Over a cluster: hosts, zones, links and disks too. Needs root.
        #[arg(long)]
        cluster: bool,
    },
    /// A cluster on this machine: up, status, kill, pause, cut, slow, fill, heal, drain, scale, upgrade,
    /// down; help says more. Needs root.
    Cluster {
        /// What is to be done.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Load broker and cloud with thousands of simulated gateways; every reading must arrive once.
    Load {
        /// As --gateways 5000 --rate 3000 (readings a second) --seconds 60 --flood 200; --help tells all.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure CPU, memory, bytes, latency and the use of a serial line.
    Bench {
        /// Parts (tcp, ingest, filters, rules, write, ble, rss, outage, flash, link, fleet, line; everything by
        /// default) and options such as --rounds 5 or --line-seconds 20; or instructions [--renew] alone.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzz the wire's decoders on stable Rust.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Build the dashboard, so that the next build of `fogline-cloud` embeds it.
    Dashboard,
    /// Build the gateway for ARM: fetch what that takes into target/cross, build, pass the gates.
    Cross {
        /// aarch64 or armv7.
        #[arg(value_parser = ["aarch64", "armv7"])]
        arch: String,
        /// Build, run the system with that gateway under qemu, let the judge speak; then the tests of
        /// protocols and spool.
        #[arg(long)]
        smoke: bool,
        /// Instead of building the gateway: what cargo is told; tests run under qemu.
        #[arg(last = true, value_name = "CARGO", conflicts_with = "smoke")]
        cargo: Vec<String>,
    },
    /// Check that everything pinned for ARM is still where it was, or look it up anew.
    Lock {
        /// Write cross/lock.toml anew.
        #[arg(long)]
        update: bool,
    },
    /// Make a Debian package in target/packages.
    Package {
        /// What is packed.
        #[arg(value_parser = ["gateway", "cloud"])]
        what: String,
        /// For which machines.
        #[arg(value_parser = ["amd64", "aarch64", "armv7"])]
        arch: String,
        /// Not optimised: quicker to build, for trying out (amd64).
        #[arg(long)]
        debug: bool,
    },
    /// Build a disk image for arm64 in target/images, with the gateway's package in it.
    Image {
        /// virt (virtual machines) or uefi (boards that boot by UEFI).
        #[arg(long, default_value = "virt", value_parser = ["virt", "uefi"])]
        board: String,
    },
    /// Write an image to a card or a file, compare, and put a site's files onto it.
    Flash {
        /// The image, plain or .zst.
        image: String,
        /// A device such as /dev/sdb, or a file.
        to: String,
        /// A folder with identity.toml, gateway.toml and, where it is not DHCP, *.network.
        #[arg(long)]
        site: Option<String>,
        /// The disk is meant although it is larger than cards are.
        #[arg(long)]
        large: bool,
    },
    /// Fetch the broker into target/tools unless a recent one is installed.
    Tools,
    /// Check that cloud and gateway crates keep to their layers.
    Layers,
    /// List files that are longer than the house aims at.
    Sizes,
    /// Run a command on a machine that stands still again and again, as a shared one does.
    Stall {
        /// Same seed, same pauses.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Busy loops beside it.
        #[arg(long, default_value_t = 2)]
        hogs: u32,
        /// The command and its arguments, behind `--`.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// What continuous integration runs: fmt, clippy, layers, tests, fuzzing.
    Ci,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let workspace = workspace::Workspace::find()?;
    match task {
        Task::Demo { check, seconds } => {
            let seconds = seconds.to_string();
            let arguments: &[&str] = if check {
                &["demo", "--check", "--seconds", &seconds]
            } else {
                &["demo"]
            };
            workspace.rig(&machine::Wants::everything(), arguments)
        }
        Task::Test { full } => ci::test(&workspace, full),
        Task::Chaos {
            rounds,
            seed,
            cluster,
        } => {
            let (rounds, seed) = (rounds.to_string(), seed.to_string());
            let chaos = ["chaos", "--rounds", &rounds, "--seed", &seed];
            if cluster {
                workspace.rig(&CLUSTER, &[&chaos[..], &["--cluster"]].concat())
            } else {
                workspace.rig_with_failpoints(&chaos)
            }
        }
        Task::Cluster { arguments } => workspace.cluster(&CLUSTER, &arguments),
        Task::Load { arguments } => workspace.load(&arguments),
        Task::Bench { arguments } => workspace.bench(&arguments),
        Task::Fuzz { seconds } => fuzz::run(&workspace, seconds),
        Task::Dashboard => dashboard::build(&workspace),
        Task::Cross {
            arch, smoke: true, ..
        } => arm::smoke(&workspace, &arch),
        Task::Cross { arch, cargo, .. } => arm::cross(&workspace, &arch, &cargo),
        Task::Lock { update } => arm::lock(&workspace, update),
        Task::Package { what, arch, debug } => arm::package(&workspace, &what, &arch, debug)
            .map(|path| step::say(&path.to_string_lossy())),
        Task::Image { board } => arm::image(&workspace, &board),
        Task::Flash {
            image,
            to,
            site,
            large,
        } => arm::flash(&workspace, &image, &to, site.as_deref(), large),
        Task::Tools => {
            tools::nats_server(&workspace).map(|path| step::say(&path.to_string_lossy()))
        }
        Task::Layers => layers::check(&workspace),
        Task::Sizes => sizes::list(&workspace),
        Task::Stall {
            seed,
            hogs,
            command,
        } => stall::run(&command, seed, hogs),
        Task::Ci => ci::all(&workspace),
    }
}
