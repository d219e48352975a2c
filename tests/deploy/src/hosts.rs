//! Hosts to deploy to: Debian with systemd and sshd, in namespaces of this machine.
//!
//! ```text
//! one Debian root (mmdebstrap, kept) ◀─ overlay ─┬─ host a: systemd-nspawn, veth ─┐
//!                                                └─ host b: systemd-nspawn, veth ─┴─ bridge ◀─ ssh
//! ```
//!
//! A host boots as a machine does; playbooks reach it by ssh alone. What it writes goes with it. Needs
//! root, `mmdebstrap`, `systemd-nspawn` and a network to Debian for the first root. Everything made is
//! removed on drop: hosts, mounts, the bridge.

use crate::tools::text;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Beside what a minimal Debian has: what makes a host of it, and what playbooks would install, so that
/// hosts need no way out.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,python3,python3-apt,openssh-server,iproute2,procps,\
    haproxy,postgresql,init-system-helpers,ca-certificates";
/// A host that does not answer by then does not come up.
const PATIENCE: Duration = Duration::from_secs(300);

/// Some hosts on one bridge.
#[derive(Debug)]
pub struct Hosts {
    folder: PathBuf,
    bridge: String,
    running: Vec<Child>,
    mounted: Vec<PathBuf>,
}

impl Hosts {
    /// Boots a host for each `(name, address)`, all in one /24 in which `gateway` is this machine.
    ///
    /// # Errors
    /// A program is missing, the Debian root cannot be made, or a host does not come up.
    pub fn boot(
        kept: &Path,
        folder: &Path,
        gateway: &str,
        wanted: &[(&str, &str)],
    ) -> Result<Self> {
        let root = debian(kept)?;
        let mut hosts = Self {
            folder: folder.to_owned(),
            bridge: format!("fld{}", std::process::id()),
            running: Vec::new(),
            mounted: Vec::new(),
        };
        let key = hosts.key();
        text(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
        )?;
        ip(&["link", "add", &hosts.bridge, "type", "bridge"])?;
        ip(&[
            "address",
            "add",
            &format!("{gateway}/24"),
            "dev",
            &hosts.bridge,
        ])?;
        ip(&["link", "set", &hosts.bridge, "up"])?;
        for (name, address) in wanted {
            hosts.add(&root, name, address)?;
        }
        for (_, address) in wanted {
            hosts.wait_for(address)?;
        }
        Ok(hosts)
    }

    /// The private key that opens every host.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// What a command on a host prints.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, address: &str, command: &str) -> Result<String> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(self.key());
        ssh.args(SSH.split(' ')).args(["-o", "ConnectTimeout=10"]);
        text(ssh.arg(format!("root@{address}")).arg(command))
    }

    fn add(&mut self, root: &Path, name: &str, address: &str) -> Result<()> {
        let own = self.folder.join(name);
        let [upper, work, merged] = ["upper", "work", "merged"].map(|part| own.join(part));
        for folder in [&upper, &work, &merged] {
            fs::create_dir_all(folder)?;
        }
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            root.display(),
            upper.display(),
            work.display()
        );
        text(
            Command::new("mount")
                .args(["-t", "overlay", "overlay", "-o", &layers])
                .arg(&merged),
        )?;
        self.mounted.push(merged.clone());
        let network = merged.join("etc/systemd/network");
        fs::create_dir_all(&network)?;
        fs::write(
            network.join("10-host0.network"),
            format!("[Match]\nName=host0\n[Network]\nAddress={address}/24\n"),
        )?;
        let started =
            merged.join("etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
        symlink("/lib/systemd/system/systemd-networkd.service", started)?;
        fs::write(merged.join("etc/hostname"), format!("{name}\n"))?;
        let ssh = merged.join("root/.ssh");
        fs::create_dir_all(&ssh)?;
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700))?;
        fs::copy(
            self.key().with_extension("pub"),
            ssh.join("authorized_keys"),
        )?;
        let log = fs::File::create(own.join("console.log"))?;
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args([
            "--quiet",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
        ]);
        nspawn.arg(format!("--machine={}-{name}", self.bridge));
        nspawn.arg(format!("--network-bridge={}", self.bridge));
        nspawn.arg(format!("--directory={}", merged.display()));
        let host = nspawn
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        self.running
            .push(host.context("systemd-nspawn: apt-get install systemd-container")?);
        Ok(())
    }

    fn wait_for(&self, address: &str) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            // `degraded` will do: what a host in a namespace cannot have is not asked for here.
            let state = self.run(address, "systemctl is-system-running --wait || true");
            match state {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    bail!("the host at {address} does not come up: {error:#}")
                }
                Err(_) => std::thread::park_timeout(Duration::from_millis(500)),
            }
        }
    }
}

/// Options of ssh for hosts that exist for this run alone.
pub const SSH: &str =
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in &mut self.running {
            // As a power cut. The host's own first process would outlive the one that started it.
            let children = format!("/proc/{0}/task/{0}/children", host.id());
            let children = fs::read_to_string(children).unwrap_or_default();
            drop(
                Command::new("kill")
                    .arg("-KILL")
                    .args(children.split_whitespace())
                    .status(),
            );
            drop(host.kill());
            drop(host.wait());
        }
        for folder in &self.mounted {
            drop(Command::new("umount").arg("--lazy").arg(folder).status());
        }
        // The kernel takes its time with a dead host's network: our ends of it go now.
        let ends = fs::read_dir(format!("/sys/class/net/{}/brif", self.bridge));
        for end in ends.into_iter().flatten().flatten() {
            let end = end.file_name();
            drop(ip(&["link", "delete", &end.to_string_lossy()]));
        }
        drop(ip(&["link", "delete", &self.bridge]));
    }
}

/// The Debian root that all hosts share, made once.
fn debian(kept: &Path) -> Result<PathBuf> {
    ensure!(is_root(), "hosts need root");
    let root = kept.join("debian-root");
    let done = kept.join("debian-root.packages");
    if fs::read_to_string(&done).is_ok_and(|made| made == PACKAGES) {
        return Ok(root);
    }
    fs::create_dir_all(kept)?;
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let mut make = Command::new(tests_interop::program("mmdebstrap")?);
    // The lists stay: playbooks look how old they are.
    make.args(["--variant=apt", "--skip=cleanup/apt/lists"]);
    text(
        make.arg(format!("--include={PACKAGES}"))
            .arg("bookworm")
            .arg(&root),
    )?;
    fs::write(done, PACKAGES)?;
    Ok(root)
}

fn is_root() -> bool {
    text(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn ip(arguments: &[&str]) -> Result<String> {
    text(Command::new("ip").args(arguments))
}
