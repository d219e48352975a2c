//! What `watch` asks at the door: the report, how points stand, a page of them, rules and alarms.
//!
//! Values of points are shown here and not at the local endpoint: whoever is on the machine may read
//! that one, only whoever may read the state directory comes in here. An answer is bounded by the page
//! asked for, however many points there are.

use super::alarms::{self, AlarmsNow};
use super::ask;
use crate::find;
use crate::point_names::PointNames;
use crate::snapshot::{Report, Source};
use anyhow::Context;
use gateway_pipeline::{Ask, Latest, Look};
use protocols_model::{Instant, Quality};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The pipeline answers between two sweeps; the view shows that it does not.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest value that is shown, in characters.
const VALUE_CHARS: usize = 64;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    watch: Page,
}

/// Which points are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Page {
    /// A selector with `*`, or a part of the name; all points when empty.
    pub(crate) filter: String,
    /// Only points whose latest reading is not good.
    pub(crate) trouble: bool,
    /// So many are passed over.
    pub(crate) from: usize,
    /// So many rows at most.
    pub(crate) most: usize,
}

/// Everything that the view shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WatchNow {
    pub(crate) report: Report,
    pub(crate) standing: StandingNow,
    /// Points that fit the page's filter.
    pub(crate) fitting: usize,
    /// How many of them the first row passes over.
    pub(crate) from: usize,
    pub(crate) points: Vec<PointNow>,
    pub(crate) rules: AlarmsNow,
}

/// How many points are how well.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct StandingNow {
    pub(crate) good: usize,
    pub(crate) uncertain: usize,
    pub(crate) bad: usize,
    pub(crate) silent: usize,
}

/// The latest reading of a point.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PointNow {
    /// `device/point`.
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) unit: String,
    /// `good`, `uncertain`, `bad`, or `none` where no reading came yet.
    pub(crate) quality: String,
    pub(crate) reason: Option<String>,
    pub(crate) age_ms: Option<u64>,
}

impl PointNow {
    fn new(name: (String, &str), latest: Option<&Latest>, now: Instant) -> Self {
        let quality = latest.map(|latest| latest.quality);
        let value = latest.and_then(|latest| latest.value.as_ref());
        let age = latest.map(|latest| now.since(latest.at).as_millis());
        Self {
            name: name.0,
            unit: name.1.to_owned(),
            value: value.map(|value| find::show_value(value).chars().take(VALUE_CHARS).collect()),
            quality: quality.map_or("none", Quality::as_str).to_owned(),
            reason: quality.and_then(|q| Some(q.reason()?.as_str().to_owned())),
            age_ms: age.map(|age| u64::try_from(age).unwrap_or(u64::MAX)),
        }
    }
}

/// Looks; where the configuration is just being swapped there are no points for a moment.
pub(super) async fn carry_out(
    order: Order,
    asks: &mpsc::Sender<Ask>,
    names: &PointNames,
    source: &Source,
) -> WatchNow {
    let Page {
        filter,
        trouble,
        from,
        most,
    } = order.watch;
    let look = Look {
        among: names.chosen(&filter),
        trouble,
        from,
        most,
    };
    let seen = async {
        let (answer, answered) = oneshot::channel();
        asks.send(Ask::Look(look, answer)).await.ok()?;
        let looked = answered.await.ok()?;
        let rules = alarms::rules_now(asks, source.clock.as_ref()).await?;
        Some((looked, rules))
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    let (looked, rules) = seen.ok().flatten().unwrap_or_default();
    let now = source.clock.monotonic();
    let rows = looked.rows.iter();
    let points = rows.filter_map(|(key, latest)| {
        let name = names.get(*key)?;
        Some(PointNow::new(name, latest.as_ref(), now))
    });
    WatchNow {
        report: source.report(),
        standing: StandingNow {
            good: looked.standing.good,
            uncertain: looked.standing.uncertain,
            bad: looked.standing.bad,
            silent: looked.standing.silent,
        },
        fitting: looked.fitting,
        from,
        points: points.collect(),
        rules,
    }
}

/// Asks the gateway that runs on `state_dir`.
///
/// # Errors
/// When it does not answer.
pub(crate) fn watch(state_dir: &Path, page: Page) -> anyhow::Result<WatchNow> {
    let patience = PATIENCE.saturating_mul(2);
    ask(state_dir, &Order { watch: page }, patience)?.context("the gateway did not answer")
}
