//! Things that happened, told to the cloud: records of the event lane, and the log.

use gateway_spool::SpoolHandle;
use protocols_model::{BootId, Clock, Instant, Lane};
use protocols_wire::{Body, Event, EventKind, Record, RecordStamp, TimeMap};
use std::sync::Arc;

/// Longest subject and text of an event, in bytes (the wire's limits).
const MAX_SUBJECT: usize = 256;
const MAX_TEXT: usize = 1024;

/// Where events go.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) spool: SpoolHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) boot: BootId,
}

impl Events {
    /// Tells one.
    pub(crate) async fn tell(&self, kind: EventKind, subject: &str, text: String) {
        self.tell_all(vec![(kind, subject.to_owned(), text)]).await;
    }

    /// Tells several in one go. A spool that has ended takes none; the gateway ends then anyway.
    pub(crate) async fn tell_all(&self, events: Vec<(EventKind, String, String)>) {
        let now = self.clock.wall();
        let bodies = events.into_iter().map(|(kind, subject, text)| {
            tracing::info!(?kind, subject, "{text}");
            Body::Event(Event {
                time: now,
                kind,
                subject: shorten(&subject, MAX_SUBJECT).to_owned(),
                text: shorten(&text, MAX_TEXT).to_owned(),
                alarm: None,
            })
        });
        self.append(bodies.collect()).await;
    }

    /// Tells how this boot's clock maps to UTC.
    pub(crate) async fn map(&self, origin: protocols_model::Timestamp, uncertainty_ns: u64) {
        let boot = self.boot;
        let map = TimeMap {
            boot,
            origin,
            uncertainty_ns,
        };
        tracing::info!(?map, "the clock is right");
        self.append(vec![Body::TimeMap(map)]).await;
    }

    /// Tells how the clocks of earlier boots map to UTC.
    pub(crate) async fn maps(&self, maps: Vec<TimeMap>) {
        for map in &maps {
            tracing::info!(?map, "an earlier run without a clock is placed");
        }
        self.append(maps.into_iter().map(Body::TimeMap).collect())
            .await;
    }

    /// The monotonic clock, for whoever limits the rate of events.
    pub(crate) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    async fn append(&self, bodies: Vec<Body>) {
        let stamp = RecordStamp {
            boot: self.boot,
            mono: self.clock.monotonic(),
            wall: self.clock.wall(),
        };
        let mut records = Vec::with_capacity(bodies.len());
        for body in bodies {
            match (Record { stamp, body }).encode() {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!(%error, "an event could not be encoded"),
            }
        }
        if let Err(error) = self.spool.append(Lane::Event, records).await {
            tracing::warn!(%error, "events are not kept");
        }
    }
}

/// The longest start of `text` that has at most `limit` bytes.
fn shorten(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shorten("aé", 2), "a");
        assert_eq!(shorten("aé", 3), "aé");
        assert_eq!(shorten("abc", 9), "abc");
    }
}
