//! What the uplink says of itself: hellos to the cloud, alarm events into the spool.

use super::{Session, Step};
use crate::link::{LinkError, MqttLink};
use crate::run::{Outcome, Uplink};
use gateway_spool::SpoolState;
use protocols_model::{DictionaryHash, Instant, Lane};
use protocols_wire::{
    Body, ClockState, EncodeError, Event, EventKind, Hello, Record, RecordStamp, Topic,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Envelope versions that this program writes.
const WIRE_VERSIONS: [u32; 1] = [1];
/// A second identity alarm waits so long.
const IDENTITY_EVERY: Duration = Duration::from_secs(600);

impl<L: MqttLink> Session<'_, L> {
    pub(super) fn hello(&mut self, now: Instant) -> Step {
        let state = Arc::clone(&self.spool.borrow());
        let mut dictionaries = state.dictionaries.clone();
        let named = self.up.engine.name_epochs(&state.held);
        loop {
            let nonce = self.up.engine.say_hello(dictionaries.clone(), now);
            let mut hello = self.hello_message(&state, nonce, dictionaries.clone());
            hello.held.clone_from(&named.held);
            hello.partial = named.partial || state.unread;
            match hello.encode() {
                Ok(payload) => {
                    let topic = Topic::Hello(self.up.options.gateway.clone()).to_mqtt();
                    let said = self.link.publish(&topic, false, payload);
                    return said.map_err(|full| self.end(LinkError::lost(full.to_string())));
                }
                // Dictionaries may be left out: they are attached instead. What epochs take is bounded.
                Err(EncodeError::TooLarge { .. }) if !dictionaries.is_empty() => {
                    dictionaries.truncate(dictionaries.len() / 2);
                }
                Err(error) => {
                    tracing::error!(%error, "hello cannot be said");
                    return Ok(());
                }
            }
        }
    }

    /// Everything but the epochs.
    fn hello_message(
        &self,
        state: &SpoolState,
        nonce: u64,
        dictionaries: Vec<DictionaryHash>,
    ) -> Hello {
        let options = &self.up.options;
        Hello {
            versions: WIRE_VERSIONS.to_vec(),
            nonce,
            boot: options.boot,
            epoch: state.epoch,
            held: Vec::new(),
            partial: true,
            dictionaries,
            clock: ClockState {
                synced: options.clock_synced.load(Ordering::Relaxed),
                wall: self.up.clock.wall(),
                mono: self.up.now().0,
            },
            loss_window: state.loss_window,
            spool_bytes: state.live_bytes,
            spool_quota_bytes: state.quota_bytes,
            software: options.software.clone(),
            config_revision: options.config_revision.clone(),
        }
    }

    pub(super) async fn store_away(&mut self) -> Step {
        tracing::warn!("the broker takes messages but the cloud behind it settles nothing");
        let text = "PUBACKs come, acknowledgements do not: the cloud's store is away, or its \
                    answers are not let through";
        append_event(self.up, EventKind::StoreAway, text).await
    }

    pub(super) async fn identity(&mut self, now: Instant) -> Step {
        let count = self.up.engine.counters().identity;
        let known = self.up.state.borrow().counters.identity;
        let reported = self.up.identity_reported;
        if count == known || reported.is_some_and(|at| now.since(at) < IDENTITY_EVERY) {
            return Ok(());
        }
        self.up.identity_reported = Some(now);
        tracing::error!("acknowledged was what was never sent: is another gateway using this id?");
        let text = "acknowledgements for records that were never sent: another gateway may use \
                    this identity";
        append_event(self.up, EventKind::Identity, text).await
    }
}

async fn append_event(up: &Uplink, kind: EventKind, text: &str) -> Step {
    let wall = up.clock.wall();
    let record = Record {
        stamp: RecordStamp {
            boot: up.options.boot,
            mono: up.now(),
            wall,
        },
        body: Body::Event(Event {
            time: wall,
            kind,
            subject: "uplink".to_owned(),
            text: text.to_owned(),
            alarm: None,
        }),
    };
    match record.encode() {
        Ok(sealed) => {
            let appended = up.spool.append(Lane::Event, vec![sealed]).await;
            appended.map_err(|_| Outcome::SpoolStopped)
        }
        Err(error) => {
            tracing::error!(%error, ?kind, "event not recorded");
            Ok(())
        }
    }
}
