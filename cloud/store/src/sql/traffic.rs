//! Telemetry in numbers, by gateway and hour of receipt: counted in the transaction that stores it.

use super::db::{Arg, Connection, params};
use super::row::failed;
use crate::alarms::Traffic;
use crate::block::HOUR_NS;
use crate::digest::Digest;
use crate::error::StoreError;
use protocols_model::{GatewayId, Timestamp};
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
        let rows: Vec<Vec<Arg<'_>>> = self
            .0
            .iter()
            .map(|((gateway, hour), sum)| {
                let counts = [sum.records, sum.stored, sum.filtered, sum.bytes];
                let mut row = vec![Arg::Int(*gateway), Arg::Int(*hour)];
                row.extend(counts.map(|count| Arg::Int(count.cast_signed())));
                row
            })
            .collect();
        conn.execute_many(
            "INSERT INTO traffic VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (gateway, hour)
             DO UPDATE SET records = traffic.records + excluded.records,
               stored = traffic.stored + excluded.stored,
               filtered = traffic.filtered + excluded.filtered,
               bytes = traffic.bytes + excluded.bytes",
            &rows,
        )
        .map_err(failed("counting telemetry"))
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
    conn.prepare_cached(
        "SELECT CAST(coalesce(sum(t.records), 0) AS BIGINT),
           CAST(coalesce(sum(t.stored), 0) AS BIGINT),
           CAST(coalesce(sum(t.filtered), 0) AS BIGINT), CAST(coalesce(sum(t.bytes), 0) AS BIGINT)
         FROM traffic t JOIN gateway g ON g.id = t.gateway WHERE g.name = ?1 AND t.hour >= ?2",
    )
    .and_then(|statement| {
        statement.query_row(params![gateway.as_str(), hour(since)], |row| {
            let number = |column: usize| row.get::<i64>(column).map(i64::unsigned_abs);
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
