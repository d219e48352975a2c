//! `sim` as a newcomer uses it: served, its configuration pasted into a gateway, faults switched, ended.

use crate::rig::{Gateway, Rig};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Output;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A running simulator that listens for words on `sim.sock`, and wrote `gateway.toml`.
fn start(rig: &Rig, what: &[&str]) -> Gateway {
    std::fs::remove_file(rig.path("gateway.toml")).unwrap();
    let arguments = [
        &["sim"],
        what,
        &[
            "--print-config=gateway.toml",
            "--control",
            "sim.sock",
            "--json",
            "--events",
        ],
    ];
    let simulator = rig.spawn(&arguments.concat(), "sim.json");
    rig.wait("the configuration is written", || {
        rig.path("gateway.toml").exists()
    });
    rig.wait("it listens for words", || rig.path("sim.sock").exists());
    simulator
}

/// Says words to the simulator; what it answers.
fn word(rig: &Rig, line: &str) -> String {
    let mut answer = String::new();
    rig.wait(line, || {
        let Ok(mut stream) = UnixStream::connect(rig.path("sim.sock")) else {
            return false;
        };
        writeln!(stream, "{line}").unwrap();
        BufReader::new(stream)
            .read_line(&mut answer)
            .is_ok_and(|read| read > 0)
    });
    answer
}

/// The lines of JSON that the simulator has printed.
fn printed(rig: &Rig, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(rig.path("sim.json")).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

fn state(rig: &Rig, device: &str) -> Option<String> {
    let status = rig.status()?;
    let buses = status.get("buses")?.as_array()?.clone();
    let mut devices = buses
        .iter()
        .filter_map(|bus| bus["devices"].as_array())
        .flatten();
    let found = devices.find(|found| found["id"] == device)?;
    Some(found["state"].as_str()?.to_owned())
}

#[test]
fn the_printed_configuration_of_a_quick_form_gives_values_at_once() {
    for what in [
        &["modbus-tcp", "--units", "2"][..],
        &[
            "modbus-rtu",
            "--link",
            "./bus0",
            "--baud",
            "115200",
            "--units",
            "2",
        ],
        &["modbus-rtu-over-tcp"],
    ] {
        let rig = Rig::new("");
        let mut simulator = start(&rig, what);
        let check = rig.output(&["check", "gateway.toml"]);
        assert!(text(&check).contains("buses 1,"), "{}", text(&check));
        let mut gateway = rig.start();
        rig.wait("every device is up", || {
            state(&rig, "meter1").as_deref() == Some("up")
        });
        rig.wait("readings", || rig.number("/pipeline/taken") > 20);
        let read = printed(&rig, "read");
        assert!(
            read.iter().any(|line| line["points"][0]["point"] == "u_l1"),
            "{what:?}"
        );
        gateway.signal("TERM");
        assert_eq!(gateway.end(&rig), Some(0));
        simulator.signal("TERM");
        assert_eq!(simulator.end(&rig), Some(0));
        assert!(!rig.path("bus0").is_symlink() && !rig.path("sim.sock").exists());
        assert_eq!(printed(&rig, "ended").len(), 1);
    }
}

#[test]
fn each_serial_device_is_read_by_the_configuration_that_is_printed_for_it() {
    for (device, point) in [
        ("scale", "weight"),
        ("nmea", "lat"),
        ("scpi", "volt"),
        ("binary", "temperature"),
    ] {
        let rig = Rig::new("");
        let link = ["serial", device, "--link", "port"];
        let every = if device == "scpi" {
            &[][..]
        } else {
            &["--every", "200ms"]
        };
        let mut simulator = start(&rig, &[&link[..], every].concat());
        let configuration = std::fs::read_to_string(rig.path("gateway.toml")).unwrap();
        assert!(
            configuration.contains(&format!("id = \"{point}\"")),
            "{configuration}"
        );
        let mut gateway = rig.start();
        rig.wait("good readings", || {
            rig.number("/pipeline/taken") > rig.number("/pipeline/not_good") + 3
        });
        gateway.signal("TERM");
        assert_eq!(gateway.end(&rig), Some(0));
        simulator.signal("INT");
        assert_eq!(simulator.end(&rig), Some(0));
        assert!(!rig.path("port").is_symlink());
    }
}

#[test]
fn words_switch_faults_while_it_runs_and_a_wrong_one_is_answered() {
    let rig = Rig::new("");
    let mut simulator = start(&rig, &["modbus-tcp"]);
    let mut gateway = rig.start();
    rig.wait("it is up", || {
        state(&rig, "meter1").as_deref() == Some("up")
    });
    assert_eq!(word(&rig, "meter1 silent").trim(), "meter1: silent");
    rig.wait("its silence is noticed", || {
        state(&rig, "meter1").as_deref() != Some("up")
    });
    assert!(word(&rig, "meter1 slient").contains("is no fault; use one of silent"));
    assert!(word(&rig, "meter9 silent").contains("there are bus, meter1"));
    assert_eq!(word(&rig, "meter1 ok").trim(), "meter1: ok");
    rig.wait("it is back", || {
        state(&rig, "meter1").as_deref() == Some("up")
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
    word(&rig, "quit");
    assert_eq!(simulator.end(&rig), Some(0));
}

#[test]
fn the_example_serves_everything_and_its_configuration_has_no_errors() {
    let rig = Rig::new("");
    let example = rig.output(&["sim", "example"]);
    rig.write("site.toml", &text(&example));
    let mut simulator = start(&rig, &["--file", "site.toml"]);
    let check = rig.output(&["check", "gateway.toml"]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    let serving = printed(&rig, "serving");
    assert_eq!(serving[0]["buses"].as_array().unwrap().len(), 7);
    let bus = serving[0]["ble"]["bus"].as_str().unwrap().to_owned();
    assert_eq!(serving[0]["ble"]["sensors"].as_array().unwrap().len(), 2);
    let mut gateway = rig.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus)]);
    for device in [
        "meter1",
        "pump1",
        "pump2",
        "scale",
        "gps",
        "multimeter",
        "climate",
        "cellar",
        "roof",
    ] {
        rig.wait(device, || state(&rig, device).as_deref() == Some("up"));
    }
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
    simulator.signal("TERM");
    assert_eq!(simulator.end(&rig), Some(0));
    for link in ["bus0", "scale", "gps", "multimeter", "climate", "own"] {
        assert!(!rig.path(link).is_symlink(), "{link} is left behind");
    }
}

#[test]
fn what_cannot_be_served_is_refused_with_what_can() {
    let rig = Rig::new("");
    rig.write("empty.toml", "");
    rig.write("wrong.toml", "[bus.b]\nkind = \"modbus-rtu\"\n");
    rig.write("typo.toml", "[device.m]\nbus = \"b\"\nunit = 1\npoints = [ { id = \"a\", at = \"hr:0\", value = { sin = {} } } ]\n");
    for (arguments, part) in [
        (&["sim", "--json"][..], "say what to serve"),
        (&["sim", "--file", "none.toml"], "sim example"),
        (&["sim", "--file", "empty.toml"], "the site is empty"),
        (
            &["sim", "--file", "wrong.toml"],
            "bus.b: a line needs a `link`",
        ),
        (
            &["sim", "--file", "typo.toml"],
            "expected one of `ramp`, `sine`",
        ),
        (
            &["sim", "modbus-tcp", "--listen", "192.0.2.1:502"],
            "listening on 192.0.2.1:502",
        ),
    ] {
        let output = rig.output(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let found = text(&output);
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
    let help = text(&rig.output(&["sim", "--help"]));
    assert!(help.contains("Examples:") && help.contains("modbus-rtu"));
}
