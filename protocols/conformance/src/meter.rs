//! Around a driver's future: how long a single poll keeps the thread, and how often it wakes itself. And
//! beside it: a heartbeat that stops when anything keeps the thread, a task that the driver spawned, say.
//!
//! A poll and a pause of the heart are measured in ticks of the control thread, so that a stall of the machine does not count.
//! A future that is found to block, or is polled without end while no time passes, is put to sleep: a
//! paused clock would never move again.

use crate::pulse::{self, TICK};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// A poll that keeps the thread for so long blocks. Generous: preemption on a busy machine is no fault.
const LONGEST_POLL: Duration = Duration::from_millis(400);
/// Polls at one moment of a paused clock; a driver has a handful of things to do at a time.
const POLLS_AT_ONCE: u64 = 20_000;
/// Polls per tick of real time, on average; a bench asks for some hundred readings a second at most.
const POLLS_PER_TICK: u64 = 100;

/// Between two beats; on a paused clock it is beaten as fast as the machine gets on.
const BEAT: Duration = Duration::from_millis(50);
/// A heart that pauses so long stood still: nobody on the thread was served. Longer where time is paused,
/// since much may be done at one moment there.
const LONGEST_PAUSE: Duration = Duration::from_millis(1500);
const LONGEST_PAUSE_PAUSED: Duration = Duration::from_secs(2);

/// What was measured; shared with whoever watches from another thread.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Tick at which the poll under way began, plus one; 0 between polls.
    inside: AtomicU64,
    longest: AtomicU64,
    polls: AtomicU64,
    /// Ticks during which it was watched.
    watched: AtomicU64,
    spun: AtomicBool,
    /// Tick of the last beat, plus one; 0 before the first and after the last.
    beat: AtomicU64,
    longest_pause: AtomicU64,
    /// Ticks that the heart may pause.
    may_pause: AtomicU64,
}

impl Meter {
    /// What is wrong with how the driver uses its thread, if anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let inside = self.inside.load(Ordering::Relaxed);
        let under_way = match inside {
            0 => 0,
            began => pulse::ticks().saturating_sub(began - 1),
        };
        let longest = self.longest.load(Ordering::Relaxed).max(under_way);
        if longest > pulse::ticks_of(LONGEST_POLL) {
            let span = TICK * u32::try_from(longest).unwrap_or(u32::MAX);
            return Some(format!("it kept its thread for {span:?} without waiting"));
        }
        let beat = match self.beat.load(Ordering::Relaxed) {
            0 => 0,
            last => pulse::ticks().saturating_sub(last - 1),
        };
        let pause = self.longest_pause.load(Ordering::Relaxed).max(beat);
        if pause > self.may_pause.load(Ordering::Relaxed) {
            let span = TICK * u32::try_from(pause).unwrap_or(u32::MAX);
            return Some(format!(
                "its thread served nobody for {span:?}: something that it spawned keeps it"
            ));
        }
        let (polls, watched) = (
            self.polls.load(Ordering::Relaxed),
            self.watched.load(Ordering::Relaxed),
        );
        if self.spun.load(Ordering::Relaxed) || (watched > 200 && polls / watched > POLLS_PER_TICK)
        {
            return Some(format!(
                "it woke itself {polls} times without waiting for anything"
            ));
        }
        None
    }
}

impl Meter {
    /// Beats until the task is dropped; on the thread that is watched.
    pub(crate) async fn heart(self: Arc<Self>, paused: bool) {
        let may_pause = if paused {
            LONGEST_PAUSE_PAUSED
        } else {
            LONGEST_PAUSE
        };
        let may_pause = pulse::ticks_of(may_pause);
        self.may_pause.store(may_pause, Ordering::Relaxed);
        let beats = Beats(&self);
        let mut last = pulse::ticks();
        loop {
            let now = pulse::ticks();
            let pause = now.saturating_sub(last);
            beats.0.longest_pause.fetch_max(pause, Ordering::Relaxed);
            beats.0.beat.store(now + 1, Ordering::Relaxed);
            last = now;
            tokio::time::sleep(BEAT).await;
        }
    }
}

/// A heart that is not beaten any more pauses no more.
struct Beats<'a>(&'a Meter);

impl Drop for Beats<'_> {
    fn drop(&mut self) {
        self.0.beat.store(0, Ordering::Relaxed);
    }
}

/// A driver's future, measured.
pub(crate) struct Metered<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    paused: bool,
    moment: tokio::time::Instant,
    polls_at_moment: u64,
    last: u64,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(future: F, meter: Arc<Meter>, paused: bool) -> Self {
        Self {
            future: Box::pin(future),
            meter,
            paused,
            moment: tokio::time::Instant::now(),
            polls_at_moment: 0,
            last: pulse::ticks(),
        }
    }

    fn spins(&mut self) -> bool {
        let now = tokio::time::Instant::now();
        if now != self.moment {
            self.moment = now;
            self.polls_at_moment = 0;
        }
        self.polls_at_moment += 1;
        self.paused && self.polls_at_moment > POLLS_AT_ONCE
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.spins() {
            self.meter.spun.store(true, Ordering::Relaxed);
        }
        if self.meter.fault().is_some() {
            // The verdict is known; the trial shall come to its end.
            return Poll::Pending;
        }
        let began = pulse::ticks();
        let meter = Arc::clone(&self.meter);
        meter.polls.fetch_add(1, Ordering::Relaxed);
        meter
            .watched
            .fetch_add(began - self.last, Ordering::Relaxed);
        self.last = began;
        meter.inside.store(began + 1, Ordering::Relaxed);
        let _inside = Inside {
            meter: &meter,
            began,
        };
        self.future.as_mut().poll(cx)
    }
}

/// A poll under way; ends by a panic too.
struct Inside<'a> {
    meter: &'a Meter,
    began: u64,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.meter.inside.store(0, Ordering::Relaxed);
        let took = pulse::ticks().saturating_sub(self.began);
        self.meter.longest.fetch_max(took, Ordering::Relaxed);
    }
}
