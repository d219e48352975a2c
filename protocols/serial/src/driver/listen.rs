//! Lines whose devices speak by themselves.
//!
//! The line is read also while there is no room for sweeps: they wait in a short queue, in which the
//! oldest makes way and is counted.

use super::{Mode, Task};
use crate::framer::{Event, Frame};
use crate::link::{CHUNK, LinkEvent};
use crate::listener::DeviceIs::{PartlySilent, Silent, Speaking};
use crate::listener::Group;
use protocols_driver::{DriverContext, LinkState, Stopped, Sweep};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Sweeps that wait for room: some seconds of a receiver that sends ten sentences a second, and every
/// code of a scanner that somebody reads a pallet with.
const HEARD_CAPACITY: usize = 64;

/// What a listening driver waits for.
enum Wake {
    Link(LinkEvent),
    Order(protocols_driver::WriteOrder),
    Sent,
    Time,
}

/// Hands the oldest sweep over when there is room; for ever without one. Cancel-safe.
async fn hand_over(ctx: &DriverContext, heard: &mut VecDeque<Sweep>) -> Result<(), Stopped> {
    if heard.is_empty() {
        return std::future::pending().await;
    }
    let room = ctx.room().await?;
    if let Some(sweep) = heard.pop_front() {
        room.send(sweep);
    }
    Ok(())
}

impl Task {
    /// Waits for the next thing and does it.
    pub(super) async fn listen(&mut self) -> Result<(), Stopped> {
        match self.wake().await? {
            Wake::Link(LinkEvent::Gone) => self.lost(),
            Wake::Link(LinkEvent::Bytes(bytes)) => {
                let (now, mut events) = (self.now(), Vec::new());
                self.framer.push(&bytes, now, &mut events);
                self.hear(events);
                // A line that never pauses lets no timer run; a full chunk may have more behind it that
                // came in time.
                if bytes.len() < CHUNK {
                    self.tell_silence();
                }
            }
            Wake::Link(LinkEvent::Opened(result)) => self.opened(result).await?,
            Wake::Order(order) => self.order(order).await?,
            Wake::Sent => {}
            Wake::Time => {
                let (now, mut events) = (self.now(), Vec::new());
                self.framer.tick(now, &mut events);
                self.hear(events);
                self.tell_silence();
            }
        }
        Ok(())
    }

    async fn wake(&mut self) -> Result<Wake, Stopped> {
        let ctx = Arc::clone(&self.ctx);
        let now = ctx.clock.monotonic();
        let Mode::Listen { listener, heard } = &mut self.mode else {
            return Ok(Wake::Time);
        };
        let silence = self.framer.deadline().filter(|_| self.link.is_up());
        let until = listener.next_due().into_iter().chain(silence).min();
        let pause = until.map_or(Duration::from_hours(1), |until| until.since(now));
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => Err(Stopped),
            order = ctx.orders.next() => Ok(Wake::Order(order)),
            sent = hand_over(&ctx, heard) => sent.map(|()| Wake::Sent),
            // Before the timer: what came in time is no silence.
            event = self.link.event() => Ok(Wake::Link(event)),
            () = ctx.sweeps.closed() => Err(Stopped),
            () = tokio::time::sleep(pause) => Ok(Wake::Time),
        }
    }

    fn hear(&mut self, events: Vec<Event>) {
        let now = self.now();
        let broken = events
            .iter()
            .any(|event| matches!(event, Event::Lost { .. }));
        if let Mode::Listen { listener, .. } = &mut self.mode
            && broken
        {
            listener.damage(now);
        }
        for frame in self.frames(events) {
            self.heard(&frame);
        }
    }

    /// A frame that came whole, whoever it is for.
    pub(super) fn heard(&mut self, frame: &Frame) {
        let (now, wall) = (self.now(), self.ctx.clock.wall());
        let Mode::Listen { listener, .. } = &mut self.mode else {
            return;
        };
        self.link.is_well();
        let groups = listener.frame(&self.bus, frame.payload(), now, wall);
        if groups.is_empty() {
            // Sentences that nobody wants are no damage, but a pattern that never fits must be seen.
            if self.bus.framing != crate::config::Framing::Nmea {
                listener.damage(now);
                self.status.counters.bad_answers.inc();
            }
            return;
        }
        self.status.counters.answers.inc();
        self.queue(groups);
    }

    fn tell_silence(&mut self) {
        let (now, wall) = (self.now(), self.ctx.clock.wall());
        let away = !self.link.is_up();
        let partly = self.framer.deadline().is_some();
        let Mode::Listen { listener, .. } = &mut self.mode else {
            return;
        };
        if partly && listener.next_due().is_some_and(|due| due <= now) {
            // Something comes, and never becomes a frame.
            listener.damage(now);
        }
        let groups = listener.silence(now, wall, away);
        self.queue(groups);
    }

    fn queue(&mut self, groups: Vec<Group>) {
        let (now, wall) = (self.now(), self.ctx.clock.wall());
        for group in groups {
            match group.device_is {
                Speaking => {
                    self.status.set_link(group.device, LinkState::Up, wall);
                }
                Silent(reason) => {
                    self.status.counters.timeouts.inc();
                    let down = LinkState::Down(reason);
                    self.status.set_link(group.device, down, wall);
                }
                PartlySilent => {}
            }
            let sweep = self.sweep(group.device, now, group.readings);
            let Mode::Listen { heard, .. } = &mut self.mode else {
                return;
            };
            if heard.len() >= HEARD_CAPACITY {
                heard.pop_front();
                self.status.counters.overrun.inc();
            }
            heard.extend(sweep);
        }
    }
}
