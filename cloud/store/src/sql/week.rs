//! Weeks: blocks and 1-minute rollups lie in a pair of tables per week, made when needed, dropped whole.

use super::db::{Connection, Error};

/// The week that holds an hour (hours since 1970).
pub(crate) const fn week_of_hour(hour: i64) -> i64 {
    hour.div_euclid(7 * 24)
}

/// Name of a week's table of blocks.
pub(crate) fn block_table(week: i64) -> String {
    format!("block_w{week}")
}

/// Name of a week's table of 1-minute rollups.
pub(crate) fn minute_table(week: i64) -> String {
    format!("rollup_minute_w{week}")
}

/// Makes the tables of a week.
pub(super) fn make_week(conn: &Connection, week: i64) -> Result<(), Error> {
    let known = conn
        .prepare_cached("SELECT 1 FROM week WHERE week = ?1")?
        .exists([week])?;
    if known {
        return Ok(());
    }
    conn.execute("INSERT INTO week VALUES (?1)", [week])?;
    conn.make_week_tables(week)
}

/// Drops a week, all of it.
pub(super) fn drop_week(conn: &Connection, week: i64) -> Result<(), Error> {
    let (block, rollup) = (block_table(week), minute_table(week));
    conn.batch(&format!(
        "DROP TABLE \"{block}\"; DROP TABLE \"{rollup}\"; DELETE FROM week WHERE week = {week};"
    ))
}
