//! What brokers and links do wrong.

use crate::Stage;
use crate::broker::{Broker, Script};
use crate::gateway::{
    PATIENCE, SHORT, append, append_sized, dictionary, empty, silent_cloud, state, until,
};
use gateway_uplink::{Confirm, Server};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_appended_is_stored_once_and_leaves_the_spool() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 20).await;
    append(&stage.spool, &dictionary(2), 20).await;
    stage.all_stored(&uplink, 40).await;
    assert!(stage.cloud().arrived_twice().is_empty());
    assert_eq!(stage.cloud().retries, 0, "dictionaries came along");
    {
        let broker = stage.broker.state.lock().unwrap();
        assert!(broker.clean_sessions);
        assert_eq!(broker.subscriptions, [("gw/g1/down/ack".to_owned(), 0)]);
    }
    let shown = state(&uplink, "quantiles", |s| s.counters.settled == 40).await;
    assert!(shown.connected && shown.last_error.is_none() && shown.last_settled.is_some());
    assert!(uplink.stop(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_sent_as_soon_as_it_is_appended() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 1).await;
    stage.all_stored(&uplink, 1).await;
    let mut delays = Vec::new();
    for n in 2..40 {
        let start = Instant::now();
        append(&stage.spool, &dictionary(1), 1).await;
        until("stored", || stage.cloud().telemetry() == n).await;
        delays.push(start.elapsed());
    }
    delays.sort();
    // On a quiet machine a few milliseconds; a polling timer would show here. The machine may be slow
    // or stand still during most of them, but not during all.
    assert!(
        delays[delays.len() / 4] < Duration::from_millis(250),
        "{delays:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_taken_three_acknowledged_then_closed_loses_nothing() {
    let stage = Stage::new().await;
    stage.broker.script(&[
        Script::TakeAckClose(5, 3),
        Script::TakeAckClose(5, 3),
        Script::TakeAckClose(1, 0),
    ]);
    let uplink = stage.uplink();
    let mut count = 0;
    while stage.broker.connections() < 4 {
        append(&stage.spool, &dictionary(1), 1).await;
        count += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.all_stored(&uplink, count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusing_broker_is_named_and_the_next_one_taken() {
    let stage = Stage::new().await;
    let other = Broker::start(&stage.authority, &stage.cloud).await;
    stage.broker.state.lock().unwrap().rest = Some(Script::Deny);
    let mut options = stage.options();
    options.servers.push(other.server.clone());
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 5).await;
    let shown = state(&uplink, "connected", |s| s.connected).await;
    assert!(
        shown
            .last_error
            .unwrap()
            .contains("does not admit this gateway")
    );
    assert_eq!(shown.server, Some(other.server.clone()));
    stage.all_stored(&uplink, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_not_there_are_passed_over() {
    let stage = Stage::new().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let gone = Server::try_new(&format!("127.0.0.1:{port}")).unwrap();
    let mut options = stage.options();
    options.servers = vec![
        gone.clone(),
        Server::try_new("no-such-host.invalid").unwrap(),
        gone,
        stage.broker.server.clone(),
    ];
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 1).await;
    stage.all_stored(&uplink, 1).await;
    // How long the pauses between them are is a rule of the back-off, tested there.
    assert_eq!(uplink.state().borrow().reconnects, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_pubacks_end_the_connection_and_everything_goes_over_the_next() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::NoPubacks]);
    // The broker passes on what it takes: store acknowledgements would close the envelopes.
    stage.cloud().away = true;
    let mut options = stage.options();
    options.timings.puback = SHORT;
    silent_cloud(&mut options.timings);
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 10).await;
    let shown = state(&uplink, "a second connection", |s| s.reconnects >= 1).await;
    assert!(shown.last_error.unwrap().contains("no PUBACK"));
    stage.cloud().back();
    stage.all_stored(&uplink, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_noticed_and_left() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::HalfOpen(1)]);
    let mut options = stage.options();
    options.timings.puback = SHORT;
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 1).await;
    stage.all_stored(&uplink, 1).await;
    append(&stage.spool, &dictionary(1), 10).await;
    stage.all_stored(&uplink, 11).await;
    assert!(uplink.state().borrow().reconnects >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_half_open_connection_is_noticed_by_its_pings() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::HalfOpen(1)]);
    let mut options = stage.options();
    options.timings.keep_alive = SHORT;
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 1).await;
    let shown = state(&uplink, "left", |s| s.reconnects >= 1).await;
    assert!(shown.last_error.is_some());
    stage.all_stored(&uplink, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pubacks_out_of_order_are_no_fault() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::Backwards]);
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 1).await;
    for _ in 0..80 {
        append(&stage.spool, &dictionary(1), 1).await;
    }
    stage.all_stored(&uplink, 81).await;
}

/// With rumqttc alone: the first packet id comes round again, collides, and after the loss of the
/// connection nothing is ever sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_puback_that_never_comes_does_not_become_a_livelock() {
    let stage = Stage::new().await;
    stage
        .broker
        .script(&[Script::NeverTheFirst, Script::NeverTheFirst]);
    let mut options = stage.options();
    options.timings.puback = SHORT;
    let uplink = stage.uplink_with(options);
    let mut count = 0;
    // More than there are packet ids, all the time.
    while uplink.state().borrow().reconnects < 2 || count < 700 {
        append(&stage.spool, &dictionary(1), 1).await;
        count += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stage.all_stored(&uplink, count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_puback_for_a_packet_never_sent_ends_the_connection_only() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::WrongPuback]);
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 8).await;
    stage.all_stored(&uplink, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_subscription_says_so_and_is_tried_again() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::DenySubscription]);
    let uplink = stage.uplink();
    append(&stage.spool, &dictionary(1), 3).await;
    let shown = state(&uplink, "refused", |s| s.last_error.is_some()).await;
    assert!(shown.last_error.unwrap().contains("subscription"));
    stage.all_stored(&uplink, 3).await;
}

/// On MQTT 3.1.1 a publish that the ACL denies gets its PUBACK: it must not leave the spool, and the
/// silence must be said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_the_acl_swallows_stay_in_the_spool_and_raise_store_away() {
    let stage = Stage::new().await;
    stage.broker.script(&[Script::SwallowAll]);
    let mut options = stage.options();
    silent_cloud(&mut options.timings);
    let uplink = stage.uplink_with(options);
    append(&stage.spool, &dictionary(1), 5).await;
    state(&uplink, "store away", |s| s.store_away).await;
    assert_eq!(
        uplink.state().borrow().reconnects,
        0,
        "the connection stays"
    );
    assert!(stage.spool.state().borrow().records >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_foreign_broker_pubacks_free_the_spool() {
    let stage = Stage::new().await;
    stage.cloud().away = true;
    stage.broker.script(&[Script::TakeAckClose(2, 1)]);
    let mut options = stage.options();
    options.confirm = Confirm::Broker;
    let uplink = stage.uplink_with(options);
    for _ in 0..20 {
        append(&stage.spool, &dictionary(1), 1).await;
    }
    empty(&stage.spool, &uplink).await;
    stage.cloud().back();
    assert_eq!(stage.cloud().telemetry(), 20);
    assert!(stage.cloud().hellos.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_drains_what_is_there_and_never_waits_beyond_its_deadline() {
    let stage = Stage::new().await;
    let uplink = stage.uplink();
    state(&uplink, "connected", |s| s.connected).await;
    append_sized(&stage.spool, &dictionary(1), 100, 300).await;
    assert!(uplink.stop(PATIENCE).await);
    assert_eq!(stage.spool.state().borrow().records, 0);
    assert_eq!(stage.cloud().telemetry(), 100);

    stage.cloud().away = true;
    let uplink = stage.uplink();
    // What is there before the connection waits for the cloud's answer; this does not.
    state(&uplink, "connected", |s| s.connected).await;
    append(&stage.spool, &dictionary(1), 3).await;
    state(&uplink, "sent", |s| s.unsettled_records >= 3).await;
    let start = Instant::now();
    assert!(!uplink.stop(Duration::from_millis(500)).await);
    assert!(start.elapsed() < PATIENCE / 2);
    // The alarm about the silent cloud may be there as well.
    assert!(stage.spool.state().borrow().records >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_no_broker_can_be_reached_is_immediate() {
    let stage = Stage::new().await;
    let mut options = stage.options();
    options.servers = vec![Server::try_new("no-such-host.invalid").unwrap()];
    let uplink = stage.uplink_with(options);
    state(&uplink, "tried", |s| s.last_error.is_some()).await;
    append(&stage.spool, &dictionary(1), 1).await;
    let start = Instant::now();
    uplink.stop(2 * PATIENCE).await;
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    until("the record is held", || {
        stage.spool.state().borrow().records == 1
    })
    .await;
}
