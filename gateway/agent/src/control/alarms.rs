//! Alarms at the door: listed, acknowledged, shelved.

use super::{CALLER_PATIENCE, ask};
use anyhow::Context;
use gateway_pipeline::{Ask, RulesNow};
use gateway_rules::{Alarm, AlarmError};
use protocols_model::{AlarmLevel, AlarmState, Clock, Instant, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The pipeline answers between two sweeps.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    alarms: What,
}

/// What is to be done with alarms before they are told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    List,
    Ack { name: String, by: String },
    Shelve { name: String, seconds: u64 },
}

/// Rules and alarms, after what was asked for was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct AlarmsNow {
    /// Why nothing was done.
    pub(crate) error: Option<String>,
    pub(crate) alarms: Vec<AlarmNow>,
    pub(crate) rules: Vec<RuleNow>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AlarmNow {
    pub(crate) name: String,
    pub(crate) level: AlarmLevel,
    pub(crate) state: AlarmState,
    pub(crate) text: String,
    /// Milliseconds since 1970 UTC; none while it was never raised.
    pub(crate) since: Option<i64>,
    pub(crate) by: Option<String>,
    /// Seconds that are left of its shelving.
    pub(crate) shelved_s: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RuleNow {
    pub(crate) name: String,
    /// Whether its condition holds.
    pub(crate) on: bool,
}

impl AlarmNow {
    fn new(name: String, alarm: &Alarm, now: Instant) -> Self {
        Self {
            name,
            level: alarm.level,
            state: alarm.state,
            text: alarm.text.clone(),
            since: (alarm.since != 0).then(|| Timestamp(alarm.since).as_millis()),
            by: Some(alarm.by.clone()).filter(|by| !by.is_empty()),
            shelved_s: alarm.shelved_for(now).map(|left| left.as_secs()),
        }
    }
}

pub(super) async fn carry_out(
    order: Order,
    asks: &mpsc::Sender<Ask>,
    clock: &dyn Clock,
) -> AlarmsNow {
    let all = async {
        let error = match order.alarms {
            What::List => None,
            What::Ack { name, by } => {
                let ask = |done| Ask::Acknowledge {
                    alarm: name,
                    by,
                    done,
                };
                changed(asks, ask).await
            }
            What::Shelve { name, seconds } => {
                let ask = |done| Ask::Shelve {
                    alarm: name,
                    span: Duration::from_secs(seconds),
                    done,
                };
                changed(asks, ask).await
            }
        };
        Some(AlarmsNow {
            error,
            ..rules_now(asks, clock).await?
        })
    };
    let done = tokio::time::timeout(PATIENCE, all).await;
    done.ok().flatten().unwrap_or_else(|| AlarmsNow {
        error: Some("the configuration is being swapped; ask again".to_owned()),
        ..AlarmsNow::default()
    })
}

/// How rules and alarms stand; nothing only while a configuration is swapped.
pub(super) async fn rules_now(asks: &mpsc::Sender<Ask>, clock: &dyn Clock) -> Option<AlarmsNow> {
    let (answer, answered) = oneshot::channel();
    asks.send(Ask::Rules(answer)).await.ok()?;
    let RulesNow { rules, alarms } = answered.await.ok()?;
    let now = clock.monotonic();
    let (alarms, rules) = (alarms.into_iter(), rules.into_iter());
    Some(AlarmsNow {
        error: None,
        alarms: alarms
            .map(|(name, alarm)| AlarmNow::new(name, &alarm, now))
            .collect(),
        rules: rules.map(|(name, on)| RuleNow { name, on }).collect(),
    })
}

/// Has something done; why it was not.
async fn changed(
    asks: &mpsc::Sender<Ask>,
    ask: impl FnOnce(oneshot::Sender<Result<(), AlarmError>>) -> Ask,
) -> Option<String> {
    let (done, answered) = oneshot::channel();
    let gone = || Some("the configuration is being swapped; ask again".to_owned());
    if asks.send(ask(done)).await.is_err() {
        return gone();
    }
    match answered.await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => gone(),
    }
}

/// Asks the gateway that runs on `state_dir`.
///
/// # Errors
/// When it does not answer.
pub(crate) fn alarms(state_dir: &Path, what: What) -> anyhow::Result<AlarmsNow> {
    ask(state_dir, &Order { alarms: what }, CALLER_PATIENCE)?
        .context("the gateway did not answer; look again")
}
