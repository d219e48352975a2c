//! What is asked for on the command line, checked before anything is started.

use anyhow::ensure;
use std::time::Duration;

/// Readings of one gateway travel at most so often: below, a batch would be sealed before the one
/// before is on its way.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Each gateway comes from an address of its own on loopback; so many are laid out.
const MOST_GATEWAYS: u32 = 60_000;
/// Half a minute between batches, as peers are measured.
const USUAL_INTERVAL_S: f64 = 30.0;

/// Load a real broker and cloud with simulated gateways.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "fogline-load")]
pub(crate) struct Plan {
    /// Gateways, each with a certificate and a session of its own.
    #[arg(long, default_value_t = 200)]
    pub(crate) gateways: u32,
    /// Readings a second, all gateways together; default: a batch from each every 30 s.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Readings in a batch.
    #[arg(long, default_value_t = 20)]
    pub(crate) batch: u32,
    /// Seconds of steady state.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Connections being made at once during the ramp.
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
    /// After the steady state as long again, with so many connection attempts a second without a
    /// certificate beside it.
    #[arg(long, default_value_t = 0)]
    pub(crate) flood: u32,
    /// Let everybody come in through `HAProxy`, as in a cluster.
    #[arg(long)]
    pub(crate) haproxy: bool,
    /// With --flood: fail unless p99 of the acknowledgement stays below so many times the quiet one.
    #[arg(long)]
    pub(crate) slower_at_most: Option<f64>,
}

impl Plan {
    /// Refuses what cannot be done, with what can.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=MOST_GATEWAYS).contains(&self.gateways),
            "--gateways is {}; allowed are 1 to {MOST_GATEWAYS}",
            self.gateways
        );
        ensure!(
            (1..=200).contains(&self.batch),
            "--batch is {}; allowed are 1 to 200",
            self.batch
        );
        ensure!(
            (1..=3600).contains(&self.seconds),
            "--seconds is {}; allowed are 1 to 3600",
            self.seconds
        );
        ensure!(
            (1..=1000).contains(&self.at_once),
            "--at-once is {}; allowed are 1 to 1000",
            self.at_once
        );
        ensure!(
            self.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            "--rate must be above 0"
        );
        let most =
            f64::from(self.gateways) * f64::from(self.batch) / SHORTEST_INTERVAL.as_secs_f64();
        ensure!(
            self.rate.is_none_or(|rate| rate <= most),
            "--rate is above {most}, at which each gateway would send every {SHORTEST_INTERVAL:?}"
        );
        ensure!(
            self.slower_at_most.is_none() || self.flood > 0,
            "--slower-at-most compares with a flood: --flood is missing"
        );
        Ok(())
    }

    /// Between two batches of a gateway.
    pub(crate) fn interval(&self) -> Duration {
        let all = f64::from(self.gateways) * f64::from(self.batch);
        Duration::from_secs_f64(self.rate.map_or(USUAL_INTERVAL_S, |rate| all / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn plan(arguments: &[&str]) -> Plan {
        Plan::try_parse_from([&["fogline-load"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_rate_is_shared_by_all_gateways() {
        let plan = plan(&["--gateways", "100", "--rate", "500"]);
        plan.check().unwrap();
        assert_eq!(plan.interval(), Duration::from_secs(4));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (arguments, named) in [
            (&["--gateways", "0"][..], "--gateways"),
            (&["--batch", "0"], "--batch"),
            (&["--gateways", "1", "--rate", "1000"], "--rate"),
            (&["--slower-at-most", "2"], "--flood"),
        ] {
            let refused = plan(arguments).check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
    }
}
