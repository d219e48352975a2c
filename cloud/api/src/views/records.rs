//! What happened: ledger entries, events, quarantine, refusals, sums.

use super::{EventAlarmView, hex, ms};
use cloud_store::{LedgerEntry, QuarantineEntry, StoredEvent};
use protocols_wire::EventKind;
use serde::Serialize;
use utoipa::ToSchema;

/// Lost readings of one point.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerPointView {
    /// The series; none while its dictionary is not known.
    pub(crate) series: Option<i64>,
    /// Readings lost.
    pub(crate) readings: u64,
    /// Filtered readings whose count was lost with them.
    pub(crate) filtered: u64,
}

/// An entry of the loss ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerView {
    /// Its number.
    pub(crate) id: i64,
    /// The gateway.
    pub(crate) gateway: String,
    /// Epoch of the lost records.
    pub(crate) epoch: String,
    /// Their lane.
    pub(crate) lane: &'static str,
    /// First seq claimed.
    pub(crate) first_seq: u64,
    /// Last seq claimed; none: up to whatever was appended last.
    pub(crate) last_seq: Option<u64>,
    /// Whether all of it arrived after all.
    pub(crate) struck: bool,
    /// What happened: `evicted`, `crash-tail`, `damaged`, …
    pub(crate) reason: &'static str,
    /// No lost reading is older; none: nobody knows.
    pub(crate) from_ms: Option<i64>,
    /// No lost reading is younger.
    pub(crate) to_ms: Option<i64>,
    /// Readings lost; none: nobody can know.
    pub(crate) readings: Option<u64>,
    /// Where `readings` is unknown: at most so many.
    pub(crate) at_most: Option<u64>,
    /// `readings` is an upper bound.
    pub(crate) upper_bound: bool,
    /// Entered by the cloud at a refusal.
    pub(crate) by_cloud: bool,
    /// When the claim came.
    pub(crate) received_ms: i64,
    /// Per point, where known.
    pub(crate) points: Vec<LedgerPointView>,
}

impl From<&LedgerEntry> for LedgerView {
    fn from(entry: &LedgerEntry) -> Self {
        let last = entry.range.last();
        Self {
            id: entry.id,
            gateway: entry.gateway.to_string(),
            epoch: entry.epoch.to_string(),
            lane: entry.lane.as_str(),
            first_seq: entry.range.first(),
            last_seq: (last != protocols_model::seq::SEQ_MAX).then_some(last),
            struck: entry.lost.is_empty(),
            reason: entry.reason.as_str(),
            from_ms: entry.from.map(ms),
            to_ms: entry.to.map(ms),
            readings: entry.readings,
            at_most: entry.at_most,
            upper_bound: entry.upper_bound,
            by_cloud: entry.by_cloud,
            received_ms: ms(entry.received),
            points: entry
                .points
                .iter()
                .map(|point| LedgerPointView {
                    series: point.series.map(|series| series.0),
                    readings: point.readings,
                    filtered: point.filtered,
                })
                .collect(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// Its number.
    pub(crate) id: i64,
    /// The gateway.
    pub(crate) gateway: String,
    /// When it happened, by the gateway's clock.
    pub(crate) time_ms: i64,
    /// When it came.
    pub(crate) received_ms: i64,
    /// What: `started`, `device-link`, `spool`, …
    pub(crate) kind: String,
    /// About what.
    pub(crate) subject: String,
    /// For people.
    pub(crate) text: String,
    /// Written by the cloud itself.
    pub(crate) by_cloud: bool,
    /// What it says of the alarm it is about.
    pub(crate) alarm: Option<EventAlarmView>,
}

fn kind_text(kind: EventKind) -> String {
    match kind {
        EventKind::Other(number) => format!("other-{number}"),
        known => known.as_str().to_owned(),
    }
}

impl From<StoredEvent> for EventView {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id,
            gateway: event.gateway.to_string(),
            time_ms: ms(event.time),
            received_ms: ms(event.received),
            kind: kind_text(event.kind),
            subject: event.subject,
            text: event.text,
            by_cloud: event.record.is_none(),
            alarm: event.alarm.map(EventAlarmView::from),
        }
    }
}

/// Input that could not be used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineView {
    /// Its number.
    pub(crate) id: i64,
    /// Whose it was, where known.
    pub(crate) gateway: Option<String>,
    /// Topic it came on, or the record it was.
    pub(crate) topic: String,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// When it first came.
    pub(crate) received_ms: i64,
    /// How often the same bytes came.
    pub(crate) times: u64,
    /// Bytes kept.
    pub(crate) bytes: u64,
    /// The first of them in hex.
    pub(crate) head_hex: String,
}

/// Bytes of a quarantined payload that a list shows.
const QUARANTINE_HEAD: usize = 64;

impl From<QuarantineEntry> for QuarantineView {
    fn from(entry: QuarantineEntry) -> Self {
        let head = entry
            .payload
            .get(..QUARANTINE_HEAD)
            .unwrap_or(&entry.payload);
        Self {
            head_hex: hex(head),
            id: entry.id,
            gateway: entry.gateway.map(String::from),
            topic: entry.topic,
            reason: entry.reason,
            received_ms: ms(entry.received),
            times: entry.times,
            bytes: u64::try_from(entry.payload.len()).unwrap_or(u64::MAX),
        }
    }
}

/// A connection that the broker refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusalView {
    /// When it was refused last.
    pub(crate) at_ms: i64,
    /// MQTT client id it gave.
    pub(crate) client: String,
    /// Where it came from.
    pub(crate) peer: String,
    /// Why.
    pub(crate) reason: String,
    /// How often.
    pub(crate) times: u64,
}

impl From<crate::config::Refusal> for RefusalView {
    fn from(refusal: crate::config::Refusal) -> Self {
        Self {
            at_ms: ms(refusal.at),
            client: refusal.client,
            peer: refusal.peer,
            reason: refusal.reason,
            times: refusal.times,
        }
    }
}

/// Sums over everything.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct StatsView {
    /// Gateways that are trusted.
    pub(crate) gateways: u64,
    /// Of these, connected to the broker.
    pub(crate) connected: u64,
    /// Series.
    pub(crate) series: u64,
    /// Readings stored since ever.
    pub(crate) stored: u64,
    /// Readings filtered out by rule at the edge.
    pub(crate) filtered: u64,
    /// Readings lost, as claims say per point.
    pub(crate) lost: u64,
    /// Inputs in quarantine.
    pub(crate) quarantined: u64,
    /// Record rows that wait for the compactor.
    pub(crate) record_rows: u64,
    /// Live streams open on this server.
    pub(crate) streams: u64,
}
