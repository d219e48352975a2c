//! What the tests are made of: a store that can be opened again, and a gateway that sends.

use bytes::Bytes;
use cloud_store::{
    EventFilter, ExportFilter, ExportedSample, Incoming, Limits, MaintainStep, NewGateway,
    PostgresOptions, PostgresStore, Settled, SqliteOptions, SqliteStore, Store,
};
use protocols_model::{
    BootId, Claim, Epoch, GatewayId, Instant, Lane, LossReason, PointDescriptor, Quality, Reason,
    RecordKey, SeqRange, Timestamp, Value, ValueType,
};
use protocols_wire::{
    Body, ClockState, Column, Dictionary, EnvelopeRecord, Held, Hello, Record, RecordStamp, Sample,
    Telemetry,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tests_postgres::Server;

/// The moment at which tests play, seconds since 1970: a full day and hour.
pub(crate) const NOW_S: i64 = 1_800_000_000 / 86_400 * 86_400 + 12 * 3600;

pub(crate) fn seconds(s: i64) -> Timestamp {
    Timestamp(s * 1_000_000_000)
}

pub(crate) fn now() -> Timestamp {
    seconds(NOW_S)
}

/// An implementation of the store under test.
pub(crate) trait Kit {
    /// The store, opened with these limits; opened before means opened again on the same data.
    fn open(&mut self, limits: Limits) -> Arc<dyn Store>;
}

/// SQLite in a folder that goes away with the test.
pub(crate) struct SqliteKit {
    folder: tempfile::TempDir,
}

impl SqliteKit {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }
}

impl SqliteKit {
    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store.db")
    }
}

impl Kit for SqliteKit {
    fn open(&mut self, limits: Limits) -> Arc<dyn Store> {
        Arc::new(open_when_free(&self.path(), limits))
    }
}

/// Opens the database once the threads of the handle dropped before have ended.
pub(crate) fn open_when_free(path: &std::path::Path, limits: Limits) -> SqliteStore {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let options = SqliteOptions {
            limits: limits.clone(),
        };
        match SqliteStore::open(path, options) {
            Err(cloud_store::StoreError::InUse { .. }) if std::time::Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A database on a server that all tests of this binary share; it goes away with the binary.
pub(crate) struct PostgresKit {
    database: String,
}

impl PostgresKit {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server().create_database(&database).unwrap();
        Self { database }
    }

    pub(crate) fn options(&self, limits: Limits) -> PostgresOptions {
        PostgresOptions {
            password_file: Some(server().password_file()),
            limits,
            writers: 2,
            readers: 2,
            ..PostgresOptions::new(&server().url(&self.database))
        }
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        server().psql(&self.database, sql).unwrap()
    }
}

impl Kit for PostgresKit {
    fn open(&mut self, limits: Limits) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(self.options(limits)).unwrap())
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start().unwrap())
}

/// Limits that make everything happen at once.
pub(crate) fn eager() -> Limits {
    Limits {
        compact_after: Duration::ZERO,
        epoch_grace: Duration::ZERO,
        ..Limits::default()
    }
}

pub(crate) fn gateway(name: &str) -> GatewayId {
    GatewayId::try_new(name).unwrap()
}

pub(crate) async fn enter(store: &dyn Store, name: &str) -> GatewayId {
    let id = gateway(name);
    store
        .add_gateway(NewGateway {
            id: id.clone(),
            serial: "01".to_owned(),
            fingerprint: "ab".to_owned(),
            not_after: now().plus(Duration::from_secs(1_000_000)),
            created: now(),
            note: String::new(),
        })
        .await
        .unwrap();
    id
}

pub(crate) fn descriptor(device: &str, point: &str, value_type: ValueType) -> PointDescriptor {
    PointDescriptor {
        device: device.parse().unwrap(),
        point: point.parse().unwrap(),
        value_type,
        unit: "V".to_owned(),
        scale: 0.1,
    }
}

/// Points `p0`, `p1`, … of type f64 on device `meter`.
pub(crate) fn floats(count: usize) -> Dictionary {
    let entries = (0..count).map(|i| descriptor("meter", &format!("p{i}"), ValueType::F64));
    Dictionary::try_new(entries.collect()).unwrap()
}

pub(crate) const BOOT: BootId = BootId(77);

/// A stamp of a gateway whose clock is right.
pub(crate) fn stamp_at(wall: Timestamp) -> RecordStamp {
    RecordStamp {
        boot: BOOT,
        mono: Instant(wall.since(seconds(NOW_S - 1_000_000))),
        wall,
    }
}

pub(crate) fn good(time: Timestamp, value: f64) -> Sample {
    Sample {
        time,
        value: Some(Value::F64(value)),
        quality: Quality::Good,
    }
}

pub(crate) fn bad(time: Timestamp) -> Sample {
    Sample {
        time,
        value: None,
        quality: Quality::Bad(Reason::Timeout),
    }
}

/// A telemetry record: per column the index in `dictionary` and the samples.
pub(crate) fn telemetry(dictionary: &Dictionary, columns: Vec<(u32, Vec<Sample>)>) -> Bytes {
    telemetry_stamped(stamp_at(now()), dictionary, columns)
}

pub(crate) fn telemetry_stamped(
    stamp: RecordStamp,
    dictionary: &Dictionary,
    columns: Vec<(u32, Vec<Sample>)>,
) -> Bytes {
    let columns = columns.into_iter().map(|(index, samples)| Column {
        dictionary: 0,
        index,
        filtered: 2,
        samples,
    });
    let body = Body::Telemetry(Telemetry {
        dictionaries: vec![dictionary.hash()],
        columns: columns.collect(),
        unchanged: Vec::new(),
    });
    encode(stamp, body)
}

pub(crate) fn encode(stamp: RecordStamp, body: Body) -> Bytes {
    Record { stamp, body }.encode().unwrap().body
}

pub(crate) fn key(epoch: u64, lane: Lane, seq: u64) -> RecordKey {
    RecordKey {
        epoch: Epoch(epoch),
        lane,
        seq,
    }
}

pub(crate) fn record(key: RecordKey, body: Bytes) -> EnvelopeRecord {
    EnvelopeRecord {
        key,
        body: Ok(body),
    }
}

pub(crate) fn claim(epoch: u64, lane: Lane, first: u64, last: u64, readings: Option<u64>) -> Claim {
    Claim {
        epoch: Epoch(epoch),
        lane,
        range: SeqRange::new(first, last).unwrap(),
        reason: LossReason::Evicted,
        from: seconds(NOW_S - 100),
        to: now(),
        readings,
        at_most: None,
        points: Vec::new(),
    }
}

pub(crate) async fn send(
    store: &dyn Store,
    gateway: &GatewayId,
    dictionaries: Vec<Dictionary>,
    records: Vec<EnvelopeRecord>,
) -> Settled {
    send_at(store, gateway, now(), dictionaries, records).await
}

pub(crate) async fn send_at(
    store: &dyn Store,
    gateway: &GatewayId,
    received: Timestamp,
    dictionaries: Vec<Dictionary>,
    records: Vec<EnvelopeRecord>,
) -> Settled {
    let incoming = Incoming {
        gateway: gateway.clone(),
        received,
        records,
        dictionaries,
    };
    store.commit(vec![incoming]).await.unwrap().remove(0)
}

/// Everything stored, in a fixed order.
pub(crate) async fn export(store: &dyn Store) -> Vec<ExportedSample> {
    let mut stream = store.export(ExportFilter::default()).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend(chunk.unwrap());
    }
    all.sort_by_key(|sample| (sample.series, sample.time, sample.record));
    all
}

/// Runs maintenance until nothing is due.
pub(crate) async fn maintain(store: &dyn Store, at: Timestamp) {
    while store.maintain(at).await.unwrap() == MaintainStep::Worked {}
}

pub(crate) fn hello(boot: u64, epoch: u64, held: &[(u64, Lane)]) -> Hello {
    Hello {
        versions: vec![1],
        nonce: 1,
        boot: BootId(boot),
        epoch: Epoch(epoch),
        held: held
            .iter()
            .map(|&(epoch, lane)| Held {
                epoch: Epoch(epoch),
                lane,
                first: 1,
                last: 5,
            })
            .collect(),
        partial: false,
        dictionaries: Vec::new(),
        clock: ClockState {
            synced: true,
            wall: now(),
            mono: Duration::from_secs(1),
        },
        loss_window: Duration::from_secs(3),
        spool_bytes: 0,
        spool_quota_bytes: 1 << 20,
        software: "test".to_owned(),
        config_revision: "r1".to_owned(),
    }
}

/// The newest events below a number.
pub(crate) fn newest(
    gateway: Option<&GatewayId>,
    before: Option<i64>,
    limit: usize,
) -> EventFilter {
    EventFilter {
        gateway: gateway.cloned(),
        before,
        limit,
        ..EventFilter::default()
    }
}
