//! Sampling: readings left out by count or by time, whatever they say.

use super::Passed;
use crate::bound::Bound;
use protocols_model::Instant;
use protocols_wire::Sample;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone)]
pub struct Pace {
    rule: Rule,
    passed: Option<Passed>,
    /// Readings since one passed.
    since: u32,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Every(u32),
    MinInterval(Duration),
}

impl Pace {
    pub(super) const fn every(n: u32) -> Self {
        Self {
            rule: Rule::Every(n),
            passed: None,
            since: 0,
        }
    }

    pub(super) const fn min_interval(interval: Duration) -> Self {
        Self {
            rule: Rule::MinInterval(interval),
            passed: None,
            since: 0,
        }
    }

    pub(super) const fn bound(&self) -> Bound {
        match self.rule {
            Rule::Every(0 | 1) => Bound::Exact,
            Rule::Every(_) | Rule::MinInterval(_) => Bound::Unstated,
        }
    }

    pub(super) fn keeps(&mut self, now: Instant, sample: &Sample) -> bool {
        self.since = self.since.saturating_add(1);
        let keeps = self.passed.as_ref().is_none_or(|passed| {
            passed.must_follow(now, sample, None)
                || match self.rule {
                    Rule::Every(n) => self.since >= n,
                    Rule::MinInterval(interval) => now.since(passed.at) >= interval,
                }
        });
        if keeps {
            // The value is not needed: only its quality and its time are compared.
            self.passed = Some(Passed {
                value: None,
                quality: sample.quality,
                at: now,
            });
            self.since = 0;
        }
        keeps
    }
}
