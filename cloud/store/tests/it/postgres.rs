//! What only a server that several processes share can get wrong: each other's commits, a server that
//! dies or is promoted over, programs of different age.

use crate::kit::*;
use cloud_store::{Ingest as _, MaintainStep, Queries as _, Registry as _, Store, StoreError};
use cloud_store::{PostgresOptions, PostgresStore};
use protocols_model::{GatewayId, Lane, SeqRange, SeqSet};
use protocols_wire::{Dictionary, EnvelopeRecord};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests_postgres::{DATABASE, Server, Settings};

fn one(dict: &Dictionary, seq: u64) -> EnvelopeRecord {
    let time = seconds(NOW_S - 10_000 + i64::try_from(seq).unwrap());
    let body = telemetry(dict, vec![(0, vec![good(time, 1.5)])]);
    record(key(1, Lane::Telemetry, seq), body)
}

/// Every record of `settled` is there, and nothing twice.
async fn check(store: &dyn Store, settled: &BTreeMap<GatewayId, SeqSet>) {
    let mut names = BTreeMap::new();
    for series in store.series(None).await.unwrap() {
        names.insert(series.id, series.gateway);
    }
    let mut found: BTreeMap<GatewayId, SeqSet> = BTreeMap::new();
    for sample in export(store).await {
        let seq = sample.record.seq;
        let held = found.entry(names[&sample.series].clone()).or_default();
        assert!(!held.contains(seq), "{seq} is there twice");
        held.insert(SeqRange::one(seq).unwrap());
    }
    for (gateway, settled) in settled {
        for range in settled.ranges() {
            for seq in range.first()..=range.last() {
                assert!(found[gateway].contains(seq), "{gateway} {seq} is lost");
            }
        }
    }
}

/// Goes on while `done` has not come true; what never comes true fails the test.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_the_work_and_store_every_record_once() {
    let mut kit = PostgresKit::new();
    let stores = [kit.open(eager()), kit.open(eager())];
    let dict = floats(1);
    let mut gateways = Vec::new();
    for name in ["gw-1", "gw-2", "gw-3"] {
        gateways.push(enter(&*stores[0], name).await);
    }
    // Both take the same records, in groups that name the gateways in opposite orders.
    let mut running = Vec::new();
    for (nth, store) in stores.iter().enumerate() {
        let (store, dict) = (Arc::clone(store), dict.clone());
        let mut gateways = gateways.clone();
        if nth == 1 {
            gateways.reverse();
        }
        running.push(tokio::spawn(async move {
            let mut new = 0;
            for first in (1..60_u64).step_by(3) {
                let incoming = |gateway: &GatewayId| cloud_store::Incoming {
                    gateway: gateway.clone(),
                    received: now(),
                    records: (first..first + 3).map(|seq| one(&dict, seq)).collect(),
                    dictionaries: vec![dict.clone()],
                };
                let group = gateways.iter().map(incoming).collect();
                let settled = store.commit(group).await.unwrap();
                new += settled.iter().map(|settled| settled.readings).sum::<u64>();
                store.maintain(now()).await.unwrap();
            }
            new
        }));
    }
    let mut new = 0;
    for one in running {
        new += one.await.unwrap();
    }
    assert_eq!(new, 180, "each record was new to one of them");
    let all: SeqSet = [SeqRange::new(1, 60).unwrap()].into_iter().collect();
    let settled = gateways.iter().map(|gw| (gw.clone(), all.clone()));
    check(&*stores[1], &settled.collect()).await;
    for store in &stores {
        for gateway in &gateways {
            let counts = store.counts(gateway).await.unwrap();
            assert_eq!(counts[0].stored, 60);
            let latest = store.latest(gateway, None).await.unwrap();
            assert_eq!(latest[0].time, seconds(NOW_S - 10_000 + 60));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_hears_what_another_commits_and_one_maintains_at_a_time() {
    let mut kit = PostgresKit::new();
    let (here, there) = (kit.open(eager()), kit.open(eager()));
    let gw = enter(&*here, "gw-1").await;
    let dict = floats(1);
    let mut live = there.subscribe();
    send(&*here, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    let update = live.recv().await.unwrap();
    assert_eq!((&update.gateway, update.values.len()), (&gw, 1));
    assert_eq!(here.maintain(now()).await.unwrap(), MaintainStep::Worked);
    assert_eq!(there.maintain(now()).await.unwrap(), MaintainStep::Idle);
    maintain(&*here, now()).await;
    // What went into blocks in the other process counts here too.
    send(&*here, &gw, vec![], vec![one(&dict, 2)]).await;
    assert_eq!(there.counts(&gw).await.unwrap()[0].stored, 2);
    drop(here);
    until("the other maintains", async || {
        there.maintain(now()).await.unwrap() == MaintainStep::Worked
    })
    .await;
    assert_eq!(there.restored().await.unwrap(), there.generation());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_holds_an_office_until_it_resigns_or_falls_silent() {
    use cloud_store::{Office, Offices as _, PostgresOffices};
    let kit = PostgresKit::new();
    let open = || PostgresStore::open(kit.options(eager())).unwrap();
    let (one, two) = (
        PostgresOffices::new(open()).unwrap(),
        PostgresOffices::new(open()).unwrap(),
    );
    assert!(one.hold(Office::Tasks).await.unwrap());
    assert!(one.hold(Office::Tasks).await.unwrap(), "kept");
    assert!(!two.hold(Office::Tasks).await.unwrap());
    assert!(two.hold(Office::Sessions).await.unwrap(), "another office");
    one.resign(Office::Tasks).await.unwrap();
    assert!(two.hold(Office::Tasks).await.unwrap());
    one.resign(Office::Tasks).await.unwrap();
    assert!(
        !one.hold(Office::Tasks).await.unwrap(),
        "not one's own to give"
    );
    kit.sql("UPDATE office SET until = until - 16000");
    assert!(one.hold(Office::Tasks).await.unwrap());
}

fn options(servers: &[&Server]) -> PostgresOptions {
    let ports: Vec<String> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port()))
        .collect();
    let url = format!("postgres://fogline@{}/{DATABASE}", ports.join(","));
    PostgresOptions {
        password_file: Some(servers[0].password_file()),
        limits: eager(),
        writers: 1,
        readers: 1,
        ..PostgresOptions::new(&url)
    }
}

/// Commits one record after the other until told to stop; what was settled.
fn commit_on(
    store: Arc<PostgresStore>,
    gw: GatewayId,
    stop: tokio::sync::watch::Receiver<bool>,
) -> tokio::task::JoinHandle<SeqSet> {
    tokio::spawn(async move {
        let dict = floats(1);
        let mut settled = SeqSet::new();
        let mut seq = 1;
        while !*stop.borrow() {
            let incoming = cloud_store::Incoming {
                gateway: gw.clone(),
                received: now(),
                records: vec![one(&dict, seq)],
                dictionaries: vec![dict.clone()],
            };
            match store.commit(vec![incoming]).await {
                Ok(answer) => {
                    settled.union(&answer[0].items[0].stored);
                    seq += 1;
                }
                // Offered again, as ingest does: whether it took effect is unknown.
                Err(StoreError::Database { .. } | StoreError::Open { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
        settled
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_during_commits_loses_and_doubles_nothing() {
    let mut server = Server::start().unwrap();
    let store = Arc::new(PostgresStore::open(options(&[&server])).unwrap());
    let gw = enter(&*store, "gw-1").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = commit_on(Arc::clone(&store), gw.clone(), stopped);
    for round in 1..=3_u64 {
        until("some are stored", async || {
            let counts = store.counts(&gw).await.unwrap_or_default();
            counts.iter().any(|count| count.stored >= round * 20)
        })
        .await;
        server.kill().unwrap();
        server.restart().unwrap();
    }
    until("it goes on", async || store.counts(&gw).await.is_ok()).await;
    stop.send(true).unwrap();
    let settled = running.await.unwrap();
    assert!(settled.count() >= 60);
    check(&*store, &BTreeMap::from([(gw, settled)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_has_all_that_was_settled_and_the_old_primary_is_refused() {
    let mut primary = Server::start().unwrap();
    let standby = primary.standby("b").unwrap();
    primary.wait_for("b").unwrap();
    let both = options(&[&primary, &standby]);
    let store = Arc::new(PostgresStore::open(both).unwrap());
    let gw = enter(&*store, "gw-1").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = commit_on(Arc::clone(&store), gw.clone(), stopped);
    let stored = async |least: u64| {
        let counts = store.counts(&gw).await.unwrap_or_default();
        counts.iter().any(|count| count.stored >= least)
    };
    until("some are stored", async || stored(20).await).await;
    primary.kill().unwrap();
    standby.promote().unwrap();
    until("the new primary stores", async || stored(40).await).await;
    // The old one comes back as if nothing had happened: nobody may listen to it.
    primary.restart().unwrap();
    until("it goes on", async || stored(60).await).await;
    stop.send(true).unwrap();
    let settled = running.await.unwrap();
    check(&*store, &BTreeMap::from([(gw.clone(), settled)])).await;
    drop(standby);
    let mut refused = String::new();
    until("the old primary is refused", async || {
        let Err(why) = store.gateway(&gw).await else {
            return false;
        };
        refused = why.to_string();
        refused.contains("promoted over")
    })
    .await;
}

#[test]
fn a_database_one_expansion_ahead_is_used_and_one_that_shuts_us_out_is_not() {
    let kit = PostgresKit::new();
    drop(PostgresStore::open(kit.options(eager())).unwrap());
    kit.sql("ALTER TABLE gateway ADD COLUMN of_a_newer_program BIGINT NOT NULL DEFAULT 0");
    kit.sql("UPDATE fogline_schema SET version = version + 1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = PostgresStore::open(kit.options(eager())).unwrap();
        let gw = enter(&store, "gw-1").await;
        let dict = floats(1);
        send(&store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
        maintain(&store, now()).await;
        assert_eq!(export(&store).await.len(), 1);
    });
    kit.sql("UPDATE fogline_schema SET survives = version");
    let error = PostgresStore::open(kit.options(eager())).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}

#[test]
fn a_server_that_cannot_be_used_is_named_with_what_to_do() {
    let kit = PostgresKit::new();
    let refused = |change: fn(&mut PostgresOptions), what: &str| {
        let mut options = kit.options(eager());
        change(&mut options);
        let error = PostgresStore::open(options).unwrap_err();
        let text = format!("{error} {:?}", error.source().map(ToString::to_string));
        assert!(text.contains(what), "{text}");
    };
    refused(|options| options.password_file = None, "password");
    refused(
        |options| options.password_file = Some("/nowhere/at/all".into()),
        "/nowhere/at/all",
    );
    refused(|options| options.url.push_str("_other"), "CREATE DATABASE");
    refused(
        |options| options.url.push_str("?sslmode=verify-full"),
        "root_certificate",
    );
    refused(
        |options| options.url = "postgres://fogline@127.0.0.1:1/x".to_owned(),
        "cannot be reached",
    );
}

#[test]
fn tls_verifies_the_server_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = Server::start_with(Settings {
        tls: Some(tests_postgres::Tls {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            client_authority: None,
        }),
        ..Settings::default()
    })
    .unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, made.cert.pem()).unwrap();
    let open = |host: &str| {
        let url = format!(
            "postgres://fogline@{host}:{}/{DATABASE}?sslmode=verify-full",
            server.port()
        );
        PostgresStore::open(PostgresOptions {
            password_file: Some(server.password_file()),
            root_certificate: Some(root.clone()),
            writers: 1,
            readers: 1,
            ..PostgresOptions::new(&url)
        })
    };
    let store = open("localhost").unwrap();
    let encrypted = "SELECT count(*) > 0 AND bool_and(s.ssl) FROM pg_stat_ssl s
        JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'fogline'";
    assert_eq!(server.psql(DATABASE, encrypted).unwrap(), "t");
    drop(store);
    assert!(
        open("127.0.0.1").is_err(),
        "the certificate names another host"
    );
}
