//! Kinds of values that only the processing part has: selectors, values of any type, tables by selector.

use crate::key::kinds::{Form, Kind, Shape, as_value};
use crate::source::{Located, Place};
use crate::walk::Spot;
use protocols_model::Value;
use toml::de::DeValue;

/// What selectors look like.
const SELECTORS: &str = "`device/point` with `*` for any run of characters, or a list: [\"meter*/p_*\", \"plc1/level\"]";

/// Which points: one selector or a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selectors;

/// A value of any type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnyValue;

/// A table of selectors, each with a value of the inner kind: `{ "scale/*" = 0.5 }`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Each<K>(pub(crate) K);

impl Shape for Selectors {
    type Default = ();

    fn form(&self) -> Form {
        Form::Selectors { allowed: SELECTORS }
    }

    fn show_default(&self, (): ()) -> String {
        "[]".to_owned()
    }

    fn allowed(&self) -> String {
        SELECTORS.to_owned()
    }
}

impl Kind for Selectors {
    type Value = Vec<Located<String>>;

    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value> {
        let text = |value: &DeValue<'_>, place: Place| {
            value.as_str().map(|text| Located {
                value: text.to_owned(),
                place,
            })
        };
        let Some(array) = spot.value.as_array() else {
            let one = text(spot.value, spot.place.clone());
            if one.is_none() {
                spot.wrong(SELECTORS);
            }
            return one.map(|one| vec![one]);
        };
        let mut found = Vec::new();
        for item in array.iter() {
            let place = Place {
                span: item.span(),
                ..spot.place.clone()
            };
            match text(item.get_ref(), place.clone()) {
                Some(one) => found.push(one),
                None => spot.at(item.get_ref(), place).wrong("a text"),
            }
        }
        Some(found)
    }

    fn default_value(&self, (): ()) -> Self::Value {
        Vec::new()
    }
}

impl Shape for AnyValue {
    type Default = ();

    fn form(&self) -> Form {
        Form::Value {
            allowed: "true, false, a number or a text",
        }
    }

    fn show_default(&self, (): ()) -> String {
        String::new()
    }

    fn allowed(&self) -> String {
        "true, false, a number or a text".to_owned()
    }
}

impl Kind for AnyValue {
    type Value = Value;

    fn read(&self, spot: &Spot<'_>) -> Option<Value> {
        let value = as_value(spot.value);
        if value.is_none() {
            spot.wrong(&self.allowed());
        }
        value
    }

    fn default_value(&self, (): ()) -> Value {
        Value::Bool(false)
    }
}

impl<K: Shape> Shape for Each<K> {
    type Default = ();

    fn form(&self) -> Form {
        Form::Each(Box::new(self.0.form()))
    }

    fn show_default(&self, (): ()) -> String {
        "{}".to_owned()
    }

    fn allowed(&self) -> String {
        format!("a table of selectors, each with {}", self.0.allowed())
    }
}

impl<K: Kind> Kind for Each<K> {
    type Value = Vec<(Located<String>, K::Value)>;

    fn read(&self, spot: &Spot<'_>) -> Option<Self::Value> {
        let Some(table) = spot.value.as_table() else {
            spot.wrong(&self.allowed());
            return None;
        };
        let mut found = Vec::new();
        for (name, value) in table.iter() {
            let place = |span| Place {
                span,
                key: format!("{}.{}", spot.place.key, name.get_ref()),
                ..spot.place.clone()
            };
            let inner = spot.at(value.get_ref(), place(value.span()));
            if let Some(value) = self.0.read(&inner) {
                let name = Located {
                    value: name.get_ref().to_string(),
                    place: place(name.span()),
                };
                found.push((name, value));
            }
        }
        found.sort_by_key(|(name, _)| name.place.span.start);
        Some(found)
    }

    fn default_value(&self, (): ()) -> Self::Value {
        Vec::new()
    }
}
