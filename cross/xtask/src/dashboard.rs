//! The dashboard's build: npm and Vite, only when something changed since the last one.

use crate::step;
use crate::workspace::Workspace;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// Builds `cloud/dashboard/dist`, which `cloud-api` embeds.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root().join("cloud/dashboard");
    if is_fresh(&folder) {
        return Ok(());
    }
    step::step("installing the dashboard's packages (npm ci)", || {
        npm(&folder, &["ci"])
    })?;
    step::step("building the dashboard (vite)", || {
        npm(&folder, &["run", "build"])
    })
}

/// Runs npm in `folder`, quietly.
pub(crate) fn npm(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("npm");
    command.current_dir(folder).args(arguments).args([
        "--no-fund",
        "--no-audit",
        "--loglevel=error",
        "--fetch-retries=5",
    ]);
    step::command(&mut command)
}

/// Whether the built page is younger than everything it is made of.
fn is_fresh(folder: &Path) -> bool {
    let Some(built) = changed(&folder.join("dist/index.html")) else {
        return false;
    };
    let sources = [
        "src",
        "public",
        "index.html",
        "package-lock.json",
        "vite.config.ts",
    ];
    sources
        .iter()
        .all(|name| youngest(&folder.join(name)).is_none_or(|source| source < built))
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn youngest(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return changed(path);
    }
    let entries = path.read_dir().ok()?.flatten();
    entries.filter_map(|entry| youngest(&entry.path())).max()
}
