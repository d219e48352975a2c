//! When gateways are asked to send backlog more slowly, and how slowly. Pure.
//!
//! Ingest is behind when what waits at the broker would take longer than [`BEHIND`] at the pace of the
//! last seconds; then hellos repeat, gateways resend, and everybody's live data waits as well. So it says
//! on the acknowledgement channel how fast backlog may come: what it managed lately, less a fifth, shared
//! by those who send some; a fifth less again each second while it is behind, a quarter more each second
//! once it has caught up, and nothing at all when nobody needs the limit any more. Live data is never
//! slowed. Only this process' own clock counts: brokers may be wrong about the time. What waits at the
//! broker waits for all replicas together, so what they manage is added up ([`crate::peers`]), and each says
//! the same.

use crate::peers::Load;
use protocols_model::{GatewayId, Instant};
use protocols_wire::Pace;
use std::collections::BTreeMap;
use std::time::Duration;

/// More in line than this is behind: less than after which gateways begin to ask (5 s).
pub const BEHIND: Duration = Duration::from_secs(2);
/// Less is caught up.
const CAUGHT_UP: Duration = Duration::from_millis(500);
/// Between two looks.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long gateways obey unless it is said again.
pub const HOLDS: Duration = Duration::from_secs(5);
/// A gateway that sent no backlog for so long needs no share.
const SENDS: Duration = Duration::from_secs(10);
/// Messages in line that are no line: one group.
const GROUP: u64 = crate::source::GROUP_MESSAGES as u64;
/// Share of a new look in what is known of the pace.
const NEWS: f64 = 0.3;
/// While behind, and once caught up: what becomes of the limit at each look.
const LESS: f64 = 0.8;
const MORE: f64 = 1.25;
/// A limit so many times above what comes is none.
const NEEDLESS: f64 = 4.0;
/// The limit never falls below this, bytes a second; gateways have a floor of their own.
const LEAST: f64 = 4096.0;
/// Senders remembered.
const MOST_SENDERS: usize = 10_000;

/// What is known of the pace.
#[derive(Debug, Default)]
pub struct Pacer {
    looked: Option<Instant>,
    messages: u64,
    bytes: u64,
    messages_per_s: f64,
    bytes_per_s: f64,
    senders: BTreeMap<GatewayId, Instant>,
    /// Bytes of backlog a second, all gateways together.
    limit: Option<f64>,
}

impl Pacer {
    /// A message was committed; `backlog` is its length where it was backlog.
    pub fn took(&mut self, gateway: &GatewayId, backlog: Option<usize>, now: Instant) {
        self.messages += 1;
        let Some(bytes) = backlog else { return };
        self.bytes += u64::try_from(bytes).unwrap_or(0);
        if let Some(seen) = self.senders.get_mut(gateway) {
            *seen = now;
        } else if self.senders.len() < MOST_SENDERS {
            self.senders.insert(gateway.clone(), now);
        }
    }

    /// Whether it is time for [`Self::look`].
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|at| now.since(at) >= LOOK)
    }

    /// `pending` messages wait at the broker, and the other replicas manage `others`: what this one
    /// manages, and what is to be said from now on.
    pub fn look(&mut self, pending: u64, others: Load, now: Instant) -> (Load, Option<Pace>) {
        let own = self.measure(now);
        let messages_per_s = own.messages_per_s + others.messages_per_s;
        let bytes_per_s = own.bytes_per_s + others.bytes_per_s;
        let line = float(pending.saturating_sub(GROUP));
        let behind = line > messages_per_s * BEHIND.as_secs_f64();
        let caught_up = line <= messages_per_s * CAUGHT_UP.as_secs_f64();
        if behind {
            let most = self.limit.unwrap_or(f64::INFINITY).min(bytes_per_s);
            self.limit = Some((most * LESS).max(LEAST));
        } else if caught_up {
            let needed = bytes_per_s.max(LEAST) * NEEDLESS;
            self.limit = self.limit.map(|limit| limit * MORE);
            self.limit = self.limit.filter(|limit| *limit < needed);
        }
        let senders = float(own.senders.max(others.senders).max(1));
        let pace = self.limit.map(|limit| Pace {
            bytes_per_second: whole(limit / senders),
            holds: HOLDS,
        });
        (own, pace)
    }

    fn measure(&mut self, now: Instant) -> Load {
        let span = self.looked.map_or(LOOK, |at| now.since(at)).max(LOOK);
        self.looked = Some(now);
        let per_s = |count: u64| float(count) / span.as_secs_f64();
        let (messages, bytes) = (per_s(self.messages), per_s(self.bytes));
        (self.messages, self.bytes) = (0, 0);
        self.messages_per_s += (messages - self.messages_per_s) * NEWS;
        self.bytes_per_s += (bytes - self.bytes_per_s) * NEWS;
        self.senders.retain(|_, seen| now.since(*seen) < SENDS);
        Load {
            messages_per_s: self.messages_per_s,
            bytes_per_s: self.bytes_per_s,
            senders: u64::try_from(self.senders.len()).unwrap_or(u64::MAX),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and a cast of a float saturates"
)]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: u64 = 16 * 1024;

    /// Gateways with backlog behind a broker, and an ingest that settles so many messages a second.
    struct Fleet {
        /// One a replica; each settles its share.
        pacers: Vec<Pacer>,
        loads: Vec<Load>,
        gateways: u64,
        /// Bytes a second that a gateway's link carries, and that its window allows at the broker.
        link: u64,
        window: u64,
        backlog: u64,
        capacity: u64,
        waiting: u64,
        hint: Option<Pace>,
        second: u64,
    }

    impl Fleet {
        fn new(gateways: u64, replicas: usize) -> Self {
            Self {
                pacers: std::iter::repeat_with(Pacer::default)
                    .take(replicas)
                    .collect(),
                loads: vec![Load::default(); replicas],
                gateways,
                link: 200_000,
                window: 192 * 1024,
                backlog: gateways * 20_000_000,
                capacity: 1000,
                waiting: 0,
                hint: None,
                second: 0,
            }
        }

        /// A second passes: the line in seconds, and the share of the capacity that was used.
        fn pass(&mut self) -> (f64, f64) {
            self.second += 1;
            let now = Instant(Duration::from_secs(self.second));
            let rate = self.hint.map_or(self.link, |hint| {
                hint.bytes_per_second.clamp(1024, self.link)
            });
            let room = self.gateways * self.window / MESSAGE - self.waiting;
            let comes = (self.gateways * rate / MESSAGE)
                .min(room)
                .min(self.backlog / MESSAGE);
            self.backlog -= comes * MESSAGE;
            self.waiting += comes;
            let settled = self.waiting.min(self.capacity);
            self.waiting -= settled;
            for number in 0..settled {
                let name = format!("g{}", number % self.gateways);
                let gateway = GatewayId::try_new(&name).unwrap();
                let replica = usize::try_from(number).unwrap() % self.pacers.len();
                self.pacers[replica].took(&gateway, Some(usize::try_from(MESSAGE).unwrap()), now);
            }
            // Every gateway hears every replica: the least is what it does.
            let before = self.loads.clone();
            let mut said = Vec::new();
            for (replica, pacer) in self.pacers.iter_mut().enumerate() {
                let others = before.iter().enumerate().filter(|(n, _)| *n != replica);
                let others = others.fold(Load::default(), |sum, (_, load)| Load {
                    messages_per_s: sum.messages_per_s + load.messages_per_s,
                    bytes_per_s: sum.bytes_per_s + load.bytes_per_s,
                    senders: sum.senders.max(load.senders),
                });
                let (load, pace) = pacer.look(self.waiting, others, now);
                self.loads[replica] = load;
                said.extend(pace);
            }
            self.hint = said.into_iter().min_by_key(|pace| pace.bytes_per_second);
            let capacity = self.capacity as f64;
            (self.waiting as f64 / capacity, settled as f64 / capacity)
        }
    }

    #[test]
    fn who_keeps_up_says_nothing() {
        for replicas in [1, 3] {
            let mut fleet = Fleet::new(20, replicas);
            for _ in 0..60 {
                fleet.pass();
                assert_eq!(fleet.hint, None);
            }
        }
    }

    #[test]
    fn a_fleet_that_comes_back_together_is_slowed_until_the_line_is_short_and_the_rest_is_used() {
        for replicas in [1, 2, 5] {
            let mut fleet = Fleet::new(800, replicas);
            let (mut longest, mut used) = (0.0f64, 0.0);
            for second in 0..300 {
                let (line, share) = fleet.pass();
                if second >= 60 {
                    longest = longest.max(line);
                    used += share / 240.0;
                }
            }
            assert!(longest < 5.0, "{replicas} replicas: {longest} s in line");
            assert!(used > 0.8, "{replicas} replicas: {used} of the capacity");
        }
    }

    #[test]
    fn the_limit_is_lifted_when_the_backlog_is_gone() {
        let mut fleet = Fleet::new(800, 1);
        for _ in 0..60 {
            fleet.pass();
        }
        assert!(fleet.hint.is_some());
        fleet.backlog = 0;
        let mut seconds = 0;
        while fleet.hint.is_some() {
            fleet.pass();
            seconds += 1;
            assert!(seconds < 60, "{:?}", fleet.hint);
        }
    }

    #[test]
    fn a_database_that_is_back_after_an_hour_does_not_say_stop() {
        let mut pacer = Pacer::default();
        let hour = Instant(Duration::from_secs(3600));
        pacer.look(0, Load::default(), Instant::default());
        let (_, hint) = pacer.look(100_000, Load::default(), hour);
        let hint = hint.unwrap();
        assert!(hint.bytes_per_second >= 4096 && hint.holds == HOLDS);
        assert!(!pacer.is_due(hour) && pacer.is_due(hour.plus(LOOK)));
    }
}
