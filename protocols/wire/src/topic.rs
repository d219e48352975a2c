//! Topics: the only place with topic strings.
//!
//! | topic | QoS | carries |
//! |---|---|---|
//! | `gw/{gateway}/up/{lane}` | 1 | envelope, live |
//! | `gw/{gateway}/up/{lane}/history` | 1 | envelope, backlog; ingest drains live first |
//! | `gw/{gateway}/up/hello` | 0 | [`crate::Hello`] |
//! | `gw/{gateway}/up/reply` | 1 | command replies (reserved) |
//! | `gw/{gateway}/down/ack` | 0 | [`crate::Down`] |
//! | `gw/{gateway}/down/cmd` | 0 | commands (reserved) |

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
        todo!()
    }

    /// The NATS subject, tokens divided by `.`.
    #[must_use]
    pub fn to_nats(&self) -> String {
        todo!()
    }

    /// Reads an MQTT topic or a NATS subject; `None` when it is none of the contract's.
    #[must_use]
    pub fn parse(_text: &str) -> Option<Self> {
        todo!()
    }
}
