//! Gateways, their devices and their series.

use crate::app::AppState;
use crate::input::{Params, parse_part};
use crate::problem::Problem;
use crate::views::{
    CountsView, DeviceView, GatewayTrafficView, GatewayView, SeriesView, TrafficView,
};
use axum::Json;
use axum::extract::{Path, State};
use cloud_store::StoreError;
use protocols_model::GatewayId;
use std::sync::Arc;
use std::time::Duration;

/// Gateways in one answer when nothing else is asked; each costs two reads.
const PAGE: i64 = 200;
const LONGEST_PAGE: i64 = 1000;

/// The span that traffic is told of.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Traffic is counted by full hours.
const HOUR_NS: i64 = 3_600_000_000_000;

fn failed(error: &StoreError) -> Problem {
    Problem::internal("reading the gateways", error)
}

async fn view(state: &AppState, id: &GatewayId) -> Result<Option<GatewayView>, Problem> {
    let Some(gateway) = state
        .store
        .gateway_state(id)
        .await
        .map_err(|e| failed(&e))?
    else {
        return Ok(None);
    };
    let devices = state.store.devices(id).await.map_err(|e| failed(&e))?;
    let alarms = state.store.alarm_counts(Some(id)).await;
    let alarms = alarms.map_err(|e| failed(&e))?;
    let day = day(state, id).await?;
    Ok(Some(GatewayView::new(gateway, &devices, alarms, day)))
}

/// What came of a gateway within a day.
async fn day(state: &AppState, id: &GatewayId) -> Result<TrafficView, Problem> {
    let since = state.clock.wall().minus(DAY);
    let since = since.minus(Duration::from_nanos(
        since.0.rem_euclid(HOUR_NS).unsigned_abs(),
    ));
    let traffic = state.store.traffic(id, since).await;
    let traffic = traffic.map_err(|e| failed(&e))?;
    Ok(TrafficView::new(since, traffic))
}

/// The id in a path, of a gateway that exists.
pub(crate) async fn known(state: &AppState, text: &str) -> Result<GatewayId, Problem> {
    let id: GatewayId = parse_part("gateway", text)?;
    match state.store.gateway(&id).await.map_err(|e| failed(&e))? {
        Some(_) => Ok(id),
        None => Err(Problem::unknown(
            "gateway",
            format!("there is no gateway {id}"),
        )),
    }
}

/// Gateways by id, revoked ones included, each with the four truths about it.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways",
    params(
        ("after" = Option<String>, Query, description = "Only ids after this one: the last of the page before"),
        ("limit" = Option<i64>, Query, description = "At most so many, 1 to 1000; 200 when left out")),
    responses((status = 200, body = Vec<GatewayView>), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<GatewayView>>, Problem> {
    let params = params.only(&["after", "limit"])?;
    let after: Option<GatewayId> = params.parsed("after")?;
    let limit = params.whole("limit", 1..=LONGEST_PAGE)?.unwrap_or(PAGE);
    let all = state.store.gateways().await.map_err(|e| failed(&e))?;
    let page = all
        .into_iter()
        .filter(|gateway| after.as_ref().is_none_or(|after| gateway.id > *after))
        .take(usize::try_from(limit).unwrap_or(0));
    let mut views = Vec::new();
    for gateway in page {
        views.extend(view(&state, &gateway.id).await?);
    }
    Ok(Json(views))
}

/// One gateway.
#[utoipa::path(get, path = "/v1/gateways/{gateway}", tag = "gateways",
    params(("gateway" = String, Path, description = "Its id")),
    responses((status = 200, body = GatewayView), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(state): State<Arc<AppState>>,
    Path(gateway): Path<String>,
    params: Params,
) -> Result<Json<GatewayView>, Problem> {
    params.only(&[])?;
    let id = known(&state, &gateway).await?;
    view(&state, &id)
        .await?
        .map(Json)
        .ok_or_else(|| Problem::unknown("gateway", format!("there is no gateway {id}")))
}

/// Devices behind a gateway and how they are.
#[utoipa::path(get, path = "/v1/gateways/{gateway}/devices", tag = "gateways",
    params(("gateway" = String, Path, description = "Its id")),
    responses((status = 200, body = Vec<DeviceView>), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn devices(
    State(state): State<Arc<AppState>>,
    Path(gateway): Path<String>,
    params: Params,
) -> Result<Json<Vec<DeviceView>>, Problem> {
    params.only(&[])?;
    let id = known(&state, &gateway).await?;
    let devices = state.store.devices(&id).await.map_err(|e| failed(&e))?;
    Ok(Json(devices.into_iter().map(DeviceView::from).collect()))
}

/// Series of a gateway.
#[utoipa::path(get, path = "/v1/gateways/{gateway}/series", tag = "gateways",
    params(("gateway" = String, Path, description = "Its id")),
    responses((status = 200, body = Vec<SeriesView>), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn series(
    State(state): State<Arc<AppState>>,
    Path(gateway): Path<String>,
    params: Params,
) -> Result<Json<Vec<SeriesView>>, Problem> {
    params.only(&[])?;
    let id = known(&state, &gateway).await?;
    let series = state
        .store
        .series(Some(&id))
        .await
        .map_err(|e| failed(&e))?;
    Ok(Json(series.into_iter().map(SeriesView::from).collect()))
}

/// What became of a gateway's readings: within a day with what its filters saved, and since ever.
#[utoipa::path(get, path = "/v1/gateways/{gateway}/traffic", tag = "gateways",
    params(("gateway" = String, Path, description = "Its id")),
    responses((status = 200, body = GatewayTrafficView), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn traffic(
    State(state): State<Arc<AppState>>,
    Path(gateway): Path<String>,
    params: Params,
) -> Result<Json<GatewayTrafficView>, Problem> {
    params.only(&[])?;
    let id = known(&state, &gateway).await?;
    let counts = state.store.counts(&id).await.map_err(|e| failed(&e))?;
    Ok(Json(GatewayTrafficView {
        day: day(&state, &id).await?,
        ever: CountsView::sum(&counts),
    }))
}
