//! What the rounds add up to, and how it is printed: a table for people on stderr, one line a figure
//! for machines on stdout.

use crate::figures::{ALONE, Figure, Limit};
use crate::intake::IngestRound;
use crate::measure::{float, median, percentile};
use crate::turns::Measured;

/// Bytes in a megabyte, as disks and links count.
const MB: f64 = 1e6;

/// Values of the rounds that count.
#[derive(Debug, Default)]
pub(crate) struct Results {
    cpu: Vec<f64>,
    yardstick_cpu: Vec<f64>,
    ratio: Vec<f64>,
    polled: Vec<f64>,
    rss: Vec<f64>,
    rss_long: Vec<f64>,
    yardstick_rss: Vec<f64>,
    wire_1s: Vec<f64>,
    wire_1s_up: Vec<f64>,
    yardstick_wire: Vec<f64>,
    flash: Vec<f64>,
    yardstick_flash: Vec<f64>,
    pairs_discarded: usize,
    fast_cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    fast_discarded: usize,
    wire_10s: Vec<f64>,
    wire_10s_up: Vec<f64>,
    wire_2s: Vec<f64>,
    ingest: Vec<f64>,
    ingest_cpu: Vec<f64>,
    ingest_discarded: usize,
    compaction: Vec<f64>,
}

impl Results {
    /// A round of gateway and yardstick. Bytes and memory do not depend on who else is busy.
    pub(crate) fn add_pair(&mut self, ours: Measured, bare: Measured, counts: bool) {
        self.rss.push(ours.used.peak_rss_mb);
        self.yardstick_rss.push(bare.used.peak_rss_mb);
        self.wire_1s.push(ours.wire_bytes_per_reading());
        self.wire_1s_up.push(ours.wire_up_bytes_per_reading());
        self.yardstick_wire.push(bare.wire_bytes_per_reading());
        self.flash.push(ours.flash_per_hour() / MB);
        self.yardstick_flash.push(bare.flash_per_hour() / MB);
        if !counts {
            self.pairs_discarded += 1;
            return;
        }
        let polled = ours.polled_percent().min(bare.polled_percent());
        let (cpu, bare) = (ours.cpu_per_million(), bare.cpu_per_million());
        self.cpu.push(cpu);
        self.yardstick_cpu.push(bare);
        self.ratio.push(cpu / bare);
        self.polled.push(polled);
    }

    /// A round with fast batches.
    pub(crate) fn add_fast(&mut self, fast: Measured, counts: bool) {
        self.rss.push(fast.used.peak_rss_mb);
        self.flash.push(fast.flash_per_hour() / MB);
        if !counts {
            self.fast_discarded += 1;
            return;
        }
        self.fast_cpu.push(fast.cpu_per_million());
        self.p50.push(median(&fast.latencies_ms));
        self.p99.push(percentile(&fast.latencies_ms, 99));
    }

    /// The round with long batches, which take memory of their own.
    pub(crate) fn add_long(&mut self, long: &Measured) {
        self.rss_long.push(long.used.peak_rss_mb);
        self.wire_10s.push(long.wire_bytes_per_reading());
        self.wire_10s_up.push(long.wire_up_bytes_per_reading());
    }

    /// The round with batches of 2 s.
    pub(crate) fn add_two(&mut self, two: &Measured) {
        self.wire_2s.push(two.wire_bytes_per_reading());
    }

    /// A round of ingest.
    pub(crate) fn add_ingest(&mut self, round: &IngestRound, counts: bool) {
        if !counts {
            self.ingest_discarded += 1;
            return;
        }
        self.ingest.push(float(round.readings) / round.seconds);
        let cpu = round.cloud_cpu_s * 1e6 / float(round.readings);
        self.ingest_cpu.push(cpu);
    }

    /// Readings a second that were compacted.
    pub(crate) fn add_compaction(&mut self, rate: f64) {
        self.compaction.push(rate);
    }

    /// Readings a second that ingest and compactor take together, one after the other: SQLite has one
    /// writer.
    fn sustained(&self) -> Vec<f64> {
        let rates = self.ingest.iter().zip(self.compaction.iter().cycle());
        rates
            .map(|(taken, packed)| 1.0 / (1.0 / taken + 1.0 / packed))
            .collect()
    }

    /// The figures of the gateway beside the yardstick. `rounds` were asked for.
    pub(crate) fn tcp(self, rounds: usize) -> Vec<Figure> {
        use Limit::{AtLeast, AtMost, None};
        let (pairs, fast) = (self.pairs_discarded, self.fast_discarded);
        #[rustfmt::skip]
        let figures = vec![
            row("cpu_s_per_million", "gateway: CPU s per million readings", AtMost(1.3), self.cpu, pairs, rounds),
            row("cpu_ratio", "gateway: CPU beside the yardstick's", AtMost(2.0), self.ratio, pairs, rounds),
            row("polled_pct", "polls made of those due, the worse of both, percent", AtLeast(98.0), self.polled, pairs, rounds),
            row("peak_rss_mb", "gateway: peak resident memory, MB", AtMost(20.0), self.rss, 0, rounds),
            row("wire_bytes_1s", "wire, both ways, 1 s batches: bytes per reading", AtMost(3.5), self.wire_1s, 0, rounds),
            row("wire_bytes_2s", "wire, both ways, 2 s batches: bytes per reading", AtMost(2.2), self.wire_2s, 0, 1),
            row("wire_bytes_10s", "wire, both ways, 10 s batches: bytes per reading", AtMost(1.0), self.wire_10s, 0, 1),
            row("latency_p50_ms", "answer → database, 250 ms batches: median, ms", AtMost(400.0), self.p50, fast, rounds),
            row("latency_p99_ms", "answer → database, 250 ms batches: 99 %, ms", AtMost(800.0), self.p99, fast, rounds),
            row("flash_mb_per_hour", "gateway: written to flash, healthy uplink, MB/h", None, self.flash, 0, 1),
            row("peak_rss_10s_mb", "gateway, 10 s batches: peak resident memory, MB", None, self.rss_long, 0, 1),
            row("fast_cpu_s_per_million", "gateway, 250 ms batches: CPU s per million readings", None, self.fast_cpu, fast, rounds),
            row("wire_up_bytes_1s", "wire, upward alone, 1 s batches: bytes per reading", None, self.wire_1s_up, 0, 1),
            row("wire_up_bytes_10s", "wire, upward alone, 10 s batches: bytes per reading", None, self.wire_10s_up, 0, 1),
            row("yardstick_cpu_s_per_million", "yardstick: CPU s per million readings", None, self.yardstick_cpu, pairs, rounds),
            row("yardstick_peak_rss_mb", "yardstick: peak resident memory, MB", None, self.yardstick_rss, 0, 1),
            row("yardstick_wire_bytes", "yardstick: bytes per reading, both ways", None, self.yardstick_wire, 0, 1),
            row("yardstick_flash_mb_per_hour", "yardstick: written to flash, MB/h", None, self.yardstick_flash, 0, 1),
        ];
        figures
    }

    /// The figures of the cloud. `rounds` were asked for.
    pub(crate) fn ingested(self, rounds: usize) -> Vec<Figure> {
        use Limit::{AtLeast, None};
        let sustained = self.sustained();
        let ingest = self.ingest_discarded;
        #[rustfmt::skip]
        let figures = vec![
            row("ingest_readings_per_s", "ingest into SQLite, 1 s batches: readings/s", AtLeast(100_000.0), self.ingest, ingest, rounds),
            row("sustained_readings_per_s", "ingest and compaction together: readings/s", AtLeast(100_000.0), sustained, ingest, rounds),
            row("compaction_readings_per_s", "compaction alone: readings/s", None, self.compaction, 0, 1),
            row("ingest_cpu_s_per_million", "cloud while ingesting: CPU s per million readings", None, self.ingest_cpu, ingest, rounds),
        ];
        figures
    }
}

/// One figure; a row of the table it is written in.
pub(crate) const fn row(
    key: &'static str,
    what: &'static str,
    limit: Limit,
    rounds: Vec<f64>,
    discarded: usize,
    needs: usize,
) -> Figure {
    Figure {
        key,
        what,
        limit,
        rounds,
        discarded,
        needs,
        alone: ALONE,
    }
}

/// Whether all figures are fine.
pub(crate) fn all_fine(figures: &[Figure]) -> bool {
    figures.iter().all(|figure| figure.verdict().is_fine())
}

/// Prints all figures, those with a limit first.
#[expect(clippy::print_stdout, reason = "the result of a command line tool")]
pub(crate) fn print(figures: &[Figure], busy: bool, failed: usize) {
    say("");
    say(&Figure::head());
    let (limited, known): (Vec<_>, Vec<_>) = figures
        .iter()
        .partition(|figure| figure.limit != Limit::None);
    for figure in limited.into_iter().chain(known) {
        say(&figure.row());
        println!("{}", figure.words());
    }
    say("");
    if busy {
        say("rounds on a busy machine were kept: figures of time are worth little");
    }
    if failed > 0 {
        say(&format!(
            "{failed} parts failed: what they said stands above"
        ));
    }
    say(if all_fine(figures) {
        "every figure is within its limit or its noise"
    } else {
        "a figure was missed or could not be measured"
    });
}

/// Says something to the person who waits.
#[expect(clippy::print_stderr, reason = "progress of a command line tool")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
