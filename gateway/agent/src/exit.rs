//! Exit codes; a contract with scripts and systemd, documented in `--help`.

use std::process::ExitCode;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed; what and why was said.
    Failed = 1,
    /// The configuration has errors (2 is clap's: wrong command line).
    ConfigRefused = 3,
    /// `status`: no gateway runs, or it is not healthy.
    NotHealthy = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
