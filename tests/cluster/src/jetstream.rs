//! What a broker node tells of its stream, and what is done to the stream on purpose.

use crate::plan::CLIENT_PORT;
use crate::status::StreamStatus;
use anyhow::Context as _;
use async_nats::ConnectOptions;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tests_net::Host;

/// The broker's own stream of publishes.
const STREAM: &str = "$MQTT_msgs";
/// One of ingest's consumers.
const CONSUMER: &str = "ingest-live";
/// Where a node tells of its streams.
pub(crate) const PAGE: &str = "/jsz?accounts=true&streams=true";
/// An answer of the broker's API.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The stream in what one node tells.
#[must_use]
pub(crate) fn stream_in(page: &Value) -> Option<StreamStatus> {
    let accounts = page.get("account_details")?.as_array()?;
    let streams = accounts
        .iter()
        .filter_map(|account| account.get("stream_detail")?.as_array())
        .flatten();
    let stream = streams
        .into_iter()
        .find(|stream| stream.get("name").and_then(Value::as_str) == Some(STREAM))?;
    let count = |key: &str| stream.pointer(key).and_then(Value::as_u64);
    Some(StreamStatus {
        leader: stream.pointer("/cluster/leader")?.as_str()?.to_owned(),
        messages: count("/state/messages")?,
        bytes: count("/state/bytes")?,
    })
}

/// The leader that most nodes name: one that is cut off still believes in its last.
#[must_use]
pub(crate) fn agreed(told: &[StreamStatus]) -> Option<StreamStatus> {
    let votes = |leader: &str| told.iter().filter(|one| one.leader == leader).count();
    let best = told.iter().max_by_key(|one| votes(&one.leader))?;
    // Only the leader knows what its stream holds now.
    let mut same = told.iter().filter(|one| one.leader == best.leader);
    same.find(|one| !one.leader.is_empty()).cloned()
}

/// What may be taken away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Victim {
    Stream,
    Consumer,
}

/// Takes the stream or a consumer away, as ingest's user, from a host.
pub(crate) fn delete(
    host: &Host,
    node: Ipv4Addr,
    ca: &Path,
    password: &str,
    victim: Victim,
) -> anyhow::Result<()> {
    let subject = match victim {
        Victim::Stream => format!("$JS.API.STREAM.DELETE.{STREAM}"),
        Victim::Consumer => format!("$JS.API.CONSUMER.DELETE.{STREAM}.{CONSUMER}"),
    };
    // A runtime in the thread that is on the host: its connections are made there.
    host.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = runtime.block_on(async {
            let options =
                ConnectOptions::with_user_and_password("ingest".to_owned(), password.to_owned())
                    .add_root_certificates(ca.to_owned())
                    .require_tls(true)
                    .request_timeout(Some(ANSWER_LIMIT));
            let client = options
                .connect(format!("tls://{node}:{CLIENT_PORT}"))
                .await?;
            let answer = client.request(subject, "".into()).await?;
            anyhow::Ok(answer.payload)
        })?;
        let answer: Value = serde_json::from_slice(&asked)?;
        let done = answer.get("success").and_then(Value::as_bool);
        anyhow::ensure!(done == Some(true), "the broker says {answer}");
        Ok(())
    })
    .with_context(|| format!("deleting a {victim:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_found_among_what_a_node_tells() {
        let page = serde_json::json!({ "account_details": [
            { "name": "SYS" },
            { "name": "FIELD", "stream_detail": [
                { "name": "$MQTT_sess", "cluster": { "leader": "x" }, "state": {} },
                { "name": STREAM, "cluster": { "leader": "broker-2" },
                  "state": { "messages": 4, "bytes": 512 } },
            ] },
        ] });
        let stream = stream_in(&page).unwrap();
        assert_eq!(
            (stream.leader.as_str(), stream.messages, stream.bytes),
            ("broker-2", 4, 512)
        );
        assert_eq!(
            stream_in(&serde_json::json!({ "account_details": [] })),
            None
        );
    }

    #[test]
    fn most_nodes_name_the_leader_and_nobody_does_where_none_is_known() {
        let told = |leader: &str| StreamStatus {
            leader: leader.into(),
            messages: 0,
            bytes: 0,
        };
        let three = [told("broker-1"), told("broker-2"), told("broker-2")];
        assert_eq!(agreed(&three).unwrap().leader, "broker-2");
        assert_eq!(agreed(&[told(""), told("")]), None);
        assert_eq!(agreed(&[]), None);
    }
}
