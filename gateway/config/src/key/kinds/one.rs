//! Kinds of values that are one: texts, words, numbers with their units, flags.

use super::{Form, Kind, Shape, as_number};
use crate::problem::Problem;
use crate::units;
use crate::walk::Spot;
use std::time::Duration;
use toml::de::DeValue;

/// A text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text(pub(crate) &'static str);

/// A text that `parse` understands; its error is shown with what is allowed.
#[derive(Debug)]
pub(crate) struct Parsed<T: 'static> {
    pub(crate) allowed: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, String>,
}

// Derived ones would ask the same of `T`.
impl<T> Copy for Parsed<T> {}
impl<T> Clone for Parsed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

/// One of a list of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<T: 'static>(pub(crate) &'static [(&'static str, T)]);

/// A duration within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durations(pub(crate) Duration, pub(crate) Duration);

/// A size in bytes within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes(pub(crate) u64, pub(crate) u64);

/// A whole number within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole(pub(crate) i64, pub(crate) i64);

impl Whole {
    /// Bounds that a driver gives as sizes.
    #[expect(
        clippy::cast_possible_wrap,
        reason = "bounds of tables and frames are far below 2^63"
    )]
    pub(crate) const fn sizes(min: usize, max: usize) -> Self {
        Self(min as i64, max as i64)
    }
}

/// A number within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) allowed: &'static str,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Any finite number.
pub(crate) const ANY_NUMBER: Number = Number {
    allowed: "a number",
    min: f64::MIN,
    max: f64::MAX,
};

/// True or false.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag;

/// `true`, `false` or one word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlagOr(pub(crate) &'static str);

/// A value of [`FlagOr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    No,
    Yes,
    Word,
}

impl Shape for Text {
    type Default = &'static str;

    fn form(&self) -> Form {
        Form::Text { allowed: self.0 }
    }

    fn show_default(&self, default: &'static str) -> String {
        format!("{default:?}")
    }

    fn allowed(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind for Text {
    type Value = String;

    fn read(&self, spot: &Spot<'_>) -> Option<String> {
        spot.text(self.0).map(str::to_owned)
    }

    fn default_value(&self, default: &'static str) -> String {
        default.to_owned()
    }
}

impl<T> Shape for Parsed<T> {
    type Default = &'static str;

    fn form(&self) -> Form {
        Form::Text {
            allowed: self.allowed,
        }
    }

    fn show_default(&self, default: &'static str) -> String {
        format!("{default:?}")
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

impl<T> Kind for Parsed<T> {
    type Value = T;

    fn read(&self, spot: &Spot<'_>) -> Option<T> {
        let text = spot.text(self.allowed)?;
        (self.parse)(text)
            .map_err(|error| spot.misread(text, &error, self.allowed))
            .ok()
    }

    fn default_value(&self, default: &'static str) -> T {
        (self.parse)(default).unwrap_or_else(|_| {
            unreachable!("invariant: a declared default reads back, as a test proves")
        })
    }
}

impl<T: Copy> Shape for Words<T> {
    type Default = &'static str;

    fn form(&self) -> Form {
        Form::Words(self.0.iter().map(|(name, _)| *name).collect())
    }

    fn show_default(&self, default: &'static str) -> String {
        format!("{default:?}")
    }

    fn allowed(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

impl<T: Copy> Kind for Words<T> {
    type Value = T;

    fn read(&self, spot: &Spot<'_>) -> Option<T> {
        let found = spot.text(&self.allowed())?;
        if let Some((_, value)) = self.0.iter().find(|(name, _)| *name == found) {
            return Some(*value);
        }
        let message = format!("unknown {} {found:?}", spot.name);
        let names = self.0.iter().map(|(name, _)| *name);
        spot.push(Problem::error(&spot.place, message, self.allowed()).suggest(found, names));
        None
    }

    fn default_value(&self, default: &'static str) -> T {
        let found = self.0.iter().find(|(name, _)| *name == default);
        found
            .map(|(_, value)| *value)
            .expect("invariant: a declared default is one of the words")
    }
}

impl Shape for Durations {
    type Default = Duration;

    fn form(&self) -> Form {
        Form::Duration(self.0, self.1)
    }

    fn show_default(&self, default: Duration) -> String {
        format!("{:?}", units::show_duration(default))
    }

    fn allowed(&self) -> String {
        format!(
            "{}..{}, {}",
            units::show_duration(self.0),
            units::show_duration(self.1),
            units::DURATION_FORM
        )
    }
}

impl Kind for Durations {
    type Value = Duration;

    fn read(&self, spot: &Spot<'_>) -> Option<Duration> {
        let allowed = self.allowed();
        let text = spot.text(&allowed)?;
        let Some(found) = units::parse_duration(text) else {
            spot.misread(text, "not a duration", &allowed);
            return None;
        };
        spot.within(found, self.0, self.1, &allowed, |v| {
            units::show_duration(*v)
        })
    }

    fn default_value(&self, default: Duration) -> Duration {
        default
    }
}

impl Shape for Sizes {
    type Default = u64;

    fn form(&self) -> Form {
        Form::Size(self.0, self.1)
    }

    fn show_default(&self, default: u64) -> String {
        format!("{:?}", units::show_size(default))
    }

    fn allowed(&self) -> String {
        format!(
            "{}..{}, {}",
            units::show_size(self.0),
            units::show_size(self.1),
            units::SIZE_FORM
        )
    }
}

impl Kind for Sizes {
    type Value = u64;

    fn read(&self, spot: &Spot<'_>) -> Option<u64> {
        let allowed = self.allowed();
        let text = spot.text(&allowed)?;
        let Some(found) = units::parse_size(text) else {
            spot.misread(text, "not a size", &allowed);
            return None;
        };
        spot.within(found, self.0, self.1, &allowed, |v| units::show_size(*v))
    }

    fn default_value(&self, default: u64) -> u64 {
        default
    }
}

impl Shape for Whole {
    type Default = i64;

    fn form(&self) -> Form {
        Form::Whole(self.0, self.1)
    }

    fn show_default(&self, default: i64) -> String {
        default.to_string()
    }

    fn allowed(&self) -> String {
        format!("a whole number, {}..{}", self.0, self.1)
    }
}

impl Kind for Whole {
    type Value = i64;

    fn read(&self, spot: &Spot<'_>) -> Option<i64> {
        let allowed = self.allowed();
        let number = match spot.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) if spot.all_text => text.trim().parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            spot.wrong(&allowed);
            return None;
        };
        spot.within(number, self.0, self.1, &allowed, i64::to_string)
    }

    fn default_value(&self, default: i64) -> i64 {
        default
    }
}

impl Shape for Number {
    type Default = f64;

    fn form(&self) -> Form {
        Form::Number {
            allowed: self.allowed,
            bounds: (self.min, self.max),
        }
    }

    fn show_default(&self, default: f64) -> String {
        format!("{default:?}")
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

impl Kind for Number {
    type Value = f64;

    fn read(&self, spot: &Spot<'_>) -> Option<f64> {
        match as_number(spot.value, spot.all_text) {
            Some(number) => spot.within(number, self.min, self.max, self.allowed, f64::to_string),
            None => {
                spot.wrong(self.allowed);
                None
            }
        }
    }

    fn default_value(&self, default: f64) -> f64 {
        default
    }
}

impl Shape for Flag {
    type Default = bool;

    fn form(&self) -> Form {
        Form::Flag
    }

    fn show_default(&self, default: bool) -> String {
        default.to_string()
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }
}

impl Kind for Flag {
    type Value = bool;

    fn read(&self, spot: &Spot<'_>) -> Option<bool> {
        let found = match spot.value {
            DeValue::Boolean(flag) => Some(*flag),
            DeValue::String(text) if spot.all_text => text.trim().parse().ok(),
            _ => None,
        };
        if found.is_none() {
            spot.wrong(&self.allowed());
        }
        found
    }

    fn default_value(&self, default: bool) -> bool {
        default
    }
}

impl Shape for FlagOr {
    type Default = bool;

    fn form(&self) -> Form {
        Form::FlagOr(self.0)
    }

    fn show_default(&self, default: bool) -> String {
        default.to_string()
    }

    fn allowed(&self) -> String {
        format!("true, false or {:?}", self.0)
    }
}

impl Kind for FlagOr {
    type Value = Choice;

    fn read(&self, spot: &Spot<'_>) -> Option<Choice> {
        let flag = |flag| if flag { Choice::Yes } else { Choice::No };
        let found = match spot.value {
            DeValue::Boolean(found) => Some(flag(*found)),
            DeValue::String(text) if text.trim() == self.0 => Some(Choice::Word),
            DeValue::String(text) if spot.all_text => text.trim().parse().ok().map(flag),
            _ => None,
        };
        if found.is_none() {
            spot.wrong(&self.allowed());
        }
        found
    }

    fn default_value(&self, default: bool) -> Choice {
        if default { Choice::Yes } else { Choice::No }
    }
}
