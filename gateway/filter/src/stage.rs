//! One filter of one point: a sample in, at most two out.
//!
//! Common rules of all stages, checked in this order by an independent model in the tests:
//! 1. the first reading passes;
//! 2. a change of quality against the last one that passed passes, after what was held back;
//! 3. when the stage's beat has passed since something passed, the reading passes;
//! 4. otherwise the stage decides by the value; without value (bad quality) nothing changed.

mod deadband;
mod pace;
mod swing;

pub use deadband::{Band, Deadband};
pub use pace::Pace;
pub use swing::Swing;

use crate::bound::Bound;
use protocols_model::{Instant, Quality, Value};
use protocols_wire::Sample;
use std::time::Duration;

/// A filter with what it remembers.
#[derive(Debug, Clone)]
pub enum Stage {
    /// Leaves out what stays near the last sent value.
    Deadband(Deadband),
    /// Leaves out what lies on a line between sent values.
    Swing(Box<Swing>),
    /// Leaves out by count or time.
    Pace(Pace),
}

impl Stage {
    /// A deadband; `beat` is the longest silence.
    #[must_use]
    pub const fn deadband(band: Band, beat: Option<Duration>) -> Self {
        Self::Deadband(Deadband::new(band, beat))
    }

    /// A swinging door of this error, in the point's unit.
    #[must_use]
    pub fn swing(error: f64, beat: Option<Duration>) -> Self {
        Self::Swing(Box::new(Swing::new(error, beat)))
    }

    /// Every `n`th reading; 1 is every one.
    #[must_use]
    pub const fn every(n: u32) -> Self {
        Self::Pace(Pace::every(n))
    }

    /// At most one reading an interval.
    #[must_use]
    pub const fn min_interval(interval: Duration) -> Self {
        Self::Pace(Pace::min_interval(interval))
    }

    /// The largest error it introduces.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        match self {
            Self::Deadband(stage) => stage.bound(),
            Self::Swing(stage) => stage.bound(),
            Self::Pace(stage) => stage.bound(),
        }
    }

    pub(crate) fn take(&mut self, now: Instant, sample: Sample, sink: &mut dyn FnMut(Sample)) {
        match self {
            Self::Deadband(stage) => {
                if stage.keeps(now, &sample) {
                    sink(sample);
                }
            }
            Self::Swing(stage) => stage.take(now, sample, sink),
            Self::Pace(stage) => {
                if stage.keeps(now, &sample) {
                    sink(sample);
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) -> Option<Sample> {
        match self {
            Self::Swing(stage) => stage.flush(),
            Self::Deadband(_) | Self::Pace(_) => None,
        }
    }

    pub(crate) const fn holds(&self) -> bool {
        match self {
            Self::Swing(stage) => stage.holds(),
            Self::Deadband(_) | Self::Pace(_) => false,
        }
    }
}

/// The last sample that a stage let pass.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) value: Option<Value>,
    pub(crate) quality: Quality,
    pub(crate) at: Instant,
}

impl Passed {
    pub(crate) fn new(now: Instant, sample: &Sample) -> Self {
        Self {
            value: sample.value.clone(),
            quality: sample.quality,
            at: now,
        }
    }

    /// Rules 2 and 3.
    pub(crate) fn must_follow(
        &self,
        now: Instant,
        sample: &Sample,
        beat: Option<Duration>,
    ) -> bool {
        self.quality != sample.quality || beat.is_some_and(|beat| now.since(self.at) >= beat)
    }
}
