//! What an operator does, and what must hold while they do it.

use crate::gateway::{Gateway, envelope};
use crate::site::{DEADLINE, Site, wait};
use rumqttc::Packet;
use std::time::{Duration, Instant};

#[test]
fn from_an_empty_folder_to_a_stored_reading_and_through_kills_without_a_duplicate() {
    let mut site = Site::start();
    site.ok(&["gateway", "add", "plant-1", "--note", "boiler house"]);
    assert!(site.ok(&["gateway", "list"]).contains("boiler house"));
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    let first = envelope(1, [1.5, 2.5]);
    gateway.publish(first.clone());
    assert_eq!(gateway.settled(), 1);

    // Killed right after it vouched for the record: it is there, and sent again it is no second.
    site.kill_cloud();
    site.start_cloud();
    gateway.publish(first);
    assert_eq!(gateway.settled(), 1);
    site.kill_broker();
    site.start_broker();
    let mut back = None;
    wait("the gateway gets in again", || {
        back = Gateway::connect(&site, "plant-1").ok();
        back.is_some()
    });
    let mut gateway = back.unwrap();
    wait("ready again", || site.status("/readyz") == Some(200));
    gateway.publish(envelope(2, [3.5, 4.5]));
    assert_eq!(gateway.settled(), 1);

    let readings = site.export("--readings");
    let values: Vec<f64> = readings
        .iter()
        .map(|r| r["value"].as_f64().unwrap())
        .collect();
    let mut sorted = values;
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [1.5, 2.5, 3.5, 4.5]);
    assert_eq!(readings[0]["epoch"], "0000000000000009");
    assert_eq!(readings[0]["quality"], "good");
    let counts = site.export("--counts");
    assert_eq!(
        (&counts[0]["stored"], &counts[0]["filtered"]),
        (&4.into(), &6.into())
    );
    assert!(site.export("--ledger").is_empty());
    let csv = site.ok(&["export", "--readings", "--format", "csv"]);
    assert_eq!(csv.lines().count(), 5);

    let token = std::fs::read_to_string(site.path("metrics-token")).unwrap();
    let header = format!("authorization: Bearer {}\r\n", token.trim());
    let metrics = site.get("/metrics", &header).unwrap();
    assert!(
        metrics.contains("fogline_ingest_readings_total"),
        "{metrics}"
    );
    let (code, took) = site.terminate_cloud();
    assert_eq!(code, Some(0));
    assert!(took < DEADLINE / 2, "{took:?}");
}

#[test]
fn revoking_cuts_the_live_session_and_keeps_it_out() {
    let site = Site::start();
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    let cut = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let end = gateway.until(|packet| matches!(packet, Packet::Disconnect));
            assert!(end.is_err());
            Instant::now()
        });
        let begin = Instant::now();
        assert!(
            site.ok(&["gateway", "revoke", "plant-1"])
                .contains("is revoked")
        );
        watcher.join().unwrap().saturating_duration_since(begin)
    });
    // At once, that is not by any timer. How soon is measured where the machine's own pauses are known.
    assert!(cut < DEADLINE / 4, "{cut:?}");
    assert!(Gateway::connect(&site, "plant-1").is_err());
    assert!(
        site.ok(&["gateway", "revoke", "plant-1"])
            .contains("was revoked before")
    );
    let again = site.run(&["gateway", "add", "plant-1"]);
    assert!(!again.status.success(), "an id is never given twice");
}

#[test]
fn what_a_revoked_gateway_left_in_the_broker_is_refused() {
    let mut site = Site::start();
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    gateway.publish(envelope(1, [1.0, 2.0]));
    assert_eq!(gateway.settled(), 1);
    site.kill_cloud();
    gateway.publish(envelope(2, [3.0, 4.0]));
    let taken = gateway.until(|packet| matches!(packet, Packet::PubAck(_)));
    assert!(taken.is_ok(), "the broker keeps it: {taken:?}");
    site.ok(&["gateway", "revoke", "plant-1"]);
    site.start_cloud();
    let token = std::fs::read_to_string(site.path("metrics-token")).unwrap();
    let header = format!("authorization: Bearer {}\r\n", token.trim());
    wait("it is refused", || {
        let metrics = site.get("/metrics", &header).unwrap_or_default();
        metrics.contains("fogline_ingest_refused_ranges_total 1")
    });
    assert_eq!(site.export("--readings").len(), 2);
}

#[test]
fn a_locked_database_delays_acknowledgements_and_loses_nothing() {
    let site = Site::start();
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    gateway.publish(envelope(1, [1.0, 2.0]));
    assert_eq!(gateway.settled(), 1);
    let lock = rusqlite::Connection::open(site.path("data/fogline.db")).unwrap();
    lock.busy_timeout(DEADLINE).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    gateway.publish(envelope(2, [3.0, 4.0]));
    assert!(gateway.hears_nothing_for(Duration::from_secs(2)));
    lock.execute_batch("ROLLBACK").unwrap();
    let begin = Instant::now();
    assert_eq!(gateway.settled(), 1);
    assert!(begin.elapsed() < DEADLINE);
    assert_eq!(site.export("--readings").len(), 4);
}

#[test]
fn a_database_put_back_from_a_backup_tells_the_gateways_so() {
    let mut site = Site::start();
    site.ok(&["gateway", "add", "plant-1"]);
    let mut gateway = Gateway::connect(&site, "plant-1").unwrap();
    gateway.publish(envelope(1, [1.0, 2.0]));
    let before = gateway.acknowledged().generation;
    let served = site.run(&["database", "restored"]);
    let error = String::from_utf8_lossy(&served.stderr).into_owned();
    assert!(
        !served.status.success() && error.contains("stop the services first"),
        "{error}"
    );
    site.kill_cloud();
    site.ok(&["database", "restored"]);
    site.start_cloud();
    gateway.publish(envelope(1, [1.0, 2.0]));
    assert_ne!(gateway.acknowledged().generation, before);
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let site = Site::start();
    for (arguments, said) in [
        (
            &["gateway", "show", "nobody"][..],
            "there is no gateway nobody",
        ),
        (&["gateway", "revoke", "nobody"], "does not exist"),
        (
            &["gateway", "add", "a", "--server", "mqtt://x"],
            "mqtts://host:port",
        ),
        (&["ca", "init"], "exists already"),
        (&["broker", "init"], "exists already"),
        (&["run"], "in use by another process"),
        (&["user", "reset", "nobody"], "does not exist"),
    ] {
        let output = site.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    site.ok(&["broker", "config"]);
    site.ok(&["broker", "certificate"]);
    site.ok(&["api", "certificate"]);
    assert!(site.ok(&["user", "reset"]).contains("one-time password"));
    assert!(site.ok(&["quarantine", "list"]).is_empty());
}
