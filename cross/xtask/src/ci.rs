//! The test run, and what continuous integration does around it.
//!
//! Deadlines are safety nets: several times what a stage takes on two slow cores. A stage that reaches
//! its own is ended and named; the others go on.

use crate::machine::{self, Wants};
use crate::stages::Stages;
use crate::step;
use crate::workspace::Workspace;
use crate::{arm, dashboard, fuzz, layers, tools};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What property tests draw their cases from, except in a full run: with the same cases each time a red
/// run speaks of the change.
const PROPERTY_SEED: &str = "20261";
/// Seconds per fuzz target of the wire in continuous integration; a third of it for those of the field.
const FUZZ_SECONDS: u64 = 60;
/// The whole run ends by then, so that its summary is the last word and not somebody else's deadline.
const LIMIT: Duration = Duration::from_secs(85 * 60);
/// A run with everything that takes longer than a coffee.
const FULL_LIMIT: Duration = Duration::from_secs(8 * 3600);

/// Disk that a run takes, 10⁹ bytes: debug builds with and without fail points, fuzz targets, what the
/// rig's processes write.
const TAKES_GB: u64 = 12;

/// Tries chart, units, playbooks and guides; its own stage, for it takes the built programs.
const DEPLOY: &str = "tests-deploy";

const PREPARE: &str = "what the tests need (npm, broker)";
const BUILD: &str = "building the gateway, the cloud and the simulators";
const BUILD_TESTS: &str = "building the tests";
const SMOKE_64: &str = "the system with a 64-bit ARM gateway";
const SMOKE_32: &str = "the system with a 32-bit ARM gateway";
const BUILD_FAILPOINTS: &str = "building with fail points";

/// All tests.
pub(crate) fn test(workspace: &Workspace, full: bool) -> anyhow::Result<()> {
    let mut stages = Stages::new(if full { FULL_LIMIT } else { LIMIT });
    test_stages(&mut stages, workspace, full);
    stages.finish()
}

/// Everything that must be green before a change lands.
pub(crate) fn all(workspace: &Workspace) -> anyhow::Result<()> {
    let mut stages = Stages::new(LIMIT);
    stages.run("room on the disk", 1, &[], || room(workspace));
    stages.run("formatting", 3, &[], || {
        step::command(&mut workspace.cargo(&["fmt", "--all", "--check"]))
    });
    stages.run("layers", 3, &[], || layers::check(workspace));
    stages.run("clippy", 30, &[], || {
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        step::command(&mut workspace.cargo(&clippy))
    });
    test_stages(&mut stages, workspace, false);
    stages.run("fuzzing the decoders", 25, &[], || {
        fuzz::run(workspace, FUZZ_SECONDS)
    });
    stages.finish()
}

/// A disk that fills up on the way fails one stage after the other for reasons that are none.
fn room(workspace: &Workspace) -> anyhow::Result<()> {
    if let Some(free) = machine::free_gb(workspace.root()) {
        step::say(&format!(
            "{free} GB are free, a run takes up to {TAKES_GB} GB"
        ));
        anyhow::ensure!(
            free >= TAKES_GB,
            "only {free} GB are free where the workspace is: make room for {TAKES_GB} GB"
        );
    }
    Ok(())
}

/// Chart, units, playbooks, alerts and guides, with the tools that read them.
fn deploy_stages(stages: &mut Stages, workspace: &Workspace, broker: &Path, full: bool) {
    let both = &[BUILD_TESTS, BUILD];
    let test = |arguments: &[&str]| {
        let mut test =
            workspace.cargo(&[&["test", "--no-fail-fast", "-p", DEPLOY], arguments].concat());
        test.env("FOGLINE_BIN_DIR", workspace.target().join("debug"));
        test
    };
    stages.run(
        "the files of deploy/, with the tools that read them",
        10,
        both,
        || step::command(&mut test(&[])),
    );
    if full {
        stages.run("the playbooks on hosts that boot", 40, both, || {
            let package = arm::package(workspace, "cloud", "amd64", true)?;
            let mut test = test(&["--", "--ignored"]);
            test.env("FOGLINE_NATS_SERVER", broker);
            step::command(test.env("FOGLINE_CLOUD_PACKAGE", package))
        });
    }
}

/// The tests of every crate.
fn crate_stages(stages: &mut Stages, workspace: &Workspace, broker: &Path, full: bool) {
    stages.run(BUILD_TESTS, 30, &[PREPARE], || {
        step::command(&mut workspace.cargo(&["test", "--workspace", "--no-run"]))
    });
    stages.run("the tests of every crate", 30, &[BUILD_TESTS], || {
        let all = ["test", "--workspace", "--no-fail-fast"];
        let mut test = workspace.cargo(&[&all[..], &["--exclude", DEPLOY]].concat());
        test.env("FOGLINE_NATS_SERVER", broker);
        if !full {
            test.env("PROPTEST_RNG_SEED", PROPERTY_SEED);
        }
        step::command(&mut test)
    });
    if full {
        stages.run(
            "a month without the cloud, every second",
            240,
            &[BUILD_TESTS],
            || {
                let month = ["test", "-p", "gateway-spool", "--lib", "--", "--ignored"];
                let month = [&month[..], &["--nocapture", "a_month_of_500_points"]].concat();
                step::command(&mut workspace.cargo(&month))
            },
        );
    }
}

fn test_stages(stages: &mut Stages, workspace: &Workspace, full: bool) {
    let mut broker = PathBuf::new();
    stages.run(PREPARE, 20, &[], || {
        machine::check(Wants {
            chromium: true,
            faketime: true,
            valgrind: true,
            ..Wants::everything()
        })?;
        broker = tools::nats_server(workspace)?;
        dashboard::build(workspace)
    });
    let page = workspace.root().join("cloud/dashboard");
    stages.run("the dashboard's logic and types", 10, &[PREPARE], || {
        dashboard::npm(&page, &["run", "check"])
    });
    crate_stages(stages, workspace, &broker, full);
    let rig = |arguments: &[&str]| workspace.run_rig(&broker, arguments);
    stages.run(BUILD, 20, &[PREPARE], || workspace.build_system(&[]));
    deploy_stages(stages, workspace, &broker, full);
    // The committed tables are those of one processor family.
    if cfg!(target_arch = "x86_64") {
        stages.run("instructions of the hot stages", 10, &[BUILD], || {
            let counting = workspace.binary("fogline-instructions");
            step::command(Command::new(counting).arg("check"))
        });
    }
    stages.run("from device to database, judged", 10, &[BUILD], || {
        rig(&["demo", "--check"])
    });
    stages.run("stories of the whole system", 30, &[BUILD], || {
        rig(&["stories"])
    });
    load_stages(stages, workspace, &broker, full);
    cluster_stages(stages, rig, full);
    stages.run("the dashboard in a real browser", 15, &[BUILD], || {
        rig(&["browser"])
    });
    stages.run(BUILD_FAILPOINTS, 20, &[PREPARE], || {
        workspace.build_system(&["gateway-agent/failpoints", "cloud-server/failpoints"])
    });
    let failpoints = &[BUILD_FAILPOINTS];
    stages.run(
        "a cloud that settles too early is noticed",
        10,
        failpoints,
        || rig(&["mutant"]),
    );
    stages.run("stories of small spools", 10, failpoints, || {
        rig(&["stories", "--failpoints"])
    });
    let (rounds, minutes) = if full { ("200", 180) } else { ("15", 25) };
    stages.run(
        "chaos: every fault at least once",
        minutes,
        failpoints,
        || rig(&["chaos", "--rounds", rounds, "--seed", "1"]),
    );
    if full {
        arm_stages(stages, workspace);
    }
}

/// Many gateways at once; in a full run as many as a site of some size has, and beside a flood.
fn load_stages(stages: &mut Stages, workspace: &Workspace, broker: &Path, full: bool) {
    let load = |arguments: &[&str]| workspace.run_system("fogline-load", broker, arguments);
    let (arguments, minutes): (&[&str], _) = if full {
        (&["--gateways", "5000", "--seconds", "90"], 60)
    } else {
        (
            &["--gateways", "200", "--seconds", "10", "--rate", "2000"],
            10,
        )
    };
    stages.run(
        "many gateways, each reading counted",
        minutes,
        &[BUILD],
        || load(arguments),
    );
    if full {
        let flood = [
            "--gateways",
            "500",
            "--seconds",
            "60",
            "--rate",
            "2000",
            "--haproxy",
            "--flood",
            "200",
            "--slower-at-most",
            "2",
        ];
        stages.run("connections without a certificate", 30, &[BUILD], || {
            load(&flood)
        });
    }
}

/// A cluster on this machine: one fault that costs the most, or, in a full run, all of them.
fn cluster_stages(stages: &mut Stages, rig: impl Fn(&[&str]) -> anyhow::Result<()>, full: bool) {
    let chaos = ["chaos", "--cluster", "--seed", "1", "--rounds"];
    let leader = [&chaos[..], &["1", "--fault", "KillLeader"]].concat();
    stages.run("a cluster loses its leader, judged", 15, &[BUILD], || {
        rig(&leader)
    });
    if full {
        let all = [&chaos[..], &["15"]].concat();
        stages.run("chaos over a cluster", 60, &[BUILD], || rig(&all));
    }
}

/// What is shipped for ARM: it takes hours, downloads, and packages that are pinned.
fn arm_stages(stages: &mut Stages, workspace: &Workspace) {
    // What Debian has replaced meanwhile is no fault of a change: it is seen here, and not in CI.
    stages.run("pins of the ARM tools", 10, &[], || {
        arm::lock(workspace, false)
    });
    for (name, arch) in [(SMOKE_64, "aarch64"), (SMOKE_32, "armv7")] {
        stages.run(name, 120, &[PREPARE], || arm::smoke(workspace, arch));
    }
}
