//! How often one subject may be told about, pure: the first time at once, then at most once per
//! pause, with the latest state and what was left out. A flapping device must not fill the spool
//! with events, and its last state must not be lost either.

use protocols_model::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// News of one subject that may be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News<T> {
    pub(crate) subject: String,
    pub(crate) latest: T,
    /// Changes that were left out since the last time.
    pub(crate) left_out: u64,
}

#[derive(Debug)]
struct Subject<T> {
    told: Instant,
    waiting: Option<(T, u64)>,
}

/// Limits per subject; subjects are devices and buses, so there are as many as configured.
#[derive(Debug)]
pub(crate) struct Limiter<T> {
    pause: Duration,
    subjects: BTreeMap<String, Subject<T>>,
}

impl<T> Limiter<T> {
    pub(crate) const fn new(pause: Duration) -> Self {
        Self {
            pause,
            subjects: BTreeMap::new(),
        }
    }

    /// Something changed: what may be told at once.
    pub(crate) fn changed(&mut self, now: Instant, subject: &str, latest: T) -> Option<News<T>> {
        match self.subjects.get_mut(subject) {
            Some(known) if now.since(known.told) < self.pause => {
                let left_out = known.waiting.take().map_or(0, |(_, count)| count + 1);
                known.waiting = Some((latest, left_out));
                None
            }
            _ => {
                let told = Subject {
                    told: now,
                    waiting: None,
                };
                self.subjects.insert(subject.to_owned(), told);
                Some(News {
                    subject: subject.to_owned(),
                    latest,
                    left_out: 0,
                })
            }
        }
    }

    /// What waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<News<T>> {
        let mut due = Vec::new();
        for (name, subject) in &mut self.subjects {
            if now.since(subject.told) < self.pause {
                continue;
            }
            if let Some((latest, left_out)) = subject.waiting.take() {
                subject.told = now;
                due.push(News {
                    subject: name.clone(),
                    latest,
                    left_out,
                });
            }
        }
        due
    }

    /// When something waiting is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let waiting = self.subjects.values().filter(|s| s.waiting.is_some());
        waiting.map(|s| s.told.plus(self.pause)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn a_flapping_subject_is_told_at_once_then_with_its_last_state_after_the_pause() {
        let mut limiter = Limiter::new(Duration::from_secs(30));
        assert!(limiter.changed(at(0), "m1", "down").is_some());
        for second in 1..=9 {
            assert!(
                limiter
                    .changed(
                        at(second),
                        "m1",
                        if second % 2 == 0 { "down" } else { "up" }
                    )
                    .is_none()
            );
        }
        assert_eq!(limiter.next(), Some(at(30)));
        assert!(limiter.due(at(29)).is_empty());
        let news = News {
            subject: "m1".to_owned(),
            latest: "up",
            left_out: 8,
        };
        assert_eq!(limiter.due(at(30)), [news]);
        assert_eq!(limiter.next(), None);
        assert!(
            limiter.changed(at(31), "m1", "down").is_none(),
            "the pause starts over"
        );
    }

    #[test]
    fn subjects_do_not_disturb_each_other() {
        let mut limiter = Limiter::new(Duration::from_secs(30));
        assert!(limiter.changed(at(0), "m1", 1).is_some());
        assert!(limiter.changed(at(0), "m2", 1).is_some());
        assert!(limiter.changed(at(31), "m1", 2).is_some());
    }
}
