//! Waits that are exact to some ten microseconds.
//!
//! The frame gap of a fast Modbus line is 1.75 ms; tokio's timer ticks once a millisecond and rounds
//! up, which costs a 115200-baud line a tenth of its time. A `timerfd` wakes the same reactor from the
//! kernel's high-resolution clock. It does not follow tokio's paused clock: use it for real ports only.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer for one task.
#[derive(Debug)]
pub struct FineTimer(AsyncFd<OwnedFd>);

impl FineTimer {
    /// A timer on the runtime's reactor.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; OwnedFd's never does"
    )]
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
    }

    /// Waits for `span`, at most a day. Cancel-safe; a wait begun anew replaces the one before.
    ///
    /// # Errors
    /// The reactor is gone: the runtime is shutting down.
    pub async fn sleep(&mut self, span: Duration) -> io::Result<()> {
        if span.is_zero() {
            return Ok(());
        }
        let span = span.min(Duration::from_hours(24));
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(0),
            tv_nsec: span.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        // Also forgets an expiry that nobody waited for.
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        let mut expiries = [0; 8];
        self.0
            .async_io(Interest::READABLE, |fd| {
                Ok(rustix::io::read(fd, &mut expiries)?)
            })
            .await
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn a_wait_is_never_shorter_than_asked_and_a_cancelled_one_leaves_nothing_behind() {
        let mut timer = FineTimer::new().unwrap();
        for micros in [200, 1750, 3000] {
            let begun = Instant::now();
            timer.sleep(Duration::from_micros(micros)).await.unwrap();
            assert!(begun.elapsed() >= Duration::from_micros(micros));
        }
        let cancelled = timer.sleep(Duration::from_millis(2));
        drop(tokio::time::timeout(Duration::ZERO, cancelled).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let begun = Instant::now();
        timer.sleep(Duration::from_millis(20)).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
