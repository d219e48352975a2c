//! Names of gateways, devices and points: checked when made, trusted afterwards.
//!
//! A gateway id is also the MQTT client id and the certificate's common name (design.md C11), so it
//! is held to `[a-z0-9-]{1,63}`: safe in a topic level, a NATS subject token and a file name.
//! Device and point ids may also hold `_`.

use std::fmt;
use std::sync::Arc;

/// Longest id of any kind, in bytes.
pub const MAX_ID_LEN: usize = 63;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No characters at all.
    #[error("the id is empty; use 1 to {MAX_ID_LEN} characters")]
    Empty,
    /// More than [`MAX_ID_LEN`] bytes.
    #[error("the id has {0} characters; at most {MAX_ID_LEN} are allowed")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("the id holds {found:?}; allowed are {allowed}")]
    Character {
        /// The first character that is not allowed.
        found: char,
        /// The allowed set, for people.
        allowed: &'static str,
    },
}

fn check(text: &str, underscore: bool) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_LEN {
        return Err(IdError::TooLong(text.len()));
    }
    let allowed = if underscore {
        "a-z, 0-9, '-' and '_'"
    } else {
        "a-z, 0-9 and '-'"
    };
    let fits = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (underscore && c == '_')
    };
    match text.chars().find(|&c| !fits(c)) {
        Some(found) => Err(IdError::Character { found, allowed }),
        None => Ok(()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, underscore = $underscore:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it an id.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn try_new(text: &str) -> Result<Self, IdError> {
                check(text, $underscore)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::try_new(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id_type! {
    /// A gateway: MQTT client id, certificate common name, topic level. `[a-z0-9-]{1,63}`.
    GatewayId, underscore = false
}
id_type! {
    /// A device behind a gateway, unique within the gateway. `[a-z0-9_-]{1,63}`.
    DeviceId, underscore = true
}
id_type! {
    /// A point of a device, unique within the device. `[a-z0-9_-]{1,63}`.
    PointId, underscore = true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_would_break_a_topic_is_refused_with_the_reason() {
        assert_eq!(GatewayId::try_new(""), Err(IdError::Empty));
        assert_eq!(
            GatewayId::try_new(&"a".repeat(64)),
            Err(IdError::TooLong(64))
        );
        for (text, found) in [
            ("a/b", '/'),
            ("a+", '+'),
            ("a.b", '.'),
            ("A", 'A'),
            ("a_b", '_'),
        ] {
            let Err(IdError::Character { found: seen, .. }) = GatewayId::try_new(text) else {
                panic!("{text} was accepted");
            };
            assert_eq!(seen, found);
        }
        assert!(PointId::try_new("u_l1").is_ok());
        assert!(GatewayId::try_new(&"a".repeat(63)).is_ok());
    }
}
