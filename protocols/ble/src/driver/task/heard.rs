//! What the radio says: advertisements to readings, health to troubles, silence to bad readings.

use super::Task;
use crate::advert::Advert;
use crate::driver::{Shared, beat};
use crate::ladder::Cause;
use crate::listener::Heard;
use crate::outbox::Outbox;
use crate::radio::{Health, Opened};
use protocols_driver::{LinkState, Sweep};
use protocols_model::{Instant, Reading, Reason, Timestamp};
use std::sync::Arc;

/// Advertisements taken before the clock is looked at again.
const BURST: usize = 64;

impl Task {
    pub(super) fn heard(&mut self, heard: Option<FromRadio>) {
        let now = self.shared.now();
        match heard {
            Some(FromRadio::Adverts(adverts)) => {
                if let Some(text) = self.ladder.heard(now) {
                    self.shared.tell(text);
                }
                for advert in &adverts {
                    self.advert(advert, now);
                }
            }
            Some(FromRadio::Health(health)) => {
                let lost = health.overrun.saturating_sub(self.overrun);
                self.shared.status.counters.overrun.add(lost);
                self.overrun = health.overrun;
                self.looked(health, now);
            }
            None => {
                self.ladder.wrong(Cause::BusLost, now);
                self.close();
            }
        }
    }

    /// What the system says of the adapter, outside of a step.
    pub(super) fn looked(&mut self, health: Health, now: Instant) {
        if self.operation.is_some() {
            return;
        }
        if let Some(cause) = beat::trouble(health) {
            let gone = cause != Cause::SwitchedOff;
            self.ladder.wrong(cause, now);
            if gone {
                self.close();
            }
        }
    }

    fn advert(&mut self, advert: &Advert, now: Instant) {
        if let (Some(min), Some(rssi)) = (self.shared.bus.min_rssi, advert.rssi)
            && rssi < min
        {
            return;
        }
        let wall = self.shared.wall();
        let shared = &self.shared;
        let (outbox, told) = (&mut self.outbox, &mut self.told);
        let known = self.listener.hear(advert, now, wall, |index, heard| {
            let counters = &shared.status.counters;
            match heard {
                Heard::Readings(readings) => {
                    counters.answers.inc();
                    shared.status.set_link(index, LinkState::Up, wall);
                    push(shared, outbox, index, now, readings);
                }
                Heard::Duplicate => {
                    shared.status.set_link(index, LinkState::Up, wall);
                }
                Heard::Replay => {
                    counters.late_answers.inc();
                    once(shared, told, index, wall, &REPLAY);
                }
                Heard::Refused(error) => {
                    counters.bad_answers.inc();
                    once(shared, told, index, wall, &error);
                }
            }
        });
        if !known && let Some(text) = self.strangers.heard(advert, now) {
            self.shared.tell(text);
        }
    }

    /// Readings for devices whose interval passed in silence.
    pub(super) fn tell_silence(&mut self, now: Instant) {
        let wall = self.shared.wall();
        let reason = match self.opened {
            Some(_) => Reason::Timeout,
            None => Reason::LinkDown,
        };
        while let Some((index, readings)) = self.listener.take_silent(now, wall, reason) {
            self.shared.status.counters.timeouts.inc();
            let down = LinkState::Down(reason);
            self.shared.status.set_link(index, down, wall);
            push(&self.shared, &mut self.outbox, index, now, readings);
        }
    }
}

/// What is told of a counter that is not newer.
const REPLAY: &str = "its counter is not newer: somebody repeats it, or the sensor counts anew (after a change of battery, say): then reload the configuration";

/// Tells why an advertisement is refused, once a device: there will be more of them.
fn once(
    shared: &Shared,
    told: &mut [bool],
    index: usize,
    wall: Timestamp,
    why: &dyn std::fmt::Display,
) {
    if let (Some(device), Some(told)) = (shared.bus.devices.get(index), told.get_mut(index))
        && !std::mem::replace(told, true)
    {
        let text = format!("an advertisement was refused: {why}");
        shared.status.tell(wall, device.id.as_str(), text);
    }
}

fn push(shared: &Shared, outbox: &mut Outbox, index: usize, now: Instant, readings: Vec<Reading>) {
    let Some(device) = shared.bus.devices.get(index) else {
        return;
    };
    if readings.is_empty() {
        return;
    }
    let overrun = outbox.push(Sweep {
        bus: Arc::clone(&shared.bus.name),
        device: device.id.clone(),
        taken: now,
        readings,
    });
    shared.status.counters.overrun.add(overrun);
}

pub(super) enum FromRadio {
    Adverts(Vec<Advert>),
    Health(Health),
}

/// What comes from the radio next; `None` when nothing will any more. Cancel-safe.
pub(super) async fn hear(opened: &mut Opened) -> Option<FromRadio> {
    tokio::select! {
        biased;
        changed = opened.health.changed() => {
            changed.ok()?;
            Some(FromRadio::Health(*opened.health.borrow_and_update()))
        }
        advert = opened.adverts.recv() => {
            let mut adverts = vec![advert?];
            while adverts.len() < BURST
                && let Ok(advert) = opened.adverts.try_recv()
            {
                adverts.push(advert);
            }
            Some(FromRadio::Adverts(adverts))
        }
    }
}
