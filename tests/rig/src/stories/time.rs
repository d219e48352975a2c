//! Clocks that are wrong, or were never set: a board still connects, and its readings find their place.

use super::stage::{LIMIT, Stage, Told, at, brisk, gateway, judged, until};
use anyhow::Context as _;
use serde_json::Value;
use std::path::PathBuf;
use tests_fieldsim::answer_log::wall_ns;
use tests_harness::api::Api;
use tests_harness::site::{GatewayOptions, HALL_1};
use tests_harness::wait::wait_for;

/// The file that says that the clock is right.
const RIGHT: &str = "clock-is-right";
/// What a board without a battery shows after a while: the twelfth of January 1970.
const UNSET_S: i64 = 1_000_000;
/// Records of each run that the cloud must have settled.
const SETTLED: u64 = 10;
/// Of their readings of one point so many must lie where they were taken.
const PLACED: usize = 3;
/// A point whose every reading is kept.
const POINT: &str = "energy";

/// A span of real time.
#[derive(Debug, Clone, Copy)]
struct Lived {
    from_ms: i64,
    to_ms: i64,
}

pub(super) async fn a_board_without_a_clock_connects_and_its_readings_find_their_place_later(
    stage: &Stage,
) -> anyhow::Result<Told> {
    let Some(faketime) = std::env::var_os("FOGLINE_LIBFAKETIME").map(PathBuf::from) else {
        return Ok(Told::NotRun("libfaketime is missing".to_owned()));
    };
    let options = GatewayOptions {
        faketime: Some(faketime),
        ..brisk()
    };
    let mut stack = stage.start(stage.demo(), options).await?;
    let board = gateway(&mut stack, HALL_1)?;
    board.stop().await?;
    let config = board.dir().join("gateway.toml");
    let text = std::fs::read_to_string(&config)?;
    let named = text.replace(
        "[gateway]\n",
        &format!("[gateway]\nclock_file = \"{RIGHT}\"\n"),
    );
    std::fs::write(&config, named)?;
    board.step_clock(UNSET_S - wall_ns() / 1_000_000_000)?;

    // Two runs that never get a clock; the broker's certificate is not valid in 1970.
    let mut lives = Vec::new();
    for _ in 0..2 {
        let from_ms = wall_ns() / 1_000_000;
        board.restart()?;
        until(board, "is believed with a clock of 1970", |status| {
            let settled = status.spool.counters.get("settled_records");
            status
                .uplink
                .as_ref()
                .is_some_and(|uplink| uplink.connected)
                && settled >= Some(&SETTLED)
        })
        .await?;
        let to_ms = wall_ns() / 1_000_000;
        lives.push(Lived { from_ms, to_ms });
        board.stop().await?;
    }
    let right = board.dir().join(RIGHT);
    board.restart()?;
    let mut api = stack.log_in().await?;
    let series = series(&mut api).await?;
    let mut before = Vec::new();
    for life in &lives {
        before.push(placed(&mut api, series, *life).await?.0);
    }
    anyhow::ensure!(
        before.iter().all(|count| *count == 0),
        "readings of 1970 are drawn before anybody knew when they were taken: {before:?}"
    );

    // The third run gets one.
    gateway(&mut stack, HALL_1)?.step_clock(0)?;
    wait_for("the step is told", LIMIT, async || {
        let events = api.get(&format!("/v1/events?gateway={HALL_1}")).await?;
        let told = events.as_array().context("no list of events")?.iter();
        let steps = told
            .filter(|event| *at(event, "/kind") == "clock-step")
            .count();
        anyhow::ensure!(steps > 0, "no step: {events}");
        Ok(())
    })
    .await?;
    std::fs::write(right, "")?;
    let mut found = Vec::new();
    for life in lives {
        let (count, estimated) =
            wait_for("readings lie where they were taken", LIMIT, async || {
                let placed = placed(&mut api, series, life).await?;
                anyhow::ensure!(placed.0 >= PLACED, "{placed:?} of {life:?}");
                Ok(placed)
            })
            .await?;
        anyhow::ensure!(
            estimated == 0,
            "the kernel's clock ran on: nothing is estimated"
        );
        found.push(count);
    }
    let found = format!("{found:?} readings of two runs in 1970 found their place");
    Ok(Told::Holds(format!("{found}; {}", judged(stack).await?)))
}

async fn series(api: &mut Api) -> anyhow::Result<i64> {
    let all = api.get(&format!("/v1/gateways/{HALL_1}/series")).await?;
    let mut all = all.as_array().context("no list of series")?.iter();
    let one = all.find(|one| *at(one, "/point") == POINT);
    let id = one.and_then(|one| at(one, "/id").as_i64());
    id.context("the point has no series")
}

/// Readings within the span, and how many parts of it are said to be estimated.
async fn placed(api: &mut Api, series: i64, life: Lived) -> anyhow::Result<(usize, usize)> {
    let Lived { from_ms, to_ms } = life;
    let path = format!("/v1/series/{series}/data?from={from_ms}&to={to_ms}&points=10000");
    let data = api.get(&path).await?;
    let count = |place| at(&data, place).as_array().map_or(0, Vec::<Value>::len);
    Ok((count("/samples/t"), count("/estimated")))
}
