//! The root file system: packages, ours among them, and what maintainer scripts would have done.

use crate::board::Board;
use crate::kernel::{self, Kernel};
use crate::tree::Tree;
use crate::{accounts, cpio::Cpio};
use anyhow::Context as _;
use cross_toolchain::lock::Pinned;
use cross_toolchain::program;
use cross_toolchain::say::say;
use cross_toolchain::unpack;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Of Debian's packages, what a gateway has no use for.
const LEFT_OUT: [&str; 13] = [
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/lintian/",
    "usr/share/bug/",
    "usr/share/bash-completion/",
    "usr/share/zsh/",
    "usr/share/fish/",
    "usr/lib/systemd/catalog/",
    "usr/lib/udev/hwdb.d/",
    "usr/share/i18n/",
    "usr/lib/aarch64-linux-gnu/gconv/",
];

/// Services that run: unit, and who wants it.
const ENABLED: [(&str, &str); 7] = [
    ("systemd-networkd.service", "multi-user.target.wants"),
    ("systemd-resolved.service", "multi-user.target.wants"),
    ("systemd-timesyncd.service", "sysinit.target.wants"),
    ("bluetooth.service", "bluetooth.target.wants"),
    ("fogline-gateway.service", "multi-user.target.wants"),
    ("fogline-site.service", "sysinit.target.wants"),
    ("fogline-console.service", "multi-user.target.wants"),
];

/// Names by which D-Bus starts services.
const ALIASES: [(&str, &str); 4] = [
    (
        "dbus-org.freedesktop.network1.service",
        "systemd-networkd.service",
    ),
    (
        "dbus-org.freedesktop.resolve1.service",
        "systemd-resolved.service",
    ),
    (
        "dbus-org.freedesktop.timesync1.service",
        "systemd-timesyncd.service",
    ),
    ("dbus-org.bluez.service", "bluetooth.service"),
];

/// Units that must not run: nobody can log in, and nothing is updated piece by piece.
const MASKED: [&str; 8] = [
    "getty@.service",
    "serial-getty@.service",
    "systemd-networkd-wait-online.service",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "systemd-pcrphase.service",
];

/// The root and what boots it.
pub(crate) struct Root {
    pub(crate) tree: Tree,
    pub(crate) esp: Tree,
}

/// What a root is made of.
pub(crate) struct Sources<'a> {
    pub(crate) board: Board,
    /// Debian's packages with their files.
    pub(crate) packages: &'a [(Pinned, PathBuf)],
    /// Our own package.
    pub(crate) gateway: &'a Path,
    /// `deploy/image`.
    pub(crate) deploy: &'a Path,
}

/// Puts everything together.
pub(crate) fn build(sources: &Sources<'_>) -> anyhow::Result<Root> {
    let mut tree = Tree::new();
    let wanted = |path: &str| {
        let copyright = path.ends_with("/copyright");
        copyright || !LEFT_OUT.iter().any(|folder| path.starts_with(folder))
    };
    say(format_args!(
        "▸ root: {} packages",
        sources.packages.len() + 1
    ));
    let packages = sources.packages.iter().map(|(_, path)| path.as_path());
    for path in packages.chain([sources.gateway]) {
        let tar = unpack::deb_tar(path).with_context(|| format!("reading {}", path.display()))?;
        tree.unpack(tar.as_slice(), &wanted)
            .with_context(|| format!("unpacking {}", path.display()))?;
    }
    accounts::write(&mut tree)?;
    overlay(&mut tree, &sources.deploy.join("overlay"), "")?;
    settle(&mut tree);
    let Kernel { image, first } = kernel::take(&mut tree, &|module| sources.board.serves(module))?;
    say(format_args!("▸ first file system: {} modules", first.len()));
    let init = fs::read(sources.deploy.join("init")).context("reading deploy/image/init")?;
    let initrd = initrd(&tree, &first, &init)?;
    let esp = esp(&mut tree, image, initrd, sources.board)?;
    Ok(Root { tree, esp })
}

/// Lays the files of a folder over the tree; who may run it here may run it there.
fn overlay(tree: &mut Tree, folder: &Path, at: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let read = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in read {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let place = if at.is_empty() {
            name
        } else {
            format!("{at}/{name}")
        };
        let about = entry.metadata()?;
        if about.is_dir() {
            overlay(tree, &entry.path(), &place)?;
        } else {
            let program = about.permissions().mode() & 0o100 != 0;
            let mode = if program { 0o755 } else { 0o644 };
            tree.file(&place, fs::read(entry.path())?, mode);
        }
    }
    Ok(())
}

/// What maintainer scripts would have done.
fn settle(tree: &mut Tree) {
    let units = "/usr/lib/systemd/system";
    for (unit, wants) in ENABLED {
        tree.link(
            &format!("etc/systemd/system/{wants}/{unit}"),
            &format!("{units}/{unit}"),
        );
    }
    for (alias, unit) in ALIASES {
        tree.link(
            &format!("etc/systemd/system/{alias}"),
            &format!("{units}/{unit}"),
        );
    }
    for unit in MASKED {
        tree.link(&format!("etc/systemd/system/{unit}"), "/dev/null");
    }
    tree.link(
        "etc/systemd/system/default.target",
        &format!("{units}/multi-user.target"),
    );
    tree.link("etc/os-release", "../usr/lib/os-release");
    tree.link("etc/resolv.conf", "../run/systemd/resolve/resolv.conf");
    tree.link("etc/mtab", "../proc/self/mounts");
    tree.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    // The site's files lie with everything else that changes.
    tree.remove("etc/fogline");
    tree.link("etc/fogline", "/var/lib/fogline-site");
    // Filled at each boot: nothing is ever written to the root.
    tree.file("etc/machine-id", "", 0o444);
    tree.file("etc/hostname", "fogline\n", 0o644);
    tree.file(
        "etc/hosts",
        "127.0.0.1 localhost fogline\n::1 localhost\n",
        0o644,
    );
    tree.file("etc/nsswitch.conf", NSSWITCH, 0o644);
    for path in [
        "var",
        "etc/apt",
        "usr/share/initramfs-tools",
        "etc/cron.d",
        "etc/cron.daily",
    ] {
        tree.remove(path);
    }
    for (path, mode) in [
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("mnt", 0o755),
        ("root", 0o700),
        ("etc/systemd/network", 0o755),
    ] {
        tree.folder(path, mode);
    }
    // `awk` and the like are chosen by scripts; systemd itself is started by its usual name.
    tree.link("usr/sbin/init", "../lib/systemd/systemd");
    if tree.has("usr/bin/mawk") {
        tree.link("usr/bin/awk", "mawk");
    }
}

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n\
    networks: files\nprotocols: files\nservices: files\n";

/// The first file system: busybox, the modules, and a short script.
fn initrd(tree: &Tree, modules: &[(String, Vec<u8>)], init: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut cpio = Cpio::default();
    for folder in ["bin", "dev", "m", "proc", "root", "sys"] {
        cpio.folder(folder);
    }
    cpio.program("bin/busybox", tree.bytes("usr/bin/busybox")?);
    cpio.link("bin/sh", "busybox");
    cpio.program("init", init);
    for (number, (name, content)) in modules.iter().enumerate() {
        cpio.program(&format!("m/{number:02}-{name}.ko"), content);
    }
    Ok(cpio.finish())
}

/// Kernel, first file system and boot entries of both roots.
fn esp(tree: &mut Tree, kernel: Vec<u8>, initrd: Vec<u8>, board: Board) -> anyhow::Result<Tree> {
    let mut esp = Tree::default();
    let loader = tree
        .bytes("usr/lib/systemd/boot/efi/systemd-bootaa64.efi")?
        .to_vec();
    tree.remove("usr/lib/systemd/boot");
    tree.remove("usr/bin/busybox");
    let initrd = compress(&initrd)?;
    esp.file("EFI/BOOT/BOOTAA64.EFI", loader, 0o644);
    // No default: the highest version that has tries left boots.
    esp.file("loader/loader.conf", "timeout 0\neditor no\n", 0o644);
    for (slot, version) in [("a", 2), ("b", 1)] {
        let console = board.console();
        let entry = format!(
            "title Fogline {slot}\nsort-key fogline\nversion {version}\n\
             linux /{slot}/vmlinuz\ninitrd /{slot}/initrd.img\n\
             options root=PARTLABEL=root-{slot} ro {console} panic=5 fsck.repair=yes \
             systemd.gpt_auto=no quiet\n"
        );
        esp.file(&format!("loader/entries/{slot}.conf"), entry, 0o644);
        esp.file(&format!("{slot}/vmlinuz"), kernel.clone(), 0o644);
        esp.file(&format!("{slot}/initrd.img"), initrd.clone(), 0o644);
    }
    Ok(esp)
}

/// Every kernel unpacks gzip, and `-n` leaves name and time out.
fn compress(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    program::feed(Command::new("gzip").args(["-9", "-n"]), bytes, "gzip")
}
