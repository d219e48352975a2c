//! The seam to the broker: one connection, its events, its end.
//!
//! A link lives for one connection attempt and is dropped whole afterwards; nothing of it survives.

use crate::backoff::Ended;
use bytes::Bytes;
use std::fmt;
use std::future::Future;

/// What happens on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The broker accepted the connection.
    Connected,
    /// The broker accepted the subscription.
    Subscribed,
    /// The oldest publish handed over and not yet named went out under this packet id.
    Sent(u16),
    /// PUBACK.
    Taken(u16),
    /// A message on a subscribed topic.
    Message {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: Bytes,
    },
    /// Something without meaning for the uplink.
    Other,
}

/// Why a link ended, for people and for the back-off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct LinkError {
    /// What kind of end it is.
    pub ended: Ended,
    /// Whether the server's certificate was found to have expired.
    pub expired: bool,
    /// For people: what happened and what to look at.
    pub text: String,
}

impl LinkError {
    /// The other side is not there, or no more.
    #[must_use]
    pub fn lost(text: impl Into<String>) -> Self {
        Self {
            ended: Ended::Unreachable,
            expired: false,
            text: text.into(),
        }
    }

    /// The other side, or our own check of it, says no.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> Self {
        Self {
            ended: Ended::Refused,
            expired: false,
            text: text.into(),
        }
    }
}

/// The client takes nothing more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MQTT client's queue is full")]
pub struct LinkFull;

/// One connection to a broker.
pub trait MqttLink: Send {
    /// The next event. Cancel-safe: nothing is lost when the future is dropped. After an error the
    /// link is dead.
    fn next(&mut self) -> impl Future<Output = Result<LinkEvent, LinkError>> + Send;

    /// Hands a publish over, to be confirmed by a PUBACK or not; never waits.
    ///
    /// # Errors
    /// [`LinkFull`]; cannot happen while the window is smaller than the client's queue.
    fn publish(&mut self, topic: &str, confirmed: bool, payload: Bytes) -> Result<(), LinkFull>;

    /// Subscribes without confirmation of messages; never waits.
    ///
    /// # Errors
    /// [`LinkFull`].
    fn subscribe(&mut self, topic: &str) -> Result<(), LinkFull>;

    /// Says goodbye; the link ends soon after.
    fn disconnect(&mut self);
}

/// A broker by name; resolved anew at each attempt.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Host name or address; also the name that the server's certificate must bear.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Port of MQTT over TLS.
const DEFAULT_PORT: u16 = 8883;

/// Why a text is not a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a broker; use mqtts://host or mqtts://host:port")]
pub struct ServerError {
    found: String,
}

impl Server {
    /// Reads `mqtts://host[:port]`; the scheme may be left out, the port is 8883 unless given.
    ///
    /// # Errors
    /// [`ServerError`] for anything else.
    pub fn try_new(text: &str) -> Result<Self, ServerError> {
        let error = || ServerError {
            found: text.to_owned(),
        };
        let rest = text.strip_prefix("mqtts://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(error)?;
                (
                    host,
                    port.strip_prefix(':')
                        .or_else(|| port.is_empty().then_some("")),
                )
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
                None => (rest, Some("")),
            },
        };
        let port = match port.ok_or_else(error)? {
            "" => DEFAULT_PORT,
            port => port.parse().ok().filter(|p| *p > 0).ok_or_else(error)?,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(error());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_scheme_and_port_or_without_and_nonsense_is_refused() {
        for (text, shown) in [
            ("mqtts://b1.example:8884", "b1.example:8884"),
            ("b1.example", "b1.example:8883"),
            ("mqtts://127.0.0.1:1/", "127.0.0.1:1"),
            ("mqtts://[::1]:9000", "[::1]:9000"),
            ("[::1]", "[::1]:8883"),
        ] {
            assert_eq!(Server::try_new(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "mqtts://",
            "mqtt://x",
            "x:0",
            "x:99999",
            "x:",
            "[::1",
            "[::1]8",
            "a b",
            "::1",
            "wss://b/mqtt",
        ] {
            assert!(Server::try_new(text).is_err(), "{text:?}");
        }
    }
}
