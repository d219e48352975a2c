//! The uplink against a broker on raw bytes and a cloud of our own, with the real spool.
//!
//! Each fault of the broker is a script of one connection; each fault of the cloud a switch. In every
//! case: everything unsettled arrives in the end, nothing leaves the spool without an acknowledgement.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a surprise has to fail the test"
)]

mod broker;
mod cloud;
mod gateway;
mod pki;

mod brokers;
mod clouds;
mod tls;

use crate::broker::Broker;
use crate::cloud::Cloud;
use crate::pki::Authority;
use gateway_spool::SpoolHandle;
use gateway_uplink::{UplinkHandle, UplinkOptions};
use std::sync::{Arc, Mutex};

/// One broker, one cloud, one gateway.
struct Stage {
    authority: Authority,
    cloud: Arc<Mutex<Cloud>>,
    broker: Broker,
    spool: SpoolHandle,
    dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let authority = Authority::new();
        let cloud = Arc::new(Mutex::new(Cloud {
            generation: 5,
            ..Cloud::default()
        }));
        let broker = Broker::start(&authority, &cloud).await;
        let dir = tempfile::tempdir().unwrap();
        let spool = gateway::open_spool(dir.path());
        Self {
            authority,
            cloud,
            broker,
            spool,
            dir,
        }
    }

    fn options(&self) -> UplinkOptions {
        gateway::options(&self.authority, vec![self.broker.server.clone()])
    }

    fn uplink(&self) -> UplinkHandle {
        self.uplink_with(self.options())
    }

    fn uplink_with(&self, options: UplinkOptions) -> UplinkHandle {
        gateway_uplink::start(options, self.spool.clone(), gateway::clock(0))
    }

    fn cloud(&self) -> std::sync::MutexGuard<'_, Cloud> {
        self.cloud.lock().unwrap()
    }

    /// Everything appended is in the store and has left the spool.
    async fn all_stored(&self, uplink: &UplinkHandle, telemetry: usize) {
        gateway::empty(&self.spool, uplink).await;
        assert_eq!(self.cloud().telemetry(), telemetry);
        let counters = self.spool.state().borrow().counters;
        assert_eq!(counters.unknown_settled, 0);
        assert_eq!(counters.evicted_records, 0);
    }
}
