//! A value that does not change is sent once; from then on the gateway tells now and then that it still holds.
//! The page shows it as fresh, with the time at which it was read, and the database holds one reading.

use super::stage::{LIMIT, Stage, Told, at, brisk, judged};
use anyhow::Context as _;
use serde_json::Value;
use std::time::Duration;
use tests_fieldsim::Site;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::api::Api;
use tests_harness::proxy::Link;
use tests_harness::site::{self, GatewayOptions, HALL_1};
use tests_harness::wait::wait_for;

const DEVICE: &str = "meter-1";
/// How often the gateway tells that it still holds.
const EVERY: Duration = Duration::from_secs(1);
/// Signs of life that are waited for, before and after an outage.
const SIGNS: usize = 3;

pub(super) async fn a_value_that_does_not_change_stays_fresh_with_the_time_of_its_reading(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let options = GatewayOptions {
        keep_alive: Some(EVERY),
        ..brisk()
    };
    let mut site = stage.demo();
    one_meter(&mut site);
    let stack = stage.start(site, options).await?;
    let mut api = stack.log_in().await?;
    let series = series(&mut api).await?;
    let first = until_confirmed_since(&mut api, series, 0).await?;
    let mut sign = first.clone();
    for _ in 0..SIGNS {
        sign = next_sign(&mut api, series, &sign).await?;
    }
    // An outage with signs of life in the backlog: they are no readings there either.
    stack.link.set(Link::Cut);
    let gone = wall_ns() / 1_000_000;
    tokio::time::sleep(EVERY * 3).await;
    stack.link.set(Link::Passing);
    let back = wall_ns() / 1_000_000;
    sign = until_confirmed_since(&mut api, series, back).await?;
    anyhow::ensure!(back > gone && same(&first, &sign), "{first} became {sign}");
    stored_once(&mut api, series, &first).await?;
    let at_first = at(&first, "/time_ms").as_i64().context("no time")?;
    let confirmed = confirmed(&sign).context("not confirmed")?;
    Ok(Told::Holds(format!(
        "read once, confirmed for {:.1} s; {}",
        Duration::from_millis(u64::try_from(confirmed - at_first)?).as_secs_f64(),
        judged(stack).await?
    )))
}

/// One meter, whose set point stands still.
fn one_meter(site: &mut Site) {
    site.buses.truncate(1);
    site::hold_set_point(site, DEVICE);
}

async fn series(api: &mut Api) -> anyhow::Result<i64> {
    wait_for("the set point's series", LIMIT, async || {
        let all = api.get(&format!("/v1/gateways/{HALL_1}/series")).await?;
        let mut all = all.as_array().context("no list of series")?.iter();
        let one = all.find(|one| *at(one, "/point") == site::SET_POINT);
        let id = one.and_then(|one| at(one, "/id").as_i64());
        id.context("the point has no series")
    })
    .await
}

fn confirmed(latest: &Value) -> Option<i64> {
    at(latest, "/confirmed_ms").as_i64()
}

/// Whether two answers show the same reading.
fn same(a: &Value, b: &Value) -> bool {
    ["/time_ms", "/text", "/number", "/quality"]
        .iter()
        .all(|place| at(a, place) == at(b, place))
}

async fn latest(api: &mut Api, series: i64) -> anyhow::Result<Value> {
    let all = api.get(&format!("/v1/latest?gateway={HALL_1}")).await?;
    let mut all = all.as_array().context("no list of values")?.iter();
    let one = all.find(|one| *at(one, "/series") == series);
    one.cloned().context("no value of the series")
}

/// The latest value, once it was confirmed after a moment and is fresh for that.
async fn until_confirmed_since(api: &mut Api, series: i64, since: i64) -> anyhow::Result<Value> {
    wait_for("a sign of life", LIMIT, async || {
        let latest = latest(api, series).await?;
        let told = confirmed(&latest) > Some(since);
        anyhow::ensure!(told && is_fresh(&latest), "{latest}");
        Ok(latest)
    })
    .await
}

/// The next sign of life: the same reading, confirmed later.
async fn next_sign(api: &mut Api, series: i64, before: &Value) -> anyhow::Result<Value> {
    let since = confirmed(before).context("not confirmed")?;
    let next = until_confirmed_since(api, series, since).await?;
    anyhow::ensure!(same(before, &next), "{before} became {next}");
    let taken = at(&next, "/time_ms").as_i64();
    anyhow::ensure!(confirmed(&next) > taken, "{next}");
    Ok(next)
}

/// Fresh by the rule of the page: its age counts from the confirmation.
fn is_fresh(latest: &Value) -> bool {
    let age = confirmed(latest).map(|at| wall_ns() / 1_000_000 - at);
    age.zip(at(latest, "/stale_after_ms").as_i64())
        .is_some_and(|(age, stale_after)| age < stale_after)
}

/// The database holds the reading, once, at its own time; the signs of life are not there.
async fn stored_once(api: &mut Api, series: i64, first: &Value) -> anyhow::Result<()> {
    let data = api.get(&format!("/v1/series/{series}/data")).await?;
    let stored = |place| at(&data, place).as_array().cloned().unwrap_or_default();
    let (times, texts) = (stored("/samples/t"), stored("/samples/text"));
    let expected = (at(first, "/time_ms"), at(first, "/text"));
    anyhow::ensure!(
        times.iter().zip(&texts).collect::<Vec<_>>() == [expected],
        "{data} of {first}"
    );
    Ok(())
}
