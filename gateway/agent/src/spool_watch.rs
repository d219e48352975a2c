//! What happens to the spool, as events: alarms that come and go, rotations, stores set aside.

use crate::limiter::Limiter;
use gateway_config::units::show_duration;
use gateway_spool::{SpoolAlarm, SpoolState, WhenFull};
use protocols_model::{Instant, Lane};
use protocols_wire::EventKind;
use std::collections::BTreeSet;
use std::time::Duration;

/// At most one event per alarm in this span: at the bound it comes and goes with every settlement.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct SpoolWatch {
    alarms: BTreeSet<SpoolAlarm>,
    rotations: u64,
    set_aside: u64,
    limiter: Limiter<String>,
}

impl SpoolWatch {
    pub(crate) const fn new() -> Self {
        Self {
            alarms: BTreeSet::new(),
            rotations: 0,
            set_aside: 0,
            limiter: Limiter::new(PAUSE),
        }
    }

    /// Looks at the spool's state; what is worth telling.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        state: &SpoolState,
    ) -> Vec<(EventKind, String, String)> {
        let mut news = Vec::new();
        for alarm in self.alarms.symmetric_difference(&state.alarms) {
            let text = if state.alarms.contains(alarm) {
                began(*alarm, state)
            } else {
                "is over".to_owned()
            };
            news.extend(self.limiter.changed(now, alarm.as_str(), text));
        }
        self.alarms.clone_from(&state.alarms);
        news.extend(self.limiter.due(now));
        let told = |subject: &str, text: String| (EventKind::Spool, subject.to_owned(), text);
        let mut events: Vec<_> = news
            .into_iter()
            .map(|news| told(&news.subject, news.latest))
            .collect();
        let counters = &state.counters;
        if counters.rotations > self.rotations {
            self.rotations = counters.rotations;
            let text = "the empty spool moved to a fresh directory".to_owned();
            events.push(told("rotated", text));
        }
        if counters.quarantined_stores > self.set_aside {
            self.set_aside = counters.quarantined_stores;
            let text = format!("{} damaged stores were set aside", self.set_aside);
            events.push(told("quarantined", text));
        }
        events
    }
}

/// What is said when an alarm begins: the figures where there are some.
fn began(alarm: SpoolAlarm, state: &SpoolState) -> String {
    let interval = show_duration(state.commit_interval);
    match alarm {
        SpoolAlarm::Stretched => {
            format!("began: records wait {interval} for the disk, to hold max_write")
        }
        SpoolAlarm::WriteLimit => {
            format!("began: even with {interval} between commits more is written than max_write")
        }
        SpoolAlarm::Thinning => {
            "began: the oldest readings become first, last, least and largest of longer buckets"
                .to_owned()
        }
        SpoolAlarm::Refusing => {
            let keeps = Lane::ALL.into_iter().zip(&state.lanes).filter(|(_, used)| {
                used.full == WhenFull::Keep && used.bytes.saturating_mul(2) > used.share_bytes
            });
            let keeps: Vec<_> = keeps.map(|(lane, _)| lane.as_str()).collect();
            let lanes = keeps.join(", ");
            format!("began: what is new in a full lane that keeps its records is lost ({lanes})")
        }
        SpoolAlarm::DiskUnusable
        | SpoolAlarm::AtBound
        | SpoolAlarm::DiskShort
        | SpoolAlarm::ClaimsFull => "began".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_spool::{LaneUse, SpoolCounters};
    use protocols_model::Epoch;

    fn state(alarms: &[SpoolAlarm], rotations: u64) -> SpoolState {
        SpoolState {
            epoch: Epoch(1),
            held: Vec::new(),
            unread: false,
            dictionaries: Vec::new(),
            last: [0; 4],
            gone: Default::default(),
            live_bytes: 0,
            quota_bytes: 1,
            records: 0,
            memory_bytes: 0,
            commit_interval: Duration::ZERO,
            lanes: [LaneUse {
                bytes: 0,
                share_bytes: 0,
                full: WhenFull::DropOldest,
                thinned_to: None,
            }; 4],
            loss_window: Duration::ZERO,
            alarms: alarms.iter().copied().collect(),
            disk_trouble: None,
            counters: SpoolCounters {
                rotations,
                ..SpoolCounters::default()
            },
        }
    }

    #[test]
    fn an_alarm_is_told_when_it_begins_and_when_it_is_over_but_not_at_each_flap() {
        let at = |seconds| Instant(Duration::from_secs(seconds));
        let bound = [SpoolAlarm::AtBound];
        let mut watch = SpoolWatch::new();
        let texts = |events: Vec<(EventKind, String, String)>| {
            events
                .into_iter()
                .map(|(_, subject, text)| format!("{subject} {text}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            texts(watch.look(at(0), &state(&bound, 0))),
            ["at-bound began"]
        );
        assert!(watch.look(at(5), &state(&[], 0)).is_empty());
        assert!(watch.look(at(10), &state(&bound, 0)).is_empty());
        assert!(watch.look(at(15), &state(&[], 0)).is_empty());
        assert_eq!(
            texts(watch.look(at(60), &state(&[], 0))),
            ["at-bound is over"]
        );
        assert_eq!(watch.look(at(65), &state(&[], 1)).len(), 1);
        assert!(watch.look(at(70), &state(&[], 1)).is_empty());
    }

    #[test]
    fn a_stretched_commit_is_told_with_how_far() {
        let mut state = state(&[SpoolAlarm::Stretched], 0);
        state.commit_interval = Duration::from_secs(12);
        let events = SpoolWatch::new().look(Instant(Duration::ZERO), &state);
        let [(_, subject, text)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(subject, "stretched");
        assert!(text.contains("12s") && text.contains("max_write"), "{text}");
    }
}
