//! What is computed from readings: derived points, windows, rules. All of it sees raw readings; what
//! leaves the site is decided after it.
//!
//! ```text
//! readings of a sweep ─▶ + derived points ─▶ rules ─▶ windows
//!                              ▲                         │ at their borders
//!                              └──── results as readings ┘
//! ```

use crate::setup::{DerivedSetup, SetupError, WindowSetup};
use gateway_expr::{Outcome, Program, Scratch};
use gateway_filter::Window;
use gateway_rules::{Effect, Engine, LatestImage};
use protocols_model::{Instant, PointKey, Quality, Reading, Timestamp, ValueType};
use protocols_wire::Sample;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Derived {
    point: PointKey,
    program: Program,
    value_type: ValueType,
}

#[derive(Debug)]
struct Watching {
    of: PointKey,
    window: Window,
    results: Vec<PointKey>,
}

/// Everything computed in one configuration.
#[derive(Debug)]
pub(crate) struct Logic {
    derived: Vec<Derived>,
    /// Places in `derived` by the points they look at.
    dependents: BTreeMap<PointKey, Vec<usize>>,
    image: LatestImage,
    windows: Vec<Watching>,
    /// Places in `windows` by point.
    watched: BTreeMap<PointKey, Vec<usize>>,
    pub(crate) engine: Engine,
    scratch: Scratch,
}

impl Logic {
    pub(crate) fn new(
        derived: Vec<DerivedSetup>,
        windows: Vec<WindowSetup>,
        engine: Engine,
        type_of: impl Fn(PointKey) -> Option<ValueType>,
        (now, wall): (Instant, Timestamp),
    ) -> Result<Self, SetupError> {
        let mut looked_at = Vec::new();
        let mut dependents = BTreeMap::<_, Vec<usize>>::new();
        let mut all = Vec::with_capacity(derived.len());
        for (place, setup) in derived.into_iter().enumerate() {
            for input in setup.program.inputs() {
                looked_at.push((*input, setup.stale));
                dependents.entry(*input).or_default().push(place);
            }
            all.push(Derived {
                value_type: type_of(setup.point).ok_or(SetupError::Point(setup.point))?,
                point: setup.point,
                program: setup.program,
            });
        }
        let mut watched = BTreeMap::<_, Vec<usize>>::new();
        let mut watching = Vec::with_capacity(windows.len());
        for (place, setup) in windows.into_iter().enumerate() {
            let of = type_of(setup.of).ok_or(SetupError::Point(setup.of))?;
            let window = Window::new(setup.spec, of, setup.period, now, wall);
            let name = || setup.of.0.to_string();
            watched.entry(setup.of).or_default().push(place);
            watching.push(Watching {
                of: setup.of,
                window: window.map_err(|error| SetupError::Window(name(), error))?,
                results: setup.results,
            });
        }
        Ok(Self {
            derived: all,
            dependents,
            image: LatestImage::new(looked_at),
            windows: watching,
            watched,
            engine,
            scratch: Scratch::default(),
        })
    }

    /// Whether readings pass it by.
    pub(crate) fn is_empty(&self) -> bool {
        self.derived.is_empty() && self.windows.is_empty() && self.engine.is_empty()
    }

    /// When [`Logic::tick`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let windows = self.windows.iter().map(|watching| watching.window.due());
        windows.chain(self.engine.due()).min()
    }

    /// Takes the well-formed readings of a sweep, and adds those of derived points.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        wall: Timestamp,
        readings: &mut Vec<Reading>,
        effects: &mut Vec<Effect>,
    ) {
        self.derive(now, readings);
        self.engine.take(now, wall, readings, effects);
        if self.watched.is_empty() {
            return;
        }
        for reading in readings.iter() {
            let Some(places) = self.watched.get(&reading.point) else {
                continue;
            };
            let sample = Sample {
                time: reading.sampled,
                value: reading.value.clone(),
                quality: reading.quality,
            };
            for place in places {
                if let Some(watching) = self.windows.get_mut(*place) {
                    watching.window.take(now, wall, &sample);
                }
            }
        }
    }

    /// Closes windows and does what rules have to do at `now`; results of windows come as readings that
    /// were not taken yet.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        wall: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Vec<Reading> {
        let mut results = Vec::new();
        for watching in &mut self.windows {
            let Watching {
                window,
                results: points,
                ..
            } = watching;
            window.tick(now, wall, &mut |place, sample| {
                if let Some(point) = points.get(place) {
                    results.push(Reading {
                        point: *point,
                        sampled: sample.time,
                        value: sample.value,
                        quality: sample.quality,
                    });
                }
            });
        }
        self.engine.tick(now, wall, effects);
        results
    }

    /// Which points windows look at, and how many of their readings came too late.
    pub(crate) fn late(&self) -> impl Iterator<Item = (PointKey, u64)> {
        self.windows
            .iter()
            .map(|watching| (watching.of, watching.window.late()))
    }

    /// Computes what depends on the readings, in the order of the derived points: each is computed from
    /// points before it, so once is enough.
    fn derive(&mut self, now: Instant, readings: &mut Vec<Reading>) {
        if self.derived.is_empty() {
            return;
        }
        self.image.set_now(now);
        let mut waiting = BTreeSet::new();
        let mut last = None;
        for reading in readings.iter() {
            if self.image.take(now, reading) {
                let dependents = self.dependents.get(&reading.point);
                waiting.extend(dependents.into_iter().flatten().copied());
                last = Some(reading.sampled);
            }
        }
        let Some(sampled) = last else { return };
        while let Some(place) = waiting.pop_first() {
            let Some(derived) = self.derived.get(place) else {
                continue;
            };
            let outcome = derived.program.eval(&self.image, &mut self.scratch);
            let reading = reading(derived, sampled, outcome);
            if self.image.take(now, &reading) {
                let dependents = self.dependents.get(&derived.point);
                let later = dependents.into_iter().flatten().copied();
                waiting.extend(later.filter(|other| *other > place));
            }
            readings.push(reading);
        }
    }
}

fn reading(derived: &Derived, sampled: Timestamp, outcome: Outcome) -> Reading {
    let (value, quality) = match outcome {
        Outcome::Good(value) => (value.to_value(derived.value_type), Quality::Good),
        Outcome::Uncertain(value, reason) => (
            value.to_value(derived.value_type),
            Quality::Uncertain(reason),
        ),
        Outcome::Bad(reason) => (Err(reason), Quality::Bad(reason)),
    };
    let (value, quality) = match value {
        Ok(value) => (Some(value), quality),
        Err(reason) => (None, Quality::Bad(reason)),
    };
    Reading {
        point: derived.point,
        sampled,
        value,
        quality,
    }
}
