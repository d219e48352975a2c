//! Packages as `dpkg` sees them: read by it, installed, upgraded, removed and purged in a Debian root
//! that is laid over this machine's and thrown away.
#![expect(
    clippy::unwrap_used,
    reason = "integration tests: a failed helper fails the test"
)]

use cross_package::{Order, build};
use cross_toolchain::target::Arch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A small program of this machine stands for the gateway: what is tested is the package.
const PROGRAM: &str = "/bin/true";

fn recipe(what: &str) -> PathBuf {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    deploy.join(what).join("package.toml")
}

/// Builds a package of `what` into `dir`.
fn package(what: &str, revision: u32, dir: &Path) -> PathBuf {
    let manual = dir.join("manual");
    for (folder, file) in [
        ("man", "fogline-gateway.1"),
        ("bash", "fogline-gateway"),
        ("zsh", "_fogline-gateway"),
        ("fish", "fogline-gateway.fish"),
    ] {
        fs::create_dir_all(manual.join(folder)).unwrap();
        fs::write(manual.join(folder).join(file), "words\n").unwrap();
    }
    let binary = dir.join(format!("fogline-{what}"));
    for program in [&binary, &dir.join("fogline-sim")] {
        fs::copy(PROGRAM, program).unwrap();
    }
    build(&Order {
        recipe: &recipe(what),
        binary: &binary,
        manual: Some(&manual),
        arch: Arch::Amd64,
        version: &format!("1.0-{revision}"),
        into: dir,
    })
    .unwrap()
}

fn is_amd64_linux() -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[test]
fn the_same_sources_give_the_same_bytes() {
    if !is_amd64_linux() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for what in ["gateway", "cloud"] {
        let first = fs::read(package(what, 1, one.path())).unwrap();
        let second = fs::read(package(what, 1, two.path())).unwrap();
        assert!(first == second, "{what}");
    }
}

#[test]
fn dpkg_reads_the_package_where_it_is_installed() {
    if !is_amd64_linux() || Command::new("dpkg-deb").arg("--version").output().is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = package("gateway", 3, dir.path());
    let ask = |what: &str| {
        let output = Command::new("dpkg-deb")
            .arg(what)
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", told(&output));
        told(&output)
    };
    let fields = ask("--field");
    assert!(
        fields.contains("Package: fogline-gateway\nVersion: 1.0-3\nArchitecture: amd64\n"),
        "{fields}"
    );
    assert!(fields.contains("Depends: libc6 (>= 2."), "{fields}");
    let content = ask("--contents");
    for line in [
        "-rwxr-xr-x root/root",
        " usr/bin/fogline-gateway",
        " usr/bin/fogline-sim",
        " usr/lib/systemd/system/fogline-gateway.service",
        " usr/share/man/man1/fogline-gateway.1.gz",
        " usr/share/doc/fogline-gateway/changelog.Debian.gz",
    ] {
        assert!(content.contains(line), "{line} is missing in\n{content}");
    }
}

#[test]
fn a_program_for_another_processor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let order = Order {
        recipe: &recipe("gateway"),
        binary: Path::new(PROGRAM),
        manual: None,
        arch: Arch::Armv7,
        version: "1.0-1",
        into: dir.path(),
    };
    let error = build(&order).unwrap_err().to_string();
    assert!(error.contains("not a program for armv7"), "{error}");
}

/// Whether this machine can lay a root over its own; must be so where nothing may be left out.
fn can_lay_a_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    let there = root && is_amd64_linux() && Path::new("/var/lib/dpkg/status").exists();
    let must = std::env::var_os("FOGLINE_REQUIRE_NET").is_some();
    assert!(there || !must, "needs root on a Debian system");
    there
}

#[test]
fn spool_and_configuration_survive_upgrade_and_removal_and_go_with_purging() {
    if !can_lay_a_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let old = package("gateway", 1, dir.path());
    let new = package("gateway", 2, dir.path());
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .args([include_str!("debian_root.sh"), "sh"])
        .args([dir.path(), &old, &new])
        .output()
        .unwrap();
    let words = told(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("purged: nothing is left"), "{words}");
}
