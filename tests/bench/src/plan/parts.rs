//! How each part is measured: its rounds, which of them count, and what they add up to.

use super::Plan;
use crate::config::Config;
use crate::drives::Drives;
use crate::figures::{Figure, Limit};
use crate::measure::median;
use crate::report::{Results, row, say};
use crate::rig::{GATEWAY, Rig};
use crate::turns::Measured;
use crate::write::{Delays, Writes};
use crate::{families, far, filters, fleet, ingest, line, outage, reaction};
use std::time::Duration;

/// Share of the machine's CPU that others may take in a round that counts.
const MOST_FOREIGN: f64 = 0.15;
/// Rounds that may be thrown away and run again: as many as keep a run below some five minutes.
const SPARE_PAIRS: usize = 1;
const SPARE_FAST: usize = 2;
const SPARE_INGEST: usize = 6;
const SPARE_LISTEN: usize = 1;
/// How long sensors are listened to: as many adverts as make the share of a core steady.
const LISTEN: Duration = Duration::from_secs(30);
/// Live batches: by default, for latency, for small bytes.
const AGE_DEFAULT: Duration = Duration::from_secs(1);
const AGE_FAST: Duration = Duration::from_millis(250);
const AGE_TWO: Duration = Duration::from_secs(2);
const AGE_LONG: Duration = Duration::from_secs(10);
/// Long batches need whole ones.
const LONG_BATCHES: u64 = 3;
/// Seconds of field time in a round of the ingest measurement.
const INGEST_SECONDS: u32 = 15;
/// Longer than the longest back-off while a broker is away.
const FLEET_OUTAGE: Duration = Duration::from_secs(30);

/// Seconds of the driver at each speed of the line.
const LINE_ALONE: u64 = 60;
const LINE_AMONG: u64 = 30;

impl Plan {
    pub(super) async fn line(&self) -> anyhow::Result<Vec<Figure>> {
        let usual = if self.parts.is_empty() {
            LINE_AMONG
        } else {
            LINE_ALONE
        };
        let span = Duration::from_secs(self.line_seconds.unwrap_or(usual));
        let folder = tempfile::tempdir()?;
        line::figures(folder.path(), span).await
    }

    pub(super) async fn link(&self) -> anyhow::Result<Vec<Figure>> {
        let window = Duration::from_secs(self.link_seconds);
        let bare = window / 3;
        far::figures(far::Spans { window, bare }, self.keep).await
    }

    pub(super) async fn tcp(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let mut results = Results::default();
        let window = Duration::from_secs(self.seconds);
        let mut tries = self.tries(SPARE_PAIRS);
        while let Some(number) = tries.next_round() {
            say(&format!("round {number}: gateway, batches of 1 s"));
            let ours = rig.gateway(AGE_DEFAULT, window).await?;
            say(&format!("round {number}: yardstick"));
            let bare = rig.yardstick(window).await?;
            let quiet = self.counts(&ours) & self.counts(&bare);
            tries.done(quiet);
            results.add_pair(ours, bare, quiet);
        }
        let mut tries = self.tries(SPARE_FAST);
        while let Some(number) = tries.next_round() {
            say(&format!("round {number}: gateway, batches of 250 ms"));
            let fast = rig.gateway(AGE_FAST, window).await?;
            let quiet = self.counts(&fast);
            tries.done(quiet);
            results.add_fast(fast, quiet);
        }
        say("gateway, batches of 2 s");
        let two = rig.gateway(AGE_TWO, window.max(AGE_TWO * 5)).await?;
        results.add_two(&two);
        say("gateway, batches of 10 s");
        let long = AGE_LONG * u32::try_from(LONG_BATCHES)?;
        let long = rig.gateway(AGE_LONG, long).await?;
        results.add_long(&long);
        Ok(results.tcp(self.rounds))
    }

    pub(super) async fn filters(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let rounds = self.rounds;
        say("the pipeline alone");
        let alone = tokio::task::spawn_blocking(move || filters::figures(rounds));
        let mut figures = alone.await??;
        let window = Duration::from_secs(self.seconds);
        let (mut cpu, mut discarded) = (Vec::new(), 0);
        let mut tries = self.tries(SPARE_FAST);
        while let Some(number) = tries.next_round() {
            say(&format!(
                "round {number}: gateway, a filter on each point, 100 rules"
            ));
            let config = Config::new(GATEWAY, AGE_DEFAULT);
            let config = config.meters(&rig.ports, filters::REPORT).watching();
            let round = rig.gateway_with(&config, AGE_DEFAULT, window).await?;
            let quiet = self.counts(&round);
            tries.done(quiet);
            if quiet {
                cpu.push(round.cpu_per_million());
            } else {
                discarded += 1;
            }
        }
        let what = "gateway, deadbands, 100 rules: CPU s per million readings";
        let key = "filtered_cpu_s_per_million";
        figures.push(row(key, what, Limit::AtMost(1.2), cpu, discarded, rounds));
        Ok(figures)
    }

    pub(super) async fn rules(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let drives = Drives::start(Duration::ZERO, true).await?;
        let window = Duration::from_secs(self.seconds);
        let (mut rounds, mut discarded) = (Vec::new(), 0);
        let mut tries = self.tries(SPARE_FAST);
        while let Some(number) = tries.next_round() {
            say(&format!("round {number}: rules beside 10 000 points/s"));
            let round = rig.react(&drives, window).await?;
            let quiet = self.is_quiet(round.foreign);
            tries.done(quiet);
            if quiet {
                rounds.push(round);
            } else {
                discarded += 1;
            }
        }
        Ok(reaction::figures(&rounds, discarded, self.rounds))
    }

    pub(super) async fn writes(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let mut writes = Writes::start().await?;
        let window = Duration::from_secs(self.seconds);
        let mut delays = Delays::default();
        say("writes, nothing polled");
        let idle = writes.round(rig, window / 2, false).await?;
        delays.idle_p50_ms = median(&idle.delays_ms);
        let mut tries = self.tries(SPARE_FAST);
        while let Some(number) = tries.next_round() {
            say(&format!("round {number}: writes beside 10 000 points/s"));
            let round = writes.round(rig, window, true).await?;
            let quiet = self.is_quiet(round.foreign);
            tries.done(quiet);
            delays.add(&round, quiet);
        }
        Ok(delays.figures(self.rounds))
    }

    pub(super) async fn ble(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let (mut rounds, mut discarded) = (Vec::new(), 0);
        for _ in 0..=SPARE_LISTEN {
            say("gateway that hears 200 sensors");
            let round = rig.hear(LISTEN).await?;
            if self.is_quiet(round.foreign) {
                rounds.push(round);
                break;
            }
            discarded += 1;
        }
        Ok(families::heard(&rounds, discarded))
    }

    pub(super) async fn rss(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        say("gateway with all three families");
        let round = rig.all_families(LISTEN).await?;
        Ok(families::memory(&round))
    }

    pub(super) async fn outage(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let seconds = self.outage_seconds;
        say(&format!(
            "gateway without a link: {} minutes of 10 000 points/s in {seconds} s",
            seconds / 6
        ));
        let outage = rig.outage(seconds).await;
        // Whatever happened, the next part needs the link and a gateway that is down.
        rig.mend().await?;
        Ok(outage::figures(&outage?))
    }

    pub(super) async fn returning(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        say(&format!(
            "{} gateways lose their broker together",
            self.fleet
        ));
        let fleet = rig.fleet(self.fleet, FLEET_OUTAGE).await;
        rig.mend().await?;
        Ok(fleet::figures(&fleet?))
    }

    pub(super) async fn flash(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        say("gateway with 200 readings/s");
        Ok(outage::flash(rig.flash(self.flash_seconds).await?))
    }

    pub(super) async fn ingest(&self, rig: &mut Rig) -> anyhow::Result<Vec<Figure>> {
        let mut results = Results::default();
        say(&format!("ingest: connecting {} gateways", ingest::GATEWAYS));
        rig.compact_soon().await?;
        let mut load = rig.ingest_load().await?;
        let mut tries = self.tries(SPARE_INGEST);
        while let Some(number) = tries.next_round() {
            let round = rig.ingest(&mut load, INGEST_SECONDS).await?;
            say(&format!(
                "round {number}: ingest took {} readings in {:.2} s",
                round.readings, round.seconds
            ));
            let quiet = self.busy || round.foreign <= MOST_FOREIGN;
            tries.done(quiet);
            results.add_ingest(&round, quiet);
        }
        say("compacting what was ingested");
        results.add_compaction(rig.compaction(&load).await?);
        ingest::stop(load.senders);
        Ok(results.ingested(self.rounds))
    }

    fn counts(&self, round: &Measured) -> bool {
        self.is_quiet(round.foreign)
    }

    /// Whether a round counts in which others took so much of the machine.
    fn is_quiet(&self, foreign: f64) -> bool {
        let quiet = foreign <= MOST_FOREIGN;
        if !quiet {
            let taken = foreign * 100.0;
            let so = if self.busy { "kept" } else { "thrown away" };
            say(&format!("  others took {taken:.0} % of the machine: {so}"));
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
