//! check, status and spool, as people use them.

use crate::config;
use crate::meter::Meter;
use crate::rig::Rig;
use std::process::Output;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const IDENTITY: &str = "gateway = \"gw-1\"\nservers = [\"mqtts://127.0.0.1:1\"]\nca = \"\"\"\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n\"\"\"\ncertificate = \"\"\"\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n\"\"\"\nkey = \"\"\"\n-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n\"\"\"\n";

#[test]
fn check_tells_every_problem_with_its_place_and_exits_three() {
    let rig = Rig::new("schema = 1\n[gateway]\nid = \"GW\"\nstate_dirr = \"x\"\n");
    let output = rig.output(&["check", "gateway.toml"]);
    assert_eq!(output.status.code(), Some(3));
    let found = text(&output);
    for part in [
        "gateway.toml:3:6",
        "gateway.toml:4:1",
        "did you mean `state_dir`?",
        "2 errors",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
    let json = rig.output(&["check", "--config", "gateway.toml", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().len(), 2);
}

#[test]
fn check_looks_into_the_identity_file_and_never_shows_it() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let missing = rig.output(&["check", "gateway.toml"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing).contains("identity.toml"));
    rig.write("identity.toml", IDENTITY);
    let fine = rig.output(&["check", "gateway.toml"]);
    assert_eq!(fine.status.code(), Some(0), "{}", text(&fine));
    assert!(
        text(&fine).contains("chmod 600"),
        "its key is readable by others"
    );
    assert!(text(&fine).contains("gateway gw-1, buses 1, devices 1, points 2, 20.0 readings/s"));
    rig.write("identity.toml", &IDENTITY.replace("gw-1", "gw-2"));
    let other = rig.output(&["check", "gateway.toml"]);
    assert_eq!(other.status.code(), Some(3));
    assert!(text(&other).contains("identity of gw-2") && !text(&other).contains("AA=="));
}

#[test]
fn status_works_with_no_gateway_and_no_valid_configuration() {
    let rig = Rig::new("this is not TOML");
    let output = rig.output(&["status", "--config", "gateway.toml"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output).contains("no gateway is running"),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains("fogline-gateway check gateway.toml"));
    let nothing = rig.output(&[
        "status",
        "--config",
        "missing.toml",
        "--state-dir",
        "nowhere",
    ]);
    assert_eq!(nothing.status.code(), Some(4));
}

#[test]
fn run_without_any_usable_configuration_says_why_and_exits_three() {
    let rig = Rig::new("schema = 1\n");
    let output = rig.output(&["run", "--config", "gateway.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("`gateway` is missing"));
}

#[test]
fn a_wrong_command_line_exits_two_and_help_shows_examples() {
    let rig = Rig::new("");
    assert_eq!(rig.output(&["stat"]).status.code(), Some(2));
    let help = text(&rig.output(&["--help"]));
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}

#[test]
fn an_identity_that_is_put_right_starts_the_uplink_without_a_restart() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    let no_identity = || {
        let status = rig.told();
        status
            .pointer("/uplink/no_identity")
            .unwrap()
            .as_bool()
            .unwrap()
    };
    assert!(no_identity());
    rig.write("identity.toml", IDENTITY);
    rig.wait("the uplink starts", || !no_identity());
}

#[test]
fn health_and_metrics_are_served_on_loopback_and_nothing_else_is() {
    use std::io::{Read, Write};
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    let address = std::fs::read_to_string(rig.path("state/http.addr")).unwrap();
    let get = |request: &str| {
        let mut stream = std::net::TcpStream::connect(address.trim()).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let metrics = get("GET /metrics");
    for name in [
        "fogline_pipeline_readings_taken_total",
        "fogline_bus_requests_total{bus=\"plc\"}",
        "fogline_device_up{bus=\"plc\",device=\"m1\"}",
        "fogline_spool_live_bytes",
        "fogline_uplink_connected 0",
        "fogline_process_resident_memory_bytes",
        "# EOF",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    // Without an identity it cannot report: that is not healthy.
    assert!(get("GET /health").starts_with("HTTP/1.1 503"));
    assert!(get("GET /other").starts_with("HTTP/1.1 404"));
    assert!(get("POST /health").starts_with("HTTP/1.1 405"));
}

#[test]
fn a_second_gateway_on_the_same_state_directory_is_refused_and_the_first_goes_on() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    let second = rig.output(&["run", "--config", "gateway.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second).contains("another gateway (pid "),
        "{}",
        text(&second)
    );
    let answers = meter.answers();
    rig.wait("the first polls", || meter.answers() > answers + 5);
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
}

#[test]
fn the_spool_of_a_stopped_gateway_can_be_counted_verified_and_exported() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let spool = |what: &str| rig.output(&["spool", what, "--config", "gateway.toml"]);
    let none = spool("stat");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("holds no spool"), "{}", text(&none));

    let mut gateway = rig.start();
    rig.wait("records", || rig.number("/spool/records") >= 5);
    let running = spool("stat");
    assert_eq!(running.status.code(), Some(1));
    assert!(text(&running).contains("in use"), "{}", text(&running));
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));

    let stat = spool("stat");
    assert_eq!(stat.status.code(), Some(0), "{}", text(&stat));
    assert!(text(&stat).contains("stopped cleanly") && text(&stat).contains("telemetry"));
    let good = spool("verify");
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(text(&good).contains("all good"));
    let export = spool("export");
    assert_eq!(export.status.code(), Some(0));
    let export = text(&export);
    assert!(export.lines().all(|line| line.starts_with('{')));
    assert!(export.contains("\"m1\""), "{export}");

    let to_file = [
        "spool",
        "export",
        "--config",
        "gateway.toml",
        "--output",
        "out.jsonl",
    ];
    assert_eq!(rig.output(&to_file).status.code(), Some(0));
    assert_eq!(
        std::fs::read_to_string(rig.path("out.jsonl")).unwrap(),
        export
    );
    let again = rig.output(&to_file);
    assert_eq!(again.status.code(), Some(1), "an existing file is kept");
}

#[test]
fn spool_plan_answers_for_a_few_numbers_and_for_a_configuration() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    rig.write("identity.toml", IDENTITY);
    let ask = |more: &[&str]| rig.output(&[&["spool", "plan"], more].concat());
    let numbers = ["--points", "500", "--every", "1s", "--max", "64MiB"];
    let human = ask(&numbers);
    assert!(human.status.success(), "{}", text(&human));
    for part in ["500 readings a second", "every reading", "hours", "days"] {
        assert!(text(&human).contains(part), "{part}: {}", text(&human));
    }
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(output)))
    };
    let alone = json(&ask(&[&numbers[..], &["--json"]].concat()));
    assert!(alone["every_reading_hours"].as_f64().unwrap() > 1.0);
    assert_eq!(alone["when_full"], "thin");
    let own = json(&ask(&["--config", "gateway.toml", "--json"]));
    assert_eq!(own["points"], 2.0);
    assert_eq!(own["readings_per_s"], 20.0);
    let larger = [
        "--config",
        "gateway.toml",
        "--max",
        "256MiB",
        "--max-write",
        "1MiB/day",
    ];
    let larger = json(&ask(&[&larger[..], &["--json"]].concat()));
    let hours = |plan: &serde_json::Value| plan["every_reading_hours"].as_f64().unwrap();
    assert!(hours(&larger) > hours(&own));
    assert_eq!(larger["within_max_write"], false);
    for (wrong, says) in [
        (&["--max", "64MiB"][..], "--config"),
        (&["--points", "0"], "points"),
        (&["--points", "5", "--max", "1KiB"], "at least"),
        (&["--points", "5", "--max-write", "5MiB"], "256MiB/day"),
        (&["--config", "absent.toml"], "absent.toml"),
    ] {
        let refused = ask(wrong);
        assert!(!refused.status.success(), "{wrong:?}");
        assert!(
            text(&refused).contains(says),
            "{wrong:?}: {}",
            text(&refused)
        );
    }
}
