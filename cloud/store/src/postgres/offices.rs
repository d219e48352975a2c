//! Offices of processes that share a database: a row each, with the end of the term by the clock of the
//! server, so that nobody's own clock decides.

use super::PostgresStore;
use crate::error::StoreError;
use crate::generation;
use crate::offices::{Office, Offices, TERM};
use crate::sql::db::{Connection, params};
use crate::sql::row::failed;
use async_trait::async_trait;

/// One process' part in the offices of its database.
#[derive(Debug, Clone)]
pub struct PostgresOffices {
    store: PostgresStore,
    /// Tells this process from the others.
    holder: i64,
}

impl PostgresOffices {
    /// The offices of a store's database.
    ///
    /// # Errors
    /// [`StoreError::Database`] where the system gives no random bytes.
    pub fn new(store: PostgresStore) -> Result<Self, StoreError> {
        let holder = generation::draw()?.cast_signed();
        Ok(Self { store, holder })
    }
}

#[async_trait]
impl Offices for PostgresOffices {
    async fn hold(&self, office: Office) -> Result<bool, StoreError> {
        let doing = "taking an office";
        let holder = self.holder;
        let term = i64::try_from(TERM.as_millis()).unwrap_or(i64::MAX);
        let take = move |conn: &Connection| {
            let rows = conn
                .execute(
                    "INSERT INTO office AS held VALUES (?1, ?2,
                       CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + ?3)
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder,
                       until = excluded.until
                     WHERE held.holder = excluded.holder OR held.until < excluded.until - ?3",
                    params![office.as_str(), holder, term],
                )
                .map_err(failed(doing))?;
            Ok(rows > 0)
        };
        self.store.write(doing, take).await
    }

    async fn resign(&self, office: Office) -> Result<(), StoreError> {
        let doing = "giving an office up";
        let holder = self.holder;
        let give = move |conn: &Connection| {
            conn.execute(
                "DELETE FROM office WHERE name = ?1 AND holder = ?2",
                params![office.as_str(), holder],
            )
            .map(drop)
            .map_err(failed(doing))
        };
        self.store.write(doing, give).await
    }
}
