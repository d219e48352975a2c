//! How busy the other replicas of ingest are: each tells all, once a second.
//!
//! What waits at the broker waits for all replicas together. A replica that knew only of itself would
//! believe to be behind as soon as there are two, and slow gateways down to its own share.

use crate::source::IngestSource;
use crate::stats::IngestStats;
use bytes::Bytes;
use protocols_model::{Clock, Instant};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const TELL_EVERY: Duration = Duration::from_secs(1);
/// A replica that was not heard for so long works no more.
const HEARD: Duration = Duration::from_secs(4);
/// Replicas remembered at most.
const MAX_PEERS: usize = 256;
/// Before another try to listen.
const RETRY: Duration = Duration::from_millis(500);

/// What a replica, or several together, manage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Messages committed a second.
    pub messages_per_s: f64,
    /// Bytes of backlog committed a second.
    pub bytes_per_s: f64,
    /// Gateways that send backlog.
    pub senders: u64,
}

impl Load {
    fn is_sane(self) -> bool {
        [self.messages_per_s, self.bytes_per_s]
            .iter()
            .all(|rate| rate.is_finite() && *rate >= 0.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Drawn at the start of the process.
    replica: u64,
    load: Load,
}

/// The other replicas.
#[derive(Debug)]
pub struct Peers {
    own: u64,
    heard: Mutex<BTreeMap<u64, (Load, Instant)>>,
}

impl Peers {
    /// Knows of no other yet; `own` names this replica.
    #[must_use]
    pub fn new(own: u64) -> Self {
        Self {
            own,
            heard: Mutex::default(),
        }
    }

    /// What all others manage together. Messages are spread over the replicas, so each of them sees
    /// nearly every gateway that sends: those are not added up.
    #[must_use]
    pub fn others(&self, now: Instant) -> Load {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|_, (_, at)| now.since(*at) < HEARD);
        let add = |sum: Load, (load, _): &(Load, Instant)| Load {
            messages_per_s: sum.messages_per_s + load.messages_per_s,
            bytes_per_s: sum.bytes_per_s + load.bytes_per_s,
            senders: sum.senders.max(load.senders),
        };
        heard.values().fold(Load::default(), add)
    }

    /// Other replicas at work.
    #[must_use]
    pub fn count(&self) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.len()
    }

    fn hear(&self, told: &[u8], now: Instant) {
        let Ok(Told { replica, load }) = serde_json::from_slice(told) else {
            tracing::debug!("what a replica tells cannot be read");
            return;
        };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if replica == self.own || !load.is_sane() {
            return;
        }
        if heard.len() < MAX_PEERS || heard.contains_key(&replica) {
            heard.insert(replica, (load, now));
        }
    }
}

/// Tells and listens until `stop`.
pub(crate) async fn run(
    source: Arc<dyn IngestSource>,
    clock: Arc<dyn Clock>,
    stats: Arc<IngestStats>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! { biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => tell(&*source, &*clock, &stats).await,
            told = source.next_peer() => match told {
                Ok(told) => stats.peers.hear(&told, clock.monotonic()),
                Err(error) => {
                    tracing::debug!(%error, "the other replicas are not heard");
                    tokio::select! { biased;
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            },
        }
    }
}

async fn tell(source: &dyn IngestSource, clock: &dyn Clock, stats: &IngestStats) {
    let told = Told {
        replica: stats.peers.own,
        load: stats.load(clock.monotonic()),
    };
    // A message that is lost is followed by another one.
    if let Ok(told) = serde_json::to_vec(&told)
        && let Err(error) = source.tell_peers(Bytes::from(told)).await
    {
        tracing::debug!(%error, "the other replicas are not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(replica: u64, messages_per_s: f64, senders: u64) -> Vec<u8> {
        let load = Load {
            messages_per_s,
            bytes_per_s: messages_per_s * 1000.0,
            senders,
        };
        serde_json::to_vec(&Told { replica, load }).unwrap()
    }

    #[test]
    fn others_are_added_up_and_forgotten_when_they_fall_silent() {
        let peers = Peers::new(1);
        let at = |s| Instant(Duration::from_secs(s));
        peers.hear(&told(1, 500.0, 9), at(10));
        peers.hear(&told(2, 100.0, 7), at(10));
        peers.hear(&told(3, 50.0, 8), at(12));
        peers.hear(&told(2, 120.0, 7), at(12));
        peers.hear(b"{}", at(12));
        let load = |messages_per_s: f64| Load {
            messages_per_s,
            bytes_per_s: messages_per_s * 1000.0,
            senders: 8,
        };
        assert_eq!(peers.others(at(13)), load(170.0));
        peers.hear(&told(3, 60.0, 8), at(15));
        assert_eq!(peers.others(at(16)), load(60.0));
    }
}
