//! Retention: what is too old goes, a bounded piece at a time.
//!
//! Samples and 1-minute rollups lie in tables per week: a week is emptied in pieces and then
//! dropped. Everything else is looked through once a day.

use super::db::{Connection, OptionalExtension, params};
use super::row::failed;
use super::traffic::hour;
use super::week::{block_table, drop_week, minute_table};
use crate::alarms::TRAFFIC_KEPT;
use crate::block::HOUR_NS;
use crate::error::StoreError;
use protocols_model::Timestamp;
use std::time::Duration;

const WEEK_NS: i64 = 7 * 24 * HOUR_NS;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A closed epoch is remembered for so long (design.md C3).
const CLOSED: Duration = Duration::from_secs(365 * 24 * 3600);
/// Most rows deleted of a table in a step.
const STEP_ROWS: i64 = 512;
/// Series whose rollups a step looks through.
const STEP_SERIES: i64 = 256;

/// The oldest week that lies before `oldest` as a whole.
pub(super) fn expired_week(
    conn: &Connection,
    oldest: Timestamp,
) -> Result<Option<i64>, StoreError> {
    conn.prepare_cached("SELECT week FROM week WHERE week < ?1 ORDER BY week LIMIT 1")
        .and_then(|statement| {
            statement
                .query_row([oldest.0.div_euclid(WEEK_NS)], |row| row.get(0))
                .optional()
        })
        .map_err(failed("looking for expired weeks"))
}

/// Deletes a piece of a week; says whether that was the last and the week is gone.
pub(super) fn shrink_week(conn: &Connection, week: i64) -> Result<bool, StoreError> {
    let fail = failed("dropping an expired week");
    if conn.is_shared() {
        // A table goes at once there, but nobody may be reading it: better later than everyone waiting.
        conn.batch("SET LOCAL lock_timeout = '2s'").map_err(&fail)?;
        drop_week(conn, week).map_err(&fail)?;
        return Ok(true);
    }
    let (block, minute) = (block_table(week), minute_table(week));
    let blocks = format!(
        "DELETE FROM \"{block}\" WHERE id IN (SELECT id FROM \"{block}\" LIMIT {STEP_ROWS})"
    );
    // One series has at most 10 080 minutes in a week.
    let minutes =
        format!("DELETE FROM \"{minute}\" WHERE series = (SELECT min(series) FROM \"{minute}\")");
    for sql in [blocks, minutes] {
        if conn.execute(&sql, [0_i64; 0]).map_err(&fail)? > 0 {
            return Ok(false);
        }
    }
    drop_week(conn, week).map_err(&fail)?;
    Ok(true)
}

/// How far the daily look-through has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tidy {
    /// Day (since 1970) that was last finished.
    done: Option<i64>,
    /// Next series to look through.
    series: i64,
}

impl Tidy {
    /// Whether the day's look-through is still to do.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.done != Some(now.0.div_euclid(24 * HOUR_NS))
    }

    /// Does a piece of it.
    pub(super) fn step(
        mut self,
        conn: &Connection,
        now: Timestamp,
        retention: Duration,
        rollup_retention: Duration,
    ) -> Result<Self, StoreError> {
        let fail = failed("tidying");
        let most: i64 = conn
            .query_row(
                "SELECT coalesce(max(id), 0) FROM series",
                [0_i64; 0],
                |row| row.get(0),
            )
            .map_err(&fail)?;
        let oldest = now.minus(rollup_retention).0;
        if self.series <= most {
            let to = self.series + STEP_SERIES;
            for table in ["rollup_hour", "rollup_day"] {
                let sql = format!(
                    "DELETE FROM {table} WHERE series >= ?1 AND series < ?2 AND start < ?3"
                );
                conn.execute(&sql, params![self.series, to, oldest])
                    .map_err(&fail)?;
            }
            self.series = to;
            return Ok(self);
        }
        let mut deleted = 0;
        for (sql, before) in [
            ("block_suspect WHERE received < ?1", now.minus(retention).0),
            ("event WHERE received < ?1", oldest),
            ("claim WHERE received < ?1", oldest),
        ] {
            let table = sql.split(' ').next().unwrap_or_default();
            let sql = format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {sql} ORDER BY id LIMIT {STEP_ROWS})"
            );
            deleted += conn.execute(&sql, [before]).map_err(&fail)?;
        }
        conn.execute(
            "DELETE FROM claim_point WHERE claim NOT IN (SELECT id FROM claim)",
            [0_i64; 0],
        )
        .map_err(&fail)?;
        let closed = now.minus(CLOSED).0;
        for (sql, before) in [
            (
                "DELETE FROM cursor WHERE (gateway, epoch) IN
                   (SELECT gateway, epoch FROM epoch WHERE closed < ?1)",
                closed,
            ),
            ("DELETE FROM epoch WHERE closed < ?1", closed),
            (
                "DELETE FROM session WHERE expires < ?1 OR last_seen + idle < ?1",
                now.0,
            ),
            (
                "DELETE FROM login_failure WHERE last < ?1",
                now.minus(DAY).0,
            ),
            // An alarm that is open stays, however old the event that said so.
            (
                "DELETE FROM alarm WHERE received < ?1 AND state = 0",
                oldest,
            ),
            (
                "DELETE FROM traffic WHERE hour < ?1",
                hour(now.minus(TRAFFIC_KEPT)),
            ),
            (
                "DELETE FROM time_map WHERE received < ?1 AND pending = 0",
                now.minus(retention).0,
            ),
        ] {
            conn.execute(sql, [before]).map_err(&fail)?;
        }
        if deleted == 0 {
            self = Self {
                done: Some(now.0.div_euclid(24 * HOUR_NS)),
                series: 0,
            };
        }
        Ok(self)
    }
}
