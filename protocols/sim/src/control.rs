//! Words that change a running simulator: `meter1 silent 10s`, `meter1 set u_l1 231.4`, `bus0 unplug 5s`.
//! Pure: text in, [`Command`] out.

use crate::fault::{Fault, FaultError, KINDS};
use crate::script::Value;
use crate::span::Time;
use std::fmt::Write as _;
use std::time::Duration;

/// How long something stays unplugged when nobody says.
const UNPLUGGED: Duration = Duration::from_secs(5);
/// Longest line of words.
const LONGEST: usize = 256;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Tell what can be said.
    Help,
    /// Tell what is served and which faults are at work.
    List,
    /// End.
    Quit,
    /// Something about a device or bus.
    About(String, Action),
}

/// What is to be done to a device or bus.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A fault begins.
    Fault(Fault),
    /// All faults end.
    Ok,
    /// A bus or serial device is pulled out for a time.
    Unplug(Duration),
    /// A point is held at a value, or follows its script again.
    Set(String, Option<Value>),
}

/// Words that mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Too much.
    #[error("longer than {LONGEST} characters")]
    TooLong,
    /// A name without anything to do.
    #[error("what is {0:?} to do? say \"{0} silent 10s\", \"{0} ok\", or \"help\"")]
    Nothing(String),
    /// A fault that cannot be read.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// A time that cannot be read.
    #[error("unplug {0:?} is not understood; say \"unplug 5s\"")]
    Unplug(String),
    /// A value that is missing.
    #[error("say \"set <point> <value>\", or \"set <point> script\" to follow the script again")]
    Set,
}

impl Command {
    /// Reads one line; `None` for an empty one or a comment.
    ///
    /// # Errors
    /// What is not understood and what is.
    pub fn parse(line: &str) -> Result<Option<Self>, CommandError> {
        let line = line.trim();
        if line.len() > LONGEST {
            return Err(CommandError::TooLong);
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let command = match first {
            "help" | "?" => Self::Help,
            "list" | "status" => Self::List,
            "quit" | "exit" => Self::Quit,
            name => Self::About(name.to_owned(), Action::parse(name, rest)?),
        };
        Ok(Some(command))
    }
}

impl Action {
    fn parse(name: &str, text: &str) -> Result<Self, CommandError> {
        let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        Ok(match verb {
            "" => return Err(CommandError::Nothing(name.to_owned())),
            "ok" | "heal" => Self::Ok,
            "unplug" if rest.is_empty() => Self::Unplug(UNPLUGGED),
            "unplug" => {
                let time = rest.trim_start_matches("for ").parse::<Time>();
                Self::Unplug(time.map_err(|_| CommandError::Unplug(rest.to_owned()))?.0)
            }
            "set" => {
                let (point, value) = rest
                    .split_once(char::is_whitespace)
                    .ok_or(CommandError::Set)?;
                let value = value.trim();
                let value = (value != "script").then(|| number_or_text(value));
                Self::Set(point.to_owned(), value)
            }
            _ => Self::Fault(text.parse()?),
        })
    }
}

fn number_or_text(text: &str) -> Value {
    if let Ok(int) = text.parse() {
        return Value::Int(int);
    }
    match text {
        "true" | "on" => Value::Int(1),
        "false" | "off" => Value::Int(0),
        _ => text
            .parse()
            .ok()
            .filter(|float: &f64| float.is_finite())
            .map_or_else(|| Value::Text(text.to_owned()), Value::Float),
    }
}

/// What can be said, for people.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "<name> is a device, a serial device or a whole bus; <time> is 500ms, 10s, 2m\n  \
         <name> <fault> [<time>] [every <time>] [<share>%]\n",
    );
    for (name, argument, does) in KINDS {
        let words = format!("{name} {argument}");
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "      {words:<20} {does}");
    }
    text + "  <name> unplug [<time>]       the adapter or the network is gone, and comes back\n  \
            <name> ok                    all its faults end\n  \
            <name> set <point> <value>   hold a point at a value; \"set <point> script\" lets it go\n  \
            list                         what is served, and the faults at work\n  \
            help, quit\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        Command::parse(line).unwrap().unwrap()
    }

    fn about(line: &str) -> Action {
        match parse(line) {
            Command::About(name, action) if name == "meter1" => action,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_become_what_is_to_be_done() {
        assert_eq!(parse(" help "), Command::Help);
        assert_eq!(parse("list"), Command::List);
        assert_eq!(parse("quit"), Command::Quit);
        assert_eq!(Command::parse("  # nothing"), Ok(None));
        assert_eq!(
            about("meter1 silent 10s"),
            Action::Fault("silent 10s".parse().unwrap())
        );
        assert_eq!(about("meter1 ok"), Action::Ok);
        assert_eq!(about("meter1 unplug"), Action::Unplug(UNPLUGGED));
        assert_eq!(
            about("meter1 unplug 2s"),
            Action::Unplug(Duration::from_secs(2))
        );
        let set = |value| Action::Set("u".to_owned(), value);
        assert_eq!(about("meter1 set u 5"), set(Some(Value::Int(5))));
        assert_eq!(about("meter1 set u 5.5"), set(Some(Value::Float(5.5))));
        assert_eq!(about("meter1 set u on"), set(Some(Value::Int(1))));
        assert_eq!(
            about("meter1 set u a b"),
            set(Some(Value::Text("a b".into())))
        );
        assert_eq!(about("meter1 set u script"), set(None));
    }

    #[test]
    fn what_is_not_understood_is_answered_with_what_is() {
        for (line, part) in [
            ("meter1", "silent 10s"),
            ("meter1 slient", "silent"),
            ("meter1 unplug soon", "unplug 5s"),
            ("meter1 set u", "set <point> <value>"),
            (&"x".repeat(300), "longer"),
        ] {
            let error = Command::parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        for (name, ..) in KINDS {
            assert!(help().contains(name));
        }
    }
}
