//! What a broker node tells of its stream, and what is done to the stream on purpose.

use crate::plan::CLIENT_PORT;
use crate::status::StreamStatus;
use anyhow::Context as _;
use async_nats::ConnectOptions;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::PathBuf;
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

/// What is done to the stream on purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Harm {
    /// It is deleted.
    DeleteStream,
    /// A consumer of ingest is.
    DeleteConsumer,
    /// It may hold so many bytes and no more, oldest out first.
    Bound(u64),
}

/// Where the broker's API is asked, and as whom.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) host: Host,
    pub(crate) node: Ipv4Addr,
    pub(crate) ca: PathBuf,
    pub(crate) password: String,
}

impl Desk {
    /// Does harm to the stream, as ingest's user, from a host.
    pub(crate) fn harm(&self, harm: Harm) -> anyhow::Result<()> {
        // A runtime in the thread that is on the host: its connections are made there.
        self.host
            .inside(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(self.ask(harm))
            })
            .with_context(|| format!("{harm:?}"))
    }

    async fn ask(&self, harm: Harm) -> anyhow::Result<()> {
        let (name, password) = ("ingest".to_owned(), self.password.clone());
        let client = ConnectOptions::with_user_and_password(name, password)
            .add_root_certificates(self.ca.clone())
            .require_tls(true)
            .request_timeout(Some(ANSWER_LIMIT))
            .connect(format!("tls://{}:{CLIENT_PORT}", self.node))
            .await?;
        let ask = async |subject: String, body: String| {
            let answer = client.request(subject, body.into()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            let error = answer.get("error");
            anyhow::ensure!(error.is_none(), "the broker says {answer}");
            anyhow::Ok(answer)
        };
        let (subject, body) = match harm {
            Harm::DeleteStream => (format!("STREAM.DELETE.{STREAM}"), String::new()),
            Harm::DeleteConsumer => {
                let subject = format!("CONSUMER.DELETE.{STREAM}.{CONSUMER}");
                (subject, String::new())
            }
            Harm::Bound(bytes) => {
                let info = format!("$JS.API.STREAM.INFO.{STREAM}");
                let mut info = ask(info, String::new()).await?;
                let config = info.get_mut("config").and_then(Value::as_object_mut);
                let config = config.context("no configuration of the stream")?;
                config.insert("max_bytes".to_owned(), bytes.into());
                let config = serde_json::to_string(config)?;
                (format!("STREAM.UPDATE.{STREAM}"), config)
            }
        };
        ask(format!("$JS.API.{subject}"), body).await.map(drop)
    }
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
