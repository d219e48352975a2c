//! Start, polling, crash, reload, stop.

use crate::config;
use crate::meter::Meter;
use crate::rig::Rig;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const TAKEN: &str = "/pipeline/taken";

#[test]
fn without_a_broker_it_polls_and_spools_and_a_kill_costs_nothing_that_was_durable() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    rig.wait("records are spooled", || rig.number("/spool/records") >= 5);
    let status = rig.told();
    let count = |name: &str| {
        status
            .pointer(&format!("/pipeline/{name}"))
            .unwrap()
            .as_u64()
            .unwrap()
    };
    assert_eq!(count("taken"), count("kept") + count("filtered"));
    assert!(count("filtered") > 0, "the deadband filters");
    assert_eq!(status.pointer("/buses/0/devices/0/state").unwrap(), "up");
    let epoch = status.pointer("/spool/epoch").unwrap().clone();
    rig.wait("commits", || rig.number("/spool/counters/commits") >= 2);
    gateway.signal("KILL");
    assert_eq!(gateway.end(&rig), None);

    let mut gateway = rig.start();
    let status = rig.told();
    assert_ne!(
        status.pointer("/spool/epoch"),
        Some(&epoch),
        "an epoch is never given twice"
    );
    let held = status.pointer("/spool/records").unwrap().as_u64().unwrap();
    assert!(held >= 3, "what was durable is still there: {held}");
    let before = rig.number(TAKEN);
    rig.wait("it polls again", || rig.number(TAKEN) > before);
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
}

#[test]
fn a_termination_signal_stops_it_cleanly_well_within_the_deadlines() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    rig.wait("readings", || rig.number(TAKEN) >= 10);
    let start = Instant::now();
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
    assert!(start.elapsed() < Duration::from_secs(24));
    assert!(!rig.path("state/http.addr").exists());
    assert!(rig.path("state/last-report.json").exists());
}

#[test]
fn a_broken_file_at_reload_changes_nothing_and_a_good_one_is_swapped_in() {
    let meter = Meter::start();
    let good = config(&meter);
    let rig = Rig::new(&good);
    let mut gateway = rig.start();
    let revision = rig.told().pointer("/config/revision").unwrap().clone();

    rig.write("gateway.toml", &good.replace("unit = 1", "unit = 999"));
    gateway.signal("HUP");
    rig.wait("the refusal is shown", || {
        rig.status()
            .is_some_and(|s| s.pointer("/config/refused").is_some_and(|r| r.is_string()))
    });
    let status = rig.told();
    assert_eq!(status.pointer("/config/revision"), Some(&revision));
    let answers = meter.answers();
    rig.wait("it goes on polling", || meter.answers() > answers + 5);

    let point = "points = [\n  { id = \"c\", at = \"hr:7\" },";
    rig.write("gateway.toml", &good.replace("points = [", point));
    gateway.signal("HUP");
    rig.wait("the third point runs", || rig.number("/config/points") == 3);
    let status = rig.told();
    assert!(status.pointer("/config/refused").unwrap().is_null());
    let before = rig.number(TAKEN);
    rig.wait("it polls", || rig.number(TAKEN) > before + 10);
    let totals = rig.told();
    let count = |name: &str| {
        totals
            .pointer(&format!("/pipeline/{name}"))
            .unwrap()
            .as_u64()
            .unwrap()
    };
    assert_eq!(count("taken"), count("kept") + count("filtered"));

    rig.write("gateway.toml", &good.replace("gw-1", "gw-2"));
    gateway.signal("HUP");
    rig.wait("what needs a restart is told", || {
        rig.status().is_some_and(|s| {
            s.pointer("/config/refused")
                .unwrap()
                .as_str()
                .is_some_and(|r| r.contains("gateway.id"))
        })
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
}

#[test]
fn with_a_broken_file_at_the_start_the_last_good_configuration_runs() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    rig.wait("the configuration is kept", || {
        rig.path("state/last-good.json").exists()
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));

    rig.write(
        "gateway.toml",
        &config(&meter).replace("[device.m1]", "[devise.m1]\nbus = 7"),
    );
    let mut gateway = rig.start();
    let status = rig.told();
    assert_eq!(status.pointer("/config/last_good").unwrap(), true);
    rig.wait("it polls", || rig.number(TAKEN) > 10);

    rig.write(
        "gateway.toml",
        &config(&meter).replace("abs = 5", "abs = 6"),
    );
    gateway.signal("HUP");
    rig.wait("the mended file runs", || {
        let status = rig.status();
        status.is_some_and(|s| s.pointer("/config/last_good") == Some(&false.into()))
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
}

#[test]
fn a_configuration_that_says_nothing_any_more_or_is_gone_does_not_keep_it_from_coming_up() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let mut gateway = rig.start();
    rig.wait("the configuration is kept", || {
        rig.path("state/last-good.json").exists()
    });
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));

    // What a power cut leaves of a file that was being written; then not even that.
    for broken in [Some(""), Some("\0\0\0\0"), Some("schema = 1\n[gate"), None] {
        match broken {
            Some(text) => rig.write("gateway.toml", text),
            None => std::fs::remove_file(rig.path("gateway.toml")).unwrap(),
        }
        let mut gateway = rig.start();
        let status = rig.told();
        assert_eq!(status.pointer("/config/last_good").unwrap(), true);
        rig.wait("it polls", || rig.number(TAKEN) > 10);
        gateway.signal("TERM");
        assert_eq!(gateway.end(&rig), Some(0));
    }
}

#[test]
fn a_spool_that_is_garbage_does_not_keep_it_from_coming_up() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    std::fs::create_dir_all(rig.path("state/spool")).unwrap();
    rig.write("state/spool/CURRENT", "\0\0\0garbage");
    rig.write("state/spool/tally", "more garbage");
    let mut gateway = rig.start();
    rig.wait("it polls", || rig.number(TAKEN) > 10);
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0));
}

#[test]
fn an_idle_gateway_with_the_spool_open_stays_small() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let _gateway = rig.start();
    rig.wait("readings", || rig.number(TAKEN) >= 50);
    let resident = rig.number("/process/resident_peak_bytes");
    assert!(
        resident > 0 && resident < 30 << 20,
        "{resident} bytes in a debug build"
    );
}

#[test]
fn systemd_hears_that_it_is_ready_of_progress_and_that_it_stops() {
    let meter = Meter::start();
    let rig = Rig::new(&config(&meter));
    let path = rig.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "300000"),
    ];
    let mut gateway = rig.start_with(&environment);
    let mut heard = String::new();
    let mut hear = |what: &str| {
        rig.wait(what, || {
            let mut buffer = [0; 512];
            while let Ok(length) = socket.recv(&mut buffer) {
                heard += &String::from_utf8_lossy(&buffer[..length]);
                heard.push('\n');
            }
            heard.contains(what)
        });
        heard.clear();
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    gateway.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(gateway.end(&rig), Some(0));
}

#[test]
fn a_device_that_does_not_answer_is_shown_as_down_and_its_silence_is_spooled() {
    let meter = Meter::start();
    let text = config(&meter)
        + "[bus.dead]\nkind = \"modbus-tcp\"\naddr = \"127.0.0.1:1\"\n\
        [device.m2]\nbus = \"dead\"\nunit = 1\npoints = [ { id = \"a\", at = \"hr:0\", report = { abs = 0 } } ]\n";
    let rig = Rig::new(&text);
    let mut gateway = rig.start();
    rig.wait("the device is down", || {
        rig.status()
            .is_some_and(|s| s.pointer("/buses/1/devices/0/state").unwrap() == "down")
    });
    rig.wait("its silence is a reading", || {
        rig.number("/pipeline/not_good") > 0
    });
    assert_eq!(
        rig.told().pointer("/buses/0/devices/0/state").unwrap(),
        "up"
    );
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
}

#[test]
fn a_gateway_with_nothing_to_read_stays_up_and_takes_up_what_comes() {
    let meter = Meter::start();
    let good = config(&meter);
    let (head, field) = good.split_once("[bus.").unwrap();
    let (_, tail) = field.split_once("[uplink.").unwrap();
    let nothing = format!("{head}[uplink.{tail}");
    let rig = Rig::new(&nothing);
    let mut gateway = rig.start();
    rig.write("gateway.toml", &good);
    gateway.signal("HUP");
    rig.wait("it reads", || rig.number(TAKEN) >= 3);
    rig.write("gateway.toml", &nothing);
    gateway.signal("HUP");
    rig.wait("it reads nothing", || {
        rig.status()
            .is_some_and(|s| s.pointer("/config/points") == Some(&0.into()))
    });
    assert!(!rig.log().contains("-0.0"), "{}", rig.log());
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
}
