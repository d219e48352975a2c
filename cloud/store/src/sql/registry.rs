//! [`Registry`]. Always read from the table: another process may write it beside us.

use super::SqlStore;
use super::db::{Arg, Connection, DbResult, OptionalExtension, Row, params};
use super::read;
use super::row::failed;
use crate::error::StoreError;
use crate::registry::{Gateway, GatewayState, NewGateway};
use crate::store::Registry;
use async_trait::async_trait;
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Hello;
use std::collections::HashSet;
use std::sync::Arc;

const COLUMNS: &str = "name, serial, fingerprint, not_after, created, revoked, note";

fn gateway(row: &Row<'_>) -> DbResult<Gateway> {
    Ok(Gateway {
        id: read::id(row, 0)?,
        serial: row.get(1)?,
        fingerprint: row.get(2)?,
        not_after: Timestamp(row.get(3)?),
        created: Timestamp(row.get(4)?),
        revoked: row.get::<Option<i64>>(5)?.map(Timestamp),
        note: row.get(6)?,
    })
}

fn one(conn: &Connection, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM gateway WHERE name = ?1"))
        .and_then(|statement| statement.query_row([id.as_str()], gateway).optional())
        .map_err(failed("reading a gateway"))
}

/// Notes a session, or that it ended.
const PUT_SESSION: &str = "INSERT INTO gateway_session VALUES (?1, ?2, ?3)
     ON CONFLICT (gateway) DO UPDATE SET connected = excluded.connected, since = excluded.since";

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
impl<E: Send + Sync + 'static> Registry for SqlStore<E> {
    async fn add_gateway(&self, gateway: NewGateway) -> Result<(), StoreError> {
        let doing = "entering a gateway";
        let write = move |conn: &Connection| {
            let rows = conn
                .execute(
                    "INSERT INTO gateway (name, serial, fingerprint, not_after, created, note)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                    params![
                        gateway.id.as_str(),
                        gateway.serial,
                        gateway.fingerprint,
                        gateway.not_after.0,
                        gateway.created.0,
                        gateway.note,
                    ],
                )
                .map_err(failed(doing))?;
            if rows > 0 {
                return Ok(());
            }
            Err(StoreError::Exists {
                what: format!("gateway {}", gateway.id),
            })
        };
        self.write(doing, write).await
    }

    async fn renew_gateway(
        &self,
        id: &GatewayId,
        serial: &str,
        fingerprint: &str,
        not_after: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "renewing a gateway";
        let (id, serial, fingerprint) = (id.clone(), serial.to_owned(), fingerprint.to_owned());
        let write = move |conn: &Connection| {
            let rows = conn
                .execute(
                    "UPDATE gateway SET serial = ?2, fingerprint = ?3, not_after = ?4
                     WHERE name = ?1",
                    params![id.as_str(), serial, fingerprint, not_after.0],
                )
                .map_err(failed(doing))?;
            must_exist(rows, &id)
        };
        self.write(doing, write).await
    }

    async fn gateway(&self, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
        let id = id.clone();
        self.read(move |conn| one(conn, &id)).await
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        let read = |conn: &Connection| {
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM gateway ORDER BY name"))
                .and_then(|statement| statement.query_map([0_i64; 0], gateway)?.collect())
                .map_err(failed("reading gateways"))
        };
        self.read(read).await
    }

    async fn revoke_gateway(&self, id: &GatewayId, at: Timestamp) -> Result<bool, StoreError> {
        let doing = "revoking a gateway";
        let id = id.clone();
        let write = move |conn: &Connection| {
            let rows = conn
                .execute(
                    "UPDATE gateway SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL",
                    params![id.as_str(), at.0],
                )
                .map_err(failed(doing))?;
            if rows == 0 {
                must_exist(usize::from(one(conn, &id)?.is_some()), &id)?;
            }
            Ok(rows > 0)
        };
        self.write(doing, write).await
    }

    async fn set_session(
        &self,
        id: &GatewayId,
        connected: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "noting a session";
        let id = id.clone();
        let write = move |conn: &Connection| {
            let Some((row, _)) = read::gateway_row(conn, &id)? else {
                return Ok(());
            };
            conn.execute(PUT_SESSION, params![row, connected, at.0])
                .map(drop)
                .map_err(failed(doing))
        };
        self.write(doing, write).await
    }

    async fn set_sessions(&self, connected: &[GatewayId], at: Timestamp) -> Result<(), StoreError> {
        let doing = "noting sessions";
        let connected: HashSet<String> = connected.iter().map(ToString::to_string).collect();
        let write = move |conn: &Connection| {
            let fail = failed(doing);
            let before: Vec<(i64, String, bool)> = conn
                .prepare_cached(
                    "SELECT g.id, g.name, coalesce(s.connected, 0) FROM gateway g
                     LEFT JOIN gateway_session s ON s.gateway = g.id ORDER BY g.id",
                )
                .and_then(|statement| {
                    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    statement.query_map([0_i64; 0], row)?.collect()
                })
                .map_err(fail)?;
            // A session that lasts keeps its begin.
            let rows: Vec<Vec<Arg<'_>>> = before
                .iter()
                .filter(|(_, name, before)| connected.contains(name) != *before)
                .map(|(row, _, before)| {
                    vec![Arg::Int(*row), Arg::Int(i64::from(!before)), Arg::Int(at.0)]
                })
                .collect();
            conn.execute_many(PUT_SESSION, &rows).map_err(fail)
        };
        self.write(doing, write).await
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
                .and_then(|statement| {
                    let session = |row: &Row<'_>| Ok((row.get(0)?, Timestamp(row.get(1)?)));
                    statement.query_row([row], session).optional()
                })
                .map_err(&fail)?;
            let hello: Option<(i64, Vec<u8>, bool)> = conn
                .prepare_cached(
                    "SELECT received, payload, cloned FROM gateway_hello WHERE gateway = ?1",
                )
                .and_then(|statement| {
                    let hello = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    statement.query_row([row], hello).optional()
                })
                .map_err(&fail)?;
            let count = |sql: &str| -> Result<u64, StoreError> {
                conn.prepare_cached(sql)
                    .and_then(|statement| statement.query_row([row], |row| row.get(0)))
                    .map(i64::unsigned_abs)
                    .map_err(&fail)
            };
            let series = count("SELECT count(*) FROM series WHERE gateway = ?1")?;
            let quarantined = count("SELECT count(*) FROM quarantine WHERE gateway = ?1")?;
            let (newest_sample, newest_received) = shared.with_derived(conn, row, |state| {
                (state.newest_sample, state.newest_received)
            })?;
            Ok(Some(GatewayState {
                gateway,
                session,
                cloned: hello.as_ref().is_some_and(|(.., cloned)| *cloned),
                // One that an older version wrote and nobody reads any more is as good as none.
                hello: hello.and_then(|(received, payload, _)| {
                    Some((Timestamp(received), Hello::decode(&payload).ok()?))
                }),
                newest_sample,
                newest_received,
                series,
                quarantined,
            }))
        };
        self.read(read).await
    }
}
