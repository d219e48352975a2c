//! A recording as a site: every point that was read, with its values at their times, again and again.
//!
//! Whatever the devices were, they are played as Modbus devices behind one port: names, types and values are
//! the recorded ones, registers are new. Between readings the last value holds, also through readings
//! without one: what was wrong with the plant is for words to repeat ("meter1 silent 10s").

use anyhow::{Context as _, ensure};
use gateway_recorder::Recording;
use protocols_model::{PointDescriptor, Timestamp, Value, ValueType};
use protocols_sim::span::Time;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// Unit ids of a bus.
const DEVICES: u8 = 247;
/// Registers of a number: all of them travel in full width.
const WIDE: u16 = 4;
/// Registers of the longest text.
const LONGEST: u16 = 125;

/// A point over the time of the recording: where its value changed.
struct Course<'a> {
    point: &'a PointDescriptor,
    at: Vec<f64>,
    values: Vec<&'a Value>,
}

/// The site file of a recording.
///
/// # Errors
/// Where there is nothing to play, or more than one port has room for.
pub(super) fn site(recording: &Recording, listen: SocketAddr) -> anyhow::Result<String> {
    let (begin, end) = recording.span().context("it holds no readings")?;
    // The last readings show for a moment, too.
    let over = Time(Duration::from_secs(end.since(begin).as_secs() + 2));
    let mut text = format!("[bus.plant]\nkind = \"modbus-tcp\"\nlisten = \"{listen}\"\n");
    let mut devices = BTreeMap::<_, Vec<_>>::new();
    for course in courses(recording, begin) {
        devices
            .entry(&course.point.device)
            .or_default()
            .push(course);
    }
    ensure!(!devices.is_empty(), "it holds no values that can be played");
    ensure!(
        devices.len() <= usize::from(DEVICES),
        "it has more than {DEVICES} devices; record fewer"
    );
    for (unit, (device, mut courses)) in (1u8..).zip(devices) {
        courses.sort_by(|a, b| a.point.point.cmp(&b.point.point));
        add(
            &mut text,
            format_args!("\n[device.{device}]\nbus = \"plant\"\nunit = {unit}\npoints = [\n"),
        );
        let (mut register, mut input) = (0u16, 0u16);
        for course in &courses {
            let full = || format!("device {device} has more points than a device has registers");
            let (at, taken) = match course.point.value_type {
                ValueType::Bool => (format!("at = \"di:{input}\""), &mut input),
                of => (registers(of, course, register), &mut register),
            };
            add(
                &mut text,
                format_args!("  {{ id = \"{}\", {at}", course.point.point),
            );
            *taken = taken.checked_add(width(course)).with_context(full)?;
            if !course.point.unit.is_empty() {
                let unit = toml::Value::String(course.point.unit.clone());
                add(&mut text, format_args!(", unit = {unit}"));
            }
            let values: Vec<String> = course.values.iter().map(|value| written(value)).collect();
            let times: Vec<String> = course.at.iter().map(|at| format!("{at:?}")).collect();
            add(
                &mut text,
                format_args!(
                    ", value = {{ course = {{ at = [{}], values = [{}], over = \"{over}\" }} }} }},\n",
                    times.join(", "),
                    values.join(", ")
                ),
            );
        }
        text.push_str("]\n");
    }
    Ok(text)
}

fn add(text: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = text.write_fmt(part);
}

/// The points that have values which registers can hold.
fn courses(recording: &Recording, begin: Timestamp) -> Vec<Course<'_>> {
    let of = |point| Course {
        point,
        at: Vec::new(),
        values: Vec::new(),
    };
    let mut courses: Vec<Course<'_>> = recording.points.iter().map(of).collect();
    for reading in &recording.readings {
        let Some(course) = courses.get_mut(reading.point) else {
            continue;
        };
        let Some(value) = reading.sample.value.as_ref().filter(|value| plays(value)) else {
            continue;
        };
        if course.values.last() == Some(&value) {
            continue;
        }
        // The first value shows from the begin on.
        let at = match course.at.last() {
            None => 0.0,
            Some(_) => reading.sample.time.since(begin).as_secs_f64(),
        };
        // Two values of one moment: the later one counts.
        if course.at.last() == Some(&at) {
            course.at.pop();
            course.values.pop();
        }
        course.at.push(at);
        course.values.push(value);
    }
    courses.retain(|course| !course.at.is_empty());
    courses
}

fn plays(value: &Value) -> bool {
    match value {
        Value::Bytes(_) => false,
        Value::F64(number) => number.is_finite(),
        // A script counts in signed numbers.
        Value::U64(number) => i64::try_from(*number).is_ok(),
        Value::Bool(_) | Value::I64(_) | Value::Text(_) => true,
    }
}

fn registers(of: ValueType, course: &Course<'_>, register: u16) -> String {
    let at = format!("at = \"ir:{register}\"");
    match of {
        ValueType::F64 => format!("{at}, as = \"f64\""),
        ValueType::U64 => format!("{at}, as = \"u64\""),
        ValueType::Text => format!("{at}, as = \"string\", len = {}", width(course)),
        ValueType::I64 | ValueType::Bool | ValueType::Bytes => format!("{at}, as = \"i64\""),
    }
}

/// Registers, or inputs, that a point takes.
fn width(course: &Course<'_>) -> u16 {
    match course.point.value_type {
        ValueType::Bool => 1,
        ValueType::Text => {
            let bytes = course.values.iter().map(|value| match value {
                Value::Text(text) => text.len(),
                _ => 0,
            });
            let most = bytes.max().unwrap_or(0).div_ceil(2);
            u16::try_from(most).unwrap_or(LONGEST).clamp(1, LONGEST)
        }
        _ => WIDE,
    }
}

/// A value as the site file says it.
fn written(value: &Value) -> String {
    match value {
        Value::Bool(on) => u8::from(*on).to_string(),
        Value::I64(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F64(number) => format!("{number:?}"),
        Value::Text(text) => toml::Value::String(text.as_ref().to_owned()).to_string(),
        Value::Bytes(_) => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_recorder::Recorded;
    use protocols_model::{DeviceId, PointId, Quality, Reason};
    use protocols_sim::Site;
    use protocols_wire::Sample;
    use std::path::Path;

    #[test]
    fn what_was_recorded_can_be_served_and_bad_readings_hold_the_last_value() {
        let point = |device: &str, name: &str, value_type, unit: &str| PointDescriptor {
            device: DeviceId::try_new(device).unwrap(),
            point: PointId::try_new(name).unwrap(),
            value_type,
            unit: unit.to_owned(),
            scale: 1.0,
        };
        let begin = Timestamp::from_millis(1_700_000_000_000);
        let at = |point, second, value: Option<Value>| Recorded {
            point,
            sample: Sample {
                time: begin.plus(Duration::from_secs(second)),
                quality: value
                    .as_ref()
                    .map_or(Quality::Bad(Reason::Timeout), |_| Quality::Good),
                value,
            },
        };
        let recording = Recording {
            points: vec![
                point("pump", "run", ValueType::Bool, ""),
                point("cellar", "temperature", ValueType::F64, "°C"),
                point("cellar", "state", ValueType::Text, ""),
                point("cellar", "raw", ValueType::Bytes, ""),
                point("cellar", "never", ValueType::I64, ""),
            ],
            readings: vec![
                at(0, 1, Some(Value::Bool(true))),
                at(1, 1, Some(Value::F64(20.5))),
                at(1, 2, Some(Value::F64(20.5))),
                at(1, 3, None),
                at(1, 4, Some(Value::F64(1e-7))),
                at(2, 4, Some(Value::Text("a \"b\"".into()))),
                at(3, 5, Some(Value::Bytes([1, 2].into()))),
            ],
            ..Recording::default()
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let text = site(&recording, listen).unwrap();
        assert!(
            text.contains("at = [0.0, 3.0], values = [20.5, 1e-7]"),
            "{text}"
        );
        let site = Site::parse(&text).unwrap();
        let plan = site.build(Path::new(".")).unwrap();
        assert_eq!(plan.buses.len(), 1);
        assert_eq!(site.device.len(), 2);
        assert_eq!(site.device["cellar"].points.len(), 2);
        let nothing = Recording::default();
        assert!(super::site(&nothing, listen).is_err());
    }
}
