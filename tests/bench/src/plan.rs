//! The run: start the system, let gateway and yardstick take turns, look at latency, long batches and
//! ingest, and say what was found.

use crate::figures::Figure;
use crate::report::Results;
use crate::rig::Rig;
use crate::turns::Measured;
use crate::{ingest, machine, report};
use std::process::ExitCode;
use std::time::Duration;

/// What the benchmark is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Rounds of each: gateway, yardstick, ingest.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of a round.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Keep rounds that ran while others used the machine; the report says so.
    #[arg(long)]
    busy: bool,
    /// Keep the folder with logs and database.
    #[arg(long)]
    keep: bool,
}

/// Share of the machine's CPU that others may take in a round that counts.
pub(crate) const MOST_FOREIGN: f64 = 0.15;
/// Rounds that may be thrown away and run again: as many as keep a run below some five minutes.
const SPARE_PAIRS: usize = 1;
const SPARE_FAST: usize = 2;
const SPARE_INGEST: usize = 6;
/// Live batches: by default, for latency, for small bytes.
const AGE_DEFAULT: Duration = Duration::from_secs(1);
const AGE_FAST: Duration = Duration::from_millis(250);
const AGE_LONG: Duration = Duration::from_secs(10);
/// Long batches need whole ones.
const LONG_BATCHES: u64 = 3;
/// Seconds of field time in a round of the ingest measurement.
const INGEST_SECONDS: u32 = 15;

impl Plan {
    /// Measures everything.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        report::say(&format!("machine: {}", machine::describe()));
        report::say(&format!(
            "load average at the start: {:.1}",
            machine::load()
        ));
        if cfg!(debug_assertions) {
            report::say("debug binaries: every figure but the bytes is meaningless");
        }
        let mut rig = Rig::start(self.keep).await?;
        let measured = self.measure(&mut rig).await;
        let stopped = rig.stop(measured.is_err()).await;
        let results = measured?;
        stopped?;
        let figures = results.figures(self.rounds);
        report::say(&format!("load average at the end: {:.1}", machine::load()));
        report::print(&figures, self.busy);
        let fine = figures.iter().all(|figure| figure.verdict().is_fine());
        Ok(if fine {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    async fn measure(&self, rig: &mut Rig) -> anyhow::Result<Results> {
        let mut results = Results::default();
        let window = Duration::from_secs(self.seconds);
        let mut tries = self.tries(SPARE_PAIRS);
        while let Some(number) = tries.next_round() {
            report::say(&format!("round {number}: gateway, batches of 1 s"));
            let ours = rig.gateway(AGE_DEFAULT, window).await?;
            report::say(&format!("round {number}: yardstick"));
            let bare = rig.yardstick(window).await?;
            let quiet = self.counts(&ours) & self.counts(&bare);
            tries.done(quiet);
            results.add_pair(ours, bare, quiet);
        }
        let mut tries = self.tries(SPARE_FAST);
        while let Some(number) = tries.next_round() {
            report::say(&format!("round {number}: gateway, batches of 250 ms"));
            let fast = rig.gateway(AGE_FAST, window).await?;
            let quiet = self.counts(&fast);
            tries.done(quiet);
            results.add_fast(fast, quiet);
        }
        report::say("gateway, batches of 10 s");
        let long = AGE_LONG * u32::try_from(LONG_BATCHES)?;
        let long = rig.gateway(AGE_LONG, long).await?;
        results.add_long(&long);

        report::say(&format!("ingest: connecting {} gateways", ingest::GATEWAYS));
        rig.compact_soon().await?;
        let mut load = rig.ingest_load().await?;
        let mut tries = self.tries(SPARE_INGEST);
        while let Some(number) = tries.next_round() {
            let round = rig.ingest(&mut load, INGEST_SECONDS).await?;
            report::say(&format!(
                "round {number}: ingest took {} readings in {:.2} s",
                round.readings, round.seconds
            ));
            let quiet = self.busy || round.foreign <= MOST_FOREIGN;
            tries.done(quiet);
            results.add_ingest(&round, quiet);
        }
        report::say("compacting what was ingested");
        results.add_compaction(rig.compaction(&load).await?);
        ingest::stop(load.senders);
        Ok(results)
    }

    fn counts(&self, round: &Measured) -> bool {
        let quiet = round.foreign <= MOST_FOREIGN;
        if !quiet {
            let taken = round.foreign * 100.0;
            let so = if self.busy { "kept" } else { "thrown away" };
            report::say(&format!("  others took {taken:.0} % of the machine: {so}"));
        }
        quiet || self.busy
    }

    const fn tries(&self, spare: usize) -> Tries {
        Tries {
            wanted: self.rounds,
            left: self.rounds + spare,
            made: 0,
        }
    }
}

/// Rounds until enough of them count, or too many did not.
struct Tries {
    wanted: usize,
    left: usize,
    made: usize,
}

impl Tries {
    const fn next_round(&mut self) -> Option<usize> {
        if self.wanted == 0 || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.made += 1;
        Some(self.made)
    }

    const fn done(&mut self, counts: bool) {
        if counts {
            self.wanted -= 1;
        }
    }
}

/// Whether all figures are fine; for the report's last line.
pub(crate) fn all_fine(figures: &[Figure]) -> bool {
    figures.iter().all(|figure| figure.verdict().is_fine())
}
