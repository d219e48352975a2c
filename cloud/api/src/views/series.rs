//! Series, latest values, and a series over time by columns.

use super::{LedgerView, ms, number, quality_text, span_ms, value_text};
use cloud_store::{Bucket, Estimated, Gap, GapKind, Latest, Points, RawSample, Series};
use protocols_model::Value;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

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
    /// When it was last read and still said so, by the gateway's clock: it is as fresh as that. None while
    /// nothing confirmed it since it came.
    pub(crate) confirmed_ms: Option<i64>,
    /// When word of that came, by ours.
    pub(crate) confirmed_received_ms: Option<i64>,
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
            confirmed_ms: latest.confirmed.map(|confirmed| ms(confirmed.at)),
            confirmed_received_ms: latest.confirmed.map(|confirmed| ms(confirmed.received)),
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

/// A span whose readings come from a run of the gateway that never got a clock.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EstimatedView {
    /// The first reading, as placed between its neighbours.
    pub(crate) from_ms: i64,
    /// The last.
    pub(crate) to_ms: i64,
    /// All of them together may lie so much earlier or later.
    pub(crate) uncertainty_ms: u64,
}

impl From<&Estimated> for EstimatedView {
    fn from(span: &Estimated) -> Self {
        Self {
            from_ms: ms(span.from),
            to_ms: ms(span.to),
            uncertainty_ms: span_ms(span.uncertainty),
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
    /// Where times are estimated, because the gateway had no clock.
    pub(crate) estimated: Vec<EstimatedView>,
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
