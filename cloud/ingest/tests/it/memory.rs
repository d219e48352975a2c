//! A database in memory that can be away: what is settled, what is in quarantine, who is trusted.

use async_trait::async_trait;
use cloud_store::{
    Gateway, GatewayState, HelloState, Incoming, Ingest, LiveUpdate, NewGateway, QuarantineInput,
    Registry, Settled, StoreError,
};
use protocols_model::{Epoch, GatewayId, Lane, RefuseReason, SeqRange, SeqSet, Timestamp};
use protocols_wire::{AckItem, EpochState, Hello};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::broadcast;

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) away: AtomicBool,
    /// What each hello was told of the broker's stream.
    pub(crate) drained: Mutex<Vec<bool>>,
    pub(crate) stored: Mutex<BTreeMap<(GatewayId, Epoch, Lane), SeqSet>>,
    pub(crate) duplicates: Mutex<u64>,
    pub(crate) quarantine: Mutex<Vec<QuarantineInput>>,
    pub(crate) gateways: Mutex<BTreeMap<GatewayId, Gateway>>,
    pub(crate) connected: Mutex<BTreeMap<GatewayId, bool>>,
}

impl Memory {
    fn here(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Database {
                doing: "testing",
                source: "away".into(),
            });
        }
        Ok(())
    }

    pub(crate) fn count(&self, gateway: &str) -> u64 {
        let stored = self.stored.lock().unwrap();
        let of = stored
            .iter()
            .filter(|((id, _, _), _)| id.as_str() == gateway);
        of.map(|(_, set)| set.count()).sum()
    }
}

#[async_trait]
impl Ingest for Memory {
    async fn commit(&self, batch: Vec<Incoming>) -> Result<Vec<Settled>, StoreError> {
        self.here()?;
        let mut all = Vec::new();
        for incoming in batch {
            let revoked = self
                .gateways
                .lock()
                .unwrap()
                .get(&incoming.gateway)
                .is_none_or(Gateway::is_revoked);
            let mut items = Vec::new();
            for record in &incoming.records {
                let key = record.key;
                let range = SeqRange::one(key.seq).unwrap();
                let mut item = AckItem {
                    epoch: key.epoch,
                    lane: key.lane,
                    stored: SeqSet::new(),
                    refused: vec![],
                    retry: vec![],
                };
                if revoked {
                    item.refused.push((range, RefuseReason::Revoked));
                } else if record.body.is_err() {
                    item.refused.push((range, RefuseReason::Malformed));
                } else {
                    let mut stored = self.stored.lock().unwrap();
                    let place = (incoming.gateway.clone(), key.epoch, key.lane);
                    let set = stored.entry(place).or_default();
                    if set.contains(key.seq) {
                        *self.duplicates.lock().unwrap() += 1;
                    }
                    set.insert(range);
                    item.stored.insert(range);
                }
                items.push(item);
            }
            all.push(Settled {
                gateway: incoming.gateway,
                items,
                readings: 0,
                duplicates: 0,
            });
        }
        Ok(all)
    }

    async fn hello(
        &self,
        gateway: &GatewayId,
        hello: Hello,
        _: Timestamp,
        drained: bool,
    ) -> Result<HelloState, StoreError> {
        self.drained.lock().unwrap().push(drained);
        self.here()?;
        let stored = self.stored.lock().unwrap();
        let state = |held: &protocols_wire::Held| EpochState {
            epoch: held.epoch,
            lane: held.lane,
            settled: stored
                .get(&(gateway.clone(), held.epoch, held.lane))
                .cloned()
                .unwrap_or_default(),
            closed: false,
        };
        Ok(HelloState {
            generation: 1,
            epochs: hello.held.iter().map(state).collect(),
            missing_dictionaries: hello.dictionaries,
            cloned: false,
            refused: false,
        })
    }

    async fn quarantine(&self, input: QuarantineInput) -> Result<(), StoreError> {
        self.here()?;
        self.quarantine.lock().unwrap().push(input);
        Ok(())
    }

    fn generation(&self) -> u64 {
        1
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<LiveUpdate>> {
        broadcast::channel(1).1
    }
}

#[async_trait]
impl Registry for Memory {
    async fn add_gateway(&self, new: NewGateway) -> Result<(), StoreError> {
        let entry = Gateway {
            id: new.id.clone(),
            serial: new.serial,
            fingerprint: new.fingerprint,
            not_after: new.not_after,
            created: new.created,
            revoked: None,
            note: new.note,
        };
        self.gateways.lock().unwrap().insert(new.id, entry);
        Ok(())
    }

    async fn renew_gateway(
        &self,
        _: &GatewayId,
        _: &str,
        _: &str,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        unreachable!("nothing is renewed here")
    }

    async fn gateway(&self, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
        self.here()?;
        Ok(self.gateways.lock().unwrap().get(id).cloned())
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        self.here()?;
        Ok(self.gateways.lock().unwrap().values().cloned().collect())
    }

    async fn revoke_gateway(&self, id: &GatewayId, at: Timestamp) -> Result<bool, StoreError> {
        let mut gateways = self.gateways.lock().unwrap();
        let entry = gateways.get_mut(id).unwrap();
        Ok(entry.revoked.replace(at).is_none())
    }

    async fn set_session(
        &self,
        id: &GatewayId,
        connected: bool,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        self.connected.lock().unwrap().insert(id.clone(), connected);
        Ok(())
    }

    async fn set_sessions(&self, connected: &[GatewayId], _: Timestamp) -> Result<(), StoreError> {
        let mut all = self.connected.lock().unwrap();
        all.values_mut().for_each(|state| *state = false);
        for id in connected {
            all.insert(id.clone(), true);
        }
        Ok(())
    }

    async fn gateway_state(&self, _: &GatewayId) -> Result<Option<GatewayState>, StoreError> {
        unreachable!("nobody asks here")
    }
}
