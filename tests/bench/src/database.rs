//! The cloud's database, read from outside while it runs: when records become visible, and what they
//! hold. Read-only; a reader never holds up the writer (write-ahead log).

use anyhow::Context as _;
use protocols_model::{DictionaryHash, PointDescriptor, Value};
use protocols_wire::{Body, Dictionary, Record, Sample};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two looks: what a latency may be measured too long by.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// The database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    conn: Connection,
}

/// One stored record of telemetry.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Its row.
    pub row: i64,
    /// Readings in it.
    pub readings: u64,
    /// Values of the wanted point: device and value.
    pub probes: Vec<(String, i64)>,
}

impl Database {
    /// Opens the file of a running cloud.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)
            .with_context(|| format!("opening {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            conn,
        })
    }

    /// The youngest row of a record; 0 without any.
    pub(crate) fn newest(&self) -> anyhow::Result<i64> {
        let mut newest = self
            .conn
            .prepare_cached("SELECT coalesce(max(id), 0) FROM record")?;
        Ok(newest.query_row([], |row| row.get(0))?)
    }

    /// How many records stand behind row `after`.
    pub(crate) fn count(&self, after: i64) -> anyhow::Result<u64> {
        let mut count = self
            .conn
            .prepare_cached("SELECT count(*) FROM record WHERE id > ?1")?;
        let count: i64 = count.query_row([after], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// What stands behind row `after`, up to `last`: records of telemetry in order.
    pub(crate) fn records(
        &self,
        after: i64,
        last: i64,
        probe: &str,
    ) -> anyhow::Result<Vec<Stored>> {
        let mut all: Vec<Stored> = Vec::new();
        self.columns(after, last, |row, entry, samples| {
            if all.last().is_none_or(|stored| stored.row != row) {
                let (readings, probes) = (0, Vec::new());
                all.push(Stored {
                    row,
                    readings,
                    probes,
                });
            }
            let Some(stored) = all.last_mut() else { return };
            stored.readings += samples.len() as u64;
            if entry.point.as_str() == probe {
                let values = samples
                    .iter()
                    .filter_map(|sample| whole(sample.value.as_ref()?));
                let device = entry.device.as_str();
                stored
                    .probes
                    .extend(values.map(|value| (device.to_owned(), value)));
            }
        })?;
        Ok(all)
    }

    /// Readings behind row `after`, up to `last`, of devices whose name begins with `prefix`.
    pub(crate) fn readings(&self, after: i64, last: i64, prefix: &str) -> anyhow::Result<u64> {
        let mut readings = 0;
        self.columns(after, last, |_row, entry, samples| {
            if entry.device.as_str().starts_with(prefix) {
                readings += samples.len() as u64;
            }
        })?;
        Ok(readings)
    }

    /// Every column of telemetry behind row `after`, up to `last`, in order.
    fn columns(
        &self,
        after: i64,
        last: i64,
        mut each: impl FnMut(i64, &PointDescriptor, &[Sample]),
    ) -> anyhow::Result<()> {
        let mut known = HashMap::new();
        let mut select = self
            .conn
            .prepare("SELECT id, body FROM record WHERE id > ?1 AND id <= ?2 ORDER BY id")?;
        let rows = select.query_map([after, last], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        for row in rows {
            let (row, body) = row?;
            let Body::Telemetry(telemetry) = Record::decode(&body)?.body else {
                continue;
            };
            for column in &telemetry.columns {
                let place = usize::try_from(column.dictionary)?;
                let hash = telemetry.dictionaries.get(place);
                let hash = *hash.context("a column without its dictionary")?;
                let names = match known.entry(hash) {
                    Entry::Occupied(held) => held.into_mut(),
                    Entry::Vacant(free) => free.insert(self.dictionary(hash)?),
                };
                let entry = names.entries().get(usize::try_from(column.index)?);
                let entry = entry.context("a column that its dictionary does not have")?;
                each(row, entry, &column.samples);
            }
        }
        Ok(())
    }

    fn dictionary(&self, hash: DictionaryHash) -> anyhow::Result<Dictionary> {
        let mut select = self
            .conn
            .prepare_cached("SELECT body FROM dictionary WHERE hash = ?1")?;
        let body: Vec<u8> = select.query_row([&hash.0[..]], |row| row.get(0))?;
        Ok(Dictionary::decode(body.into())?)
    }

    /// Begins to note when rows become visible.
    pub(crate) fn watch(&self) -> anyhow::Result<Watch> {
        let database = Self::open(&self.path)?;
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            let mut newest = database.newest()?;
            let mut tick = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    biased;
                    _ = stopped.changed() => return Ok(seen),
                    _ = tick.tick() => {
                        let now = database.newest()?;
                        if now > newest {
                            newest = now;
                            seen.push((now, wall_ns()));
                        }
                    }
                }
            }
        });
        Ok(Watch { stop, task })
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::I64(value) => Some(*value),
        Value::U64(value) => i64::try_from(*value).ok(),
        Value::Bool(_) | Value::F64(_) | Value::Text(_) | Value::Bytes(_) => None,
    }
}

/// A watch over the rows that become visible.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<Vec<(i64, i64)>>>,
}

impl Watch {
    /// Ends the watch.
    pub(crate) async fn end(self) -> anyhow::Result<Seen> {
        self.stop.send_replace(true);
        Ok(Seen(self.task.await??))
    }
}

/// When rows were seen first: youngest row and wall clock, both rising.
#[derive(Debug)]
pub(crate) struct Seen(Vec<(i64, i64)>);

impl Seen {
    /// When `row` was seen, nanoseconds UTC.
    pub(crate) fn at(&self, row: i64) -> Option<i64> {
        let place = self.0.partition_point(|&(newest, _)| newest < row);
        self.0.get(place).map(|&(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_was_seen_when_the_first_look_found_it_or_a_younger_one() {
        let seen = Seen(vec![(3, 100), (7, 200)]);
        assert_eq!(
            [1, 3, 4, 7, 8].map(|row| seen.at(row)),
            [Some(100), Some(100), Some(200), Some(200), None]
        );
    }
}
