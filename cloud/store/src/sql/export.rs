//! The export: every stored sample, from one snapshot, chunk by chunk.
//!
//! A thread and a connection of its own: a long export holds up no query. While it runs the WAL
//! cannot be cut, so it grows; the caller should read on. A caller that goes away ends it.

use super::db::{Connection, params};
use super::fold::{BLOCK_COLUMNS, BlockRow, RECORD_COLUMNS, RecordRow, SUSPECT, block_tables};
use super::known::Known;
use super::row::failed;
use super::threads::aside;
use super::{Shared, read};
use crate::block::BlockSample;
use crate::error::StoreError;
use crate::query::{ExportFilter, ExportedSample, SeriesId};
use crate::stamp;
use crate::store::ExportStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Samples per chunk.
const CHUNK: usize = 2_048;
/// Chunks under way: one being written out, one being made.
const CHUNKS: usize = 2;

type Chunk = Result<Vec<ExportedSample>, StoreError>;

/// Begins an export.
pub(super) fn start(
    shared: &Arc<Shared>,
    filter: ExportFilter,
) -> Result<ExportStream, StoreError> {
    let retention = shared.limits.retention;
    let (out, chunks) = mpsc::channel(CHUNKS);
    aside(shared, "store-export", move |conn| {
        let mut sink = Sink {
            out,
            chunk: Vec::with_capacity(CHUNK),
        };
        let done = walk(conn, &filter, retention, &mut sink).and_then(|()| sink.flush());
        match done {
            // Gone is the caller: nobody is left to be told.
            Ok(()) | Err(StoreError::Closed) => {}
            Err(why) => drop(sink.out.blocking_send(Err(why))),
        }
        Ok(())
    })?;
    Ok(ExportStream::new(chunks))
}

struct Sink {
    out: mpsc::Sender<Chunk>,
    chunk: Vec<ExportedSample>,
}

impl Sink {
    fn put(
        &mut self,
        series: i64,
        sample: BlockSample,
        shift: i64,
        suspect: bool,
    ) -> Result<(), StoreError> {
        self.chunk.push(ExportedSample {
            series: SeriesId(series),
            time: stamp::corrected(sample.time, shift),
            value: sample.value,
            quality: sample.quality,
            record: sample.record,
            suspect,
        });
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        if chunk.is_empty() {
            return Ok(());
        }
        self.out
            .blocking_send(Ok(chunk))
            .map_err(|_| StoreError::Closed)
    }
}

fn walk(
    conn: &Connection,
    filter: &ExportFilter,
    retention: Duration,
    sink: &mut Sink,
) -> Result<(), StoreError> {
    let gateway = match &filter.gateway {
        None => None,
        Some(name) => match read::gateway_row(conn, name)? {
            None => return Ok(()),
            Some((row, _)) => Some(row),
        },
    };
    let series = filter.series.map(|series| series.0);
    let mut tables = block_tables(conn, (i64::MIN, i64::MAX))?;
    tables.push(SUSPECT.to_owned());
    for table in tables {
        let fail = failed("exporting blocks");
        let sql = format!(
            "SELECT {BLOCK_COLUMNS} FROM \"{table}\" WHERE (series = ?1 OR ?1 IS NULL)
             AND (series IN (SELECT id FROM series WHERE gateway = ?2) OR ?2 IS NULL)"
        );
        let statement = conn.prepare_cached(&sql).map_err(&fail)?;
        statement.each(params![series, gateway], fail, |row| {
            let block = BlockRow::read(row).map_err(&fail)?;
            for sample in block.samples()? {
                sink.put(block.series, sample, block.shift, table == SUSPECT)?;
            }
            Ok(())
        })?;
    }
    let fail = failed("exporting records");
    let sql = format!("SELECT {RECORD_COLUMNS} FROM record WHERE gateway = ?1 OR ?1 IS NULL");
    let statement = conn.prepare_cached(&sql).map_err(&fail)?;
    let mut known = Known::default();
    statement.each([gateway], fail, |row| {
        let record = RecordRow::read(row).map_err(&fail)?;
        let mut put = Ok(());
        record.samples(conn, &mut known, |of, sample| {
            if put.is_ok() && series.is_none_or(|series| series == of) {
                let suspect = record.is_suspect(&sample, retention);
                put = sink.put(of, sample, record.shift, suspect);
            }
        })?;
        put
    })
}
