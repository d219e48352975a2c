//! Clocks: who says that the wall clock is right, and what becomes of runs that never knew.

use crate::config;
use crate::meter::Meter;
use crate::rig::{Gateway, Rig};
use serde_json::Value;

/// A gateway whose clock is right while the file `right` is there.
fn rig(meter: &Meter) -> Rig {
    let named = "[gateway]\nclock_file = \"right\"\n";
    Rig::new(&config(meter).replace("[gateway]\n", named))
}

fn stop(rig: &Rig, mut gateway: Gateway) {
    gateway.signal("TERM");
    assert_eq!(gateway.end(rig), Some(0));
}

/// The boot that runs.
fn boot(rig: &Rig) -> String {
    rig.told()["boot"].as_str().unwrap().to_owned()
}

/// Time maps in the spool, by boot: UTC of its begin and uncertainty, nanoseconds.
fn maps(rig: &Rig) -> Vec<(String, i64, u64)> {
    let export = rig.output(&["spool", "export", "--config", "gateway.toml"]);
    let text = String::from_utf8(export.stdout).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let maps = records.filter_map(|record| {
        let map = record.get("time_map")?;
        let boot = map["boot"].as_str()?.to_owned();
        Some((
            boot,
            map["origin_ns"].as_i64()?,
            map["uncertainty_ns"].as_u64()?,
        ))
    });
    maps.collect()
}

#[test]
fn runs_that_never_knew_the_time_are_placed_by_the_first_that_does() {
    let meter = Meter::start();
    let rig = rig(&meter);
    let mut unknown = Vec::new();
    for _ in 0..2 {
        let gateway = rig.start();
        rig.wait("it reads", || rig.number("/pipeline/taken") > 4);
        assert_eq!(rig.told()["time"]["synced"], false);
        unknown.push(boot(&rig));
        stop(&rig, gateway);
    }
    assert_eq!(maps(&rig), [], "nobody knows yet");

    let gateway = rig.start();
    let known = boot(&rig);
    rig.write("right", "");
    rig.wait("the clock is right", || {
        let told = rig.told();
        told["time"]["synced"] == true && !told["time"]["placed_within_ms"].is_null()
    });
    assert_eq!(rig.told()["time"]["services"][0]["right"], true);
    let status = rig.output(&["status", "--config", "gateway.toml"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("clock    right, says "), "{status}");
    let watch = rig.output(&[
        "watch",
        "--config",
        "gateway.toml",
        "--once",
        "--pane",
        "time",
    ]);
    let watch = String::from_utf8(watch.stdout).unwrap();
    assert!(watch.contains("yes, says "), "{watch}");
    stop(&rig, gateway);

    let maps = maps(&rig);
    let boots: Vec<_> = maps.iter().map(|(boot, ..)| boot.clone()).collect();
    assert_eq!(boots, [vec![known], unknown].concat());
    let begun: Vec<i64> = maps.iter().map(|(_, origin, _)| *origin).collect();
    assert!(
        begun[1] < begun[2] && begun[2] < begun[0],
        "in the order they ran: {begun:?}"
    );
    // One kernel all the time: nothing is guessed.
    assert!(
        maps.iter().all(|(_, _, off)| *off < 10_000_000_000),
        "{maps:?}"
    );

    // The next run has nothing to add for them.
    let gateway = rig.start();
    rig.wait("the clock is right", || {
        !rig.told()["time"]["placed_within_ms"].is_null()
    });
    stop(&rig, gateway);
    assert_eq!(self::maps(&rig).len(), 4);
}
