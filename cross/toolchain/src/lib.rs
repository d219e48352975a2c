//! Building for ARM on any Linux machine: what it takes is pinned in a lock file, fetched, checked and
//! unpacked below `target/cross`; nothing is installed and nothing outside the target folder changes.
//!
//! `wants.toml` says what is wanted (packages of Debian, wheels of PyPI), `lock.toml` what exactly
//! that was when it was last looked up: address, size, SHA-256. A file that does not match its sum is
//! never used. `cargo xtask cross` calls this; `cross/package` and `cross/image` use it as a library.

pub mod compile;
pub mod debian;
pub mod elf;
pub mod emulator;
pub mod fetch;
pub mod gates;
pub mod lock;
pub mod program;
pub mod say;
pub mod target;
pub mod unpack;
pub mod version;

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Where sources are and where everything that is made or fetched goes.
#[derive(Debug, Clone)]
pub struct Places {
    /// The workspace's root.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
}

impl Places {
    /// The workspace this program was built in, and the target folder it was built into.
    ///
    /// # Errors
    /// When this program's own path cannot be found out.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let root = root
            .canonicalize()
            .with_context(|| format!("{} is gone; build anew", root.display()))?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// What is fetched or made for ARM.
    #[must_use]
    pub fn cross(&self) -> PathBuf {
        self.target.join("cross")
    }

    /// The lock file.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("cross/lock.toml")
    }

    /// What the lock file is made from.
    #[must_use]
    pub fn wants(&self) -> PathBuf {
        self.root.join("cross/wants.toml")
    }
}
