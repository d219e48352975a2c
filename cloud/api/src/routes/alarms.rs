//! Alarms as they stand. They are acknowledged and shelved on site, by `fogline-gateway alarms`.

use super::records::{gateway_of, limit};
use crate::app::AppState;
use crate::input::Params;
use crate::problem::Problem;
use crate::views::{AlarmCountsView, AlarmView};
use axum::Json;
use axum::extract::State;
use cloud_store::{AlarmFilter, StoreError};
use protocols_model::AlarmState;
use std::sync::Arc;

const LONGEST_PAGE: i64 = 1000;

fn failed(error: &StoreError) -> Problem {
    Problem::internal("reading alarms", error)
}

/// The states that a word stands for.
fn states(word: &str) -> Result<Vec<AlarmState>, Problem> {
    let all = AlarmState::ALL.into_iter();
    let found: Vec<AlarmState> = match word {
        "all" => all.collect(),
        "open" => all.filter(|state| state.is_open()).collect(),
        one => all.filter(|state| state.as_str() == one).collect(),
    };
    if found.is_empty() {
        let names = AlarmState::ALL.map(AlarmState::as_str).join(", ");
        let why = format!("{word:?} is no state; there are open, all, {names}");
        return Err(Problem::field("state", why));
    }
    Ok(found)
}

/// Alarms: raised, acknowledged, returned, shelved, over; of each the worst first. Those of revoked
/// gateways only where the gateway is named.
#[utoipa::path(get, path = "/v1/alarms", tag = "alarms",
    params(
        ("gateway" = Option<String>, Query, description = "Only of this gateway"),
        ("state" = Option<String>, Query, description = "`open` (all but `normal`; the default), `all`, or one of `raised`, `acknowledged`, `returned`, `normal`"),
        ("limit" = Option<i64>, Query, description = "At most so many, 1 to 1000; 100 when left out")),
    responses((status = 200, body = Vec<AlarmView>), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<Vec<AlarmView>>, Problem> {
    let params = params.only(&["gateway", "state", "limit"])?;
    let filter = AlarmFilter {
        gateway: gateway_of(&state, &params).await?,
        states: states(params.text("state").unwrap_or("open"))?,
        limit: limit(&params, LONGEST_PAGE)?,
    };
    let alarms = state.store.alarms(filter).await.map_err(|e| failed(&e))?;
    Ok(Json(alarms.into_iter().map(AlarmView::from).collect()))
}

/// Open alarms in numbers: of all gateways that are trusted, or of one.
#[utoipa::path(get, path = "/v1/alarms/counts", tag = "alarms",
    params(("gateway" = Option<String>, Query, description = "Only of this gateway")),
    responses((status = 200, body = AlarmCountsView), (status = 400, body = Problem),
        (status = 401, body = Problem)))]
pub(crate) async fn counts(
    State(state): State<Arc<AppState>>,
    params: Params,
) -> Result<Json<AlarmCountsView>, Problem> {
    let params = params.only(&["gateway"])?;
    let gateway = gateway_of(&state, &params).await?;
    let counts = state.store.alarm_counts(gateway.as_ref()).await;
    Ok(Json(counts.map_err(|e| failed(&e))?.into()))
}
