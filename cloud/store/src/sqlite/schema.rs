//! Tables and how they came to be: numbered migrations, each one transaction.
//!
//! Migrations only expand; a later release may contract what nobody reads any more. The version
//! stands in `user_version`; a database of a newer program is refused, never touched.

use crate::error::StoreError;
use crate::sql::week::{block_table, minute_table};
use rusqlite::Connection;
use std::path::Path;

/// Marks the file as ours ("FOGL").
const APPLICATION_ID: i32 = 0x464f_474c;

/// Each entry takes the schema from its index to its index + 1.
const MIGRATIONS: [&str; NEWEST as usize] = [INITIAL, ALARMS, CONFIRMED];

/// Newest schema version.
pub(super) const NEWEST: u32 = 3;

/// Latest values know when a sign of life last confirmed them.
const CONFIRMED: &str = "
ALTER TABLE series_state ADD COLUMN confirmed INTEGER;
ALTER TABLE series_state ADD COLUMN confirmed_received INTEGER;
";

/// u64 numbers (epoch, seq, boot) are stored as the i64 with the same bits; times are nanoseconds
/// UTC; sets of seqs are pairs of u64, little-endian.
const INITIAL: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE gateway (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
  serial TEXT NOT NULL, fingerprint TEXT NOT NULL, not_after INTEGER NOT NULL,
  created INTEGER NOT NULL, revoked INTEGER, note TEXT NOT NULL);
CREATE TABLE gateway_session (
  gateway INTEGER PRIMARY KEY, connected INTEGER NOT NULL, since INTEGER NOT NULL);
CREATE TABLE gateway_hello (
  gateway INTEGER PRIMARY KEY, received INTEGER NOT NULL, payload BLOB NOT NULL,
  boots BLOB NOT NULL, cloned INTEGER NOT NULL);
-- Everything of the gateway's records up to row `through` is in series_state.
CREATE TABLE gateway_state (
  gateway INTEGER PRIMARY KEY, through INTEGER NOT NULL,
  newest_sample INTEGER, newest_received INTEGER);

CREATE TABLE series (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gateway INTEGER NOT NULL,
  device TEXT NOT NULL, point TEXT NOT NULL, value_type INTEGER NOT NULL, unit TEXT NOT NULL,
  scale REAL NOT NULL);
CREATE UNIQUE INDEX series_name ON series (gateway, device, point, value_type, unit);
CREATE TABLE series_state (
  series INTEGER PRIMARY KEY, stored INTEGER NOT NULL, filtered INTEGER NOT NULL,
  time INTEGER, received INTEGER, quality INTEGER, last_good INTEGER, suspect INTEGER,
  value);
CREATE TABLE dictionary (hash BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE epoch (
  gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, active INTEGER NOT NULL, closed INTEGER,
  PRIMARY KEY (gateway, epoch)) WITHOUT ROWID;
CREATE TABLE cursor (
  gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, lane INTEGER NOT NULL,
  covered BLOB NOT NULL, has_lost INTEGER NOT NULL, writes INTEGER NOT NULL,
  PRIMARY KEY (gateway, epoch, lane)) WITHOUT ROWID;

CREATE TABLE record (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gateway INTEGER NOT NULL,
  epoch INTEGER NOT NULL, lane INTEGER NOT NULL, seq INTEGER NOT NULL,
  received INTEGER NOT NULL, boot INTEGER NOT NULL, clock_offset INTEGER NOT NULL,
  shift INTEGER NOT NULL, first INTEGER, last INTEGER, body BLOB NOT NULL);
CREATE UNIQUE INDEX record_key ON record (gateway, epoch, lane, seq);
CREATE INDEX record_received ON record (received);

-- Samples that no chart shows, because their stamp cannot be right; week by time of receipt.
CREATE TABLE block_suspect (
  id INTEGER PRIMARY KEY AUTOINCREMENT, series INTEGER NOT NULL, hour INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, received INTEGER NOT NULL,
  boot INTEGER NOT NULL, clock_offset INTEGER NOT NULL, shift INTEGER NOT NULL,
  count INTEGER NOT NULL, bad INTEGER NOT NULL, valued INTEGER NOT NULL, sum REAL,
  min, max, first_value, last_value, data BLOB NOT NULL);
CREATE INDEX block_suspect_series ON block_suspect (series, hour);
CREATE INDEX block_suspect_boot ON block_suspect (boot);
-- Blocks and 1-minute rollups lie in a pair of tables per week, made when needed, dropped whole.
CREATE TABLE week (week INTEGER PRIMARY KEY);
CREATE TABLE rollup_hour (
  series INTEGER NOT NULL, start INTEGER NOT NULL,
  count INTEGER NOT NULL, bad INTEGER NOT NULL, valued INTEGER NOT NULL, sum REAL,
  min, max, first_time INTEGER, first_value, last_time INTEGER, last_value, bad_quality INTEGER,
  PRIMARY KEY (series, start)) WITHOUT ROWID;
CREATE TABLE rollup_day (
  series INTEGER NOT NULL, start INTEGER NOT NULL,
  count INTEGER NOT NULL, bad INTEGER NOT NULL, valued INTEGER NOT NULL, sum REAL,
  min, max, first_time INTEGER, first_value, last_time INTEGER, last_value, bad_quality INTEGER,
  PRIMARY KEY (series, start)) WITHOUT ROWID;

CREATE TABLE claim (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gateway INTEGER NOT NULL,
  epoch INTEGER NOT NULL, lane INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  lost BLOB NOT NULL, is_lost INTEGER NOT NULL, reason INTEGER NOT NULL,
  time_from INTEGER, time_to INTEGER, readings INTEGER, at_most INTEGER,
  upper_bound INTEGER NOT NULL, by_cloud INTEGER NOT NULL, received INTEGER NOT NULL);
CREATE INDEX claim_cursor ON claim (gateway, epoch, lane, is_lost);
CREATE TABLE claim_point (
  claim INTEGER NOT NULL, dictionary BLOB NOT NULL, place INTEGER NOT NULL,
  readings INTEGER NOT NULL, filtered INTEGER NOT NULL,
  PRIMARY KEY (claim, dictionary, place)) WITHOUT ROWID;

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gateway INTEGER NOT NULL,
  epoch INTEGER, lane INTEGER, seq INTEGER,
  time INTEGER NOT NULL, received INTEGER NOT NULL, kind INTEGER NOT NULL,
  subject TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX event_subject ON event (gateway, kind, subject);
CREATE TABLE time_map (
  gateway INTEGER NOT NULL, boot INTEGER NOT NULL, origin INTEGER NOT NULL,
  uncertainty INTEGER NOT NULL, received INTEGER NOT NULL, pending INTEGER NOT NULL,
  PRIMARY KEY (gateway, boot)) WITHOUT ROWID;

CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY AUTOINCREMENT, gateway INTEGER NOT NULL, hash BLOB NOT NULL,
  topic TEXT NOT NULL, reason TEXT NOT NULL, received INTEGER NOT NULL, times INTEGER NOT NULL,
  payload BLOB NOT NULL);
CREATE UNIQUE INDEX quarantine_hash ON quarantine (gateway, hash);

CREATE TABLE user (
  name TEXT PRIMARY KEY, password_hash TEXT NOT NULL, created INTEGER NOT NULL,
  password_set INTEGER NOT NULL, one_time INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (
  token BLOB PRIMARY KEY, user TEXT NOT NULL, created INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, idle INTEGER NOT NULL, expires INTEGER NOT NULL,
  csrf TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX session_user ON session (user);
CREATE TABLE login_failure (
  key TEXT PRIMARY KEY, count INTEGER NOT NULL, last INTEGER NOT NULL) WITHOUT ROWID;
";

/// Alarms as they stand, what events say of them, in which order epochs ran, and what came per hour.
const ALARMS: &str = "
ALTER TABLE event ADD COLUMN alarm_level INTEGER;
ALTER TABLE event ADD COLUMN alarm_state INTEGER;
ALTER TABLE event ADD COLUMN alarm_quiet INTEGER;
-- `device/point`, by commas.
ALTER TABLE event ADD COLUMN alarm_points TEXT;
CREATE INDEX event_alarm ON event (gateway, epoch, subject, seq) WHERE alarm_state IS NOT NULL;
-- The how-manieth epoch of its gateway it was; NULL until a hello says so.
ALTER TABLE epoch ADD COLUMN place INTEGER;
UPDATE epoch SET place = 0;
-- The newest word on each alarm, copied: its event may be older than what is kept of events.
CREATE TABLE alarm (
  gateway INTEGER NOT NULL, name TEXT NOT NULL,
  epoch INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL, received INTEGER NOT NULL,
  level INTEGER NOT NULL, state INTEGER NOT NULL, quiet INTEGER NOT NULL, text TEXT NOT NULL,
  points TEXT NOT NULL, changed INTEGER NOT NULL, raised INTEGER,
  PRIMARY KEY (gateway, name)) WITHOUT ROWID;
CREATE INDEX alarm_open ON alarm (state, quiet, level) WHERE state <> 0;
-- Telemetry by hour (since 1970) of receipt.
CREATE TABLE traffic (
  gateway INTEGER NOT NULL, hour INTEGER NOT NULL, records INTEGER NOT NULL,
  stored INTEGER NOT NULL, filtered INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (gateway, hour)) WITHOUT ROWID;
";

/// Brings the database to the newest schema; a fresh one gets `generation`.
pub(super) fn migrate(
    conn: &mut Connection,
    path: &Path,
    generation: u64,
) -> Result<(), StoreError> {
    let open = |source: rusqlite::Error| super::open_error(path, source);
    let tx = conn
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(open)?;
    let version: u32 = tx
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(open)?;
    let application: i32 = tx
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(open)?;
    let tables: i64 = tx
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(open)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Open {
            path: path.to_owned(),
            why: "it is a database of another program; name another file".to_owned(),
            source: None,
        });
    }
    if version > NEWEST {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found: version,
            known: NEWEST,
        });
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(done) {
        tx.execute_batch(migration).map_err(open)?;
    }
    if version < NEWEST {
        tx.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {NEWEST};"
        ))
        .map_err(open)?;
    }
    tx.execute(
        "INSERT OR IGNORE INTO meta VALUES ('generation', ?1)",
        [generation.cast_signed()],
    )
    .map_err(open)?;
    tx.commit().map_err(open)
}

/// Statements that make the tables of a week.
pub(super) fn week_tables(week: i64) -> String {
    let (block, rollup) = (block_table(week), minute_table(week));
    format!(
        "CREATE TABLE \"{block}\" (
           id INTEGER PRIMARY KEY AUTOINCREMENT, series INTEGER NOT NULL, hour INTEGER NOT NULL,
           first INTEGER NOT NULL, last INTEGER NOT NULL, received INTEGER NOT NULL,
           boot INTEGER NOT NULL, clock_offset INTEGER NOT NULL, shift INTEGER NOT NULL,
           count INTEGER NOT NULL, bad INTEGER NOT NULL, valued INTEGER NOT NULL, sum REAL,
           min, max, first_value, last_value, data BLOB NOT NULL);
         CREATE INDEX \"{block}_series\" ON \"{block}\" (series, hour);
         CREATE INDEX \"{block}_boot\" ON \"{block}\" (boot);
         CREATE TABLE \"{rollup}\" (
           series INTEGER NOT NULL, start INTEGER NOT NULL,
           count INTEGER NOT NULL, bad INTEGER NOT NULL, valued INTEGER NOT NULL, sum REAL,
           min, max, first_time INTEGER, first_value, last_time INTEGER, last_value,
           bad_quality INTEGER,
           PRIMARY KEY (series, start)) WITHOUT ROWID;"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::SeriesId;
    use crate::store::{Ingest as _, Queries as _, Registry as _};
    use crate::{AlarmFilter, EventFilter, SqliteOptions, SqliteStore};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_database_of_the_first_schema_is_taken_over_with_all_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(INITIAL).unwrap();
        conn.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;
             INSERT INTO meta VALUES ('generation', 7);
             INSERT INTO gateway VALUES (1, 'gw-1', '', '', 0, 0, NULL, '');
             INSERT INTO epoch VALUES (1, 5, 0, NULL);
             INSERT INTO cursor VALUES (1, 5, 0, x'', 0, 1);
             INSERT INTO series VALUES (3, 1, 'm', 'p', 3, 'V', 0.1);
             INSERT INTO event (gateway, epoch, lane, seq, time, received, kind, subject, text)
               VALUES (1, 5, 1, 1, 10, 11, 1, '', 'started');"
        ))
        .unwrap();
        drop(conn);
        let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
        assert_eq!(crate::store::Ingest::generation(&store), 7);
        assert_eq!(store.gateways().await.unwrap().len(), 1);
        let series = store.series_by_id(SeriesId(3)).await.unwrap();
        assert_eq!(series.unwrap().point.as_str(), "p");
        let filter = EventFilter {
            limit: 10,
            ..EventFilter::default()
        };
        let events = store.events(filter).await.unwrap();
        assert_eq!(
            (events[0].text.as_str(), &events[0].alarm),
            ("started", &None)
        );
        assert_eq!(store.alarms(AlarmFilter::default()).await.unwrap(), []);
        assert!(store.commit(Vec::new()).await.unwrap().is_empty());
        drop(store);
        let again = Connection::open(&path).unwrap();
        let version: u32 = again
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(version, NEWEST);
    }
}
