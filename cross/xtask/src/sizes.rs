//! Long files: the house aims at 150 to 250 lines and looks for the seam past 400.

use crate::step;
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Past this many lines a file is listed.
const LOOK_FOR_THE_SEAM: usize = 400;

/// Lists Rust and TypeScript files that are longer than the house aims at.
pub(crate) fn list(workspace: &Workspace) -> anyhow::Result<()> {
    let files = step::output(
        Command::new("git")
            .current_dir(workspace.root())
            .args(["ls-files", "*.rs", "*.ts", "*.tsx"]),
    )
    .unwrap_or_default();
    let length = |path: &Path| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let mut long: Vec<(usize, PathBuf)> = files
        .lines()
        .map(|name| (length(&workspace.root().join(name)), PathBuf::from(name)))
        .filter(|(lines, _)| *lines > LOOK_FOR_THE_SEAM)
        .collect();
    long.sort();
    for (lines, path) in long.iter().rev() {
        step::say(&format!("{lines:5}  {}", path.display()));
    }
    step::say(&format!(
        "{} files above {LOOK_FOR_THE_SEAM} lines",
        long.len()
    ));
    Ok(())
}
