//! The machine's pulse: on each core a thread that wakes every few milliseconds and notes when it could
//! not.
//!
//! A shared machine stands still now and then, whole or one core of it, for tenths of a second up to
//! seconds. Whoever judges how prompt something was must not count such a time against it. A process
//! that is itself slow does not stop these threads, so nothing is excused by its own fault.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_oracle::Pause;

/// How often the pulse beats.
const BEAT: Duration = Duration::from_millis(20);
/// A beat that comes later than this is a pause.
const PAUSE: Duration = Duration::from_millis(100);
/// Pauses that are kept of each core: hours of a bad machine.
const MAX_PAUSES: usize = 100_000;

/// The pulse since it was started; it ends with this value.
#[derive(Debug)]
pub struct Pulse {
    cores: Vec<Arc<Mutex<Beats>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Beats {
    last: i64,
    pauses: Vec<Pause>,
}

impl Beats {
    /// The pause that ends at `now`, if there was one.
    fn pause(&self, now: i64) -> Option<Pause> {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        (now - self.last > nanos(PAUSE)).then_some(Pause {
            from_ns: self.last + nanos(BEAT),
            to_ns: now,
        })
    }
}

impl Pulse {
    /// Starts the threads.
    #[must_use]
    pub fn start() -> Self {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let stop = Arc::new(AtomicBool::new(false));
        let start = |core| {
            let beats = Arc::new(Mutex::new(Beats {
                last: wall_ns(),
                pauses: Vec::new(),
            }));
            let (ours, stop) = (Arc::clone(&beats), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut only = CpuSet::new();
                only.set(core);
                // Where it may not be pinned it goes where it is sent, and notices what it can.
                let _anywhere = sched_setaffinity(None, &only);
                beat(&ours, &stop);
            });
            beats
        };
        Self {
            cores: cores.map(start).collect(),
            stop,
        }
    }

    /// When the machine, or a core of it, stood still so far; also when it goes on only just now.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        let mut pauses = Vec::new();
        for beats in &self.cores {
            let beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
            pauses.extend(&beats.pauses);
            pauses.extend(beats.pause(wall_ns()));
        }
        pauses.sort_unstable_by_key(|pause| pause.from_ns);
        pauses
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn beat(beats: &Mutex<Beats>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own, so that a busy runtime is not taken for a slow machine"
        )]
        std::thread::sleep(BEAT);
        let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
        let now = wall_ns();
        if let Some(pause) = beats.pause(now).filter(|_| beats.pauses.len() < MAX_PAUSES) {
            beats.pauses.push(pause);
        }
        beats.last = now;
    }
}
