//! What the gateway knows of the time: its runs, the clocks it compares, what the machine says.

use crate::boots::Boots;
use crate::clock_watch::ClockWatch;
use crate::time_sources::{self, Found};
use gateway_config::GatewayConfig;
use protocols_model::{BootId, Clock};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// See the module.
#[derive(Debug)]
pub(super) struct Clocks {
    pub(super) watch: ClockWatch,
    pub(super) boots: Boots,
    pub(super) found: watch::Receiver<Found>,
    _looking: AbortOnDropHandle<()>,
}

impl Clocks {
    /// Enters this run, and begins to look.
    pub(super) async fn start(
        config: &GatewayConfig,
        clock: &Arc<dyn Clock>,
        boot: BootId,
    ) -> Self {
        let boots = Boots::begin(&config.gateway.state_dir, boot, clock.monotonic());
        let (found, looking) = time_sources::start(config, clock).await;
        Self {
            watch: ClockWatch::default(),
            boots,
            found,
            _looking: looking,
        }
    }
}
