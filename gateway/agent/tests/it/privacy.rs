//! Canary values through everything a gateway writes, shows and sends: none of them comes out.

use crate::plant::Plant;
use crate::rig::{Gateway, Rig};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What must not come out anywhere: values in every form they could be printed in, texts, names.
const CANARIES: [&str; 9] = [
    "7361948.25",
    "7361948",
    "8213377",
    "47.318274",
    "8.549162",
    "BADGE-4711-QX",
    "canary-dropped",
    "canary-group",
    "6120931",
];

fn config(plant: &Plant) -> String {
    format!(
        r#"schema = 1
[gateway]
id = "gw-1"
state_dir = "state"
[bus.b]
kind = "modbus-tcp"
addr = "127.0.0.1:{}"
[device.site]
bus = "b"
unit = 1
timeout = "3s"
groups = {{ fast = "100ms" }}
points = [
  {{ id = "canary-dropped", at = "hr:0", as = "f64" }},
  {{ id = "weight", at = "hr:4", as = "f64", report = {{ abs = 0.01 }} }},
  {{ id = "lat", at = "hr:8", as = "f64" }},
  {{ id = "lon", at = "hr:12", as = "f64" }},
  {{ id = "badge", at = "hr:16", as = "string", len = 8 }},
  {{ id = "canary-group", at = "hr:24", as = "f64" }},
  {{ id = "when", at = "hr:28", as = "f64" }},
  {{ id = "open", at = "hr:40" }},
  {{ id = "display", at = "hr:1000", as = "f64", write = true, verify = true }},
]
[filter.all]
match = "site/w*"
do = [ {{ swing = {{ error = 0.001, beat = "1s" }} }} ]
[filter.group]
match = "site/canary-group"
do = [ {{ window = {{ size = "1s", agg = ["mean", "count"], name = "x" }} }} ]
[derive.twice]
value = "site.weight * 2"
[rule.heavy]
when = "site.weight > 1000 && site.canary-dropped > 0 && site.open > 0"
alarm = {{ level = "low", text = "too heavy" }}
event = "weighed"
write = [ {{ point = "site/display", expr = "site.canary-dropped" }} ]
capture = {{ points = "site/*", for = "1m" }}
[privacy.cloud]
drop = ["site/canary-dropped", "site/display", "site/canary-group_*"]
round = {{ "site/weight" = 100000, "derived/*" = 1000000 }}
place = {{ latitude = "site/lat", longitude = "site/lon", cell = "50km" }}
pseudonymise = {{ match = "site/badge", key = "file:pseudo", rotate = "30d" }}
time = {{ "site/when" = "1h" }}
[privacy.groups]
aggregate_only = {{ match = "site/canary-group", min_group = 3 }}
[privacy.clock]
round = {{ "site/when" = 1000000 }}
[uplink.cloud]
identity = "identity.toml"
batch_age = {{ live = "100ms", offline = "200ms" }}
[spool]
max = "16MiB"
commit = "200ms"
[log]
level = "trace"
"#,
        plant.port
    )
}

fn plant() -> Plant {
    let plant = Plant::start();
    plant.set_f64(0, 7_361_948.250_917);
    plant.set_f64(4, 8_213_377.125_5);
    plant.set_f64(8, 47.318_274);
    plant.set_f64(12, 8.549_162);
    plant.set_text(16, "BADGE-4711-QX");
    plant.set_f64(24, 6_120_931.5);
    plant.set_f64(28, 6_120_931.25);
    plant.set(40, 1);
    plant
}

/// Every file below `folder`, the programs' own input left out.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            // The configuration itself, and the copy of it that the gateway falls back to.
            let own = ["gateway.toml", "last-good.json", "pseudo"];
            if path.is_dir() {
                folders.push(path);
            } else if !own.iter().any(|own| name.ends_with(own))
                && let Ok(content) = std::fs::read(&path)
            {
                found.push((name, content));
            }
        }
    }
    found
}

fn assert_clean(what: &str, content: &[u8], canaries: &[&str]) {
    let text = String::from_utf8_lossy(content);
    for canary in canaries {
        let found = text.find(canary);
        let around = found.map(|at| {
            let from = text.floor_char_boundary(at.saturating_sub(200));
            let to = text.ceil_char_boundary((at + 200).min(text.len()));
            text.get(from..to).unwrap_or_default().to_owned()
        });
        assert!(found.is_none(), "{canary} in {what}: …{}…", around.unwrap());
    }
}

fn http(rig: &Rig, path: &str) -> Vec<u8> {
    use std::io::{Read, Write};
    let address = std::fs::read_to_string(rig.path("state/http.addr")).unwrap();
    let mut stream = std::net::TcpStream::connect(address.trim()).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 "), "{path}");
    answer
}

/// What a gateway may live through: rules that fire and end, a kill, a refused and a good configuration.
/// The gateway, and what its endpoint showed.
fn live(rig: &Rig, plant: &Plant, good: &str) -> (Gateway, [Vec<u8>; 3]) {
    let mut gateway = rig.start();
    // It does not stay there: what reading back gives is told to nobody either.
    rig.wait("the rule wrote what it computed", || plant.forgotten() > 0);
    rig.wait("it is told", || {
        rig.log().contains("reading back gave something else")
    });
    rig.wait("records are on disk", || {
        rig.number("/spool/counters/commits") >= 3
    });
    plant.set(40, 0);
    let before = rig.number("/pipeline/taken");
    rig.wait("the rule ends", || {
        rig.number("/pipeline/taken") > before + 60
    });
    plant.set(40, 1);
    gateway.signal("KILL");
    assert_eq!(gateway.end(rig), None);
    let gateway = rig.start();
    let before = rig.number("/pipeline/taken");
    rig.wait("it reads again", || {
        rig.number("/pipeline/taken") > before + 60
    });
    // A configuration whose mistake quotes a name that must not leave.
    let broken = good.replace(
        "when = \"site.weight",
        "when = \"site.canary-droppedd > 0 && site.weight",
    );
    assert_ne!(broken, good);
    rig.write("gateway.toml", &broken);
    gateway.signal("HUP");
    rig.wait("it is refused", || {
        rig.status()
            .is_some_and(|s| s.pointer("/config/refused").is_some_and(|r| r.is_string()))
    });
    rig.write("gateway.toml", good);
    gateway.signal("HUP");
    rig.wait("the good one runs", || {
        rig.status().is_some_and(|s| {
            s.pointer("/config/refused")
                .is_some_and(serde_json::Value::is_null)
        })
    });
    let shown = [
        http(rig, "/metrics"),
        http(rig, "/status"),
        http(rig, "/health"),
    ];
    (gateway, shown)
}

#[test]
fn no_canary_comes_out_of_a_gateway_whatever_happens_to_it() {
    let plant = plant();
    let good = config(&plant);
    let rig = Rig::new(&good);
    rig.write("pseudo", &"5a".repeat(32));
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(rig.path("pseudo"), mode).unwrap();
    let check = rig.output(&["explain", "--privacy", "gateway.toml"]);
    let explained = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success(),
        "{explained}{}",
        String::from_utf8_lossy(&check.stderr)
    );

    let (mut gateway, shown) = live(&rig, &plant, &good);
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());

    for shown in shown {
        assert_clean("what the endpoint shows", &shown, &CANARIES);
    }
    for (name, content) in files(rig.folder.path()) {
        assert_clean(&name, &content, &CANARIES);
    }
    let export = rig.output(&["spool", "export", "--config", "gateway.toml"]);
    assert!(export.status.success());
    assert_clean("the records", &export.stdout, &CANARIES);
    // The search finds what does leave, in the form that was promised.
    let text = String::from_utf8_lossy(&export.stdout).into_owned();
    for leaves in [
        "8200000",
        "16000000",
        "too heavy",
        "\"badge\"",
        "refused, the old one goes on",
    ] {
        assert!(text.contains(leaves), "{leaves} in {text}");
    }
    for (field, says) in [
        ("site/weight", "rounded to multiples of 100000"),
        ("site/lat", "middle of a cell"),
        ("site/badge", "keyed pseudonym"),
        ("site/canary-dropped", "dropped"),
        ("site/canary-group ", "only in aggregates"),
    ] {
        let line = explained.lines().find(|line| line.contains(field));
        assert!(
            line.is_some_and(|line| line.contains(says)),
            "{field}: {explained}"
        );
    }
}
