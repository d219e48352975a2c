//! The latest reading of each point that a rule or a derived point looks at.
//!
//! Points that nobody looks at cost four bytes each and no work.

use gateway_expr::{Image, Input};
use protocols_model::{Instant, PointKey, Quality, Reading, Reason, Value};
use std::time::Duration;

const NOBODY: u32 = u32::MAX;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct LatestImage {
    /// Place in `latest` by point key.
    places: Vec<u32>,
    latest: Vec<Latest>,
    now: Instant,
}

#[derive(Debug, Clone)]
struct Latest {
    value: Option<Value>,
    quality: Quality,
    at: Option<Instant>,
    /// Older than this it counts as bad; the shortest limit of whoever looks.
    stale: Option<Duration>,
}

impl LatestImage {
    /// An image of `watched` points; a point may be named more than once, the shortest limit counts.
    #[must_use]
    pub fn new(watched: impl IntoIterator<Item = (PointKey, Option<Duration>)>) -> Self {
        let mut image = Self::default();
        for (point, stale) in watched {
            let key = usize::try_from(point.0).unwrap_or(usize::MAX);
            if image.places.len() <= key {
                image.places.resize(key + 1, NOBODY);
            }
            let next = u32::try_from(image.latest.len()).unwrap_or(NOBODY);
            let Some(place) = image.places.get_mut(key) else {
                continue;
            };
            if *place == NOBODY {
                *place = next;
                image.latest.push(Latest {
                    value: None,
                    quality: Quality::Bad(Reason::NotAsked),
                    at: None,
                    stale,
                });
            } else if let Some(latest) = image.slot_mut(point) {
                latest.stale = match (latest.stale, stale) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        image
    }

    fn slot(&self, point: PointKey) -> Option<&Latest> {
        let place = *self.places.get(usize::try_from(point.0).ok()?)?;
        self.latest.get(usize::try_from(place).ok()?)
    }

    fn slot_mut(&mut self, point: PointKey) -> Option<&mut Latest> {
        let place = *self.places.get(usize::try_from(point.0).ok()?)?;
        self.latest.get_mut(usize::try_from(place).ok()?)
    }

    /// Takes a reading that arrived at `now`; whether anybody looks at its point.
    pub fn take(&mut self, now: Instant, reading: &Reading) -> bool {
        self.now = self.now.max(now);
        let Some(latest) = self.slot_mut(reading.point) else {
            return false;
        };
        latest.value.clone_from(&reading.value);
        latest.quality = reading.quality;
        latest.at = Some(now);
        true
    }

    /// Ages count to this moment.
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// When the point's reading becomes stale, if it is not and can be.
    #[must_use]
    pub fn stale_at(&self, point: PointKey) -> Option<Instant> {
        let latest = self.slot(point)?;
        let at = latest.at?.plus(latest.stale?);
        (at > self.now).then_some(at)
    }

    /// The point's value as it was last read, whatever its age.
    #[must_use]
    pub fn value(&self, point: PointKey) -> Option<&Value> {
        self.slot(point)?.value.as_ref()
    }
}

impl Image for LatestImage {
    fn input(&self, point: PointKey) -> Input<'_> {
        let Some(latest) = self.slot(point) else {
            return Input {
                value: None,
                quality: Quality::Bad(Reason::NotAsked),
                age: None,
            };
        };
        let age = latest.at.map(|at| self.now.since(at));
        let stale = latest
            .stale
            .zip(age)
            .is_some_and(|(limit, age)| age >= limit);
        Input {
            value: latest.value.as_ref().filter(|_| !stale),
            quality: if stale {
                Quality::Bad(Reason::Stale)
            } else {
                latest.quality
            },
            age,
        }
    }
}
