//! Lines made by socat: two terminals joined, or a port joined to a terminal.

use anyhow::Result;
use std::path::{Path, PathBuf};
use tests_interop::{Running, program};

/// Two joined terminals, `a` and `b` in a folder; gone when dropped.
pub(crate) struct Line {
    folder: tempfile::TempDir,
    _socat: Running,
}

impl Line {
    pub(crate) fn new() -> Result<Self> {
        let socat = program("socat")?;
        let folder = tempfile::tempdir()?;
        let end = |name| format!("pty,raw,echo=0,link={}", folder.path().join(name).display());
        let socat = Running::start(&socat, &[&end("a"), &end("b")])?;
        let line = Self {
            folder,
            _socat: socat,
        };
        for end in [line.a(), line.b()] {
            wait_for(&end);
        }
        Ok(line)
    }

    pub(crate) fn a(&self) -> PathBuf {
        self.folder.path().join("a")
    }

    pub(crate) fn b(&self) -> PathBuf {
        self.folder.path().join("b")
    }
}

/// A serial server, as the boxes that put a line on the network: a TCP port whose bytes are those of the
/// terminal. The port, for as long as the guard lives.
pub(crate) fn on_a_port(terminal: &Path) -> Result<(Running, u16)> {
    let socat = program("socat")?;
    // Its log tells the port, and goes to standard error; the shell turns it around.
    let script = "exec \"$0\" -d -d \"$1\" \"$2\" 2>&1";
    let listen = "TCP-LISTEN:0,bind=127.0.0.1";
    let open = format!("OPEN:{},raw,echo=0", terminal.display());
    let socat = socat.display().to_string();
    let mut running = Running::start(Path::new("/bin/sh"), &["-c", script, &socat, listen, &open])?;
    let port = running.after("listening on AF=2 127.0.0.1:")?.parse()?;
    Ok((running, port))
}

fn wait_for(path: &Path) {
    let end = std::time::Instant::now() + tests_interop::patience();
    while !path.exists() {
        assert!(std::time::Instant::now() < end, "{path:?} was not made");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
