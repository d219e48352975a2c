//! Kinds of values: how each is read, what is said when it is wrong, and how it is described.

use crate::key::Section;
use crate::problem::Problem;
use crate::source::{Located, Place};
use crate::units;
use crate::walk::Spot;
use protocols_model::Value;
use std::time::Duration;
use toml::de::DeValue;

/// What a kind looks like to people and editors.
#[derive(Debug)]
pub(crate) enum Form {
    Text {
        allowed: &'static str,
    },
    Words(Vec<&'static str>),
    Duration(Duration, Duration),
    Size(u64, u64),
    Whole(i64, i64),
    Number {
        allowed: &'static str,
        bounds: (f64, f64),
    },
    Flag,
    FlagOr(&'static str),
    Texts {
        allowed: &'static str,
    },
    Pair,
    /// A table of free names with texts.
    Pairs {
        allowed: &'static str,
    },
    /// A table of texts with values of any type.
    Mapping {
        allowed: &'static str,
    },
    /// One selector of points or a list of them.
    Selectors {
        allowed: &'static str,
    },
    /// A value of any type.
    Value {
        allowed: &'static str,
    },
    /// A table of selectors with values of one kind.
    Each(Box<Form>),
    Table(&'static [&'static Section]),
    List(&'static [&'static Section]),
    Named(&'static [&'static Section]),
}

/// What can be declared.
pub(crate) trait Shape {
    /// How a default is written in a declaration.
    type Default: Copy;
    fn form(&self) -> Form;
    /// The default as a TOML value.
    fn show_default(&self, default: Self::Default) -> String;
    /// What is allowed, in words.
    fn allowed(&self) -> String;
}

/// What can be read as one value.
pub(crate) trait Kind: Shape {
    type Value;
    /// The value, or a note of what is wrong with it.
    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value>;
    fn default_value(&self, default: Self::Default) -> Self::Value;
}

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

/// A list of texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts(pub(crate) &'static str);

/// Two numbers: `[0, 500]`, or `"0..500"` in a point list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pair {
    /// The lower first.
    Range,
    /// Two different ones in any order: a falling line is one too.
    Ends,
}

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

/// A table of free names with texts: `{ fast = "1s" }`, or `"fast=1s; slow=1m"` in a point list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs(pub(crate) &'static str);

/// A table of texts and the values they stand for, or `"ST=true; US=false"` in a point list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping(pub(crate) &'static str);

/// A table, one of the sections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inner(pub(crate) &'static [&'static Section]);

/// A list of tables: `points = [ { … }, … ]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List(pub(crate) &'static [&'static Section]);

/// Named tables: `[bus.plc]`; one of the sections each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named(pub(crate) &'static [&'static Section]);

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

impl Shape for Texts {
    type Default = ();

    fn form(&self) -> Form {
        Form::Texts { allowed: self.0 }
    }

    fn show_default(&self, (): ()) -> String {
        "[]".to_owned()
    }

    fn allowed(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind for Texts {
    type Value = Vec<Located<String>>;

    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value> {
        if let (true, Some(text)) = (spot.all_text, spot.value.as_str()) {
            let parts = text.split(';').map(|part| Located {
                value: part.trim().to_owned(),
                place: spot.place.clone(),
            });
            return Some(parts.collect());
        }
        let Some(array) = spot.value.as_array() else {
            spot.wrong(self.0);
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            let place = Place {
                span: item.span(),
                ..spot.place.clone()
            };
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located {
                    value: text.to_owned(),
                    place,
                }),
                None => spot.at(item.get_ref(), place).wrong("a text"),
            }
        }
        Some(texts)
    }

    fn default_value(&self, (): ()) -> Self::Value {
        Vec::new()
    }
}

impl Shape for Pair {
    type Default = (f64, f64);

    fn form(&self) -> Form {
        Form::Pair
    }

    fn show_default(&self, (low, high): (f64, f64)) -> String {
        format!("[{low}, {high}]")
    }

    fn allowed(&self) -> String {
        match self {
            Self::Range => "two numbers, the lower first: [0, 500]",
            Self::Ends => "two different numbers: [0, 27648]",
        }
        .to_owned()
    }
}

impl Kind for Pair {
    type Value = (f64, f64);

    fn read(&self, spot: &Spot<'_>) -> Option<(f64, f64)> {
        let pair = match spot.value {
            DeValue::Array(array) => {
                let mut numbers = array.iter().map(|v| as_number(v.get_ref(), false));
                match (numbers.next(), numbers.next(), numbers.next()) {
                    (Some(Some(low)), Some(Some(high)), None) => Some((low, high)),
                    _ => None,
                }
            }
            DeValue::String(text) if spot.all_text => {
                text.split_once("..").and_then(|(low, high)| {
                    Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
                })
            }
            _ => None,
        };
        let pair = pair.filter(|(a, b)| a < b || (matches!(self, Self::Ends) && b < a));
        if pair.is_none() {
            spot.wrong(&self.allowed());
        }
        pair
    }

    fn default_value(&self, default: (f64, f64)) -> (f64, f64) {
        default
    }
}

impl Shape for Pairs {
    type Default = ();

    fn form(&self) -> Form {
        Form::Pairs { allowed: self.0 }
    }

    fn show_default(&self, (): ()) -> String {
        "{}".to_owned()
    }

    fn allowed(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind for Pairs {
    type Value = Vec<(Located<String>, Located<String>)>;

    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value> {
        let mut pairs = Vec::new();
        match spot.value {
            DeValue::Table(table) => {
                for (name, value) in table.iter() {
                    let key = format!("{}.{}", spot.place.key, name.get_ref());
                    let place = |span| Place {
                        span,
                        key: key.clone(),
                        ..spot.place.clone()
                    };
                    let spot = spot.at(value.get_ref(), place(value.span()));
                    if let Some(text) = spot.text(self.0) {
                        let name = Located {
                            value: name.get_ref().to_string(),
                            place: place(name.span()),
                        };
                        let text = Located {
                            value: text.to_owned(),
                            place: spot.place,
                        };
                        pairs.push((name, text));
                    }
                }
                pairs.sort_by_key(|(name, _)| name.place.span.start);
            }
            DeValue::String(text) if spot.all_text => {
                for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
                    let Some((name, value)) = pair.split_once('=') else {
                        spot.wrong("pairs: \"0=off; 1=on\"");
                        return None;
                    };
                    let located = |text: &str| Located {
                        value: text.trim().to_owned(),
                        place: spot.place.clone(),
                    };
                    pairs.push((located(name), located(value)));
                }
            }
            _ => {
                spot.wrong(&format!("a table: {}", self.0));
                return None;
            }
        }
        Some(pairs)
    }

    fn default_value(&self, (): ()) -> Self::Value {
        Vec::new()
    }
}

impl Shape for Mapping {
    type Default = ();

    fn form(&self) -> Form {
        Form::Mapping { allowed: self.0 }
    }

    fn show_default(&self, (): ()) -> String {
        "{}".to_owned()
    }

    fn allowed(&self) -> String {
        self.0.to_owned()
    }
}

impl Kind for Mapping {
    type Value = Vec<(String, Value)>;

    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value> {
        let mut pairs = Vec::new();
        match spot.value {
            DeValue::Table(table) => {
                for (name, value) in table.iter() {
                    let place = Place {
                        span: value.span(),
                        key: format!("{}.{}", spot.place.key, name.get_ref()),
                        ..spot.place.clone()
                    };
                    match as_value(value.get_ref()) {
                        Some(value) => pairs.push((name.get_ref().to_string(), value)),
                        None => spot
                            .at(value.get_ref(), place)
                            .wrong("a bool, number or text"),
                    }
                }
            }
            DeValue::String(text) if spot.all_text => {
                for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
                    let Some((name, value)) = pair.split_once('=') else {
                        spot.wrong("pairs: \"ST=true; US=false\"");
                        return None;
                    };
                    pairs.push((name.trim().to_owned(), text_as_value(value.trim())));
                }
            }
            _ => {
                spot.wrong(&format!("a table: {}", self.0));
                return None;
            }
        }
        Some(pairs)
    }

    fn default_value(&self, (): ()) -> Self::Value {
        Vec::new()
    }
}

pub(crate) fn as_value(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => {
            Value::I64(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(_) => Value::F64(as_number(value, false)?),
        DeValue::String(text) => Value::Text(text.as_ref().into()),
        _ => return None,
    })
}

/// In a point list the type of a value is what its text looks like.
fn text_as_value(text: &str) -> Value {
    if let Ok(flag) = text.parse() {
        Value::Bool(flag)
    } else if let Ok(number) = text.parse() {
        Value::I64(number)
    } else if let Ok(number) = text.parse() {
        Value::F64(number)
    } else {
        Value::Text(text.into())
    }
}

macro_rules! tables {
    ($($kind:ident => $form:ident, $allowed:literal;)+) => {$(
        impl Shape for $kind {
            type Default = ();

            fn form(&self) -> Form {
                Form::$form(self.0)
            }

            fn show_default(&self, (): ()) -> String {
                String::new()
            }

            fn allowed(&self) -> String {
                $allowed.to_owned()
            }
        }
    )+};
}

tables! {
    Inner => Table, "a table";
    List => List, "a list of tables: [ { … }, … ]";
    Named => Named, "a table";
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
