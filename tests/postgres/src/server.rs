//! One server: made, started, killed, stopped, followed by a standby, promoted.
//!
//! The server is the child of a shell that waits for the end of its own input, a pipe whose other end
//! is here. Whatever ends this process closes the pipe; the shell then ends the server and removes its
//! folder.

use crate::install::{Installation, find};
use crate::settings::Settings;
use crate::{DATABASE, PASSWORD, USER};
use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that does not answer after so long will not.
const PATIENCE: Duration = Duration::from_secs(120);

/// Another process may take a free port before the server does.
const ATTEMPTS: usize = 5;

/// Runs the server (its arguments) until the input ends; then removes the folder named first, unless
/// it is to be left. The shell waits for the server, so that one that was killed is gone at once.
const KEEPER: &str = r#"
folder=$1; shift
exec 3<&0
"$@" >>"$folder/server.log" 2>&1 </dev/null &
server=$!
(
  while read -r _; do :; done
  [ -e "$folder/ended" ] || kill -QUIT "$server"
) <&3 &
reader=$!
wait "$server"
: >"$folder/ended"
wait "$reader"
[ -e "$folder/leave" ] || rm -rf "$folder"
"#;

/// A running server.
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    settings: Settings,
    folder: PathBuf,
    port: u16,
    /// The shell that ends with us; its input is the pipe.
    keeper: Option<Child>,
}

impl Server {
    /// Makes and starts a server.
    ///
    /// # Errors
    /// Where PostgreSQL is not installed, or does not start: with the end of its log.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Settings::default())
    }

    /// Makes and starts a server set up in a particular way.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(settings: Settings) -> anyhow::Result<Self> {
        let mut server = Self::make(settings)?;
        let password = server.folder.join("password");
        let mut initdb = server.installation.command("initdb");
        initdb
            .arg("--pgdata")
            .arg(server.data())
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        run(&mut initdb)?;
        server.write_tls()?;
        server.launch()?;
        server.psql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        Ok(server)
    }

    /// The folder, with the password in it.
    fn make(settings: Settings) -> anyhow::Result<Self> {
        let installation = find()?;
        let below = settings.below.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("fogline-postgres-")
            .tempdir_in(&below)
            .with_context(|| format!("making a folder in {}", below.display()))?
            .keep();
        installation.give(&folder)?;
        let server = Self {
            installation,
            settings,
            folder,
            port: 0,
            keeper: None,
        };
        server.write_private("password", PASSWORD)?;
        server.write_private("pgpass", &format!("*:*:*:{USER}:{PASSWORD}\n"))?;
        Ok(server)
    }

    /// A second server that follows this one, under `name` (a word). Commits wait for it after
    /// [`Server::wait_for`].
    ///
    /// # Errors
    /// Where the copy fails or does not start.
    pub fn standby(&self, name: &str) -> anyhow::Result<Self> {
        let mut standby = Self::make(self.settings.clone())?;
        let source = format!(
            "host=127.0.0.1 port={} user={USER} application_name={name} passfile={}",
            self.port,
            standby.folder.join("pgpass").display()
        );
        let mut copy = standby.installation.command("pg_basebackup");
        copy.arg("--pgdata")
            .arg(standby.data())
            .args(["--write-recovery-conf", "--wal-method=stream"])
            .args(["--checkpoint=fast", "--no-sync", "--dbname"])
            .arg(source);
        run(&mut copy)?;
        standby.launch()?;
        Ok(standby)
    }

    /// From now on a commit waits until the standby `name` has applied it.
    ///
    /// # Errors
    /// Where the standby does not come in time.
    pub fn wait_for(&self, name: &str) -> anyhow::Result<()> {
        self.psql(
            "postgres",
            &format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"),
        )?;
        self.psql(
            "postgres",
            "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
        )?;
        self.psql("postgres", "SELECT pg_reload_conf()")?;
        let follows = format!(
            "SELECT count(*) FROM pg_stat_replication
             WHERE application_name = '{name}' AND sync_state = 'sync'"
        );
        self.until("the standby follows in step", || {
            Ok(self.psql("postgres", &follows)? == "1")
        })
    }

    /// Makes a standby a primary, on a timeline of its own, that waits for nobody.
    ///
    /// # Errors
    /// Where it does not become one in time.
    pub fn promote(&self) -> anyhow::Result<()> {
        self.psql("postgres", "SELECT pg_promote(true, 120)")?;
        self.psql("postgres", "ALTER SYSTEM RESET synchronous_standby_names")?;
        self.psql("postgres", "SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// Ends the server as a power cut of its host would, short of the disk's cache: every process at
    /// once, nothing written any more.
    ///
    /// # Errors
    /// Where it was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let main = self.main_process()?;
        let children = children(main);
        for process in std::iter::once(main).chain(children) {
            // One that ended by itself in between is as dead as it should be.
            kill_process(process, Signal::KILL).ok();
        }
        self.until("the server is gone", || {
            Ok(self.folder.join("ended").exists())
        })
    }

    /// Stops answering, with every connection left open, until [`Server::resume`].
    ///
    /// # Errors
    /// Where it is not running.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Goes on after [`Server::pause`].
    ///
    /// # Errors
    /// Where it is not running.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> anyhow::Result<()> {
        let main = self.main_process()?;
        for process in std::iter::once(main).chain(children(main)) {
            kill_process(process, signal).ok();
        }
        Ok(())
    }

    /// Starts again after [`Server::kill`] or [`Server::stop`], on the same port with the same data.
    ///
    /// # Errors
    /// Where it does not answer in time: with the end of its log.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.end_keeper();
        let port = self.port;
        self.launch_on(port)
    }

    /// Stops in an orderly way; clients are cut off.
    ///
    /// # Errors
    /// Where it was not running.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let main = self.main_process()?;
        kill_process(main, Signal::INT).context("stopping the server")?;
        self.until("the server has stopped", || {
            Ok(self.folder.join("ended").exists())
        })
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// Where the name is taken.
    pub fn create_database(&self, name: &str) -> anyhow::Result<()> {
        self.psql("postgres", &format!("CREATE DATABASE {name}"))
            .map(drop)
    }

    /// Runs statements on a database; what they print, fields by `|`, rows by lines.
    ///
    /// # Errors
    /// What the server says.
    pub fn psql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = Command::new(self.installation.program("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--host", "127.0.0.1"])
            .args(["--username", USER, "--dbname", database, "--command", sql])
            .args(["--port", &self.port.to_string()])
            .env("PGPASSWORD", PASSWORD);
        Ok(run(&mut psql)?.trim().to_owned())
    }

    /// Where a database is reached over loopback, without the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// A file that holds the password and nothing else.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// The port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    /// Memory and CPU are asked of this process and its children.
    ///
    /// # Errors
    /// Where the server is not running.
    pub fn main_process(&self) -> anyhow::Result<Pid> {
        let path = self.data().join("postmaster.pid");
        let text = std::fs::read_to_string(&path).context("the server is not running")?;
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number
            .and_then(Pid::from_raw)
            .with_context(|| format!("{} names no process", path.display()))
    }

    fn write_tls(&self) -> anyhow::Result<()> {
        let Some(tls) = &self.settings.tls else {
            return Ok(());
        };
        self.write_private("data/server.pem", &tls.certificate)?;
        self.write_private("data/server.key", &tls.key)?;
        if let Some(authority) = &tls.client_authority {
            self.write_private("data/client-authority.pem", authority)?;
        }
        Ok(())
    }

    fn write_private(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        self.installation.give(&path)
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let mut why = None;
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match self.launch_on(port) {
                Ok(()) => return Ok(()),
                Err(error) => why = Some(error),
            }
            if !self.log().contains("Address already in use") {
                break;
            }
            self.end_keeper();
        }
        Err(why.context("the server was not started")?)
    }

    fn launch_on(&mut self, port: u16) -> anyhow::Result<()> {
        self.port = port;
        let conf = self.settings.render(&self.folder, port);
        self.write_private("data/postgresql.conf", &conf)?;
        let ended = self.folder.join("ended");
        for mark in [&ended, &self.folder.join("leave")] {
            drop(std::fs::remove_file(mark)); // of the run before, if there was one
        }
        let mut keeper = self.installation.as_user(Path::new("sh"));
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.folder)
            .arg(self.installation.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends the tests by a signal to their group must leave the keeper to clean up.
            .process_group(0);
        self.keeper = Some(keeper.spawn().context("starting the server")?);
        self.until("the server answers", || {
            ensure!(!ended.exists(), "it ended: {}", self.tail());
            let mut ready = self.installation.command("pg_isready");
            ready.args(["--quiet", "--host", "127.0.0.1", "--port"]);
            Ok(run(ready.arg(port.to_string())).is_ok())
        })
    }

    /// Ends the keeper, and with it a server that still runs, and leaves the folder.
    fn end_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // Without the mark the folder goes too: then the next start says what is missing.
            drop(std::fs::write(self.folder.join("leave"), ""));
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(20);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    fn until(
        &self,
        what: &str,
        mut done: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !done()? {
            if Instant::now() > deadline {
                bail!("waited in vain until {what}; {}", self.tail());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // A stopped process would not see the signal to end.
            drop(self.resume());
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
        // Where the keeper never came to it.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn children(of: Pid) -> Vec<Pid> {
    u32::try_from(of.as_raw_nonzero().get()).map_or_else(|_| Vec::new(), children_of)
}

fn children_of(process: u32) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let lists = threads.into_iter().flatten().filter_map(|thread| {
        let path = thread.ok()?.path().join("children");
        std::fs::read_to_string(path).ok()
    });
    let text: Vec<String> = lists.collect();
    text.iter()
        .flat_map(|list| list.split_whitespace())
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Runs a program to its end; what it printed.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
