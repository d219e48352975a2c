//! The worked examples of the guide, each run as it stands there, on a plant of its own.

use crate::plant::Plant;
use crate::rig::Rig;
use std::path::Path;
use std::time::{Duration, Instant};

/// The complete example of this gateway, on `plant`, its long times made short.
fn example(id: &str, plant: &Plant, short: &[(&str, &str)]) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/README.md");
    let text = std::fs::read_to_string(page).unwrap();
    let mut blocks = text.split("```toml\n").skip(1);
    let wanted = format!("id = \"{id}\"\n");
    let block = blocks.find(|block| block.contains(&wanted)).unwrap();
    let block = block.split("```").next().unwrap();
    let mut config = block
        .replace(&wanted, &format!("{wanted}state_dir = \"state\"\n[gateway.defaults]\ntimeout = \"3s\"\ngroups = {{ fast = \"100ms\" }}\n"))
        .replace("10.0.7.20:502", &format!("127.0.0.1:{}", plant.port));
    for (long, short) in short {
        assert!(config.contains(long), "{long}");
        config = config.replace(long, short);
    }
    config + "[spool]\nmax = \"16MiB\"\ncommit = \"200ms\"\n"
}

fn alarm(rig: &Rig, name: &str) -> Option<String> {
    let status = rig.status()?;
    let mut alarms = status.pointer("/alarms")?.as_array()?.iter();
    let alarm = alarms.find(|alarm| alarm.get("name").is_some_and(|n| n == name));
    Some(
        alarm
            .map_or("normal", |alarm| alarm["state"].as_str().unwrap())
            .to_owned(),
    )
}

#[test]
fn the_energy_meter_sheds_a_load_at_a_peak_and_gives_it_back() {
    let plant = Plant::start();
    let short = [
        ("for = \"30s\"", "for = \"300ms\""),
        ("clear_for = \"5m\"", "clear_for = \"300ms\""),
        ("size = \"15m\"", "size = \"1s\""),
    ];
    let rig = Rig::new(&example("switchroom", &plant, &short));
    // Both units answer alike: each feeder takes 26 kW.
    plant.set_input(1, 26_000);
    plant.set_coil(0, true);
    let mut gateway = rig.start();
    rig.wait("the load is shed", || !plant.coil(0));
    rig.wait("the alarm is raised", || {
        alarm(&rig, "peak").as_deref() == Some("raised")
    });
    plant.set_input(1, 10_000);
    rig.wait("the load is back", || plant.coil(0));
    rig.wait("the alarm is gone", || {
        alarm(&rig, "peak").as_deref() == Some("normal")
    });
    assert_eq!(plant.written(), [(0, false), (0, true)]);
    // Windows of a second: in three seconds with readings one has closed, whatever the machine does.
    let (begun, before) = (Instant::now(), rig.number("/pipeline/taken"));
    rig.wait("a window closes", || {
        begun.elapsed() > Duration::from_secs(3) && rig.number("/pipeline/taken") > before + 50
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
    let export = rig.output(&["spool", "export", "--config", "gateway.toml"]);
    let export = String::from_utf8_lossy(&export.stdout).into_owned();
    assert!(
        export.contains("power_max") && export.contains("total"),
        "{export}"
    );
}

#[test]
fn the_cold_store_raises_its_alarm_and_cools_when_it_is_blind() {
    let plant = Plant::start();
    let short = [
        ("for = \"10m\"", "for = \"500ms\""),
        ("bad_after = \"1m\"", "bad_after = \"2s\""),
    ];
    let rig = Rig::new(&example("cold-store", &plant, &short));
    // -22.0 °C.
    plant.set_input(0, -220);
    let _gateway = rig.start();
    rig.wait("it reads", || rig.number("/pipeline/taken") > 20);
    plant.set_input(0, -150);
    rig.wait("it cools", || plant.coil(0));
    rig.wait("the alarm is raised", || {
        alarm(&rig, "warm").as_deref() == Some("raised")
    });
    plant.set_input(0, -210);
    rig.wait("it has cooled", || !plant.coil(0));
    rig.wait("somebody has to say so", || {
        alarm(&rig, "warm").as_deref() == Some("returned")
    });
    // A sensor that says what cannot be is blind.
    plant.set_input(0, 5000);
    rig.wait("it cools again", || plant.coil(0));
    // A start that took long was blind too; what came last is what counts.
    assert!(
        plant
            .written()
            .ends_with(&[(0, true), (0, false), (0, true)])
    );
}

#[test]
fn the_pump_starts_only_with_an_open_valve_and_stops_when_it_would_run_dry() {
    let plant = Plant::start();
    let short = [
        ("for = \"2s\"", "for = \"300ms\""),
        ("clear_for = \"1m\"", "clear_for = \"300ms\""),
    ];
    let rig = Rig::new(&example("pump-house", &plant, &short));
    // 1.2 bar, a tank that is a fifth full, and the valve is closed.
    plant.set_input(0, 120);
    plant.set_input(1, 200);
    let _gateway = rig.start();
    rig.wait("the interlock is told", || {
        rig.log().contains("interlock keeps it from writing")
    });
    assert!(!plant.coil(0));
    plant.set_discrete(0, true);
    rig.wait("it runs", || plant.coil(0));
    // 20 of 100 % lies half-way between 100 and 40: 80 %.
    rig.wait("at its speed", || plant.register(0) == 800);
    plant.set_input(0, 10);
    rig.wait("it stops", || !plant.coil(0));
    rig.wait("the alarm is raised", || {
        alarm(&rig, "dry").as_deref() == Some("raised")
    });
}
