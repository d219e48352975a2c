//! How much backlog may be unsettled: as much as the cloud settles soon.
//!
//! Pure. The link has its own bound ([`crate::rate`]); this one is about what is behind it. What the
//! broker took and the cloud has not settled waits in a queue there, shared with every other gateway.
//! While settling is quick the window doubles with each round; when it takes longer than it should,
//! for everybody comes back at once or the database is busy, the window gives way by a third each
//! round. It starts small on every connection. It never falls below two records, so backlog always
//! moves.

use crate::window::ONE_RECORD_BYTES;
use protocols_model::Instant;
use std::time::Duration;

/// The window never falls below this.
pub const LEAST: usize = 2 * ONE_RECORD_BYTES;
/// From PUBACK to settled: more is too long, whatever the cloud's usual pace.
const LONG: Duration = Duration::from_secs(4);
/// Less is never too long: a commit may wait for others, a database for its disk.
const SHORT: Duration = Duration::from_secs(2);
/// Between them: so many times what the cloud needs at its best.
const USUAL: u32 = 3;

/// The window.
#[derive(Debug)]
pub struct AckWindow {
    most: usize,
    bytes: usize,
    /// Shortest delay seen on this connection.
    best: Option<Duration>,
    shrunk: Option<Instant>,
}

impl AckWindow {
    /// A window that never grows above `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.max(LEAST);
        Self {
            most,
            bytes: LEAST,
            best: None,
            shrunk: None,
        }
    }

    /// A connection begins: others may have come back with it.
    pub const fn connected(&mut self) {
        self.bytes = LEAST;
        self.best = None;
        self.shrunk = None;
    }

    /// Backlog of so many bytes was settled, so long after the broker had taken it.
    pub fn settled(&mut self, bytes: usize, delay: Duration, now: Instant) {
        let best = self.best.map_or(delay, |best| best.min(delay));
        self.best = Some(best);
        let patience = (best * USUAL).clamp(SHORT, LONG);
        if delay > patience {
            // What was under way at the same time tells the same: once a round is enough.
            let again = self.shrunk.is_none_or(|at| now.since(at) >= delay);
            if again {
                self.bytes = (self.bytes / 3 * 2).max(LEAST);
                self.shrunk = Some(now);
            }
        } else if delay < patience / 2 {
            self.bytes = self.bytes.saturating_add(bytes).min(self.most);
        }
    }

    /// Bytes of backlog that may be unsettled.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 192 * 1024;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    /// A cloud behind which `gateways` alike share `rate` bytes a second, first come first served: how
    /// many seconds are in line there after `seconds` when each keeps to its window.
    fn queue(window: &mut AckWindow, gateways: usize, rate: usize, seconds: u64) -> f64 {
        let in_line = |waiting: usize| (waiting * gateways) as f64 / rate as f64;
        let mut waiting = 0;
        for tick in 0..seconds * 10 {
            let delay = Duration::from_secs_f64(in_line(waiting));
            let done = waiting.min(rate / gateways / 10);
            waiting -= done;
            if done > 0 {
                window.settled(done, delay, at(tick * 100));
            }
            waiting = waiting.max(window.bytes());
        }
        in_line(waiting)
    }

    #[test]
    fn a_quick_cloud_gets_the_whole_window_within_some_rounds_on_each_connection() {
        let mut window = AckWindow::new(MOST);
        for round in 0..2 {
            assert_eq!(window.bytes(), LEAST, "{round}");
            let mut rounds = 0;
            while window.bytes() < MOST {
                let filled = window.bytes();
                window.settled(filled, Duration::from_millis(300), at(rounds * 300));
                rounds += 1;
            }
            assert!(rounds <= 4, "{rounds} rounds");
            window.connected();
        }
    }

    #[test]
    fn many_gateways_at_a_slow_cloud_give_way_until_the_queue_is_short() {
        let mut window = AckWindow::new(MOST);
        // 1000 gateways with the whole window each would wait 20 s at 10 MB/s.
        let wait = queue(&mut window, 1000, 10_000_000, 120);
        assert!(wait < 6.0, "{wait} s in line, window {}", window.bytes());
        // And a few get all of it.
        let mut window = AckWindow::new(MOST);
        queue(&mut window, 10, 10_000_000, 60);
        assert_eq!(window.bytes(), MOST);
    }

    #[test]
    fn a_cloud_that_is_always_slow_is_not_taken_for_one_that_is_behind() {
        let mut window = AckWindow::new(MOST);
        for round in 0..50 {
            window.settled(16_384, Duration::from_millis(900), at(round * 1000));
        }
        assert_eq!(window.bytes(), MOST);
    }

    #[test]
    fn the_window_never_closes() {
        let mut window = AckWindow::new(MOST);
        for round in 0..500 {
            window.settled(1, Duration::from_secs(300), at(round * 300_000));
            assert!(window.bytes() >= LEAST);
        }
        assert_eq!(AckWindow::new(0).bytes(), LEAST);
    }
}
