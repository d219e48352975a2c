//! What was tried, for people: what changes first, and only what says something.

use super::{Tried, name_of_point};
use crate::cli::record::ReplayArgs;
use crate::explain::privacy::Field;
use crate::explain::size;
use crate::find::value::show;
use crate::human;
use gateway_filter::Bound;
use gateway_recorder::Recording;
use gateway_replay::{PointRan, raised};
use protocols_model::{AlarmState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of one list; the rest is for `--json`.
const SHOWN: usize = 40;

pub(super) fn text(
    args: &ReplayArgs,
    recording: &Recording,
    before: Option<&Tried>,
    after: &Tried,
) -> String {
    let mut text = about(args, recording, after);
    text += "\n";
    text += &volume(before, after);
    text += &list(
        "filters and the largest error found",
        filters(before, after),
    );
    text += &list("alarms", alarms(before, after));
    text += &list("rules", rules(before, after));
    text += &list("what rules would have written", writes(after));
    let title = match before {
        None => "leaves the site",
        Some(_) => "changes in what leaves the site",
    };
    text + &list(title, leaves(before, after))
}

/// The recording, and what of it the configuration cannot use.
fn about(args: &ReplayArgs, recording: &Recording, after: &Tried) -> String {
    let used: BTreeSet<usize> = recording.readings.iter().map(|r| r.point).collect();
    let span = i64::try_from(after.ran.span.as_millis()).unwrap_or(i64::MAX);
    let begin = recording.span().map(|(begin, _)| time(begin));
    let mut text = format!(
        "{}: {} from {}, {} readings of {} points\n",
        args.data.display(),
        human::span(span),
        begin.unwrap_or_default(),
        recording.readings.len(),
        used.len()
    );
    if recording.missed > 0 {
        let missed = recording.missed;
        text += &format!("  {missed} readings were missed while it was recorded\n");
    }
    if !recording.torn.is_empty() {
        let torn = recording.torn.len();
        text += &format!(
            "  damaged or cut off: {torn} of its files; what stood behind that place is not in it\n"
        );
    }
    let name = &after.name;
    let all = |points: &[protocols_model::PointDescriptor]| {
        let names = points.iter().map(name_of_point);
        some(names.collect())
    };
    if !after.ran.missing.is_empty() {
        text += &format!("  not in {name}: {}\n", all(&after.ran.missing));
    }
    if !after.ran.retyped.is_empty() {
        let retyped = all(&after.ran.retyped);
        text += &format!("  of another type in {name}, and left out: {retyped}\n");
    }
    let unread = after.points.iter().zip(&after.ran.points);
    let unread = unread.filter(|(_, ran)| ran.taken == 0);
    let unread: Vec<String> = unread.map(|(name, _)| name.clone()).collect();
    if !unread.is_empty() {
        text += &format!("  without readings here: {}\n", some(unread));
    }
    text
}

fn volume(before: Option<&Tried>, after: &Tried) -> String {
    let row = |what: &str, of: fn(&Tried) -> f64, show: fn(f64) -> String| {
        let new = of(after);
        let Some(old) = before.map(of) else {
            return format!("{what:<16}{:>18}\n", show(new));
        };
        let (from, to, change) = (show(old), show(new), change(old, new));
        format!("{what:<16}{from:>18}{to:>18}  {change}\n")
    };
    let mut text = String::new();
    if let Some(before) = before {
        text += &format!("{:<16}{:>18}{:>18}\n", "", before.name, after.name);
    }
    text += &row("readings a day", |tried| tried.ran.readings_a_day(), count);
    text + &row("bytes a day", |tried| tried.ran.bytes_a_day(), size)
}

fn change(old: f64, new: f64) -> String {
    if old <= 0.0 || old.total_cmp(&new).is_eq() {
        return String::new();
    }
    format!("{:+.0} %", (new - old) / old * 100.0)
}

/// Points with a filter in either, those with the largest share of their bound first.
fn filters(before: Option<&Tried>, after: &Tried) -> Vec<String> {
    let old: BTreeMap<&str, &PointRan> = before.map_or_else(BTreeMap::new, |before| {
        let points = before.points.iter().map(String::as_str);
        points.zip(&before.ran.points).collect()
    });
    let works = |ran: &PointRan| ran.bound != Bound::Exact || ran.error.is_some_and(|e| e > 0.0);
    let mut found = Vec::new();
    for (name, new) in after.points.iter().zip(&after.ran.points) {
        let old = old.get(name.as_str()).copied();
        let differs = old
            .is_none_or(|old| (old.bound, old.error, old.sent) != (new.bound, new.error, new.sent));
        let said = works(new) || old.is_some_and(works);
        if !said || new.taken == 0 || !differs {
            continue;
        }
        let mut line = format!(
            "{name}: {}, {} of {} sent; {}",
            error(new.error),
            new.sent,
            new.taken,
            new.bound
        );
        if let Some(old) = old {
            line += &format!(" (was {}, {} sent)", error(old.error), old.sent);
        }
        found.push((new.error.unwrap_or(0.0), line));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, line)| line).collect()
}

fn error(error: Option<f64>) -> String {
    error.map_or_else(|| "no number".to_owned(), short)
}

fn alarms(before: Option<&Tried>, after: &Tried) -> Vec<String> {
    let new = raised(&after.ran);
    let old = before.map(|before| raised(&before.ran));
    let names: BTreeSet<&String> = new
        .keys()
        .chain(old.iter().flat_map(|o| o.keys()))
        .collect();
    let line = |name: &String| {
        let now = new.get(name).copied().unwrap_or(0);
        let was = old.as_ref().map(|old| old.get(name).copied().unwrap_or(0));
        let mut line = match (was, now) {
            (Some(was), 0) => format!("{name} vanishes: it was raised {}", times(was)),
            (Some(0), now) => format!("{name} appears: raised {}", times(now)),
            (Some(was), now) if was != now => {
                format!("{name}: raised {}, was {}", times(now), times(was))
            }
            (_, now) => format!("{name}: raised {}", times(now)),
        };
        let first = after
            .ran
            .alarms
            .iter()
            .find(|(_, change)| change.name == *name && change.state == AlarmState::Raised);
        if let Some((when, change)) = first {
            let when = time(*when);
            let (level, text) = (change.level.as_str(), &change.text);
            line += &format!(", first {when} ({level}: {text})");
        }
        line
    };
    names.into_iter().map(line).collect()
}

fn rules(before: Option<&Tried>, after: &Tried) -> Vec<String> {
    let old: Option<BTreeMap<&str, u64>> = before.map(|before| {
        let fired = before.ran.fired.iter();
        fired.map(|(name, times)| (name.as_str(), *times)).collect()
    });
    let mut lines = Vec::new();
    for (name, fired) in &after.ran.fired {
        let was = old.as_ref().and_then(|old| old.get(name.as_str()).copied());
        lines.push(match (&old, was) {
            (Some(_), None) => format!("{name} is new: fires {}", times(*fired)),
            (_, Some(was)) if was != *fired => {
                format!("{name}: fires {}, was {}", times(*fired), times(was))
            }
            _ => format!("{name}: fires {}", times(*fired)),
        });
    }
    for (name, was) in old.into_iter().flatten() {
        if !after.ran.fired.iter().any(|(other, _)| other == name) {
            lines.push(format!("{name} is gone: it fired {}", times(was)));
        }
    }
    lines
}

fn writes(after: &Tried) -> Vec<String> {
    let mut counts = BTreeMap::<(usize, String), u64>::new();
    for (_, point, value) in &after.ran.writes {
        let place = usize::try_from(point.0).unwrap_or(usize::MAX);
        *counts.entry((place, show(value))).or_default() += 1;
    }
    let line = |((place, value), count): ((usize, String), u64)| {
        let name = after.points.get(place).map_or("", String::as_str);
        format!("{name} = {value}, {}", times(count))
    };
    counts.into_iter().map(line).collect()
}

fn leaves(before: Option<&Tried>, after: &Tried) -> Vec<String> {
    let Some(before) = before else {
        let leaving = after.fields.iter().filter(|field| field.form.is_some());
        let mut lines: Vec<String> = leaving
            .filter(|field| field.form.as_ref().is_some_and(|form| !form.is_empty()))
            .map(|field| format!("{}: {}", field.point, form(field)))
            .collect();
        let stays = after.fields.iter().filter(|field| field.form.is_none());
        lines.extend(stays.map(|field| format!("{} stays here, with its name", field.point)));
        let plain = after
            .fields
            .iter()
            .filter(|field| field.form.as_ref().is_some_and(Vec::is_empty));
        lines.push(format!("{} points as they are", plain.count()));
        return lines;
    };
    let by_name = |tried: &'_ Tried| -> BTreeMap<String, Option<String>> {
        let fields = tried.fields.iter();
        fields
            .map(|field| {
                (
                    field.point.clone(),
                    field.form.as_ref().map(|_| form(field)),
                )
            })
            .collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |name: &String| {
        let was = old.get(name).cloned().flatten();
        let now = new.get(name).cloned().flatten();
        match (was, now) {
            (None, Some(now)) => Some(format!("{name} leaves: {now}")),
            (Some(_), None) if new.contains_key(name) => {
                Some(format!("{name} stays here, with its name"))
            }
            (Some(_), None) => Some(format!("{name} is gone")),
            (Some(was), Some(now)) if was != now => Some(format!("{name}: {now}, was {was}")),
            _ => None,
        }
    };
    names.into_iter().filter_map(line).collect()
}

fn form(field: &Field) -> String {
    match field.form.as_deref() {
        None | Some([]) => "as it is".to_owned(),
        Some(forms) => forms.join(", "),
    }
}

fn list(title: &str, lines: Vec<String>) -> String {
    let mut text = format!("\n{title}:\n");
    if lines.is_empty() {
        return text + "  none\n";
    }
    let more = lines.len().saturating_sub(SHOWN);
    for line in lines.into_iter().take(SHOWN) {
        text += &format!("  {line}\n");
    }
    if more > 0 {
        text += &format!("  and {more} more; --json tells all\n");
    }
    text
}

/// The first few names.
fn some(names: Vec<String>) -> String {
    const FEW: usize = 8;
    let more = names.len().saturating_sub(FEW);
    let shown: Vec<String> = names.into_iter().take(FEW).collect();
    match more {
        0 => shown.join(" "),
        more => format!("{} and {more} more", shown.join(" ")),
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn time(at: Timestamp) -> String {
    human::moment(at.as_millis())
}

/// A count with its thousands apart.
fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// An error in few digits.
fn short(error: f64) -> String {
    if error == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&error) {
        return format!("{error:.2e}");
    }
    let text = format!("{error:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(3_628_800.4), "3 628 800");
        assert_eq!(count(12.0), "12");
        assert_eq!(
            [short(0.0), short(0.19999), short(12.5)],
            ["0", "0.2", "12.5"]
        );
        assert_eq!(short(0.000_012), "1.20e-5");
        assert_eq!(change(100.0, 3.0), "-97 %");
        assert_eq!([times(0), times(1), times(2)], ["never", "once", "2 times"]);
    }
}
