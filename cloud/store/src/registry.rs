//! Gateways: who they are, and the four truths about how they are.
//!
//! Broker session, last hello, device links and data freshness are kept apart: each answers a
//! different question, and none is derived from another.

use protocols_model::{GatewayId, Timestamp};
use protocols_wire::Hello;

/// A gateway to be entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGateway {
    /// Its id: unique, also MQTT client id and certificate common name.
    pub id: GatewayId,
    /// Serial number of its certificate, lower-case hex.
    pub serial: String,
    /// SHA-256 of its certificate (DER), lower-case hex.
    pub fingerprint: String,
    /// End of the certificate's validity.
    pub not_after: Timestamp,
    /// When it was entered.
    pub created: Timestamp,
    /// For people; may be empty.
    pub note: String,
}

/// A gateway of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Serial number of its certificate, lower-case hex.
    pub serial: String,
    /// SHA-256 of its certificate (DER), lower-case hex.
    pub fingerprint: String,
    /// End of the certificate's validity.
    pub not_after: Timestamp,
    /// When it was entered.
    pub created: Timestamp,
    /// When it was revoked; `None` while it is trusted.
    pub revoked: Option<Timestamp>,
    /// For people.
    pub note: String,
}

impl Gateway {
    /// Whether it was revoked.
    #[must_use]
    pub const fn is_revoked(&self) -> bool {
        self.revoked.is_some()
    }
}

/// What is known about a gateway, each truth by itself. (Device links: [`crate::Queries::devices`].)
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayState {
    /// Its entry in the registry.
    pub gateway: Gateway,
    /// Broker session: whether it is connected and since when; `None` when nobody ever saw it.
    pub session: Option<(bool, Timestamp)>,
    /// Last hello and when it came.
    pub hello: Option<(Timestamp, Hello)>,
    /// Whether its identity seems to be in use twice.
    pub cloned: bool,
    /// Data freshness: newest sample time.
    pub newest_sample: Option<Timestamp>,
    /// Data freshness: when the newest record was received.
    pub newest_received: Option<Timestamp>,
    /// Series it has.
    pub series: u64,
    /// Inputs of it in quarantine.
    pub quarantined: u64,
}
