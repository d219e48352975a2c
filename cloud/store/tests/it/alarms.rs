//! What every implementation of the store must make of alarms, and what filters saved.

use crate::kit::*;
use cloud_store::{AlarmFilter, EventFilter, Limits, Store, StoredAlarm, Traffic};
use protocols_model::{AlarmLevel, AlarmState, GatewayId, Lane, RecordKey, Timestamp, ValueType};
use protocols_wire::{AlarmNote, AlarmPoint, Body, Dictionary, EnvelopeRecord, Event, EventKind};
use std::time::Duration;

use AlarmState::{Acknowledged, Normal, Raised, Returned};

/// What the gateway says of the alarm `name`.
fn word(key: RecordKey, name: &str, state: AlarmState, time: Timestamp) -> EnvelopeRecord {
    shelved_word(key, name, state, time, false)
}

fn shelved_word(
    key: RecordKey,
    name: &str,
    state: AlarmState,
    time: Timestamp,
    quiet: bool,
) -> EnvelopeRecord {
    let happened = Event {
        time,
        kind: EventKind::Alarm,
        subject: name.to_owned(),
        text: "cellar hot".to_owned(),
        alarm: Some(AlarmNote {
            level: AlarmLevel::High,
            state,
            quiet,
            points: vec![AlarmPoint {
                device: "meter".parse().unwrap(),
                point: "p0".parse().unwrap(),
            }],
        }),
    };
    record(key, encode(stamp_at(now()), Body::Event(happened)))
}

async fn all(store: &dyn Store, gateway: Option<&GatewayId>) -> Vec<StoredAlarm> {
    let filter = AlarmFilter {
        gateway: gateway.cloned(),
        ..AlarmFilter::default()
    };
    store.alarms(filter).await.unwrap()
}

async fn one(store: &dyn Store, gateway: &GatewayId) -> StoredAlarm {
    let alarms = all(store, Some(gateway)).await;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    alarms.into_iter().next().unwrap()
}

fn at(second: i64) -> Timestamp {
    seconds(NOW_S - 1000 + second)
}

/// All orders of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for shorter in orders(last) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, last);
            all.push(order);
        }
    }
    all
}

pub(crate) async fn an_alarm_stands_as_its_gateway_said_last_in_whatever_order_words_come(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits::default());
    // Clocks run backwards here; seqs do not.
    let story = [
        (Raised, 90),
        (Acknowledged, 40),
        (Normal, 60),
        (Raised, 50),
        (Acknowledged, 70),
    ];
    for (number, order) in orders(story.len()).into_iter().enumerate() {
        let gw = enter(&*store, &format!("gw-{number}")).await;
        let words = order.iter().flat_map(|place| {
            let (state, time) = story[*place];
            let seq = u64::try_from(*place).unwrap() + 1;
            let said = word(key(7, Lane::Alarm, seq), "hot", state, at(time));
            [said.clone(), said]
        });
        let words: Vec<_> = words.collect();
        // Each comes twice, in one group and in the next.
        send(&*store, &gw, vec![], words.clone()).await;
        send(&*store, &gw, vec![], words).await;
        let alarm = one(&*store, &gw).await;
        assert_eq!(alarm.state, Acknowledged, "{order:?}");
        assert_eq!(alarm.changed, at(70), "{order:?}");
        assert_eq!(alarm.raised, Some(at(50)), "{order:?}");
        let events = EventFilter {
            gateway: Some(gw),
            limit: 100,
            ..EventFilter::default()
        };
        assert_eq!(store.events(events).await.unwrap().len(), story.len());
    }
}

pub(crate) async fn epochs_are_ordered_by_hellos_and_not_by_clocks(mut kit: impl Kit) {
    let store = kit.open(Limits::default());
    let gw = enter(&*store, "gw-1").await;
    let says_hello = async |epoch: u64, held: &[(u64, Lane)]| {
        let said = hello(epoch, epoch, held);
        store.hello(&gw, said, now(), false).await.unwrap();
    };
    says_hello(9, &[]).await;
    let raised = word(key(9, Lane::Alarm, 5), "hot", Raised, at(500));
    send(&*store, &gw, vec![], vec![raised]).await;
    // A board without a clock of its own starts anew, in 1970; its words come before its hello.
    let cleared = word(key(4, Lane::Alarm, 1), "hot", Normal, seconds(60));
    send(&*store, &gw, vec![], vec![cleared]).await;
    assert_eq!(one(&*store, &gw).await.state, Normal);
    says_hello(4, &[(9, Lane::Alarm), (4, Lane::Alarm)]).await;
    let late = word(key(9, Lane::Alarm, 6), "hot", Acknowledged, at(600));
    send(&*store, &gw, vec![], vec![late]).await;
    let alarm = one(&*store, &gw).await;
    assert_eq!(alarm.state, Normal, "what the old epoch held back is old");
    assert_eq!(
        alarm.changed,
        now(),
        "a time that cannot be right is told by when it came"
    );
    assert_eq!(alarm.raised, Some(at(500)));

    // Two epochs pass without a connection. The newest speaks first, the others' backlog follows.
    let newest = word(key(3, Lane::Alarm, 1), "hot", Raised, seconds(10));
    let before = word(key(8, Lane::Alarm, 1), "hot", Normal, at(900));
    send(&*store, &gw, vec![], vec![before, newest]).await;
    assert_eq!(
        one(&*store, &gw).await.state,
        Normal,
        "by the clock, for want of anything better"
    );
    says_hello(3, &[(8, Lane::Alarm), (3, Lane::Alarm)]).await;
    assert_eq!(
        one(&*store, &gw).await.state,
        Raised,
        "the hello says which epoch runs"
    );
    let older = word(key(8, Lane::Alarm, 2), "hot", Normal, at(950));
    send(&*store, &gw, vec![], vec![older]).await;
    assert_eq!(one(&*store, &gw).await.state, Raised);
}

pub(crate) async fn the_backlog_of_a_run_that_never_connected_is_older_than_the_run_that_brings_it(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits::default());
    let gw = enter(&*store, "gw-1").await;
    let says_hello = async |held: &[(u64, Lane)]| {
        let said = hello(2, 2, held);
        store.hello(&gw, said, now(), false).await.unwrap();
    };
    let cleared = word(key(2, Lane::Alarm, 1), "hot", Returned, at(500));
    send(&*store, &gw, vec![], vec![cleared]).await;
    says_hello(&[(1, Lane::Alarm), (2, Lane::Alarm)]).await;
    // The older run's clock was ahead.
    let raised = word(key(1, Lane::Alarm, 1), "hot", Raised, at(900));
    send(&*store, &gw, vec![], vec![raised]).await;
    assert_eq!(one(&*store, &gw).await.state, Returned);
    // One that the first hello had no room for, and that came before it was told of.
    let older = word(key(3, Lane::Alarm, 1), "hot", Raised, at(950));
    send(&*store, &gw, vec![], vec![older]).await;
    says_hello(&[(3, Lane::Alarm), (2, Lane::Alarm)]).await;
    let over = word(key(2, Lane::Alarm, 2), "hot", Normal, at(510));
    send(&*store, &gw, vec![], vec![over]).await;
    assert_eq!(one(&*store, &gw).await.state, Normal);
}

pub(crate) async fn an_alarm_that_goes_on_through_a_restart_is_raised_since_before(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits::default());
    let gw = enter(&*store, "gw-1").await;
    let raised = word(key(1, Lane::Alarm, 1), "hot", Raised, at(10));
    send(&*store, &gw, vec![], vec![raised]).await;
    store
        .hello(&gw, hello(2, 2, &[]), now(), false)
        .await
        .unwrap();
    let known = word(key(2, Lane::Alarm, 1), "hot", Acknowledged, at(80));
    send(&*store, &gw, vec![], vec![known]).await;
    let alarm = one(&*store, &gw).await;
    assert_eq!((alarm.state, alarm.raised), (Acknowledged, Some(at(10))));
    let over = word(key(2, Lane::Alarm, 2), "hot", Normal, at(90));
    send(&*store, &gw, vec![], vec![over]).await;
    assert_eq!(one(&*store, &gw).await.raised, Some(at(10)));
    let again = word(key(2, Lane::Alarm, 3), "hot", Raised, at(95));
    send(&*store, &gw, vec![], vec![again]).await;
    assert_eq!(one(&*store, &gw).await.raised, Some(at(95)));
}

pub(crate) async fn an_open_alarm_outlives_its_events_and_one_that_is_over_does_not(
    mut kit: impl Kit,
) {
    let day = Duration::from_secs(24 * 3600);
    let limits = Limits {
        rollup_retention: 2 * day,
        ..eager()
    };
    let store = kit.open(limits.clone());
    let gw = enter(&*store, "gw-1").await;
    let words = vec![
        word(key(1, Lane::Alarm, 1), "hot", Raised, at(1)),
        word(key(1, Lane::Alarm, 2), "cold", Raised, at(2)),
        word(key(1, Lane::Alarm, 3), "cold", Normal, at(3)),
    ];
    send(&*store, &gw, vec![], words).await;
    assert_eq!(all(&*store, None).await.len(), 2);
    maintain(&*store, now().plus(3 * day)).await;
    let events = EventFilter {
        limit: 10,
        ..EventFilter::default()
    };
    assert_eq!(store.events(events).await.unwrap(), []);
    let alarm = one(&*store, &gw).await;
    assert_eq!((alarm.name.as_str(), alarm.raised), ("hot", Some(at(1))));
    drop(store);
    let store = kit.open(limits);
    let over = word(key(1, Lane::Alarm, 4), "hot", Normal, at(9));
    send(&*store, &gw, vec![], vec![over]).await;
    let alarm = one(&*store, &gw).await;
    assert_eq!((alarm.state, alarm.raised), (Normal, Some(at(1))));
}

pub(crate) async fn alarms_of_a_gateway_are_bounded_and_open_ones_never_give_way(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits {
        alarms_per_gateway: 2,
        ..Limits::default()
    });
    let gw = enter(&*store, "gw-1").await;
    let mut seq = 0;
    let mut say = async |name: &str, state| {
        seq += 1;
        let said = word(key(1, Lane::Alarm, seq), name, state, at(seq.cast_signed()));
        send(&*store, &gw, vec![], vec![said]).await;
    };
    say("a", Raised).await;
    say("b", Raised).await;
    say("a", Normal).await;
    say("c", Raised).await;
    say("d", Raised).await;
    let names: Vec<String> = all(&*store, None)
        .await
        .into_iter()
        .map(|a| a.name)
        .collect();
    assert_eq!(
        names,
        ["c", "b"],
        "the newest first; what was over gave way"
    );
    let events = EventFilter {
        subject: Some("d".to_owned()),
        limit: 10,
        ..EventFilter::default()
    };
    let told = store.events(events).await.unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].record.is_none() && told[0].text.contains("2 open alarms"),
        "{told:?}"
    );
}

pub(crate) async fn alarms_are_listed_by_urgency_counted_and_lead_to_their_points(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits::default());
    let (gw, other) = (enter(&*store, "gw-1").await, enter(&*store, "gw-2").await);
    let dict = Dictionary::try_new(vec![descriptor("meter", "p0", ValueType::F64)]).unwrap();
    let body = telemetry(&dict, vec![(0, vec![good(now(), 1.0)])]);
    let words = vec![
        record(key(1, Lane::Telemetry, 1), body),
        word(key(1, Lane::Alarm, 1), "over", Raised, at(1)),
        word(key(1, Lane::Alarm, 2), "over", Normal, at(2)),
        word(key(1, Lane::Alarm, 3), "early", Raised, at(3)),
        word(key(1, Lane::Alarm, 4), "back", Returned, at(4)),
        shelved_word(key(1, Lane::Alarm, 5), "aside", Raised, at(5), true),
    ];
    send(&*store, &gw, vec![dict], words).await;
    let elsewhere = vec![word(key(2, Lane::Alarm, 1), "hot", Acknowledged, at(9))];
    send(&*store, &other, vec![], elsewhere).await;
    let alarms = all(&*store, None).await;
    let names: Vec<&str> = alarms.iter().map(|alarm| alarm.name.as_str()).collect();
    assert_eq!(names, ["early", "hot", "back", "aside", "over"]);
    let series = store.series(Some(&gw)).await.unwrap()[0].id;
    assert_eq!(alarms[0].points[0].series, Some(series));
    assert_eq!(
        alarms[1].points[0].series, None,
        "that gateway never sent it"
    );
    let counts = store.alarm_counts(None).await.unwrap();
    assert_eq!(
        (
            counts.raised,
            counts.acknowledged,
            counts.returned,
            counts.shelved
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(counts.worst, Some(AlarmLevel::High));
    let open = AlarmFilter {
        states: vec![Raised],
        ..AlarmFilter::default()
    };
    assert_eq!(store.alarms(open).await.unwrap().len(), 2);
    // Of a gateway that is not trusted any more nothing will ever be cleared.
    store.revoke_gateway(&gw, now()).await.unwrap();
    assert_eq!(all(&*store, None).await.len(), 1);
    assert_eq!(store.alarm_counts(None).await.unwrap().raised, 0);
    assert_eq!(all(&*store, Some(&gw)).await.len(), 4);
}

pub(crate) async fn events_carry_what_they_say_of_an_alarm_and_are_found_by_it(mut kit: impl Kit) {
    let store = kit.open(Limits::default());
    let gw = enter(&*store, "gw-1").await;
    let started = Event {
        time: now(),
        kind: EventKind::Started,
        subject: String::new(),
        text: String::new(),
        alarm: None,
    };
    let words = vec![
        word(key(1, Lane::Alarm, 1), "hot", Raised, at(1)),
        word(key(1, Lane::Alarm, 2), "cold", Raised, at(2)),
        record(
            key(1, Lane::Event, 1),
            encode(stamp_at(now()), Body::Event(started)),
        ),
    ];
    let mut live = store.subscribe();
    send(&*store, &gw, vec![], words).await;
    let told = live.recv().await.unwrap();
    assert!(told.events && told.alarms, "{told:?}");
    let found = async |kind, subject: Option<&str>| {
        let filter = EventFilter {
            kind,
            subject: subject.map(str::to_owned),
            limit: 10,
            ..EventFilter::default()
        };
        store.events(filter).await.unwrap()
    };
    assert_eq!(found(None, None).await.len(), 3);
    let hot = found(Some(EventKind::Alarm), Some("hot")).await;
    assert_eq!(hot.len(), 1);
    let note = hot[0].alarm.as_ref().unwrap();
    assert_eq!((note.level, note.state), (AlarmLevel::High, Raised));
    assert_eq!(note.points[0].point.as_str(), "p0");
    assert_eq!(found(Some(EventKind::Started), None).await[0].alarm, None);
}

pub(crate) async fn traffic_counts_each_record_once_by_the_hour_it_came(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(2);
    let body = |value| {
        let samples = vec![good(now(), value), good(now(), value + 1.0)];
        telemetry(&dict, vec![(0, samples), (1, vec![])])
    };
    let hour = Duration::from_secs(3600);
    for (seq, received) in [(1, now().minus(hour)), (2, now()), (2, now()), (1, now())] {
        let body = body(f64::from(u32::try_from(seq).unwrap()));
        let sent = record(key(1, Lane::Telemetry, seq), body);
        send_at(&*store, &gw, received, vec![dict.clone()], vec![sent]).await;
    }
    // Two columns a record, two readings left out of each.
    let once = Traffic {
        records: 1,
        stored: 2,
        filtered: 4,
        bytes: body(2.0).len() as u64,
    };
    assert_eq!(store.traffic(&gw, now()).await.unwrap(), once);
    maintain(&*store, now()).await;
    drop(store);
    let store = kit.open(eager());
    let both = store.traffic(&gw, now().minus(hour)).await.unwrap();
    assert_eq!((both.records, both.stored, both.filtered), (2, 4, 8));
    // It is kept for weeks, not for ever.
    maintain(&*store, now().plus(Duration::from_secs(40 * 24 * 3600))).await;
    let left = store.traffic(&gw, seconds(0)).await.unwrap();
    assert_eq!(left, Traffic::default());
}
