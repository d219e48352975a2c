//! What was tried, for machines: everything, one object.

use super::{Tried, name_of_point};
use crate::find::value::to_json;
use gateway_filter::Bound;
use gateway_recorder::Recording;
use gateway_replay::compare;
use protocols_model::PointDescriptor;
use serde_json::{Value, json};

pub(super) fn json(recording: &Recording, before: Option<&Tried>, after: &Tried) -> Value {
    let span = recording.span();
    let difference = before.map(|before| compare(&before.ran, &after.ran));
    json!({
        "recording": {
            "from_ms": span.map(|(from, _)| from.as_millis()),
            "to_ms": span.map(|(_, to)| to.as_millis()),
            "readings": recording.readings.len(),
            "missed": recording.missed,
            "torn": recording.torn,
        },
        "tried": tried(after),
        "against": before.map(tried),
        "difference": difference.map(|difference| json!({
            "readings_a_day": difference.readings_a_day,
            "bytes_a_day": difference.bytes_a_day,
            "errors": difference.errors.iter().map(|(point, before, after)| json!({
                "point": point, "before": before, "after": after,
            })).collect::<Vec<_>>(),
            "alarms": counts(&difference.alarms),
            "rules": counts(&difference.rules),
            "leaves_now": difference.new_fields,
            "stays_now": difference.gone_fields,
        })),
    })
}

fn counts(all: &[(String, u64, u64)]) -> Vec<Value> {
    let all = all.iter();
    all.map(|(name, before, after)| json!({ "name": name, "before": before, "after": after }))
        .collect()
}

fn tried(tried: &Tried) -> Value {
    let ran = &tried.ran;
    let names =
        |points: &[PointDescriptor]| -> Vec<String> { points.iter().map(name_of_point).collect() };
    let points = tried.points.iter().zip(&ran.points).map(|(name, point)| {
        json!({
            "point": name,
            "taken": point.taken,
            "sent": point.sent,
            "bound": bound(point.bound),
            "bound_text": point.bound.to_string(),
            "error": point.error,
        })
    });
    let name_of = |key: protocols_model::PointKey| {
        let place = usize::try_from(key.0).ok();
        place.and_then(|place| tried.points.get(place))
    };
    json!({
        "configuration": tried.name,
        "readings_a_day": ran.readings_a_day(),
        "bytes_a_day": ran.bytes_a_day(),
        "points": points.collect::<Vec<_>>(),
        "alarms": ran.alarms.iter().map(|(when, change)| json!({
            "time_ms": when.as_millis(), "name": change.name, "level": change.level,
            "state": change.state, "text": change.text,
        })).collect::<Vec<_>>(),
        "rules": ran.fired.iter().map(|(name, fired)| json!({ "name": name, "fired": fired }))
            .collect::<Vec<_>>(),
        "told": ran.told.iter().map(|(when, rule, text)| json!({
            "time_ms": when.as_millis(), "rule": rule, "text": text,
        })).collect::<Vec<_>>(),
        "writes": ran.writes.iter().map(|(when, point, value)| json!({
            "time_ms": when.as_millis(), "point": name_of(*point), "value": to_json(value),
        })).collect::<Vec<_>>(),
        "leaves": tried.fields.iter().map(|field| json!({
            "point": field.point, "form": field.form,
        })).collect::<Vec<_>>(),
        "missing": names(&ran.missing),
        "retyped": names(&ran.retyped),
    })
}

/// How to reconstruct, and how far off that may be.
fn bound(bound: Bound) -> Value {
    match bound {
        Bound::Exact => json!({ "reconstruct": "exact" }),
        Bound::Hold { absolute, relative } => {
            json!({ "reconstruct": "hold", "absolute": absolute, "relative": relative })
        }
        Bound::Linear { absolute } => json!({ "reconstruct": "linear", "absolute": absolute }),
        Bound::Unstated => json!({ "reconstruct": "unstated" }),
    }
}
