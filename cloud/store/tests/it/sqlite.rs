//! What only a database file can get wrong: opening it, sharing it, and the record that the
//! database itself refuses.

use crate::kit::*;
use cloud_store::{
    Accounts, Ingest, Maintain, Queries, Registry, SqliteOptions, SqliteStore, StoreError,
};
use protocols_model::{Lane, RefuseReason};
use protocols_wire::{Body, Event, EventKind};
use std::error::Error;

fn open(path: &std::path::Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions::default())
}

#[test]
fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    std::fs::write(&path, vec![b'x'; 50_000]).unwrap();
    let error = open(&path).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("store.db") && text.contains("not a SQLite database"),
        "{text}"
    );
    assert!(error.source().is_some());
    assert_eq!(
        std::fs::read(&path).unwrap().len(),
        50_000,
        "nothing was overwritten"
    );
}

#[test]
fn a_database_of_another_program_or_of_a_newer_one_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    let conn = rusqlite::Connection::open(&foreign).unwrap();
    conn.execute_batch("CREATE TABLE songs (title TEXT)")
        .unwrap();
    drop(conn);
    assert!(
        open(&foreign)
            .unwrap_err()
            .to_string()
            .contains("another program")
    );

    let newer = folder.path().join("newer.db");
    drop(open(&newer).unwrap());
    let conn = rusqlite::Connection::open(&newer).unwrap();
    conn.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(conn);
    let options = SqliteOptions::default();
    let error = SqliteStore::open_beside(&newer, options).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 999, .. }),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("no/such/store.db")).unwrap_err();
    assert!(error.to_string().contains("folder must exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_serves_and_another_may_use_the_registry_beside_it() {
    let kit = SqliteKit::new();
    let serving = open_when_free(&kit.path(), eager());
    assert!(matches!(open(&kit.path()), Err(StoreError::InUse { .. })));
    let beside = SqliteStore::open_beside(&kit.path(), SqliteOptions::default()).unwrap();
    let gw = enter(&beside, "gw-1").await;
    assert!(serving.gateway(&gw).await.unwrap().is_some());
    let dict = floats(1);
    let body = telemetry(&dict, vec![(0, vec![good(now(), 1.0)])]);
    let sent = record(key(1, Lane::Telemetry, 1), body);
    let settled = send(&serving, &gw, vec![dict], vec![sent.clone()]).await;
    assert_eq!(settled.readings, 1);
    assert_eq!(export(&beside).await.len(), 1);
    assert_eq!(beside.latest(&gw, None).await.unwrap().len(), 1);
    assert_eq!(beside.counts(&gw).await.unwrap()[0].stored, 1);
    assert!(beside.users().await.unwrap().is_empty());
    assert!(matches!(
        beside.commit(vec![]).await,
        Err(StoreError::InUse { .. })
    ));
    assert!(matches!(
        beside.maintain(now()).await,
        Err(StoreError::InUse { .. })
    ));
    beside.revoke_gateway(&gw, now()).await.unwrap();
    let settled = send(&serving, &gw, vec![], vec![sent]).await;
    assert_eq!(settled.items[0].refused[0].1, RefuseReason::Revoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_database_refuses_is_quarantined_and_the_others_are_stored() {
    let kit = SqliteKit::new();
    let store = open_when_free(&kit.path(), eager());
    let gw = enter(&store, "gw-1").await;
    let conn = rusqlite::Connection::open(kit.path()).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER poison BEFORE INSERT ON event WHEN new.subject = 'poison'
         BEGIN SELECT raise(ABORT, 'poisoned'); END",
    )
    .unwrap();
    drop(conn);
    let event = |seq, subject: &str| {
        let happened = Event {
            time: now(),
            kind: EventKind::Started,
            subject: subject.to_owned(),
            text: String::new(),
            alarm: None,
        };
        record(
            key(1, Lane::Event, seq),
            encode(stamp_at(now()), Body::Event(happened)),
        )
    };
    let dict = floats(1);
    let body = telemetry(&dict, vec![(0, vec![good(now(), 1.0)])]);
    let records = vec![
        event(1, "fine"),
        event(2, "poison"),
        event(3, "fine"),
        record(key(1, Lane::Telemetry, 1), body),
    ];
    let settled = send(&store, &gw, vec![dict], records.clone()).await;
    let lane = |lane| settled.items.iter().find(|item| item.lane == lane).unwrap();
    assert_eq!(lane(Lane::Event).stored.count(), 2);
    assert_eq!(lane(Lane::Event).refused[0].1, RefuseReason::Malformed);
    assert_eq!(lane(Lane::Telemetry).stored.count(), 1);
    assert_eq!(store.events(newest(None, None, 10)).await.unwrap().len(), 2);
    assert_eq!(store.quarantined(Some(&gw), 10).await.unwrap().len(), 1);
    assert_eq!(export(&store).await.len(), 1);
    // The group comes again: nothing is stored twice.
    let again = send(&store, &gw, vec![], records).await;
    assert_eq!(again.readings, 0);
    assert_eq!(export(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_says_so() {
    let kit = SqliteKit::new();
    let store = open_when_free(&kit.path(), eager());
    store.close().await.unwrap();
    assert!(matches!(
        store.commit(vec![]).await,
        Err(StoreError::Closed)
    ));
    assert!(
        store.gateways().await.is_ok(),
        "readers go on until the handle is dropped"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_lags_is_told_so() {
    use tokio::sync::broadcast::error::RecvError;
    let kit = SqliteKit::new();
    let store = open_when_free(&kit.path(), eager());
    let gw = enter(&store, "gw-1").await;
    let dict = floats(1);
    let mut live = store.subscribe();
    for seq in 1..1200 {
        let body = telemetry(&dict, vec![(0, vec![good(now(), 1.0)])]);
        let records = vec![record(key(1, Lane::Telemetry, seq), body)];
        send(&store, &gw, vec![dict.clone()], records).await;
    }
    assert!(matches!(live.recv().await, Err(RecvError::Lagged(_))));
}
