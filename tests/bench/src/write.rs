//! `write`: how much later a write reaches the wire because the gateway is busy.
//!
//! ```text
//!  100 units, 10 000 points/s ─polls─▶ gateway ◀─order─ this process (door in the state directory)
//!                                         │ one TCP endpoint, 20 drives, polled 200 times a second
//!                                         ▼
//!                                      this process: the moment at which a write request is in hand
//! ```
//!
//! Both moments are read from one clock in one process. An order carries a value of its own, so that no
//! request can be taken for another; one that is not confirmed ends the measurement. What the same
//! gateway takes without anything to poll is subtracted.

use crate::config::Config;
use crate::drives::{DRIVES, Drives};
use crate::figures::{Figure, Limit};
use crate::measure::{median, percentile};
use crate::report::row;
use crate::rig::{GATEWAY, Rig};
use anyhow::Context as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tests_fieldsim::signal::scattered;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::sleep;

/// The drives are polled so often: with what they think, two thirds of the endpoint's time.
const POLLED: Duration = Duration::from_millis(100);
const THINKS: Duration = Duration::from_millis(3);
/// The same drives, left alone but for their first poll.
const LEFT_ALONE: Duration = Duration::from_mins(1);
/// Between two orders: anything up to this, so that they fall anywhere between polls and batches.
const GAP_MS: u64 = 50;
const AGE: Duration = Duration::from_secs(1);

/// The measurement, ready for its rounds.
#[derive(Debug)]
pub(crate) struct Writes {
    drives: Drives,
    next: u16,
}

/// One round.
#[derive(Debug)]
pub(crate) struct Written {
    /// Order placed → request in hand, of every write.
    pub delays_ms: Vec<f64>,
    /// Share of the machine that others took.
    pub foreign: f64,
}

impl Writes {
    /// Serves the drives.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Ok(Self {
            drives: Drives::start(THINKS, false).await?,
            next: 1,
        })
    }

    /// Writes for `window`, beside nothing at all or beside everything.
    pub(crate) async fn round(
        &mut self,
        rig: &mut Rig,
        window: Duration,
        busy: bool,
    ) -> anyhow::Result<Written> {
        let config = Config::new(GATEWAY, AGE);
        let config = if busy {
            let config = config.meters(&rig.ports, "");
            config.drives(self.drives.at, POLLED)
        } else {
            config.drives(self.drives.at, LEFT_ALONE)
        };
        let writing = async |dir: &Path| self.write(dir, window).await;
        let (turn, delays_ms) = rig.turn(&config, AGE, false, writing).await?;
        Ok(Written {
            delays_ms,
            foreign: turn.foreign(),
        })
    }

    async fn write(&mut self, gateway: &Path, window: Duration) -> anyhow::Result<Vec<f64>> {
        let door = gateway.join("state/control.sock");
        let mut delays = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < window {
            let value = self.next;
            self.next = self.next.checked_add(1).context("all values are used up")?;
            let gap = scattered(0, value.into()) % GAP_MS;
            sleep(Duration::from_millis(gap)).await;
            let placed = order(&door, value).await?;
            let arrived = self.drives.seen().written.remove(&value);
            let arrived = arrived.with_context(|| format!("{value} never came"))?;
            delays.push(arrived.duration_since(placed).as_secs_f64() * 1e3);
        }
        Ok(delays)
    }
}

/// Has `value` written to one of the drives and waits for the confirmation; when the order was placed.
async fn order(door: &Path, value: u16) -> anyhow::Result<Instant> {
    let mut stream = UnixStream::connect(door)
        .await
        .with_context(|| format!("the gateway's door {}", door.display()))?;
    let drive = value % u16::from(DRIVES) + 1;
    let order =
        format!("{{\"device\":\"drive-{drive}\",\"point\":\"set\",\"value\":\"{value}\"}}\n");
    let placed = Instant::now();
    stream.write_all(order.as_bytes()).await?;
    let mut outcome = String::new();
    BufReader::new(stream).read_line(&mut outcome).await?;
    let said: serde_json::Value = serde_json::from_str(&outcome)
        .with_context(|| format!("writing {value}: the gateway said {outcome:?}"))?;
    let error = said.get("error").context("an odd outcome")?;
    anyhow::ensure!(error.is_null(), "writing {value}: {error}");
    Ok(placed)
}

/// What the rounds add up to.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    /// Without anything to poll: half of the writes were in hand within this.
    pub idle_p50_ms: f64,
    p50: Vec<f64>,
    p99: Vec<f64>,
    discarded: usize,
}

impl Delays {
    /// A round beside everything.
    pub(crate) fn add(&mut self, round: &Written, counts: bool) {
        if !counts {
            self.discarded += 1;
            return;
        }
        self.p50.push(median(&round.delays_ms));
        self.p99.push(percentile(&round.delays_ms, 99));
    }

    /// The figures; `rounds` were asked for.
    pub(crate) fn figures(self, rounds: usize) -> Vec<Figure> {
        use Limit::{AtMost, None};
        let gone = self.discarded;
        let added = |of: &[f64]| of.iter().map(|delay| delay - self.idle_p50_ms).collect();
        #[rustfmt::skip]
        let figures = vec![
            row("write_added_p99_ms", "write beside 10 000 points/s: added delay, 99 %, ms", AtMost(10.0), added(&self.p99), gone, rounds),
            row("write_added_p50_ms", "write beside 10 000 points/s: added delay, median, ms", None, added(&self.p50), gone, rounds),
            row("write_idle_p50_ms", "write, nothing polled: order to wire, median, ms", None, vec![self.idle_p50_ms], 0, 1),
        ];
        figures
    }
}
