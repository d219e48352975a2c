//! Other people's tools: one Python environment with Helm, Ansible and the schemas of Kubernetes.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent()
        .and_then(Path::parent)
        .unwrap_or(own)
        .to_owned()
}

/// Carries the schema of compose files; far too old to be run, so only unpacked.
const COMPOSE: &str = "docker-compose==1.29.2";

/// The environment, made on first use and kept below the target folder.
#[derive(Debug, Clone)]
pub struct Tools {
    programs: PathBuf,
    scratch: PathBuf,
}

impl Tools {
    /// Finds or makes it. `scratch` is the test's folder of cargo, `CARGO_TARGET_TMPDIR`.
    ///
    /// # Errors
    /// Python is missing, or the packages could not be installed, as without a network.
    pub fn get(scratch: &Path) -> Result<Self> {
        let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/requirements.txt");
        let python = tests_interop::environment(&wanted, &scratch.join("deploy-tools"))?;
        let programs = python.parent().context("an interpreter lies in a folder")?;
        Ok(Self {
            programs: programs.to_owned(),
            scratch: scratch.to_owned(),
        })
    }

    /// The schema of compose files.
    ///
    /// # Errors
    /// The package that has it could not be fetched.
    pub fn compose_schema(&self) -> Result<PathBuf> {
        let folder = self.scratch.join("compose");
        let schema = folder.join("compose/config/compose_spec.json");
        if !schema.exists() {
            let mut pip = self.program("python");
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]);
            pip.args([
                "--no-deps",
                "--upgrade",
                "--root-user-action=ignore",
                "--target",
            ]);
            text(pip.arg(&folder).arg(COMPOSE))?;
        }
        Ok(schema)
    }

    /// One of its programs, run from the workspace's root.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        self.with_path(Command::new(self.programs.join(name)))
    }

    /// A shell that knows them by name.
    #[must_use]
    pub fn shell(&self) -> Command {
        self.with_path(Command::new("sh"))
    }

    fn with_path(&self, mut command: Command) -> Command {
        // Programs of the environment start one another by name too.
        let before = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{before}", self.programs.display()))
            .current_dir(root());
        command
    }

    /// A task of `tools/objects.py`.
    ///
    /// # Errors
    /// What it says.
    pub fn objects(&self, arguments: &[&str]) -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/objects.py");
        text(self.program("python").arg(script).args(arguments))
    }

    /// The documents of each YAML file.
    ///
    /// # Errors
    /// One cannot be read, or is not YAML.
    pub fn documents(&self, files: &[PathBuf]) -> Result<Vec<Vec<Value>>> {
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let mut arguments = vec!["json"];
        arguments.extend(files.iter().map(AsRef::as_ref));
        Ok(serde_json::from_str(&self.objects(&arguments)?)?)
    }
}

/// What a command prints.
///
/// # Errors
/// It cannot be started or fails; then with what it said.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", said(&output));
    Ok(String::from_utf8(output.stdout)?)
}

/// Both of what a command printed.
pub(crate) fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr];
    both.map(|text| String::from_utf8_lossy(text)).join("")
}
