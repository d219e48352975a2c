//! `spool export`: every record as one line of JSON, oldest first, readings with their names.
//!
//! For people and scripts that rescue data by hand. Integers stay integers; bytes are hexadecimal; what
//! cannot be decoded is exported as hexadecimal too, so that nothing is left behind.

use super::{OfflineError, Store};
use crate::store::Tree;
use crate::value;
use protocols_model::{Claim, DictionaryHash, Lane, PointDescriptor, Value};
use protocols_wire::{Body, Dictionary, Event, Record, Telemetry};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

type Dictionaries = BTreeMap<DictionaryHash, Dictionary>;
type Json = serde_json::Value;

/// Writes every record of the spool in `dir` to `out`, one line of JSON each; returns how many.
///
/// # Errors
/// [`OfflineError`] where there is no spool, a gateway runs on it, the store cannot be read, or the
/// output cannot be written.
pub fn export(dir: &Path, out: &mut dyn Write) -> Result<u64, OfflineError> {
    let store = Store::open(dir)?;
    let dictionaries = store.dictionaries()?;
    let mut count = 0;
    let mut failed = None;
    for lane in Lane::ALL {
        store.scan(Tree::Lane(lane), &mut |key, bytes| {
            if failed.is_some() {
                return;
            }
            let line = line(lane, key, bytes, &dictionaries);
            match writeln!(out, "{line}") {
                Ok(()) => count += 1,
                Err(error) => failed = Some(error),
            }
        })?;
    }
    match failed {
        Some(error) => Err(OfflineError::Output(error)),
        None => out.flush().map(|()| count).map_err(OfflineError::Output),
    }
}

fn line(lane: Lane, key: &[u8], bytes: &[u8], dictionaries: &Dictionaries) -> Json {
    let mut line = Map::new();
    let mut put = |name: &str, value: Json| drop(line.insert(name.to_owned(), value));
    match value::parse_key(key) {
        Some((age, seq)) => {
            put("epoch", json!(age.epoch.to_string()));
            put("lane", json!(lane.as_str()));
            put("seq", json!(seq));
        }
        None => put("key", json!(hex(key))),
    }
    let Some(value) = value::decode(lane, key, bytes) else {
        put("kind", json!("damaged"));
        put("stored", json!(hex(bytes)));
        return Json::Object(line);
    };
    let (kind, content) = match Record::decode(&value.body) {
        Ok(record) => {
            put("boot", json!(record.stamp.boot.to_string()));
            put("sealed_ms", json!(record.stamp.wall.as_millis()));
            content(record.body, dictionaries)
        }
        Err(_) => ("unknown", json!(hex(&value.body))),
    };
    put("kind", json!(kind));
    put(kind, content);
    Json::Object(line)
}

fn content(body: Body, dictionaries: &Dictionaries) -> (&'static str, Json) {
    match body {
        Body::Telemetry(telemetry) => ("readings", readings(telemetry, dictionaries)),
        Body::Claims(claims) => ("claims", claims.iter().map(claim).collect()),
        Body::Event(event) => ("event", self::event(&event)),
        Body::TimeMap(map) => {
            let (boot, origin) = (map.boot.to_string(), map.origin.0);
            let uncertainty = map.uncertainty_ns;
            let map = json!({ "boot": boot, "origin_ns": origin, "uncertainty_ns": uncertainty });
            ("time_map", map)
        }
    }
}

fn readings(telemetry: Telemetry, dictionaries: &Dictionaries) -> Json {
    let mut lines = Vec::new();
    for column in telemetry.columns {
        let place = usize::try_from(column.dictionary).unwrap_or(usize::MAX);
        let hash = telemetry.dictionaries.get(place);
        let point = hash.and_then(|hash| point(dictionaries, *hash, column.index));
        let mut named = Map::new();
        if let Some(point) = point {
            named.insert("device".to_owned(), json!(point.device.as_str()));
            named.insert("point".to_owned(), json!(point.point.as_str()));
            named.insert("unit".to_owned(), json!(point.unit));
        } else {
            named.insert(
                "dictionary".to_owned(),
                json!(hash.map(ToString::to_string)),
            );
            named.insert("index".to_owned(), json!(column.index));
        }
        if column.filtered > 0 {
            let mut filtered = named.clone();
            filtered.insert("filtered".to_owned(), json!(column.filtered));
            lines.push(Json::Object(filtered));
        }
        for sample in column.samples {
            let mut reading = named.clone();
            reading.insert("time_ms".to_owned(), json!(sample.time.as_millis()));
            reading.insert("quality".to_owned(), json!(sample.quality.as_str()));
            let value = sample.value.as_ref().map_or(Json::Null, value_json);
            reading.insert("value".to_owned(), value);
            lines.push(Json::Object(reading));
        }
    }
    Json::Array(lines)
}

fn point(
    dictionaries: &Dictionaries,
    hash: DictionaryHash,
    index: u32,
) -> Option<&PointDescriptor> {
    let entries = dictionaries.get(&hash)?.entries();
    entries.get(usize::try_from(index).ok()?)
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U64(value) => json!(value),
        // JSON has no NaN and no infinity: as text they are not mistaken for "no value".
        Value::F64(value) if value.is_finite() => json!(value),
        Value::F64(value) => json!(value.to_string()),
        Value::Text(text) => json!(**text),
        Value::Bytes(bytes) => json!(hex(bytes)),
    }
}

fn claim(claim: &Claim) -> Json {
    json!({
        "epoch": claim.epoch.to_string(),
        "lane": claim.lane.as_str(),
        "first": claim.range.first(),
        "last": claim.range.last(),
        "reason": claim.reason.as_str(),
        "from_ms": claim.from.as_millis(),
        "to_ms": claim.to.as_millis(),
        "readings": claim.readings,
        "at_most": claim.at_most,
    })
}

fn event(event: &Event) -> Json {
    json!({
        "time_ms": event.time.as_millis(),
        "what": format!("{:?}", event.kind),
        "subject": event.subject,
        "text": event.text,
    })
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        if write!(text, "{byte:02x}").is_err() {
            break;
        }
    }
    text
}
