//! Kinds of values that hold several: lists, pairs of numbers, tables of free names.

use super::{Form, Kind, Shape, as_number};
use crate::source::{Located, Place};
use crate::walk::Spot;
use protocols_model::Value;
use toml::de::DeValue;

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

/// A table of free names with texts: `{ fast = "1s" }`, or `"fast=1s; slow=1m"` in a point list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs(pub(crate) &'static str);

/// A table of texts and the values they stand for, or `"ST=true; US=false"` in a point list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping(pub(crate) &'static str);

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
