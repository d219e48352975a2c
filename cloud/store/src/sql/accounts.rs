//! [`Accounts`].

use super::SqlStore;
use super::db::{Connection, DbResult, OptionalExtension, Row, params};
use super::row::failed;
use crate::accounts::{LoginFailures, Session, TokenHash, User};
use crate::error::StoreError;
use crate::store::Accounts;
use async_trait::async_trait;
use protocols_model::Timestamp;
use std::time::Duration;

/// A session's last use is written at most so often: a page that polls must not wear the disk.
const TOUCH: Duration = Duration::from_secs(60);

/// Failed logins are forgotten after so long without another.
const QUIET: Duration = Duration::from_secs(3600);

fn user(row: &Row<'_>) -> DbResult<User> {
    Ok(User {
        name: row.get(0)?,
        password_hash: row.get(1)?,
        created: Timestamp(row.get(2)?),
        password_set: Timestamp(row.get(3)?),
        one_time: row.get(4)?,
    })
}

fn session(row: &Row<'_>) -> DbResult<Session> {
    Ok(Session {
        token: row.get(0)?,
        user: row.get(1)?,
        created: Timestamp(row.get(2)?),
        last_seen: Timestamp(row.get(3)?),
        idle: Duration::from_nanos(row.get::<i64>(4)?.unsigned_abs()),
        expires: Timestamp(row.get(5)?),
        csrf: row.get(6)?,
    })
}

fn failures(conn: &Connection, key: &str, now: Timestamp) -> Result<LoginFailures, StoreError> {
    let found = conn
        .prepare_cached("SELECT count, last FROM login_failure WHERE key = ?1 AND last > ?2")
        .and_then(|statement| {
            statement
                .query_row(params![key, now.minus(QUIET).0], |row| {
                    Ok(LoginFailures {
                        count: row.get(0)?,
                        last: Timestamp(row.get(1)?),
                    })
                })
                .optional()
        })
        .map_err(failed("reading failed logins"))?;
    Ok(found.unwrap_or_default())
}

#[async_trait]
impl<E: Send + Sync + 'static> Accounts for SqlStore<E> {
    async fn add_user(&self, user: User) -> Result<(), StoreError> {
        let write = move |conn: &Connection| {
            let rows = conn
                .execute(
                    "INSERT INTO \"user\" VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                    params![
                        user.name,
                        user.password_hash,
                        user.created.0,
                        user.password_set.0,
                        user.one_time
                    ],
                )
                .map_err(failed("adding a user"))?;
            if rows > 0 {
                return Ok(());
            }
            Err(StoreError::Exists {
                what: format!("user {}", user.name),
            })
        };
        self.write("adding a user", write).await
    }

    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        let read = move |conn: &Connection| {
            conn.prepare_cached("SELECT * FROM \"user\" WHERE name = ?1")
                .and_then(|statement| statement.query_row([name.as_str()], user).optional())
                .map_err(failed("reading a user"))
        };
        self.read(read).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let read = |conn: &Connection| {
            conn.prepare_cached("SELECT * FROM \"user\" ORDER BY name")
                .and_then(|statement| statement.query_map([0_i64; 0], user)?.collect())
                .map_err(failed("reading users"))
        };
        self.read(read).await
    }

    async fn set_password(
        &self,
        name: &str,
        password_hash: &str,
        one_time: bool,
        at: Timestamp,
        keep: Option<TokenHash>,
    ) -> Result<(), StoreError> {
        let (name, hash) = (name.to_owned(), password_hash.to_owned());
        let write = move |conn: &Connection| {
            let fail = failed("setting a password");
            let rows = conn
                .execute(
                    "UPDATE \"user\" SET password_hash = ?2, password_set = ?3, one_time = ?4
                     WHERE name = ?1",
                    params![name, hash, at.0, one_time],
                )
                .map_err(&fail)?;
            if rows == 0 {
                return Err(StoreError::NotFound {
                    what: format!("user {name}"),
                });
            }
            conn.execute(
                "DELETE FROM session WHERE \"user\" = ?1 AND token IS DISTINCT FROM ?2",
                params![name, keep],
            )
            .map(drop)
            .map_err(&fail)
        };
        self.write("setting a password", write).await
    }

    async fn add_session(&self, session: Session) -> Result<(), StoreError> {
        let write = move |conn: &Connection| {
            let idle = i64::try_from(session.idle.as_nanos()).unwrap_or(i64::MAX);
            let known = conn
                .prepare_cached("SELECT 1 FROM \"user\" WHERE name = ?1")
                .and_then(|statement| statement.exists([session.user.as_str()]))
                .map_err(failed("beginning a session"))?;
            if !known {
                return Err(StoreError::NotFound {
                    what: format!("user {}", session.user),
                });
            }
            conn.execute(
                "INSERT INTO session VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    session.token,
                    session.user,
                    session.created.0,
                    session.last_seen.0,
                    idle,
                    session.expires.0,
                    session.csrf,
                ],
            )
            .map(drop)
            .map_err(failed("beginning a session"))
        };
        self.write("beginning a session", write).await
    }

    async fn session(
        &self,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let token = *token;
        let read = move |conn: &Connection| {
            conn.prepare_cached("SELECT * FROM session WHERE token = ?1")
                .and_then(|statement| statement.query_row([token], session).optional())
                .map_err(failed("reading a session"))
        };
        let Some(mut session) = self.read(read).await? else {
            return Ok(None);
        };
        if now >= session.expires || now >= session.last_seen.plus(session.idle) {
            return Ok(None);
        }
        if now.since(session.last_seen) >= TOUCH {
            session.last_seen = now;
            let write = move |conn: &Connection| {
                conn.execute(
                    "UPDATE session SET last_seen = ?2
                         WHERE token = ?1 AND last_seen < ?2",
                    params![token, now.0],
                )
                .map(drop)
                .map_err(failed("noting the use of a session"))
            };
            self.write("noting the use of a session", write).await?;
        }
        Ok(Some(session))
    }

    async fn end_session(&self, token: &TokenHash) -> Result<(), StoreError> {
        let token = *token;
        let write = move |conn: &Connection| {
            conn.execute("DELETE FROM session WHERE token = ?1", [token])
                .map(drop)
                .map_err(failed("ending a session"))
        };
        self.write("ending a session", write).await
    }

    async fn login_failed(&self, key: &str, now: Timestamp) -> Result<LoginFailures, StoreError> {
        let key = key.to_owned();
        let write = move |conn: &Connection| {
            conn.execute(
                "INSERT INTO login_failure VALUES (?1, 1, ?2) ON CONFLICT (key) DO UPDATE SET
                       count = CASE WHEN login_failure.last > ?3 THEN login_failure.count + 1
                         ELSE 1 END, last = ?2",
                params![key, now.0, now.minus(QUIET).0],
            )
            .map_err(failed("counting a failed login"))?;
            failures(conn, &key, now)
        };
        self.write("counting a failed login", write).await
    }

    async fn login_failures(&self, key: &str, now: Timestamp) -> Result<LoginFailures, StoreError> {
        let key = key.to_owned();
        self.read(move |conn| failures(conn, &key, now)).await
    }

    async fn login_succeeded(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        let write = move |conn: &Connection| {
            conn.execute("DELETE FROM login_failure WHERE key = ?1", [key.as_str()])
                .map(drop)
                .map_err(failed("forgetting failed logins"))
        };
        self.write("forgetting failed logins", write).await
    }
}
