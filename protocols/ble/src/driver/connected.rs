//! A connection to one device: made with the air to itself, its characteristics found, its notifications
//! asked for. All of it under one time-out, and undone when any of it fails.

use super::{FAREWELL, Shared};
use crate::address::Address;
use crate::config::Gatt;
use crate::gatt::{How, Plan};
use crate::radio::{Central, Peer, RadioError};
use std::sync::Arc;
use std::time::Duration;

/// A device that is connected and listened to.
pub(super) struct Connected {
    pub(super) peer: Box<dyn Peer>,
    /// Where each group's characteristic stands; `None`: the device has none, or it cannot be used so.
    pub(super) places: Vec<Option<usize>>,
    /// What is missing, for people.
    pub(super) missing: Vec<String>,
}

/// A connection that could not be made.
pub(super) struct Refused {
    pub(super) error: RadioError,
    /// How long the air was taken for it.
    pub(super) cost: Duration,
}

/// Makes a connection. One to a `dead` device waits for its share of the air.
pub(super) async fn connect(
    shared: Arc<Shared>,
    central: Arc<dyn Central>,
    address: Address,
    gatt: Gatt,
    plan: Arc<Plan>,
    dead: bool,
) -> Result<Connected, Refused> {
    let air = loop {
        let air = shared.air.lock().await;
        let wait = shared.budget.wait(shared.now());
        if !dead || wait.is_zero() {
            break air;
        }
        drop(air);
        tokio::time::sleep(wait).await;
    };
    let began = shared.now();
    air.pause(central.as_ref()).await;
    let connecting = async {
        let peer = central.connect(address).await?;
        subscribe(peer, &gatt, &plan).await
    };
    let connected = tokio::time::timeout(gatt.connect_timeout, connecting).await;
    let connected = connected.unwrap_or(Err(RadioError::TimedOut));
    if connected.is_err() {
        // Half a connection would keep the device from everybody else.
        drop(tokio::time::timeout(FAREWELL * 4, central.disconnect(address)).await);
    }
    if air.resume(central.as_ref()).await.is_err() {
        shared.scan_lost.notify_one();
    }
    let now = shared.now();
    let cost = now.since(began);
    connected.map_err(|error| {
        // A device that is not there is not waited for.
        if error != RadioError::NotHeard {
            shared.budget.spent(cost, now);
        }
        Refused { error, cost }
    })
}

async fn subscribe(peer: Box<dyn Peer>, gatt: &Gatt, plan: &Plan) -> Result<Connected, RadioError> {
    let all = peer.characteristics();
    let mut missing = Vec::new();
    let mut places = Vec::new();
    for group in &plan.groups {
        let place = group.target.find(all);
        let found = place.and_then(|place| all.get(place));
        let usable = found.map(|found| match group.how {
            How::Read(_) => found.read,
            How::Notify(_) => found.notify,
        });
        match (usable, group.how) {
            (Some(true), _) => {}
            (Some(false), How::Read(_)) => missing.push(format!("{} cannot be read", group.target)),
            (Some(false), How::Notify(_)) => {
                missing.push(format!("{} does not notify", group.target));
            }
            (None, _) => missing.push(format!("it has no {}", group.target)),
        }
        places.push(place.filter(|_| usable == Some(true)));
    }
    let mut told: Vec<usize> = plan
        .groups
        .iter()
        .zip(&places)
        .filter(|(group, _)| matches!(group.how, How::Notify(_)))
        .filter_map(|(_, place)| *place)
        .collect();
    told.sort_unstable();
    told.dedup();
    for place in told {
        let subscribed = tokio::time::timeout(gatt.timeout, peer.subscribe(place)).await;
        subscribed.unwrap_or(Err(RadioError::TimedOut))?;
    }
    Ok(Connected {
        peer,
        places,
        missing,
    })
}
