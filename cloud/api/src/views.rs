//! What the API answers: flat, documented JSON. Times are milliseconds since 1970 UTC.
//!
//! Integers never lose digits: a value comes as exact `text` and, for charts, as `number`.

use cloud_store::{
    Bucket, DeviceState, Gap, GapKind, GatewayState, Latest, LedgerEntry, Points, QuarantineEntry,
    RawSample, Series, StoredEvent,
};
use protocols_model::{Quality, Timestamp, Value};
use protocols_wire::EventKind;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;
use utoipa::ToSchema;

fn ms(at: Timestamp) -> i64 {
    at.as_millis()
}

fn span_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ok = write!(text, "{byte:02x}");
        text
    })
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Text(v) => v.to_string(),
        Value::Bytes(v) => hex(v),
    }
}

fn number(value: Option<&Value>) -> Option<f64> {
    value
        .and_then(Value::as_f64)
        .filter(|number| number.is_finite())
}

/// `good`, or kind and reason: `bad:timeout`.
fn quality_text(quality: Quality) -> String {
    match quality.reason() {
        None => quality.as_str().to_owned(),
        Some(reason) => format!("{}:{}", quality.as_str(), reason.as_str()),
    }
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// Login name.
    pub(crate) name: String,
    /// To be sent as `x-fogline-csrf` with every change.
    pub(crate) csrf: String,
    /// The password was a one-time password and is spent; without a new one nobody logs in again.
    pub(crate) one_time: bool,
    /// Nothing else is allowed before a new password is set.
    pub(crate) must_set_password: bool,
    /// End of the session.
    pub(crate) expires_ms: i64,
    /// Version of the program.
    pub(crate) version: String,
}

/// Broker session: the first truth about a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionTruth {
    /// `connected`, `disconnected` or `unknown`.
    pub(crate) state: &'static str,
    /// Since when.
    pub(crate) since_ms: Option<i64>,
}

/// What the gateway said of itself last: the second truth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HelloTruth {
    /// When it came.
    pub(crate) at_ms: i64,
    /// Program version.
    pub(crate) software: String,
    /// Digest of the running configuration.
    pub(crate) config_revision: String,
    /// Live bytes in the spool.
    pub(crate) spool_bytes: u64,
    /// Bound of the spool.
    pub(crate) spool_quota_bytes: u64,
    /// Records held and not settled then.
    pub(crate) records_held: u64,
    /// Whether a time source confirmed the gateway's clock.
    pub(crate) clock_synced: bool,
    /// Its clock minus ours when the hello came, including the time under way.
    pub(crate) clock_offset_ms: i64,
    /// Longest span of readings that a crash can take along.
    pub(crate) loss_window_ms: u64,
    /// Id of the boot.
    pub(crate) boot: String,
}

/// Device links as the gateway reported them: the third truth.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DevicesTruth {
    /// Devices whose link is up.
    pub(crate) up: u64,
    /// Devices whose link is down.
    pub(crate) down: u64,
    /// Devices whose link was never reported.
    pub(crate) unknown: u64,
}

/// Data freshness: the fourth truth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataTruth {
    /// Time of the newest reading, by the gateway's clock.
    pub(crate) newest_sample_ms: Option<i64>,
    /// When the newest record came, by ours.
    pub(crate) newest_received_ms: Option<i64>,
}

/// A gateway and the four truths about it, each by itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayView {
    /// Its id.
    pub(crate) id: String,
    /// For people.
    pub(crate) note: String,
    /// When it was entered.
    pub(crate) created_ms: i64,
    /// When it was revoked.
    pub(crate) revoked_ms: Option<i64>,
    /// End of its certificate.
    pub(crate) certificate_until_ms: i64,
    /// Serial number of its certificate.
    pub(crate) certificate_serial: String,
    /// SHA-256 of its certificate.
    pub(crate) certificate_fingerprint: String,
    /// Two machines use this identity.
    pub(crate) cloned: bool,
    /// Series it has.
    pub(crate) series: u64,
    /// Inputs of it in quarantine.
    pub(crate) quarantined: u64,
    /// First truth.
    pub(crate) session: SessionTruth,
    /// Second truth; none before the first hello.
    pub(crate) hello: Option<HelloTruth>,
    /// Third truth.
    pub(crate) devices: DevicesTruth,
    /// Fourth truth.
    pub(crate) data: DataTruth,
}

impl GatewayView {
    pub(crate) fn new(state: GatewayState, devices: &[DeviceState]) -> Self {
        let mut links = DevicesTruth::default();
        for device in devices {
            match link_of(device) {
                "up" => links.up += 1,
                "down" => links.down += 1,
                _ => links.unknown += 1,
            }
        }
        let gateway = state.gateway;
        Self {
            id: gateway.id.to_string(),
            note: gateway.note,
            created_ms: ms(gateway.created),
            revoked_ms: gateway.revoked.map(ms),
            certificate_until_ms: ms(gateway.not_after),
            certificate_serial: gateway.serial,
            certificate_fingerprint: gateway.fingerprint,
            cloned: state.cloned,
            series: state.series,
            quarantined: state.quarantined,
            session: SessionTruth {
                state: match state.session {
                    Some((true, _)) => "connected",
                    Some((false, _)) => "disconnected",
                    None => "unknown",
                },
                since_ms: state.session.map(|(_, since)| ms(since)),
            },
            hello: state.hello.map(|(at, hello)| HelloTruth {
                at_ms: ms(at),
                records_held: hello
                    .held
                    .iter()
                    .filter(|held| held.first > 0)
                    .map(|held| (held.last + 1).saturating_sub(held.first))
                    .fold(0, u64::saturating_add),
                software: hello.software,
                config_revision: hello.config_revision,
                spool_bytes: hello.spool_bytes,
                spool_quota_bytes: hello.spool_quota_bytes,
                clock_synced: hello.clock.synced,
                clock_offset_ms: ms(hello.clock.wall).saturating_sub(ms(at)),
                loss_window_ms: span_ms(hello.loss_window),
                boot: hello.boot.to_string(),
            }),
            devices: links,
            data: DataTruth {
                newest_sample_ms: state.newest_sample.map(ms),
                newest_received_ms: state.newest_received.map(ms),
            },
        }
    }
}

/// The gateway's words begin with `up` or `down`; whatever else it says is shown as it is.
fn link_of(device: &DeviceState) -> &'static str {
    match &device.link {
        Some((_, text)) if text.starts_with("up") => "up",
        Some((_, text)) if text.starts_with("down") => "down",
        _ => "unknown",
    }
}

/// A device behind a gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceView {
    /// Its id.
    pub(crate) id: String,
    /// Its series.
    pub(crate) series: u64,
    /// `up`, `down` or `unknown`, as the gateway reported it.
    pub(crate) link: &'static str,
    /// Since when.
    pub(crate) link_since_ms: Option<i64>,
    /// The gateway's words.
    pub(crate) link_text: Option<String>,
    /// Newest reading of any of its points, good or bad.
    pub(crate) newest_sample_ms: Option<i64>,
    /// When that came.
    pub(crate) newest_received_ms: Option<i64>,
    /// Newest good reading of any of its points.
    pub(crate) newest_good_ms: Option<i64>,
    /// Points whose latest reading is bad.
    pub(crate) bad: u64,
}

impl From<DeviceState> for DeviceView {
    fn from(device: DeviceState) -> Self {
        Self {
            link: link_of(&device),
            id: device.device.to_string(),
            series: device.series,
            link_since_ms: device.link.as_ref().map(|(at, _)| ms(*at)),
            link_text: device.link.map(|(_, text)| text),
            newest_sample_ms: device.newest.map(ms),
            newest_received_ms: device.newest_received.map(ms),
            newest_good_ms: device.newest_good.map(ms),
            bad: device.bad,
        }
    }
}

/// A series: one point of one device in one type and unit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesView {
    /// Its number.
    pub(crate) id: i64,
    /// The gateway.
    pub(crate) gateway: String,
    /// The device.
    pub(crate) device: String,
    /// The point.
    pub(crate) point: String,
    /// `bool`, `i64`, `u64`, `f64`, `text` or `bytes`.
    pub(crate) value_type: &'static str,
    /// Engineering unit; may be empty.
    pub(crate) unit: String,
    /// Decimal grid of the values: tells how many digits matter.
    pub(crate) scale: f64,
}

impl From<Series> for SeriesView {
    fn from(series: Series) -> Self {
        Self {
            id: series.id.0,
            gateway: series.gateway.to_string(),
            device: series.device.to_string(),
            point: series.point.to_string(),
            value_type: series.value_type.as_str(),
            unit: series.unit,
            scale: series.scale,
        }
    }
}

/// The newest reading of a series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestView {
    /// The series.
    pub(crate) series: i64,
    /// When it was taken, by the gateway's clock.
    pub(crate) time_ms: i64,
    /// When it came, by ours. Its age counts from the older of both: backlog is not news.
    pub(crate) received_ms: i64,
    /// The value, exact; none when the quality is bad.
    pub(crate) text: Option<String>,
    /// The value as a number, for charts.
    pub(crate) number: Option<f64>,
    /// `good`, `uncertain:<reason>` or `bad:<reason>`.
    pub(crate) quality: String,
    /// When there last was a good value.
    pub(crate) last_good_ms: Option<i64>,
    /// The stamp cannot be right.
    pub(crate) suspect: bool,
    /// Older than this, it is stale: three times the longest usual pause of this series.
    pub(crate) stale_after_ms: i64,
}

impl LatestView {
    pub(crate) fn new(latest: &Latest, stale_after_ms: i64) -> Self {
        Self {
            series: latest.series.0,
            time_ms: ms(latest.time),
            received_ms: ms(latest.received),
            text: latest.value.as_ref().map(value_text),
            number: number(latest.value.as_ref()),
            quality: quality_text(latest.quality),
            last_good_ms: latest.last_good.map(ms),
            suspect: latest.suspect,
            stale_after_ms,
        }
    }
}

/// Samples of a series, by column.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct SamplesView {
    /// When each was taken.
    pub(crate) t: Vec<i64>,
    /// Its value as a number; none for bad readings, texts and bytes.
    pub(crate) number: Vec<Option<f64>>,
    /// Its value, exact; none for bad readings.
    pub(crate) text: Vec<Option<String>>,
    /// Its quality.
    pub(crate) quality: Vec<String>,
}

/// Down-sampled readings of a series, by column; empty buckets are left out.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct BucketsView {
    /// Span of each bucket.
    pub(crate) width_ms: u64,
    /// Begin of each bucket.
    pub(crate) t: Vec<i64>,
    /// Smallest value: peaks survive.
    pub(crate) min: Vec<Option<f64>>,
    /// Largest value.
    pub(crate) max: Vec<Option<f64>>,
    /// First value.
    pub(crate) first: Vec<Option<f64>>,
    /// Last value.
    pub(crate) last: Vec<Option<f64>>,
    /// Last value of series of text or bytes; left empty for numbers.
    pub(crate) last_text: Vec<Option<String>>,
    /// Mean.
    pub(crate) avg: Vec<Option<f64>>,
    /// Readings in the bucket.
    pub(crate) count: Vec<u64>,
    /// Of these, bad ones.
    pub(crate) bad: Vec<u64>,
}

/// A span without good readings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapView {
    /// Last moment before it that had a reading.
    pub(crate) from_ms: i64,
    /// First moment after it.
    pub(crate) to_ms: i64,
    /// `missing` (there are no readings) or `bad:<reason>` (they were bad).
    pub(crate) kind: String,
}

impl From<&Gap> for GapView {
    fn from(gap: &Gap) -> Self {
        Self {
            from_ms: ms(gap.from),
            to_ms: ms(gap.to),
            kind: match gap.kind {
                GapKind::Missing => "missing".to_owned(),
                GapKind::Bad(quality) => quality_text(quality),
            },
        }
    }
}

/// A series over a span of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DataView {
    /// The series.
    pub(crate) series: SeriesView,
    /// Begin of the span asked for.
    pub(crate) from_ms: i64,
    /// End of the span asked for.
    pub(crate) to_ms: i64,
    /// Every sample, when they are few.
    pub(crate) samples: Option<SamplesView>,
    /// Buckets otherwise.
    pub(crate) buckets: Option<BucketsView>,
    /// Where there is nothing good to draw.
    pub(crate) gaps: Vec<GapView>,
    /// Readings known to be lost in this span.
    pub(crate) lost: Vec<LedgerView>,
}

fn samples(raw: &[RawSample]) -> SamplesView {
    SamplesView {
        t: raw.iter().map(|s| ms(s.time)).collect(),
        number: raw.iter().map(|s| number(s.value.as_ref())).collect(),
        text: raw
            .iter()
            .map(|s| s.value.as_ref().map(value_text))
            .collect(),
        quality: raw.iter().map(|s| quality_text(s.quality)).collect(),
    }
}

fn buckets(width: Duration, buckets: &[Bucket]) -> BucketsView {
    let column = |pick: fn(&Bucket) -> Option<&Value>| {
        buckets
            .iter()
            .map(|bucket| number(pick(bucket)))
            .collect::<Vec<_>>()
    };
    let wordy = |bucket: &Bucket| matches!(bucket.last, Some(Value::Text(_) | Value::Bytes(_)));
    let last_text = if buckets.iter().any(wordy) {
        buckets
            .iter()
            .map(|b| b.last.as_ref().map(value_text))
            .collect()
    } else {
        Vec::new()
    };
    BucketsView {
        last_text,
        width_ms: span_ms(width),
        t: buckets.iter().map(|b| ms(b.start)).collect(),
        min: column(|b| b.min.as_ref()),
        max: column(|b| b.max.as_ref()),
        first: column(|b| b.first.as_ref()),
        last: column(|b| b.last.as_ref()),
        avg: buckets
            .iter()
            .map(|b| b.avg.filter(|avg| avg.is_finite()))
            .collect(),
        count: buckets.iter().map(|b| b.count).collect(),
        bad: buckets.iter().map(|b| b.bad).collect(),
    }
}

impl DataView {
    pub(crate) fn points(points: &Points) -> (Option<SamplesView>, Option<BucketsView>) {
        match points {
            Points::Raw(raw) => (Some(samples(raw)), None),
            Points::Buckets {
                width,
                buckets: list,
            } => (None, Some(buckets(*width, list))),
        }
    }
}

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
}

fn kind_text(kind: EventKind) -> String {
    match kind {
        EventKind::Started => "started".to_owned(),
        EventKind::Stopping => "stopping".to_owned(),
        EventKind::DeviceLink => "device-link".to_owned(),
        EventKind::SweepsSkipped => "sweeps-skipped".to_owned(),
        EventKind::Spool => "spool".to_owned(),
        EventKind::ClockStep => "clock-step".to_owned(),
        EventKind::Configuration => "configuration".to_owned(),
        EventKind::Identity => "identity".to_owned(),
        EventKind::StoreAway => "store-away".to_owned(),
        EventKind::Other(number) => format!("other-{number}"),
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
