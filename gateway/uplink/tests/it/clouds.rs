//! What the cloud behind the broker does, rightly and wrongly.

use crate::Stage;
use crate::broker::Script;
use crate::gateway::{
    PATIENCE, append, append_sized, dictionary, empty, open_spool, silent_cloud, state, until,
};
use bytes::Bytes;
use protocols_model::{Epoch, Lane, LossReason, SeqRange, SeqSet};
use protocols_wire::{Ack, AckItem, Body, Down, EventKind, Record};
use std::time::Duration;

fn ack(generation: u64, epoch: Epoch, last: u64) -> Bytes {
    let stored: SeqSet = SeqRange::new(1, last).into_iter().collect();
    let item = AckItem {
        epoch,
        lane: Lane::Telemetry,
        stored,
        refused: Vec::new(),
        retry: Vec::new(),
    };
    let ack = Down::Ack(Ack {
        generation,
        items: vec![item],
        pace: None,
    });
    ack.encode().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_acknowledgements_are_asked_for_and_nothing_is_sent_twice() {
    let stage = Stage::new().await;
    stage.cloud().lose_acks = 1000;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 25).await;
    stage.all_stored(&uplink, 25).await;
    assert!(stage.cloud().arrived_twice().is_empty());
    assert!(stage.cloud().hellos.len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_acknowledgements_change_nothing() {
    let stage = Stage::new().await;
    stage.cloud().twice = true;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 25).await;
    stage.all_stored(&uplink, 25).await;
    assert_eq!(uplink.state().borrow().counters.identity, 0);
    assert!(stage.cloud().arrived_twice().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_and_broken_acknowledgements_free_nothing_and_disturb_nothing() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 3).await;
    stage.all_stored(&uplink, 3).await;
    stage.cloud().away = true;
    append(&stage.spool, &dictionary(1), 3).await;
    state(&uplink, "sent", |s| s.unsettled_records == 3).await;
    {
        let cloud = stage.cloud();
        cloud.send(Bytes::from_static(b""));
        cloud.send(Bytes::from(vec![0xff; 100_000]));
        cloud.send(ack(5, Epoch(0xdead), 1_000_000));
        cloud.send(ack(77, stage.spool.epoch(), 6));
    }
    state(&uplink, "garbage counted", |s| s.counters.unreadable >= 1).await;
    assert_eq!(stage.spool.state().borrow().records, 3);
    // What was never sent: claimed by a message of the right epoch and generation.
    stage.cloud().send(ack(5, stage.spool.epoch(), u64::MAX));
    state(&uplink, "identity", |s| s.counters.identity >= 1).await;
    stage.cloud().back();
    empty(&stage.spool, &uplink).await;
    until("the identity event is stored", || {
        stage.cloud().events().contains(&EventKind::Identity)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_message_ends_the_connection_only() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 1).await;
    stage.all_stored(&uplink, 1).await;
    stage.cloud().send(Bytes::from(vec![7; 2_000_000]));
    state(&uplink, "connected anew", |s| {
        s.connected && s.reconnects == 1
    })
    .await;
    append(&stage.spool, &dictionary(1), 1).await;
    stage.all_stored(&uplink, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_cloud_stops_the_sender_at_its_window_until_it_is_back() {
    let stage = Stage::new().await;
    stage.cloud().away = true;
    let mut options = stage.options();
    options.window.max_bytes = 64 * 1024;
    options.window.max_envelopes = 8;
    silent_cloud(&mut options.timings);
    let uplink = stage.uplink_with(options);
    append_sized(&stage.spool, &dictionary(1), 60, 500).await;
    let shown = state(&uplink, "store away", |s| s.store_away).await;
    assert!(shown.unsettled_bytes <= 64 * 1024 && shown.backlog_records > 0);
    let published = stage.broker.state.lock().unwrap().publishes;
    assert!(published <= 8, "{published}");
    let hellos = stage.cloud().hellos.len();
    until("hellos go on", || stage.cloud().hellos.len() > hellos + 1).await;
    assert_eq!(
        stage.broker.state.lock().unwrap().publishes,
        published,
        "nothing is resent"
    );
    assert_eq!(stage.broker.connections(), 1, "the connection stays");
    stage.cloud().back();
    stage.all_stored(&uplink, 60).await;
    assert!(stage.cloud().arrived_twice().is_empty());
    let alarms = stage.cloud().events();
    assert_eq!(alarms, [EventKind::StoreAway], "one alarm a silence");
    state(&uplink, "no longer away", |s| !s.store_away).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_that_the_cloud_lost_is_attached_again_and_the_record_stored() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 3).await;
    stage.all_stored(&uplink, 3).await;
    stage.cloud().dictionaries.clear();
    append(&stage.spool, &dictionary(1), 3).await;
    stage.all_stored(&uplink, 6).await;
    assert!(stage.cloud().retries >= 1);
    assert!(!stage.cloud().dictionaries.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_records_go_to_quarantine_with_a_claim_and_hold_up_nothing() {
    let stage = Stage::new().await;
    stage.cloud().refuse = [2, 3].into();
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 6).await;
    empty(&stage.spool, &uplink).await;
    assert_eq!(stage.cloud().telemetry(), 4);
    let counters = stage.spool.state().borrow().counters;
    assert_eq!(counters.refused, 2);
    assert!(counters.claims >= 1);
    assert!(
        stage
            .cloud()
            .stored
            .keys()
            .any(|key| key.lane == Lane::Event),
        "the claim arrived"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_database_is_offered_what_is_still_held() {
    let stage = Stage::new().await;
    let mut options = stage.options();
    silent_cloud(&mut options.timings);
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 3).await;
    stage.all_stored(&uplink, 3).await;
    stage.cloud().away = true;
    append(&stage.spool, &dictionary(1), 3).await;
    state(&uplink, "sent", |s| s.unsettled_records >= 3).await;
    {
        // The backup knew neither the last records nor the dictionary.
        let mut cloud = stage.cloud();
        cloud.generation = 6;
        cloud.waiting.clear();
        cloud.dictionaries.clear();
        cloud.away = false;
    }
    append(&stage.spool, &dictionary(1), 2).await;
    stage.all_stored(&uplink, 8).await;
    let hellos = stage.cloud().hellos.len();
    assert!(hellos < 60, "{hellos}: a storm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restored_database_lacks_and_nobody_holds_is_claimed() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 5).await;
    stage.all_stored(&uplink, 5).await;
    {
        let mut cloud = stage.cloud();
        cloud.generation = 6;
        cloud.stored.retain(|key, _| key.seq <= 2);
    }
    // What comes next tells the gateway; the records since the backup are long gone there.
    append(&stage.spool, &dictionary(1), 1).await;
    let epoch = stage.spool.epoch();
    let claimed = || {
        let cloud = stage.cloud();
        let bodies = cloud
            .stored
            .iter()
            .filter(|(key, _)| key.lane == Lane::Event);
        let claims = bodies.flat_map(|(_, body)| match Record::decode(body).unwrap().body {
            Body::Claims(claims) => claims,
            _ => Vec::new(),
        });
        let mut restored = claims.filter(|c| c.reason == LossReason::CloudRestored);
        restored.any(|c| {
            (c.epoch, c.lane, c.range.first()) == (epoch, Lane::Telemetry, 1) && c.range.last() >= 5
        })
    };
    until("the loss is claimed", claimed).await;
    stage.all_stored(&uplink, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_process_had_stored_is_not_sent_again_after_the_restart() {
    let mut stage = Stage::new().await;
    stage.cloud().lose_acks = 1000;
    let mut options = stage.options();
    // No second hello before the stop: the first process never learns what was stored.
    options.timings.hello.first = Duration::from_secs(600);
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 30).await;
    until("stored", || stage.cloud().telemetry() == 30).await;
    uplink.stop(Duration::from_millis(10)).await;
    // The answer to the first hello may have come late enough to tell of some.
    assert!(stage.spool.state().borrow().records > 0);
    let dir = stage.dir.path().to_owned();
    stage.spool.clone().stop(PATIENCE).await.unwrap();

    stage.spool = tokio::task::spawn_blocking(move || open_spool(&dir))
        .await
        .unwrap();
    stage.cloud().lose_acks = 0;
    append(&stage.spool, &dictionary(1), 5).await;
    let uplink = stage.uplink();
    stage.all_stored(&uplink, 35).await;
    assert!(
        stage.cloud().arrived_twice().is_empty(),
        "{:?}",
        stage.cloud().arrived_twice()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backlog_of_several_runs_drains_on_the_history_topics_beside_live_data() {
    let mut stage = Stage::new().await;
    for _ in 0..3 {
        append_sized(&stage.spool, &dictionary(1), 40, 200).await;
        let dir = stage.dir.path().to_owned();
        stage.spool.clone().stop(PATIENCE).await.unwrap();
        stage.spool = tokio::task::spawn_blocking(move || open_spool(&dir))
            .await
            .unwrap();
    }
    append(&stage.spool, &dictionary(2), 10).await;
    let uplink = stage.uplink();
    state(&uplink, "connected", |s| s.connected).await;
    for _ in 0..10 {
        append(&stage.spool, &dictionary(2), 1).await;
    }
    stage.all_stored(&uplink, 140).await;
    let cloud = stage.cloud();
    assert!(
        cloud.history >= 2 && cloud.live >= 1,
        "{} {}",
        cloud.history,
        cloud.live
    );
    assert!(cloud.arrived_twice().is_empty());
    let first = cloud.hellos.first().unwrap();
    let telemetry = first
        .held
        .iter()
        .filter(|h| h.lane == Lane::Telemetry && h.first > 0);
    assert_eq!(telemetry.count(), 4, "{:?}", first.held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_breaks_every_few_publishes_still_delivers_everything() {
    let stage = Stage::new().await;
    stage.broker.script(&[
        Script::TakeAckClose(3, 1),
        Script::TakeAckClose(7, 7),
        Script::TakeAckClose(2, 0),
    ]);
    stage.cloud().lose_acks = 5;
    let uplink = stage.uplink();
    for _ in 0..60 {
        append(&stage.spool, &dictionary(1), 1).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    stage.all_stored(&uplink, 60).await;
}
