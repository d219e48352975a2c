//! What the API answers: flat, documented JSON. Times are milliseconds since 1970 UTC.
//!
//! Integers never lose digits: a value comes as exact `text` and, for charts, as `number`.

mod alarms;
mod gateway;
mod records;
mod series;

pub(crate) use alarms::{
    AlarmCountsView, AlarmView, CountsView, EventAlarmView, GatewayTrafficView, TrafficView,
};
pub(crate) use gateway::{DeviceView, GatewayView};
pub(crate) use records::{EventView, LedgerView, QuarantineView, RefusalView, StatsView};
pub(crate) use series::{DataView, EstimatedView, GapView, LatestView, SeriesView};

use protocols_model::{Quality, Timestamp, Value};
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
