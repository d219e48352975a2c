//! Which rules a reading concerns, and what follows from it.
//!
//! The caller feeds sweeps and the time, carries out effects, and tells what became of writes. One sweep
//! evaluates each concerned rule once, after all its readings are in the image: a rule never sees half a
//! sweep.

mod writes;

use crate::alarm::{AlarmBook, AlarmChange};
use crate::condition::{Change, Condition, Said, Times};
use crate::image::LatestImage;
use crate::rule::{Action, Rule};
use gateway_expr::{Outcome as Evaluated, Program, Scalar, Scratch};
use protocols_driver::{WriteError, Written};
use protocols_model::{AlarmState, Instant, PointKey, Reading, Timestamp, Value};
use std::time::Duration;
use writes::{Cause, Desk};

/// What became of a write.
pub type Outcome = Result<Written, WriteError>;

/// Which write an outcome belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    rule: usize,
    number: u64,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write this, and tell [`Engine::wrote`].
    Write {
        /// For the answer.
        ticket: Ticket,
        /// Where.
        point: PointKey,
        /// What.
        value: Value,
        /// Not begun by then, it is not begun.
        begin_before: Instant,
    },
    /// An alarm changed: tell the cloud, ahead of everything, and keep the book.
    Alarm(AlarmChange),
    /// Tell the cloud.
    Event {
        /// Which rule.
        rule: String,
        /// For people.
        text: String,
    },
    /// Send every reading of these points until then.
    Capture {
        /// Which points.
        points: Vec<PointKey>,
        /// Until when.
        until: Instant,
    },
}

#[derive(Debug)]
struct Running {
    rule: Rule,
    /// Points its conditions look at, each once.
    inputs: Vec<PointKey>,
    condition: Condition,
    desk: Desk,
    /// When it must be evaluated although nothing arrives.
    due: Option<Instant>,
    /// The turn in which it was evaluated last.
    turn: u64,
    fired: u64,
}

/// All rules of a gateway.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Running>,
    /// Places of rules by point, for the points that any rule looks at.
    concerned: std::collections::BTreeMap<PointKey, Vec<usize>>,
    image: LatestImage,
    alarms: AlarmBook,
    /// Alarms that were open and that no rule raises any more; told at the next tick.
    gone: Vec<AlarmChange>,
    scratch: Scratch,
    turn: u64,
    evaluations: u64,
}

impl Engine {
    /// An engine of these rules. `kept` holds the alarms of the last run; a rule whose alarm's cause was
    /// there goes on as having fired, without doing it all again.
    #[must_use]
    pub fn new(
        rules: Vec<Rule>,
        kept: std::collections::BTreeMap<String, crate::Alarm>,
        now: Instant,
    ) -> Self {
        let mut alarms = AlarmBook::default();
        for rule in &rules {
            for action in &rule.actions {
                if let Action::Alarm { level, text, latch } = action {
                    alarms.define(&rule.name, *level, text, *latch);
                }
            }
        }
        let gone = alarms.restore(kept, now);
        let mut watched = Vec::new();
        let mut concerned = std::collections::BTreeMap::<_, Vec<usize>>::new();
        let mut running = Vec::with_capacity(rules.len());
        for (place, rule) in rules.into_iter().enumerate() {
            let inputs = inputs(&rule);
            for point in &inputs {
                watched.push((*point, rule.stale));
                concerned.entry(*point).or_default().push(place);
            }
            for program in computed(&rule) {
                watched.extend(program.inputs().iter().map(|point| (*point, rule.stale)));
            }
            let fired = alarms.get(&rule.name).is_some_and(is_there);
            running.push(Running {
                condition: Condition::new(times(&rule), fired),
                desk: Desk::new(rule.limit),
                inputs,
                rule,
                // Inputs that never come are bad inputs: looked at once, from the start.
                due: Some(now),
                turn: 0,
                fired: 0,
            });
        }
        Self {
            rules: running,
            concerned,
            image: LatestImage::new(watched),
            alarms,
            gone,
            scratch: Scratch::default(),
            turn: 0,
            evaluations: 0,
        }
    }

    /// Takes the alarms as they are kept by now, before anything was evaluated: a configuration is made
    /// ready while another one still runs. The next tick clears those that no rule has any more.
    pub fn restore(
        &mut self,
        kept: std::collections::BTreeMap<String, crate::Alarm>,
        now: Instant,
    ) {
        self.gone.extend(self.alarms.restore(kept, now));
        for running in &mut self.rules {
            let fired = self.alarms.get(&running.rule.name).is_some_and(is_there);
            running.condition = Condition::new(times(&running.rule), fired);
        }
    }

    /// Whether there is anything to do at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Takes the readings of one sweep that arrived at `now`.
    pub fn take(
        &mut self,
        now: Instant,
        wall: Timestamp,
        readings: &[Reading],
        effects: &mut Vec<Effect>,
    ) {
        let mut touched = Vec::new();
        for reading in readings {
            if self.image.take(now, reading)
                && let Some(rules) = self.concerned.get(&reading.point)
            {
                touched.extend_from_slice(rules);
            }
        }
        if touched.is_empty() {
            return;
        }
        self.turn += 1;
        for place in touched {
            self.evaluate(place, now, wall, effects);
        }
    }

    /// Does what is due at `now` although nothing arrived.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, effects: &mut Vec<Effect>) {
        self.image.set_now(now);
        self.turn += 1;
        effects.extend(self.gone.drain(..).map(Effect::Alarm));
        for place in 0..self.rules.len() {
            let due = self.rules.get(place).and_then(Running::next);
            if due.is_some_and(|due| due <= now) {
                self.evaluate(place, now, wall, effects);
            }
        }
        effects.extend(self.alarms.unshelve(now).into_iter().map(Effect::Alarm));
    }

    /// When [`Engine::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if !self.gone.is_empty() {
            return Some(Instant::default());
        }
        let rules = self.rules.iter().filter_map(Running::next).min();
        match (rules, self.alarms.due()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes what became of a write.
    pub fn wrote(
        &mut self,
        now: Instant,
        ticket: Ticket,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(running) = self.rules.get_mut(ticket.rule) else {
            return;
        };
        if let Some(text) = running.desk.done(now, ticket.number, outcome) {
            effects.push(Effect::Event {
                rule: running.rule.name.clone(),
                text,
            });
        }
    }

    /// The alarms.
    #[must_use]
    pub const fn alarms(&self) -> &AlarmBook {
        &self.alarms
    }

    /// The alarms, to acknowledge and shelve.
    pub const fn alarms_mut(&mut self) -> &mut AlarmBook {
        &mut self.alarms
    }

    /// Rules by name, and whether their condition holds.
    pub fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        let state = |running: &'_ Running| running.condition.is_active();
        self.rules
            .iter()
            .map(move |running| (running.rule.name.as_str(), state(running)))
    }

    /// The alarms by name, and the points that each is about: those its rule's condition looks at.
    pub fn alarm_points(&self) -> impl Iterator<Item = (&str, &[PointKey])> {
        let raises = |running: &&Running| {
            let mut actions = running.rule.actions.iter();
            actions.any(|action| matches!(action, Action::Alarm { .. }))
        };
        let rules = self.rules.iter().filter(raises);
        rules.map(|running| (running.rule.name.as_str(), running.rule.when.inputs()))
    }

    /// Rules by name, and how often each has fired.
    pub fn fired(&self) -> impl Iterator<Item = (&str, u64)> {
        let rules = self.rules.iter();
        rules.map(|running| (running.rule.name.as_str(), running.fired))
    }

    /// The points that rules write.
    pub fn written(&self) -> impl Iterator<Item = PointKey> {
        self.rules
            .iter()
            .flat_map(|running| crate::check::written(&running.rule))
    }

    /// How many conditions were evaluated so far.
    #[must_use]
    pub const fn evaluations(&self) -> u64 {
        self.evaluations
    }

    fn evaluate(&mut self, place: usize, now: Instant, wall: Timestamp, effects: &mut Vec<Effect>) {
        let Some(running) = self.rules.get_mut(place) else {
            return;
        };
        if running.turn == self.turn {
            return;
        }
        running.turn = self.turn;
        self.evaluations += 1;
        let said = say(running, &self.image, &mut self.scratch);
        for change in running.condition.step(now, said).into_iter().flatten() {
            follow(running, change, now, wall, &mut self.alarms, effects);
        }
        // A machine that is called late, or a hold of nothing, must not wait for the next reading.
        let stale = running.inputs.iter();
        running.due = stale.filter_map(|point| self.image.stale_at(*point)).min();
        running.work(place, now, &self.image, &mut self.scratch, effects);
    }
}

impl Running {
    fn next(&self) -> Option<Instant> {
        [self.due, self.condition.due(), self.desk.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Carries out what waits to be written, as far as interlock and limit let it.
    fn work(
        &mut self,
        place: usize,
        now: Instant,
        image: &LatestImage,
        scratch: &mut Scratch,
        effects: &mut Vec<Effect>,
    ) {
        if !self.desk.has_work(now) {
            return;
        }
        let locked = self.rule.never.as_ref().is_some_and(|never| {
            // What cannot be told counts as locked.
            !matches!(truth(&never.eval(image, scratch)), Some(false))
        });
        let name = &self.rule.name;
        self.desk.work(now, locked, image, scratch, |done| {
            effects.push(match done {
                writes::Done::Write {
                    number,
                    point,
                    value,
                    begin_before,
                } => Effect::Write {
                    ticket: Ticket {
                        rule: place,
                        number,
                    },
                    point,
                    value,
                    begin_before,
                },
                writes::Done::Tell(text) => Effect::Event {
                    rule: name.clone(),
                    text,
                },
            });
        });
    }
}

const fn times(rule: &Rule) -> Times {
    Times {
        hold: rule.hold,
        clear_hold: rule.clear_hold,
        bad_after: rule.bad_after,
        on_bad: rule.on_bad,
    }
}

/// Whether the cause of an alarm is there.
fn is_there(alarm: &crate::Alarm) -> bool {
    matches!(alarm.state, AlarmState::Raised | AlarmState::Acknowledged)
}

/// What the conditions of a rule say now.
fn say(running: &Running, image: &LatestImage, scratch: &mut Scratch) -> Said {
    let rule = &running.rule;
    let when = truth(&rule.when.eval(image, scratch));
    let clear = rule
        .clear
        .as_ref()
        .map(|clear| truth(&clear.eval(image, scratch)));
    // Only what decides in this state must be known; a rule that fires and clears at once stays ended.
    let known = match (running.condition.is_active(), when, clear) {
        (false, Some(false), _) => Some((false, false)),
        (false, Some(true), None) => Some((true, false)),
        (false, Some(true), Some(clear)) => clear.map(|clear| (!clear, false)),
        (true, Some(when), None) => Some((false, !when)),
        (true, _, Some(clear)) => clear.map(|clear| (false, clear)),
        (false | true, None, _) => None,
    };
    known.map_or(Said::Bad, |(fire, end)| Said::Known { fire, end })
}

fn truth(outcome: &Evaluated) -> Option<bool> {
    match outcome {
        Evaluated::Good(Scalar::Bool(truth)) | Evaluated::Uncertain(Scalar::Bool(truth), _) => {
            Some(*truth)
        }
        _ => None,
    }
}

/// What follows from a change of a rule's condition.
fn follow(
    running: &mut Running,
    change: Change,
    now: Instant,
    wall: Timestamp,
    alarms: &mut AlarmBook,
    effects: &mut Vec<Effect>,
) {
    running.fired += u64::from(change == Change::Fired);
    let rule = &running.rule;
    match change {
        Change::Fired => {
            let writes = rule.actions.iter().filter_map(|action| match action {
                Action::Write(write) => Some(write.clone()),
                _ => None,
            });
            running.desk.want(Cause::Fired, writes.collect());
            for action in &rule.actions {
                match action {
                    Action::Write(_) => {}
                    Action::Alarm { .. } => {
                        let change = alarms.raise(&rule.name, now, wall);
                        effects.extend(change.map(Effect::Alarm));
                    }
                    Action::Event { text } => effects.push(Effect::Event {
                        rule: rule.name.clone(),
                        text: text.clone(),
                    }),
                    Action::Capture { points, span } => effects.push(Effect::Capture {
                        points: points.clone(),
                        until: now.plus(*span),
                    }),
                }
            }
        }
        Change::Ended => {
            running.desk.want(Cause::Ended, rule.on_clear.clone());
            effects.extend(alarms.clear(&rule.name, now, wall).map(Effect::Alarm));
        }
        Change::Unsafe => {
            effects.push(Effect::Event {
                rule: rule.name.clone(),
                text: "its inputs have had no value for too long".to_owned(),
            });
            running.desk.want(Cause::Unsafe, rule.safe.clone());
        }
    }
}

fn inputs(rule: &Rule) -> Vec<PointKey> {
    let programs = [Some(&rule.when), rule.clear.as_ref(), rule.never.as_ref()];
    let all = programs.into_iter().flatten().flat_map(Program::inputs);
    let mut inputs: Vec<PointKey> = all.copied().collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

fn computed(rule: &Rule) -> impl Iterator<Item = &Program> {
    let fired = rule.actions.iter().filter_map(|action| match action {
        Action::Write(write) => Some(write),
        _ => None,
    });
    let writes = fired.chain(&rule.on_clear).chain(&rule.safe);
    writes.filter_map(|write| match &write.value {
        crate::rule::WriteValue::Computed(program, _) => Some(program),
        crate::rule::WriteValue::Constant(_) => None,
    })
}

/// How long a write that was not sent waits before it is tried again.
pub const RETRY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
