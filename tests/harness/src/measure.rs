//! What the system says of a process: CPU, memory, disk. Linux `/proc`, no sampling thread.

use anyhow::Context as _;
use std::collections::HashMap;

/// One tick of `utime` and `stime`: `USER_HZ` is 100 wherever Linux runs.
const TICK_NS: u64 = 10_000_000;

/// Counters of one process at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// CPU time of each living thread, nanoseconds.
    threads: HashMap<u32, u64>,
    /// CPU time of the process, threads that ended included; only as fine as a tick.
    coarse_cpu_ns: u64,
    /// Highest resident set so far, KiB.
    peak_rss_kib: u64,
    /// Bytes that the process caused to be written to storage.
    written_bytes: u64,
}

/// What a process used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// CPU time, seconds.
    pub cpu_s: f64,
    /// Highest resident set since the process began, MB (10⁶ bytes).
    pub peak_rss_mb: f64,
    /// Bytes written to storage.
    pub written_bytes: u64,
}

impl Usage {
    /// Reads the counters of `pid`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("reading {file} of process {pid}"))
        };
        let mut threads = HashMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread that ends meanwhile is missing here, and counted in the coarse sum.
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let name = task.file_name();
            let id: Option<u32> = name.to_str().and_then(|id| id.parse().ok());
            let ns: Option<u64> = text.split(' ').next().and_then(|ns| ns.parse().ok());
            threads.extend(id.zip(ns));
        }
        let stat = read("stat")?;
        // The name in brackets may hold anything, so fields are counted from behind it: utime and
        // stime are the 14th and 15th of all, the 12th and 13th from there.
        let (_, fields) = stat.rsplit_once(')').context("an odd stat line")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Self {
            threads,
            coarse_cpu_ns: ticks * TICK_NS,
            peak_rss_kib: field(&read("status")?, "VmHWM:")?,
            written_bytes: field(&read("io")?, "write_bytes:")?,
        })
    }

    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Used {
        let spent = |(id, ns): (&u32, &u64)| {
            ns.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0))
        };
        let fine: u64 = self.threads.iter().map(spent).sum();
        let coarse = self.coarse_cpu_ns.saturating_sub(earlier.coarse_cpu_ns);
        // Both ticks of the coarse figure may be due to rounding; more is a thread that ended.
        let cpu_ns = if coarse > fine + 2 * TICK_NS {
            coarse
        } else {
            fine
        };
        Used {
            cpu_s: seconds(cpu_ns),
            peak_rss_mb: float(self.peak_rss_kib) * 1024.0 / 1e6,
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
        }
    }
}

/// Resident memory of a process now, KiB.
pub fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    field(
        &std::fs::read_to_string(format!("/proc/{pid}/status"))?,
        "VmRSS:",
    )
}

fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{name} is not there"))
}

/// A count as a float; exact far beyond what is counted here.
#[expect(clippy::cast_precision_loss, reason = "a figure to be printed")]
pub const fn float(count: u64) -> f64 {
    count as f64
}

/// Nanoseconds as seconds.
pub const fn seconds(ns: u64) -> f64 {
    float(ns) / 1e9
}

/// The middle of a list; of an even count the mean of the two. NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(half.wrapping_sub(1)), at(half))
    } else {
        at(half)
    }
}

/// The smallest value that at least `percent` of the list do not exceed. NaN of nothing.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_and_of_its_ended_threads_is_counted() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let burn = || {
            let begun = std::time::Instant::now();
            let mut x = 1u64;
            while begun.elapsed().as_millis() < 300 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        };
        std::thread::spawn(burn).join().unwrap();
        let used = Usage::of(pid).unwrap().since(&before);
        assert!(used.cpu_s > 0.02, "{used:?}");
        assert!(used.peak_rss_mb > 1.0, "{used:?}");
    }

    #[test]
    fn medians_and_percentiles_are_values_of_the_list() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&hundred, 99) - 99.0).abs() < 1e-9);
        assert!((percentile(&hundred, 50) - 50.0).abs() < 1e-9);
        assert!(percentile(&[], 99).is_nan());
    }
}
