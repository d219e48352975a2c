//! [`Registry`] on SQLite. Always read from the table: a command line tool may write it beside us.

use super::SqliteStore;
use super::row::failed;
use super::{read, threads::WriterState};
use crate::error::StoreError;
use crate::registry::{Gateway, GatewayState, NewGateway};
use crate::store::Registry;
use async_trait::async_trait;
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Hello;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::sync::Arc;

const COLUMNS: &str = "name, serial, fingerprint, not_after, created, revoked, note";

fn gateway(row: &Row<'_>) -> rusqlite::Result<Gateway> {
    let name: String = row.get(0)?;
    let id = GatewayId::try_new(&name).map_err(|why| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(why))
    })?;
    Ok(Gateway {
        id,
        serial: row.get(1)?,
        fingerprint: row.get(2)?,
        not_after: Timestamp(row.get(3)?),
        created: Timestamp(row.get(4)?),
        revoked: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        note: row.get(6)?,
    })
}

fn one(conn: &Connection, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM gateway WHERE name = ?1"))
        .and_then(|mut statement| statement.query_row([id.as_str()], gateway).optional())
        .map_err(failed("reading a gateway"))
}

/// Fails where an update met no row.
fn must_exist(rows: usize, id: &GatewayId) -> Result<(), StoreError> {
    if rows > 0 {
        return Ok(());
    }
    Err(StoreError::NotFound {
        what: format!("gateway {id}"),
    })
}

#[async_trait]
impl Registry for SqliteStore {
    async fn add_gateway(&self, gateway: NewGateway) -> Result<(), StoreError> {
        let write = move |state: &mut WriterState| {
            let rows = state
                .conn
                .execute(
                    "INSERT OR IGNORE INTO gateway
                       (name, serial, fingerprint, not_after, created, note)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        gateway.id.as_str(),
                        gateway.serial,
                        gateway.fingerprint,
                        gateway.not_after.0,
                        gateway.created.0,
                        gateway.note,
                    ],
                )
                .map_err(failed("entering a gateway"))?;
            if rows > 0 {
                return Ok(());
            }
            Err(StoreError::Exists {
                what: format!("gateway {}", gateway.id),
            })
        };
        self.writer.call(write).await
    }

    async fn renew_gateway(
        &self,
        id: &GatewayId,
        serial: &str,
        fingerprint: &str,
        not_after: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, serial, fingerprint) = (id.clone(), serial.to_owned(), fingerprint.to_owned());
        let write = move |state: &mut WriterState| {
            let rows = state
                .conn
                .execute(
                    "UPDATE gateway SET serial = ?2, fingerprint = ?3, not_after = ?4
                     WHERE name = ?1",
                    params![id.as_str(), serial, fingerprint, not_after.0],
                )
                .map_err(failed("renewing a gateway"))?;
            must_exist(rows, &id)
        };
        self.writer.call(write).await
    }

    async fn gateway(&self, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
        let id = id.clone();
        self.readers.call(move |conn| one(conn, &id)).await
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        let read = |conn: &Connection| {
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM gateway ORDER BY name"))
                .and_then(|mut statement| statement.query_map([], gateway)?.collect())
                .map_err(failed("reading gateways"))
        };
        self.readers.call(read).await
    }

    async fn revoke_gateway(&self, id: &GatewayId, at: Timestamp) -> Result<bool, StoreError> {
        let id = id.clone();
        let write = move |state: &mut WriterState| {
            let rows = state
                .conn
                .execute(
                    "UPDATE gateway SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL",
                    params![id.as_str(), at.0],
                )
                .map_err(failed("revoking a gateway"))?;
            if rows == 0 {
                must_exist(usize::from(one(&state.conn, &id)?.is_some()), &id)?;
            }
            Ok(rows > 0)
        };
        self.writer.call(write).await
    }

    async fn set_session(
        &self,
        id: &GatewayId,
        connected: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        let write = move |state: &mut WriterState| {
            state
                .conn
                .execute(
                    "INSERT INTO gateway_session SELECT id, ?2, ?3 FROM gateway WHERE name = ?1
                     ON CONFLICT DO UPDATE SET connected = excluded.connected,
                       since = excluded.since",
                    params![id.as_str(), connected, at.0],
                )
                .map(drop)
                .map_err(failed("noting a session"))
        };
        self.writer.call(write).await
    }

    async fn set_sessions(&self, connected: &[GatewayId], at: Timestamp) -> Result<(), StoreError> {
        let connected = connected.to_vec();
        let write = move |state: &mut WriterState| {
            let fail = failed("noting sessions");
            let tx = state.conn.transaction().map_err(&fail)?;
            let names: Vec<&str> = connected.iter().map(GatewayId::as_str).collect();
            let names = serde_json::to_string(&names).map_err(|source| StoreError::Database {
                doing: "noting sessions",
                source: Box::new(source),
            })?;
            // A session that lasts keeps its begin.
            tx.execute(
                "UPDATE gateway_session SET connected = 0, since = ?2 WHERE connected = 1 AND
                   gateway NOT IN (SELECT gateway.id FROM gateway, json_each(?1) WHERE name = value)",
                params![names, at.0],
            )
            .map_err(&fail)?;
            tx.execute(
                "INSERT INTO gateway_session
                   SELECT gateway.id, 1, ?2 FROM gateway, json_each(?1) WHERE name = value
                 ON CONFLICT DO UPDATE SET connected = 1, since = excluded.since
                   WHERE connected = 0",
                params![names, at.0],
            )
            .map_err(&fail)?;
            tx.commit().map_err(&fail)
        };
        self.writer.call(write).await
    }

    async fn gateway_state(&self, id: &GatewayId) -> Result<Option<GatewayState>, StoreError> {
        let id = id.clone();
        let shared = Arc::clone(&self.shared);
        let read = move |conn: &Connection| {
            let Some((row, _)) = read::gateway_row(conn, &id)? else {
                return Ok(None);
            };
            let Some(gateway) = one(conn, &id)? else {
                return Ok(None);
            };
            let fail = failed("reading the state of a gateway");
            let session = conn
                .prepare_cached("SELECT connected, since FROM gateway_session WHERE gateway = ?1")
                .and_then(|mut statement| {
                    let session = |row: &Row<'_>| Ok((row.get(0)?, Timestamp(row.get(1)?)));
                    statement.query_row([row], session).optional()
                })
                .map_err(&fail)?;
            let hello: Option<(i64, Vec<u8>, bool)> = conn
                .prepare_cached(
                    "SELECT received, payload, cloned FROM gateway_hello WHERE gateway = ?1",
                )
                .and_then(|mut statement| {
                    let hello = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    statement.query_row([row], hello).optional()
                })
                .map_err(&fail)?;
            let count = |sql: &str| -> Result<u64, StoreError> {
                conn.prepare_cached(sql)
                    .and_then(|mut statement| statement.query_row([row], |row| row.get(0)))
                    .map(i64::unsigned_abs)
                    .map_err(&fail)
            };
            let series = count("SELECT count(*) FROM series WHERE gateway = ?1")?;
            let quarantined = count("SELECT count(*) FROM quarantine WHERE gateway = ?1")?;
            shared.make_derived(conn)?;
            let derived = shared.derived();
            let freshness = derived.get(&row);
            Ok(Some(GatewayState {
                gateway,
                session,
                cloned: hello.as_ref().is_some_and(|(.., cloned)| *cloned),
                // One that an older version wrote and nobody reads any more is as good as none.
                hello: hello.and_then(|(received, payload, _)| {
                    Some((Timestamp(received), Hello::decode(&payload).ok()?))
                }),
                newest_sample: freshness.and_then(|state| state.newest_sample),
                newest_received: freshness.and_then(|state| state.newest_received),
                series,
                quarantined,
            }))
        };
        self.readers.call(read).await
    }
}
