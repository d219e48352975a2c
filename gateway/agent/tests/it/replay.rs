//! A plant recorded, configurations tried on it, and the plant played again.

use crate::plant::{Plant, cellar};
use crate::recording::{let_it_be_read, record, told};
use crate::rig::Rig;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

/// The cellar alone, with more behind it.
fn config(plant: &Plant, more: &str) -> String {
    cellar(plant.port, more)
}

const OLD: &str = r#"
[rule.hot]
when = "cellar.temperature > 30"
alarm = { level = "high", text = "cellar hot" }
[privacy.staff]
drop = "cellar/door"
"#;

/// Another limit, another rule, a filter, and the door is nobody's secret any more.
const NEW: &str = r#"
[filter.air]
match = "cellar/temperature"
do = [ { deadband = { abs = 0.5 } } ]
[rule.hot]
when = "cellar.temperature > 40"
alarm = { level = "high", text = "cellar hot" }
[rule.cold]
when = "cellar.temperature < 29.2"
alarm = { level = "low", text = "cellar cold" }
"#;

fn replay(rig: &Rig, config: &str, more: &[&str]) -> Output {
    let arguments = [&["replay", "--config", config, "--data", "plant.rec"], more];
    rig.output(&arguments.concat())
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of<'a>(all: &'a Value, key: &str, name: &str) -> &'a Value {
    let found = all.as_array().unwrap().iter().find(|one| one[key] == name);
    assert!(found.is_some(), "no {name} in {all}");
    found.unwrap()
}

#[test]
fn a_changed_configuration_is_tried_on_what_a_plant_did_and_the_plant_is_played_again() {
    let plant = Plant::start();
    plant.set(0, 290);
    let rig = Rig::new(&config(&plant, OLD));
    let mut gateway = rig.start();
    let mut recorder = record(&rig, "plant.rec");
    for temperature in [293, 295, 298, 310, 295] {
        plant.set(0, temperature);
        let_it_be_read(&rig, "plant.rec");
    }
    recorder.signal("INT");
    assert_eq!(recorder.end(&rig), Some(0));
    let told = told(&rig);
    assert_eq!(told["ended"], "interrupted");
    assert_eq!(told["missed"], 0);
    assert!(told["readings"].as_u64().unwrap() > 50, "{told}");
    for entry in std::fs::read_dir(rig.path("plant.rec")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "raw readings are their owner's");
    }
    let again = rig.output(&["record", "--config", "gateway.toml", "--out", "plant.rec"]);
    assert_eq!(again.status.code(), Some(1), "not over an older one");

    // Tried beside itself nothing changes; the alarm was as it was.
    let same = json(&replay(&rig, "gateway.toml", &["--against", "--json"]));
    assert_eq!(same["recording"]["readings"], told["readings"]);
    assert_eq!(same["difference"]["alarms"], Value::Array(Vec::new()));
    assert_eq!(of(&same["tried"]["rules"], "name", "hot")["fired"], 1);
    let temperature = of(&same["tried"]["points"], "point", "cellar/temperature");
    assert_eq!(temperature["error"], 0.0);
    assert_eq!(temperature["sent"], temperature["taken"]);

    rig.write("new.toml", &config(&plant, NEW));
    let new = json(&replay(&rig, "new.toml", &["--against", "--json"]));
    let difference = &new["difference"];
    let hot = of(&difference["alarms"], "name", "hot");
    assert_eq!(
        (&hot["before"], &hot["after"]),
        (&Value::from(1), &Value::from(0))
    );
    let cold = of(&difference["alarms"], "name", "cold");
    assert_eq!(
        (&cold["before"], &cold["after"]),
        (&Value::from(0), &Value::from(1))
    );
    assert_eq!(difference["leaves_now"][0], "cellar/door");
    let temperature = of(&new["tried"]["points"], "point", "cellar/temperature");
    let error = temperature["error"].as_f64().unwrap();
    assert!(error > 0.1 && error <= 0.5 + 1e-9, "{temperature}");
    assert!(temperature["sent"].as_u64() < temperature["taken"].as_u64());
    let text = replay(&rig, "new.toml", &["--against"]);
    let text = String::from_utf8(text.stdout).unwrap();
    for part in [
        "hot vanishes: it was raised once",
        "cold appears: raised once",
        "cellar/door leaves: as it is",
        "within 0.5 of the last sent value",
        "readings a day",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let wrong = config(
        &plant,
        &NEW.replace("cellar.temperature", "cellar.temprature"),
    );
    rig.write("wrong.toml", &wrong);
    assert_eq!(replay(&rig, "wrong.toml", &[]).status.code(), Some(3));
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());

    play_it_again(&rig);
}

/// The plant is gone; its recording takes its place, private points and all.
fn play_it_again(rig: &Rig) {
    let arguments = [
        "sim",
        "recording",
        "plant.rec",
        "--print-config=rehearsal.toml",
    ];
    let _played = rig.spawn(&arguments, "sim.out");
    rig.wait("it is played", || rig.path("rehearsal.toml").exists());
    let values = ["29.0", "29.3", "29.5", "29.8", "31.0", "29,", "31,"];
    rig.wait("it is read", || {
        let read = rig.output(&["read", "--config", "rehearsal.toml", "--json"]);
        let read = String::from_utf8(read.stdout).unwrap();
        read.contains("door") && values.iter().any(|value| read.contains(value))
    });
}

#[test]
fn a_recording_goes_on_under_another_configuration_and_ends_with_the_gateway() {
    let plant = Plant::start();
    plant.set(0, 290);
    let rig = Rig::new(&config(&plant, ""));
    let mut gateway = rig.start();
    let mut recorder = record(&rig, "plant.rec");
    let_it_be_read(&rig, "plant.rec");
    // One recording at a time; whoever comes second hears why.
    let second = rig.output(&["record", "--config", "gateway.toml", "--out", "other.rec"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("one recording at a time"), "{said}");
    let more = config(&plant, "").replace("id = \"door\"", "id = \"hatch\"");
    rig.write("gateway.toml", &more);
    gateway.signal("HUP");
    rig.wait("the other configuration is recorded", || {
        let replayed = replay(&rig, "gateway.toml", &["--json"]);
        let replayed: Value = serde_json::from_slice(&replayed.stdout).unwrap_or_default();
        let points = replayed["tried"]["points"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let taken = |point: &Value| point["taken"].as_u64().unwrap_or(0) > 0;
        points.len() == 2 && points.iter().all(taken)
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
    assert_eq!(recorder.end(&rig), Some(1));
    assert_eq!(told(&rig)["ended"], "gateway ended");
    let replayed = json(&replay(&rig, "gateway.toml", &["--json"]));
    assert_eq!(replayed["tried"]["missing"][0], "cellar/door");
    let nobody = rig.output(&["record", "--config", "gateway.toml", "--out", "other.rec"]);
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("no gateway runs"), "{said}");
}
