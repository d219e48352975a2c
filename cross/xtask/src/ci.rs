//! The test run, and what continuous integration does around it.

use crate::machine::{self, Wants};
use crate::step;
use crate::workspace::Workspace;
use crate::{dashboard, fuzz, layers, tools};

/// Seconds per fuzz target in continuous integration.
const FUZZ_SECONDS: u64 = 60;

/// All tests.
pub(crate) fn test(workspace: &Workspace, full: bool) -> anyhow::Result<()> {
    machine::check(Wants {
        chromium: true,
        faketime: true,
        ..Wants::everything()
    })?;
    let broker = tools::nats_server(workspace)?;
    dashboard::build(workspace)?;
    let page = workspace.root().join("cloud/dashboard");
    step::step("testing the dashboard's logic and types", || {
        dashboard::npm(&page, &["run", "check"])
    })?;
    step::step("testing every crate", || {
        step::command(
            workspace
                .cargo(&["test", "--workspace", "--no-fail-fast"])
                .env("FOGLINE_NATS_SERVER", &broker),
        )
    })?;
    workspace.build_system(&[])?;
    step::step("one command from device to database, judged", || {
        workspace.run_rig(&broker, &["demo", "--check"])
    })?;
    step::step("stories of the whole system", || {
        workspace.run_rig(&broker, &["stories"])
    })?;
    step::step("the dashboard in a real browser", || {
        workspace.run_rig(&broker, &["browser"])
    })?;
    workspace.build_system(&["gateway-agent/failpoints", "cloud-server/failpoints"])?;
    step::step("a cloud that settles before it commits is noticed", || {
        workspace.run_rig(&broker, &["mutant"])
    })?;
    let rounds = if full { "200" } else { "15" };
    step::step("chaos: every fault at least once", || {
        workspace.run_rig(&broker, &["chaos", "--rounds", rounds, "--seed", "1"])
    })
}

/// Everything that must be green before a change lands.
pub(crate) fn all(workspace: &Workspace) -> anyhow::Result<()> {
    step::step("formatting", || {
        step::command(&mut workspace.cargo(&["fmt", "--all", "--check"]))
    })?;
    step::step("layers", || layers::check(workspace))?;
    step::step("clippy", || {
        let clippy = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        step::command(&mut workspace.cargo(&clippy))
    })?;
    test(workspace, false)?;
    fuzz::run(workspace, FUZZ_SECONDS)
}
