//! The question is believed only as its server signed it; the answer names exactly what was granted.

use super::*;
use data_encoding::BASE32_NOPAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

fn text(prefix: u8, key: &[u8]) -> String {
    // The public form of a key of any kind, through the account form's checksum.
    let mut raw = vec![prefix];
    raw.extend_from_slice(key);
    let crc = raw.iter().fold(0u16, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    raw.extend_from_slice(&crc.to_le_bytes());
    BASE32_NOPAD.encode(&raw)
}

fn question(edit: impl FnOnce(&mut Value)) -> String {
    let server = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let id = text(13 << 3, server.public_key().as_ref());
    let mut claims = json!({
        "iss": id, "aud": "nats-authorization-request",
        "nats": {
            "server_id": {"id": id, "name": "n1"},
            "user_nkey": text(20 << 3, &[1; 32]),
            "client_info": {"host": "127.0.0.1", "type": "mqtt", "mqtt_id": "gw-1"},
            "client_tls": {"verified_chains": [["leaf", "ca"]]},
        }
    });
    edit(&mut claims);
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode("{}"),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let signature = URL_SAFE_NO_PAD.encode(server.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims(jwt: &str) -> Value {
    let part = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[test]
fn a_question_gives_client_id_and_leaf_certificate() {
    let question = Question::decode(question(|_| ()).as_bytes()).unwrap();
    assert_eq!(question.client_id, "gw-1");
    assert_eq!(question.certificate.as_deref(), Some("leaf"));
}

#[test]
fn a_certificate_that_no_chain_verifies_is_not_seen() {
    let unverified = question(|claims| {
        claims["nats"]["client_tls"] = json!({"certs": ["leaf"]});
    });
    assert_eq!(
        Question::decode(unverified.as_bytes()).unwrap().certificate,
        None
    );
}

#[test]
fn a_connection_that_is_not_mqtt_has_no_client_id() {
    let nats = question(|claims| claims["nats"]["client_info"]["type"] = json!("nats"));
    assert_eq!(Question::decode(nats.as_bytes()).unwrap().client_id, "");
}

#[test]
fn a_forged_question_is_refused() {
    let good = question(|_| ());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut other = URL_SAFE_NO_PAD.decode(signature).unwrap();
    other[3] ^= 1;
    let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other));
    assert!(matches!(
        Question::decode(forged.as_bytes()),
        Err(JwtError::Signature)
    ));
    let foreign = question(|claims| claims["nats"]["server_id"]["id"] = json!("NOTHER"));
    assert!(matches!(
        Question::decode(foreign.as_bytes()),
        Err(JwtError::Signature)
    ));
    for junk in ["", "a", "a.b", "a.b.c", "..", "\u{1F600}.x.y"] {
        assert!(Question::decode(junk.as_bytes()).is_err(), "{junk}");
    }
}

#[test]
fn the_answer_grants_what_was_asked_to_be_granted_and_is_signed_by_the_issuer() {
    let key = AccountKey::from_seed(&AccountKey::seed_text(&[3; 32])).unwrap();
    let asked = Question::decode(question(|_| ()).as_bytes()).unwrap();
    let rights = Rights {
        account: "FIELD".into(),
        name: "gw-1".into(),
        publish: vec!["gw.gw-1.up.>".into()],
        subscribe: vec!["gw.gw-1.down.>".into()],
        subscriptions: 8,
    };
    let now = Timestamp::from_millis(1_795_000_000_000);
    let answer = asked.grant(&key, &rights, now);
    let (signed, signature) = answer.rsplit_once('.').unwrap();
    let public = nkeys::decode_public(key.public(), KeyKind::Account).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(nkeys::verify(&public, signed.as_bytes(), &signature));
    let outer = claims(&answer);
    assert_eq!(outer["aud"], asked.server);
    assert_eq!(outer["sub"], asked.user_key);
    let user = claims(outer["nats"]["jwt"].as_str().unwrap());
    assert_eq!(user["aud"], "FIELD");
    assert_eq!(user["nats"]["pub"]["allow"], json!(["gw.gw-1.up.>"]));
    assert_eq!(user["nats"]["sub"]["allow"], json!(["gw.gw-1.down.>"]));
    let refused = claims(&asked.refuse(&key, "unknown gateway", now));
    assert_eq!(refused["nats"]["error"], "unknown gateway");
    assert!(refused["nats"].get("jwt").is_none());
}
