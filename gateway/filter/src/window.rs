//! Windows: what is computed over the last seconds or minutes of a point.
//!
//! ```text
//! samples ─▶ pane │ pane │ pane ─▶ at each step: aggregates over all panes, one sample each
//! ```
//!
//! A window of size `size` gives results every `step`; tumbling when both are equal, sliding otherwise.
//! `size` is a whole number of steps, so the window is kept as panes of one step each.
//!
//! Rules:
//! - Borders run on the monotonic clock and never jump; the first one lies where the wall clock then
//!   shows a whole number of steps. A result is stamped with its border, by the wall clock at the border.
//! - A reading belongs to the pane in which it arrived. One whose own stamp is older than `late` is left
//!   out and counted: a device that sends its memory must not distort the present.
//! - A value holds until the next reading: time-weighted results carry it over borders. While the quality
//!   is bad nothing holds, and that time counts for nothing.
//! - A result is good when all readings of the window were, uncertain when some were not, bad when none
//!   had a value or fewer than the least number asked for; `count` is bad in the second case only.

mod pane;

use pane::Pane;
use protocols_model::{Instant, Quality, Reason, Timestamp, Value, ValueType};
use protocols_wire::Sample;
use std::collections::VecDeque;
use std::time::Duration;

/// Most panes of a sliding window.
pub const MAX_PANES: u32 = 600;
/// Most readings that a window with a percentile keeps; the configuration is refused when its poll
/// period would give more.
pub const MAX_KEPT: usize = 10_000;

/// What is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The mean of the readings.
    Mean,
    /// The mean over time: each value weighs as long as it held.
    TimeMean,
    /// The last value.
    Last,
    /// How many readings had a value.
    Count,
    /// The standard deviation of the readings (of the sample: n − 1).
    Deviation,
    /// The value below which this many percent of the readings lie, 0 to 100, the nearest one.
    Percentile(f64),
    /// Seconds during which the point had this value.
    TimeIn(Value),
}

impl Aggregate {
    /// Type of its results over a point of this type; `None` where it cannot be computed.
    #[must_use]
    pub fn result(&self, of: ValueType) -> Option<ValueType> {
        let number = matches!(of, ValueType::I64 | ValueType::U64 | ValueType::F64);
        match self {
            Self::Count => Some(ValueType::U64),
            Self::Last => Some(of),
            Self::TimeIn(value) => (value.value_type() == of).then_some(ValueType::F64),
            Self::Min | Self::Max | Self::Percentile(_) => number.then_some(of),
            Self::Mean | Self::TimeMean | Self::Deviation => number.then_some(ValueType::F64),
        }
    }

    const fn keeps_values(&self) -> bool {
        matches!(self, Self::Percentile(_))
    }
}

/// A window as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowSpec {
    /// How far back it reaches.
    pub size: Duration,
    /// How often it gives results; `size` for a tumbling window.
    pub step: Duration,
    /// What is computed; the results come in this order.
    pub aggregates: Vec<Aggregate>,
    /// A reading older than this by its own stamp is left out.
    pub late: Duration,
    /// A result of fewer readings with a value tells nothing, not even how many they were: a group that
    /// is too small to hide in. 0 where nobody hides.
    pub min_count: u64,
}

/// Why a window cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WindowError {
    /// The size is no whole number of steps.
    #[error("a window of {0:?} is no whole number of steps of {1:?}")]
    Uneven(Duration, Duration),
    /// Too many panes.
    #[error("{0} steps in a window; at most {MAX_PANES}")]
    TooManyPanes(u128),
    /// A percentile over more readings than are kept.
    #[error("a percentile over {0} readings; at most {MAX_KEPT}")]
    TooManyKept(u128),
    /// No step, or nothing to compute.
    #[error("a window needs a step of at least 100 ms and something to compute")]
    Empty,
    /// The aggregate does not go with the point's type.
    #[error("{0:?} cannot be computed over a point of type {1}")]
    Type(Aggregate, &'static str),
}

impl WindowSpec {
    /// Checks the window over a point of this type that is read once a `period`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, of: ValueType, period: Duration) -> Result<(), WindowError> {
        if self.step < Duration::from_millis(100) || self.aggregates.is_empty() {
            return Err(WindowError::Empty);
        }
        let (size, step) = (self.size.as_nanos(), self.step.as_nanos());
        if size < step || size % step != 0 {
            return Err(WindowError::Uneven(self.size, self.step));
        }
        let panes = size / step;
        if panes > u128::from(MAX_PANES) {
            return Err(WindowError::TooManyPanes(panes));
        }
        let readings = size / period.as_nanos().max(1);
        if self.aggregates.iter().any(Aggregate::keeps_values) && readings > MAX_KEPT as u128 {
            return Err(WindowError::TooManyKept(readings));
        }
        let wrong = self.aggregates.iter().find(|a| a.result(of).is_none());
        wrong.map_or(Ok(()), |aggregate| {
            Err(WindowError::Type(aggregate.clone(), of.as_str()))
        })
    }

    /// Memory the window takes when it is full, in bytes, over a point that is read once a `period`.
    #[must_use]
    pub fn bytes(&self, period: Duration) -> u64 {
        let panes = self.size.as_nanos() / self.step.as_nanos().max(1);
        let states = self
            .aggregates
            .iter()
            .filter(|a| matches!(a, Aggregate::TimeIn(_)));
        let pane = size_of::<Pane>() + states.count() * size_of::<f64>();
        let kept = if self.aggregates.iter().any(Aggregate::keeps_values) {
            self.size.as_nanos() / period.as_nanos().max(1)
        } else {
            0
        };
        let bytes = panes * pane as u128 + kept * size_of::<f64>() as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// A window over one point.
#[derive(Debug, Clone)]
pub struct Window {
    spec: WindowSpec,
    of: ValueType,
    /// Oldest first; the last one is open.
    panes: VecDeque<Pane>,
    /// When the open pane closes.
    border: Instant,
    /// The value that holds, and since when it is accounted for.
    holding: Option<Value>,
    accounted: Instant,
    late: u64,
}

impl Window {
    /// A window that begins at `now`, when the wall clock shows `wall`.
    ///
    /// # Errors
    /// What [`WindowSpec::check`] finds.
    pub fn new(
        spec: WindowSpec,
        of: ValueType,
        period: Duration,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Self, WindowError> {
        spec.check(of, period)?;
        let step = i64::try_from(spec.step.as_nanos()).unwrap_or(i64::MAX);
        let past = u64::try_from(wall.0.rem_euclid(step)).unwrap_or(0);
        let border = now.plus(spec.step.saturating_sub(Duration::from_nanos(past)));
        Ok(Self {
            panes: VecDeque::from([Pane::new(&spec.aggregates)]),
            spec,
            of,
            border,
            holding: None,
            accounted: now,
            late: 0,
        })
    }

    /// When [`Window::tick`] has something to do.
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.border
    }

    /// Readings left out because they came too late.
    #[must_use]
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Takes a well-formed reading that arrived at `now`, when the wall clock showed `wall`. Call
    /// [`Window::tick`] first, so that what is due is closed without it.
    pub fn take(&mut self, now: Instant, wall: Timestamp, sample: &Sample) {
        if wall.since(sample.time) > self.spec.late {
            self.late += 1;
            return;
        }
        self.account(now);
        self.holding.clone_from(&sample.value);
        if let Some(pane) = self.panes.back_mut() {
            pane.take(sample);
        }
    }

    /// Closes what is due at `now`; each result goes to `sink` with the place of its aggregate.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, sink: &mut dyn FnMut(usize, Sample)) {
        let panes = usize::try_from(self.spec.size.as_nanos() / self.spec.step.as_nanos().max(1));
        let panes = panes.unwrap_or(usize::MAX);
        let mut closed = 0;
        while self.border <= now {
            self.account(self.border);
            let stamp = wall.minus(now.since(self.border));
            for (place, aggregate) in self.spec.aggregates.iter().enumerate() {
                sink(place, self.result(aggregate, stamp));
            }
            self.panes.push_back(Pane::new(&self.spec.aggregates));
            while self.panes.len() > panes {
                self.panes.pop_front();
            }
            self.border = self.border.plus(self.spec.step);
            closed += 1;
            if closed == panes {
                self.skip(now);
            }
        }
    }

    /// A machine that slept through many borders gives one window's worth of results: all readings have
    /// left the window by then, and the borders up to now are passed over.
    fn skip(&mut self, now: Instant) {
        let step = self.spec.step.as_nanos().max(1);
        let behind = u32::try_from(now.since(self.border).as_nanos() / step).unwrap_or(u32::MAX);
        if behind > 0 {
            let skipped = self.spec.step.saturating_mul(behind);
            self.border = self.border.plus(skipped);
            self.accounted = self.accounted.plus(skipped);
        }
    }

    /// Books the time since the last call to the value that held.
    fn account(&mut self, now: Instant) {
        let span = now.since(self.accounted);
        self.accounted = self.accounted.max(now);
        if let (Some(value), Some(pane)) = (&self.holding, self.panes.back_mut()) {
            pane.hold(value, span, &self.spec.aggregates);
        }
    }

    /// Which of the `TimeIn` aggregates this one is.
    fn state_place(&self, aggregate: &Aggregate) -> usize {
        let states = self
            .spec
            .aggregates
            .iter()
            .filter(|a| matches!(a, Aggregate::TimeIn(_)));
        states.take_while(|state| *state != aggregate).count()
    }

    fn result(&self, aggregate: &Aggregate, stamp: Timestamp) -> Sample {
        let enough = pane::count(&self.panes) >= self.spec.min_count;
        let value = match aggregate {
            _ if !enough => None,
            Aggregate::TimeIn(_) => pane::time_in(self.state_place(aggregate), &self.panes),
            _ => pane::compute(aggregate, self.of, &self.panes),
        };
        let doubt = self.panes.iter().find_map(Pane::doubt);
        let (value, quality) = match (value, doubt) {
            (Some(value), None) => (Some(value), Quality::Good),
            (Some(value), Some(_)) if *aggregate == Aggregate::Count => {
                (Some(value), Quality::Good)
            }
            (Some(value), Some(reason)) => (Some(value), Quality::Uncertain(reason)),
            (None, doubt) => (None, Quality::Bad(doubt.unwrap_or(Reason::Stale))),
        };
        Sample {
            time: stamp,
            value,
            quality,
        }
    }
}

#[cfg(test)]
mod tests;
