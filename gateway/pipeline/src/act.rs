//! Carries out what rules want done: writes by the drivers' desks, alarms and events as records.
//!
//! Writes run beside the pipeline: a slow device never holds up readings. Each has one outcome, which the
//! rule is told.

use crate::core::AlarmPoints;
use gateway_rules::engine::Ticket;
use gateway_rules::{AlarmChange, Effect, Outcome};
use gateway_spool::{SpoolHandle, SpoolStopped};
use protocols_driver::{OrderDesk, WriteError};
use protocols_model::{BootId, Clock, Instant, Lane, PointKey};
use protocols_wire::{AlarmNote, Body, Event, EventKind, Record, RecordStamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Writes that may be under way at once. Rules are limited each; this bounds all of them together.
const WRITES: usize = 256;

/// Where the points that can be written are written.
pub type Writable = BTreeMap<PointKey, OrderDesk>;

/// Hands of the rules.
pub(crate) struct Hands {
    pub(crate) writable: Writable,
    pub(crate) spool: SpoolHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) boot: BootId,
    about: AlarmPoints,
    writes: JoinSet<(Ticket, Outcome)>,
}

/// What is left for the pipeline itself.
pub(crate) struct Capture {
    pub(crate) points: Vec<PointKey>,
    pub(crate) until: Instant,
}

impl Hands {
    pub(crate) fn new(
        writable: Writable,
        spool: SpoolHandle,
        clock: Arc<dyn Clock>,
        boot: BootId,
        about: AlarmPoints,
    ) -> Self {
        Self {
            writable,
            spool,
            clock,
            boot,
            about,
            writes: JoinSet::new(),
        }
    }

    /// Carries out all effects but captures, which it gives back with the writes that cannot begin.
    ///
    /// # Errors
    /// [`SpoolStopped`] when the spool has gone.
    pub(crate) async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
    ) -> Result<(Vec<Capture>, Vec<(Ticket, Outcome)>), SpoolStopped> {
        let (mut captures, mut unbegun) = (Vec::new(), Vec::new());
        let (mut alarms, mut events) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Write {
                    ticket,
                    point,
                    value,
                    begin_before,
                } => match self.writable.get(&point).cloned() {
                    Some(desk) if self.writes.len() < WRITES => {
                        self.writes.spawn(async move {
                            (ticket, desk.place(point, value, begin_before).await)
                        });
                    }
                    Some(_) => unbegun.push((ticket, Err(WriteError::Busy))),
                    None => unbegun.push((ticket, Err(WriteError::ReadOnly))),
                },
                Effect::Alarm(change) => alarms.push(self.alarm(change)),
                Effect::Event { rule, text } => {
                    events.push(self.event(EventKind::Rule, rule, text, None));
                }
                Effect::Capture { points, until } => captures.push(Capture { points, until }),
            }
        }
        self.append(Lane::Alarm, alarms).await?;
        self.append(Lane::Event, events).await?;
        Ok((captures, unbegun))
    }

    /// The next write that has an outcome; waits for ever while none is under way. Cancel-safe.
    pub(crate) async fn outcome(&mut self) -> (Ticket, Outcome) {
        loop {
            match self.writes.join_next().await {
                Some(Ok(done)) => return done,
                // A write never panics; were it to, its rule reads no outcome and does not repeat it.
                Some(Err(error)) => tracing::error!(%error, "a write ended without an outcome"),
                None => std::future::pending().await,
            }
        }
    }

    fn alarm(&self, change: AlarmChange) -> Body {
        let AlarmChange {
            name,
            level,
            state,
            text,
            quiet,
        } = change;
        let note = AlarmNote {
            level,
            state,
            quiet,
            points: self.about.get(&name).cloned().unwrap_or_default(),
        };
        self.event(EventKind::Alarm, name, text, Some(note))
    }

    fn event(
        &self,
        kind: EventKind,
        subject: String,
        text: String,
        alarm: Option<AlarmNote>,
    ) -> Body {
        tracing::info!(?kind, subject, "{text}");
        Body::Event(Event {
            time: self.clock.wall(),
            kind,
            subject,
            text,
            alarm,
        })
    }

    async fn append(&self, lane: Lane, bodies: Vec<Body>) -> Result<(), SpoolStopped> {
        if bodies.is_empty() {
            return Ok(());
        }
        let stamp = RecordStamp {
            boot: self.boot,
            mono: self.clock.monotonic(),
            wall: self.clock.wall(),
        };
        let mut records = Vec::with_capacity(bodies.len());
        for body in bodies {
            match (Record { stamp, body }).encode() {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!(%error, "an event of a rule could not be encoded"),
            }
        }
        self.spool.append(lane, records).await
    }
}
