//! The control thread: counts 5 ms ticks for as long as the machine lets anybody run.
//!
//! One tick a wake-up, however late: a machine that stands still for two seconds adds one tick. So a
//! span in ticks is never longer than the span on a watch, and a driver is never blamed for a stall
//! that hit the whole process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(5);

static TICKS: AtomicU64 = AtomicU64::new(0);
static STARTED: OnceLock<()> = OnceLock::new();

/// Ticks so far; starts the control thread when it is asked first.
pub(crate) fn ticks() -> u64 {
    STARTED.get_or_init(|| {
        let control = std::thread::Builder::new().name("control".to_owned());
        let ticking = control.spawn(|| {
            loop {
                std::thread::park_timeout(TICK);
                TICKS.fetch_add(1, Ordering::Relaxed);
            }
        });
        drop(ticking.expect("a machine that runs tests has room for a thread"));
    });
    TICKS.load(Ordering::Relaxed)
}

/// A span in ticks, rounded up.
pub(crate) fn ticks_of(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}
