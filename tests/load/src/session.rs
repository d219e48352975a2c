//! One simulated gateway: connects, says hello, sends a batch per interval, hears what is settled,
//! and comes back when its connection is lost.

use crate::batch::Shape;
use crate::identities::Bearer;
use crate::meter::Meter;
use crate::mqtt::{KEEP_ALIVE, Mqtt, Target};
use crate::sender::{LANE, Sender};
use protocols_model::{Clock as _, Epoch, Instant, Seq, SystemClock};
use protocols_wire::{EnvelopeEncoder, Topic};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::Packet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Pauses before another attempt, drawn between these; doubled with each failure up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// When nothing else is due.
const LONG: Duration = Duration::from_secs(3600);

/// What the fleet does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connect and say hello; send nothing.
    Ramp,
    /// Send batches.
    Steady,
    /// Send nothing new; get everything settled and confirmed.
    Settle,
    /// Disconnect.
    Leave,
}

/// What all gateways share.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Where they connect.
    pub(crate) target: Target,
    /// What they measure.
    pub(crate) shape: Shape,
    /// How often.
    pub(crate) interval: Duration,
    /// Over how long hellos of all are spread.
    pub(crate) spread: Duration,
    /// What time it is.
    pub(crate) clock: SystemClock,
    /// Packs envelopes: half a MiB, so there is one.
    pub(crate) encoder: Mutex<EnvelopeEncoder>,
    /// Connections that may be made at once.
    pub(crate) handshakes: Semaphore,
    /// What they did.
    pub(crate) meter: Meter,
    /// What they are to do.
    pub(crate) phase: watch::Sender<Phase>,
}

/// One gateway's task.
#[derive(Debug)]
pub(crate) struct Session {
    fleet: Arc<Fleet>,
    bearer: Bearer,
    from: SocketAddr,
    phase: watch::Receiver<Phase>,
    sender: Sender,
    topics: [String; 2],
    greeted: bool,
    confirmed: bool,
    /// The next batch; drawn when the steady state begins, so that batches are spread.
    batch_at: Option<Instant>,
}

/// How many batches a gateway sealed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent(pub(crate) u64);

impl Session {
    /// A gateway that will come from the address `from`.
    pub(crate) fn new(fleet: Arc<Fleet>, bearer: Bearer, from: SocketAddr) -> Self {
        let up = Topic::Up {
            gateway: bearer.id.clone(),
            lane: LANE,
            history: false,
        };
        let topics = [up.to_mqtt(), Topic::Hello(bearer.id.clone()).to_mqtt()];
        Self {
            sender: Sender::new(
                bearer.id.clone(),
                Epoch(fastrand::u64(1..)),
                fleet.spread.mul_f64(fastrand::f64()),
            ),
            phase: fleet.phase.subscribe(),
            fleet,
            bearer,
            from,
            topics,
            greeted: false,
            confirmed: false,
            batch_at: None,
        }
    }

    /// Runs until the fleet leaves.
    pub(crate) async fn run(mut self) -> anyhow::Result<Sent> {
        let mut failures = 0_u32;
        while *self.phase.borrow() != Phase::Leave {
            match self.connect().await {
                Ok(mqtt) => {
                    failures = 0;
                    self.fleet.meter.sessions.up();
                    let talked = self.talk(mqtt).await;
                    self.fleet.meter.sessions.down();
                    match talked {
                        Ok(()) => break,
                        Err(error) => {
                            self.fleet.meter.lost.up();
                            self.fleet.meter.complain(&error);
                        }
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.fleet.meter.failed.up();
                    self.fleet.meter.complain(&error);
                }
            }
            self.rest(failures).await;
        }
        Ok(Sent(self.sender.sealed()))
    }

    async fn connect(&mut self) -> anyhow::Result<Mqtt> {
        let _permit = self.fleet.handshakes.acquire().await?;
        let filter = Topic::Ack(self.sender.id().clone()).to_mqtt();
        let mqtt = Mqtt::connect(&self.fleet.target, self.from, &self.bearer, &filter).await?;
        self.fleet.meter.handshakes.up();
        self.sender.connected();
        Ok(mqtt)
    }

    async fn rest(&mut self, failures: u32) {
        let longest = RETRY.0.saturating_mul(1 << failures.min(6)).min(RETRY.1);
        let pause = RETRY.0.mul_f64(fastrand::f64()) + longest.mul_f64(fastrand::f64());
        tokio::select! { biased;
            _ = self.phase.wait_for(|phase| *phase == Phase::Leave) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Speaks until the fleet leaves; an error is a lost connection.
    async fn talk(&mut self, mut mqtt: Mqtt) -> anyhow::Result<()> {
        let mut ping_at = self.now().plus(KEEP_ALIVE);
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::Leave {
                return mqtt.send(&Packet::Disconnect).await;
            }
            if phase == Phase::Settle && self.sender.is_confirmed() && !self.confirmed {
                self.confirmed = true;
                self.fleet.meter.confirmed.up();
            }
            let now = self.now();
            if self.hello_due(phase).is_some_and(|due| due <= now) {
                let wall = self.fleet.clock.wall();
                let hello = self.sender.hello(&self.fleet.shape, now, wall)?;
                mqtt.publish(&self.topics[1], QoS::AtMostOnce, hello)
                    .await?;
            }
            if phase == Phase::Steady && self.batch_due(now) <= now {
                self.batch_at = Some(now.plus(self.fleet.interval));
                let wall = self.fleet.clock.wall();
                let seq = self.sender.seal(&self.fleet.shape, now, wall)?;
                self.fleet.meter.batches.up();
                self.publish(&mut mqtt, &[seq], now).await?;
            }
            if ping_at <= now {
                mqtt.send(&Packet::PingReq).await?;
                ping_at = now.plus(KEEP_ALIVE);
            }
            let mut due = ping_at.min(self.hello_due(phase).unwrap_or(ping_at));
            if phase == Phase::Steady {
                due = due.min(self.batch_due(now));
            }
            let wait = due.since(self.now()).min(LONG);
            tokio::select! { biased;
                _ = self.phase.changed() => {}
                packet = mqtt.next() => {
                    let again = self.take_in(packet?);
                    let now = self.now();
                    self.fleet.meter.again.add(again.len() as u64);
                    self.publish(&mut mqtt, &again, now).await?;
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn hello_due(&self, phase: Phase) -> Option<Instant> {
        self.sender.hello_due(phase == Phase::Settle)
    }

    fn batch_due(&mut self, now: Instant) -> Instant {
        let interval = self.fleet.interval;
        let spread = || now.plus(interval.mul_f64(fastrand::f64()));
        *self.batch_at.get_or_insert_with(spread)
    }

    /// Takes in a packet; gives what is to be sent again.
    fn take_in(&mut self, packet: Packet) -> Vec<Seq> {
        let meter = &self.fleet.meter;
        match packet {
            Packet::Publish(message) => {
                let heard = self.sender.heard(&message.payload, self.now());
                meter.heard(&heard);
                if heard.answered && !std::mem::replace(&mut self.greeted, true) {
                    meter.greeted.up();
                }
                heard.again
            }
            Packet::PubAck(_) => {
                meter.taken.up();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    async fn publish(&mut self, mqtt: &mut Mqtt, seqs: &[Seq], now: Instant) -> anyhow::Result<()> {
        let (records, attach) = self.sender.take(seqs, now);
        if records.is_empty() {
            return Ok(());
        }
        let dictionary = self.fleet.shape.dictionary().encoded().clone();
        let attached = if attach { vec![dictionary] } else { Vec::new() };
        let envelope = {
            let encoder = self.fleet.encoder.lock();
            let mut encoder = encoder.unwrap_or_else(PoisonError::into_inner);
            encoder.encode(&records, &attached)?
        };
        mqtt.publish(&self.topics[0], QoS::AtLeastOnce, envelope)
            .await
    }

    fn now(&self) -> Instant {
        self.fleet.clock.monotonic()
    }
}
