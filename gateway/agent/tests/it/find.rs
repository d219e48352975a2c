//! The tools that find out, against simulated devices: read, write, probe, explain, config.

use crate::rig::{Gateway, Rig};
use serde_json::Value;
use std::process::Output;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A running simulator that wrote `gateway.toml`, whose state is put into the rig's folder.
fn simulate(rig: &Rig, what: &[&str]) -> Gateway {
    std::fs::remove_file(rig.path("gateway.toml")).unwrap();
    let arguments = [&["sim"], what, &["--print-config=printed.toml"]].concat();
    let simulator = rig.spawn(&arguments, "sim.out");
    rig.wait("the configuration is written", || {
        rig.path("printed.toml").exists()
    });
    let printed = std::fs::read_to_string(rig.path("printed.toml")).unwrap();
    let own: Vec<_> = printed
        .lines()
        .map(|line| {
            if line.starts_with("state_dir") {
                "state_dir = \"state\""
            } else {
                line
            }
        })
        .collect();
    rig.write("gateway.toml", &own.join("\n"));
    simulator
}

fn meter() -> (Rig, Gateway, String) {
    let rig = Rig::new("");
    let simulator = simulate(&rig, &["modbus-tcp", "--units", "2"]);
    let config = std::fs::read_to_string(rig.path("gateway.toml")).unwrap();
    let line = config
        .lines()
        .find(|line| line.starts_with("addr"))
        .unwrap();
    let addr = line.split('"').nth(1).unwrap().to_owned();
    (rig, simulator, addr)
}

/// One JSON object a line.
fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn read_shows_points_of_a_configuration_and_registers_of_any_device() {
    let (rig, _simulator, addr) = meter();
    let all = rig.output(&["read", "--config", "gateway.toml"]);
    assert_eq!(all.status.code(), Some(0), "{}", text(&all));
    assert!(text(&all).contains("meter1/limit   16 A"), "{}", text(&all));
    let some = rig.output(&["read", "--config", "gateway.toml", "*/limit", "--json"]);
    let names: Vec<_> = objects(&some)
        .iter()
        .map(|object| object["device"].clone())
        .collect();
    assert_eq!(names, ["meter1", "meter2"]);
    let any = rig.output(&[
        "read", "--tcp", &addr, "--unit", "2", "hr:10", "--as", "u16", "--json",
    ]);
    assert_eq!(objects(&any)[0]["value"], 16, "{}", text(&any));
    let float = rig.output(&[
        "read", "--tcp", &addr, "ir:0", "--as", "f32", "--count", "2", "--json",
    ]);
    assert_eq!(objects(&float).len(), 2, "{}", text(&float));
    let unknown = rig.output(&["read", "--config", "gateway.toml", "meter9/x"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("meter1/u_l1"), "{}", text(&unknown));
}

#[test]
fn a_bus_that_cannot_be_reached_says_why() {
    let rig = Rig::new("");
    let output = rig.output(&["read", "--tcp", "127.0.0.1:1", "hr:0", "--wait", "2s"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(
        said.contains("bad: link-down") && said.contains("refused"),
        "{said}"
    );
}

#[test]
fn write_asks_first_reads_back_and_goes_through_the_gateway_that_runs() {
    let (rig, _simulator, addr) = meter();
    let write = |arguments: &[&str]| rig.output(&[&["write"], arguments].concat());
    let config = ["--config", "gateway.toml"];
    let asked = write(&[&config[..], &["meter1/limit=20"]].concat());
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked).contains("--yes"), "{}", text(&asked));
    let done = write(&[&config[..], &["meter1/limit=20", "--yes"]].concat());
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let any = write(&["--tcp", &addr, "--unit", "2", "hr:10=21", "--yes", "--json"]);
    assert_eq!(objects(&any)[0]["read_back"], 21, "{}", text(&any));
    for (assignment, why) in [
        ("meter1/u_l1=1", "not writable"),
        ("meter1/limit=x", "not a value of type u64"),
        ("meter1/nothing=1", "no point"),
        ("meter1/limit", "POINT=VALUE"),
    ] {
        let refused = write(&[&config[..], &[assignment, "--yes"]].concat());
        assert_eq!(refused.status.code(), Some(1), "{assignment}");
        assert!(
            text(&refused).contains(why),
            "{assignment}: {}",
            text(&refused)
        );
    }

    let mut gateway = rig.start();
    let through = write(&[&config[..], &["meter1/limit=25", "--yes"]].concat());
    assert_eq!(through.status.code(), Some(0), "{}", text(&through));
    assert!(rig.log().contains("a person at the machine writes"));
    let refused = write(&[&config[..], &["meter1/u_l1=1", "--yes"]].concat());
    assert!(
        text(&refused).contains("not writable"),
        "{}",
        text(&refused)
    );
    let door = std::fs::metadata(rig.path("state/control.sock")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&door.permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else may write");
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
    let read = rig.output(&["read", "--config", "gateway.toml", "*/limit", "--json"]);
    let values: Vec<_> = objects(&read)
        .iter()
        .map(|object| object["value"].clone())
        .collect();
    assert_eq!(values, [25, 21]);
}

#[test]
fn probe_modbus_finds_units_and_the_line_for_what_a_display_shows() {
    let (rig, _simulator, addr) = meter();
    let bus = ["probe", "modbus", "--tcp", &addr, "--timeout", "5s"];
    let units = rig.output(&[&bus[..], &["--units", "1-2", "--json"]].concat());
    assert_eq!(units.status.code(), Some(0), "{}", text(&units));
    let found: Vec<_> = objects(&units)
        .iter()
        .map(|object| object["unit"].clone())
        .collect();
    assert_eq!(found, [1, 2]);
    let look = [
        "--unit", "1", "--range", "hr:0..12", "--times", "2", "--every", "10ms",
    ];
    let shown = rig.output(&[&bus[..], &look, &["--expect", "16"]].concat());
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    assert!(
        text(&shown).contains("{ id = \"value\", at = \"hr:10\", as = \"u16\" },"),
        "{}",
        text(&shown)
    );
    let side = rig.output(&[&bus[..], &look, &["--json"]].concat());
    assert!(objects(&side).len() > 10, "{}", text(&side));
    let nothing = rig.output(&[&bus[..], &look, &["--expect", "987654.3"]].concat());
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        text(&nothing).contains("nothing in the range"),
        "{}",
        text(&nothing)
    );
}

#[test]
fn a_port_that_a_gateway_holds_is_named_with_its_holder_and_a_remedy() {
    let rig = Rig::new("");
    let _simulator = simulate(
        &rig,
        &["modbus-rtu", "--link", "bus0", "--line", "19200 8E1"],
    );
    let mut gateway = rig.start();
    rig.wait("it reads the line", || {
        rig.number("/readings/taken") > 0 || rig.log().contains("bus opened")
    });
    for command in [
        &["read", "--config", "gateway.toml"][..],
        &["probe", "modbus", "--rtu", "bus0", "--units", "1-1"],
        &["probe", "serial", "bus0"],
    ] {
        let output = rig.output(command);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{command:?}: {}",
            text(&output)
        );
        let said = text(&output);
        assert!(
            said.contains("held by fogline-gatewa") && said.contains("stop it first"),
            "{said}"
        );
    }
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
    let read = rig.output(&["read", "--config", "gateway.toml"]);
    assert_eq!(read.status.code(), Some(0), "{}", text(&read));
}

#[test]
fn probe_serial_guesses_a_scale_and_its_lines_are_a_configuration() {
    let rig = Rig::new("");
    let _simulator = simulate(
        &rig,
        &["serial", "scale", "--link", "scale", "--every", "100ms"],
    );
    let mut output = None;
    // A machine that stands still may hear too little the first time.
    rig.wait("the scale is recognised", || {
        let found = rig.output(&[
            "probe", "serial", "scale", "--line", "9600 8N1", "--for", "2s",
        ]);
        let recognised = text(&found).contains("frame = 'line'");
        output = Some(found);
        recognised
    });
    let said = text(&output.unwrap());
    assert!(said.contains("ST,GS"), "{said}");
    let lines = said.split("for the configuration:\n").nth(1).unwrap();
    rig.write(
        "found.toml",
        &format!("schema = 1\n[gateway]\nid = \"gw\"\n{lines}"),
    );
    let check = rig.output(&["check", "found.toml"]);
    assert_eq!(check.status.code(), Some(0), "{said}\n{}", text(&check));
}

#[test]
fn explain_shows_requests_bus_load_and_volume_and_check_the_sums() {
    let (rig, _simulator, _) = meter();
    let explain = rig.output(&["explain", "gateway.toml"]);
    assert_eq!(explain.status.code(), Some(0), "{}", text(&explain));
    for part in [
        "% of the bus",
        "ir:0..5 (6): u_l1 i_l1 p_sum",
        "may be written: limit relay",
        "a day to the cloud",
    ] {
        assert!(
            text(&explain).contains(part),
            "{part} is not in\n{}",
            text(&explain)
        );
    }
    let check = rig.output(&["check", "gateway.toml"]);
    assert!(text(&check).contains("bus bus: cycle "), "{}", text(&check));
    let json = rig.output(&["explain", "gateway.toml", "--format", "json"]);
    assert!(objects(&json)[0]["buses"][0]["share"].as_f64().unwrap() > 0.0);
    rig.write("broken.toml", "schema = 1\n");
    let broken = rig.output(&["explain", "broken.toml"]);
    assert_eq!(broken.status.code(), Some(3));
    assert!(text(&broken).ends_with("1 error\n"), "{}", text(&broken));
}

#[test]
fn the_reference_and_the_schemas_are_printed() {
    let rig = Rig::new("");
    let reference = text(&rig.output(&["config", "reference"]));
    assert!(reference.contains("| `addr` |"), "{reference}");
    for arguments in [
        &["config", "schema"][..],
        &["config", "schema", "--template"],
    ] {
        let schema: Value = serde_json::from_slice(&rig.output(arguments).stdout).unwrap();
        assert!(schema["$defs"].is_object());
    }
}

#[test]
fn every_tool_has_help_with_examples() {
    let rig = Rig::new("");
    for tool in [
        &["read"][..],
        &["write"],
        &["probe", "modbus"],
        &["probe", "serial"],
        &["scan", "ble"],
    ] {
        let help = text(&rig.output(&[tool, &["--help"]].concat()));
        assert!(
            help.contains("Examples:\n  fogline-gateway "),
            "{tool:?}: {help}"
        );
    }
}

#[test]
fn scan_ble_shows_who_is_heard_with_values_and_read_takes_their_points() {
    let rig = Rig::new("");
    let _simulator = simulate(&rig, &["ble", "--bus-dir", "air"]);
    let printed = std::fs::read_to_string(rig.path("gateway.toml")).unwrap();
    let bus = printed.split("DBUS_SYSTEM_BUS_ADDRESS=").nth(1).unwrap();
    let bus = bus.split_whitespace().next().unwrap();
    let air = [("DBUS_SYSTEM_BUS_ADDRESS", bus)];
    let mut found = Vec::new();
    rig.wait("both sensors are heard", || {
        let scan = rig.output_with(&["scan", "ble", "--for", "3s", "--json"], &air);
        found = objects(&scan);
        found.len() == 2
    });
    let values = |format: &str| {
        let mut said = found
            .iter()
            .map(|device| &device["formats"][format]["values"]);
        said.find(|values| values.is_object()).cloned().unwrap()
    };
    assert!(values("bthome")["temperature"].is_number());
    assert_eq!(values("ruuvi")["pressure"], 101_300);
    let read = rig.output_with(&["read", "--config", "gateway.toml", "--wait", "60s"], &air);
    assert_eq!(read.status.code(), Some(0), "{}", text(&read));
    let none = [("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")];
    let deaf = rig.output_with(&["scan", "ble", "--for", "1s"], &none);
    assert_eq!(deaf.status.code(), Some(1));
    assert!(text(&deaf).contains("bluetoothd"), "{}", text(&deaf));
}
