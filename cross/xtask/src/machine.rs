//! Prerequisites: what the machine must have, and the command that installs what is missing.

use crate::step;
use std::path::Path;
use std::process::Command;

/// What a task needs beside Rust.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    /// A C compiler (SQLite, zstd, ring).
    pub c_compiler: bool,
    /// A C++ compiler (libFuzzer).
    pub cxx_compiler: bool,
    /// Python with pip, unless a broker is already installed.
    pub pip: bool,
    /// Node and npm for the dashboard.
    pub node: bool,
    /// A browser for the end-to-end tests.
    pub chromium: bool,
    /// libfaketime, to step one process' clock.
    pub faketime: bool,
    /// valgrind, to count instructions.
    pub valgrind: bool,
}

impl Wants {
    /// What it takes to run the whole system.
    pub(crate) const fn everything() -> Self {
        Self {
            c_compiler: true,
            cxx_compiler: false,
            pip: true,
            node: true,
            chromium: false,
            faketime: false,
            valgrind: false,
        }
    }
}

/// Where Debian and others keep libfaketime.
pub(crate) const FAKETIME: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
];

/// Checks all wants and names everything that is missing at once.
pub(crate) fn check(wants: Wants) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    let mut want = |wanted: bool, there: bool, what: &str, install: &str| {
        if wanted && !there {
            missing.push(format!("  {what}: {install}"));
        }
    };
    let cxx = runs("c++", &["--version"]);
    want(
        wants.cxx_compiler,
        cxx,
        "a C++ compiler",
        "apt-get install g++",
    );
    want(
        wants.c_compiler,
        runs("cc", &["--version"]),
        "a C compiler",
        "apt-get install gcc",
    );
    let pip = runs("python3", &["-m", "pip", "--version"]);
    want(
        wants.pip,
        pip,
        "Python 3 with pip",
        "apt-get install python3-pip",
    );
    let node = major("node").is_some_and(|major| major >= 20);
    want(
        wants.node,
        node,
        "Node 20 or later",
        "apt-get install nodejs (or from nodejs.org)",
    );
    want(
        wants.node,
        runs("npm", &["--version"]),
        "npm",
        "apt-get install npm",
    );
    want(
        wants.chromium,
        chromium().is_some(),
        "Chromium",
        "apt-get install chromium",
    );
    want(
        wants.faketime,
        faketime().is_some(),
        "libfaketime",
        "apt-get install faketime",
    );
    want(
        wants.valgrind,
        runs("valgrind", &["--version"]),
        "valgrind",
        "apt-get install valgrind",
    );
    anyhow::ensure!(
        missing.is_empty(),
        "this machine lacks:\n{}",
        missing.join("\n")
    );
    Ok(())
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    step::output(Command::new(program).args(arguments)).is_some()
}

fn major(program: &str) -> Option<u32> {
    let text = step::output(Command::new(program).arg("--version"))?;
    text.trim_start_matches('v').split('.').next()?.parse().ok()
}

/// The browser's name, if there is one.
pub(crate) fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| runs(name, &["--version"]))
}

/// libfaketime's path, if it is installed.
pub(crate) fn faketime() -> Option<&'static str> {
    FAKETIME.into_iter().find(|path| Path::new(path).exists())
}

/// What is free on the disk that holds `folder`, 10⁹ bytes; none where the system does not say.
pub(crate) fn free_gb(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000_000)
}
