//! Alarms as they stand, kept in the transaction that stores the event. Lists of them: `lists`.
//!
//! The row of an alarm copies the newest word on it and where that word stands among the gateway's
//! ([`crate::alarm`]). So whatever comes late or again changes nothing, and an alarm that is open stays
//! although its event is older than what is kept of events. A gateway has a bounded number of rows: what is
//! over goes first, the oldest; where all are open, a further one stands among the events only, and an
//! event says so.

mod lists;

pub(super) use lists::{alarms, counts};

use super::db::{Connection, DbResult, OptionalExtension, Row, params};
use super::event::{self, alarm_from_sql};
use super::row::failed;
use crate::alarm::{Place, Raised, Standing, is_after, raised};
use crate::error::StoreError;
use crate::stamp;
use protocols_model::{AlarmState, Epoch, Lane, RecordKey, Timestamp};
use protocols_wire::{Event, EventKind};
use std::time::Duration;

/// Events of an epoch looked through for when an alarm was raised.
const LOOK_BACK: i64 = 64;

/// Bounds that apply to alarms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most alarms of a gateway.
    pub(super) most: u64,
    /// Times older than this cannot be right.
    pub(super) retention: Duration,
}

/// Whether an event says how an alarm stands: seqs of another lane tell nothing about the order.
pub(super) fn is_alarm(key: RecordKey, event: &Event) -> bool {
    key.lane == Lane::Alarm && event.kind == EventKind::Alarm && event.alarm.is_some()
}

/// A stored event of an alarm.
struct Word {
    standing: Standing,
    name: String,
    received: Timestamp,
    text: String,
    state: AlarmState,
    columns: [i64; 3],
    points: String,
}

/// The row as it was.
struct Before {
    standing: Standing,
    state: AlarmState,
    raised: Option<Timestamp>,
}

/// Takes the event with this number into account.
pub(super) fn consider(
    conn: &Connection,
    gateway: i64,
    event: i64,
    bounds: Bounds,
) -> Result<(), StoreError> {
    let fail = failed("noting an alarm");
    let Some(word) = word(conn, event).map_err(&fail)? else {
        return Ok(());
    };
    let before = before(conn, gateway, &word.name).map_err(&fail)?;
    match &before {
        Some(before) if !is_after(word.standing, before.standing) => {
            // It may be what raised the alarm; who spoke last stays.
            if word.standing.epoch == before.standing.epoch {
                let since = since(conn, gateway, &word.name, before, Some(before), bounds)?;
                conn.prepare_cached(
                    "UPDATE alarm SET raised = ?3 WHERE gateway = ?1 AND name = ?2",
                )
                .and_then(|update| {
                    update.execute(params![gateway, word.name, since.map(|at| at.0)])
                })
                .map_err(&fail)?;
            }
            return Ok(());
        }
        None if !has_room(conn, gateway, bounds.most).map_err(&fail)? => {
            return stand_aside(conn, gateway, &word, bounds.most);
        }
        _ => {}
    }
    let now = Before {
        standing: word.standing,
        state: word.state,
        raised: None,
    };
    let since = since(conn, gateway, &word.name, &now, before.as_ref(), bounds)?;
    let changed = plausible(word.standing.time, word.received, bounds.retention);
    let [level, state, quiet] = word.columns;
    conn.prepare_cached(
        "INSERT INTO alarm VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (gateway, name) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq,
           time = excluded.time, received = excluded.received, level = excluded.level,
           state = excluded.state, quiet = excluded.quiet, text = excluded.text,
           points = excluded.points, changed = excluded.changed, raised = excluded.raised",
    )
    .and_then(|insert| {
        insert.execute(params![
            gateway,
            word.name,
            word.standing.epoch.0.cast_signed(),
            word.standing.seq.cast_signed(),
            word.standing.time.0,
            word.received.0,
            level,
            state,
            quiet,
            word.text,
            word.points,
            changed.0,
            since.map(|at| at.0),
        ])
    })
    .map(drop)
    .map_err(&fail)
}

/// Looks again at what an epoch said last of each alarm: the order of the epochs is known by now.
pub(super) fn reconsider(
    conn: &Connection,
    gateway: i64,
    epoch: Epoch,
    bounds: Bounds,
) -> Result<(), StoreError> {
    let newest: Vec<i64> = conn
        .prepare_cached(
            "SELECT e.id FROM event e WHERE e.gateway = ?1 AND e.epoch = ?2
               AND e.alarm_state IS NOT NULL AND e.kind = ?3 AND e.lane = ?4 AND e.seq =
               (SELECT max(seq) FROM event WHERE gateway = ?1 AND epoch = ?2
                  AND subject = e.subject AND alarm_state IS NOT NULL AND kind = ?3 AND lane = ?4)
             ORDER BY e.id",
        )
        .and_then(|statement| {
            let key = params![
                gateway,
                epoch.0.cast_signed(),
                event::kind_to_sql(EventKind::Alarm),
                Lane::Alarm.to_index()
            ];
            statement.query_map(key, |row| row.get(0))?.collect()
        })
        .map_err(failed("looking for alarms"))?;
    for event in newest {
        consider(conn, gateway, event, bounds)?;
    }
    Ok(())
}

fn place(known: bool, place: Option<i64>) -> Place {
    match (known, place) {
        (false, _) => Place::Forgotten,
        (true, None) => Place::New,
        (true, Some(place)) => Place::Known(place),
    }
}

fn word(conn: &Connection, event: i64) -> DbResult<Option<Word>> {
    let statement = conn.prepare_cached(
        "SELECT e.epoch, e.seq, e.time, p.epoch IS NOT NULL, p.place, e.subject, e.received, e.text,
           e.alarm_level, e.alarm_state, e.alarm_quiet, e.alarm_points
         FROM event e LEFT JOIN epoch p ON p.gateway = e.gateway AND p.epoch = e.epoch
         WHERE e.id = ?1",
    )?;
    let word = statement
        .query_row([event], |row| {
            let Some(alarm) = alarm_from_sql(row, 8)? else {
                return Ok(None);
            };
            Ok(Some(Word {
                standing: standing(row)?,
                name: row.get(5)?,
                received: Timestamp(row.get(6)?),
                text: row.get(7)?,
                state: alarm.state,
                columns: [
                    alarm.level.to_code().into(),
                    alarm.state.to_code().into(),
                    alarm.quiet.into(),
                ],
                points: row.get::<Option<String>>(11)?.unwrap_or_default(),
            }))
        })
        .optional()?;
    Ok(word.flatten())
}

/// From columns `epoch, seq, time, known, place`.
fn standing(row: &Row<'_>) -> DbResult<Standing> {
    Ok(Standing {
        epoch: Epoch(row.get::<i64>(0)?.cast_unsigned()),
        seq: row.get::<i64>(1)?.cast_unsigned(),
        time: Timestamp(row.get(2)?),
        place: place(row.get(3)?, row.get(4)?),
    })
}

fn before(conn: &Connection, gateway: i64, name: &str) -> DbResult<Option<Before>> {
    conn.prepare_cached(
        "SELECT a.epoch, a.seq, a.time, p.epoch IS NOT NULL, p.place, a.state, a.raised
         FROM alarm a LEFT JOIN epoch p ON p.gateway = a.gateway AND p.epoch = a.epoch
         WHERE a.gateway = ?1 AND a.name = ?2",
    )?
    .query_row(params![gateway, name], |row| {
        Ok(Before {
            standing: standing(row)?,
            state: AlarmState::from_code(row.get(5)?).unwrap_or_default(),
            raised: row.get::<Option<i64>>(6)?.map(Timestamp),
        })
    })
    .optional()
}

/// When the alarm that stands as `now` was last raised.
fn since(
    conn: &Connection,
    gateway: i64,
    name: &str,
    now: &Before,
    before: Option<&Before>,
    bounds: Bounds,
) -> Result<Option<Timestamp>, StoreError> {
    let words: Vec<(AlarmState, Timestamp)> = conn
        .prepare_cached(
            "SELECT alarm_state, time, received FROM event
             WHERE gateway = ?1 AND epoch = ?2 AND subject = ?3 AND alarm_state IS NOT NULL
               AND kind = ?4 AND lane = ?5 AND seq <= ?6 ORDER BY seq DESC LIMIT ?7",
        )
        .and_then(|statement| {
            let key = params![
                gateway,
                now.standing.epoch.0.cast_signed(),
                name,
                event::kind_to_sql(EventKind::Alarm),
                Lane::Alarm.to_index(),
                now.standing.seq.cast_signed(),
                LOOK_BACK,
            ];
            let word = |row: &Row<'_>| {
                let (time, received) = (Timestamp(row.get(1)?), Timestamp(row.get(2)?));
                Ok((
                    AlarmState::from_code(row.get(0)?).unwrap_or_default(),
                    plausible(time, received, bounds.retention),
                ))
            };
            statement.query_map(key, word)?.collect()
        })
        .map_err(failed("looking for when an alarm was raised"))?;
    let held = before.and_then(|before| before.raised);
    let was_open = before.is_some_and(|before| {
        before.standing.epoch != now.standing.epoch && before.state != AlarmState::Normal
    });
    Ok(match raised(words.into_iter()) {
        Raised::At(time) => Some(time),
        Raised::NotAfter(_) if was_open && held.is_some() => held,
        Raised::NotAfter(time) => Some(held.map_or(time, |held| {
            // A word that came late may name an earlier moment, never a later one.
            let same = before.is_some_and(|before| before.standing.epoch == now.standing.epoch);
            if same { held.min(time) } else { time }
        })),
        Raised::Unknown => held,
    })
}

/// The time of an event or, where that cannot be right, when it came.
fn plausible(time: Timestamp, received: Timestamp, retention: Duration) -> Timestamp {
    if stamp::is_suspect(time, received, retention) {
        received
    } else {
        time
    }
}

/// Whether one more alarm may be noted; one that is over gives way.
fn has_room(conn: &Connection, gateway: i64, most: u64) -> DbResult<bool> {
    let held: i64 = conn
        .prepare_cached("SELECT count(*) FROM alarm WHERE gateway = ?1")?
        .query_row([gateway], |row| row.get(0))?;
    if held.unsigned_abs() < most {
        return Ok(true);
    }
    let made = conn
        .prepare_cached(
            "DELETE FROM alarm WHERE gateway = ?1 AND name = (SELECT name FROM alarm
               WHERE gateway = ?1 AND state = 0 ORDER BY changed LIMIT 1)",
        )?
        .execute([gateway])?;
    Ok(made > 0)
}

fn stand_aside(conn: &Connection, gateway: i64, word: &Word, most: u64) -> Result<(), StoreError> {
    let happened = Event {
        time: word.received,
        kind: EventKind::Alarm,
        subject: word.name.clone(),
        text: format!(
            "the gateway has {most} open alarms already; this one stands among the events only"
        ),
        alarm: None,
    };
    event::enter(conn, gateway, None, word.received, &happened).map(drop)
}
