//! The real binary in a folder of its own.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a loaded machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Rig {
    pub(crate) folder: TempDir,
}

/// A gateway process; killed when the test ends without having stopped it.
pub(crate) struct Gateway(Child);

impl Rig {
    pub(crate) fn new(config: &str) -> Self {
        let rig = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        rig.write("gateway.toml", config);
        rig
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fogline-gateway"));
        command.args(arguments).current_dir(self.folder.path());
        command
            .env_remove("FOGLINE_LOG")
            .env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs a command to its end, with more in the environment.
    pub(crate) fn output_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied()).output().unwrap()
    }

    /// Runs a command to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a command that goes on; what it prints goes to the file `to`, its complaints to `to`.err.
    pub(crate) fn spawn(&self, arguments: &[&str], to: &str) -> Gateway {
        self.spawn_command(self.command(arguments), to)
    }

    /// The same with a command from [`Self::command`].
    pub(crate) fn spawn_command(&self, mut command: Command, to: &str) -> Gateway {
        let file = |name: &str| std::fs::File::create(self.path(name)).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file(to))
            .stderr(file(&format!("{to}.err")));
        Gateway(command.spawn().unwrap())
    }

    /// What stands in a file; nothing where there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Starts the gateway and waits until it answers.
    pub(crate) fn start(&self) -> Gateway {
        self.start_with(&[])
    }

    /// The same, with more in the environment.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Gateway {
        // A kill leaves the address of the dead one behind.
        let _absent = std::fs::remove_file(self.path("state/http.addr"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let child = self
            .command(&["run", "--config", "gateway.toml"])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        let gateway = Gateway(child.unwrap());
        self.wait("the gateway answers", || self.status().is_some());
        gateway
    }

    /// What the running gateway says of itself.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.output(&["status", "--config", "gateway.toml", "--format", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).ok()?;
        report.get("pid").is_some().then_some(report)
    }

    /// The same of a gateway that runs: on a machine that stood still one answer may come too late.
    pub(crate) fn told(&self) -> Value {
        let mut told = None;
        self.wait("the gateway tells its state", || {
            told = self.status();
            told.is_some()
        });
        told.unwrap()
    }

    /// A number of the status, by pointer.
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        let status = self.status();
        let number = status
            .as_ref()
            .and_then(|status| status.pointer(pointer)?.as_u64());
        number.unwrap_or(0)
    }

    /// Waits for a condition; with the log in the message when it does not come true.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < PATIENCE,
                "not within a minute: {what}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn log(&self) -> String {
        self.text("log")
    }
}

impl Gateway {
    /// Sends a signal, by the name that `kill` knows.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end; the exit code, or none when a signal ended it.
    pub(crate) fn end(&mut self, rig: &Rig) -> Option<i32> {
        let mut ended = None;
        rig.wait("the gateway ends", || {
            ended = self.0.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
