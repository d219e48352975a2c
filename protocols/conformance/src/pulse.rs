//! The control thread: counts 5 ms ticks for as long as the machine lets anybody run.
//!
//! A wake-up adds the ticks that passed, but four at most: a machine that stands still for two seconds
//! adds four. So a span in ticks is never longer than the span on a watch, and a driver is never blamed
//! for a stall that hit the whole process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of a tick.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// What a wake-up adds at most: a thread among many waits so long for its turn.
const AT_MOST: Duration = TICK.saturating_mul(4);

static TICKS: AtomicU64 = AtomicU64::new(0);
static STARTED: OnceLock<()> = OnceLock::new();

/// Ticks so far; starts the control thread when it is asked first.
pub(crate) fn ticks() -> u64 {
    STARTED.get_or_init(|| {
        let control = std::thread::Builder::new().name("control".to_owned());
        let ticking = control.spawn(|| {
            let mut counted = Instant::now();
            loop {
                std::thread::park_timeout(TICK);
                let now = Instant::now();
                let passed = now.duration_since(counted);
                let ticks = passed.min(AT_MOST).as_nanos() / TICK.as_nanos();
                TICKS.fetch_add(u64::try_from(ticks).unwrap_or(0), Ordering::Relaxed);
                // Less than a tick is kept for the next time, a stall is forgotten.
                if passed > AT_MOST {
                    counted = now;
                } else {
                    counted += TICK * u32::try_from(ticks).unwrap_or(0);
                }
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
