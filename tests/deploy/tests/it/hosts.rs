//! The playbooks against hosts that boot, with systemd and sshd. Takes minutes, and once a download of
//! Debian: part of `cargo xtask test --full`.

use crate::tools;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests_deploy::hosts::{Hosts, SSH};
use tests_deploy::{Tools, root};
use tests_interop::program;

const GATEWAY: &str = "10.88.7.1";
const NODES: [(&str, &str); 3] = [
    ("n1", "10.88.7.11"),
    ("n2", "10.88.7.12"),
    ("n3", "10.88.7.13"),
];
const ENTRY: (&str, &str) = ("entry-1", "10.88.7.14");
// Hosts in a container have no more descriptors than it has: the inventory asks for few.

/// Parts that need nothing but what lies here.
const PARTS: &str = "postgresql,broker,entry";

/// Where something was built, as `cargo xtask` says.
fn built(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    let path = path.expect("cargo xtask test --full says where everything is");
    // A bare name is a program of the system.
    match path.to_str().filter(|name| !name.contains('/')) {
        Some(name) => program(name).expect("it is installed"),
        None => path,
    }
}

/// What a command says, whether it ends well or not.
fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("the program starts");
    let text =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (output.status.success(), text.concat())
}

/// The folder that an inventory lies in, with everything the guide for plain hosts puts there.
fn site(folder: &Path) -> PathBuf {
    let program = built("FOGLINE_BIN_DIR").join("fogline-cloud");
    let run = |arguments: &[&str]| {
        let (fine, text) = said(Command::new(&program).args(arguments).current_dir(folder));
        assert!(fine, "{arguments:?}: {text}");
    };
    let nodes = NODES.map(|(name, address)| format!("--node={name}@{address}"));
    let nodes = nodes.each_ref().map(String::as_str);
    run(&[
        &["init", "--dir", "fogline", "--host", "mqtt.example.com"][..],
        &nodes,
    ]
    .concat());
    let settings = folder.join("fogline/cloud.toml");
    let text = std::fs::read_to_string(&settings).expect("init writes it");
    let places =
        "\n[broker]\nfiles_at = \"/etc/fogline-broker\"\nstore_at = \"/var/lib/fogline-broker\"";
    std::fs::write(&settings, text.replace("\n[broker]", places)).expect("it can be written");
    run(&["broker", "config", "--config", "fogline/cloud.toml"]);
    let text = std::fs::read_to_string(&settings).expect("it is there");
    let database = format!(
        "url = \"postgres://fogline:it's-4-x@{}/fogline\"",
        NODES[0].1
    );
    let text = text.replace("path = \"data/fogline.db\"", &database);
    std::fs::write(&settings, text).expect("it can be written");
    certificate(folder);
    let inventory = folder.join("hosts.yaml");
    let hosts = |hosts: &[(&str, &str)]| -> String {
        hosts
            .iter()
            .map(|(name, address)| format!("        {name}: {{ ansible_host: {address} }}\n"))
            .collect()
    };
    let text = format!(
        "all:\n  vars:\n    hosts_needs_descriptors: 16000\n    fogline_entry_connections: 7000\n    ansible_user: root\n    ansible_ssh_private_key_file: \"{{{{ inventory_dir }}}}/key\"\n    \
         ansible_ssh_common_args: {SSH}\n    fogline_folder: \"{{{{ inventory_dir }}}}/fogline\"\n    \
         fogline_package: {}\n    fogline_nats_server: {}\n  children:\n    broker:\n      hosts:\n{}    \
         cloud:\n      hosts:\n{}    postgresql:\n      hosts:\n{}    entry:\n      hosts:\n{}",
        built("FOGLINE_CLOUD_PACKAGE").display(),
        built("FOGLINE_NATS_SERVER").display(),
        hosts(&NODES),
        hosts(&NODES[1..]),
        hosts(&NODES[..1]),
        hosts(&[ENTRY]),
    );
    std::fs::write(&inventory, text).expect("it can be written");
    inventory
}

/// The database's certificate, as the guide has it made.
fn certificate(folder: &Path) {
    let pki = "fogline/pki";
    let address = NODES[0].1;
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=database \
         -keyout {pki}/database.key -out database.csr && echo subjectAltName=IP:{address} > names && \
         openssl x509 -req -in database.csr -CA {pki}/ca.pem -CAkey {pki}/ca.key -CAcreateserial \
         -days 2 -extfile names -out {pki}/database.pem"
    );
    let (fine, text) = said(Command::new("sh").args(["-c", &script]).current_dir(folder));
    assert!(fine, "{text}");
}

/// One run of the playbook: its words, and how many things it changed.
fn play(tools: &Tools, folder: &Path, inventory: &Path) -> (String, usize) {
    let mut play = tools.program("ansible-playbook");
    play.current_dir(root().join("deploy/ansible"));
    play.env("ANSIBLE_HOME", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_COLOR", "1");
    play.arg("--inventory")
        .arg(inventory)
        .args(["site.yaml", "--tags", PARTS]);
    let (fine, text) = said(&mut play);
    assert!(fine, "{text}");
    let changed = text.split("changed=").skip(1);
    let changed = changed.filter_map(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    let changed = changed.sum();
    (text, changed)
}

#[test]
#[ignore = "boots hosts, takes minutes: cargo xtask test --full"]
fn hosts_become_what_the_inventory_says_and_a_second_run_changes_nothing() {
    let tools = tools().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inventory = site(folder.path());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let wanted = [&NODES[..], &[ENTRY]].concat();
    let hosts = Hosts::boot(kept, folder.path(), GATEWAY, &wanted).unwrap();

    let (_, changed) = play(&tools, folder.path(), &inventory);
    assert!(
        changed >= 20,
        "a new host is changed in many things, not in {changed}"
    );
    let (text, changed) = play(&tools, folder.path(), &inventory);
    assert_eq!(changed, 0, "{text}");

    // A gateway that comes by the entry sees the broker's own certificate.
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-brief",
        "-verify_return_error",
        "-verify_hostname",
        "mqtt.example.com",
    ]);
    client.args(["-connect", &format!("{}:8883", ENTRY.1), "-CAfile"]);
    client
        .arg(folder.path().join("fogline/pki/ca.pem"))
        .stdin(std::process::Stdio::null());
    let (_, text) = said(&mut client);
    assert!(text.contains("Verification: OK"), "{text}");

    // A volume of another node is refused, and the journal says whose it is.
    let (_, last) = NODES[2];
    hosts.run(last, "systemctl stop fogline-broker").unwrap();
    hosts
        .run(
            last,
            "sed -i 's/\"n3\"/\"n2\"/' /var/lib/fogline-broker/node.toml",
        )
        .unwrap();
    let text = hosts.run(last, "systemctl start fogline-broker; journalctl --unit fogline-broker --no-pager --output cat").unwrap_or_default();
    let text = text
        + &hosts
            .run(
                last,
                "journalctl --unit fogline-broker --no-pager --output cat",
            )
            .unwrap();
    assert!(text.contains("belongs to node \"n2\""), "{text}");
    let state = hosts
        .run(last, "systemctl is-active fogline-broker || true")
        .unwrap();
    assert_ne!(state.trim(), "active");
}
