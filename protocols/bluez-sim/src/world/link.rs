//! Links to sensors: connecting, services that become known, disconnecting, and everything that fails there.

use std::time::Duration;

use protocols_model::Instant;

use super::radio::device_path;
use super::request::{Answer, Outcome, Refusal};
use super::{CallId, DEVICE, Timer, World, one};
use crate::journal::Event;
use crate::names::Address;
use crate::value::{Props, Value};

/// The link to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    /// One attempt is under way; the call is answered at its end.
    Connecting {
        call: CallId,
        attempt: u64,
    },
    Up {
        attempt: u64,
        resolved: bool,
    },
}

impl Link {
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

impl World {
    /// A client wants a link.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        adapter: &str,
        address: Address,
        call: CallId,
    ) -> Outcome {
        self.note(adapter, Some(address), Event::ConnectAsked);
        let Some(state) = self.adapters.get_mut(adapter) else {
            return Refusal::no_object().into();
        };
        if !state.powered {
            return Refusal::not_ready().into();
        }
        let Some(device) = state.devices.get_mut(&address) else {
            return Refusal::no_object().into();
        };
        match device.link {
            Link::Connecting { .. } => return Refusal::in_progress_short().into(),
            Link::Up { .. } => return Outcome::Done(Ok(Answer::Nothing)),
            Link::Down => {}
        }
        let nearby = self.nearby.get(&address);
        if nearby.is_some_and(|nearby| nearby.refuses_connect) {
            return Refusal::failed("le-connection-refused").into();
        }
        device.temporary = false;
        self.counter += 1;
        let attempt = self.counter;
        device.link = Link::Connecting { call, attempt };
        if nearby.is_some_and(|nearby| nearby.hangs_connect) {
            return Outcome::Later;
        }
        let answers = nearby.is_some_and(|nearby| {
            !nearby.out_of_range
                && nearby.linked_to.is_none()
                && !nearby.sensor.services.is_empty()
                && nearby.heard_by(adapter)
        });
        let span = if answers {
            self.timing.connect
        } else {
            self.timing.connect_limit
        };
        let timer = Timer::Linked {
            adapter: adapter.to_owned(),
            address,
            attempt,
        };
        self.after(now, span, timer);
        Outcome::Later
    }

    /// The time of a link attempt is over: the link is up, or the attempt has failed.
    pub(super) fn link_attempt_ends(
        &mut self,
        now: Instant,
        adapter: &str,
        address: Address,
        attempt: u64,
    ) {
        let Some(device) = self
            .adapters
            .get_mut(adapter)
            .and_then(|a| a.devices.get_mut(&address))
        else {
            return;
        };
        let Link::Connecting {
            call,
            attempt: current,
        } = device.link
        else {
            return;
        };
        if current != attempt {
            return;
        }
        // Asked again: the sensor may have gone, or come, while the attempt ran.
        let sensor = self.nearby.get_mut(&address).filter(|nearby| {
            !nearby.out_of_range && nearby.linked_to.is_none() && !nearby.sensor.services.is_empty()
        });
        let Some(sensor) = sensor else {
            device.link = Link::Down;
            return self.reply(call, Err(Refusal::failed("le-connection-abort-by-local")));
        };
        sensor.linked_to = Some(adapter.to_owned());
        let resolves = !sensor.never_resolves;
        device.link = Link::Up {
            attempt,
            resolved: false,
        };
        self.note(adapter, Some(address), Event::Connected(true));
        self.tree.set(
            &device_path(adapter, address),
            DEVICE,
            one("Connected", Value::Bool(true)),
        );
        self.reply(call, Ok(Answer::Nothing));
        if resolves {
            let timer = Timer::Resolved {
                adapter: adapter.to_owned(),
                address,
                attempt,
            };
            self.after(now, self.timing.resolve, timer);
        }
    }

    /// The services of a linked device are known: their objects appear, and who listened before listens again.
    pub(super) fn services_resolved(
        &mut self,
        now: Instant,
        adapter: &str,
        address: Address,
        attempt: u64,
    ) {
        let path = device_path(adapter, address);
        let Some(device) = self
            .adapters
            .get_mut(adapter)
            .and_then(|a| a.devices.get_mut(&address))
        else {
            return;
        };
        if device.link
            != (Link::Up {
                attempt,
                resolved: false,
            })
        {
            return;
        }
        device.link = Link::Up {
            attempt,
            resolved: true,
        };
        let shown = std::mem::replace(&mut device.services_shown, true);
        if !shown {
            self.show_services(adapter, address);
        }
        let mut props = one("ServicesResolved", Value::Bool(true));
        props.extend(self.service_uuids(adapter, address));
        self.tree.set(&path, DEVICE, props);
        self.listen_again(now, adapter, address);
    }

    /// The UUIDs of the services join those of the advertisements.
    fn service_uuids(&mut self, adapter: &str, address: Address) -> Props {
        let offered: Vec<_> = self
            .nearby
            .get(&address)
            .map(|nearby| {
                nearby
                    .sensor
                    .services
                    .iter()
                    .map(|service| service.uuid)
                    .collect()
            })
            .unwrap_or_default();
        let Some(device) = self
            .adapters
            .get_mut(adapter)
            .and_then(|a| a.devices.get_mut(&address))
        else {
            return Props::new();
        };
        let before = device.uuids.len();
        for uuid in offered {
            if !device.uuids.contains(&uuid) {
                device.uuids.push(uuid);
            }
        }
        if device.uuids.len() == before {
            Props::new()
        } else {
            one("UUIDs", Value::uuids(&device.uuids))
        }
    }

    /// A client ends the link.
    pub(super) fn disconnect(&mut self, now: Instant, adapter: &str, address: Address) -> Outcome {
        let Some(state) = self.adapters.get(adapter) else {
            return Refusal::no_object().into();
        };
        if !state.powered {
            return Refusal::not_ready().into();
        }
        match state.devices.get(&address).map(|device| &device.link) {
            None => Refusal::no_object().into(),
            Some(Link::Down) => Refusal::not_connected().into(),
            Some(_) => {
                self.drop_link(now, adapter, address);
                Outcome::Done(Ok(Answer::Nothing))
            }
        }
    }

    /// The link is down from now on; an attempt under way fails.
    pub(super) fn drop_link(&mut self, _now: Instant, adapter: &str, address: Address) {
        let Some(device) = self
            .adapters
            .get_mut(adapter)
            .and_then(|a| a.devices.get_mut(&address))
        else {
            return;
        };
        match std::mem::replace(&mut device.link, Link::Down) {
            Link::Down => {}
            Link::Connecting { call, .. } => {
                self.reply(call, Err(Refusal::failed("le-connection-abort-by-local")));
            }
            Link::Up { resolved, .. } => {
                if let Some(nearby) = self.nearby.get_mut(&address) {
                    nearby.linked_to = None;
                }
                self.note(adapter, Some(address), Event::Connected(false));
                self.fall_silent(adapter, address);
                let path = device_path(adapter, address);
                if resolved {
                    self.tree
                        .set(&path, DEVICE, one("ServicesResolved", Value::Bool(false)));
                }
                self.tree
                    .set(&path, DEVICE, one("Connected", Value::Bool(false)));
            }
        }
    }

    /// All links of an adapter break.
    pub(super) fn drop_links(&mut self, now: Instant, adapter: &str) {
        let addresses: Vec<Address> = self
            .adapters
            .get(adapter)
            .map(|state| state.devices.keys().copied().collect())
            .unwrap_or_default();
        for address in addresses {
            self.drop_link(now, adapter, address);
        }
    }

    /// The links of a sensor break, on whatever adapter.
    pub(super) fn break_links(&mut self, now: Instant, address: Address) {
        for adapter in self.adapters.keys().cloned().collect::<Vec<_>>() {
            self.drop_link(now, &adapter, address);
        }
    }

    /// A sensor whose services did not resolve does so from now on.
    pub(super) fn resolve_now(&mut self, now: Instant, address: Address) {
        let waiting: Vec<(String, u64)> = self
            .adapters
            .iter()
            .filter_map(
                |(name, adapter)| match adapter.devices.get(&address)?.link {
                    Link::Up {
                        attempt,
                        resolved: false,
                    } => Some((name.clone(), attempt)),
                    _ => None,
                },
            )
            .collect();
        for (adapter, attempt) in waiting {
            self.after(
                now,
                Duration::ZERO,
                Timer::Resolved {
                    adapter,
                    address,
                    attempt,
                },
            );
        }
    }
}
