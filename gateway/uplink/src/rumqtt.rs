//! The link on rumqttc: the only file that names it.
//!
//! A fresh client and event loop for every connection; both are dropped at the first error, so its
//! pending list, stale events and collisions cannot reach the next connection. `EventLoop::poll` is
//! not cancel-safe (a packet taken from its queue is lost when the future is dropped in a flush), so
//! it lives inside a stream that keeps the future over cancellations. PUBACKs that the loop had read
//! before it failed are delivered before the error.

use crate::link::{LinkError, LinkEvent, LinkFull, MqttLink, Server};
use crate::window::PACKET_IDS;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use protocols_wire::limits::MAX_ENVELOPE_BYTES;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions,
    NetworkOptions, Outgoing, QoS, StateError, SubscribeReasonCode, TlsConfiguration, TlsError,
    Transport,
};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

/// Largest packet either way: an envelope with its topic and framing.
const MAX_PACKET_BYTES: usize = MAX_ENVELOPE_BYTES + 1024;
/// Requests queued at most: every packet id, the subscription, hellos and the goodbye.
const QUEUE: usize = PACKET_IDS as usize + 16;

/// How a link is set up.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    /// Client id: the gateway's.
    pub(crate) client: String,
    /// Pause between pings; a dead peer is noticed within two of them.
    pub(crate) keep_alive: Duration,
    /// Longest time for a connect, and for a write that the peer does not take.
    pub(crate) stall: Duration,
    /// Most bytes in the system's send buffer: what lies there cannot be overtaken any more.
    pub(crate) send_buffer: u32,
}

/// A connection by rumqttc.
pub(crate) struct RumqttLink {
    client: AsyncClient,
    events: BoxStream<'static, Result<LinkEvent, LinkError>>,
}

impl RumqttLink {
    /// Starts a connection attempt; its outcome is the first event.
    pub(crate) fn start(options: &LinkOptions, server: &Server, tls: ClientConfig) -> Self {
        let mut mqtt = MqttOptions::new(&options.client, &server.host, server.port);
        mqtt.set_clean_session(true)
            .set_keep_alive(options.keep_alive.max(Duration::from_secs(1)))
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES)
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::new(tls),
            )));
        let (client, mut eventloop) = AsyncClient::new(mqtt, QUEUE);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_tcp_send_buffer_size(options.send_buffer);
        network.set_connection_timeout(options.stall.as_secs().max(1));
        eventloop.set_network_options(network);
        Self {
            client,
            events: events(eventloop),
        }
    }
}

/// The loop's events until its first error; then what it had read, then the error.
fn events(eventloop: EventLoop) -> BoxStream<'static, Result<LinkEvent, LinkError>> {
    enum Stage {
        Open(Box<EventLoop>),
        Ending(VecDeque<Result<LinkEvent, LinkError>>),
    }
    let start = Stage::Open(Box::new(eventloop));
    futures::stream::unfold(start, |stage| async move {
        match stage {
            Stage::Open(mut eventloop) => match eventloop.poll().await {
                Ok(event) => Some((translate(event), Stage::Open(eventloop))),
                Err(error) => {
                    let read = std::mem::take(&mut eventloop.state.events);
                    let mut rest: VecDeque<_> = read.into_iter().map(translate).collect();
                    rest.push_back(Err(explain(&error)));
                    let first = rest.pop_front()?;
                    Some((first, Stage::Ending(rest)))
                }
            },
            Stage::Ending(mut rest) => Some((rest.pop_front()?, Stage::Ending(rest))),
        }
    })
    .boxed()
}

impl MqttLink for RumqttLink {
    async fn next(&mut self) -> Result<LinkEvent, LinkError> {
        let event = self.events.next().await;
        event.unwrap_or_else(|| Err(LinkError::lost("the connection has ended")))
    }

    fn publish(&mut self, topic: &str, confirmed: bool, payload: Bytes) -> Result<(), LinkFull> {
        let qos = if confirmed {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        };
        let sent = self.client.try_publish(topic, qos, false, payload);
        sent.map_err(|_| LinkFull)
    }

    fn subscribe(&mut self, topic: &str) -> Result<(), LinkFull> {
        let asked = self.client.try_subscribe(topic, QoS::AtMostOnce);
        asked.map_err(|_| LinkFull)
    }

    fn disconnect(&mut self) {
        // A full queue is as good as a goodbye: the connection is dropped next.
        if self.client.try_disconnect().is_err() {
            tracing::debug!("no room for a goodbye to the broker");
        }
    }
}

fn translate(event: Event) -> Result<LinkEvent, LinkError> {
    Ok(match event {
        Event::Incoming(Incoming::ConnAck(_)) => LinkEvent::Connected,
        Event::Incoming(Incoming::PubAck(ack)) => LinkEvent::Taken(ack.pkid),
        Event::Incoming(Incoming::SubAck(ack)) => {
            if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                return Err(LinkError::refused(
                    "the broker refuses the subscription to the acknowledgement topic; \
                     check the gateway's permissions",
                ));
            }
            LinkEvent::Subscribed
        }
        Event::Incoming(Incoming::Publish(publish)) => LinkEvent::Message {
            topic: publish.topic,
            payload: publish.payload,
        },
        Event::Outgoing(Outgoing::Publish(packet)) if packet != 0 => LinkEvent::Sent(packet),
        Event::Incoming(_) | Event::Outgoing(_) => LinkEvent::Other,
    })
}

/// Says for people what a connection died of, and whether the other side said no.
fn explain(error: &ConnectionError) -> LinkError {
    if let Some(tls) = find_tls(error) {
        return explain_tls(tls);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => LinkError::refused(match code {
            ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => {
                "the broker does not admit this gateway: unknown, revoked, or its certificate \
                 does not bear its id"
                    .to_owned()
            }
            ConnectReturnCode::BadClientId => "the broker refuses the client id".to_owned(),
            other => format!("the broker refuses the connection ({other:?})"),
        }),
        ConnectionError::NetworkTimeout => LinkError::lost("no answer from the broker in time"),
        ConnectionError::FlushTimeout => {
            LinkError::lost("the broker takes no more bytes: the connection stalls")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            LinkError::lost("the broker closed the connection")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            LinkError::lost("the broker answers no pings: the connection is dead")
        }
        other => LinkError::lost(chain(other)),
    }
}

fn explain_tls(error: &rustls::Error) -> LinkError {
    let text = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                return LinkError {
                    expired: true,
                    ..LinkError::refused(
                        "the broker's certificate has expired, or the clock here is ahead",
                    )
                };
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet: the clock here is behind".to_owned()
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the broker's certificate is not signed by the configured CA".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the broker's certificate is for another name than the configured server".to_owned()
            }
            other => format!("the broker's certificate is not accepted: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the broker says that this gateway's certificate has expired".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRevoked) => {
            "the broker says that this gateway's certificate is revoked".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the broker refuses this gateway's certificate ({alert:?})")
        }
        other => return LinkError::lost(format!("TLS failed: {other}")),
    };
    LinkError::refused(text)
}

/// The TLS error inside, wherever it is wrapped: rustls hides in `io::Error`s.
fn find_tls(error: &ConnectionError) -> Option<&rustls::Error> {
    if let ConnectionError::Tls(TlsError::TLS(tls)) = error {
        return Some(tls);
    }
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let io = error.downcast_ref::<std::io::Error>();
        let inner = io.and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The error with its causes, without repeating what a cause says already.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
