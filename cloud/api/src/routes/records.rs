//! What happened: the loss ledger, events, quarantine, refused connections, sums.

use crate::app::AppState;
use crate::input::Params;
use crate::problem::Problem;
use crate::routes::gateways;
use crate::views::{EventView, LedgerView, QuarantineView, RefusalView, StatsView};
use axum::Json;
use axum::extract::State;
use cloud_store::{EventFilter, LedgerFilter, SeriesId, StoreError, TimeRange};
use protocols_model::{GatewayId, Timestamp};
use protocols_wire::EventKind;
use std::sync::Arc;

/// Entries in one answer when nothing else is asked.
const PAGE: i64 = 100;
const LONGEST_PAGE: i64 = 1000;
/// Quarantined payloads are up to 4 KiB each in the store.
const LONGEST_QUARANTINE_PAGE: i64 = 200;

fn failed(error: &StoreError) -> Problem {
    Problem::internal("reading what happened", error)
}

pub(super) async fn gateway_of(
    state: &AppState,
    params: &Params,
) -> Result<Option<GatewayId>, Problem> {
    match params.text("gateway") {
        Some(text) => gateways::known(state, text).await.map(Some),
        None => Ok(None),
    }
}

pub(super) fn limit(params: &Params, longest: i64) -> Result<usize, Problem> {
    let limit = params.whole("limit", 1..=longest)?.unwrap_or(PAGE);
    Ok(usize::try_from(limit).unwrap_or(1))
}

/// The loss ledger, oldest entry first: what is missing, and why.
#[utoipa::path(get, path = "/v1/ledger", tag = "records",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway"),
        ("series" = Option<i64>, Query, description = "Only entries that name this series or no points at all"),
        ("from" = Option<String>, Query, description = "Only entries that reach beyond this moment"),
        ("to" = Option<String>, Query, description = "Only entries that begin before this moment"),
        ("struck" = Option<bool>, Query, description = "Also entries whose records all arrived after all"),
        ("after" = Option<i64>, Query, description = "Only entries with a higher number: the last of the page before"),
        ("limit" = Option<i64>, Query, description = "At most so many, 1 to 1000; 100 when left out")),
    responses((status = 200, body = Vec<LedgerView>), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn ledger(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<LedgerView>>, Problem> {
    let params = params.only(&[
        "gateway", "series", "from", "to", "struck", "after", "limit",
    ])?;
    let (from, to) = (params.moment_ms("from")?, params.moment_ms("to")?);
    let range = (from.is_some() || to.is_some()).then(|| TimeRange {
        from: from.map_or(Timestamp(0), Timestamp::from_millis),
        to: to.map_or(Timestamp(i64::MAX), Timestamp::from_millis),
    });
    let filter = LedgerFilter {
        gateway: gateway_of(&state, &params).await?,
        series: params.whole("series", 0..=i64::MAX)?.map(SeriesId),
        range,
        struck: params.parsed("struck")?.unwrap_or(false),
        after: params.whole("after", 0..=i64::MAX)?.unwrap_or(0),
        limit: limit(&params, LONGEST_PAGE)?,
    };
    let entries = state.store.ledger(filter).await.map_err(|e| failed(&e))?;
    Ok(Json(entries.iter().map(LedgerView::from).collect()))
}

/// The kind with this name.
fn kind(name: &str) -> Result<EventKind, Problem> {
    // Numbers of kinds are given without gaps, from 1.
    let mut known = (1..).map(EventKind::from_index);
    let known = known
        .by_ref()
        .take_while(|kind| !matches!(kind, EventKind::Other(_)));
    let known: Vec<EventKind> = known.collect();
    known
        .iter()
        .copied()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|kind| kind.as_str()).collect();
            let why = format!(
                "{name:?} is no kind of event; there are {}",
                names.join(", ")
            );
            Problem::field("kind", why)
        })
}

/// Events, newest first.
#[utoipa::path(get, path = "/v1/events", tag = "records",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway"),
        ("kind" = Option<String>, Query, description = "Only of this kind: `alarm`, `rule`, `device-link`, …"),
        ("subject" = Option<String>, Query, description = "Only about this: an alarm, a rule, a device"),
        ("before" = Option<i64>, Query, description = "Only events with a lower number: the last of the page before"),
        ("limit" = Option<i64>, Query, description = "At most so many, 1 to 1000; 100 when left out")),
    responses((status = 200, body = Vec<EventView>), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn events(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<EventView>>, Problem> {
    let params = params.only(&["gateway", "kind", "subject", "before", "limit"])?;
    let filter = EventFilter {
        gateway: gateway_of(&state, &params).await?,
        kind: params.text("kind").map(kind).transpose()?,
        subject: params.text("subject").map(str::to_owned),
        before: params.whole("before", 0..=i64::MAX)?,
        limit: limit(&params, LONGEST_PAGE)?,
    };
    let events = state.store.events(filter).await.map_err(|e| failed(&e))?;
    Ok(Json(events.into_iter().map(EventView::from).collect()))
}

/// Input that could not be used, newest first.
#[utoipa::path(get, path = "/v1/quarantine", tag = "records",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway"),
        ("limit" = Option<i64>, Query, description = "At most so many, 1 to 200; 100 when left out")),
    responses((status = 200, body = Vec<QuarantineView>), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn quarantine(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<QuarantineView>>, Problem> {
    let params = params.only(&["gateway", "limit"])?;
    let gateway = gateway_of(&state, &params).await?;
    let limit = limit(&params, LONGEST_QUARANTINE_PAGE)?;
    let entries = state
        .store
        .quarantined(gateway.as_ref(), limit)
        .await
        .map_err(|e| failed(&e))?;
    Ok(Json(
        entries.into_iter().map(QuarantineView::from).collect(),
    ))
}

/// Connections that the broker refused, newest first.
#[utoipa::path(get, path = "/v1/refusals", tag = "records",
    responses((status = 200, body = Vec<RefusalView>), (status = 401, body = Problem)))]
pub(crate) async fn refusals(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<RefusalView>>, Problem> {
    params.only(&[])?;
    let refusals = state.surroundings.refusals();
    Ok(Json(refusals.into_iter().map(RefusalView::from).collect()))
}

/// Sums over everything.
#[utoipa::path(get, path = "/v1/stats", tag = "records",
    responses((status = 200, body = StatsView), (status = 401, body = Problem)))]
pub(crate) async fn stats(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<StatsView>, Problem> {
    params.only(&[])?;
    let mut sum = StatsView {
        streams: state.live.streams(),
        ..StatsView::default()
    };
    for gateway in state.store.gateways().await.map_err(|e| failed(&e))? {
        let counts = state
            .store
            .counts(&gateway.id)
            .await
            .map_err(|e| failed(&e))?;
        for count in counts {
            sum.stored += count.stored;
            sum.filtered += count.filtered;
            sum.lost += count.lost;
        }
        if let Some(view) = state
            .store
            .gateway_state(&gateway.id)
            .await
            .map_err(|e| failed(&e))?
        {
            sum.gateways += u64::from(!gateway.is_revoked());
            sum.connected += u64::from(view.session.is_some_and(|(connected, _)| connected));
            sum.series += view.series;
            sum.quarantined += view.quarantined;
        }
    }
    let report = state
        .store
        .maintain_report()
        .await
        .map_err(|e| failed(&e))?;
    sum.record_rows = report.record_rows;
    Ok(Json(sum))
}
