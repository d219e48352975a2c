//! Live first (P3): after an outage, what happens now is not made to wait for what happened then.

use super::stage::{LIMIT, Stage, Told, at, judged, restless, until, until_within};
use anyhow::Context as _;
use std::time::Duration;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::api::Api;
use tests_harness::proxy::Link;
use tests_harness::site::{GatewayOptions, HALL_1};
use tests_harness::stack::Stack;
use tests_oracle::Awake;
use tokio::time::Instant;

/// The link is down until so much waits: about half a minute.
const BACKLOG_BYTES: u64 = 125_000;
/// How long that may take where polls are skipped because the machine is slow.
const GATHER_LIMIT: Duration = Duration::from_secs(300);
/// What the link carries afterwards: about three times what is read, so that the backlog takes a while.
const SLOW: Link = Link::Slow {
    bytes_per_second: 11_000,
};
/// The backlog must take at least this long, or nothing was overtaken.
const DRAIN_AT_LEAST: Duration = Duration::from_secs(10);
/// A point of each meter whose every reading is kept.
const EVERY_READING: &str = "energy";
/// P3: batch age plus this.
const PROMISE: Duration = Duration::from_secs(1);
/// On a machine that does other things, 99 looks of 100 may see what comes late by as much as our own
/// pauses came late at worst, once for each process on the way: gateway, link, broker, cloud.
const HOPS: u32 = 4;
/// The slowest hundredth is forgiven so much more.
const SLACK: Duration = Duration::from_secs(1);
/// Records settled before the outage.
const LEARNT: u64 = 20;
/// How often the newest stored value is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn live_data_overtakes_the_backlog_of_an_outage(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let options = GatewayOptions {
        batch_live: Duration::from_millis(500),
        batch_offline: Duration::from_secs(2),
        commit: Duration::from_secs(2),
        poll: Duration::from_millis(100),
        ..GatewayOptions::default()
    };
    // A value is read each `poll`, waits `batch_live` at most for others, and then has a second.
    let allowed = options.batch_live + options.poll + PROMISE;
    let site = restless(stage.demo(), &[EVERY_READING]);
    let stack = stage.start(site, options).await?;
    let mut api = stack.log_in().await?;
    let gateway = stack.gateways.first().context("no gateway")?;
    let devices = stack.site().buses.len();
    let series = series_of_each(&mut api, devices).await?;

    // The gateway has learnt how fast the link was: what comes back is not that link.
    until(gateway, "the link was fast for a while", |status| {
        let uplink = status.uplink.as_ref();
        uplink.and_then(|uplink| uplink.counters.get("settled_records")) >= Some(&LEARNT)
    })
    .await?;
    stack.link.set(Link::Cut);
    until(gateway, "the link is gone", |status| {
        status
            .uplink
            .as_ref()
            .is_some_and(|uplink| !uplink.connected)
    })
    .await?;
    until_within(GATHER_LIMIT, gateway, "a backlog gathers", |status| {
        status.spool.live_bytes >= BACKLOG_BYTES
    })
    .await?;
    stack.link.set(SLOW);
    let connected = until(gateway, "the link is back", |status| {
        status
            .uplink
            .as_ref()
            .is_some_and(|uplink| uplink.connected)
    })
    .await?;
    let healed = Instant::now();
    let (mut ages, late) = ages_until_drained(&stack, &mut api, &series, (healed, allowed)).await?;
    let drain = healed.elapsed();
    anyhow::ensure!(
        drain >= DRAIN_AT_LEAST,
        "a backlog of {} bytes was gone after {drain:?}: nothing to overtake",
        connected.spool.live_bytes
    );
    if ages.is_empty() {
        return Ok(Told::NotRun(format!(
            "the machine was late by {late:.1?}, and the backlog gone after {drain:.1?}"
        )));
    }
    ages.sort_unstable();
    let at = |hundredths: usize| ages.get(ages.len() * hundredths / 100).copied();
    let (p50, p99) = at(50).zip(at(99)).context("no looks")?;
    let worst = ages.last().copied().context("no looks")?;
    let measured = format!(
        "{} kB drained in {:.0} s; age of the newest value p50 {p50:.2?}, p99 {p99:.2?}, worst \
         {worst:.2?}; promised {allowed:.2?}, this machine's own pauses were late by up to {late:.2?}",
        connected.spool.live_bytes / 1000,
        drain.as_secs_f64(),
    );
    let allowed = allowed + late * HOPS;
    anyhow::ensure!(p99 <= allowed && worst <= allowed + SLACK, "{measured}");
    stack.link.set(Link::Passing);
    Ok(Told::Holds(format!("{measured}; {}", judged(stack).await?)))
}

/// Ages of the newest stored value of the worst device, looked at until the backlog is gone; and how
/// late our own pauses were at worst.
async fn ages_until_drained(
    stack: &Stack,
    api: &mut Api,
    series: &[i64],
    (healed, allowed): (Instant, Duration),
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let gateway = stack.gateways.first().context("no gateway")?;
    let (mut ages, mut late) = (Vec::new(), Duration::ZERO);
    let healed_ns = wall_ns();
    loop {
        let (from, to) = worst_age(api, series).await?;
        // What was read before the link came back is backlog; what comes after has its time. Times in
        // which the machine stood still are nobody's fault.
        let machine = Awake::new(&stack.pauses());
        let awake =
            |from, to| Duration::from_nanos(u64::try_from(machine.between(from, to)).unwrap_or(0));
        if awake(healed_ns, to) >= allowed + late * HOPS {
            ages.push(awake(from, to));
        }
        let held = gateway.status().await?.spool.records;
        if held <= UNDER_WAY {
            return Ok((ages, late));
        }
        anyhow::ensure!(healed.elapsed() < LIMIT, "{held} records are still held");
        let paused = Instant::now();
        tokio::time::sleep(LOOK).await;
        late = late.max(paused.elapsed().saturating_sub(LOOK));
    }
}

/// A healthy gateway holds a few records that are on their way.
const UNDER_WAY: u64 = 4;

/// One series of each device, of a point whose every reading is kept.
async fn series_of_each(api: &mut Api, devices: usize) -> anyhow::Result<Vec<i64>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let series = api.get(&format!("/v1/gateways/{HALL_1}/series")).await?;
        let all = series.as_array().context("no list of series")?.iter();
        let energy = all.filter(|one| *at(one, "/point") == EVERY_READING);
        let ids: Vec<i64> = energy.filter_map(|one| at(one, "/id").as_i64()).collect();
        if ids.len() == devices {
            return Ok(ids);
        }
        anyhow::ensure!(Instant::now() < deadline, "series are missing: {series}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The time of the newest stored value and the moment of asking, ns UTC; of several series the oldest.
async fn worst_age(api: &mut Api, series: &[i64]) -> anyhow::Result<(i64, i64)> {
    let asked = wall_ns();
    let latest = api.get(&format!("/v1/latest?gateway={HALL_1}")).await?;
    let rows = latest.as_array().context("no list of values")?;
    let newest = |id: &i64| {
        let row = rows.iter().find(|row| at(row, "/series") == id);
        row.and_then(|row| at(row, "/time_ms").as_i64())
    };
    let oldest: Option<i64> = series.iter().map(newest).min().flatten();
    let oldest = oldest.with_context(|| format!("no value of a series: {latest}"))?;
    Ok((oldest * 1_000_000, asked))
}
