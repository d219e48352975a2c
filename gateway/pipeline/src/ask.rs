//! What people and other tasks may ask of the running pipeline, and how it answers.

use crate::core::{Pipeline, PointCounts};
use crate::latest::{Look, Looked};
use crate::tap::Heard;
use gateway_rules::{Alarm, AlarmError, Effect};
use protocols_model::{Instant, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The alarms that must survive a restart, by name.
pub type KeptAlarms = BTreeMap<String, Alarm>;

/// Questions that may wait; a person asks a few times a second at most.
pub const ASK_CAPACITY: usize = 16;

/// How rules and alarms stand.
#[derive(Debug, Clone)]
pub struct RulesNow {
    /// Rules by name, and whether their conditions hold.
    pub rules: Vec<(String, bool)>,
    /// Alarms by name.
    pub alarms: Vec<(String, Alarm)>,
}

/// A question, with where its answer goes.
#[derive(Debug)]
pub enum Ask {
    /// What became of the readings of each point, in the order of the keys.
    Counts(oneshot::Sender<Vec<PointCounts>>),
    /// How rules and alarms stand.
    Rules(oneshot::Sender<RulesNow>),
    /// The latest readings of points.
    Look(Look, oneshot::Sender<Looked>),
    /// Somebody knows of an alarm.
    Acknowledge {
        /// Its name.
        alarm: String,
        /// Who.
        by: String,
        /// Whether it was done.
        done: oneshot::Sender<Result<(), AlarmError>>,
    },
    /// Puts an alarm aside; zero takes it back.
    Shelve {
        /// Its name.
        alarm: String,
        /// For so long.
        span: Duration,
        /// Whether it was done.
        done: oneshot::Sender<Result<(), AlarmError>>,
    },
    /// Tell the raw readings of every sweep from now on, until the receiver is gone or another listens.
    Listen(mpsc::Sender<Heard>),
}

impl Ask {
    /// Answers; whether alarms changed. A listener is the task's.
    pub(crate) fn answer(
        self,
        pipeline: &mut Pipeline,
        now: Instant,
        wall: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> bool {
        match self {
            Self::Counts(answer) => {
                tell(answer, pipeline.counts().collect());
                false
            }
            Self::Look(look, answer) => {
                tell(answer, look.at(pipeline));
                false
            }
            Self::Rules(answer) => {
                let engine = pipeline.engine();
                let rules = engine.states().map(|(name, on)| (name.to_owned(), on));
                let rules = rules.collect();
                let alarms = engine.alarms().all();
                let alarms = alarms.map(|(name, alarm)| (name.to_owned(), alarm.clone()));
                let alarms = alarms.collect();
                tell(answer, RulesNow { rules, alarms });
                false
            }
            Self::Acknowledge { alarm, by, done } => {
                let book = pipeline.engine().alarms_mut();
                let change = book.acknowledge(&alarm, &by, now, wall);
                let changed = change.is_ok();
                tell(
                    done,
                    change.map(|change| effects.push(Effect::Alarm(change))),
                );
                changed
            }
            Self::Shelve { alarm, span, done } => {
                let shelved = pipeline.engine().alarms_mut().shelve(&alarm, span, now);
                let changed = shelved.is_ok();
                tell(
                    done,
                    shelved.map(|change| effects.extend(change.map(Effect::Alarm))),
                );
                changed
            }
            // Taken by the task before it comes here: the pipeline does not know of it.
            Self::Listen(_) => false,
        }
    }
}

/// Whoever does not wait any more does not want to know.
fn tell<T>(answer: oneshot::Sender<T>, said: T) {
    let _gone = answer.send(said).is_err();
}
