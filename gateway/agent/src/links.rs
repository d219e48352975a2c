//! Device links and skipped polls as events: each change at once, a flapping device at most once
//! per pause, its last state always.

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
        loop {
            let now = events.now();
            let current = links.borrow_and_update().clone();
            let mut news = self.look(now, &current);
            news.extend(self.limiter.due(now));
            if !news.is_empty() {
                events.tell_all(news.iter().map(event_of).collect()).await;
            }
            let due = self.limiter.next().map(|due| due.since(events.now()));
            let wait = async {
                match due {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            // `status` keeps the sender alive, so the watch cannot end before this is dropped.
            tokio::select! {
                biased;
                _ = links.changed() => {}
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
