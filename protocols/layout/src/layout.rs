//! Named fields over one payload.

use crate::{Field, FieldError};
use protocols_model::Value;
use std::sync::Arc;

/// Most fields of a layout.
pub const MAX_FIELDS: usize = 1024;

/// Why fields are not a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two fields of one name.
    #[error("field {0:?} is there twice; give each its own name")]
    Twice(String),
    /// A field without a name.
    #[error("a field has no name")]
    NoName,
    /// Too many fields.
    #[error("{0} fields; at most {MAX_FIELDS} are allowed")]
    TooMany(usize),
}

/// Named fields over a payload; they may overlap. The names are unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout(Vec<(Arc<str>, Field)>);

impl Layout {
    /// A layout of these fields, in this order.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn new<N: Into<Arc<str>>>(
        fields: impl IntoIterator<Item = (N, Field)>,
    ) -> Result<Self, LayoutError> {
        let fields: Vec<(Arc<str>, Field)> =
            fields.into_iter().map(|(n, f)| (n.into(), f)).collect();
        if fields.len() > MAX_FIELDS {
            return Err(LayoutError::TooMany(fields.len()));
        }
        let mut names = std::collections::HashSet::new();
        for (name, _) in &fields {
            if name.is_empty() {
                return Err(LayoutError::NoName);
            }
            if !names.insert(Arc::clone(name)) {
                return Err(LayoutError::Twice(name.as_ref().to_owned()));
            }
        }
        Ok(Self(fields))
    }

    /// The fields in their order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, field)| (&**name, field))
    }

    /// The field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0
            .iter()
            .find(|(n, _)| &**n == name)
            .map(|(_, field)| field)
    }

    /// Each field's value in `payload`, or why it has none; one field's trouble is its own.
    pub fn decode<'a>(
        &'a self,
        payload: &'a [u8],
    ) -> impl ExactSizeIterator<Item = (&'a str, Result<Value, FieldError>)> {
        self.fields()
            .map(move |(name, field)| (name, field.decode(payload)))
    }
}
