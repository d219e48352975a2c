//! Whether a connection may come in, and with which rights. Pure: the registry's word is an argument.
//!
//! Common name of a verified certificate = MQTT client id = id of a gateway that the registry knows,
//! has not revoked, and has given this very certificate. Then it may publish below
//! `gw.{id}.up.` and subscribe below `gw.{id}.down.`, at `QoS 0`, and nothing else.

use crate::broker_config::FIELD_ACCOUNT;
use crate::jwt::{Question, Rights};
use cloud_pki::CertificateFacts;
use cloud_store::Gateway;
use protocols_model::GatewayId;

/// A gateway holds two: acknowledgements and commands. The rest is room for a wildcard (which
/// counts twice) and for a reconnect.
const SUBSCRIPTIONS: i64 = 16;

/// Why a connection stays out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Ingest is not ready: what the gateway would send would be kept nowhere.
    #[error("ingest is not ready yet")]
    NotReady,
    /// The registry cannot be asked.
    #[error("the registry cannot be asked")]
    RegistryAway,
    /// Not an MQTT connection, or one without a client id.
    #[error("the connection names no MQTT client id")]
    NoClientId,
    /// No certificate that our authority vouches for.
    #[error("no verified client certificate")]
    NoCertificate,
    /// The certificate cannot be read or has no single common name.
    #[error("the certificate names nobody")]
    Nameless,
    /// One gateway's certificate with another client id.
    #[error("certificate of {common_name:?} with client id {client_id:?}")]
    Mismatch {
        /// What the certificate says.
        common_name: String,
        /// What the connection says.
        client_id: String,
    },
    /// Nobody of that name in the registry.
    #[error("unknown gateway")]
    Unknown,
    /// The gateway was revoked.
    #[error("revoked gateway")]
    Revoked,
    /// A certificate of ours for this gateway, but not the one it was last given.
    #[error("the certificate is not the one in the registry")]
    OtherCertificate,
}

impl Refusal {
    /// The reason's name in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotReady => "not-ready",
            Self::RegistryAway => "registry-away",
            Self::NoClientId => "no-client-id",
            Self::NoCertificate => "no-certificate",
            Self::Nameless => "nameless-certificate",
            Self::Mismatch { .. } => "mismatch",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::OtherCertificate => "other-certificate",
        }
    }

    /// Whether the refusal says something about the one who connects, rather than about us.
    #[must_use]
    pub const fn is_about_the_client(&self) -> bool {
        !matches!(self, Self::NotReady | Self::RegistryAway)
    }
}

/// Who is asking, as far as the connection itself shows it: certificate and client id agree.
///
/// # Errors
/// [`Refusal`].
pub fn claimed_identity(question: &Question) -> Result<(GatewayId, CertificateFacts), Refusal> {
    if question.client_id.is_empty() {
        return Err(Refusal::NoClientId);
    }
    let pem = question
        .certificate
        .as_ref()
        .ok_or(Refusal::NoCertificate)?;
    let facts = cloud_pki::inspect_pem(pem).map_err(|_| Refusal::Nameless)?;
    let common_name = facts.common_name.clone().ok_or(Refusal::Nameless)?;
    if common_name != question.client_id {
        return Err(Refusal::Mismatch {
            common_name,
            client_id: question.client_id.clone(),
        });
    }
    // A name that is no gateway id cannot be in the registry.
    let gateway = GatewayId::try_new(&common_name).map_err(|_| Refusal::Unknown)?;
    Ok((gateway, facts))
}

/// Whether the registry trusts the one who proved to be `facts`.
///
/// # Errors
/// [`Refusal`].
pub fn decide(entry: Option<&Gateway>, facts: &CertificateFacts) -> Result<Rights, Refusal> {
    let entry = entry.ok_or(Refusal::Unknown)?;
    if entry.is_revoked() {
        return Err(Refusal::Revoked);
    }
    if entry.fingerprint != facts.fingerprint {
        return Err(Refusal::OtherCertificate);
    }
    Ok(rights(&entry.id))
}

fn rights(id: &GatewayId) -> Rights {
    Rights {
        account: FIELD_ACCOUNT.to_owned(),
        // The broker's events then name the connection by its gateway.
        name: id.to_string(),
        publish: vec![format!("gw.{id}.up.>")],
        // `gw/{id}/down/#` also covers its parent level, and the broker asks for both. No
        // `$MQTT.sub.>`: without it a QoS 1 subscription, which costs the broker 0.4 MiB, fails.
        subscribe: vec![format!("gw.{id}.down"), format!("gw.{id}.down.>")],
        subscriptions: SUBSCRIPTIONS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_pki::Authority;
    use protocols_model::Timestamp;

    const NOW: Timestamp = Timestamp(1_795_000_000_000_000_000);

    fn question(authority: &Authority, name: &str, client_id: &str) -> Question {
        let id = GatewayId::try_new(name).unwrap();
        let identity = authority.issue_gateway(&id, vec![], NOW).unwrap();
        Question {
            client_id: client_id.to_owned(),
            certificate: Some(identity.certificate),
            ..Question::default()
        }
    }

    fn entry(facts: &CertificateFacts) -> Gateway {
        Gateway {
            id: GatewayId::try_new("gw-1").unwrap(),
            serial: facts.serial.clone(),
            fingerprint: facts.fingerprint.clone(),
            not_after: facts.not_after,
            created: NOW,
            revoked: None,
            note: String::new(),
        }
    }

    #[test]
    fn a_known_gateway_gets_its_own_subjects_and_no_others() {
        let (authority, _) = Authority::create("t", NOW).unwrap();
        let (id, facts) = claimed_identity(&question(&authority, "gw-1", "gw-1")).unwrap();
        assert_eq!(id.as_str(), "gw-1");
        let rights = decide(Some(&entry(&facts)), &facts).unwrap();
        assert_eq!(rights.publish, ["gw.gw-1.up.>"]);
        assert_eq!(rights.subscribe, ["gw.gw-1.down", "gw.gw-1.down.>"]);
        assert_eq!(rights.account, "FIELD");
    }

    #[test]
    fn everybody_else_is_refused_with_the_reason() {
        let (authority, _) = Authority::create("t", NOW).unwrap();
        let asked = question(&authority, "gw-1", "gw-2");
        let refusal = claimed_identity(&asked).unwrap_err();
        assert_eq!(refusal.as_str(), "mismatch");

        let good = question(&authority, "gw-1", "gw-1");
        let (_, facts) = claimed_identity(&good).unwrap();
        assert_eq!(decide(None, &facts), Err(Refusal::Unknown));
        let revoked = Gateway {
            revoked: Some(NOW),
            ..entry(&facts)
        };
        assert_eq!(decide(Some(&revoked), &facts), Err(Refusal::Revoked));

        let (_, other) = claimed_identity(&question(&authority, "gw-1", "gw-1")).unwrap();
        assert_eq!(
            decide(Some(&entry(&facts)), &other),
            Err(Refusal::OtherCertificate)
        );
        let without = Question {
            certificate: None,
            ..good.clone()
        };
        assert_eq!(claimed_identity(&without), Err(Refusal::NoCertificate));
        let junk = Question {
            certificate: Some("junk".into()),
            ..good.clone()
        };
        assert_eq!(claimed_identity(&junk), Err(Refusal::Nameless));
        let nats = Question {
            client_id: String::new(),
            ..good
        };
        assert_eq!(claimed_identity(&nats), Err(Refusal::NoClientId));
    }
}
