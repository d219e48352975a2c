//! Looks at the gateways all the time: for how long nothing of one was settled, and how long settling took.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tests_harness::gateway::Door;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The worst that was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Worst {
    /// Longest time in which nothing of a gateway was settled.
    pub(super) outage: Duration,
    /// Longest delay of settling that 99 of 100 records kept to.
    pub(super) settling: Duration,
}

/// Whoever looks; ends when dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

struct Seen {
    worst: Worst,
    /// Longest outage in this lap, and when the lap began.
    lap: Duration,
    lap_began: Instant,
}

impl Watch {
    pub(super) fn start(doors: Vec<Door>) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            worst: Worst::default(),
            lap: Duration::ZERO,
            lap_began: Instant::now(),
        }));
        let looking = tokio::spawn(look(doors, Arc::clone(&seen)));
        Self { seen, looking }
    }

    /// The longest outage since the last lap; a new one begins.
    pub(super) fn lap(&self) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.lap_began = Instant::now();
        std::mem::take(&mut seen.lap)
    }

    /// What was seen in all.
    pub(super) fn end(self) -> Worst {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.worst
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(doors: Vec<Door>, seen: Arc<Mutex<Seen>>) {
    let mut last: HashMap<String, (u64, Instant)> = HashMap::new();
    loop {
        for door in &doors {
            // One that does not answer is no news: none of them is ever hurt.
            let Ok(status) = door.status().await else {
                continue;
            };
            let Some(uplink) = status.uplink else {
                continue;
            };
            let settled = uplink.counters.get("settled_records").copied();
            let settled = settled.unwrap_or_default();
            let now = Instant::now();
            let (count, since) = last.entry(door.id.clone()).or_insert((settled, now));
            let outage = now.duration_since(*since);
            if *count != settled {
                (*count, *since) = (settled, now);
            }
            let settling = uplink.settling_p99_ms.unwrap_or_default() / 1000.0;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let in_lap = now.saturating_duration_since(seen.lap_began);
            seen.lap = seen.lap.max(outage.min(in_lap));
            seen.worst.outage = seen.worst.outage.max(outage);
            let settling = Duration::try_from_secs_f64(settling).unwrap_or_default();
            seen.worst.settling = seen.worst.settling.max(settling);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
