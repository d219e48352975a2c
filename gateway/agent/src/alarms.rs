//! `alarms`: what rules have raised, and what people say to it: through the gateway that runs.
//!
//! Where none runs, what the last one kept is shown; it cannot be changed then.

use crate::alarm_file;
use crate::cli::alarms::{AlarmCommand, AlarmsArgs};
use crate::console::say;
use crate::control::{self, AlarmsNow, What};
use crate::exit::Exit;
use crate::human;
use crate::{last_good, lock, machine};
use anyhow::bail;
use gateway_config::units::show_duration;
use gateway_config::{Options, Severity, load};
use protocols_model::AlarmState;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn run(args: &AlarmsArgs) -> anyhow::Result<Exit> {
    let state_dir = state_dir(&args.config);
    let what = match &args.command {
        None | Some(AlarmCommand::List) => What::List,
        Some(AlarmCommand::Ack(ack)) => What::Ack {
            name: ack.name.clone(),
            by: ack.by.clone().unwrap_or_else(whoami),
        },
        Some(AlarmCommand::Shelve(shelve)) => What::Shelve {
            name: shelve.name.clone(),
            seconds: shelve.span.as_secs().max(1),
        },
        Some(AlarmCommand::Unshelve(unshelve)) => What::Shelve {
            name: unshelve.name.clone(),
            seconds: 0,
        },
    };
    let running = lock::owner(&state_dir).is_some();
    if !running {
        if !matches!(what, What::List) {
            bail!(
                "no gateway runs on {}: alarms are acknowledged and shelved by the one that raised them",
                state_dir.display()
            );
        }
        return kept(args, &state_dir);
    }
    let now = control::alarms(&state_dir, what)?;
    if args.json {
        say(format_args!("{}\n", serde_json::to_string(&now)?));
    } else if now.error.is_none() {
        say(show(&now));
    }
    match now.error {
        Some(error) => bail!("{error}"),
        None => Ok(Exit::Done),
    }
}

/// Where the gateway that is meant keeps its state, also when its configuration has errors.
pub(crate) fn state_dir(config: &Path) -> PathBuf {
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(config, options);
    let mut places = last_good::places(config, &loaded.state_dir).into_iter();
    places
        .find(|place| lock::owner(place).is_some())
        .unwrap_or(loaded.state_dir)
}

/// What the last run kept.
fn kept(args: &AlarmsArgs, state_dir: &Path) -> anyhow::Result<Exit> {
    let kept = alarm_file::read(state_dir);
    if args.json {
        let report = serde_json::json!({ "running": false, "kept": kept });
        say(format_args!("{report}\n"));
        return Ok(Exit::Done);
    }
    let mut text = "no gateway runs; these alarms stood when the last one ended:\n".to_owned();
    for (name, alarm) in &kept {
        text += &line(
            alarm.level.as_str(),
            word(alarm.state),
            name,
            &alarm.text,
            "",
        );
    }
    if kept.is_empty() {
        text += "  none\n";
    }
    say(text);
    Ok(Exit::Done)
}

fn show(now: &AlarmsNow) -> String {
    let mut text = String::new();
    for alarm in &now.alarms {
        let mut about = String::new();
        if let Some(since) = alarm.since.map(human::moment) {
            about += &format!(" since {since}");
        }
        if let Some(by) = alarm
            .by
            .as_ref()
            .filter(|_| alarm.state == AlarmState::Acknowledged)
        {
            about += &format!(", by {by}");
        }
        if let Some(left) = alarm.shelved_s {
            let left = show_duration(Duration::from_secs(left));
            about += &format!(", shelved for another {left}");
        }
        let (level, state) = (alarm.level.as_str(), word(alarm.state));
        text += &line(level, state, &alarm.name, &alarm.text, &about);
    }
    if now.alarms.is_empty() {
        text += "no rule has an alarm\n";
    }
    for rule in &now.rules {
        let holds = if rule.on { "fired" } else { "idle" };
        text += &format!("rule {}: {holds}\n", rule.name);
    }
    text
}

fn line(level: &str, state: &str, name: &str, text: &str, about: &str) -> String {
    format!("{state:<12} {level:<8} {name}: {text}{about}\n")
}

pub(crate) const fn word(state: AlarmState) -> &'static str {
    match state {
        AlarmState::Normal => "normal",
        AlarmState::Raised => "RAISED",
        AlarmState::Acknowledged => "acknowledged",
        AlarmState::Returned => "returned",
    }
}

/// The person at the machine, as far as it knows.
pub(crate) fn whoami() -> String {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
}
