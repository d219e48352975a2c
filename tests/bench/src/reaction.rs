//! `rules`: how soon a rule's write is on the wire after the answer that made it fire.
//!
//! ```text
//!  100 units, 10 000 points/s ─▶ gateway with a rule for each drive ─write─▶ 20 drives of this process
//!                                   ▲                                           │ pulse: any other poll
//!                                   └──────────────── answer ───────────────────┘
//! ```
//!
//! A rule writes back the very value that made it fire, and no value comes twice, so each write is known
//! to be the answer to one pulse. Both moments are read from one clock: when the drive had the answer
//! ready, and when it has the write in hand. A pulse that is never answered ends the measurement.

use crate::config::Config;
use crate::drives::Drives;
use crate::figures::{Figure, Limit};
use crate::measure::{median, percentile};
use crate::report::row;
use crate::rig::{GATEWAY, Rig};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Each drive pulses at every other poll: 100 pulses a second.
const POLLED: Duration = Duration::from_millis(100);
const AGE: Duration = Duration::from_secs(1);
/// What was given at the very end is written within this, or never.
const LATEST: Duration = Duration::from_secs(2);

/// One round.
#[derive(Debug)]
pub(crate) struct Reacted {
    delays_ms: Vec<f64>,
    /// Share of the machine that others took.
    pub foreign: f64,
}

impl Rig {
    /// A turn with rules; pulses of `window` count.
    pub(crate) async fn react(
        &mut self,
        drives: &Drives,
        window: Duration,
    ) -> anyhow::Result<Reacted> {
        let config = Config::new(GATEWAY, AGE).meters(&self.ports, "");
        let config = config.drives(drives.at, POLLED).following();
        let pulsing = async |_: &Path| {
            let begun = Instant::now();
            sleep(window).await;
            let ended = Instant::now();
            sleep(LATEST).await;
            let seen = drives.seen();
            let counted = seen
                .given
                .iter()
                .filter(|(_, at)| (begun..ended).contains(at));
            let mut delays = Vec::new();
            for (value, given) in counted {
                let Some(written) = seen.written.get(value) else {
                    anyhow::bail!("pulse {value} was given and nobody wrote it back");
                };
                delays.push(written.duration_since(*given).as_secs_f64() * 1e3);
            }
            anyhow::ensure!(!delays.is_empty(), "no drive pulsed");
            Ok(delays)
        };
        let (turn, delays_ms) = self.turn(&config, AGE, false, pulsing).await?;
        Ok(Reacted {
            delays_ms,
            foreign: turn.foreign(),
        })
    }
}

/// The figures; `wanted` rounds were asked for.
pub(crate) fn figures(rounds: &[Reacted], discarded: usize, wanted: usize) -> Vec<Figure> {
    let of =
        |share: fn(&[f64]) -> f64| rounds.iter().map(|round| share(&round.delays_ms)).collect();
    let p99 = of(|delays| percentile(delays, 99));
    #[rustfmt::skip]
    let figures = vec![
        row("rule_p99_ms", "rule beside 10 000 points/s: answer to write, 99 %, ms", Limit::AtMost(5.0), p99, discarded, wanted),
        row("rule_p50_ms", "rule beside 10 000 points/s: answer to write, median, ms", Limit::None, of(median), discarded, wanted),
    ];
    figures
}
