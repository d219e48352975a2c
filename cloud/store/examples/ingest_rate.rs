//! How fast the SQLite store takes readings in, and what they cost on disk.
//!
//! `cargo run --release -p cloud-store --example ingest_rate [folder]`: the folder says which disk
//! is measured; without it a temporary one. Records are sealed beforehand: what is measured is
//! decoding, the transaction and its sync, then the compactor.

use bytes::Bytes;
use cloud_store::{
    Incoming, Ingest, Limits, Maintain, MaintainStep, NewGateway, Registry, SqliteOptions,
    SqliteStore,
};
use protocols_model::{
    BootId, Epoch, GatewayId, Instant, Lane, PointDescriptor, Quality, RecordKey, Timestamp, Value,
    ValueType,
};
use protocols_wire::{Column, Dictionary, EnvelopeRecord, Record, RecordStamp, Sample, Telemetry};
use std::path::Path;
use std::time::Duration;

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

const LOADS: [Load; 4] = [
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
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args().nth(1);
    let folder = folder.as_deref().map_or(temporary.path(), Path::new);
    for load in &LOADS {
        run(load, &folder.join("ingest_rate.db")).await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report of a command line tool")]
async fn run(load: &Load, path: &Path) -> Result<(), Failure> {
    remove(path)?;
    let limits = Limits {
        compact_after: Duration::ZERO,
        ..Limits::default()
    };
    let store = SqliteStore::open(path, SqliteOptions { limits })?;
    let gateways = enter(&store, load.gateways).await?;
    let dictionaries = dictionaries(load.points)?;
    // One batch per second of field time, from all gateways: what ingest commits as a group.
    let batches = (0..load.seconds)
        .map(|second| batch(load, &gateways, &dictionaries, second))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut readings, mut records) = (0u64, 0u64);
    let (mut ingesting, mut compacting, mut longest) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut hot = 0;
    for (second, batch) in (1i64..).zip(batches) {
        records += batch
            .iter()
            .map(|incoming| incoming.records.len() as u64)
            .sum::<u64>();
        let begun = std::time::Instant::now();
        let settled = store.commit(batch).await?;
        ingesting += begun.elapsed();
        longest = longest.max(begun.elapsed());
        readings += settled.iter().map(|settled| settled.readings).sum::<u64>();
        if second % load.compact_every == 0 || second == load.seconds {
            hot = size(path)?;
            compacting += compact(&store).await?;
        }
    }
    let (spent, compacting) = (ingesting.as_secs_f64(), compacting.as_secs_f64());
    store.close().await?;
    println!("{}:", load.name);
    println!(
        "  readings={readings} records={records} readings_per_s={:.0} records_per_s={:.0} commit_max_ms={:.0} bytes_per_reading={:.2}",
        float(readings) / spent,
        float(records) / spent,
        longest.as_secs_f64() * 1e3,
        float(hot) / float(readings),
    );
    println!(
        "  compacted: readings_per_s={:.0} bytes_per_reading={:.2} of a file of {} MB",
        float(readings) / compacting,
        float(blocks(path)?) / float(readings),
        size(path)? / 1_000_000,
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a printed figure")]
const fn float(count: u64) -> f64 {
    count as f64
}

/// Runs the compactor until no record row is left; returns the time it took.
async fn compact(store: &SqliteStore) -> Result<Duration, Failure> {
    let begun = std::time::Instant::now();
    let later = Timestamp((BEGIN_S + 7_200) * 1_000_000_000);
    while store.maintain(later).await? == MaintainStep::Worked {}
    Ok(begun.elapsed())
}

/// Bytes of packed blocks.
fn blocks(path: &Path) -> Result<u64, Failure> {
    let conn = rusqlite::Connection::open(path)?;
    let week = BEGIN_S / (7 * 86_400);
    let sql = format!("SELECT sum(length(data)) FROM block_w{week}");
    Ok(conn
        .query_row(&sql, [], |row| row.get::<_, i64>(0))?
        .unsigned_abs())
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

async fn enter(store: &SqliteStore, count: usize) -> Result<Vec<GatewayId>, Failure> {
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
