//! The swinging door: readings on a line between sent ones say nothing new.
//!
//! From the last sent sample (the pivot) each reading since leaves a corridor of slopes that pass it within
//! the error. A new reading inside the corridor of all before it becomes the end of the line; one outside
//! ends the line at the reading before, which is sent and becomes the pivot. So between two sent samples
//! every reading lies within the error of the line, exactly, not only nearly as with the classical two
//! doors.
//!
//! Times count in milliseconds, as they travel. The last reading is always held back, at most for the
//! beat: the price of lines. A clock that does not rise ends the line.

use super::Passed;
use crate::bound::Bound;
use protocols_model::{Instant, Value};
use protocols_wire::Sample;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub struct Swing {
    error: f64,
    beat: Option<Duration>,
    passed: Option<Passed>,
    line: Option<Line>,
    held: Option<Sample>,
}

/// What may follow the pivot.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Milliseconds and value of the pivot.
    at: i64,
    value: f64,
    /// Slopes, in units a millisecond, that pass every reading since within the error.
    low: f64,
    high: f64,
}

impl Line {
    const fn from(at: i64, value: f64) -> Self {
        Self {
            at,
            value,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        }
    }

    /// Milliseconds after the pivot; `None` when the clock did not rise or leapt further than a float
    /// counts exactly.
    fn run(&self, at: i64) -> Option<f64> {
        let run = at.checked_sub(self.at)?;
        (1..1 << 52).contains(&run).then_some(run as f64)
    }

    /// Whether the line from the pivot to here passes all readings between within the error.
    fn reaches(&self, at: i64, value: f64) -> bool {
        self.run(at).is_some_and(|run| {
            let slope = (value - self.value) / run;
            (self.low..=self.high).contains(&slope)
        })
    }

    /// Narrows the corridor so that lines pass this reading too.
    fn narrow(&mut self, at: i64, value: f64, error: f64) {
        if let Some(run) = self.run(at) {
            self.low = self.low.max((value - error - self.value) / run);
            self.high = self.high.min((value + error - self.value) / run);
        }
    }
}

impl Swing {
    pub(super) const fn new(error: f64, beat: Option<Duration>) -> Self {
        Self {
            error,
            beat,
            passed: None,
            line: None,
            held: None,
        }
    }

    pub(super) const fn bound(&self) -> Bound {
        Bound::Linear {
            absolute: self.error,
        }
    }

    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn flush(&mut self) -> Option<Sample> {
        self.line = None;
        // The next reading starts a line of its own, so it passes like a first one.
        self.passed = None;
        self.held.take()
    }

    pub(super) fn take(&mut self, now: Instant, sample: Sample, sink: &mut dyn FnMut(Sample)) {
        let number = number(&sample);
        let Some(passed) = &self.passed else {
            return self.pass(now, sample, number, sink);
        };
        let silent = self.beat.is_some_and(|beat| now.since(passed.at) >= beat);
        // A change against what came last, which may be held back: its quality is the passed one's.
        if passed.quality != sample.quality {
            return self.end(now, sample, number, sink);
        }
        let (Some(value), Some(line)) = (number, self.line.as_mut()) else {
            // No line to draw: a change passes, a repetition does not.
            if silent || passed.value != sample.value {
                return self.end(now, sample, number, sink);
            }
            return;
        };
        let at = sample.time.as_millis();
        if line.run(at).is_none() || !later(self.held.as_ref(), at) {
            return self.end(now, sample, number, sink);
        }
        if line.reaches(at, value) {
            line.narrow(at, value, self.error);
            if silent {
                self.held = None;
                return self.pass(now, sample, number, sink);
            }
            self.held = Some(sample);
            return;
        }
        // The line ends at the reading before, and a new one begins there.
        match self.held.take() {
            Some(end) => {
                let end_value = number_of(end.value.as_ref());
                self.pass(now, end, end_value, sink);
                self.take(now, sample, sink);
            }
            None => self.pass(now, sample, number, sink),
        }
    }

    /// Sends what is held back, then the sample itself.
    fn end(
        &mut self,
        now: Instant,
        sample: Sample,
        number: Option<f64>,
        sink: &mut dyn FnMut(Sample),
    ) {
        if let Some(held) = self.held.take() {
            sink(held);
        }
        self.pass(now, sample, number, sink);
    }

    fn pass(
        &mut self,
        now: Instant,
        sample: Sample,
        number: Option<f64>,
        sink: &mut dyn FnMut(Sample),
    ) {
        self.passed = Some(Passed::new(now, &sample));
        self.line = number.map(|value| Line::from(sample.time.as_millis(), value));
        sink(sample);
    }
}

/// Whether `at` lies after the sample that is held back.
fn later(held: Option<&Sample>, at: i64) -> bool {
    held.is_none_or(|held| held.time.as_millis() < at)
}

fn number(sample: &Sample) -> Option<f64> {
    number_of(sample.value.as_ref())
}

/// The value as a number to draw lines between.
fn number_of(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => None,
        number => number.as_f64().filter(|number| number.is_finite()),
    }
}
