//! What needs a hand on the database itself: a full disk, damaged rows.

use super::*;
use crate::ingest::{Incoming, Settled};
use crate::query::{ExportFilter, LedgerFilter};
use crate::registry::NewGateway;
use crate::store::{Ingest, Maintain, Queries, Registry};
use crate::{MaintainStep, StoreError};
use protocols_model::{
    BootId, Epoch, GatewayId, Instant, Lane, LossReason, PointDescriptor, Quality, RecordKey,
    Timestamp, Value, ValueType,
};
use protocols_wire::{
    Body, Column, Dictionary, EnvelopeRecord, Record, RecordStamp, Sample, Telemetry,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn gateway() -> GatewayId {
    GatewayId::try_new("gw-1").unwrap()
}

async fn opened(folder: &tempfile::TempDir) -> SqliteStore {
    let limits = Limits {
        compact_after: Duration::ZERO,
        ..Limits::default()
    };
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, SqliteOptions { limits }).unwrap();
    store
        .add_gateway(NewGateway {
            id: gateway(),
            serial: String::new(),
            fingerprint: String::new(),
            not_after: NOW,
            created: NOW,
            note: String::new(),
        })
        .await
        .unwrap();
    store
}

/// Records with one text of 4 KiB each: they fill a disk quickly.
fn incoming(seqs: std::ops::RangeInclusive<u64>) -> Vec<Incoming> {
    let dictionary = Dictionary::try_new(vec![PointDescriptor {
        device: "m".parse().unwrap(),
        point: "p".parse().unwrap(),
        value_type: ValueType::Text,
        unit: String::new(),
        scale: 1.0,
    }])
    .unwrap();
    let record = |seq: u64| {
        let sample = Sample {
            time: NOW.minus(Duration::from_secs(seq)),
            value: Some(Value::Text("x".repeat(4096).into())),
            quality: Quality::Good,
        };
        let column = Column {
            dictionary: 0,
            index: 0,
            filtered: 0,
            samples: vec![sample],
        };
        let stamp = RecordStamp {
            boot: BootId(1),
            mono: Instant(Duration::from_secs(9)),
            wall: NOW,
        };
        let body = Body::Telemetry(Telemetry {
            dictionaries: vec![dictionary.hash()],
            columns: vec![column],
            unchanged: Vec::new(),
        });
        EnvelopeRecord {
            key: RecordKey {
                epoch: Epoch(1),
                lane: Lane::Telemetry,
                seq,
            },
            body: Ok(Record { stamp, body }.encode().unwrap().body),
        }
    };
    vec![Incoming {
        gateway: gateway(),
        received: NOW,
        records: seqs.map(record).collect(),
        dictionaries: vec![dictionary.clone()],
    }]
}

async fn exported(store: &SqliteStore) -> Result<usize, StoreError> {
    let mut stream = store.export(ExportFilter::default()).await?;
    let mut count = 0;
    while let Some(chunk) = stream.next().await {
        count += chunk?.len();
    }
    Ok(count)
}

async fn sql(store: &SqliteStore, sql: &str) {
    store.raw(sql.to_owned()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_settles_nothing_and_is_over_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder).await;
    store.commit(incoming(1..=5)).await.unwrap();
    sql(&store, "PRAGMA max_page_count = 1").await;
    let mut failed = false;
    for first in (6..200).step_by(10) {
        // Some pages are free; at the bound the group fails as a whole.
        match store.commit(incoming(first..=first + 9)).await {
            Ok(_) => {}
            Err(StoreError::Database { .. }) => failed = true,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(failed, "the disk never was full");
    let before = exported(&store).await.unwrap();
    assert_eq!(before % 10, 5, "no group is stored in part");
    sql(&store, "PRAGMA max_page_count = 1000000").await;
    let settled: Vec<Settled> = store.commit(incoming(1..=205)).await.unwrap();
    assert_eq!(settled[0].items[0].stored.count(), 205);
    assert_eq!(exported(&store).await.unwrap(), 205);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_set_aside_entered_as_lost_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder).await;
    store.commit(incoming(1..=3)).await.unwrap();
    sql(&store, "UPDATE record SET body = x'ff00ff' WHERE seq = 2").await;
    assert!(matches!(
        exported(&store).await,
        Err(StoreError::Damaged { .. })
    ));
    drop(store);
    let path = folder.path().join("store.db");
    let store = loop {
        let limits = Limits {
            compact_after: Duration::ZERO,
            ..Limits::default()
        };
        match SqliteStore::open(&path, SqliteOptions { limits }) {
            Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    while store.maintain(NOW).await.unwrap() == MaintainStep::Worked {}
    assert_eq!(exported(&store).await.unwrap(), 2);
    assert_eq!(
        store.quarantined(Some(&gateway()), 9).await.unwrap().len(),
        1
    );
    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!((entry.reason, entry.lost.count()), (LossReason::Damaged, 1));
    // The gateway may still hold it.
    let settled = store.commit(incoming(2..=2)).await.unwrap();
    assert_eq!(settled[0].readings, 1);
    assert_eq!(exported(&store).await.unwrap(), 3);
    assert!(
        store
            .ledger(LedgerFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_fails_its_own_query_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(&folder).await;
    store.commit(incoming(1..=3)).await.unwrap();
    while store.maintain(NOW).await.unwrap() == MaintainStep::Worked {}
    let week = NOW.0 / (7 * 24 * 3600 * 1_000_000_000);
    let damage = format!("UPDATE block_w{week} SET data = zeroblob(90)");
    sql(&store, &damage).await;
    store.commit(incoming(4..=6)).await.unwrap();
    while store.maintain(NOW).await.unwrap() == MaintainStep::Worked {}
    assert_eq!(store.maintain_report().await.unwrap().record_rows, 0);
    assert!(matches!(
        exported(&store).await,
        Err(StoreError::Damaged { .. })
    ));
    assert_eq!(store.latest(&gateway(), None).await.unwrap().len(), 1);
}
