//! Telemetry in numbers, by gateway and hour of receipt: counted in the transaction that stores it.

use super::row::failed;
use crate::alarms::Traffic;
use crate::block::HOUR_NS;
use crate::digest::Digest;
use crate::error::StoreError;
use protocols_model::{GatewayId, Timestamp};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// What one transaction adds.
#[derive(Debug, Default)]
pub(super) struct Hours(BTreeMap<(i64, i64), Traffic>);

impl Hours {
    /// Counts a record that was stored.
    pub(super) fn add(&mut self, gateway: i64, received: Timestamp, digest: &Digest, bytes: usize) {
        let sum = self.0.entry((gateway, hour(received))).or_default();
        sum.records += 1;
        sum.stored += digest.readings;
        sum.filtered = digest.columns.iter().fold(sum.filtered, |sum, column| {
            sum.saturating_add(column.filtered)
        });
        sum.bytes += bytes as u64;
    }

    /// Writes it all down.
    pub(super) fn write(&self, conn: &Connection) -> Result<(), StoreError> {
        for ((gateway, hour), sum) in &self.0 {
            conn.prepare_cached(
                "INSERT INTO traffic VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
                   records = records + excluded.records, stored = stored + excluded.stored,
                   filtered = filtered + excluded.filtered, bytes = bytes + excluded.bytes",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    gateway,
                    hour,
                    sum.records.cast_signed(),
                    sum.stored.cast_signed(),
                    sum.filtered.cast_signed(),
                    sum.bytes.cast_signed(),
                ])
            })
            .map_err(failed("counting telemetry"))?;
        }
        Ok(())
    }
}

/// Hours since 1970.
pub(super) const fn hour(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR_NS)
}

/// What came of a gateway since the hour of `since`.
pub(super) fn since(
    conn: &Connection,
    gateway: &GatewayId,
    since: Timestamp,
) -> Result<Traffic, StoreError> {
    // A sum of integers that overflows is an error of the database; total() is a float and never is.
    conn.prepare_cached(
        "SELECT coalesce(sum(t.records), 0), coalesce(sum(t.stored), 0),
           coalesce(sum(t.filtered), 0), coalesce(sum(t.bytes), 0)
         FROM traffic t JOIN gateway g ON g.id = t.gateway WHERE g.name = ?1 AND t.hour >= ?2",
    )
    .and_then(|mut statement| {
        statement.query_row(params![gateway.as_str(), hour(since)], |row| {
            let number = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Traffic {
                records: number(0)?,
                stored: number(1)?,
                filtered: number(2)?,
                bytes: number(3)?,
            })
        })
    })
    .map_err(failed("reading what came"))
}
