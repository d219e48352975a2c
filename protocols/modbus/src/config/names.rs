//! Names for numbers: the states of a machine, the bits of an alarm word.

use protocols_model::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most names a point may have.
pub const MAX_NAMES: usize = 256;
/// Longest name, in bytes.
pub const MAX_NAME: usize = 64;

/// What the numbers of a point stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Each number has a name, and the value *is* the name: a text. A number without one stays visible
    /// as its digits. Written by name, or by digits.
    Values(BTreeMap<i64, Arc<str>>),
    /// Each bit has a name, 0 the least significant. The value stays the number (`u64`), so that rules
    /// can test bits; the names are for people ([`Names::explain`]).
    Bits(BTreeMap<u8, Arc<str>>),
}

/// Why names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// None or too many.
    #[error("{0} names are not allowed; use 1 to {MAX_NAMES}")]
    Count(usize),
    /// Empty or too long.
    #[error("name {0:?} is not allowed; use 1 to {MAX_NAME} bytes")]
    Name(String),
    /// Twice the same.
    #[error("name {0:?} stands for two numbers, so it could not be written; give each its own")]
    Twice(String),
    /// A bit that no register has.
    #[error("bit {0} is not allowed; use 0 to 63")]
    Bit(u8),
}

impl Names {
    /// Everything that is wrong with the names by themselves.
    #[must_use]
    pub fn check(&self) -> Vec<NamesError> {
        let names: Vec<&Arc<str>> = match self {
            Self::Values(names) => names.values().collect(),
            Self::Bits(names) => names.values().collect(),
        };
        let mut errors = Vec::new();
        if !(1..=MAX_NAMES).contains(&names.len()) {
            errors.push(NamesError::Count(names.len()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            if !(1..=MAX_NAME).contains(&name.len()) {
                errors.push(NamesError::Name(name.to_string()));
            }
            if !seen.insert(name) {
                errors.push(NamesError::Twice(name.to_string()));
            }
        }
        if let Self::Bits(names) = self {
            let wrong = names.keys().filter(|bit| **bit > 63);
            errors.extend(wrong.map(|bit| NamesError::Bit(*bit)));
        }
        errors
    }

    /// The name of a number; its digits when it has none. `None` for bits.
    #[must_use]
    pub fn name_of(&self, number: i64) -> Option<Arc<str>> {
        let Self::Values(names) = self else {
            return None;
        };
        let name = names.get(&number).map(Arc::clone);
        Some(name.unwrap_or_else(|| number.to_string().into()))
    }

    /// The number that a text stands for: that of the name, or its digits.
    #[must_use]
    pub fn number_of(&self, text: &str) -> Option<i64> {
        let Self::Values(names) = self else {
            return None;
        };
        let named = names.iter().find(|(_, name)| name.as_ref() == text);
        named
            .map(|(number, _)| *number)
            .or_else(|| text.parse().ok())
    }

    /// A value as people want to see it: `"overtemp, door"` for the bits that are set, `"none"` for
    /// none; bits without a name as `"bit 9"`. A named value is its own explanation.
    #[must_use]
    pub fn explain(&self, value: &Value) -> Option<String> {
        let (Self::Bits(names), Value::U64(bits)) = (self, value) else {
            return None;
        };
        let set = (0..64u8).filter(|bit| bits >> bit & 1 == 1);
        let named: Vec<String> = set
            .map(|bit| match names.get(&bit) {
                Some(name) => name.to_string(),
                None => format!("bit {bit}"),
            })
            .collect();
        Some(if named.is_empty() {
            "none".to_owned()
        } else {
            named.join(", ")
        })
    }
}
