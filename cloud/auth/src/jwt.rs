//! The signed messages of a NATS auth callout: the server's question, our answer, the user's rights.
//!
//! A NATS JWT is `header.claims.signature`, each base64url; algorithm `ed25519-nkey`, signature over
//! the first two parts. The question is signed by the server, answer and user claims by the issuer
//! named in the broker's configuration.

use crate::nkeys::{self, AccountKey, KeyError, KeyKind};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocols_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest question read; certificates chains are a few KiB.
const MAX_QUESTION_BYTES: usize = 256 * 1024;

/// Why a question cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// Not three base64url parts, or too long.
    #[error("the message is not a signed claim")]
    Form,
    /// The claims are not those of an authorization request.
    #[error("the claims cannot be read")]
    Claims(#[source] serde_json::Error),
    /// The issuer is not a server key.
    #[error("the issuer's key cannot be read")]
    Key(#[from] KeyError),
    /// The signature is not by the issuer.
    #[error("the signature does not match")]
    Signature,
}

/// What a server asks: who is connecting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The asking server's public key; the answer's audience.
    pub server: String,
    /// One-time user key that the answer must name.
    pub user_key: String,
    /// MQTT client id; empty for anything but MQTT.
    pub client_id: String,
    /// Where the connection comes from.
    pub host: String,
    /// Leaf certificate, PEM, where a verified chain exists.
    pub certificate: Option<String>,
}

/// What a connection may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Account to place the connection in.
    pub account: String,
    /// Name the connection gets; shows up in the broker's events.
    pub name: String,
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
    /// How many subscriptions it may hold.
    pub subscriptions: i64,
}

#[derive(Deserialize)]
struct RequestClaims {
    iss: String,
    nats: RequestBody,
}

#[derive(Deserialize)]
struct RequestBody {
    server_id: ServerId,
    user_nkey: String,
    #[serde(default)]
    client_info: ClientInfo,
    #[serde(default)]
    client_tls: Option<ClientTls>,
}

#[derive(Deserialize)]
struct ServerId {
    id: String,
}

#[derive(Deserialize, Default)]
struct ClientInfo {
    #[serde(default)]
    host: String,
    #[serde(default)]
    mqtt_id: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct ClientTls {
    // Unverified certificates come in another field, which is left unread on purpose.
    #[serde(default)]
    verified_chains: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Claims<'a, T> {
    aud: &'a str,
    iat: i64,
    iss: &'a str,
    jti: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    sub: &'a str,
    nats: T,
}

#[derive(Serialize)]
struct UserBody<'a> {
    #[serde(rename = "pub")]
    publish: Allow<'a>,
    #[serde(rename = "sub")]
    subscribe: Allow<'a>,
    subs: i64,
    data: i64,
    payload: i64,
    allowed_connection_types: [&'static str; 1],
    #[serde(rename = "type")]
    kind: &'static str,
    version: u8,
}

#[derive(Serialize)]
struct Allow<'a> {
    allow: &'a [String],
}

#[derive(Serialize)]
struct ResponseBody<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    jwt: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    version: u8,
}

impl Question {
    /// Reads a server's question and checks its signature.
    ///
    /// # Errors
    /// [`JwtError`]; never panics, whatever the bytes.
    pub fn decode(message: &[u8]) -> Result<Self, JwtError> {
        if message.len() > MAX_QUESTION_BYTES {
            return Err(JwtError::Form);
        }
        let text = std::str::from_utf8(message).map_err(|_| JwtError::Form)?;
        let (signed, signature) = text.trim().rsplit_once('.').ok_or(JwtError::Form)?;
        let (_, claims) = signed.split_once('.').ok_or(JwtError::Form)?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Form);
        let claims: RequestClaims =
            serde_json::from_slice(&part(claims)?).map_err(JwtError::Claims)?;
        let server = nkeys::decode_public(&claims.iss, KeyKind::Server)?;
        if claims.iss != claims.nats.server_id.id
            || !nkeys::verify(&server, signed.as_bytes(), &part(signature)?)
        {
            return Err(JwtError::Signature);
        }
        let body = claims.nats;
        nkeys::decode_public(&body.user_nkey, KeyKind::User)?;
        let is_mqtt = body.client_info.kind.eq_ignore_ascii_case("mqtt");
        Ok(Self {
            server: body.server_id.id,
            user_key: body.user_nkey,
            client_id: if is_mqtt {
                body.client_info.mqtt_id
            } else {
                String::new()
            },
            host: body.client_info.host,
            certificate: body
                .client_tls
                .and_then(|tls| tls.verified_chains.into_iter().next())
                .and_then(|chain| chain.into_iter().next()),
        })
    }

    /// The answer that lets the connection in.
    #[must_use]
    pub fn grant(&self, key: &AccountKey, rights: &Rights, now: Timestamp) -> String {
        let user = encode(
            key,
            now,
            &rights.account,
            &rights.name,
            &self.user_key,
            UserBody {
                publish: Allow {
                    allow: &rights.publish,
                },
                subscribe: Allow {
                    allow: &rights.subscribe,
                },
                subs: rights.subscriptions,
                data: -1,
                payload: -1,
                allowed_connection_types: ["MQTT"],
                kind: "user",
                version: 2,
            },
        );
        self.respond(key, &user, "", now)
    }

    /// The answer that keeps it out. The reason shows in the broker's log, never at the client.
    #[must_use]
    pub fn refuse(&self, key: &AccountKey, reason: &str, now: Timestamp) -> String {
        self.respond(key, "", reason, now)
    }

    fn respond(&self, key: &AccountKey, jwt: &str, error: &str, now: Timestamp) -> String {
        let body = ResponseBody {
            jwt,
            error,
            kind: "authorization_response",
            version: 2,
        };
        encode(key, now, &self.server, "", &self.user_key, body)
    }
}

fn encode<T: Serialize>(
    key: &AccountKey,
    now: Timestamp,
    audience: &str,
    name: &str,
    subject: &str,
    nats: T,
) -> String {
    let iat = now.as_millis().div_euclid(1000);
    // Names the claim in logs; nothing checks it.
    let id = ring::digest::digest(
        &ring::digest::SHA256,
        format!("{iat}{subject}{name}").as_bytes(),
    );
    let claims = Claims {
        aud: audience,
        iat,
        iss: key.public(),
        jti: data_encoding::BASE32_NOPAD.encode(id.as_ref()),
        name,
        sub: subject,
        nats,
    };
    let header = URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = serde_json::to_vec(&claims).unwrap_or_default();
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests;
