//! Latest values, one series, and a series over time.

use crate::app::AppState;
use crate::input::{Params, parse_part};
use crate::problem::Problem;
use crate::routes::gateways;
use crate::silence;
use crate::views::{DataView, EstimatedView, GapView, LatestView, LedgerView, SeriesView};
use axum::Json;
use axum::extract::{Path, State};
use cloud_store::query::MAX_POINTS;
use cloud_store::{LedgerFilter, QueryRange, Series, SeriesId, TimeRange};
use protocols_model::{DeviceId, Lane, Timestamp};
use std::sync::Arc;

/// Points of a chart when nothing else is asked.
const POINTS: i64 = 800;
/// Span of a chart when nothing else is asked: one hour.
const SPAN_MS: i64 = 3_600_000;
/// Longest span: beyond it rollups are gone anyway.
const LONGEST_SPAN_MS: i64 = 3_660 * 86_400_000;
/// Lost ranges drawn in one chart.
const MAX_LOST: usize = 200;

async fn known(state: &AppState, text: &str) -> Result<Series, Problem> {
    let id: i64 = parse_part("series", text)?;
    state
        .store
        .series_by_id(SeriesId(id))
        .await
        .map_err(|error| Problem::internal("reading the series", &error))?
        .ok_or_else(|| Problem::unknown("series", format!("there is no series {id}")))
}

/// Latest values of a gateway or of one of its devices.
#[utoipa::path(get, path = "/v1/latest", tag = "series",
    params(
        ("gateway" = String, Query, description = "Which gateway"),
        ("device" = Option<String>, Query, description = "Only of this device")),
    responses((status = 200, body = Vec<LatestView>), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn latest(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<LatestView>>, Problem> {
    let params = params.only(&["gateway", "device"])?;
    let gateway = params
        .text("gateway")
        .ok_or_else(|| Problem::field("gateway", "is missing"))?;
    let gateway = gateways::known(&state, gateway).await?;
    let device: Option<DeviceId> = params.parsed("device")?;
    let latest = state
        .store
        .latest(&gateway, device.as_ref())
        .await
        .map_err(|error| Problem::internal("reading the latest values", &error))?;
    Ok(Json(state.live.views(&latest)))
}

/// One series.
#[utoipa::path(get, path = "/v1/series/{series}", tag = "series",
    params(("series" = i64, Path, description = "Its number")),
    responses((status = 200, body = SeriesView), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    Path(series): Path<String>,
    params: Params,
) -> Result<Json<SeriesView>, Problem> {
    params.only(&[])?;
    Ok(Json(known(&state, &series).await?.into()))
}

fn span(params: &Params, now_ms: i64) -> Result<(i64, i64), Problem> {
    let to = params.moment_ms("to")?.unwrap_or(now_ms);
    let from = params.moment_ms("from")?.unwrap_or(to - SPAN_MS);
    if from >= to {
        return Err(Problem::field(
            "from",
            format!("{from} is not before `to`, {to}"),
        ));
    }
    if to - from > LONGEST_SPAN_MS {
        return Err(Problem::field("from", "is more than ten years before `to`"));
    }
    Ok((from, to))
}

/// A series over a span of time, down-sampled so that peaks survive.
///
/// Few readings come as samples, many as buckets with minimum and maximum. Gaps say where nothing
/// good is: a silence three times as long as the series usually keeps, at every zoom the same, but
/// no shorter than a bucket. `lost` says what is known to be lost, and why.
#[utoipa::path(get, path = "/v1/series/{series}/data", tag = "series",
    params(
        ("series" = i64, Path, description = "Its number"),
        ("from" = Option<String>, Query, description = "Begin: ms since 1970 or RFC 3339; an hour before `to` when left out"),
        ("to" = Option<String>, Query, description = "End; now when left out"),
        ("points" = Option<i64>, Query, description = "At most so many, 1 to 10000; 800 when left out")),
    responses((status = 200, body = DataView), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn data(
    State(state): State<Arc<AppState>>,
    Path(series): Path<String>,
    params: Params,
) -> Result<Json<DataView>, Problem> {
    let params = params.only(&["from", "to", "points"])?;
    let (from_ms, to_ms) = span(&params, state.clock.wall().as_millis())?;
    let most = i64::try_from(MAX_POINTS).unwrap_or(i64::MAX);
    let points = params.whole("points", 1..=most)?.unwrap_or(POINTS);
    let series = known(&state, &series).await?;
    let range = TimeRange {
        from: Timestamp::from_millis(from_ms),
        to: Timestamp::from_millis(to_ms),
    };
    let silence = silence::usual(state.store.as_ref(), &series, range.to)
        .await
        .map_err(|error| Problem::internal("looking how often the series speaks", &error))?;
    let query = QueryRange {
        range,
        points: usize::try_from(points).unwrap_or(1),
        silence,
    };
    let result = state
        .store
        .query(series.id, query)
        .await
        .map_err(|error| Problem::internal("reading the series", &error))?;
    let filter = LedgerFilter {
        gateway: Some(series.gateway.clone()),
        series: Some(series.id),
        range: Some(range),
        limit: MAX_LOST,
        ..LedgerFilter::default()
    };
    let lost = state
        .store
        .ledger(filter)
        .await
        .map_err(|error| Problem::internal("reading the ledger", &error))?;
    let (samples, buckets) = DataView::points(&result.points);
    Ok(Json(DataView {
        series: series.into(),
        from_ms,
        to_ms,
        samples,
        buckets,
        gaps: result.gaps.iter().map(GapView::from).collect(),
        estimated: result.estimated.iter().map(EstimatedView::from).collect(),
        // A lost event is no lost reading of this series.
        lost: lost
            .iter()
            .filter(|e| e.lane != Lane::Event)
            .map(LedgerView::from)
            .collect(),
    }))
}
