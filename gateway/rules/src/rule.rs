//! A rule as configured: expressions compiled, names resolved, bounds given.

use gateway_expr::Program;
use protocols_model::{AlarmLevel, PointKey, Value};
use std::time::Duration;

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique; also the alarm's name.
    pub name: String,
    /// Fires when this is true.
    pub when: Program,
    /// For so long without a break.
    pub hold: Duration,
    /// Ends when this is true; without it, when `when` is false.
    pub clear: Option<Program>,
    /// For so long without a break.
    pub clear_hold: Duration,
    /// What an input without a value does.
    pub on_bad: OnBad,
    /// An input counts as bad only after so long: one lost poll is no reason to stop a pump.
    pub bad_after: Duration,
    /// Inputs older than this have no value.
    pub stale: Option<Duration>,
    /// The rule never writes while this is true, or cannot be told.
    pub never: Option<Program>,
    /// How often it may write.
    pub limit: WriteLimit,
    /// What it does when it fires.
    pub actions: Vec<Action>,
    /// What it writes when it ends.
    pub on_clear: Vec<WriteAction>,
    /// What it writes when its inputs have been bad for too long.
    pub safe: Vec<WriteAction>,
}

/// What a rule makes of inputs without a value, once they lasted for `bad_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBad {
    /// It stays as it is.
    #[default]
    Hold,
    /// It ends.
    Clear,
    /// It fires.
    Fire,
}

/// Writes in a span of time; further ones wait for their turn or are dropped with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteLimit {
    /// At most so many.
    pub count: u32,
    /// In so long.
    pub per: Duration,
}

impl Default for WriteLimit {
    /// Six a minute: relays and valves live long with that.
    fn default() -> Self {
        Self {
            count: 6,
            per: Duration::from_mins(1),
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Writes a point.
    Write(WriteAction),
    /// Raises the alarm of the rule's name; the rule's end clears it.
    Alarm {
        /// How bad it is.
        level: AlarmLevel,
        /// For people.
        text: String,
        /// Stays until somebody acknowledges it, also when its cause is gone.
        latch: bool,
    },
    /// Tells the cloud, once.
    Event {
        /// For people.
        text: String,
    },
    /// Sends every reading of points for a while, whatever their filters say.
    Capture {
        /// Which points.
        points: Vec<PointKey>,
        /// For how long after the rule fired.
        span: Duration,
    },
}

/// A value to write.
#[derive(Debug, Clone)]
pub struct WriteAction {
    /// Where.
    pub point: PointKey,
    /// What.
    pub value: WriteValue,
    /// Not begun after so long, it is not begun.
    pub ttl: Duration,
}

/// What to write.
#[derive(Debug, Clone)]
pub enum WriteValue {
    /// Always this.
    Constant(Value),
    /// Computed when the rule fires; the type is the point's.
    Computed(Program, protocols_model::ValueType),
}
