//! What a package holds, as its recipe says; strict, like every file of ours.

use anyhow::Context as _;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A package.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// More for people.
    pub description: String,
    /// What it needs beside glibc.
    pub depends: Vec<String>,
    /// What it works better with.
    pub recommends: Vec<String>,
    /// What runs when it comes and goes.
    pub scripts: Scripts,
    /// Single files.
    pub file: Vec<Entry>,
    /// Folders whose files are all taken.
    #[serde(default)]
    pub folder: Vec<Entry>,
}

/// Names of maintainer scripts, beside the recipe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripts {
    /// After unpacking.
    pub postinst: PathBuf,
    /// Before removal.
    pub prerm: PathBuf,
    /// After removal.
    pub postrm: PathBuf,
}

/// A file or folder, and where it goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Beside the recipe; `@binary`, `@beside/…` and `@manual/…` are what was built.
    pub from: PathBuf,
    /// Absolute path on the system.
    pub to: PathBuf,
    /// Its mode; 0644 unless said.
    #[serde(default = "readable")]
    pub mode: u32,
    /// Whether it is compressed, as Debian wants manual pages.
    #[serde(default)]
    pub gzip: bool,
}

const fn readable() -> u32 {
    0o644
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let recipe: Self =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        for entry in recipe.file.iter().chain(&recipe.folder) {
            let to = &entry.to;
            anyhow::ensure!(
                to.starts_with("/usr"),
                "{} of {} is not below /usr: what is below /etc would be asked about at upgrades",
                to.display(),
                path.display()
            );
        }
        Ok(recipe)
    }
}
