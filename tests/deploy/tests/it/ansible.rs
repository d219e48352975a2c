//! The playbooks: clean, readable by Ansible, and with a preflight that notices what would go wrong.

use crate::tools;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tests_deploy::{Tools, root};
use tests_interop::{need, program};

const FOLDER: &str = "deploy/ansible";
/// As `fogline-cloud init` writes it for the example's inventory, after its guide.
const SETTINGS: &str = r#"
[database]
url = "postgres://fogline:vY4-kq8@192.0.2.31:5432/fogline"
[broker]
files_at = "/etc/fogline-broker"
store_at = "/var/lib/fogline-broker"
[[broker.node]]
name = "fogline-1"
host = "192.0.2.11"
[[broker.node]]
name = "fogline-2"
host = "192.0.2.12"
[[broker.node]]
name = "fogline-3"
host = "192.0.2.13"
[api]
listen = "0.0.0.0:8443"
"#;

/// A program of Ansible, in the playbooks' folder, that leaves nothing there.
fn ansible(tools: &Tools, name: &str, home: &Path) -> Command {
    let mut command = tools.program(name);
    command
        .current_dir(root().join(FOLDER))
        .env("ANSIBLE_HOME", home)
        .env("HOME", home)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env(
            "ANSIBLE_FILTER_PLUGINS",
            root().join(FOLDER).join("filter_plugins"),
        )
        .env("NO_COLOR", "1")
        .env("ANSIBLE_LOCALHOST_WARNING", "False");
    command
}

/// What a filter answers to `[name, arguments…]`.
fn ask(tools: &Tools, call: &Value) -> Value {
    let mut python = tools.program("python");
    let mut child = python
        .arg(root().join("tests/deploy/tools/rules.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("standard input is piped");
    let written = input.write_all(call.to_string().as_bytes());
    written.expect("Python reads");
    drop(input);
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "{call} fails");
    serde_json::from_slice(&output.stdout).expect("the answer is JSON")
}

/// What a rule of the preflight complains of.
fn rule(tools: &Tools, name: &str, arguments: &[Value]) -> Vec<String> {
    let mut call = vec![json!(name)];
    call.extend_from_slice(arguments);
    let said = ask(tools, &json!(call));
    serde_json::from_value(said).expect("a list of texts")
}

/// Groups and variables of the example's inventory.
fn plan() -> (Value, Value) {
    let groups = json!({
        "broker": ["fogline-1", "fogline-2", "fogline-3"],
        "cloud": ["cloud-1", "cloud-2"],
        "postgresql": ["database-1"],
        "entry": ["entry-1"],
    });
    let hosts = json!({
        "fogline-1": {"ansible_host": "192.0.2.11"},
        "fogline-2": {"ansible_host": "192.0.2.12"},
        "fogline-3": {"ansible_host": "192.0.2.13"},
        "cloud-1": {"ansible_host": "192.0.2.21"},
        "cloud-2": {"ansible_host": "192.0.2.22"},
        "database-1": {"ansible_host": "192.0.2.31"},
        "entry-1": {"ansible_host": "192.0.2.41"},
    });
    (groups, hosts)
}

fn planned(tools: &Tools, groups: &Value, hosts: &Value, settings: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder for a moment");
    std::fs::write(folder.path().join("cloud.toml"), settings).expect("the folder can be written");
    let folder = json!(folder.path());
    rule(
        tools,
        "fogline_plan_problems",
        &[groups.clone(), hosts.clone(), folder],
    )
}

#[test]
fn the_playbooks_are_clean() {
    let tools = need!(tools());
    let home = tempfile::tempdir().unwrap();
    let mut lint = ansible(&tools, "ansible-lint", home.path());
    lint.args([
        "--offline",
        "--profile",
        "production",
        "--nocolor",
        "--project-dir",
        ".",
    ]);
    let output = lint.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut syntax = ansible(&tools, "ansible-playbook", home.path());
    let output = syntax
        .args(["site.yaml", "--syntax-check"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_example_is_fine_and_each_mistake_in_it_is_named() {
    let tools = need!(tools());
    let (groups, hosts) = plan();
    assert_eq!(
        planned(&tools, &groups, &hosts, SETTINGS),
        Vec::<String>::new()
    );

    let changed = |pointer: &str, value: Value| {
        let mut hosts = hosts.clone();
        *hosts.pointer_mut(pointer).unwrap() = value;
        planned(&tools, &groups, &hosts, SETTINGS)
    };
    let said = changed("/entry-1/ansible_host", json!("192.0.2.12"));
    assert!(
        said[0].contains("192.0.2.12 is the address of entry-1 and of fogline-2"),
        "{said:?}"
    );
    let said = changed("/fogline-3", json!({"ansible_host": "192.0.2.99"}));
    assert!(
        said[0].contains("192.0.2.99 in the inventory and at 192.0.2.13"),
        "{said:?}"
    );
    let said = changed(
        "/entry-1",
        json!({"ansible_host": "e", "fogline_entry_timeout_s": 10}),
    );
    assert!(
        said[0].contains("gateways are silent for up to 15 s"),
        "{said:?}"
    );
    let said = changed(
        "/entry-1",
        json!({"ansible_host": "e", "fogline_entry_connections": 200_000}),
    );
    assert!(
        said[0].contains("more than one address has ports for"),
        "{said:?}"
    );

    let mut two = groups.clone();
    two["broker"] = json!(["fogline-1", "fogline-2"]);
    let said = planned(&tools, &two, &hosts, SETTINGS);
    assert!(
        said.iter().any(|line| line.contains("2 broker nodes")),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|line| line.contains("fogline-3, which is not in")),
        "{said:?}"
    );
    for (from, to, expected) in [
        ("url = ", "path = ", "several hosts cannot share the file"),
        ("vY4-kq8", "changeme", "a placeholder"),
        ("/etc/fogline-broker", "/home/me/fogline", "broker.files_at"),
        (
            "name = \"fogline-2\"",
            "name = \"other\"",
            "no [[broker.node]] of that name",
        ),
        ("[api]", "[api", "cannot be read"),
    ] {
        let said = planned(&tools, &groups, &hosts, &SETTINGS.replace(from, to));
        assert!(
            said.iter().any(|line| line.contains(expected)),
            "{expected}: {said:?}"
        );
    }
}

#[test]
fn what_a_host_lacks_is_named() {
    let tools = need!(tools());
    let fine = json!({
        "skew_s": 1, "descriptors": 1_048_576, "needs_descriptors": 200_000, "taken": {}, "free_mb": 9000, "needs_mb": 4096,
        "folders": {}, "manager": "systemd",
    });
    let asked = |facts: &Value| {
        rule(
            &tools,
            "fogline_host_problems",
            &[facts.clone(), json!("h")],
        )
    };
    assert_eq!(asked(&fine), Vec::<String>::new());
    for (key, value, expected) in [
        ("skew_s", json!(-40), "the clock is -40 s off"),
        ("skew_s", json!(3600), "the clock is 3600 s off"),
        (
            "descriptors",
            json!(1024),
            "services may have 1024 descriptors; 200000 are needed",
        ),
        (
            "taken",
            json!({"8883": "mosquitto"}),
            "port 8883 is taken by mosquitto",
        ),
        ("free_mb", json!(100), "100 MB are free"),
        (
            "folders",
            json!({"/var/lib": "is no folder"}),
            "/var/lib is no folder",
        ),
        ("manager", json!("sysvinit"), "not systemd"),
    ] {
        let mut facts = fine.clone();
        facts[key] = value;
        let said = asked(&facts);
        assert!(said.len() == 1 && said[0].contains(expected), "{said:?}");
    }
}

#[test]
fn a_port_of_our_own_programs_is_not_taken() {
    let tools = need!(tools());
    let lines = json!([
        "LISTEN 0 4096 *:8883 *:* users:((\"nats-server\",pid=7,fd=9))",
        "LISTEN 0 100 127.0.0.1:1883 0.0.0.0:* users:((\"mosquitto\",pid=8,fd=5))",
        "LISTEN 0 128 [::]:22 [::]:* ",
    ]);
    let said = ask(
        &tools,
        &json!(["fogline_listeners", lines, ["nats-server"]]),
    );
    assert_eq!(said, json!({"1883": "mosquitto", "22": "somebody"}));
}

/// The inventory of a well-known guide, in which one address was a worker in one file and the balancer
/// in another: nothing is touched.
#[test]
fn an_inventory_with_an_address_twice_stops_the_playbook_before_any_host() {
    let tools = need!(tools());
    let home = tempfile::tempdir().unwrap();
    let inventory = root().join(FOLDER).join("inventories/example/hosts.yaml");
    let text = std::fs::read_to_string(inventory).unwrap();
    let broken = text.replace("192.0.2.41", "192.0.2.12");
    assert_ne!(text, broken);
    let file = home.path().join("hosts.yaml");
    std::fs::write(&file, broken).unwrap();
    std::fs::create_dir(home.path().join("fogline")).unwrap();
    std::fs::write(home.path().join("fogline/cloud.toml"), SETTINGS).unwrap();
    let mut play = ansible(&tools, "ansible-playbook", home.path());
    let output = play
        .args(["site.yaml", "--inventory"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(
        said.contains("192.0.2.12 is the address of entry-1 and of fogline-2"),
        "{said}"
    );
    assert!(
        !said.contains("What is known of a host only by asking"),
        "{said}"
    );
    assert!(!said.contains("unreachable=1"), "{said}");
}

#[test]
fn haproxy_takes_the_configuration_that_the_entry_is_given() {
    let tools = need!(tools());
    let haproxy = need!(program("haproxy"));
    let home = tempfile::tempdir().unwrap();
    let inventory = home.path().join("hosts.yaml");
    std::fs::copy(
        root().join(FOLDER).join("inventories/example/hosts.yaml"),
        &inventory,
    )
    .unwrap();
    std::fs::create_dir(home.path().join("fogline")).unwrap();
    std::fs::write(home.path().join("fogline/cloud.toml"), SETTINGS).unwrap();
    let into = home.path().join("haproxy.cfg");
    let mut play = ansible(&tools, "ansible-playbook", home.path());
    play.arg(root().join("tests/deploy/tools/entry.yaml"));
    play.arg("--inventory").arg(&inventory);
    play.args(["--extra-vars", &format!("into={}", into.display())]);
    let output = play.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let text = std::fs::read_to_string(&into).unwrap();
    let marker = |word: &str| word.starts_with('@') && word.ends_with('@') && word.len() > 2;
    assert!(!text.split_whitespace().any(marker), "{text}");
    for line in [
        "server fogline-2 192.0.2.12:8883 check",
        "server cloud-1 192.0.2.21:8443 check",
        "timeout client 300s",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // The authority is a file that HAProxy opens: any certificate does for a look at the words.
    let words = text.replace("ca-file /etc/haproxy/fogline-ca.pem", "ca-file @system-ca");
    std::fs::write(&into, words).unwrap();
    let output = Command::new(haproxy)
        .args(["-c", "-f"])
        .arg(&into)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
