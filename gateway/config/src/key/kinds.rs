//! Kinds of values: how each is read, what is said when it is wrong, and how it is described.

mod many;
mod one;

use crate::key::Section;
use crate::walk::Spot;
pub(crate) use many::{Mapping, Pair, Pairs, Texts, as_value};
pub(crate) use one::{
    ANY_NUMBER, Choice, Durations, Flag, FlagOr, Number, Parsed, Sizes, Text, Whole, Words,
};
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

/// A table, one of the sections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inner(pub(crate) &'static [&'static Section]);

/// A list of tables: `points = [ { … }, … ]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List(pub(crate) &'static [&'static Section]);

/// Named tables: `[bus.plc]`; one of the sections each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named(pub(crate) &'static [&'static Section]);

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
