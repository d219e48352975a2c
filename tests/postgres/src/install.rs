//! Finding the server's programs, and running them as a user that may: PostgreSQL refuses root.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest major version that Fogline supports.
const OLDEST: u32 = 15;

/// Where the distribution puts each major version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Names a folder of programs that goes before what is installed.
const VARIABLE: &str = "FOGLINE_POSTGRES_BIN";

/// The programs of one PostgreSQL version, and the user that runs them.
#[derive(Debug, Clone)]
pub struct Installation {
    bin: PathBuf,
    /// Where we are root: who runs the server instead.
    user: Option<(u32, u32)>,
}

/// The newest version installed that Fogline supports.
///
/// # Errors
/// Where there is none, with what to install.
pub fn find() -> anyhow::Result<Installation> {
    let bin = match std::env::var_os(VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => newest().with_context(|| {
            format!(
                "no PostgreSQL {OLDEST} or later below {VERSIONS}; install the package \
                 `postgresql`, or name its folder of programs in {VARIABLE}"
            )
        })?,
    };
    let user = rustix::process::geteuid().is_root().then(unprivileged);
    Ok(Installation {
        bin,
        user: user.transpose()?,
    })
}

fn newest() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(VERSIONS)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(version, bin)| *version >= OLDEST && bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// User and group of `postgres` or, where the package was unpacked without it, `nobody`.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    for wanted in ["postgres", "nobody"] {
        for line in users.lines() {
            let mut fields = line.split(':');
            let (name, _, user, group) =
                (fields.next(), fields.next(), fields.next(), fields.next());
            if name == Some(wanted)
                && let (Some(user), Some(group)) = (user, group)
            {
                return Ok((user.parse()?, group.parse()?));
            }
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

impl Installation {
    /// A command that runs one of the programs, as a user that may.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.as_user(&self.bin.join(program))
    }

    /// A command that runs any program as the server's user.
    pub(crate) fn as_user(&self, program: &Path) -> Command {
        match self.user {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        }
    }

    /// Path of a program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Gives a file or folder to the server's user.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.user {
            std::os::unix::fs::chown(path, Some(user), Some(group))
                .with_context(|| format!("giving {} to the server's user", path.display()))?;
        }
        Ok(())
    }
}
