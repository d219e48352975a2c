//! Tables and how they came to be.
//!
//! Migrations are numbered and only **expand** what is there: new tables, new columns with a default.
//! What nobody reads any more is **contracted** by a later release, and only then are older programs
//! shut out. So each migration says from which program schema on a program may still use the database
//! after it: an older program that is among them goes on beside newer ones (during a rolling upgrade),
//! an older one than that refuses. Programs name the columns that they read and write, or write rows
//! whose further columns have defaults.
//!
//! The runner is our own: ready-made ones know versions, but not which programs survive one.

use super::connect::Target;
use super::driver::PostgresLink;
use crate::error::StoreError;
use crate::sql::db::{OptionalExtension as _, Row};
use crate::sql::row::failed;
use crate::sql::week::{block_table, minute_table};
use crate::sql::{Link as _, Mode};
use std::path::PathBuf;

/// A step from one schema to the next.
struct Migration {
    sql: &'static str,
    /// Oldest program schema that can use the database afterwards.
    survives: u32,
}

/// Each entry takes the schema from its index to its index + 1.
const MIGRATIONS: [Migration; NEWEST as usize] = [Migration {
    sql: INITIAL,
    survives: 1,
}];

/// Newest schema version.
const NEWEST: u32 = 1;

/// One process migrates at a time ("FOGLMIG").
const MIGRATING: &str = "SELECT pg_advisory_xact_lock(19758010905282887)";

/// u64 numbers (epoch, seq, boot) are stored as the i64 with the same bits; times are nanoseconds
/// UTC; sets of seqs are pairs of u64, little-endian; values are the bytes of text, or the 64 bits of
/// a number. Bodies and blocks are packed already: the server must not try again.
const INITIAL: &str = r#"
CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BIGINT NOT NULL);

CREATE TABLE gateway (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE,
  serial TEXT NOT NULL, fingerprint TEXT NOT NULL, not_after BIGINT NOT NULL,
  created BIGINT NOT NULL, revoked BIGINT, note TEXT NOT NULL);
CREATE TABLE gateway_session (
  gateway BIGINT PRIMARY KEY, connected BIGINT NOT NULL, since BIGINT NOT NULL);
CREATE TABLE gateway_hello (
  gateway BIGINT PRIMARY KEY, received BIGINT NOT NULL, payload BYTEA NOT NULL,
  boots BYTEA NOT NULL, cloned BIGINT NOT NULL);
-- Everything of the gateway's records up to row `through` is in series_state.
CREATE TABLE gateway_state (
  gateway BIGINT PRIMARY KEY, through BIGINT NOT NULL,
  newest_sample BIGINT, newest_received BIGINT);

CREATE TABLE series (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway BIGINT NOT NULL,
  device TEXT COLLATE "C" NOT NULL, point TEXT COLLATE "C" NOT NULL, value_type BIGINT NOT NULL,
  unit TEXT COLLATE "C" NOT NULL, scale DOUBLE PRECISION NOT NULL);
CREATE UNIQUE INDEX series_name ON series (gateway, device, point, value_type, unit);
CREATE TABLE series_state (
  series BIGINT PRIMARY KEY, stored BIGINT NOT NULL, filtered BIGINT NOT NULL,
  time BIGINT, received BIGINT, quality BIGINT, last_good BIGINT, suspect BIGINT,
  value BYTEA, confirmed BIGINT, confirmed_received BIGINT);
CREATE TABLE dictionary (hash BYTEA PRIMARY KEY, body BYTEA NOT NULL);

CREATE TABLE epoch (
  gateway BIGINT NOT NULL, epoch BIGINT NOT NULL, active BIGINT NOT NULL, closed BIGINT,
  place BIGINT, PRIMARY KEY (gateway, epoch)) WITH (fillfactor = 70);
-- Written by every commit: room for the new row beside the old one spares the index.
CREATE TABLE cursor (
  gateway BIGINT NOT NULL, epoch BIGINT NOT NULL, lane BIGINT NOT NULL,
  covered BYTEA NOT NULL, has_lost BIGINT NOT NULL, writes BIGINT NOT NULL,
  PRIMARY KEY (gateway, epoch, lane)) WITH (fillfactor = 50);

CREATE TABLE record (
  id BIGINT GENERATED ALWAYS AS IDENTITY, gateway BIGINT NOT NULL,
  epoch BIGINT NOT NULL, lane BIGINT NOT NULL, seq BIGINT NOT NULL,
  received BIGINT NOT NULL, boot BIGINT NOT NULL, clock_offset BIGINT NOT NULL,
  shift BIGINT NOT NULL, first BIGINT, last BIGINT, body BYTEA NOT NULL,
  PRIMARY KEY (gateway, epoch, lane, seq));
ALTER TABLE record ALTER body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX record_id ON record (gateway, id);
CREATE INDEX record_number ON record (id);
CREATE INDEX record_received ON record (received);

-- Samples that no chart shows, because their stamp cannot be right; week by time of receipt.
CREATE TABLE block_suspect (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, series BIGINT NOT NULL, hour BIGINT NOT NULL,
  first BIGINT NOT NULL, last BIGINT NOT NULL, received BIGINT NOT NULL,
  boot BIGINT NOT NULL, clock_offset BIGINT NOT NULL, shift BIGINT NOT NULL,
  count BIGINT NOT NULL, bad BIGINT NOT NULL, valued BIGINT NOT NULL, sum DOUBLE PRECISION,
  min BYTEA, max BYTEA, first_value BYTEA, last_value BYTEA, data BYTEA NOT NULL);
ALTER TABLE block_suspect ALTER data SET STORAGE EXTERNAL;
CREATE INDEX block_suspect_series ON block_suspect (series, hour);
CREATE INDEX block_suspect_boot ON block_suspect (boot);
-- Blocks and 1-minute rollups lie in a pair of tables per week, made when needed, dropped whole.
CREATE TABLE week (week BIGINT PRIMARY KEY);
CREATE TABLE rollup_hour (
  series BIGINT NOT NULL, start BIGINT NOT NULL,
  count BIGINT NOT NULL, bad BIGINT NOT NULL, valued BIGINT NOT NULL, sum DOUBLE PRECISION,
  min BYTEA, max BYTEA, first_time BIGINT, first_value BYTEA, last_time BIGINT, last_value BYTEA,
  bad_quality BIGINT, PRIMARY KEY (series, start));
CREATE TABLE rollup_day (LIKE rollup_hour INCLUDING ALL);

CREATE TABLE claim (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway BIGINT NOT NULL,
  epoch BIGINT NOT NULL, lane BIGINT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
  lost BYTEA NOT NULL, is_lost BIGINT NOT NULL, reason BIGINT NOT NULL,
  time_from BIGINT, time_to BIGINT, readings BIGINT, at_most BIGINT,
  upper_bound BIGINT NOT NULL, by_cloud BIGINT NOT NULL, received BIGINT NOT NULL);
CREATE INDEX claim_cursor ON claim (gateway, epoch, lane, is_lost);
CREATE TABLE claim_point (
  claim BIGINT NOT NULL, dictionary BYTEA NOT NULL, place BIGINT NOT NULL,
  readings BIGINT NOT NULL, filtered BIGINT NOT NULL,
  PRIMARY KEY (claim, dictionary, place));

CREATE TABLE event (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway BIGINT NOT NULL,
  epoch BIGINT, lane BIGINT, seq BIGINT,
  time BIGINT NOT NULL, received BIGINT NOT NULL, kind BIGINT NOT NULL,
  subject TEXT COLLATE "C" NOT NULL, text TEXT NOT NULL,
  -- Points as `device/point`, by commas.
  alarm_level BIGINT, alarm_state BIGINT, alarm_quiet BIGINT, alarm_points TEXT);
CREATE INDEX event_subject ON event (gateway, kind, subject);
CREATE INDEX event_alarm ON event (gateway, epoch, subject, seq) WHERE alarm_state IS NOT NULL;
-- The newest word on each alarm, copied: its event may be older than what is kept of events.
CREATE TABLE alarm (
  gateway BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL,
  epoch BIGINT NOT NULL, seq BIGINT NOT NULL, time BIGINT NOT NULL, received BIGINT NOT NULL,
  level BIGINT NOT NULL, state BIGINT NOT NULL, quiet BIGINT NOT NULL, text TEXT NOT NULL,
  points TEXT NOT NULL, changed BIGINT NOT NULL, raised BIGINT,
  PRIMARY KEY (gateway, name));
CREATE INDEX alarm_open ON alarm (state, quiet, level) WHERE state <> 0;
CREATE TABLE time_map (
  gateway BIGINT NOT NULL, boot BIGINT NOT NULL, origin BIGINT NOT NULL,
  uncertainty BIGINT NOT NULL, received BIGINT NOT NULL, pending BIGINT NOT NULL,
  PRIMARY KEY (gateway, boot));
-- Telemetry by hour (since 1970) of receipt.
CREATE TABLE traffic (
  gateway BIGINT NOT NULL, hour BIGINT NOT NULL, records BIGINT NOT NULL,
  stored BIGINT NOT NULL, filtered BIGINT NOT NULL, bytes BIGINT NOT NULL,
  PRIMARY KEY (gateway, hour)) WITH (fillfactor = 50);

CREATE TABLE quarantine (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gateway BIGINT NOT NULL, hash BYTEA NOT NULL,
  topic TEXT NOT NULL, reason TEXT NOT NULL, received BIGINT NOT NULL, times BIGINT NOT NULL,
  payload BYTEA NOT NULL);
CREATE UNIQUE INDEX quarantine_hash ON quarantine (gateway, hash);

-- What one process does at a time, and until when (milliseconds since 1970 by this server's clock).
CREATE TABLE office (
  name TEXT COLLATE "C" PRIMARY KEY, holder BIGINT NOT NULL, until BIGINT NOT NULL);

CREATE TABLE "user" (
  name TEXT COLLATE "C" PRIMARY KEY, password_hash TEXT NOT NULL, created BIGINT NOT NULL,
  password_set BIGINT NOT NULL, one_time BIGINT NOT NULL);
CREATE TABLE session (
  token BYTEA PRIMARY KEY, "user" TEXT COLLATE "C" NOT NULL, created BIGINT NOT NULL,
  last_seen BIGINT NOT NULL, idle BIGINT NOT NULL, expires BIGINT NOT NULL,
  csrf TEXT NOT NULL);
CREATE INDEX session_of_user ON session ("user");
CREATE TABLE login_failure (
  key TEXT COLLATE "C" PRIMARY KEY, count BIGINT NOT NULL, last BIGINT NOT NULL);
"#;

/// Brings the database to the newest schema, or finds that it may be used as it is; a fresh one gets
/// `generation`.
pub(super) fn migrate(
    link: &mut PostgresLink,
    target: &Target,
    generation: u64,
) -> Result<(), StoreError> {
    link.begin(Mode::Write)?;
    match expand(link, target, generation) {
        Ok(()) => link.commit().map_err(|why| {
            target
                .options
                .wrong("its tables cannot be made", Some(Box::new(why)))
        }),
        Err(why) => {
            link.rollback();
            Err(why)
        }
    }
}

fn expand(link: &PostgresLink, target: &Target, generation: u64) -> Result<(), StoreError> {
    let conn = link.conn();
    let fail = failed("making the tables");
    conn.batch(MIGRATING).map_err(fail)?;
    conn.batch(
        "CREATE TABLE IF NOT EXISTS fogline_schema
           (version BIGINT NOT NULL, survives BIGINT NOT NULL)",
    )
    .map_err(|why| {
        let what = "its user may not make tables; it must own the database, or its schema";
        target.options.wrong(what, Some(Box::new(why)))
    })?;
    let numbers = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Option<(u32, u32)> = conn
        .query_row(
            "SELECT version, survives FROM fogline_schema",
            [0_i64; 0],
            numbers,
        )
        .optional()
        .map_err(fail)?;
    let (version, survives) = found.unwrap_or((0, 0));
    if survives > NEWEST {
        return Err(StoreError::Newer {
            path: PathBuf::from(target.options.place()),
            found: version,
            known: NEWEST,
        });
    }
    if version >= NEWEST {
        return Ok(());
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    for migration in MIGRATIONS.iter().skip(done) {
        conn.batch(migration.sql).map_err(fail)?;
    }
    let survives = MIGRATIONS.last().map_or(NEWEST, |newest| newest.survives);
    conn.batch(&format!(
        "DELETE FROM fogline_schema; INSERT INTO fogline_schema VALUES ({NEWEST}, {survives})"
    ))
    .map_err(fail)?;
    conn.execute(
        "INSERT INTO meta VALUES ('generation', ?1) ON CONFLICT DO NOTHING",
        [generation.cast_signed()],
    )
    .map(drop)
    .map_err(fail)
}

/// Statements that make the tables of a week.
pub(super) fn week_tables(week: i64) -> String {
    let (block, rollup) = (block_table(week), minute_table(week));
    format!(
        "CREATE TABLE \"{block}\" (LIKE block_suspect INCLUDING ALL EXCLUDING INDEXES);
         CREATE UNIQUE INDEX \"{block}_id\" ON \"{block}\" (id);
         CREATE INDEX \"{block}_series\" ON \"{block}\" (series, hour);
         CREATE INDEX \"{block}_boot\" ON \"{block}\" (boot);
         CREATE TABLE \"{rollup}\" (LIKE rollup_hour INCLUDING ALL);"
    )
}
