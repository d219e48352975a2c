//! Reading requests strictly: every query parameter and body field is known, typed and bounded, and
//! whatever is wrong is named. Bodies are small JSON objects; nothing is deserialised untyped beyond
//! that.

use crate::problem::Problem;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use std::collections::BTreeMap;

/// The query parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::field("query", error.body_text()))?;
        let mut map = BTreeMap::new();
        for (name, value) in pairs {
            if map.insert(name.clone(), value).is_some() {
                return Err(Problem::field(&name, "is given twice"));
            }
        }
        Ok(Self(map))
    }
}

impl Params {
    /// Refuses parameters that the route does not know.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if known.is_empty() => Err(Problem::field(
                name,
                "is not known here; no parameters are allowed",
            )),
            Some(name) => Err(Problem::field(
                name,
                format!("is not known here; allowed are {}", known.join(", ")),
            )),
            None => Ok(self),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number within `range`.
    pub(crate) fn whole(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value: i64 = text
            .parse()
            .map_err(|_error| Problem::field(name, format!("{text:?} is not a whole number")))?;
        if !range.contains(&value) {
            return Err(Problem::field(
                name,
                format!("{value} is not within {} to {}", range.start(), range.end()),
            ));
        }
        Ok(Some(value))
    }

    /// A moment in milliseconds since 1970 UTC; written as such or as RFC 3339.
    pub(crate) fn moment_ms(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if let Ok(millis) = text.parse::<i64>() {
            // The years 1970 to 2100; beyond it somebody sent seconds or nanoseconds.
            return if (0..=4_102_444_800_000).contains(&millis) {
                Ok(Some(millis))
            } else {
                Err(Problem::field(
                    name,
                    format!("{millis} ms is not within the years 1970 to 2100"),
                ))
            };
        }
        text.parse::<jiff::Timestamp>()
            .map(|at| Some(at.as_millisecond()))
            .map_err(|_error| {
                Problem::field(
                    name,
                    format!("{text:?} is neither milliseconds since 1970 nor RFC 3339"),
                )
            })
    }

    /// A name that must parse as `T`.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(name)
            .map(|text| parse_part(name, text))
            .transpose()
    }
}

/// Parses a part of the path or query, naming it when it is wrong.
pub(crate) fn parse_part<T>(field: &str, text: &str) -> Result<T, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| Problem::field(field, format!("{text:?}: {error}")))
}

/// A small JSON object whose fields are all texts.
#[derive(Debug)]
pub(crate) struct Fields(serde_json::Map<String, serde_json::Value>);

impl Fields {
    /// Reads the body of a request.
    pub(crate) fn parse(body: &[u8], known: &[&str]) -> Result<Self, Problem> {
        let value: serde_json::Value = serde_json::from_slice(body)
            .map_err(|error| Problem::field("body", format!("is not JSON: {error}")))?;
        let serde_json::Value::Object(map) = value else {
            return Err(Problem::field("body", "is not a JSON object"));
        };
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Problem::field(
                name,
                format!("is not known here; allowed are {}", known.join(", ")),
            )),
            None => Ok(Self(map)),
        }
    }

    /// A text of 1 to `longest` bytes, or nothing.
    pub(crate) fn optional_text(
        &self,
        name: &str,
        longest: usize,
    ) -> Result<Option<&str>, Problem> {
        match self.0.get(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(_) => self.text(name, longest).map(Some),
        }
    }

    /// A text of 1 to `longest` bytes.
    pub(crate) fn text(&self, name: &str, longest: usize) -> Result<&str, Problem> {
        match self.0.get(name) {
            None => Err(Problem::field(name, "is missing")),
            Some(serde_json::Value::String(text)) if text.is_empty() => {
                Err(Problem::field(name, "is empty"))
            }
            Some(serde_json::Value::String(text)) if text.len() > longest => Err(Problem::field(
                name,
                format!("is longer than {longest} bytes"),
            )),
            Some(serde_json::Value::String(text)) => Ok(text),
            Some(_) => Err(Problem::field(name, "is not a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params(
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn field_of<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        result.unwrap_err().field.unwrap().into()
    }

    #[test]
    fn whatever_is_wrong_in_a_query_is_named() {
        assert_eq!(field_of(params("form=1").only(&["from"])), "form");
        assert_eq!(
            field_of(params("points=x").whole("points", 1..=9)),
            "points"
        );
        assert_eq!(
            field_of(params("points=10").whole("points", 1..=9)),
            "points"
        );
        assert_eq!(field_of(params("from=yesterday").moment_ms("from")), "from");
        assert_eq!(field_of(params("from=-1").moment_ms("from")), "from");
        assert_eq!(params("points=7").whole("points", 1..=9).unwrap(), Some(7));
    }

    #[test]
    fn moments_are_read_in_both_spellings() {
        let ms = params("from=1700000000123").moment_ms("from").unwrap();
        let text = params("from=2023-11-14T22:13:20.123Z")
            .moment_ms("from")
            .unwrap();
        assert_eq!(ms, text);
    }

    #[test]
    fn whatever_is_wrong_in_a_body_is_named() {
        let known = ["name", "password"];
        for (body, field) in [
            (&b"{"[..], "body"),
            (b"[]", "body"),
            (br#"{"name":"a","passwort":"b"}"#, "passwort"),
            (br#"{"name":"","password":"b"}"#, "name"),
            (br#"{"name":1,"password":"b"}"#, "name"),
            (br#"{"name":"aaaaaaaaa","password":"b"}"#, "name"),
            (br#"{"password":"b"}"#, "name"),
        ] {
            let name =
                Fields::parse(body, &known).and_then(|f| f.text("name", 8).map(str::to_owned));
            assert_eq!(field_of(name), field, "{}", String::from_utf8_lossy(body));
        }
    }
}
