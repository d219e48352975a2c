//! A spool that fills up in an outage is thinned: the extremes arrive, at their times, and what went is told.
//!
//! Told with programs that have fail points, whose spools are full in seconds.

use super::stage::{LIMIT, Stage, Told, at, judge, restless, until, until_within};
use anyhow::Context as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_fieldsim::{WordKind, signal};
use tests_harness::api::Api;
use tests_harness::proxy::Link;
use tests_harness::site::{GatewayOptions, HALL_1};
use tests_harness::stack::Stack;
use tests_oracle::Awake;

/// A point that filters, beside those that are read at every poll.
const FILTERED: &str = "u_l1";
/// Readings that must have been given up before the link comes back: several passes.
const THINNED: u64 = 6000;
/// How long that may take on a slow machine; half a minute on a quiet one.
const FILL_LIMIT: Duration = Duration::from_secs(300);
/// From a device's answer to the gateway's stamp, while the machine runs. A bucket is 30 s and more.
const STAMP_NS: i64 = 1_500_000_000;
/// Buckets of a chart that shows the whole outage.
const FEW_POINTS: &str = "8";

/// A reading as its device gave it.
#[derive(Debug, Clone, Copy)]
struct Given {
    t: i64,
    raw: i64,
}

/// Of a point of a device.
#[derive(Debug, Clone, Copy)]
struct Extremes {
    least: Given,
    most: Given,
    /// Readings in the outage.
    readings: usize,
}

impl Extremes {
    /// Those that must be there still: a bucket that reaches beyond the outage has an extreme of its own, which
    /// may lie outside.
    fn within(&self, (from, to): (i64, i64)) -> impl Iterator<Item = Given> {
        let both = [self.least, self.most].into_iter();
        both.filter(move |extreme| (from..=to).contains(&extreme.t))
    }
}

pub(super) async fn a_spool_that_fills_up_in_an_outage_is_thinned_and_the_extremes_arrive(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let options = GatewayOptions {
        batch_live: Duration::from_millis(500),
        batch_offline: Duration::from_secs(1),
        commit: Duration::from_secs(1),
        poll: Duration::from_millis(100),
        spool_max: "4MiB".to_owned(),
        full: "thin",
        keep_alive: Some(Duration::from_secs(1)),
        ..GatewayOptions::default()
    };
    let settling = options.batch_offline;
    let site = restless(stage.demo(), &[FILTERED]);
    let mut stack = stage.start(site, options).await?;
    let gateway = stack.gateways.first().context("no gateway")?;
    stack.link.set(Link::Cut);
    until(gateway, "the link is gone", |status| {
        let uplink = status.uplink.as_ref();
        uplink.is_some_and(|uplink| !uplink.connected)
    })
    .await?;
    // What was sealed sooner may have been sent, and is not thinned.
    tokio::time::sleep(settling).await;
    let from = wall_ns();
    let counted = |name: &str, status: &tests_harness::gateway::Status| {
        status.spool.counters.get(name).copied().unwrap_or(0)
    };
    let full = until_within(FILL_LIMIT, gateway, "old readings are thinned", |status| {
        counted("thinned_readings", status) >= THINNED
    })
    .await?;
    let to = wall_ns();
    stack.link.set(Link::Passing);
    stack.wait_for_flow(LIMIT).await?;
    stack.stop_devices().await?;
    stack.wait_for_quiescence(LIMIT).await?;

    let evidence = stack.evidence().await?;
    let verdict = judge(&evidence)?;
    let thinned = evidence.ledger.iter().filter(|row| row.reason == "thinned");
    let thinned: u64 = thinned.filter_map(|row| row.readings).sum();
    anyhow::ensure!(
        thinned >= counted("thinned_readings", &full),
        "the ledger tells of {thinned} thinned readings only; {verdict}"
    );
    let seen = see_extremes(&stack, (from, to)).await?;
    stack.stop().await?;
    Ok(Told::Holds(format!(
        "{thinned} readings thinned, {seen} extremes at their times; {verdict}"
    )))
}

/// Whether a query of each series shows its least and greatest reading, where that was in the outage; of how
/// many of these.
async fn see_extremes(stack: &Stack, span: (i64, i64)) -> anyhow::Result<usize> {
    let given = extremes(stack, span)?;
    let awake = Awake::new(&stack.pauses());
    let mut api = stack.log_in().await?;
    let all = api.get(&format!("/v1/gateways/{HALL_1}/series")).await?;
    let (mut series_seen, mut seen) = (0, 0);
    for series in all.as_array().context("no list of series")? {
        let name = |place| at(series, place).as_str().unwrap_or_default().to_owned();
        let Some(of_point) = given.get(&(name("/device"), name("/point"))) else {
            continue;
        };
        let what = || format!("{}/{}", name("/device"), name("/point"));
        let id = at(series, "/id").as_i64().context("no id")?;
        let judged = in_samples(&mut api, id, span, of_point, &awake).await;
        seen += judged.with_context(what)?;
        let judged = in_buckets(&mut api, id, span, of_point).await;
        judged.with_context(what)?;
        series_seen += 1;
    }
    anyhow::ensure!(
        series_seen == given.len() && seen > 0,
        "{seen} extremes of {series_seen} of {} series",
        given.len()
    );
    Ok(seen)
}

/// What the devices answered, of the points that are read at every poll.
fn extremes(
    stack: &Stack,
    span: (i64, i64),
) -> anyhow::Result<BTreeMap<(String, String), Extremes>> {
    let mut found: BTreeMap<(String, String), Extremes> = BTreeMap::new();
    for line in &stack.answers()? {
        for polled in line.polls.iter().filter(|polled| polled.point != FILTERED) {
            let given = Given {
                t: line.t,
                raw: polled.raw,
            };
            let of_point = found
                .entry((line.device.clone(), polled.point.clone()))
                .or_insert(Extremes {
                    least: given,
                    most: given,
                    readings: 0,
                });
            of_point.readings += usize::from((span.0..=span.1).contains(&given.t));
            if given.raw < of_point.least.raw {
                of_point.least = given;
            }
            if given.raw > of_point.most.raw {
                of_point.most = given;
            }
        }
    }
    anyhow::ensure!(!found.is_empty(), "nothing was answered");
    Ok(found)
}

async fn data(
    api: &mut Api,
    series: i64,
    (from, to): (i64, i64),
    points: &str,
) -> anyhow::Result<Value> {
    // A stamp may be later than the answer: nothing at the edges is to be missed.
    let (from, to) = (from / 1_000_000 - 3000, to / 1_000_000 + 3000);
    api.get(&format!(
        "/v1/series/{series}/data?from={from}&to={to}&points={points}"
    ))
    .await
}

fn numbers(data: &Value, place: &str) -> Vec<Option<f64>> {
    let list = at(data, place).as_array();
    list.map_or_else(Vec::new, |list| list.iter().map(Value::as_f64).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "raw values are integers below 2^53"
)]
fn raw(number: f64) -> i64 {
    (number * signal::divisor(WordKind::I64)).round() as i64
}

async fn in_samples(
    api: &mut Api,
    series: i64,
    span: (i64, i64),
    given: &Extremes,
    awake: &Awake,
) -> anyhow::Result<usize> {
    let data = data(api, series, span, "10000").await?;
    let (times, values) = (
        numbers(&data, "/samples/t"),
        numbers(&data, "/samples/number"),
    );
    anyhow::ensure!(
        !values.is_empty() && values.len() < given.readings,
        "{} samples of {} readings",
        values.len(),
        given.readings
    );
    let mut seen = 0;
    for extreme in given.within(span) {
        let mut held = times.iter().zip(&values);
        // The value alone names the poll.
        let held =
            held.find_map(|(time, value)| (raw((*value)?) == extreme.raw).then_some(*time)?);
        let held = held.with_context(|| format!("{extreme:?} went"))?;
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970")]
        let away = awake.between(held as i64 * 1_000_000, extreme.t).abs();
        anyhow::ensure!(away <= STAMP_NS, "{extreme:?} stands at {held} ms");
        seen += 1;
    }
    Ok(seen)
}

/// A chart of the whole outage shows the same extremes.
async fn in_buckets(
    api: &mut Api,
    series: i64,
    span: (i64, i64),
    given: &Extremes,
) -> anyhow::Result<()> {
    let data = data(api, series, span, FEW_POINTS).await?;
    for extreme in given.within(span) {
        let place = if extreme.raw == given.least.raw {
            "/buckets/min"
        } else {
            "/buckets/max"
        };
        let shown = numbers(&data, place);
        let mut shown = shown.iter().flatten();
        anyhow::ensure!(
            shown.any(|number| raw(*number) == extreme.raw),
            "{extreme:?} is not at {place}: {data}"
        );
    }
    Ok(())
}
