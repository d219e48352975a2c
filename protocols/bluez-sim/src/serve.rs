//! A site played until told to stop: what `fogline-gateway sim` runs.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::bluez::{BlueZ, SimError};
use crate::config::{Plan, Prepared};
use crate::fault::Fault;

/// A site that is being played.
#[derive(Debug)]
pub struct Simulation {
    bluez: BlueZ,
    faults: Faults,
    /// When it was first run: the faults' times count from there, however often it is run.
    begun: Option<Instant>,
}

impl Simulation {
    /// Starts a site on the bus at `address`; its sensors speak when this returns, its faults wait for
    /// [`Simulation::run`].
    ///
    /// # Errors
    /// When the bus cannot be reached or already has a `BlueZ`.
    pub async fn start(address: &str, site: Prepared) -> Result<Self, SimError> {
        let bluez = BlueZ::start(address, site.setup).await?;
        for sensor in site.sensors {
            bluez.add(sensor).await;
        }
        Ok(Self {
            bluez,
            faults: Faults::new(site.faults),
            begun: None,
        })
    }

    /// The simulated `BlueZ`, for faults by hand and for its journal.
    #[must_use]
    pub const fn bluez(&self) -> &BlueZ {
        &self.bluez
    }

    /// Plays the faults until `stop` is done.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        tokio::pin!(stop);
        loop {
            let due = self.faults.next_due();
            let pause = tokio::time::sleep_until(begun + due.unwrap_or_default());
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = pause, if due.is_some() => {
                    for (begins, fault) in self.faults.take_due(begun.elapsed()) {
                        tracing::info!(?fault, begins, "simulated fault");
                        // A sensor or adapter of the site is always there.
                        let _known = if begins {
                            self.bluez.begin(fault).await
                        } else {
                            self.bluez.end(fault).await
                        };
                    }
                }
            }
        }
    }
}

/// Plays a site on the bus at `address` until `stop` is done.
///
/// # Errors
/// When the bus cannot be reached or already has a `BlueZ`.
pub async fn serve(
    address: &str,
    site: Prepared,
    stop: impl Future<Output = ()>,
) -> Result<(), SimError> {
    Simulation::start(address, site).await?.run(stop).await;
    Ok(())
}

/// Which faults begin and end when, counted from the start. Pure.
#[derive(Debug)]
struct Faults {
    plans: Vec<(Plan, Fault)>,
    /// When, which plan, and whether it begins.
    due: BTreeMap<(Duration, usize, bool), ()>,
}

impl Faults {
    fn new(plans: Vec<(Plan, Fault)>) -> Self {
        let first = |plan: &Plan| plan.every.unwrap_or_default();
        let due = plans
            .iter()
            .enumerate()
            .map(|(n, (plan, _))| ((first(plan), n, true), ()))
            .collect();
        Self { plans, due }
    }

    fn next_due(&self) -> Option<Duration> {
        self.due.keys().next().map(|(at, ..)| *at)
    }

    fn take_due(&mut self, now: Duration) -> Vec<(bool, Fault)> {
        let mut taken = Vec::new();
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            let (at, number, begins) = entry.remove_entry().0;
            let Some((plan, fault)) = self.plans.get(number) else {
                continue;
            };
            taken.push((begins, fault.clone()));
            if !begins {
                continue;
            }
            if let Some(lasts) = plan.lasts {
                self.due.insert((at + lasts, number, false), ());
            }
            if let Some(every) = plan.every {
                // What was missed while the process stood still is not made up for.
                let mut next = at + every;
                while next <= now && plan.lasts.is_none_or(|lasts| next + lasts <= now) {
                    next += every;
                }
                self.due.insert((next, number, true), ());
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Address;

    const ADDRESS: Address = Address([1; 6]);
    const FAULT: Fault = Fault::OutOfRange { address: ADDRESS };

    fn faults(text: &str) -> Faults {
        let plan: Plan = text.parse().unwrap();
        let fault = plan.sensor_fault(ADDRESS).unwrap();
        Faults::new(vec![(plan, fault)])
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn fault_without_a_time_begins_at_once_and_stays() {
        let mut faults = faults("out-of-range");
        assert_eq!(faults.take_due(seconds(0)), [(true, FAULT)]);
        assert_eq!(faults.next_due(), None);
    }

    #[test]
    fn periodic_fault_leaves_the_first_period_free() {
        let mut faults = faults("out-of-range 10s every 60s");
        assert!(faults.take_due(seconds(59)).is_empty());
        assert_eq!(faults.take_due(seconds(60)), [(true, FAULT)]);
        assert_eq!(faults.next_due(), Some(seconds(70)));
        assert_eq!(faults.take_due(seconds(70)), [(false, FAULT)]);
        assert_eq!(faults.next_due(), Some(seconds(120)));
    }

    #[test]
    fn periods_slept_through_are_skipped() {
        let mut faults = faults("out-of-range 10s every 60s");
        let taken = faults.take_due(seconds(60 * 100));
        assert!(taken.len() <= 4, "{taken:?}");
        assert!(faults.next_due().unwrap() > seconds(60 * 99));
    }

    #[test]
    fn momentary_fault_has_no_end() {
        let mut faults = faults("disconnect every 5m");
        assert_eq!(
            faults.take_due(seconds(300)),
            [(true, Fault::Disconnect { address: ADDRESS })]
        );
        assert_eq!(faults.next_due(), Some(seconds(600)));
    }
}
