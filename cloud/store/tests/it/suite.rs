//! What every implementation of the store must do: taking in, settling, the ledger, the registry.

use crate::kit::*;
use cloud_store::{
    LedgerFilter, Limits, Points, QuarantineInput, QueryRange, Session, Store, TimeRange, User,
};
use protocols_model::seq::SEQ_MAX;
use protocols_model::{
    BootId, Instant, Lane, LossReason, PointLoss, RefuseReason, SeqRange, SeqSet, Timestamp, Value,
    ValueType,
};
use protocols_wire::{
    Body, Column, DecodeError, Dictionary, EnvelopeRecord, Event, EventKind, RecordStamp,
    RetryReason, Sample, Telemetry, TimeMap, Unchanged,
};
use std::sync::Arc;
use std::time::Duration;

fn set(ranges: &[(u64, u64)]) -> SeqSet {
    let range = |&(a, b): &(u64, u64)| SeqRange::new(a, b).unwrap();
    ranges.iter().map(range).collect()
}

fn one(dictionary: &Dictionary, seq: u64) -> EnvelopeRecord {
    let time = seconds(NOW_S - 100 + i64::try_from(seq).unwrap());
    let body = telemetry(dictionary, vec![(0, vec![good(time, 1.5)])]);
    record(key(1, Lane::Telemetry, seq), body)
}

fn all_entries() -> LedgerFilter {
    LedgerFilter {
        struck: true,
        ..LedgerFilter::default()
    }
}

pub(crate) async fn a_record_is_stored_once_however_often_it_comes(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let records = vec![one(&dict, 1), one(&dict, 1), one(&dict, 2)];
    let first = send(&*store, &gw, vec![dict.clone()], records.clone()).await;
    assert_eq!(first.items[0].stored, set(&[(1, 2)]));
    assert_eq!((first.readings, first.duplicates), (2, 1));
    maintain(&*store, now()).await;
    drop(store);
    let store = kit.open(eager());
    let again = send(&*store, &gw, vec![], records).await;
    assert_eq!(again.items[0].stored, set(&[(1, 2)]));
    assert_eq!((again.readings, again.duplicates), (0, 3));
    assert_eq!(export(&*store).await.len(), 2);
}

pub(crate) async fn records_may_come_in_any_order(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    for seq in [5, 3, 1, 4, 2] {
        let settled = send(&*store, &gw, vec![dict.clone()], vec![one(&dict, seq)]).await;
        assert_eq!(settled.items[0].stored, set(&[(seq, seq)]));
    }
    let held = hello(1, 1, &[(1, Lane::Telemetry)]);
    let answer = store.hello(&gw, held, now(), false).await.unwrap();
    assert_eq!(answer.epochs[0].settled, set(&[(1, 5)]));
    assert_eq!(export(&*store).await.len(), 5);
}

pub(crate) async fn a_record_that_would_make_a_65th_range_is_hinted_to_come_later(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let odd: Vec<_> = (1..=65).map(|i| one(&dict, 1 + 2 * i)).collect();
    let settled = send(&*store, &gw, vec![dict.clone()], odd).await;
    let item = &settled.items[0];
    assert_eq!(item.stored.ranges().len(), 64);
    assert_eq!(item.retry.len(), 1);
    assert_eq!(item.retry[0].reason, RetryReason::SlowDown);
    assert_eq!(item.retry[0].range, SeqRange::one(131).unwrap());
    // Filling a gap is always possible, and makes room.
    let settled = send(&*store, &gw, vec![], vec![one(&dict, 4), one(&dict, 131)]).await;
    assert!(settled.items[0].retry.is_empty());
    assert_eq!(export(&*store).await.len(), 66);
}

pub(crate) async fn a_claim_behind_many_gaps_of_its_own_lane_is_taken_and_fills_them(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let event = |seq| {
        let happened = Event {
            time: now(),
            kind: EventKind::DeviceLink,
            subject: "meter".to_owned(),
            text: "down".to_owned(),
            alarm: None,
        };
        let body = encode(stamp_at(now()), Body::Event(happened));
        record(key(1, Lane::Event, seq), body)
    };
    // Claims stood between the events; they were joined into the last record, which claims their places.
    let events = (0..100).map(|n| event(2 * n + 1)).collect();
    let settled = send(&*store, &gw, vec![], events).await;
    assert!(
        settled.items[0].retry.is_empty(),
        "{:?}",
        settled.items[0].retry
    );
    for (nth, places) in (1..=100).collect::<Vec<u64>>().chunks(64).enumerate() {
        let claims = places
            .iter()
            .map(|n| claim(1, Lane::Event, 2 * n, 2 * n, Some(0)));
        let body = encode(stamp_at(now()), Body::Claims(claims.collect()));
        let joined = record(key(1, Lane::Event, 300 + nth as u64), body);
        let settled = send(&*store, &gw, vec![], vec![joined]).await;
        assert_eq!(settled.items[0].stored.count(), 1);
    }
    let held = hello(1, 1, &[(1, Lane::Event)]);
    let answer = store.hello(&gw, held, now(), true).await.unwrap();
    assert_eq!(answer.epochs[0].settled, set(&[(1, 200), (300, 301)]));
}

pub(crate) async fn a_record_with_an_unknown_dictionary_waits_for_it(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let settled = send(&*store, &gw, vec![], vec![one(&dict, 1)]).await;
    let reason = settled.items[0].retry[0].reason;
    assert_eq!(reason, RetryReason::UnknownDictionary(dict.hash()));
    assert!(settled.items[0].stored.is_empty());
    let settled = send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    assert_eq!(settled.items[0].stored, set(&[(1, 1)]));
}

pub(crate) async fn a_claim_strikes_what_is_stored_and_a_late_record_strikes_the_claim(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let records = vec![one(&dict, 1), one(&dict, 3)];
    send(&*store, &gw, vec![dict.clone()], records).await;
    let mut lost = claim(1, Lane::Telemetry, 1, 5, Some(5));
    lost.points = vec![PointLoss {
        dictionary: dict.hash(),
        index: 0,
        readings: 5,
        filtered: 10,
    }];
    let body = encode(stamp_at(now()), Body::Claims(vec![lost]));
    let claims = record(key(1, Lane::Event, 1), body);
    let settled = send(&*store, &gw, vec![], vec![claims.clone()]).await;
    assert_eq!(settled.items[0].stored, set(&[(1, 1)]));

    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(entry.lost, set(&[(2, 2), (4, 5)]));
    assert_eq!(entry.readings, Some(3), "two of five records are stored");
    assert!(!entry.upper_bound);
    assert_eq!((entry.points[0].readings, entry.points[0].filtered), (3, 6));
    let counts = store.counts(&gw).await.unwrap();
    assert_eq!((counts[0].stored, counts[0].filtered), (2, 4));
    assert_eq!((counts[0].lost, counts[0].lost_filtered), (3, 6));

    // The watermark does not stall, the claim does nothing twice, a late record is stored.
    let held = hello(1, 1, &[(1, Lane::Telemetry)]);
    let answer = store.hello(&gw, held, now(), false).await.unwrap();
    assert_eq!(answer.epochs[0].settled, set(&[(1, 5)]));
    let settled = send(&*store, &gw, vec![], vec![claims, one(&dict, 4)]).await;
    assert_eq!(settled.readings, 1);
    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(entry.lost, set(&[(2, 2), (5, 5)]));
    assert_eq!(entry.readings, Some(2));
    send(&*store, &gw, vec![], vec![one(&dict, 2), one(&dict, 5)]).await;
    assert!(
        store
            .ledger(LedgerFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let struck = store.ledger(all_entries()).await.unwrap();
    assert_eq!(struck[0].readings, Some(0));
    let counts = store.counts(&gw).await.unwrap();
    assert_eq!((counts[0].stored, counts[0].lost), (5, 0));
}

pub(crate) async fn an_open_ended_claim_covers_what_nobody_can_name_and_late_records_still_count(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let mut tail = claim(1, Lane::Telemetry, 2, SEQ_MAX, None);
    tail.reason = LossReason::CrashTail;
    tail.at_most = Some(100);
    let body = encode(stamp_at(now()), Body::Claims(vec![tail]));
    let records = vec![
        one(&dict, 1),
        one(&dict, 3),
        record(key(2, Lane::Event, 1), body),
    ];
    send(&*store, &gw, vec![dict.clone()], records).await;
    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(entry.lost, set(&[(2, 2), (4, SEQ_MAX)]));
    assert_eq!((entry.readings, entry.at_most), (None, Some(100)));
    // It was in the broker's stream all the time.
    let settled = send(&*store, &gw, vec![], vec![one(&dict, 4)]).await;
    assert_eq!((settled.readings, settled.duplicates), (1, 0));
    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(entry.lost, set(&[(2, 2), (5, SEQ_MAX)]));
    assert_eq!(export(&*store).await.len(), 3);
}

pub(crate) async fn a_malformed_record_is_refused_quarantined_and_blocks_nothing(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let damaged = EnvelopeRecord {
        key: key(1, Lane::Telemetry, 3),
        body: Err(DecodeError::Checksum("record")),
    };
    let newer = EnvelopeRecord {
        key: key(1, Lane::Telemetry, 5),
        body: Err(DecodeError::UnknownVersion(9)),
    };
    let garbage = record(key(1, Lane::Telemetry, 2), vec![0xff; 40].into());
    let records = vec![one(&dict, 1), garbage, damaged, one(&dict, 4), newer];
    let settled = send(&*store, &gw, vec![dict.clone()], records).await;
    let item = &settled.items[0];
    assert_eq!(item.stored, set(&[(1, 1), (4, 4)]));
    let both = SeqRange::new(2, 3).unwrap();
    assert_eq!(item.refused, [(both, RefuseReason::Malformed)]);
    assert_eq!(item.retry[0].reason, RetryReason::NewerVersion);
    let held = hello(1, 1, &[(1, Lane::Telemetry)]);
    let answer = store.hello(&gw, held, now(), false).await.unwrap();
    assert_eq!(
        answer.epochs[0].settled,
        set(&[(1, 1), (4, 4)]),
        "the gateway has not claimed the others yet"
    );
    let more = one(&dict, 6);
    let settled = send(&*store, &gw, vec![], vec![more]).await;
    assert_eq!(settled.items[0].stored, set(&[(6, 6)]));
    assert_eq!(store.quarantined(Some(&gw), 10).await.unwrap().len(), 2);
    assert_eq!(
        store.gateway_state(&gw).await.unwrap().unwrap().quarantined,
        2
    );
}

pub(crate) async fn a_refused_record_stands_in_the_ledger_until_the_gateway_claims_it(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let garbage = |seq| record(key(1, Lane::Telemetry, seq), vec![0xff; 40].into());
    let settled = send(&*store, &gw, vec![], vec![garbage(1), garbage(2)]).await;
    let both = SeqRange::new(1, 2).unwrap();
    assert_eq!(
        settled.items[0].refused,
        [(both, RefuseReason::Malformed)],
        "neighbours are told together"
    );
    // Should that not arrive: the gateway is not told that they are settled, and offers them again.
    let held = || hello(1, 1, &[(1, Lane::Telemetry)]);
    let answer = store.hello(&gw, held(), now(), false).await.unwrap();
    assert!(answer.epochs[0].settled.is_empty());
    let entry = store
        .ledger(LedgerFilter::default())
        .await
        .unwrap()
        .remove(0);
    assert!(entry.by_cloud);
    assert_eq!((entry.lost, entry.readings), (set(&[(1, 2)]), None));
    let mut known = claim(1, Lane::Telemetry, 1, 1, Some(7));
    known.reason = LossReason::Refused(RefuseReason::Malformed);
    let body = encode(stamp_at(now()), Body::Claims(vec![known]));
    send(
        &*store,
        &gw,
        vec![],
        vec![record(key(1, Lane::Event, 1), body)],
    )
    .await;
    let entries = store.ledger(LedgerFilter::default()).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(
        entries[0].lost,
        set(&[(2, 2)]),
        "the gateway's claim took over"
    );
    assert_eq!(
        (entries[1].lost.clone(), entries[1].readings),
        (set(&[(1, 1)]), Some(7))
    );
    let answer = store.hello(&gw, held(), now(), false).await.unwrap();
    assert_eq!(
        answer.epochs[0].settled,
        set(&[(1, 1)]),
        "what the gateway has claimed it need not keep"
    );
    // Sent again it is refused again, not called stored.
    let again = send(&*store, &gw, vec![], vec![garbage(2)]).await;
    assert_eq!(again.items[0].refused.len(), 1);
}

pub(crate) async fn values_of_another_type_than_the_dictionary_says_are_refused(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = Dictionary::try_new(vec![descriptor("m", "p", ValueType::Bool)]).unwrap();
    let wrong_type = telemetry(&dict, vec![(0, vec![good(now(), 1.0)])]);
    let wrong_place = telemetry(&dict, vec![(9, vec![bad(now())])]);
    let records = vec![
        record(key(1, Lane::Telemetry, 1), wrong_type),
        record(key(1, Lane::Telemetry, 2), wrong_place),
    ];
    let settled = send(&*store, &gw, vec![dict], records).await;
    assert_eq!(settled.items[0].refused[0].0.count(), 2);
    assert!(export(&*store).await.is_empty());
}

pub(crate) async fn series_above_the_limit_are_refused_by_name(mut kit: impl Kit) {
    let limits = |series_per_gateway| Limits {
        series_per_gateway,
        ..eager()
    };
    let store = kit.open(limits(2));
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(3);
    let at = |seq, index| {
        let body = telemetry(&dict, vec![(index, vec![good(now(), 1.0)])]);
        record(key(1, Lane::Telemetry, seq), body)
    };
    let settled = send(&*store, &gw, vec![dict.clone()], vec![at(1, 1), at(2, 2)]).await;
    assert_eq!(settled.items[0].stored, set(&[(1, 1)]));
    assert_eq!(settled.items[0].refused[0].1, RefuseReason::SeriesLimit);
    let quarantined = store.quarantined(Some(&gw), 10).await.unwrap();
    assert!(
        quarantined[0].reason.contains("meter/p2"),
        "{}",
        quarantined[0].reason
    );
    // With more room it may come after all.
    drop(store);
    let store = kit.open(limits(3));
    let settled = send(&*store, &gw, vec![], vec![at(2, 2)]).await;
    assert_eq!(settled.items[0].stored, set(&[(2, 2)]));
    assert!(
        store
            .ledger(LedgerFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn an_unknown_or_revoked_gateway_is_refused(mut kit: impl Kit) {
    let store = kit.open(eager());
    let dict = floats(1);
    let stranger = gateway("stranger");
    let settled = send(&*store, &stranger, vec![dict.clone()], vec![one(&dict, 1)]).await;
    assert_eq!(settled.items[0].refused[0].1, RefuseReason::Revoked);
    let gw = enter(&*store, "gw-1").await;
    send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    assert!(store.revoke_gateway(&gw, now()).await.unwrap());
    assert!(
        !store.revoke_gateway(&gw, now()).await.unwrap(),
        "it was revoked already"
    );
    let settled = send(&*store, &gw, vec![], vec![one(&dict, 1), one(&dict, 2)]).await;
    assert_eq!(settled.items[0].refused[0].0.count(), 2);
    let answer = store
        .hello(&gw, hello(1, 1, &[]), now(), true)
        .await
        .unwrap();
    assert!(answer.refused);
    assert_eq!(export(&*store).await.len(), 1);
    assert!(store.gateway(&gw).await.unwrap().unwrap().is_revoked());
    assert!(store.revoke_gateway(&stranger, now()).await.is_err());
}

pub(crate) async fn a_closed_epoch_takes_nothing_and_an_epoch_in_use_is_never_closed(
    mut kit: impl Kit,
) {
    let store = kit.open(Limits {
        epoch_grace: Duration::from_secs(60),
        ..eager()
    });
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    let named = |boot| hello(boot, 2, &[(2, Lane::Telemetry)]);
    let listed = || hello(5, 2, &[(1, Lane::Telemetry), (2, Lane::Telemetry)]);
    // Too soon, or something still under way: the epoch stays open.
    store.hello(&gw, named(5), now(), true).await.unwrap();
    let later = now().plus(Duration::from_secs(100));
    store.hello(&gw, named(5), later, false).await.unwrap();
    send_at(&*store, &gw, now(), vec![], vec![one(&dict, 2)]).await;
    assert_eq!(export(&*store).await.len(), 2);
    // Quiet, drained, no longer listed: closed.
    store.hello(&gw, named(5), later, true).await.unwrap();
    let settled = send_at(
        &*store,
        &gw,
        later,
        vec![],
        vec![one(&dict, 2), one(&dict, 3)],
    )
    .await;
    assert_eq!(
        settled.items[0].stored,
        set(&[(2, 2)]),
        "what is stored stays settled"
    );
    assert_eq!(settled.items[0].refused[0].1, RefuseReason::EpochClosed);
    let answer = store.hello(&gw, listed(), later, true).await.unwrap();
    assert!(answer.epochs[0].closed && !answer.epochs[1].closed);
}

pub(crate) async fn a_partial_hello_closes_nothing(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    let later = now().plus(Duration::from_secs(100));
    let mut part = hello(5, 2, &[(2, Lane::Telemetry)]);
    part.partial = true;
    store.hello(&gw, part.clone(), later, true).await.unwrap();
    let settled = send_at(&*store, &gw, later, vec![], vec![one(&dict, 2)]).await;
    assert_eq!(
        settled.items[0].stored,
        set(&[(2, 2)]),
        "left out, not closed"
    );
    part.partial = false;
    store.hello(&gw, part, later, true).await.unwrap();
    let settled = send_at(&*store, &gw, later, vec![], vec![one(&dict, 3)]).await;
    assert_eq!(settled.items[0].refused[0].1, RefuseReason::EpochClosed);
}

pub(crate) async fn alternating_boots_raise_identity_cloned_once(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let mut cloned = Vec::new();
    for boot in [1, 1, 2, 1, 2, 1] {
        let answer = store
            .hello(&gw, hello(boot, boot, &[]), now(), true)
            .await
            .unwrap();
        cloned.push(answer.cloned);
    }
    assert_eq!(cloned, [false, false, false, false, true, true]);
    let events = store.events(newest(Some(&gw), None, 10)).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::Identity);
    assert!(store.gateway_state(&gw).await.unwrap().unwrap().cloned);
}

pub(crate) async fn hello_names_missing_dictionaries_and_settled_ranges(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let (known, unknown) = (floats(1), floats(2));
    let records = vec![one(&known, 1), one(&known, 4)];
    send(&*store, &gw, vec![known.clone()], records).await;
    let mut held = hello(1, 1, &[(1, Lane::Telemetry), (9, Lane::Alarm)]);
    held.dictionaries = vec![known.hash(), unknown.hash()];
    let answer = store.hello(&gw, held.clone(), now(), true).await.unwrap();
    assert_eq!(answer.missing_dictionaries, [unknown.hash()]);
    assert_eq!(answer.epochs[0].settled, set(&[(1, 1), (4, 4)]));
    assert!(answer.epochs[1].settled.is_empty() && !answer.epochs[1].closed);
    assert_eq!(answer.generation, store.generation());
    let state = store.gateway_state(&gw).await.unwrap().unwrap();
    assert_eq!(state.hello, Some((now(), held)));
}

fn whole_range() -> QueryRange {
    QueryRange {
        range: TimeRange {
            from: seconds(0),
            to: seconds(NOW_S * 2),
        },
        points: 1000,
        silence: None,
    }
}

pub(crate) async fn a_stamp_that_cannot_be_right_is_kept_counted_and_shown_in_no_chart(
    mut kit: impl Kit,
) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let samples = vec![
        good(seconds(5), 1.0),
        good(now(), 2.0),
        good(seconds(NOW_S + 90_000), 3.0),
    ];
    let body = telemetry(&dict, vec![(0, samples)]);
    send(
        &*store,
        &gw,
        vec![dict],
        vec![record(key(1, Lane::Telemetry, 1), body)],
    )
    .await;
    for compacted in [false, true] {
        let exported = export(&*store).await;
        let suspect: Vec<bool> = exported.iter().map(|sample| sample.suspect).collect();
        assert_eq!(suspect, [true, false, true], "compacted: {compacted}");
        let series = exported[0].series;
        let Points::Raw(raw) = store.query(series, whole_range()).await.unwrap().points else {
            panic!("buckets")
        };
        assert_eq!(raw.len(), 1);
        assert_eq!(
            store.latest(&gw, None).await.unwrap()[0].value,
            Some(Value::F64(2.0))
        );
        assert_eq!(store.counts(&gw).await.unwrap()[0].stored, 3);
        maintain(&*store, now()).await;
    }
}

pub(crate) async fn a_time_map_corrects_what_was_sent_before_and_after_it(mut kit: impl Kit) {
    for compact_first in [false, true] {
        let store = kit.open(eager());
        let gw = enter(&*store, if compact_first { "gw-1" } else { "gw-2" }).await;
        let dict = floats(1);
        // A board that booted at NOW - 100 s and believes it is 1970.
        let unset = |seq: u64| {
            let wall = seconds(10 + i64::try_from(seq).unwrap());
            let stamp = RecordStamp {
                boot: BootId(4),
                mono: Instant(Duration::from_secs(10 + seq)),
                wall,
            };
            let body = telemetry_stamped(stamp, &dict, vec![(0, vec![good(wall, 1.0)])]);
            record(key(1, Lane::Telemetry, seq), body)
        };
        send(&*store, &gw, vec![dict.clone()], vec![unset(1), unset(2)]).await;
        if compact_first {
            maintain(&*store, now()).await;
        }
        let of_gateway = || async {
            let all = export(&*store).await;
            let series = store.series(Some(&gw)).await.unwrap()[0].id;
            all.into_iter()
                .filter(|s| s.series == series)
                .collect::<Vec<_>>()
        };
        assert!(of_gateway().await.iter().all(|sample| sample.suspect));
        let map = TimeMap {
            boot: BootId(4),
            origin: seconds(NOW_S - 100),
            uncertainty_ns: 1_000_000,
        };
        let body = encode(stamp_at(now()), Body::TimeMap(map));
        let records = vec![record(key(1, Lane::Event, 1), body), unset(3)];
        send(&*store, &gw, vec![], records).await;
        maintain(&*store, now()).await;
        let times: Vec<_> = of_gateway()
            .await
            .iter()
            .map(|s| (s.time, s.suspect))
            .collect();
        let expected = [1, 2, 3].map(|seq| (seconds(NOW_S - 90 + seq), false));
        assert_eq!(times, expected, "compacted first: {compact_first}");
        let series = store.series(Some(&gw)).await.unwrap()[0].id;
        let answer = store.query(series, whole_range()).await.unwrap();
        let Points::Raw(raw) = answer.points else {
            panic!("buckets")
        };
        assert_eq!(raw.len(), 3);
        drop(store);
    }
}

pub(crate) async fn times_of_a_boot_without_a_clock_are_estimated_until_a_better_map_comes(
    mut kit: impl Kit,
) {
    for compact_first in [false, true] {
        let store = kit.open(eager());
        let gw = enter(&*store, if compact_first { "gw-1" } else { "gw-2" }).await;
        let dict = floats(1);
        let of_boot = |boot, seq: u64, wall| {
            let stamp = RecordStamp {
                boot: BootId(boot),
                mono: Instant(Duration::from_secs(seq)),
                wall,
            };
            let body = telemetry_stamped(stamp, &dict, vec![(0, vec![good(wall, 1.0)])]);
            record(key(boot, Lane::Telemetry, seq), body)
        };
        let second = |n: u64| seconds(i64::try_from(n).unwrap());
        let records = vec![
            of_boot(1, 1, seconds(NOW_S - 900)),
            of_boot(2, 1, second(1)),
            of_boot(2, 5, second(5)),
            of_boot(3, 1, seconds(NOW_S - 90)),
        ];
        send(&*store, &gw, vec![dict.clone()], records).await;
        if compact_first {
            maintain(&*store, now()).await;
        }
        let map = |seq, boot, origin, uncertainty_ns| {
            let (boot, origin) = (BootId(boot), seconds(origin));
            let map = TimeMap {
                boot,
                origin,
                uncertainty_ns,
            };
            record(
                key(3, Lane::Event, seq),
                encode(stamp_at(now()), Body::TimeMap(map)),
            )
        };
        // The boot between the two lasted five seconds, somewhere in a quarter of an hour.
        let maps = vec![
            map(1, 3, NOW_S - 91, 100_000_000),
            map(2, 2, NOW_S - 500, 400_000_000_000),
        ];
        send(&*store, &gw, vec![], maps).await;
        maintain(&*store, now()).await;
        let series = store.series(Some(&gw)).await.unwrap()[0].id;
        let estimated = || async { store.query(series, whole_range()).await.unwrap().estimated };
        let [span] = estimated().await[..] else {
            panic!("one span: {:?}", estimated().await)
        };
        assert_eq!(
            (span.from, span.to),
            (seconds(NOW_S - 499), seconds(NOW_S - 495))
        );
        assert_eq!(span.uncertainty, Duration::from_secs(400));
        let better = vec![map(3, 2, NOW_S - 700, 1_000_000_000)];
        send(&*store, &gw, vec![], better).await;
        maintain(&*store, now()).await;
        assert_eq!(estimated().await, []);
    }
}

pub(crate) async fn events_and_device_links_are_listed(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let event = |seq, subject: &str, text: &str| {
        let body = Body::Event(Event {
            time: seconds(NOW_S + i64::try_from(seq).unwrap()),
            kind: EventKind::DeviceLink,
            subject: subject.to_owned(),
            text: text.to_owned(),
            alarm: None,
        });
        record(key(1, Lane::Event, seq), encode(stamp_at(now()), body))
    };
    let dict = floats(1);
    let records = vec![
        event(1, "meter", "up"),
        event(2, "meter", "down"),
        event(3, "other", "down"),
    ];
    send(&*store, &gw, vec![], records).await;
    send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    let events = store.events(newest(Some(&gw), None, 2)).await.unwrap();
    assert_eq!(events[0].subject, "other");
    let older = store
        .events(newest(None, Some(events[1].id), 10))
        .await
        .unwrap();
    assert_eq!((older.len(), older[0].text.as_str()), (1, "up"));
    let devices = store.devices(&gw).await.unwrap();
    assert_eq!(devices.len(), 2);
    assert_eq!(
        devices[0].link,
        Some((seconds(NOW_S + 2), "down".to_owned()))
    );
    assert_eq!(devices[0].newest, Some(seconds(NOW_S - 99)));
    assert_eq!(devices[1].series, 0);
}

pub(crate) async fn the_four_truths_are_kept_apart(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let other = enter(&*store, "gw-2").await;
    let state = store.gateway_state(&gw).await.unwrap().unwrap();
    assert_eq!(
        (state.session, state.hello, state.newest_sample),
        (None, None, None)
    );
    store.set_session(&gw, true, now()).await.unwrap();
    let dict = floats(1);
    send(&*store, &gw, vec![dict.clone()], vec![one(&dict, 1)]).await;
    let state = store.gateway_state(&gw).await.unwrap().unwrap();
    assert_eq!(state.session, Some((true, now())));
    assert_eq!(state.newest_received, Some(now()));
    assert_eq!(state.newest_sample, Some(seconds(NOW_S - 99)));
    assert!(state.hello.is_none());
    // At the start the broker's list is the truth; a session that lasts keeps its begin.
    let later = seconds(NOW_S + 9);
    store
        .set_sessions(&[gw.clone(), other.clone()], later)
        .await
        .unwrap();
    let store = &store;
    let session = |id| async move { store.gateway_state(id).await.unwrap().unwrap().session };
    assert_eq!(session(&gw).await, Some((true, now())));
    assert_eq!(session(&other).await, Some((true, later)));
    store.set_sessions(&[], later).await.unwrap();
    assert_eq!(session(&gw).await, Some((false, later)));
    assert_eq!(store.gateways().await.unwrap().len(), 2);
}

pub(crate) async fn live_updates_bring_new_values(mut kit: impl Kit) {
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let mut live = store.subscribe();
    let records = vec![one(&dict, 2), one(&dict, 1)];
    send(&*store, &gw, vec![dict.clone()], records).await;
    let update = live.recv().await.unwrap();
    assert_eq!(update.gateway, gw);
    assert_eq!(update.values.len(), 1, "an older sample is no news");
    assert_eq!(update.values[0].time, seconds(NOW_S - 98));
    for seq in 3..=20 {
        send(&*store, &gw, vec![], vec![one(&dict, seq)]).await;
    }
    // Several commits may be told at once, in their order.
    let mut newest = seconds(NOW_S - 98);
    while newest < seconds(NOW_S - 80) {
        for latest in &live.recv().await.unwrap().values {
            assert!(latest.time > newest);
            newest = latest.time;
        }
    }
}

/// A record of one point without readings, that says what was sent of it at `sent` still held `confirmed`.
fn still(dictionary: &Dictionary, seq: u64, sent: Sample, confirmed: Timestamp) -> EnvelopeRecord {
    let body = Body::Telemetry(Telemetry {
        dictionaries: vec![dictionary.hash()],
        columns: vec![Column {
            dictionary: 0,
            index: 0,
            filtered: 10,
            samples: Vec::new(),
        }],
        unchanged: vec![Unchanged {
            dictionary: 0,
            index: 0,
            sample: sent,
            confirmed,
        }],
    });
    record(key(1, Lane::Telemetry, seq), encode(stamp_at(now()), body))
}

pub(crate) async fn a_sign_of_life_makes_a_latest_value_fresh_and_is_stored_nowhere(
    mut kit: impl Kit,
) {
    let mut store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    let dict = floats(1);
    let at = |s: i64| seconds(NOW_S - 1000 + s);
    let reading = |seq, time, value| {
        let body = telemetry(&dict, vec![(0, vec![good(time, value)])]);
        record(key(1, Lane::Telemetry, seq), body)
    };
    let latest = async |store: &Arc<dyn Store>| {
        let all = store.latest(&gw, None).await.unwrap();
        let [latest] = all.as_slice() else {
            panic!("{all:?}")
        };
        let confirmed = latest.confirmed.map(|confirmed| confirmed.at);
        (
            latest.time,
            latest.value.clone(),
            confirmed,
            latest.last_good,
        )
    };
    let five = Some(Value::F64(5.0));
    let mut live = store.subscribe();
    // The sign comes ahead of the reading that it repeats, as live data comes ahead of a backlog.
    let sign = still(&dict, 2, good(at(0), 5.0), at(60));
    send(&*store, &gw, vec![dict.clone()], vec![sign.clone()]).await;
    let held = (at(0), five.clone(), Some(at(60)), Some(at(60)));
    assert_eq!(latest(&store).await, held);
    let told = live.recv().await.unwrap();
    assert_eq!(told.values[0].confirmed.unwrap().at, at(60));
    assert_eq!(export(&*store).await.len(), 0, "nothing of it is a reading");
    let settled = send(&*store, &gw, vec![], vec![reading(1, at(0), 5.0), sign]).await;
    assert_eq!((settled.readings, settled.duplicates), (1, 1));
    assert_eq!(latest(&store).await, held);
    // An older sign takes nothing back, and none for a value that is no longer the last one counts.
    let old = still(&dict, 3, good(at(0), 5.0), at(30));
    let other = still(&dict, 4, good(at(-10), 4.0), at(90));
    send(&*store, &gw, vec![], vec![old, other]).await;
    assert_eq!(latest(&store).await, held);
    for round in 0..2 {
        assert_eq!(export(&*store).await.len(), 1);
        let counts = store.counts(&gw).await.unwrap();
        assert_eq!((counts[0].stored, counts[0].filtered), (1, 2 + 30));
        if round == 0 {
            maintain(&*store, now()).await;
        }
        drop(store);
        store = kit.open(eager());
        assert_eq!(
            latest(&store).await,
            held,
            "also after compaction and reopening"
        );
    }
    let next = reading(5, at(120), 7.0);
    send(&*store, &gw, vec![], vec![next]).await;
    let seven = Some(Value::F64(7.0));
    assert_eq!(latest(&store).await, (at(120), seven, None, Some(at(120))));
    let mut wrong = good(at(120), 0.0);
    wrong.value = Some(Value::Bool(true));
    let wrong = still(&dict, 6, wrong, at(180));
    let settled = send(&*store, &gw, vec![], vec![wrong]).await;
    assert_eq!(settled.items[0].refused.len(), 1);
}

pub(crate) async fn quarantine_is_bounded_and_counts_repeats(mut kit: impl Kit) {
    let store = kit.open(Limits {
        quarantine_per_gateway: 3,
        ..eager()
    });
    let gw = enter(&*store, "gw-1").await;
    let input = |byte: u8, gateway| QuarantineInput {
        gateway,
        topic: "gw/x/up/telemetry".to_owned(),
        payload: vec![byte; 10_000],
        reason: "not an envelope".to_owned(),
        received: now(),
    };
    for byte in [1, 2, 2, 3, 4, 4, 4] {
        store
            .quarantine(input(byte, Some(gw.clone())))
            .await
            .unwrap();
    }
    store.quarantine(input(9, None)).await.unwrap();
    let kept = store.quarantined(Some(&gw), 10).await.unwrap();
    let seen: Vec<_> = kept
        .iter()
        .map(|entry| (entry.payload[0], entry.times))
        .collect();
    assert_eq!(seen, [(4, 3), (3, 1), (2, 2)]);
    assert_eq!(
        kept[0].payload.len(),
        cloud_store::sql::QUARANTINE_PAYLOAD_BYTES
    );
    let all = store.quarantined(None, 10).await.unwrap();
    assert_eq!((all.len(), all[0].gateway.clone()), (4, None));
}

fn after(s: u64) -> Timestamp {
    now().plus(Duration::from_secs(s))
}

fn admin() -> User {
    User {
        name: "admin".to_owned(),
        password_hash: "hash-1".to_owned(),
        created: now(),
        password_set: now(),
        one_time: true,
    }
}

fn session(token: u8) -> Session {
    Session {
        token: [token; 32],
        user: "admin".to_owned(),
        created: now(),
        last_seen: now(),
        idle: Duration::from_secs(600),
        expires: after(3600),
        csrf: "c".to_owned(),
    }
}

async fn live(store: &dyn Store, token: u8, s: u64) -> bool {
    let found = store.session(&[token; 32], after(s)).await.unwrap();
    found.is_some()
}

pub(crate) async fn sessions_end_idle_or_old_or_with_the_password(mut kit: impl Kit) {
    let store = kit.open(eager());
    let store = &*store;
    assert!(
        store.add_session(session(1)).await.is_err(),
        "whose session?"
    );
    store.add_user(admin()).await.unwrap();
    assert!(store.add_user(admin()).await.is_err(), "the name is taken");
    store.add_session(session(1)).await.unwrap();
    store.add_session(session(2)).await.unwrap();
    assert!(live(store, 1, 599).await);
    assert!(live(store, 1, 1100).await, "its use moved the end");
    assert!(!live(store, 2, 601).await, "idle too long");
    for s in (1100..3600).step_by(500) {
        live(store, 1, s).await;
    }
    assert!(!live(store, 1, 3600).await, "over in any case");
    store.add_session(session(3)).await.unwrap();
    let changed = store.set_password("admin", "hash-2", false, after(5), Some([1; 32]));
    changed.await.unwrap();
    assert!(
        live(store, 1, 10).await && !live(store, 3, 10).await,
        "other sessions ended"
    );
    store.end_session(&[1; 32]).await.unwrap();
    assert!(!live(store, 1, 10).await);
    let user = store.user("admin").await.unwrap().unwrap();
    assert_eq!(
        (user.password_hash.as_str(), user.one_time),
        ("hash-2", false)
    );
    let nobody = store.set_password("nobody", "h", false, now(), None).await;
    assert!(nobody.is_err());
}

pub(crate) async fn failed_logins_are_forgotten_after_a_quiet_hour(mut kit: impl Kit) {
    let store = kit.open(eager());
    assert_eq!(store.login_failed("admin", now()).await.unwrap().count, 1);
    assert_eq!(
        store.login_failed("admin", after(10)).await.unwrap().count,
        2
    );
    assert_eq!(
        store
            .login_failures("admin", after(20))
            .await
            .unwrap()
            .count,
        2
    );
    assert_eq!(
        store
            .login_failures("admin", after(4000))
            .await
            .unwrap()
            .count,
        0
    );
    assert_eq!(
        store
            .login_failed("admin", after(4000))
            .await
            .unwrap()
            .count,
        1
    );
    store.login_succeeded("admin").await.unwrap();
    assert_eq!(
        store
            .login_failures("admin", after(4001))
            .await
            .unwrap()
            .count,
        0
    );
}

pub(crate) async fn a_restore_draws_a_new_generation(mut kit: impl Kit) {
    let store = kit.open(eager());
    let before = store.generation();
    let after = store.restored().await.unwrap();
    assert_ne!(before, after);
    drop(store);
    assert_eq!(kit.open(eager()).generation(), after);
}

pub(crate) async fn two_gateways_with_the_same_points_have_series_of_their_own(mut kit: impl Kit) {
    let store = kit.open(eager());
    let (a, b) = (enter(&*store, "gw-a").await, enter(&*store, "gw-b").await);
    let dict = floats(1);
    send(&*store, &a, vec![dict.clone()], vec![one(&dict, 1)]).await;
    // The dictionary is known already: content has no owner. The series are.
    let settled = send(&*store, &b, vec![], vec![one(&dict, 1)]).await;
    assert_eq!(settled.items[0].stored, set(&[(1, 1)]));
    let series = store.series(None).await.unwrap();
    assert_eq!(series.len(), 2);
    assert_ne!(series[0].id, series[1].id);
    let found = store
        .series_of_point(&b, &series[1].device, &series[1].point)
        .await
        .unwrap();
    assert_eq!(found[0].gateway, b);
}
