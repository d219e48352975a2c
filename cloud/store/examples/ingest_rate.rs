//! How fast a store takes readings in, what they cost on disk, and how long a chart of a day takes.
//!
//! `cargo run --release -p cloud-store --example ingest_rate [sqlite|postgres] [folder]`: the folder says
//! which disk is measured; without it a temporary one. `PostgreSQL` is a server of its own, with fsync.
//! Records are sealed beforehand: what is measured is decoding, the transaction and its sync, then the
//! compactor.

use bytes::Bytes;
use cloud_store::{
    Incoming, Limits, MaintainStep, NewGateway, PostgresOptions, PostgresStore, QueryRange,
    Settled, SqliteOptions, SqliteStore, Store, StoreError, TimeRange,
};
use futures::future::try_join_all;
use protocols_model::{
    BootId, Epoch, GatewayId, Instant, Lane, PointDescriptor, Quality, RecordKey, Timestamp, Value,
    ValueType,
};
use protocols_wire::{Column, Dictionary, EnvelopeRecord, Record, RecordStamp, Sample, Telemetry};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};
use tests_postgres::{Server, Settings};

type Failure = Box<dyn std::error::Error>;

/// A full hour, so that the runs are alike.
const BEGIN_S: i64 = 1_800_000_000 / 3600 * 3600;

/// What gateways send.
struct Load {
    name: &'static str,
    gateways: usize,
    points: usize,
    seconds: i64,
    /// Points per record at most; a record also ends where its bytes do.
    per_record: usize,
    /// Seconds of field time between two runs of the compactor.
    compact_every: i64,
}

const LOADS: [Load; 5] = [
    Load {
        name: "many gateways, 1 s batches",
        gateways: 100,
        points: 1_000,
        seconds: 30,
        per_record: 1_500,
        compact_every: i64::MAX,
    },
    Load {
        name: "few large gateways, 1 s batches",
        gateways: 10,
        points: 10_000,
        seconds: 30,
        per_record: 1_500,
        compact_every: i64::MAX,
    },
    Load {
        name: "worst case, one reading a record",
        gateways: 100,
        points: 10,
        seconds: 50,
        per_record: 1,
        compact_every: i64::MAX,
    },
    Load {
        name: "an hour of one gateway, compacted every five minutes",
        gateways: 1,
        points: 1_000,
        seconds: 3_600,
        per_record: 1_500,
        compact_every: 300,
    },
    Load {
        name: "a day of one gateway with few points, compacted every hour",
        gateways: 1,
        points: 4,
        seconds: 86_400,
        per_record: 1_500,
        compact_every: 3_600,
    },
];

/// The database under test.
enum Database {
    Sqlite(PathBuf),
    /// A server, and the database in it.
    Postgres(Box<Server>, String),
}

impl Database {
    fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        let limits = Limits {
            compact_after: Duration::ZERO,
            ..Limits::default()
        };
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path, SqliteOptions { limits })?),
            Self::Postgres(server, name) => Arc::new(PostgresStore::open(PostgresOptions {
                password_file: Some(server.password_file()),
                limits,
                ..PostgresOptions::new(&server.url(name))
            })?),
        })
    }

    /// Empties it.
    fn begin(&mut self, number: usize) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) => remove(path),
            Self::Postgres(server, name) => {
                *name = format!("rate{number}");
                Ok(server.create_database(name)?)
            }
        }
    }

    /// Groups that ingest would commit side by side.
    const fn groups(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(..) => 2,
        }
    }

    /// Bytes on disk.
    fn size(&self) -> Result<u64, Failure> {
        match self {
            Self::Sqlite(path) => size(path),
            Self::Postgres(server, name) => {
                let sql = format!("SELECT pg_database_size('{name}')");
                Ok(server.psql(name, &sql)?.parse()?)
            }
        }
    }

    /// Bytes of packed blocks.
    fn blocks(&self) -> Result<u64, Failure> {
        let week = BEGIN_S / (7 * 86_400);
        let sql = format!("SELECT sum(length(data)) FROM block_w{week}");
        match self {
            Self::Sqlite(path) => {
                let conn = rusqlite::Connection::open(path)?;
                let bytes: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
                Ok(bytes.unsigned_abs())
            }
            Self::Postgres(server, name) => Ok(server.psql(name, &sql)?.parse()?),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let mut arguments = std::env::args().skip(1);
    let which = arguments.next();
    let folder = arguments
        .next()
        .map_or(temporary.path().into(), PathBuf::from);
    let mut database = match which.as_deref() {
        None | Some("sqlite") => Database::Sqlite(folder.join("ingest_rate.db")),
        Some("postgres") => {
            let settings = Settings {
                below: Some(folder),
                durable: true,
                lines: vec!["max_wal_size = '4GB'".to_owned()],
                ..Settings::default()
            };
            Database::Postgres(Box::new(Server::start_with(settings)?), String::new())
        }
        Some(other) => return Err(format!("{other}: neither sqlite nor postgres").into()),
    };
    for (number, load) in LOADS.iter().enumerate() {
        database.begin(number)?;
        run(load, &database).await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report of a command line tool")]
async fn run(load: &Load, database: &Database) -> Result<(), Failure> {
    let store = database.store()?;
    let gateways = enter(&*store, load.gateways).await?;
    let dictionaries = dictionaries(load.points)?;
    let (mut readings, mut records) = (0u64, 0u64);
    let (mut ingesting, mut compacting, mut longest) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut hot = 0;
    // One batch per second of field time, from all gateways: what ingest commits as a group.
    for second in 0..load.seconds {
        let batch = batch(load, &gateways, &dictionaries, second)?;
        records += batch
            .iter()
            .map(|incoming| incoming.records.len() as u64)
            .sum::<u64>();
        let each = batch.len().div_ceil(database.groups());
        let begun = Moment::now();
        let groups = batch.chunks(each).map(|group| store.commit(group.to_vec()));
        let settled: Vec<Vec<Settled>> = try_join_all(groups).await?;
        ingesting += begun.elapsed();
        longest = longest.max(begun.elapsed());
        let new = settled.iter().flatten().map(|settled| settled.readings);
        readings += new.sum::<u64>();
        if (second + 1) % load.compact_every == 0 || second + 1 == load.seconds {
            hot = hot.max(database.size()?);
            compacting += compact(&*store).await?;
        }
    }
    let chart = chart(&*store, load).await?;
    store.close().await?;
    let (spent, compacting) = (ingesting.as_secs_f64(), compacting.as_secs_f64());
    println!("{}:", load.name);
    println!(
        "  readings={readings} records={records} readings_per_s={:.0} records_per_s={:.0} commit_max_ms={:.0} bytes_per_reading={:.2}",
        float(readings) / spent,
        float(records) / spent,
        longest.as_secs_f64() * 1e3,
        float(hot) / float(readings),
    );
    println!(
        "  compacted: readings_per_s={:.0} both_readings_per_s={:.0} bytes_per_reading={:.2} of {} MB; chart_ms={:.1}",
        float(readings) / compacting,
        float(readings) / (spent + compacting),
        float(database.blocks()?) / float(readings),
        database.size()? / 1_000_000,
        chart.as_secs_f64() * 1e3,
    );
    Ok(())
}

/// How long all of one series takes in 500 buckets: the median of some.
async fn chart(store: &dyn Store, load: &Load) -> Result<Duration, Failure> {
    let all = store.series(None).await?;
    let series = all.first().ok_or("no series")?.id;
    let mut times = Vec::new();
    for _ in 0..21 {
        let begun = Moment::now();
        let asked = QueryRange {
            range: TimeRange {
                from: Timestamp(BEGIN_S * 1_000_000_000),
                to: Timestamp((BEGIN_S + load.seconds) * 1_000_000_000),
            },
            points: 500,
            silence: None,
        };
        store.query(series, asked).await?;
        times.push(begun.elapsed());
    }
    times.sort();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "a printed figure")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// Runs the compactor until no record row is left; returns the time it took.
async fn compact(store: &dyn Store) -> Result<Duration, Failure> {
    let begun = std::time::Instant::now();
    let later = Timestamp((BEGIN_S + 2 * 86_400) * 1_000_000_000);
    while store.maintain(later).await? == MaintainStep::Worked {}
    Ok(begun.elapsed())
}

fn remove(path: &Path) -> Result<(), Failure> {
    for end in ["", "-wal", "-shm", ".lock"] {
        let file = format!("{}{end}", path.display());
        if Path::new(&file).exists() {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64, Failure> {
    let wal = format!("{}-wal", path.display());
    let wal = std::fs::metadata(wal).map_or(0, |data| data.len());
    Ok(std::fs::metadata(path)?.len() + wal)
}

async fn enter(store: &dyn Store, count: usize) -> Result<Vec<GatewayId>, Failure> {
    let mut all = Vec::with_capacity(count);
    for number in 0..count {
        let id = GatewayId::try_new(&format!("gw-{number}"))?;
        let gateway = NewGateway {
            id: id.clone(),
            serial: String::new(),
            fingerprint: String::new(),
            not_after: Timestamp(i64::MAX),
            created: Timestamp(0),
            note: String::new(),
        };
        store.add_gateway(gateway).await?;
        all.push(id);
    }
    Ok(all)
}

fn dictionaries(points: usize) -> Result<Vec<Dictionary>, Failure> {
    let entries = (0..points).map(|point| {
        Ok(PointDescriptor {
            device: format!("meter-{}", point / 20).parse()?,
            point: format!("u{}", point % 20).parse()?,
            value_type: ValueType::F64,
            unit: "V".to_owned(),
            scale: 0.1,
        })
    });
    let entries = entries.collect::<Result<Vec<_>, Failure>>()?;
    Ok(Dictionary::chunk(entries)?)
}

/// One second of all gateways.
fn batch(
    load: &Load,
    gateways: &[GatewayId],
    dictionaries: &[Dictionary],
    second: i64,
) -> Result<Vec<Incoming>, Failure> {
    let time = Timestamp((BEGIN_S + second) * 1_000_000_000);
    let mut bodies: Vec<Bytes> = Vec::new();
    let mut columns = Vec::new();
    let stamp = RecordStamp {
        boot: BootId(1),
        mono: Instant(Duration::from_secs(1000 + second.unsigned_abs())),
        wall: time,
    };
    let seal = |columns: Vec<Column>| {
        let telemetry = Telemetry {
            dictionaries: dictionaries.iter().map(Dictionary::hash).collect(),
            columns,
            unchanged: Vec::new(),
        };
        Record::seal_telemetry(stamp, telemetry)
    };
    for (place, dictionary) in (0u32..).zip(dictionaries) {
        for index in (0u32..).take(dictionary.entries().len()) {
            // A slow wave with noise in the last digit, on the grid of tenths.
            let noise = f64::from((index * 7 + 13 * u32::try_from(second)?) % 11);
            let wave = (f64::from(index) + f64::from(i32::try_from(second)?) / 60.0).sin() * 50.0;
            let value = ((2300.0 + wave).round() + noise) / 10.0;
            let sample = Sample {
                time,
                value: Some(Value::F64(value)),
                quality: Quality::Good,
            };
            columns.push(Column {
                dictionary: place,
                index,
                filtered: 0,
                samples: vec![sample],
            });
            if columns.len() == load.per_record {
                let sealed = seal(std::mem::take(&mut columns))?;
                bodies.extend(sealed.into_iter().map(|record| record.body));
            }
        }
    }
    if !columns.is_empty() {
        bodies.extend(seal(columns)?.into_iter().map(|record| record.body));
    }
    let first = second.unsigned_abs() * bodies.len() as u64 + 1;
    let records = |()| {
        (first..).zip(&bodies).map(|(seq, body)| EnvelopeRecord {
            key: RecordKey {
                epoch: Epoch(1),
                lane: Lane::Telemetry,
                seq,
            },
            body: Ok(body.clone()),
        })
    };
    let incoming = |gateway: &GatewayId| Incoming {
        gateway: gateway.clone(),
        received: time,
        records: records(()).collect(),
        dictionaries: if second == 0 {
            dictionaries.to_vec()
        } else {
            Vec::new()
        },
    };
    Ok(gateways.iter().map(incoming).collect())
}
