//! [`Queries`] : lists. Charts: `query`; the export: `export`.

use super::SqlStore;
use super::db::{Connection, DbResult, Error, OptionalExtension, Row, params};
use super::event::{alarm_from_sql, kind_from_sql, kind_to_sql};
use super::row::failed;
use super::{QUARANTINE_PAYLOAD_BYTES, alarm, export, ledger, query, traffic};
use crate::alarms::{AlarmCounts, AlarmFilter, EventFilter, StoredAlarm, Traffic};
use crate::error::StoreError;
use crate::ingest::QuarantineInput;
use crate::query::{
    DeviceState, ExportFilter, Latest, LedgerEntry, LedgerFilter, PointCounts, QuarantineEntry,
    QueryRange, QueryResult, Series, SeriesId, StoredEvent,
};
use crate::store::{ExportStream, Queries};
use async_trait::async_trait;
use protocols_model::{DeviceId, Epoch, GatewayId, Lane, PointId, RecordKey, Timestamp, ValueType};
use protocols_wire::EventKind;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Gateway of quarantined input that names none.
pub(super) const NOBODY: i64 = 0;

/// Most rows of any list; more are asked for page by page.
pub(super) const MAX_ROWS: usize = 1_000;

/// Longest reason kept with quarantined input, in characters.
const MAX_REASON: usize = 500;

/// Row of a gateway and whether it was revoked.
pub(super) fn gateway_row(
    conn: &Connection,
    id: &GatewayId,
) -> Result<Option<(i64, bool)>, StoreError> {
    conn.prepare_cached("SELECT id, revoked IS NOT NULL FROM gateway WHERE name = ?1")
        .and_then(|statement| {
            statement
                .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(failed("reading a gateway"))
}

/// The same, by name, for a transaction that writes of the gateway: others that do wait.
pub(super) fn gateway_for_writing(conn: &Connection) -> String {
    format!(
        "SELECT id, revoked IS NOT NULL FROM gateway WHERE name = ?1{}",
        conn.lock_rows()
    )
}

/// Sets input aside; the oldest of the same gateway gives way.
pub(super) fn set_aside(
    conn: &Connection,
    gateway: i64,
    input: &QuarantineInput,
    most: u64,
) -> Result<(), StoreError> {
    let fail = failed("setting input aside");
    let hash = ring::digest::digest(&ring::digest::SHA256, &input.payload);
    let kept = input
        .payload
        .get(..QUARANTINE_PAYLOAD_BYTES)
        .unwrap_or(&input.payload);
    let reason: String = input.reason.chars().take(MAX_REASON).collect();
    conn.prepare_cached(
        "INSERT INTO quarantine (gateway, hash, topic, reason, received, times, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6) ON CONFLICT (gateway, hash)
         DO UPDATE SET times = quarantine.times + 1",
    )
    .and_then(|insert| {
        insert.execute(params![
            gateway,
            hash.as_ref(),
            input.topic,
            reason,
            input.received.0,
            kept
        ])
    })
    .map_err(&fail)?;
    conn.prepare_cached(
        "DELETE FROM quarantine WHERE gateway = ?1 AND id <= (SELECT id FROM quarantine
           WHERE gateway = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .and_then(|delete| delete.execute(params![gateway, most.cast_signed()]))
    .map(drop)
    .map_err(&fail)
}

const SERIES: &str = "SELECT s.id, g.name, s.device, s.point, s.value_type, s.unit, s.scale
     FROM series s JOIN gateway g ON g.id = s.gateway";

/// A text column that is an id of ours.
pub(super) fn id<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> DbResult<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| Error::Column {
        column,
        found: "other text",
        expected: "an id",
    })
}

fn series(row: &Row<'_>) -> DbResult<Series> {
    let kind: u8 = row.get(4)?;
    Ok(Series {
        id: SeriesId(row.get(0)?),
        gateway: id(row, 1)?,
        device: id(row, 2)?,
        point: id(row, 3)?,
        value_type: ValueType::from_index(kind).ok_or(Error::Column {
            column: 4,
            found: "another number",
            expected: "a type of values",
        })?,
        unit: row.get(5)?,
        scale: row.get(6)?,
    })
}

/// One series.
pub(super) fn series_by_id(conn: &Connection, id: SeriesId) -> Result<Option<Series>, StoreError> {
    conn.prepare_cached(&format!("{SERIES} WHERE s.id = ?1"))
        .and_then(|statement| statement.query_row([id.0], series).optional())
        .map_err(failed("reading a series"))
}

fn series_of_gateway(
    conn: &Connection,
    gateway: Option<&GatewayId>,
) -> Result<Vec<Series>, StoreError> {
    let sql = format!(
        "{SERIES} WHERE g.name = ?1 OR ?1 IS NULL ORDER BY g.name, s.device, s.point, s.id"
    );
    conn.prepare_cached(&sql)
        .and_then(|statement| {
            statement
                .query_map([gateway.map(GatewayId::as_str)], series)?
                .collect()
        })
        .map_err(failed("reading series"))
}

fn latest(
    conn: &Connection,
    shared: &super::Shared,
    gateway: &GatewayId,
    device: Option<&DeviceId>,
) -> Result<Vec<Latest>, StoreError> {
    let Some((row, _)) = gateway_row(conn, gateway)? else {
        return Ok(Vec::new());
    };
    let ids: Option<Vec<i64>> = match device {
        None => None,
        Some(device) => conn
            .prepare_cached("SELECT id FROM series WHERE gateway = ?1 AND device = ?2 ORDER BY id")
            .and_then(|statement| {
                statement
                    .query_map(params![row, device.as_str()], |row| row.get(0))?
                    .collect()
            })
            .map(Some)
            .map_err(failed("reading series"))?,
    };
    shared.with_derived(conn, row, |state| {
        let of = |id: &i64| state.series.get(id).and_then(|held| held.latest.clone());
        let Some(ids) = &ids else {
            let mut all: Vec<Latest> = state.series.keys().filter_map(of).collect();
            all.sort_by_key(|latest| latest.series);
            return all;
        };
        ids.iter().filter_map(of).collect()
    })
}

fn devices(
    conn: &Connection,
    shared: &super::Shared,
    gateway: &GatewayId,
) -> Result<Vec<DeviceState>, StoreError> {
    let Some((row, _)) = gateway_row(conn, gateway)? else {
        return Ok(Vec::new());
    };
    let fail = failed("reading devices");
    let links: HashMap<String, (Timestamp, String)> = conn
        .prepare_cached(
            "SELECT e.subject, e.time, e.text FROM event e JOIN (
               SELECT subject, max(id) AS id FROM event WHERE gateway = ?1 AND kind = ?2
               GROUP BY subject) newest ON newest.id = e.id",
        )
        .and_then(|statement| {
            let link =
                |row: &Row<'_>| Ok((row.get(0)?, (Timestamp(row.get(1)?), row.get::<String>(2)?)));
            let kind = kind_to_sql(EventKind::DeviceLink);
            statement.query_map(params![row, kind], link)?.collect()
        })
        .map_err(&fail)?;
    let mut all: BTreeMap<DeviceId, DeviceState> = BTreeMap::new();
    let listed = series_of_gateway(conn, Some(gateway))?;
    shared.with_derived(conn, row, |state| {
        for series in listed {
            let device = all
                .entry(series.device.clone())
                .or_insert_with(|| DeviceState {
                    link: links.get(series.device.as_str()).cloned(),
                    device: series.device,
                    series: 0,
                    newest: None,
                    newest_received: None,
                    newest_good: None,
                    bad: 0,
                });
            device.series += 1;
            let latest = state.series.get(&series.id.0);
            if let Some(latest) = latest.and_then(|series| series.latest.as_ref()) {
                let confirmed = latest
                    .confirmed
                    .map(|confirmed| (confirmed.at, confirmed.received));
                let (time, received) = confirmed.unwrap_or((latest.time, latest.received));
                device.newest = device.newest.max(Some(latest.time.max(time)));
                device.newest_received = device
                    .newest_received
                    .max(Some(latest.received.max(received)));
                device.newest_good = device.newest_good.max(latest.last_good);
                device.bad += u64::from(latest.quality.is_bad());
            }
        }
    })?;
    // A device that never answered has no series with a value, but the gateway speaks of it.
    for (subject, link) in &links {
        if let Ok(device) = DeviceId::try_new(subject) {
            all.entry(device.clone()).or_insert_with(|| DeviceState {
                device,
                series: 0,
                link: Some(link.clone()),
                newest: None,
                newest_received: None,
                newest_good: None,
                bad: 0,
            });
        }
    }
    Ok(all.into_values().collect())
}

fn event(row: &Row<'_>) -> DbResult<StoredEvent> {
    let epoch: Option<i64> = row.get(2)?;
    let lane: Option<u8> = row.get(3)?;
    let seq: Option<i64> = row.get(4)?;
    let lane = lane.and_then(Lane::from_index);
    Ok(StoredEvent {
        id: row.get(0)?,
        gateway: id(row, 1)?,
        record: epoch
            .zip(lane)
            .zip(seq)
            .map(|((epoch, lane), seq)| RecordKey {
                epoch: Epoch(epoch.cast_unsigned()),
                lane,
                seq: seq.cast_unsigned(),
            }),
        time: Timestamp(row.get(5)?),
        received: Timestamp(row.get(6)?),
        kind: kind_from_sql(row.get(7)?),
        subject: row.get(8)?,
        text: row.get(9)?,
        alarm: alarm_from_sql(row, 10)?,
    })
}

fn quarantined(row: &Row<'_>) -> DbResult<QuarantineEntry> {
    let gateway: Option<String> = row.get(1)?;
    Ok(QuarantineEntry {
        id: row.get(0)?,
        gateway: gateway.and_then(|name| GatewayId::try_new(&name).ok()),
        topic: row.get(2)?,
        reason: row.get(3)?,
        received: Timestamp(row.get(4)?),
        times: row.get::<i64>(5)?.unsigned_abs(),
        payload: row.get(6)?,
    })
}

#[async_trait]
impl<E: Send + Sync + 'static> Queries for SqlStore<E> {
    async fn series(&self, gateway: Option<&GatewayId>) -> Result<Vec<Series>, StoreError> {
        let gateway = gateway.cloned();
        self.read(move |conn| series_of_gateway(conn, gateway.as_ref()))
            .await
    }

    async fn series_by_id(&self, id: SeriesId) -> Result<Option<Series>, StoreError> {
        self.read(move |conn| series_by_id(conn, id)).await
    }

    async fn series_of_point(
        &self,
        gateway: &GatewayId,
        device: &DeviceId,
        point: &PointId,
    ) -> Result<Vec<Series>, StoreError> {
        let (gateway, device, point) = (gateway.clone(), device.clone(), point.clone());
        let read = move |conn: &Connection| {
            let name = params![gateway.as_str(), device.as_str(), point.as_str()];
            conn.prepare_cached(&format!(
                "{SERIES} WHERE g.name = ?1 AND s.device = ?2 AND s.point = ?3 ORDER BY s.id"
            ))
            .and_then(|statement| statement.query_map(name, series)?.collect())
            .map_err(failed("reading series"))
        };
        self.read(read).await
    }

    async fn devices(&self, gateway: &GatewayId) -> Result<Vec<DeviceState>, StoreError> {
        let (gateway, shared) = (gateway.clone(), Arc::clone(&self.shared));
        self.read(move |conn| devices(conn, &shared, &gateway))
            .await
    }

    async fn latest(
        &self,
        gateway: &GatewayId,
        device: Option<&DeviceId>,
    ) -> Result<Vec<Latest>, StoreError> {
        let (gateway, device) = (gateway.clone(), device.cloned());
        let shared = Arc::clone(&self.shared);
        self.read(move |conn| latest(conn, &shared, &gateway, device.as_ref()))
            .await
    }

    async fn query(&self, series: SeriesId, range: QueryRange) -> Result<QueryResult, StoreError> {
        let retention = self.shared.limits.retention;
        self.read(move |conn| query::query(conn, series, range, retention))
            .await
    }

    async fn ledger(&self, filter: LedgerFilter) -> Result<Vec<LedgerEntry>, StoreError> {
        self.read(move |conn| ledger::ledger(conn, &filter)).await
    }

    async fn events(&self, filter: EventFilter) -> Result<Vec<StoredEvent>, StoreError> {
        let read = move |conn: &Connection| {
            conn.prepare_cached(
                "SELECT e.id, g.name, e.epoch, e.lane, e.seq, e.time, e.received, e.kind,
                   e.subject, e.text, e.alarm_level, e.alarm_state, e.alarm_quiet, e.alarm_points
                 FROM event e JOIN gateway g ON g.id = e.gateway
                 WHERE e.id < ?1 AND (g.name = ?2 OR ?2 IS NULL) AND (e.kind = ?4 OR ?4 IS NULL)
                   AND (e.subject = ?5 OR ?5 IS NULL)
                 ORDER BY e.id DESC LIMIT ?3",
            )
            .and_then(|statement| {
                let before = filter.before.unwrap_or(i64::MAX);
                let limit = i64::try_from(filter.limit.min(MAX_ROWS)).unwrap_or(0);
                let name = filter.gateway.as_ref().map(GatewayId::as_str);
                let kind = filter.kind.map(kind_to_sql);
                statement
                    .query_map(params![before, name, limit, kind, filter.subject], event)?
                    .collect()
            })
            .map_err(failed("reading events"))
        };
        self.read(read).await
    }

    async fn alarms(&self, filter: AlarmFilter) -> Result<Vec<StoredAlarm>, StoreError> {
        self.read(move |conn| alarm::alarms(conn, &filter)).await
    }

    async fn alarm_counts(&self, gateway: Option<&GatewayId>) -> Result<AlarmCounts, StoreError> {
        let gateway = gateway.cloned();
        self.read(move |conn| alarm::counts(conn, gateway.as_ref()))
            .await
    }

    async fn traffic(&self, gateway: &GatewayId, since: Timestamp) -> Result<Traffic, StoreError> {
        let gateway = gateway.clone();
        self.read(move |conn| traffic::since(conn, &gateway, since))
            .await
    }

    async fn counts(&self, gateway: &GatewayId) -> Result<Vec<PointCounts>, StoreError> {
        let (gateway, shared) = (gateway.clone(), Arc::clone(&self.shared));
        self.read(move |conn| ledger::counts(conn, &shared, &gateway))
            .await
    }

    async fn quarantined(
        &self,
        gateway: Option<&GatewayId>,
        limit: usize,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        let gateway = gateway.cloned();
        let read = move |conn: &Connection| {
            conn.prepare_cached(
                "SELECT q.id, g.name, q.topic, q.reason, q.received, q.times, q.payload
                 FROM quarantine q LEFT JOIN gateway g ON g.id = q.gateway
                 WHERE g.name = ?1 OR ?1 IS NULL ORDER BY q.id DESC LIMIT ?2",
            )
            .and_then(|statement| {
                let limit = i64::try_from(limit.min(MAX_ROWS)).unwrap_or(0);
                let name = gateway.as_ref().map(GatewayId::as_str);
                statement
                    .query_map(params![name, limit], quarantined)?
                    .collect()
            })
            .map_err(failed("reading the quarantine"))
        };
        self.read(read).await
    }

    async fn export(&self, filter: ExportFilter) -> Result<ExportStream, StoreError> {
        export::start(&self.shared, filter)
    }
}
