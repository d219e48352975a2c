//! Typed getters: one kind of value each, with its own words for what is wrong.

use super::{Table, show};
use crate::problem::Problem;
use crate::source::Located;
use crate::units;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

impl Table<'_> {
    /// A text.
    pub(crate) fn text(&self, key: &'static str) -> Option<Located<String>> {
        self.parse(key, "a text", |text| Ok::<_, String>(text.to_owned()))
    }

    /// A text that `parse` understands; its error is shown with `allowed`.
    pub(crate) fn parse<T, E: Display>(
        &self,
        key: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let (value, place) = self.get(key)?;
        let Some(text) = value.as_str() else {
            let form = if allowed == "a text" {
                allowed
            } else {
                "a text"
            };
            let message = format!("expected {form}, found {}", show(value));
            self.notes.push(Problem::error(&place, message, allowed));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(Located { value, place }),
            Err(error) => {
                let error = error.to_string();
                let message = if error.contains(text) {
                    error
                } else {
                    format!("{text:?}: {error}")
                };
                self.notes.push(Problem::error(&place, message, allowed));
                None
            }
        }
    }

    /// One of a list of words.
    pub(crate) fn word<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<Located<T>> {
        let found = self.text(key)?;
        let names = || words.iter().map(|(name, _)| *name);
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == found.value) {
            return Some(found.map(|_| *value));
        }
        let message = format!("unknown {key} {:?}", found.value);
        let allowed = names().collect::<Vec<_>>().join(", ");
        self.notes
            .push(Problem::error(&found.place, message, allowed).suggest(&found.value, names()));
        None
    }

    /// A duration within a range.
    pub(crate) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Located<Duration>> {
        let allowed = format!(
            "{}..{}, {}",
            units::show_duration(*range.start()),
            units::show_duration(*range.end()),
            units::DURATION_FORM
        );
        let found = self.parse(key, &allowed, |text| {
            units::parse_duration(text).ok_or("not a duration")
        })?;
        self.within(found, &range, &allowed, |v| units::show_duration(*v))
    }

    /// A size in bytes within a range.
    pub(crate) fn size(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<Located<u64>> {
        let allowed = format!(
            "{}..{}, {}",
            units::show_size(*range.start()),
            units::show_size(*range.end()),
            units::SIZE_FORM
        );
        let found = self.parse(key, &allowed, |text| {
            units::parse_size(text).ok_or("not a size")
        })?;
        self.within(found, &range, &allowed, |v| units::show_size(*v))
    }

    /// A whole number within a range.
    pub(crate) fn integer(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Located<i64>> {
        let allowed = format!("a whole number, {}..{}", range.start(), range.end());
        let (value, place) = self.get(key)?;
        let number = match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) if self.all_text => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = number else {
            self.wrong(&place, value, &allowed);
            return None;
        };
        self.within(Located { value, place }, &range, &allowed, i64::to_string)
    }

    /// A number; whole numbers are taken too.
    pub(crate) fn number(&self, key: &'static str, allowed: &str) -> Option<Located<f64>> {
        let (value, place) = self.get(key)?;
        match as_number(value, self.all_text) {
            Some(value) => Some(Located { value, place }),
            None => {
                self.wrong(&place, value, allowed);
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(
        &self,
        key: &'static str,
        allowed: &str,
    ) -> Option<Located<Vec<Located<String>>>> {
        let (value, place) = self.get(key)?;
        let Some(array) = value.as_array() else {
            self.wrong(&place, value, allowed);
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            let place = self.place_of(item.span(), Some(key));
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located {
                    value: text.to_owned(),
                    place,
                }),
                None => self.wrong(&place, item.get_ref(), "a text"),
            }
        }
        Some(Located {
            value: texts,
            place,
        })
    }

    /// Two numbers, the lower first: `[0, 500]`, or `"0..500"` in a point list.
    pub(crate) fn span(&self, key: &'static str) -> Option<Located<(f64, f64)>> {
        const ALLOWED: &str = "two numbers, the lower first: [0, 500]";
        let (value, place) = self.get(key)?;
        let pair = match value {
            DeValue::Array(array) => {
                let mut numbers = array.iter().map(|v| as_number(v.get_ref(), false));
                match (numbers.next(), numbers.next(), numbers.next()) {
                    (Some(Some(low)), Some(Some(high)), None) => Some((low, high)),
                    _ => None,
                }
            }
            DeValue::String(text) if self.all_text => {
                text.split_once("..").and_then(|(low, high)| {
                    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
                })
            }
            _ => None,
        };
        match pair {
            Some((low, high)) if low < high => Some(Located {
                value: (low, high),
                place,
            }),
            _ => {
                self.wrong(&place, value, ALLOWED);
                None
            }
        }
    }

    fn within<T: PartialOrd>(
        &self,
        found: Located<T>,
        range: &RangeInclusive<T>,
        allowed: &str,
        show: impl Fn(&T) -> String,
    ) -> Option<Located<T>> {
        if range.contains(&found.value) {
            return Some(found);
        }
        let side = if found.value < *range.start() {
            "small"
        } else {
            "large"
        };
        let message = format!("{} is too {side}", show(&found.value));
        self.notes
            .push(Problem::error(&found.place, message, allowed));
        None
    }
}

fn as_number(value: &DeValue<'_>, all_text: bool) -> Option<f64> {
    let text = match value {
        // Digits of base 10 parse as a float; other bases are for register addresses.
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        DeValue::String(text) if all_text => text.trim(),
        _ => return None,
    };
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
