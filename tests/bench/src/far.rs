//! `link`: live values and backlog over a link of 64 kbit/s, 600 ms and 2 % loss.
//!
//! ```text
//! namespace "site"                    relay                     namespace "cloud"
//! field ─▶ gateway (or bare sender) ─ tun ─▶ rate, delay, loss ─▶ tun ─ broker ─▶ cloud ─▶ SQLite
//! ```
//!
//! Whole IP packets go through our relay (`tests/net`), so TCP itself deals with the loss. First, over a clean
//! link, the gateway starts; then the link is cut while the field fills the spool; then the gateway starts
//! anew with fewer points, the link comes back as it is, and for the length of the window it is looked at
//! how old each live value is when another reader of the database sees it, and how much backlog came.
//!
//! **What the link allows** is what a bare sender gets through it, before and after, in the same run: one TLS
//! stream of the same library and certificates that is always full, no MQTT, no answers (`bulk.rs`).
//! The better of its two turns counts: bytes of the stream that the other side has confirmed, each once, over a
//! span that begins when the line in front of the link is full. IP and TCP headers and what was sent again
//! are in neither count, so it lies below 64 kbit/s; a turn that does not is refused, because it was
//! miscounted. From what the link allows goes what live data took; the rest is the backlog's, and the figure is
//! how much of that rest backlog envelopes filled, over a span that begins as late, window and line full alike:
//! MQTT's and TLS' frames and acknowledgements are our cost.

mod bulk;
mod hosts;

pub(crate) use bulk::{Bulk, Sink};

use self::hosts::Far;
use crate::config::Config;
use crate::field;
use crate::figures::{Figure, Limit};
use crate::measure::{float, percentile};
use crate::report::{row, say};
use anyhow::Context as _;
use std::collections::HashMap;
use std::time::Duration;
use tests_net::Shape;
use tokio::time::{Instant, sleep};

/// The link.
const RATE: u64 = 64_000;
const ROUND_TRIP: Duration = Duration::from_millis(600);
const LOSS: f64 = 0.02;
/// Two seconds of the link may stand in line in front of it, as in a modem.
const QUEUE: usize = 16 * 1024;
/// Which packets are lost.
const SEED: u64 = 20_261;

/// The gateway.
pub(super) const GATEWAY: &str = "far";
/// Live units: 300 readings a second.
const LIVE_UNITS: u16 = 3;
const AGE: Duration = Duration::from_secs(1);
/// While the spool fills: ten times a second, ten times as short batches, as many bytes a reading.
const FILL_PERIOD: Duration = Duration::from_millis(100);
const FILL_AGE: Duration = Duration::from_secs(1);
/// Bytes of backlog that a reading makes, at least.
const FILL_BYTES: f64 = 0.4;

/// How long connecting and the first backlog may take.
const FLOW_LIMIT: Duration = Duration::from_secs(180);
/// From the first backlog until the window begins: window and rate find their size.
const SETTLE: Duration = Duration::from_secs(20);
/// What was read at the window's end may be so late and still be found.
const LATEST: Duration = Duration::from_secs(20);
/// A value is fresh when it is not older than this.
const FRESH_MS: f64 = 5000.0;

/// How long each part takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// Of the gateway.
    pub window: Duration,
    /// Of each turn of the bare sender.
    pub bare: Duration,
}

/// What the window showed.
#[derive(Debug)]
struct Window {
    ages_ms: Vec<f64>,
    /// Bytes a second of backlog and of live envelopes, as published.
    history: f64,
    live: f64,
    /// Bytes a second of the whole stream, as they arrived in order: leaps at both ends make it rough.
    stream: f64,
}

/// Everything, from namespaces to figures.
pub(crate) async fn figures(spans: Spans, keep: bool) -> anyhow::Result<Vec<Figure>> {
    tests_net::can_run().map_err(|why| anyhow::anyhow!("{why}"))?;
    let mut far = Far::start(keep, SEED).await?;
    let measured = measure(&mut far, spans).await;
    far.stop(measured.is_err()).await?;
    let (window, bare) = measured?;
    let allowed = bare.iter().copied().fold(0.0, f64::max);
    let carried = float(RATE) / 8.0;
    anyhow::ensure!(
        allowed < carried,
        "the bare sender is said to have got {allowed:.0} bytes/s through a link of {carried:.0}"
    );
    let left = allowed - window.live;
    anyhow::ensure!(left > 0.0, "live data alone fills the link");
    let fresh = window
        .ages_ms
        .iter()
        .filter(|age| **age <= FRESH_MS)
        .count();
    let fresh = float(fresh as u64) * 100.0 / float(window.ages_ms.len() as u64);
    let (p50, p99) = (
        percentile(&window.ages_ms, 50),
        percentile(&window.ages_ms, 99),
    );
    let oldest = percentile(&window.ages_ms, 100);
    let bare: Vec<f64> = bare.to_vec();
    use Limit::{AtLeast, AtMost, None};
    #[rustfmt::skip]
    let figures = vec![
        row("link_drain_pct", "64 kbit/s, 600 ms, 2 %: backlog of what the link allows, %", AtLeast(80.0), vec![window.history * 100.0 / left], 0, 1),
        row("link_age_p99_ms", "64 kbit/s, 600 ms, 2 %: answer to database, 99 %, ms", AtMost(FRESH_MS), vec![p99], 0, 1),
        row("link_fresh_pct", "64 kbit/s, 600 ms, 2 %: live values within 5 s, %", None, vec![fresh], 0, 1),
        row("link_age_p50_ms", "64 kbit/s, 600 ms, 2 %: answer to database, median, ms", None, vec![p50], 0, 1),
        row("link_age_max_ms", "64 kbit/s, 600 ms, 2 %: answer to database, oldest, ms", None, vec![oldest], 0, 1),
        row("link_allows_bytes_per_s", "bare TLS stream over the same link, bytes/s", None, bare, 0, 1),
        row("link_stream_bytes_per_s", "gateway's stream over it, all of it, bytes/s", None, vec![window.stream], 0, 1),
        row("link_live_bytes_per_s", "live envelopes among it, bytes/s", None, vec![window.live], 0, 1),
    ];
    Ok(figures)
}

async fn measure(far: &mut Far, spans: Spans) -> anyhow::Result<(Window, [f64; 2])> {
    say("a gateway over a clean link, then without one");
    let fill = Config::aged(GATEWAY, FILL_AGE, FILL_AGE);
    let fill = fill.meters_each(&far.ports, field::UNITS, FILL_PERIOD, "");
    far.start_gateway(&fill)?;
    far.wait_for_settled(FLOW_LIMIT).await?;
    far.link.set(Shape {
        cut: true,
        ..Shape::CLEAN
    });
    let wanted = spans.window + SETTLE + LATEST;
    let bytes = wanted.as_secs_f64() * float(RATE) / 8.0;
    let a_second =
        float(u64::from(field::UNITS) * u64::from(field::REGISTERS)) / FILL_PERIOD.as_secs_f64();
    sleep(Duration::from_secs_f64(bytes / FILL_BYTES / a_second)).await;
    far.stop_gateway().await?;
    far.link.set(bad());
    say("a bare sender over 64 kbit/s, 600 ms, 2 % loss");
    let before = far.bare(spans.bare).await?;
    say("the gateway over the same");
    let live = Config::new(GATEWAY, AGE);
    let live = live.meters_each(&far.ports, LIVE_UNITS, Duration::from_secs(1), "");
    far.start_gateway(&live)?;
    far.wait_for_backlog(FLOW_LIMIT).await?;
    sleep(SETTLE).await;
    let window = window(far, spans.window).await;
    far.kill_gateway().await?;
    say("the bare sender again");
    let after = far.bare(spans.bare).await?;
    Ok((window?, [before, after]))
}

async fn window(far: &Far, span: Duration) -> anyhow::Result<Window> {
    let watch = far.database.watch()?;
    let newest = far.database.newest()?;
    let begun = Instant::now();
    let (from, wall_from) = (far.look().await?, tests_fieldsim::answer_log::wall_ns());
    sleep(span).await;
    let (to, wall_to) = (far.look().await?, tests_fieldsim::answer_log::wall_ns());
    let seconds = begun.elapsed().as_secs_f64();
    sleep(LATEST).await;
    let seen = watch.end().await?;
    anyhow::ensure!(
        to.reconnects == from.reconnects,
        "the connection was lost {} times in the window",
        to.reconnects - from.reconnects
    );
    anyhow::ensure!(
        to.backlog_records > 0,
        "the backlog was gone before the window's end"
    );
    let mut stored = HashMap::new();
    let last = far.database.newest()?;
    for record in far.database.records(newest, last, field::PROBE)? {
        let at = seen.at(record.row);
        for (device, value) in record.probes {
            let before = stored.insert((device.clone(), value), at);
            anyhow::ensure!(before.is_none(), "{device} answered {value}: stored twice");
        }
    }
    let mut ages_ms = Vec::new();
    for line in far.answers(wall_from, wall_to)? {
        let value = line.polls.first().context("an answer without a probe")?.raw;
        let at = stored.get(&(line.device.clone(), value)).copied().flatten();
        let at = at.unwrap_or(wall_to + i64::try_from(LATEST.as_nanos())?);
        ages_ms.push(float(u64::try_from(at - line.t).unwrap_or(0)) / 1e6);
    }
    anyhow::ensure!(!ages_ms.is_empty(), "nothing was read in the window");
    let rate = |from: u64, to: u64| float(to.saturating_sub(from)) / seconds;
    let history = rate(from.history_bytes, to.history_bytes);
    Ok(Window {
        ages_ms,
        history,
        live: rate(from.bytes, to.bytes) - history,
        stream: rate(from.arrived, to.arrived),
    })
}

fn bad() -> Shape {
    Shape {
        rate: Some(RATE),
        loss: LOSS,
        queue: QUEUE,
        ..Shape::CLEAN
    }
    .round_trip(ROUND_TRIP)
}
