//! Runs the trials, each on a thread and a runtime of its own, and watches that they end.

use crate::bench::{Bench, Facts, Time};
use crate::counting;
use crate::meter::Meter;
use crate::pulse;
use crate::report::{Report, Rule, Violation};
use crate::stand::{End, Stand};
use crate::trials::{TRIALS, Trial};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// Trials that run at the same time in real time; they wait most of it. On a paused clock they compute.
const AT_ONCE: usize = 4;
/// Nothing in a trial waits so long: a trial that is still running is stuck.
const TRIAL_LIMIT: Duration = Duration::from_mins(10);

/// Runs every trial against benches from `make`.
#[must_use]
pub fn check<B: Bench + 'static>(make: impl Fn() -> B + Send + Sync + 'static) -> Report {
    let make: Arc<Maker> = Arc::new(move || Box::new(make()));
    let facts = make().facts();
    let report = Mutex::new(Report::default());
    let next = Mutex::new(TRIALS.iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let trial = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(trial) = trial else { break };
                    let outcome = run(trial, &facts, &make);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    file(&mut report, trial, outcome);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.violations.sort_by_key(|v| (v.rule, v.trial));
    report
}

type Maker = dyn Fn() -> Box<dyn Bench> + Send + Sync;

fn file(report: &mut Report, trial: &Trial, outcome: Result<(), End>) {
    let name = trial.name;
    match outcome {
        Ok(()) => report.passed.push(name),
        Err(End::LeftOut(why)) => report.left_out.push((name, why)),
        Err(End::NotRun(why)) => report.not_run.push((name, why)),
        Err(End::Broken(rule, saw)) => report.violations.push(Violation {
            rule,
            trial: name,
            saw,
        }),
    }
}

/// One trial. What the driver does to its thread comes first: the rest may be its consequence.
fn run(trial: &'static Trial, facts: &Facts, make: &Arc<Maker>) -> Result<(), End> {
    let meter = Arc::new(Meter::default());
    // One outcome; the room for it is there before the trial is.
    let (sender, outcome) = mpsc::sync_channel(1);
    let (make, on_thread) = (Arc::clone(make), Arc::clone(&meter));
    let paused = facts.time == Time::Paused;
    let thread = std::thread::Builder::new().name(trial.name.chars().take(15).collect());
    let family = counting::family();
    let spawned = thread.spawn(move || {
        counting::join(family);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(paused)
            // Threads for blocking work too: what one allocates another may free.
            .on_thread_start(move || counting::join(family))
            .build()
            .expect("a machine that runs tests has room for a runtime");
        let ended = runtime.block_on(async {
            let mut stand = Stand::start(make(), Arc::clone(&on_thread)).await;
            let heart = tokio::spawn(on_thread.heart(paused));
            let ended = (trial.run)(&mut stand).await;
            stand.end().await;
            heart.abort();
            drop(heart.await);
            ended
        });
        drop(sender.send(ended));
        // Threads that a driver left blocked are not waited for.
        runtime.shutdown_background();
    });
    drop(spawned.expect("a machine that runs tests has room for a thread"));
    let started = pulse::ticks();
    loop {
        match outcome.recv_timeout(Duration::from_millis(50)) {
            Ok(ended) => {
                return meter
                    .fault()
                    .map_or(ended, |saw| broken(Rule::NeverBlocks, saw));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if let Some(saw) = meter.fault() {
                    return broken(Rule::NeverBlocks, saw);
                }
                if pulse::ticks() - started > pulse::ticks_of(TRIAL_LIMIT) {
                    return Err(End::NotRun("the trial did not end".to_owned()));
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(End::NotRun("the bench panicked, see above".to_owned()));
            }
        }
    }
}

fn broken(rule: Rule, saw: String) -> Result<(), End> {
    Err(End::Broken(rule, saw))
}
