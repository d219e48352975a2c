//! What is wrong with an expression, and where.

use std::ops::Range;

/// A mistake in an expression. `span` counts bytes of the source and always lies on character borders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Which part of the source.
    pub span: Range<usize>,
    /// What is wrong, lower case, without the place.
    pub message: String,
    /// What would be right here.
    pub allowed: String,
    /// The nearest name there is.
    pub suggestion: Option<String>,
}

impl ExprError {
    pub(crate) fn new(
        span: Range<usize>,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            span,
            message: message.into(),
            allowed: allowed.into(),
            suggestion: None,
        }
    }

    /// The source with a mark below the place, for a terminal:
    /// ```text
    /// cellar.temprature > 30
    /// ^^^^^^^^^^^^^^^^^
    /// ```
    #[must_use]
    pub fn marked(&self, source: &str) -> String {
        let before = source.get(..self.span.start).unwrap_or_default();
        let marked = source.get(self.span.clone()).unwrap_or_default();
        let indent: String = before
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let mark = "^".repeat(marked.chars().count().max(1));
        format!("{source}\n{indent}{mark}")
    }
}
