//! Topics: the only place with topic strings.
//!
//! | topic | `QoS` | carries |
//! |---|---|---|
//! | `gw/{gateway}/up/{lane}` | 1 | envelope, live |
//! | `gw/{gateway}/up/{lane}/history` | 1 | envelope, backlog; ingest drains live first |
//! | `gw/{gateway}/up/hello` | 0 | [`crate::Hello`] |
//! | `gw/{gateway}/up/reply` | 1 | command replies (reserved) |
//! | `gw/{gateway}/down/ack` | 0 | [`crate::Down`] |
//! | `gw/{gateway}/down/cmd` | 0 | commands (reserved) |
//!
//! On NATS the same topic is a subject with `.` between its tokens. No id can hold either divider,
//! so both forms read back without ambiguity; what mixes them is none of ours.

use protocols_model::{GatewayId, Lane};

/// A topic of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Envelopes of one lane.
    Up {
        /// Who sends.
        gateway: GatewayId,
        /// Which lane.
        lane: Lane,
        /// Whether this is backlog of an outage.
        history: bool,
    },
    /// Hello.
    Hello(GatewayId),
    /// Command replies.
    Reply(GatewayId),
    /// Acknowledgements and hello answers.
    Ack(GatewayId),
    /// Commands.
    Command(GatewayId),
}

impl Topic {
    /// The MQTT topic, levels divided by `/`.
    #[must_use]
    pub fn to_mqtt(&self) -> String {
        self.join('/')
    }

    /// The NATS subject, tokens divided by `.`.
    #[must_use]
    pub fn to_nats(&self) -> String {
        self.join('.')
    }

    /// The gateway whose topic this is.
    #[must_use]
    pub const fn gateway(&self) -> &GatewayId {
        match self {
            Self::Up { gateway, .. }
            | Self::Hello(gateway)
            | Self::Reply(gateway)
            | Self::Ack(gateway)
            | Self::Command(gateway) => gateway,
        }
    }

    /// Reads an MQTT topic or a NATS subject; `None` when it is none of the contract's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let divider = if text.contains('/') { '/' } else { '.' };
        let mut parts = text.split(divider);
        if parts.next() != Some("gw") {
            return None;
        }
        let gateway = GatewayId::try_new(parts.next()?).ok()?;
        let topic = match (parts.next()?, parts.next()?) {
            ("up", "hello") => Self::Hello(gateway),
            ("up", "reply") => Self::Reply(gateway),
            ("down", "ack") => Self::Ack(gateway),
            ("down", "cmd") => Self::Command(gateway),
            ("up", name) => {
                let lane = Lane::from_name(name)?;
                let history = match parts.next() {
                    None => false,
                    Some("history") => true,
                    Some(_) => return None,
                };
                Self::Up {
                    gateway,
                    lane,
                    history,
                }
            }
            _ => return None,
        };
        parts.next().is_none().then_some(topic)
    }

    fn join(&self, divider: char) -> String {
        let (way, name, history) = match self {
            Self::Up { lane, history, .. } => ("up", lane.as_str(), *history),
            Self::Hello(_) => ("up", "hello", false),
            Self::Reply(_) => ("up", "reply", false),
            Self::Ack(_) => ("down", "ack", false),
            Self::Command(_) => ("down", "cmd", false),
        };
        let tail = if history { Some("history") } else { None };
        let gateway = self.gateway();
        let mut text = format!("gw{divider}{gateway}{divider}{way}{divider}{name}");
        if let Some(tail) = tail {
            text.push(divider);
            text.push_str(tail);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back_in_both_forms() {
        let gateway = GatewayId::try_new("gw1").unwrap();
        let mut all = vec![
            Topic::Hello(gateway.clone()),
            Topic::Reply(gateway.clone()),
            Topic::Ack(gateway.clone()),
            Topic::Command(gateway.clone()),
        ];
        for lane in Lane::ALL {
            for history in [false, true] {
                let gateway = gateway.clone();
                all.push(Topic::Up {
                    gateway,
                    lane,
                    history,
                });
            }
        }
        for topic in all {
            assert_eq!(Topic::parse(&topic.to_mqtt()).as_ref(), Some(&topic));
            assert_eq!(Topic::parse(&topic.to_nats()).as_ref(), Some(&topic));
        }
    }

    #[test]
    fn the_contract_s_strings_stand() {
        let history = Topic::parse("gw/gw1/up/telemetry/history").unwrap();
        assert_eq!(history.to_nats(), "gw.gw1.up.telemetry.history");
        assert_eq!(
            Topic::parse("gw.gw1.down.ack").unwrap().to_mqtt(),
            "gw/gw1/down/ack"
        );
    }

    #[test]
    fn what_is_not_a_topic_of_the_contract_is_none() {
        for text in [
            "",
            "gw",
            "gw/",
            "gw/gw1",
            "gw/gw1/up",
            "gw/gw1/up/",
            "gw/gw1/up/telemetry/",
            "gw/gw1/up/telemetry/live",
            "gw/gw1/up/telemetry/history/x",
            "gw/gw1/up/hello/history",
            "gw/gw1/down/telemetry",
            "gw/GW1/up/hello",
            "gw/+/up/hello",
            "gw.>",
            "gw/gw1.up.hello",
            "gw.gw1/up/hello",
            "/gw/gw1/up/hello",
            "xx/gw1/up/hello",
        ] {
            assert_eq!(Topic::parse(text), None, "{text}");
        }
    }
}
