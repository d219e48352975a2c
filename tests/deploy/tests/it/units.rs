//! The units of systemd: complete, and confined.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests_deploy::root;
use tests_interop::{need, program};

/// Each unit, and the name under which it is judged: a template needs an instance.
const UNITS: [(&str, &str); 4] = [
    (
        "deploy/systemd/fogline-broker.service",
        "fogline-broker.service",
    ),
    (
        "deploy/systemd/fogline-cloud@.service",
        "fogline-cloud@ingest.service",
    ),
    (
        "deploy/cloud/fogline-cloud.service",
        "fogline-cloud.service",
    ),
    (
        "deploy/gateway/fogline-gateway.service",
        "fogline-gateway.service",
    ),
];
/// Exposure that `systemd-analyze security` may find at most, in tenths; without confinement it is 96.
const EXPOSURE: &str = "25";
/// Programs of ours and others that the machine of the test need not have.
const PROGRAMS: [&str; 3] = [
    "/usr/bin/fogline-cloud",
    "/usr/bin/fogline-gateway",
    "/usr/local/bin/nats-server",
];

fn copied(folder: &Path, changed: impl Fn(String) -> String) -> Vec<PathBuf> {
    let copies = UNITS.map(|(from, name)| {
        let text = std::fs::read_to_string(root().join(from)).expect("the unit is there");
        let copy = folder.join(name);
        std::fs::write(&copy, changed(text)).expect("the folder can be written");
        copy
    });
    copies.into()
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let analyze = need!(program("systemd-analyze"));
    let folder = tempfile::tempdir().unwrap();
    let units = copied(folder.path(), |text| {
        PROGRAMS
            .iter()
            .fold(text, |text, program| text.replace(program, "/bin/true"))
    });
    // The drop-in of one machine is judged with its unit.
    let beside = folder.path().join("fogline-broker.service.d");
    std::fs::create_dir(&beside).unwrap();
    let drop_in = root().join("deploy/systemd/one-machine.conf");
    std::fs::copy(drop_in, beside.join("one-machine.conf")).unwrap();
    let verify = |units: &[PathBuf]| {
        let mut command = Command::new(&analyze);
        let output = command
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args(units)
            .output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (fine, said) = verify(&units);
    assert!(fine && !said.contains("fogline"), "{said}");
    // It would say so.
    let broken = folder.path().join("fogline-broken.service");
    std::fs::write(
        &broken,
        "[Service]\nExecStart=/bin/true\nProtectSistem=strict\n",
    )
    .unwrap();
    let (_, said) = verify(&[broken]);
    assert!(said.contains("ProtectSistem"), "{said}");
}

#[test]
fn what_a_unit_runs_can_reach_little() {
    let analyze = need!(program("systemd-analyze"));
    let folder = tempfile::tempdir().unwrap();
    let security = |unit: &Path| {
        let mut command = Command::new(&analyze);
        let judged = command.args(["security", "--offline=true", "--no-pager"]);
        let output = judged
            .arg(format!("--threshold={EXPOSURE}"))
            .arg(unit)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    for unit in copied(folder.path(), |text| text) {
        let (fine, said) = security(&unit);
        assert!(
            fine,
            "{}: {}",
            unit.display(),
            said.lines().last().unwrap_or_default()
        );
    }
    let open = folder.path().join("fogline-open.service");
    std::fs::write(&open, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(!security(&open).0, "an open unit passes");
}

#[test]
fn whatever_fails_is_started_again_for_ever() {
    for (from, _) in UNITS {
        let text = std::fs::read_to_string(root().join(from)).unwrap();
        for line in [
            "Restart=always",
            "StartLimitIntervalSec=0",
            "NoNewPrivileges=yes",
        ] {
            assert!(text.lines().any(|each| each == line), "{from} lacks {line}");
        }
    }
}
