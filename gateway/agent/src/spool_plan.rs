//! `spool plan`: how long a spool lasts without the cloud, from a configuration or from a few numbers.
//!
//! The arithmetic is the spool's own ([`gateway_spool::plan`]); here are its numbers found and shown. All
//! of it is an estimate; the bounds it speaks of hold in any case.

use crate::cli::plan::PlanArgs;
use crate::console::{colour_out, say, warn};
use crate::exit::Exit;
use crate::{explain, machine};
use gateway_config::units::{show_duration, show_size};
use gateway_config::{Options, Severity, load, render};
use gateway_spool::plan::{Plan, PlanAsk, plan};
use gateway_spool::{SpoolConfig, WhenFull};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 24.0 * HOUR_S;

pub(crate) fn run(args: &PlanArgs) -> anyhow::Result<Exit> {
    let mut spool = SpoolConfig::new(PathBuf::new());
    let (mut points, mut every_s) = (0.0, 1.0);
    if let Some(file) = &args.config {
        let options = Options {
            unknown_keys: Severity::Warning,
            overload: Severity::Warning,
            memory: machine::memory_limit(),
        };
        let loaded = load(file, options);
        let Some(config) = &loaded.config else {
            warn(render(&loaded.problems, colour_out()));
            return Ok(Exit::ConfigRefused);
        };
        let (count, readings_per_s) = explain::leaving(config);
        if count > 0.0 {
            (points, every_s) = (count, count / readings_per_s);
        } else if args.points.is_none() {
            anyhow::bail!("no point of the configuration is read and sent; say --points");
        }
        spool = config.spool.clone();
    }
    if let Some(count) = args.points {
        points = f64::from(count);
    }
    if let Some(every) = args.every {
        every_s = every.as_secs_f64();
    }
    spool.disk_quota_bytes = args.max.unwrap_or(spool.disk_quota_bytes);
    spool.max_write_per_day = args.max_write.or(spool.max_write_per_day);
    if let Err(problems) = spool.validate() {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::bail!("{}", problems.join("; "));
    }
    let ask = PlanAsk {
        points,
        every_s,
        bytes_a_reading: args.bytes,
    };
    let plan = plan(&spool, ask)?;
    if args.json {
        say(format_args!("{}\n", as_json(ask, &spool, &plan)));
    } else {
        say(as_text(ask, &spool, &plan));
    }
    Ok(Exit::Done)
}

fn as_text(ask: PlanAsk, spool: &SpoolConfig, plan: &Plan) -> String {
    let mut text = format!(
        "{} points, {} readings a second of about {} bytes: {} a day on disk\n",
        ask.points,
        digits(plan.readings_per_s),
        ask.bytes_a_reading,
        bytes(plan.bytes_per_day)
    );
    text += &format!(
        "{} of flash hold {} of records, readings are sure of {}; full it takes {} of memory\n\n",
        show_size(spool.disk_quota_bytes),
        whole(plan.live_bytes),
        whole(plan.telemetry_bytes),
        whole(plan.memory_bytes)
    );
    text += "an outage of            keeps\n";
    text += &row(plan.every_reading, "every reading");
    for step in &plan.thinned {
        let bucket = show_duration(step.bucket);
        text += &row(
            step.lasts,
            &format!("first, last, least and largest of each {bucket} or less"),
        );
    }
    text += match plan.full {
        WhenFull::Keep => "then what is new is refused",
        WhenFull::DropOldest | WhenFull::Thin => "then the oldest go",
    };
    text += "; the loss ledger tells what went\n\n";
    text += &format!(
        "flash written without the cloud: about {} a day, a commit each {}\n",
        bytes(plan.flash_per_day),
        show_duration(in_tenths(plan.commit_interval))
    );
    if let Some(limit) = spool.max_write_per_day {
        let limit = show_size(limit);
        text += &if !plan.within_max_write {
            format!(
                "max_write {limit}/day does not hold: commit_ceiling {} is too short for it\n",
                show_duration(spool.max_commit_interval)
            )
        } else if plan.commit_interval > spool.commit_interval {
            format!(
                "max_write {limit}/day holds: commit is stretched from {}, and so is what a crash takes along\n",
                show_duration(spool.commit_interval)
            )
        } else {
            format!("max_write {limit}/day holds as it is\n")
        };
    }
    text
}

fn row(lasts: Duration, what: &str) -> String {
    format!("{:<24}{what}\n", long(lasts))
}

fn as_json(ask: PlanAsk, spool: &SpoolConfig, plan: &Plan) -> serde_json::Value {
    let hours = |span: Duration| span.as_secs_f64() / HOUR_S;
    let thinned: Vec<_> = plan
        .thinned
        .iter()
        .map(|step| json!({ "bucket_s": step.bucket.as_secs(), "hours": hours(step.lasts) }))
        .collect();
    json!({
        "points": ask.points,
        "every_s": ask.every_s,
        "bytes_a_reading": ask.bytes_a_reading,
        "disk_bytes": spool.disk_quota_bytes,
        "live_bytes": plan.live_bytes,
        "telemetry_bytes": plan.telemetry_bytes,
        "memory_bytes": plan.memory_bytes,
        "readings_per_s": plan.readings_per_s,
        "bytes_per_day": plan.bytes_per_day,
        "when_full": plan.full.as_str(),
        "every_reading_hours": hours(plan.every_reading),
        "thinned": thinned,
        "flash_bytes_per_day": plan.flash_per_day,
        "commit_interval_s": plan.commit_interval.as_secs_f64(),
        "max_write_per_day": spool.max_write_per_day,
        "within_max_write": plan.within_max_write,
    })
}

/// A span for people: 9.6 hours, 31 days.
fn long(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 2.0 * DAY_S {
        format!("{} hours", digits(seconds / HOUR_S))
    } else if seconds < 2.0 * 365.0 * DAY_S {
        format!("{} days", digits(seconds / DAY_S))
    } else {
        format!("{} years", digits(seconds / (365.0 * DAY_S)))
    }
}

/// Two digits are what an estimate is good for.
fn digits(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

fn bytes(number: f64) -> String {
    explain::size(number)
}

fn whole(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown in two digits")]
    let number = number as f64;
    explain::size(number)
}

fn in_tenths(span: Duration) -> Duration {
    let tenth = Duration::from_millis(100);
    let tenths = span.as_millis().div_ceil(tenth.as_millis());
    tenth * u32::try_from(tenths).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(change: impl Fn(&mut SpoolConfig)) -> String {
        let mut spool = SpoolConfig::new(PathBuf::new());
        change(&mut spool);
        let ask = PlanAsk {
            points: 500.0,
            every_s: 1.0,
            bytes_a_reading: 1.0,
        };
        as_text(ask, &spool, &plan(&spool, ask).unwrap())
    }

    #[test]
    fn a_plan_names_hours_steps_and_what_happens_in_the_end() {
        let text = shown(|_| ());
        for part in [
            "500 points, 500 readings a second",
            "64MiB of flash",
            "every reading",
            "hours",
            "largest of each 1m or less",
            "days",
            "the oldest go",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("max_write"), "{text}");
    }

    #[test]
    fn a_bound_on_writing_says_whether_it_holds_and_at_what_price() {
        let limited = |bytes| shown(move |spool| spool.max_write_per_day = Some(bytes));
        assert!(limited(10 << 30).contains("holds as it is"));
        let stretched = limited(300 << 20);
        assert!(stretched.contains("stretched from 2s"), "{stretched}");
        let never = limited(1 << 20);
        assert!(never.contains("does not hold"), "{never}");
    }

    #[test]
    fn spans_are_shown_in_the_unit_people_use() {
        assert_eq!(long(Duration::from_secs(9 * 3600 + 2160)), "9.6 hours");
        assert_eq!(long(Duration::from_secs(31 * 86_400)), "31 days");
        assert_eq!(long(Duration::from_secs(3 * 365 * 86_400)), "3.0 years");
    }
}
