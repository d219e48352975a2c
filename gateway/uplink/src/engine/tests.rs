//! The core against a small world: a spool, a link, a broker and a cloud, all of them models, in any
//! order of appends, connects, losses, repetitions, restores and time.

use super::*;
use proptest::prelude::*;
use protocols_model::{DeviceId, PointDescriptor, PointId, Seq, ValueType};
use protocols_wire::{
    Ack, AckItem, Dictionary, Down, EpochState, HelloAnswer, Pace, RetryLater, RetryReason,
    decode_envelope,
};
use std::collections::BTreeSet;

const OWN: Epoch = Epoch(7);
const OLD: Epoch = Epoch(3);
const LIMITS: WindowLimits = WindowLimits {
    max_bytes: 64 * 1024,
    max_envelopes: 8,
};

fn dictionaries() -> Vec<Dictionary> {
    let one = |n: usize| {
        Dictionary::try_new(vec![PointDescriptor {
            device: DeviceId::try_new("meter").unwrap(),
            point: PointId::try_new(&format!("p{n}")).unwrap(),
            value_type: ValueType::F64,
            unit: "V".to_owned(),
            scale: 0.1,
        }])
        .unwrap()
    };
    (0..3).map(one).collect()
}

/// A body that compression cannot shrink; its first byte tells the seq.
fn noise(seq: Seq, size: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seq);
    let noise = std::iter::repeat_with(|| random.u8(..)).take(size - 1);
    let first = u8::try_from(seq % 251).unwrap();
    std::iter::once(first).chain(noise).collect()
}

/// Everything around the core.
struct World {
    engine: Engine,
    now: Instant,
    dictionaries: Vec<Dictionary>,
    spool: BTreeMap<RecordKey, Fetched>,
    last: BTreeMap<Stream, Seq>,
    connected: bool,
    packets: u16,
    handed: Vec<(u16, Bytes)>,
    inbox: Vec<Bytes>,
    downs: Vec<Bytes>,
    stored: BTreeSet<RecordKey>,
    cloud_dictionaries: BTreeSet<DictionaryHash>,
    generation: u64,
    cloud_up: bool,
    /// What the gateway was told is settled, and believed: of the generation that it knows.
    told: BTreeSet<RecordKey>,
    /// By generation: what the cloud said is stored.
    vouched: BTreeMap<u64, BTreeSet<RecordKey>>,
    /// A spool that is busy: what it was told and has not done, with the generation of that time.
    busy: bool,
    /// What the cloud says of pace.
    pace: Option<Pace>,
    told_spool: Vec<(Stream, Settled, u64)>,
    evicted: BTreeSet<RecordKey>,
    left: BTreeSet<RecordKey>,
    sent: u64,
}

impl World {
    fn new(backlog: u64, stored_before: u64) -> Self {
        let engine = Engine::new(EngineOptions {
            gateway: GatewayId::try_new("g1").unwrap(),
            epoch: OWN,
            confirm: Confirm::Store,
            window: LIMITS,
            hello: HelloTimes::default(),
            inherits: false,
            puback_timeout: Duration::from_secs(20),
        });
        let mut world = Self {
            engine,
            now: Instant(Duration::from_secs(1000)),
            dictionaries: dictionaries(),
            spool: BTreeMap::new(),
            last: BTreeMap::new(),
            connected: false,
            packets: 0,
            handed: Vec::new(),
            inbox: Vec::new(),
            downs: Vec::new(),
            stored: BTreeSet::new(),
            cloud_dictionaries: BTreeSet::new(),
            generation: 11,
            cloud_up: true,
            told: BTreeSet::new(),
            vouched: BTreeMap::new(),
            busy: false,
            pace: None,
            told_spool: Vec::new(),
            evicted: BTreeSet::new(),
            left: BTreeSet::new(),
            sent: 0,
        };
        world.append(OLD, Lane::Telemetry, backlog);
        world.append(OWN, Lane::Telemetry, 0);
        let before = world
            .spool
            .keys()
            .take(usize::try_from(stored_before).unwrap());
        world.stored = before.copied().collect();
        world.look();
        world
    }

    fn append(&mut self, epoch: Epoch, lane: Lane, count: u64) {
        let last = self.last.entry(Stream { epoch, lane }).or_default();
        for _ in 0..count {
            *last += 1;
            let key = RecordKey {
                epoch,
                lane,
                seq: *last,
            };
            let size = usize::try_from(*last * 977 % 6000 + 40).unwrap();
            let dictionary = usize::try_from(*last % 3).unwrap();
            let record = Fetched {
                key,
                body: noise(*last, size),
                dictionaries: vec![self.dictionaries[dictionary].hash()],
            };
            self.spool.insert(key, record);
        }
    }

    /// The spool's state watch.
    fn look(&mut self) {
        let held: Vec<Held> = self
            .last
            .iter()
            .map(|(stream, &last)| Held {
                epoch: stream.epoch,
                lane: stream.lane,
                first: self.of(*stream).next().map_or(0, |key| key.seq),
                last,
            })
            .collect();
        self.engine.spool(&held, self.now);
    }

    fn of(&self, stream: Stream) -> impl Iterator<Item = &RecordKey> {
        let keys = self.spool.keys();
        keys.filter(move |k| k.epoch == stream.epoch && k.lane == stream.lane)
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.packets = 0;
            self.handed.clear();
            self.engine.connected(self.now);
            self.engine.subscribed(self.now, 0.5);
        }
    }

    /// The link breaks; the first `arrived` publishes reached the broker, their PUBACKs are lost.
    fn disconnect(&mut self, arrived: usize) {
        let arrived = arrived.min(self.handed.len());
        let reached: Vec<Bytes> = self.handed.drain(..arrived).map(|(_, p)| p).collect();
        self.inbox.extend(reached);
        self.handed.clear();
        self.connected = false;
        self.engine.disconnected(self.now);
        // QoS 0: what was on its way down is lost.
        self.downs.clear();
    }

    fn puback(&mut self, which: usize) {
        if self.connected && !self.handed.is_empty() {
            let (packet, payload) = self.handed.remove(which % self.handed.len());
            self.inbox.push(payload);
            self.engine.puback(packet, self.now);
        }
    }

    /// Ingest takes one message, in any order.
    fn ingest(&mut self, which: usize) {
        if !self.cloud_up || self.inbox.is_empty() {
            return;
        }
        let payload = self.inbox.remove(which % self.inbox.len());
        let envelope = decode_envelope(&payload).unwrap();
        let attached = envelope.dictionaries.iter().map(Dictionary::hash);
        self.cloud_dictionaries.extend(attached);
        for record in envelope.records {
            let key = record.key;
            let body = record.body.unwrap();
            assert_eq!(
                body[0],
                u8::try_from(key.seq % 251).unwrap(),
                "bytes changed under {key:?}"
            );
            let needs = self.dictionaries[usize::try_from(key.seq % 3).unwrap()].hash();
            let range = SeqRange::one(key.seq).unwrap();
            let mut item = AckItem {
                epoch: key.epoch,
                lane: key.lane,
                stored: SeqSet::new(),
                refused: Vec::new(),
                retry: Vec::new(),
            };
            if self.stored.contains(&key) || self.cloud_dictionaries.contains(&needs) {
                self.stored.insert(key);
                self.vouched.entry(self.generation).or_default().insert(key);
                item.stored.insert(range);
            } else {
                item.retry.push(RetryLater {
                    range,
                    reason: RetryReason::UnknownDictionary(needs),
                    after: Duration::from_secs(1),
                });
            }
            let ack = Down::Ack(Ack {
                generation: self.generation,
                items: vec![item],
                pace: self.pace,
            });
            self.downs.push(ack.encode().unwrap());
        }
    }

    fn answer(&mut self, nonce: u64) {
        if !self.cloud_up {
            return;
        }
        let vouched = self.vouched.entry(self.generation).or_default();
        vouched.extend(self.stored.iter().copied());
        let epochs = self.last.keys().map(|stream| EpochState {
            epoch: stream.epoch,
            lane: stream.lane,
            settled: self
                .stored
                .iter()
                .filter(|k| k.epoch == stream.epoch && k.lane == stream.lane)
                .filter_map(|k| SeqRange::one(k.seq))
                .collect(),
            closed: false,
        });
        let answer = Down::HelloAnswer(HelloAnswer {
            nonce,
            generation: self.generation,
            newest_version: 1,
            epochs: epochs.collect(),
            missing_dictionaries: self
                .dictionaries
                .iter()
                .map(Dictionary::hash)
                .filter(|h| !self.cloud_dictionaries.contains(h))
                .collect(),
            stream_pending: u64::try_from(self.inbox.len()).unwrap(),
            pace: self.pace,
        });
        self.downs.push(answer.encode().unwrap());
    }

    /// A message reaches the gateway; `again` leaves it for a second time.
    fn deliver(&mut self, which: usize, again: bool) {
        if !self.connected || self.downs.is_empty() {
            return;
        }
        let which = which % self.downs.len();
        let payload = if again {
            self.downs[which].clone()
        } else {
            self.downs.remove(which)
        };
        if let Ok(Down::Ack(ack)) = Down::decode(&payload)
            && ack.generation == self.generation
            && self
                .engine
                .generation
                .is_none_or(|known| known == ack.generation)
        {
            for item in &ack.items {
                for range in item.stored.ranges() {
                    for seq in range.first()..=range.last() {
                        self.told.insert(RecordKey {
                            epoch: item.epoch,
                            lane: item.lane,
                            seq,
                        });
                    }
                }
            }
        }
        let known = self.engine.generation;
        self.engine.down(&payload, self.now);
        // A late word of another generation: what was told of this one counts for nothing until it is said
        // again. Sending twice is safe, leaving unstored is not.
        if known.is_some() && self.engine.generation != known {
            self.told.clear();
        }
    }

    /// The database comes back from a backup that lacks what `lost` accepts.
    fn restore(&mut self, lost: impl Fn(&RecordKey) -> bool) {
        self.generation += 1;
        self.told.clear();
        self.stored.retain(|key| !lost(key));
        self.cloud_dictionaries.clear();
    }

    fn evict(&mut self, count: u64) {
        for _ in 0..count {
            if let Some((key, _)) = self.spool.pop_first() {
                self.evicted.insert(key);
            }
        }
    }

    /// What the task does after every event.
    fn pump(&mut self) {
        self.look();
        loop {
            if self.engine.hello_due(self.now) {
                let all = self.dictionaries.iter().map(Dictionary::hash).collect();
                let nonce = self.engine.say_hello(all, self.now);
                self.answer(nonce);
            }
            if let Some((stream, settled)) = self.engine.take_settled() {
                let generation = self.engine.generation.unwrap();
                self.told_spool.push((stream, settled, generation));
                continue;
            }
            if !self.busy && !self.told_spool.is_empty() {
                for (stream, settled, generation) in std::mem::take(&mut self.told_spool) {
                    self.settle(stream, &settled, generation);
                }
                self.look();
                continue;
            }
            let Some(ask) = self.engine.ask(self.now) else {
                break;
            };
            let records = self.fetch(&ask);
            let lacking = self.engine.lacking(&records);
            let have: Vec<_> = self
                .dictionaries
                .iter()
                .filter(|d| lacking.contains(&d.hash()))
                .map(|d| (d.hash(), d.encoded().clone()))
                .collect();
            if let Some(publish) = self.engine.pack(&ask, &records, &have, self.now) {
                self.published(publish);
            }
            let window = self.engine.window();
            assert!(window.bytes() <= LIMITS.max_bytes && window.len() <= LIMITS.max_envelopes);
        }
    }

    fn fetch(&self, ask: &Ask) -> Vec<Fetched> {
        let mut bytes = 0;
        self.of(ask.stream)
            .filter(|key| key.seq >= ask.range.first())
            .map(|key| self.spool[key].clone())
            .take(ask.max_records)
            .take_while(|record| {
                let first = bytes == 0;
                bytes += record.body.len();
                first || bytes <= ask.max_bytes
            })
            .collect()
    }

    fn published(&mut self, publish: Publish) {
        assert!(self.connected, "published without a connection");
        assert!(publish.payload.len() <= MAX_ENVELOPE_BYTES);
        for record in decode_envelope(&publish.payload).unwrap().records {
            let key = record.key;
            assert!(
                !self.told.contains(&key),
                "{key:?} is settled and was sent again"
            );
            assert!(self.spool.contains_key(&key), "{key:?} is not in the spool");
            self.sent += 1;
        }
        self.packets = self.packets % 250 + 1;
        self.engine.sent(self.packets).unwrap();
        self.handed.push((self.packets, publish.payload));
    }

    fn settle(&mut self, stream: Stream, settled: &Settled, generation: u64) {
        assert!(settled.refused.is_empty());
        for range in settled.stored.ranges() {
            for seq in range.first()..=range.last() {
                let key = RecordKey {
                    epoch: stream.epoch,
                    lane: stream.lane,
                    seq,
                };
                if self.spool.remove(&key).is_some() {
                    let vouched = &self.vouched[&generation];
                    assert!(vouched.contains(&key), "{key:?} left without being stored");
                    self.left.insert(key);
                }
            }
        }
    }

    /// Everything works from now on: how many seconds until the spool is empty.
    fn quiesce(&mut self) -> u64 {
        self.cloud_up = true;
        self.busy = false;
        self.pace = None;
        let start = self.now;
        for _ in 0..4000 {
            self.connect();
            self.pump();
            while !self.handed.is_empty() {
                self.puback(0);
            }
            while !self.inbox.is_empty() {
                self.ingest(0);
            }
            while !self.downs.is_empty() {
                self.deliver(0, false);
            }
            self.pump();
            if self.spool.is_empty() {
                return self.now.since(start).as_secs();
            }
            self.now = self.now.plus(Duration::from_millis(250));
        }
        panic!(
            "never empty: {:?} window {:?} tracker {:?}",
            self.spool.keys().collect::<Vec<_>>(),
            self.engine.window,
            self.engine.tracker
        );
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(Lane, u64),
    Connect,
    Disconnect(usize),
    Puback(usize),
    Ingest(usize),
    Deliver(usize),
    DeliverTwice(usize),
    Lose(usize),
    Restore(u64),
    Evict(u64),
    Cloud(bool),
    Busy(bool),
    Pace(Option<u64>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let lane = prop_oneof![
        1 => Just(Lane::Alarm),
        1 => Just(Lane::Event),
        4 => Just(Lane::Telemetry),
        1 => Just(Lane::Bulk)
    ];
    prop_oneof![
        6 => (lane, 1u64..6).prop_map(|(lane, n)| Step::Append(lane, n)),
        3 => Just(Step::Connect),
        2 => (0usize..9).prop_map(Step::Disconnect),
        8 => (0usize..9).prop_map(Step::Puback),
        8 => (0usize..9).prop_map(Step::Ingest),
        10 => (0usize..20).prop_map(Step::Deliver),
        2 => (0usize..20).prop_map(Step::DeliverTwice),
        3 => (0usize..20).prop_map(Step::Lose),
        1 => (1u64..5).prop_map(Step::Restore),
        1 => (1u64..4).prop_map(Step::Evict),
        1 => any::<bool>().prop_map(Step::Cloud),
        2 => any::<bool>().prop_map(Step::Busy),
        1 => prop::option::of(any::<u64>()).prop_map(Step::Pace),
        6 => (1u64..9000).prop_map(Step::Pass),
    ]
}

/// `PROPTEST_CASES` for a longer run.
fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    /// In any order of events: nothing leaves the spool that the store does not have, nothing known
    /// to be settled is sent again, the window holds, and in the end everything is stored.
    #[test]
    fn everything_arrives_and_nothing_leaves_unstored_whatever_happens(
        backlog in 0u64..30, before in 0u64..30, steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new(backlog, before.min(backlog));
        let mut connects = 1;
        for step in steps {
            connects += u64::from(matches!(step, Step::Connect));
            match step {
                Step::Append(lane, n) => world.append(OWN, lane, n),
                Step::Connect => world.connect(),
                Step::Disconnect(n) => world.disconnect(n),
                Step::Puback(n) => world.puback(n),
                Step::Ingest(n) => world.ingest(n),
                Step::Deliver(n) => world.deliver(n, false),
                Step::DeliverTwice(n) => world.deliver(n, true),
                Step::Lose(n) => if !world.downs.is_empty() {
                    let n = n % world.downs.len();
                    world.downs.remove(n);
                },
                Step::Restore(n) => {
                    world.restore(|key| key.seq % n == 0);
                }
                Step::Evict(n) => world.evict(n),
                Step::Cloud(up) => world.cloud_up = up,
                Step::Busy(busy) => world.busy = busy,
                Step::Pace(pace) => world.pace = pace.map(|rate| Pace {
                    bytes_per_second: rate,
                    holds: Duration::from_secs(rate % 100),
                }),
                Step::Pass(ms) => world.now = world.now.plus(Duration::from_millis(ms)),
            }
            world.pump();
        }
        let seconds = world.quiesce();
        let elapsed = world.now.since(Instant(Duration::from_secs(1000))).as_secs();
        prop_assert!(world.engine.counters().hellos <= elapsed + connects + 2, "a storm of hellos");
        prop_assert!(seconds < 400, "{} s", seconds);
        prop_assert_eq!(world.engine.counters().identity, 0);
        for (stream, last) in &world.last {
            for seq in 1..=*last {
                let key = RecordKey { epoch: stream.epoch, lane: stream.lane, seq };
                // What left before a restore is not the uplink's to bring back.
                let fate = [&world.stored, &world.evicted, &world.left];
                prop_assert!(fate.iter().any(|f| f.contains(&key)), "{:?} is nowhere", key);
            }
        }
    }
}

#[test]
fn a_late_answer_of_the_generation_before_is_believed_again_and_nothing_leaves_unstored() {
    let mut world = World::new(0, 0);
    world.append(OWN, Lane::Alarm, 1);
    world.connect();
    world.pump();
    world.restore(|_| true);
    world.append(OWN, Lane::Alarm, 2);
    world.pump();
    world.puback(0);
    world.busy = true;
    world.ingest(0);
    let (hello_answer, ack) = (0, 1);
    world.deliver(ack, false);
    world.pump();
    let sent = world.sent;
    world.deliver(hello_answer, false);
    world.pump();
    assert!(
        world.sent > sent,
        "what the other generation settled is open again"
    );
    world.quiesce();
    assert_eq!(world.stored.len(), 3);
    assert_eq!(world.engine.counters().identity, 0);
}

fn run(world: &mut World, seconds: u64) {
    for _ in 0..seconds * 4 {
        world.now = world.now.plus(Duration::from_millis(250));
        while !world.handed.is_empty() {
            world.puback(0);
        }
        while world.cloud_up && !world.inbox.is_empty() {
            world.ingest(0);
        }
        while world.connected && !world.downs.is_empty() {
            world.deliver(0, false);
        }
        world.pump();
    }
}

/// A slow line: what is handed over leaves at `rate` bytes a second and is confirmed `way` seconds later.
struct Line {
    rate: f64,
    way: f64,
    start: f64,
    free: f64,
    flight: std::collections::VecDeque<(f64, u16)>,
}

/// Lets `world` run over `line` while `live` bytes a second are appended; returns the longest time
/// from append to arrival of a live record, and the bytes of backlog that went meanwhile.
fn share_line(world: &mut World, line: &mut Line, seconds: u32, live: f64) -> (f64, usize) {
    let stream = Stream {
        epoch: OWN,
        lane: Lane::Telemetry,
    };
    let start = world.now;
    let mut born: BTreeMap<Seq, f64> = BTreeMap::new();
    let (mut due, mut worst, mut history) = (0.0, 0.0f64, 0);
    for tick in 0..seconds * 100 {
        let clock = line.start + f64::from(tick) / 100.0;
        world.now = start.plus(Duration::from_secs_f64(clock - line.start));
        due += live / 100.0;
        while due > 0.0 {
            world.append(OWN, Lane::Telemetry, 1);
            let key = RecordKey {
                epoch: OWN,
                lane: Lane::Telemetry,
                seq: world.last[&stream],
            };
            due -= f64::from(u32::try_from(world.spool[&key].body.len()).unwrap());
            born.insert(key.seq, clock);
        }
        let before = world.handed.len();
        world.pump();
        for (packet, payload) in world.handed.iter().skip(before) {
            line.free = line.free.max(clock) + payload.len() as f64 / line.rate;
            line.flight.push_back((line.free + line.way, *packet));
        }
        while line.flight.front().is_some_and(|(at, _)| *at <= clock) {
            let (at, packet) = line.flight.pop_front().unwrap();
            let place = world.handed.iter().position(|(p, _)| *p == packet).unwrap();
            let payload = world.handed[place].1.clone();
            for record in decode_envelope(&payload).unwrap().records {
                if record.key.epoch == OWN {
                    let birth = born.get(&record.key.seq).copied().unwrap_or(at);
                    worst = worst.max(at - birth);
                } else {
                    history += record.body.unwrap().len();
                }
            }
            world.puback(place);
            world.ingest(0);
            while !world.downs.is_empty() {
                world.deliver(0, false);
            }
            world.pump();
            // What this pump handed over goes onto the line as well.
            for (packet, payload) in &world.handed {
                if !line.flight.iter().any(|(_, p)| p == packet) {
                    line.free = line.free.max(clock) + payload.len() as f64 / line.rate;
                    line.flight.push_back((line.free + line.way, *packet));
                }
            }
        }
    }
    line.start += f64::from(seconds);
    (worst, history)
}

#[test]
fn live_data_stays_live_on_a_slow_line_while_the_backlog_drains_behind_it() {
    let mut world = World::new(3000, 0);
    world.connect();
    let mut line = Line {
        rate: 20_000.0,
        way: 0.05,
        start: 0.0,
        free: 0.0,
        flight: std::collections::VecDeque::new(),
    };
    // Time for the estimate to settle; then a minute that counts.
    share_line(&mut world, &mut line, 30, 2_000.0);
    let (worst, history) = share_line(&mut world, &mut line, 60, 2_000.0);
    println!(
        "worst live {worst:.2} s, backlog {history} bytes, estimate {:.0} bytes/s",
        world.engine.rate.bytes_per_second()
    );
    assert!(worst < 1.5, "a live record took {worst} s");
    assert!(
        history > 500_000,
        "{history} bytes of backlog in a minute of 1.2 MB"
    );
}

#[test]
fn a_long_way_is_filled_with_backlog_and_live_data_still_overtakes_it() {
    let mut world = World::new(3000, 0);
    world.connect();
    // 64 kbit/s by satellite: 4.8 kB are on the way before the first PUBACK is back.
    let mut line = Line {
        rate: 8_000.0,
        way: 0.6,
        start: 0.0,
        free: 0.0,
        flight: std::collections::VecDeque::new(),
    };
    share_line(&mut world, &mut line, 60, 800.0);
    let (worst, history) = share_line(&mut world, &mut line, 180, 800.0);
    let left = (8_000.0 - 800.0) * 180.0;
    let used = history as f64 / left;
    println!(
        "worst live {worst:.2} s, backlog {:.1} % of what is left",
        used * 100.0
    );
    assert!(worst < 4.0, "a live record took {worst} s");
    assert!(used > 0.8, "{used} of the line");
}

#[test]
fn backlog_goes_as_the_cloud_asks_and_live_data_as_ever() {
    let mut world = World::new(3000, 0);
    world.pace = Some(Pace {
        bytes_per_second: 5_000,
        holds: Duration::from_secs(5),
    });
    world.connect();
    let mut line = Line {
        rate: 40_000.0,
        way: 0.05,
        start: 0.0,
        free: 0.0,
        flight: std::collections::VecDeque::new(),
    };
    share_line(&mut world, &mut line, 20, 2_000.0);
    let (worst, history) = share_line(&mut world, &mut line, 60, 2_000.0);
    assert!(worst < 1.5, "a live record took {worst} s");
    assert!(
        (200_000..330_000).contains(&history),
        "{history} in a minute"
    );
    assert_eq!(world.engine.slowed(world.now).0, Some(5_000));
    world.pace = None;
    let (_, history) = share_line(&mut world, &mut line, 60, 2_000.0);
    assert!(history > 1_000_000, "{history} once the limit was lifted");
    assert_eq!(world.engine.slowed(world.now).0, None);
}

#[test]
fn after_an_outage_backlog_begins_at_a_time_of_its_own_and_live_data_at_once() {
    let mut world = World::new(50, 0);
    world.connect();
    world.disconnect(0);
    world.now = world.now.plus(Duration::from_secs(60));
    world.append(OWN, Lane::Telemetry, 3);
    world.look();
    world.connect();
    world.append(OWN, Lane::Telemetry, 1);
    // Of 10 s at most a half, as chance has it here.
    run(&mut world, 4);
    let live: Vec<_> = world
        .stored
        .iter()
        .map(|key| (key.epoch, key.seq))
        .collect();
    assert_eq!(live, [(OWN, 4)]);
    assert!(world.engine.deadline(world.now).is_some());
    assert!(world.quiesce() < 20);
}

#[test]
fn a_link_that_comes_back_slow_is_not_filled_with_backlog_in_front_of_live_data() {
    let mut world = World::new(3000, 2800);
    world.connect();
    let mut line = Line {
        rate: 2_000_000.0,
        way: 0.05,
        start: 0.0,
        free: 0.0,
        flight: std::collections::VecDeque::new(),
    };
    share_line(&mut world, &mut line, 10, 20_000.0);
    let learnt = world.engine.rate.bytes_per_second();
    assert!(learnt > 200_000.0, "{learnt}");
    world.disconnect(0);
    line.flight.clear();
    world.append(OLD, Lane::Telemetry, 1000);
    for rate in [4_000.0, 10_000.0, 20_000.0] {
        (line.rate, line.free) = (rate, line.start);
        world.connect();
        let (worst, history) = share_line(&mut world, &mut line, 10, rate / 10.0);
        println!("{rate} bytes/s: worst live {worst:.2} s, backlog {history} bytes");
        assert!(worst < 1.5, "{rate}: a live record took {worst} s");
        assert!(f64::from(u32::try_from(history).unwrap()) > rate * 10.0 / 3.0);
        world.disconnect(0);
        line.flight.clear();
    }
}

#[test]
fn what_an_earlier_process_had_stored_is_not_sent_at_all() {
    let mut world = World::new(200, 200);
    world.connect();
    world.quiesce();
    assert_eq!(world.sent, 0, "the answer to the hello says it all");
}

#[test]
fn what_an_engine_before_this_one_had_sent_in_this_epoch_is_believed_and_no_alarm() {
    // The identity was renewed: the process and its epoch live on, the engine is a new one.
    let mut world = World::new(0, 0);
    world.append(OWN, Lane::Telemetry, 20);
    world.stored = world.spool.keys().copied().collect();
    world.engine = Engine::new(EngineOptions {
        inherits: true,
        ..world.engine.options.clone()
    });
    world.look();
    world.connect();
    world.quiesce();
    assert_eq!(world.sent, 0, "the answer to the hello says it all");
    assert_eq!(
        world.engine.counters().identity,
        0,
        "nobody else acts under this name"
    );
}

#[test]
fn a_silent_cloud_stops_the_sender_at_its_window_and_raises_one_alarm() {
    let mut world = World::new(0, 0);
    world.cloud_up = false;
    world.connect();
    let mut alarms = 0;
    for _ in 0..600 {
        world.append(OWN, Lane::Telemetry, 2);
        run(&mut world, 1);
        alarms += u32::from(world.engine.store_away_now(world.now));
        assert!(
            !world.engine.stalled(world.now),
            "PUBACKs flow: no reason to reconnect"
        );
    }
    assert_eq!(alarms, 1);
    let unique = world.sent;
    assert_eq!(
        world.engine.counters().resent,
        0,
        "nothing is sent twice into the silence"
    );
    assert!(world.engine.window().bytes() <= LIMITS.max_bytes);
    assert!(unique < 1200, "it went on beyond the window");
    let hellos = world.engine.counters().hellos;
    assert!((8..=16).contains(&hellos), "{hellos} hellos in ten minutes");
    assert!(world.quiesce() < 120);
    assert!(!world.engine.store_away());
}

#[test]
fn lost_acknowledgements_are_asked_for_and_nothing_is_sent_twice() {
    let mut world = World::new(0, 0);
    world.connect();
    world.pump();
    while !world.downs.is_empty() {
        world.deliver(0, false);
    }
    world.append(OWN, Lane::Telemetry, 10);
    world.pump();
    while !world.handed.is_empty() {
        world.puback(0);
    }
    while !world.inbox.is_empty() {
        world.ingest(0);
    }
    world.downs.clear();
    run(&mut world, 8);
    assert!(world.spool.is_empty(), "hello after five seconds");
    assert_eq!(world.engine.counters().resent, 0);
}

#[test]
fn what_went_before_a_lost_connection_waits_for_the_answer_of_the_next() {
    let mut world = World::new(0, 0);
    world.connect();
    run(&mut world, 1);
    for _ in 0..3 {
        world.append(OWN, Lane::Telemetry, 1);
        world.pump();
    }
    let handed = world.handed.len();
    assert_eq!(handed, 3);
    // One got its PUBACK, the others arrived without: all are stored, no acknowledgement comes.
    world.puback(0);
    world.disconnect(handed);
    while !world.inbox.is_empty() {
        world.ingest(0);
    }
    world.downs.clear();
    world.cloud_up = false;
    world.connect();
    // Longer than backlog waits for an answer: silence is no reason to send again.
    run(&mut world, 15);
    assert_eq!(
        world.engine.counters().resent,
        0,
        "sent again without an answer"
    );
    assert!(world.quiesce() < 10);
    assert_eq!(world.engine.counters().resent, 0);
}

#[test]
fn an_acknowledgement_of_another_generation_settles_nothing_before_the_answer_confirms_it() {
    let mut world = World::new(0, 0);
    world.connect();
    run(&mut world, 1);
    world.append(OWN, Lane::Telemetry, 3);
    world.pump();
    world.puback(0);
    let forged = Down::Ack(Ack {
        generation: 999,
        items: vec![AckItem {
            epoch: OWN,
            lane: Lane::Telemetry,
            stored: crate::tracker::seqs(1, 3),
            refused: Vec::new(),
            retry: Vec::new(),
        }],
        pace: None,
    });
    let before = world.engine.counters().hellos;
    for _ in 0..100 {
        world.engine.down(&forged.encode().unwrap(), world.now);
        world.pump();
    }
    assert_eq!(world.spool.len(), 3);
    world.now = world.now.plus(Duration::from_secs(1));
    world.pump();
    assert_eq!(world.engine.counters().hellos, before + 1);
    assert!(world.quiesce() < 10);
}

#[test]
fn acknowledgements_for_records_never_sent_raise_identity_and_free_nothing() {
    let mut world = World::new(0, 0);
    world.connect();
    run(&mut world, 1);
    world.disconnect(0);
    world.append(OWN, Lane::Telemetry, 3);
    world.look();
    let ack = Down::Ack(Ack {
        generation: world.generation,
        items: vec![AckItem {
            epoch: OWN,
            lane: Lane::Telemetry,
            stored: crate::tracker::seqs(1, 1000),
            refused: Vec::new(),
            retry: Vec::new(),
        }],
        pace: None,
    });
    world.engine.down(&ack.encode().unwrap(), world.now);
    assert_eq!(world.engine.counters().identity, 1);
    assert_eq!(world.engine.take_settled(), None);
}

#[test]
fn refused_records_go_to_the_spool_by_name_and_free_the_window() {
    let mut world = World::new(0, 0);
    world.connect();
    run(&mut world, 1);
    world.append(OWN, Lane::Telemetry, 3);
    world.pump();
    world.puback(0);
    let range = SeqRange::new(1, 2).unwrap();
    let ack = Down::Ack(Ack {
        generation: world.generation,
        items: vec![AckItem {
            epoch: OWN,
            lane: Lane::Telemetry,
            stored: crate::tracker::seqs(3, 3),
            refused: vec![(range, RefuseReason::SeriesLimit)],
            retry: Vec::new(),
        }],
        pace: None,
    });
    world.engine.down(&ack.encode().unwrap(), world.now);
    let (_, settled) = world.engine.take_settled().unwrap();
    assert_eq!(settled.refused, [(range, RefuseReason::SeriesLimit)]);
    assert_eq!(settled.stored, crate::tracker::seqs(3, 3));
    assert!(world.engine.window().is_empty());
}

#[test]
fn slow_down_pauses_the_lane_and_leaves_the_others_alone() {
    let mut world = World::new(0, 0);
    world.connect();
    run(&mut world, 1);
    world.append(OWN, Lane::Telemetry, 1);
    world.pump();
    world.puback(0);
    world.inbox.clear();
    let hint = Down::Ack(Ack {
        generation: world.generation,
        items: vec![AckItem {
            epoch: OWN,
            lane: Lane::Telemetry,
            stored: SeqSet::new(),
            refused: Vec::new(),
            retry: vec![RetryLater {
                range: SeqRange::one(1).unwrap(),
                reason: RetryReason::Quota,
                after: Duration::from_secs(30),
            }],
        }],
        pace: None,
    });
    world.engine.down(&hint.encode().unwrap(), world.now);
    world.append(OWN, Lane::Telemetry, 5);
    world.append(OWN, Lane::Alarm, 1);
    let sent = world.sent;
    run(&mut world, 20);
    assert_eq!(world.sent - sent, 1, "the alarm alone");
    run(&mut world, 15);
    assert!(world.spool.is_empty());
}

#[test]
fn garbage_from_the_cloud_is_counted_and_changes_nothing() {
    let mut world = World::new(5, 0);
    world.connect();
    for garbage in [&b""[..], b"\x00", &[0xff; 60_000]] {
        world.engine.down(garbage, world.now);
    }
    assert!(world.engine.counters().unreadable >= 2);
    assert!(world.quiesce() < 20);
}

#[test]
fn with_a_foreign_broker_the_puback_confirms_and_nothing_is_asked() {
    let mut world = World::new(4, 0);
    world.engine.options.confirm = Confirm::Broker;
    world.connect();
    world.append(OWN, Lane::Telemetry, 3);
    world.pump();
    assert_eq!(world.engine.counters().hellos, 0);
    let sent = world.handed.len();
    assert!(sent >= 2, "backlog and live data, at once");
    let packets: Vec<u16> = world.handed.iter().map(|(packet, _)| *packet).collect();
    world.engine.puback(packets[0], world.now);
    let (_, settled) = world.engine.take_settled().unwrap();
    assert!(!settled.stored.is_empty());
    world.disconnect(0);
    world.connect();
    world.look();
    assert!(
        world.engine.ask(world.now).is_some(),
        "the other is sent again without asking"
    );
}

#[test]
fn a_missing_puback_ends_the_connection() {
    let mut world = World::new(0, 0);
    world.connect();
    world.append(OWN, Lane::Telemetry, 1);
    world.pump();
    assert_eq!(world.handed.len(), 1);
    world.now = world.now.plus(Duration::from_secs(19));
    assert!(!world.engine.stalled(world.now));
    assert!(world.engine.deadline(world.now).is_some());
    world.now = world.now.plus(Duration::from_secs(1));
    assert!(world.engine.stalled(world.now));
}
