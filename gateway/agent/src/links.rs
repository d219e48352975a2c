//! Device links, what drivers tell, and skipped polls as events: each change at once, a flapping device
//! at most once per pause, its last state always.

use crate::events::Events;
use crate::limiter::{Limiter, News};
use crate::supervisor::BusSlot;
use protocols_driver::{BusStatus, DeviceLink, LinkState};
use protocols_model::Instant;
use protocols_wire::EventKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// At most one event per device in this span.
const LINK_PAUSE: Duration = Duration::from_secs(30);
/// What a driver tells is taken at most once in this span, so that one told in a loop stays bounded.
const TOLD_PAUSE: Duration = Duration::from_secs(1);
/// At most one event about skipped polls per bus in this span.
const SKIP_PAUSE: Duration = Duration::from_secs(60);

/// What was last seen of a bus' links; outlives a restart of its driver.
#[derive(Debug)]
pub(crate) struct LinkReporter {
    seen: BTreeMap<String, LinkState>,
    limiter: Limiter<LinkState>,
}

impl LinkReporter {
    pub(crate) const fn new() -> Self {
        Self {
            seen: BTreeMap::new(),
            limiter: Limiter::new(LINK_PAUSE),
        }
    }

    /// Reports changes for as long as the driver's status lives; never returns before.
    pub(crate) async fn run(&mut self, status: Arc<BusStatus>, events: &Events) {
        let mut links = status.watch();
        let mut take_at = events.now();
        loop {
            let now = events.now();
            let current = links.borrow_and_update().clone();
            let mut news = self.look(now, &current);
            news.extend(self.limiter.due(now));
            let mut tell: Vec<_> = news.iter().map(event_of).collect();
            if take_at <= now {
                let told = told(&status);
                if !told.is_empty() {
                    take_at = now.plus(TOLD_PAUSE);
                    tell.extend(told);
                }
            }
            if !tell.is_empty() {
                events.tell_all(tell).await;
            }
            let due = self.limiter.next().map(|due| due.since(events.now()));
            let wait = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let told = async {
                tokio::time::sleep(take_at.since(events.now())).await;
                status.told().await;
            };
            // `status` keeps the sender alive, so the watch cannot end before this is dropped.
            tokio::select! {
                biased;
                _ = links.changed() => {}
                () = told => {}
                () = wait => {}
            }
        }
    }

    fn look(&mut self, now: Instant, links: &[DeviceLink]) -> Vec<News<LinkState>> {
        let mut news = Vec::new();
        for link in links {
            let name = link.device.as_str();
            if link.state == LinkState::Unknown || self.seen.get(name) == Some(&link.state) {
                continue;
            }
            self.seen.insert(name.to_owned(), link.state);
            news.extend(self.limiter.changed(now, name, link.state));
        }
        news
    }
}

fn event_of(news: &News<LinkState>) -> (EventKind, String, String) {
    let state = match news.latest {
        LinkState::Unknown => "unknown".to_owned(),
        LinkState::Up => "up".to_owned(),
        LinkState::Down(reason) => format!("down ({})", reason.as_str()),
    };
    let text = match news.left_out {
        0 => state,
        count => format!("{state}; {count} changes before were not told"),
    };
    (EventKind::DeviceLink, news.subject.clone(), text)
}

/// What the driver of a bus told since the last time.
pub(crate) fn told(status: &BusStatus) -> Vec<(EventKind, String, String)> {
    let told = status.take_events();
    let left_out = (told.left_out > 0).then(|| {
        let text = format!("{} events of the driver were not told", told.left_out);
        (EventKind::DeviceLink, status.bus().to_string(), text)
    });
    let events = told.events.into_iter();
    let events = events.map(|event| (EventKind::DeviceLink, event.subject, event.text));
    left_out.into_iter().chain(events).collect()
}

/// Tells when a bus could not keep its schedule.
#[derive(Debug)]
pub(crate) struct SkipReporter {
    seen: BTreeMap<String, u64>,
    limiter: Limiter<u64>,
}

impl SkipReporter {
    pub(crate) const fn new() -> Self {
        Self {
            seen: BTreeMap::new(),
            limiter: Limiter::new(SKIP_PAUSE),
        }
    }

    /// Looks at the counters of all buses.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        slots: &[Arc<BusSlot>],
    ) -> Vec<(EventKind, String, String)> {
        let mut news = Vec::new();
        for slot in slots {
            let name = slot.name();
            let missed = slot.status().counters.missed_polls.get();
            let before = self.seen.insert(name.clone(), missed).unwrap_or(0);
            if missed > before {
                news.extend(self.limiter.changed(now, &name, missed));
            }
        }
        news.extend(self.limiter.due(now));
        let text = |total| {
            format!("polls skipped because the bus was late: {total} since its driver started")
        };
        news.into_iter()
            .map(|news| (EventKind::SweepsSkipped, news.subject, text(news.latest)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{DeviceId, Reason};

    #[test]
    fn what_a_driver_tells_is_taken_once_with_what_was_left_out() {
        let status = BusStatus::new("radio".into(), []);
        for number in 0..=protocols_driver::EVENT_CAPACITY {
            status.tell(
                protocols_model::Timestamp(0),
                "hci0",
                format!("stage {number}"),
            );
        }
        let news = told(&status);
        assert_eq!(news.len(), 1 + protocols_driver::EVENT_CAPACITY);
        assert_eq!(
            (news[0].1.as_str(), news[1].2.as_str()),
            ("radio", "stage 1")
        );
        assert!(told(&status).is_empty());
    }

    #[test]
    fn only_changes_of_known_states_are_news() {
        let mut reporter = LinkReporter::new();
        let link = |state| {
            [DeviceLink {
                device: DeviceId::try_new("m1").unwrap(),
                state,
                since: None,
            }]
        };
        let at = |seconds| Instant(Duration::from_secs(seconds));
        assert!(reporter.look(at(0), &link(LinkState::Unknown)).is_empty());
        assert_eq!(reporter.look(at(1), &link(LinkState::Up)).len(), 1);
        assert!(reporter.look(at(40), &link(LinkState::Up)).is_empty());
        let down = reporter.look(at(41), &link(LinkState::Down(Reason::Timeout)));
        let (_, subject, text) = event_of(&down[0]);
        assert_eq!((subject.as_str(), text.as_str()), ("m1", "down (timeout)"));
    }
}
