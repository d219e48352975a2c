//! One point on its way out: filters, then privacy.

use crate::latest::Latest;
use crate::setup::Privacy;
use gateway_filter::{Chain, Stage};
use gateway_privacy::{Guard, Treatment};
use protocols_model::{Instant, PointKey, Reading, ValueType};
use protocols_wire::Sample;
use std::time::Duration;

/// What became of the readings of one point: `taken = sent + filtered + held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PointCounts {
    /// Readings taken.
    pub taken: u64,
    /// Readings put into batches.
    pub sent: u64,
    /// Readings left out by filters, replaced by privacy, or withheld.
    pub filtered: u64,
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) kept: u64,
    pub(super) filtered: u64,
}

#[derive(Debug)]
pub(super) struct Point {
    value_type: ValueType,
    chain: Chain,
    private: Option<Box<Private>>,
    captured: Option<Instant>,
    latest: Option<Latest>,
    alive: Option<Box<Alive>>,
    counts: PointCounts,
}

/// Signs of life, where they are wanted.
#[derive(Debug)]
struct Alive {
    every: Duration,
    /// The reading that was sent last, as it left.
    sent: Option<Sample>,
    /// When it, or a sign of life, was told.
    told: Instant,
}

/// What most points do not have.
#[derive(Debug)]
struct Private {
    guard: Guard,
    withheld: bool,
    latitude: Option<PointKey>,
    /// The last raw number, for the longitude that belongs to this latitude.
    last: Option<f64>,
}

impl Point {
    pub(super) fn new(
        value_type: ValueType,
        stages: Vec<Stage>,
        privacy: &Privacy,
        keep_alive: Option<Duration>,
    ) -> Self {
        let private = |treatments, withheld, latitude| {
            Some(Box::new(Private {
                guard: Guard::new(treatments),
                withheld,
                latitude,
                last: None,
            }))
        };
        let private = match privacy {
            Privacy::Open => None,
            Privacy::Treated {
                treatments,
                latitude,
            } => private(treatments.clone(), false, *latitude),
            Privacy::Withheld => private(Vec::new(), true, None),
        };
        Self {
            value_type,
            chain: Chain::new(stages),
            private,
            captured: None,
            latest: None,
            alive: keep_alive.map(|every| {
                Box::new(Alive {
                    every,
                    sent: None,
                    told: Instant::default(),
                })
            }),
            counts: PointCounts::default(),
        }
    }

    pub(super) const fn value_type(&self) -> ValueType {
        self.value_type
    }

    pub(super) fn bound(&self) -> gateway_filter::Bound {
        self.chain.bound()
    }

    pub(super) const fn counts(&self) -> PointCounts {
        self.counts
    }

    pub(super) const fn latest(&self) -> Option<&Latest> {
        self.latest.as_ref()
    }

    pub(super) fn latitude(&self) -> Option<PointKey> {
        self.private.as_ref()?.latitude
    }

    pub(super) fn last_number(&self) -> Option<f64> {
        self.private.as_ref()?.last
    }

    /// Whether privacy may hold values back for a time.
    pub(super) fn may_hold(&self) -> bool {
        let guard = self.private.as_ref().map(|private| &private.guard);
        guard.is_some_and(|guard| {
            let mut treatments = guard.treatments().iter();
            treatments.any(|treatment| matches!(treatment, Treatment::Time(_)))
        })
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.private.as_ref()?.guard.due()
    }

    pub(super) fn capture(&mut self, until: Instant) {
        self.captured = self.captured.max(Some(until));
    }

    /// Takes a well-formed reading.
    pub(super) fn take(
        &mut self,
        now: Instant,
        reading: Reading,
        latitude: Option<f64>,
        mut sink: impl FnMut(Sample),
    ) -> Sent {
        self.counts.taken += 1;
        self.latest = Some(Latest::of(&reading, now));
        let sample = Sample {
            time: reading.sampled,
            value: reading.value,
            quality: reading.quality,
        };
        let captured = self.captured.is_some_and(|until| now < until);
        if !captured {
            self.captured = None;
        }
        if self.is_withheld() {
            return self.book(Sent {
                kept: 0,
                filtered: 1,
            });
        }
        let held_before = self.held();
        let mut alive = self.alive.as_deref_mut();
        let mut sink = |sample: Sample| {
            if let Some(alive) = &mut alive {
                alive.sent = Some(sample.clone());
                alive.told = now;
            }
            sink(sample);
        };
        let mut out = Out::new(self.private.as_deref_mut(), now, latitude);
        out.see(&sample);
        if captured || self.chain.is_empty() {
            // What a filter holds back is older than this: it goes first.
            self.chain.flush(now, &mut |held| out.pass(held, &mut sink));
            out.pass(sample, &mut sink);
        } else {
            self.chain
                .take(now, sample, &mut |sample| out.pass(sample, &mut sink));
        }
        let kept = out.kept;
        let held = self.held();
        // Every reading is kept, held or filtered; one that was held before may have been decided now.
        let filtered = (1 + held_before).saturating_sub(kept + held);
        self.book(Sent { kept, filtered })
    }

    /// What was sent last, when it is time to tell that the point, of which a reading was just left out,
    /// still says so.
    pub(super) fn still(&mut self, now: Instant) -> Option<Sample> {
        let is_held = self.alive.is_some() && self.held() > 0;
        let alive = self.alive.as_mut()?;
        if is_held || now.since(alive.told) < alive.every {
            return None;
        }
        let sent = alive.sent.clone()?;
        alive.told = now;
        Some(sent)
    }

    /// Lets go what privacy held back until `now`; how many samples.
    pub(super) fn tick(&mut self, now: Instant, mut sink: impl FnMut(Sample)) -> u64 {
        let mut kept = 0;
        if let Some(private) = &mut self.private {
            private.guard.tick(now, &mut |sample| {
                kept += 1;
                sink(sample);
            });
        }
        self.counts.sent += kept;
        kept
    }

    /// Lets go everything that is held back.
    pub(super) fn flush(&mut self, now: Instant, mut sink: impl FnMut(Sample)) -> Sent {
        let held = self.held();
        let mut out = Out::new(self.private.as_deref_mut(), now, None);
        self.chain
            .flush(now, &mut |sample| out.pass(sample, &mut sink));
        let mut kept = out.kept;
        if let Some(private) = &mut self.private {
            private.guard.flush(&mut |sample| {
                kept += 1;
                sink(sample);
            });
        }
        self.book(Sent {
            kept,
            filtered: held.saturating_sub(kept),
        })
    }

    fn is_withheld(&self) -> bool {
        self.private
            .as_ref()
            .is_some_and(|private| private.withheld)
    }

    /// Readings held back by filters and privacy.
    fn held(&self) -> u64 {
        let guarded = self
            .private
            .as_ref()
            .is_some_and(|private| private.guard.holds());
        self.chain.held() + u64::from(guarded)
    }

    fn book(&mut self, sent: Sent) -> Sent {
        self.counts.sent += sent.kept;
        self.counts.filtered += sent.filtered;
        sent
    }
}

/// The way out behind the filters.
struct Out<'a> {
    private: Option<&'a mut Private>,
    now: Instant,
    latitude: Option<f64>,
    kept: u64,
}

impl<'a> Out<'a> {
    const fn new(private: Option<&'a mut Private>, now: Instant, latitude: Option<f64>) -> Self {
        Self {
            private,
            now,
            latitude,
            kept: 0,
        }
    }

    /// Remembers the raw number: another point's longitude may need it.
    fn see(&mut self, sample: &Sample) {
        if let Some(private) = &mut self.private {
            private.last = sample
                .value
                .as_ref()
                .and_then(protocols_model::Value::as_f64);
        }
    }

    fn pass(&mut self, sample: Sample, sink: &mut impl FnMut(Sample)) {
        let kept = &mut self.kept;
        let mut count = |sample| {
            *kept += 1;
            sink(sample);
        };
        match &mut self.private {
            None => count(sample),
            Some(private) => {
                private
                    .guard
                    .take(self.now, sample, self.latitude, &mut count);
            }
        }
    }
}
