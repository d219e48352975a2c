//! The steps of the ladder, carried out: each a future of its own, so that the task hears on meanwhile.

use super::Shared;
use crate::air::{limited, restart_scan};
use crate::ladder::Step;
use crate::radio::{Central, Opened, Radio, RadioError};
use std::sync::Arc;
use std::time::Duration;

/// How long opening the service may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an adapter stays off: less and some dongles do not notice.
const OFF: Duration = Duration::from_secs(2);

/// How a step ended. A rebuilt radio is there also when its scan could not be started: connections may
/// work.
pub(super) struct Repaired {
    pub(super) opened: Option<Opened>,
    pub(super) result: Result<(), RadioError>,
}

/// Carries out `step`. Waits for whoever is connecting to be done with the air.
pub(super) async fn repair(
    step: Step,
    shared: Arc<Shared>,
    radio: Arc<dyn Radio>,
    central: Option<Arc<dyn Central>>,
) -> Repaired {
    if step == Step::Rebuild {
        return rebuild(&shared, radio.as_ref()).await;
    }
    let mut air = shared.air.lock().await;
    let result = match &central {
        Some(central) if step == Step::PowerCycle => power_cycle(central.as_ref()).await,
        Some(central) => restart_scan(central.as_ref()).await,
        None => Err(RadioError::NoService("it is not open".to_owned())),
    };
    air.scanning = result.is_ok();
    Repaired {
        opened: None,
        result,
    }
}

async fn rebuild(shared: &Shared, radio: &dyn Radio) -> Repaired {
    let open = tokio::time::timeout(OPEN_TIMEOUT, radio.open(&shared.bus.adapter)).await;
    let opened = match open.unwrap_or(Err(RadioError::TimedOut)) {
        Ok(opened) => opened,
        Err(error) => {
            return Repaired {
                opened: None,
                result: Err(error),
            };
        }
    };
    let mut air = shared.air.lock().await;
    let result = restart_scan(opened.central.as_ref()).await;
    air.scanning = result.is_ok();
    Repaired {
        opened: Some(opened),
        result,
    }
}

async fn power_cycle(central: &dyn Central) -> Result<(), RadioError> {
    limited(central.set_powered(false)).await?;
    tokio::time::sleep(OFF).await;
    limited(central.set_powered(true)).await?;
    restart_scan(central).await
}
