//! ARM: hands over to `cross/toolchain` (compilers, pins), `cross/package` and `cross/image`, which are
//! built when they are asked for, so that this tool stays quick.

use crate::machine::{self, Wants};
use crate::workspace::Workspace;
use crate::{step, tools};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a gateway under emulation is put through beside the judged demo: a start without broker or network,
/// and a kill while it is offline.
const STORIES: [&str; 2] = [
    "a_gateway_polls_and_keeps_readings_when_it_starts_without_broker_or_network",
    "what_a_killed_gateway_kept_offline_arrives_after_its_restart",
];

/// `cargo run` of one of our tools.
fn tool(workspace: &Workspace, package: &str, arguments: &[&str]) -> Command {
    let mut command = workspace.cargo(&["run", "--quiet", "--package", package, "--"]);
    command.args(arguments);
    command
}

/// Runs a tool and gives the last line that it prints.
fn last_line(mut command: Command) -> anyhow::Result<PathBuf> {
    let shown = format!("{command:?}");
    command.stderr(std::process::Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("running {shown}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{shown} ended with {}",
        output.status
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().context("it named no file")?;
    Ok(line.into())
}

/// Builds the gateway for another processor, or runs cargo for it.
pub(crate) fn cross(workspace: &Workspace, arch: &str, cargo: &[String]) -> anyhow::Result<()> {
    if cargo.is_empty() {
        return step::command(&mut tool(workspace, "cross-toolchain", &["build", arch]));
    }
    let mut command = tool(workspace, "cross-toolchain", &["cargo", arch]);
    step::command(command.args(cargo))
}

/// Runs the system with a gateway of another processor under qemu and lets the judge speak; then the tests
/// of what reads devices and of what survives a power cut, as that processor sees them.
pub(crate) fn smoke(workspace: &Workspace, arch: &str) -> anyhow::Result<()> {
    machine::check(Wants {
        node: false,
        ..Wants::everything()
    })?;
    let broker = tools::nats_server(workspace)?;
    workspace.build_system(&[])?;
    let native = workspace.target().join("debug");
    let mixed = workspace.target().join(format!("cross/system-{arch}"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (from, into) = (text(&native), text(&mixed));
    let system = ["system", arch, &from, &into];
    step::command(&mut tool(workspace, "cross-toolchain", &system))?;
    step::step(
        &format!("from device to database with {arch}, judged"),
        || workspace.run_programs("fogline-rig", &mixed, &broker, &["demo", "--check"]),
    )?;
    step::step(&format!("stories of a spool on {arch}"), || {
        let arguments = [&["stories"][..], &STORIES].concat();
        workspace.run_programs("fogline-rig", &mixed, &broker, &arguments)
    })?;
    step::step(&format!("protocols and spool tested on {arch}"), || {
        let mut test = tool(workspace, "cross-toolchain", &["cargo", arch, "test"]);
        for package in tested_elsewhere(workspace) {
            test.args(["--package", &package]);
        }
        step::command(&mut test)
    })
}

/// Crates whose tests must hold on every processor: everything that reads devices, and the spool.
fn tested_elsewhere(workspace: &Workspace) -> Vec<String> {
    let packages = workspace.metadata().packages.iter();
    let names = packages.map(|package| package.name.to_string());
    names
        .filter(|name| name.starts_with("protocols-") || name == "gateway-spool")
        .collect()
}

/// Checks or renews the pins.
pub(crate) fn lock(workspace: &Workspace, update: bool) -> anyhow::Result<()> {
    let arguments: &[&str] = if update {
        &["lock", "--update"]
    } else {
        &["lock"]
    };
    step::command(&mut tool(workspace, "cross-toolchain", arguments))
}

/// Builds what a package needs, and the package; gives its path.
pub(crate) fn package(
    workspace: &Workspace,
    what: &str,
    arch: &str,
    debug: bool,
) -> anyhow::Result<PathBuf> {
    let package = match what {
        "gateway" => "gateway-agent",
        _ => "cloud-server",
    };
    let name = format!("fogline-{what}");
    let binary = if arch == "amd64" {
        let (profile, folder) = if debug {
            ("dev", "debug")
        } else {
            ("release", "release")
        };
        let mut build = workspace.cargo(&["build", "--profile", profile, "--package", package]);
        build.args(["--bin", &name]);
        if what == "gateway" {
            build.args(["--bin", "fogline-sim"]);
        }
        step::command(&mut build)?;
        workspace.target().join(folder).join(&name)
    } else {
        anyhow::ensure!(what == "gateway", "the cloud is packed for amd64 only");
        last_line(tool(workspace, "cross-toolchain", &["build", arch]))?
    };
    let into = workspace.target().join("packages");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![what.to_owned(), arch.to_owned(), text(&binary)];
    if what == "gateway" {
        arguments.extend(["--manual".to_owned(), text(&manual(workspace)?)]);
    }
    arguments.extend(["--into".to_owned(), text(&into)]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    last_line(tool(workspace, "cross-package", &arguments))
}

/// Builds the gateway's package for arm64 and an image around it.
pub(crate) fn image(workspace: &Workspace, board: &str) -> anyhow::Result<()> {
    let package = package(workspace, "gateway", "aarch64", false)?;
    let package = package.to_string_lossy();
    let arguments = ["build", "--board", board, &package];
    step::command(&mut tool(workspace, "cross-image", &arguments))
}

/// Writes an image to a card or a file.
pub(crate) fn flash(
    workspace: &Workspace,
    image: &str,
    to: &str,
    site: Option<&str>,
    large: bool,
) -> anyhow::Result<()> {
    let mut arguments = vec!["flash", image, to];
    if let Some(site) = site {
        arguments.extend(["--site", site]);
    }
    if large {
        arguments.push("--large");
    }
    step::command(&mut tool(workspace, "cross-image", &arguments))
}

/// Manual pages and completions of the gateway.
fn manual(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut build = workspace.cargo(&[
        "build",
        "--package",
        "gateway-agent",
        "--bin",
        "fogline-manual",
    ]);
    step::command(&mut build)?;
    let into = workspace.target().join("cross/manual");
    let mut write = Command::new(workspace.binary("fogline-manual"));
    step::command(write.arg(&into))?;
    Ok(into)
}
