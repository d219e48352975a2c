//! A D-Bus of our own: `dbus-daemon` with a permissive configuration on a socket in a private directory.
//!
//! It stands where the system bus stands on a real gateway. Nothing else can reach it by accident, and
//! it ends with its owner: the daemon is killed when [`Bus`] is dropped, also while a test panics, and
//! by the kernel (`setpriv --pdeathsig`, where installed) when the owning process is killed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The environment variable by which libdbus, and so the gateway, finds the system bus.
pub const BUS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// How long the daemon may take to say that it listens: far more than a stalled machine needs.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A private bus could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The program is not there.
    #[error(
        "dbus-daemon is not installed: install it with `apt-get install dbus` (Debian, Ubuntu)"
    )]
    NotInstalled,
    /// The program could not be started at all.
    #[error("starting dbus-daemon")]
    Start(#[source] std::io::Error),
    /// The directory or the configuration could not be written.
    #[error("preparing the directory of the private bus at {path}")]
    Prepare {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It ended, or said nothing for a minute.
    #[error("dbus-daemon did not come up: {0}")]
    Failed(String),
}

/// A private bus; dropping it ends the daemon and removes its directory.
#[derive(Debug)]
pub struct Bus {
    address: String,
    /// Dropped first: tells the keeper to end the daemon.
    stop: Option<SyncSender<()>>,
    /// Owns the child. The kernel's parent-death signal fires when the *thread* that spawned the child
    /// ends, so that thread has to live exactly as long as the bus.
    keeper: Option<JoinHandle<()>>,
    directory: Option<tempfile::TempDir>,
}

impl Bus {
    /// Starts a bus in a fresh temporary directory. Blocks until it listens.
    ///
    /// # Errors
    /// When `dbus-daemon` is missing or does not come up.
    pub fn start() -> Result<Self, BusError> {
        let directory = tempfile::Builder::new()
            .prefix("bus-")
            .tempdir()
            .map_err(|source| BusError::Prepare {
                path: std::env::temp_dir(),
                source,
            })?;
        let mut bus = Self::start_in(directory.path())?;
        bus.directory = Some(directory);
        Ok(bus)
    }

    /// Starts a bus whose socket is `bus.sock` in `directory`, which must exist and stays.
    ///
    /// # Errors
    /// As [`Bus::start`].
    pub fn start_in(directory: &Path) -> Result<Self, BusError> {
        let socket = directory.join("bus.sock");
        match std::fs::remove_file(&socket) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(BusError::Prepare {
                    path: socket,
                    source,
                });
            }
        }
        let config = directory.join("bus.conf");
        std::fs::write(&config, configuration(&socket)).map_err(|source| BusError::Prepare {
            path: config.clone(),
            source,
        })?;

        let (ready, came_up) = sync_channel(1);
        let (stop, stopped) = sync_channel(1);
        let keeper = std::thread::Builder::new()
            .name("private-bus".into())
            .spawn(move || keep(&config, &ready, &stopped))
            .map_err(BusError::Start)?;
        let mut bus = Self {
            address: String::new(),
            stop: Some(stop),
            keeper: Some(keeper),
            directory: None,
        };
        bus.address = came_up
            .recv_timeout(START_LIMIT)
            .map_err(|_| BusError::Failed("it said nothing for a minute".into()))??;
        Ok(bus)
    }

    /// The address, for [`BUS_VARIABLE`].
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A panicked keeper has dropped the child already; there is nothing left to tell.
            drop(keeper.join());
        }
    }
}

/// Anyone may own, send and receive anything: the bus is reached by those who know its directory only.
/// The limits are those of a session bus: ten thousand devices make one answer of several megabytes.
fn configuration(socket: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <keep_umask/>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="auth_timeout">240000</limit>
  <limit name="max_replies_per_connection">50000</limit>
  <limit name="max_match_rules_per_connection">50000</limit>
</busconfig>
"#,
        socket.display()
    )
}

/// Runs the daemon until told to stop, or until the owner is gone.
fn keep(config: &Path, ready: &SyncSender<Result<String, BusError>>, stopped: &Receiver<()>) {
    let mut daemon = match spawn(config) {
        Ok(daemon) => daemon,
        Err(e) => {
            // Nobody waits any more when the owner has given up: then the error has no reader.
            ready.send(Err(e)).ok();
            return;
        }
    };
    ready.send(first_line(&mut daemon)).ok();
    // An error here is the owner's end: the sender is never used, only dropped.
    stopped.recv().ok();
    daemon.kill().ok();
    daemon.wait().ok();
}

fn spawn(config: &Path) -> Result<Child, BusError> {
    let arguments = |command: &mut Command| {
        command
            .arg("--nofork")
            .arg("--nopidfile")
            .arg("--print-address")
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    // setpriv replaces itself by the daemon, so the child's id stays that of the daemon.
    let mut guarded = Command::new("setpriv");
    guarded.args(["--pdeathsig", "KILL", "dbus-daemon"]);
    if setpriv_works()
        && let Ok(daemon) = arguments(&mut guarded)
    {
        return Ok(daemon);
    }
    arguments(&mut Command::new("dbus-daemon")).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => BusError::NotInstalled,
        _ => BusError::Start(e),
    })
}

/// Whether `setpriv` is there, understands the option and finds the daemon.
fn setpriv_works() -> bool {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "dbus-daemon", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The address, which the daemon prints once it listens; its complaint when it ends instead.
fn first_line(daemon: &mut Child) -> Result<String, BusError> {
    let mut line = String::new();
    if let Some(stdout) = daemon.stdout.as_mut() {
        // A read error leaves the line empty, which is reported below.
        BufReader::new(stdout).read_line(&mut line).ok();
    }
    let address = line.trim();
    if !address.is_empty() {
        return Ok(address.to_owned());
    }
    daemon.kill().ok();
    let mut complaint = String::new();
    if let Some(stderr) = daemon.stderr.as_mut() {
        stderr.read_to_string(&mut complaint).ok();
    }
    Err(BusError::Failed(complaint.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_lives_as_long_as_its_owner() {
        let bus = Bus::start().unwrap();
        let socket = bus.directory.as_ref().unwrap().path().join("bus.sock");
        assert!(bus.address().starts_with("unix:path="), "{}", bus.address());
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
        drop(bus);
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    }

    #[test]
    fn two_buses_do_not_meet() {
        let (one, other) = (Bus::start().unwrap(), Bus::start().unwrap());
        assert_ne!(one.address(), other.address());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Bus::start_in(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
