//! Writes: by every function, ahead of polls, at most once, and what is answered when it goes wrong.

use crate::rig::{Rig, TIMEOUT, bad, device, good, ms, writable};
use crate::sim::{Act, Ask, Framing, Sim, word};
use protocols_driver::{WriteError, Written};
use protocols_modbus::config::{BitWrites, RawType, Scale, Write, WriteWith};
use protocols_model::{PointKey, Reason, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BOTH: [Framing; 2] = [Framing::Tcp, Framing::Rtu];

fn functions(sim: &Sim) -> Vec<u8> {
    let asks = sim.asks();
    let writes = asks.iter().filter(|ask| !ask.is_read());
    writes.map(|ask| ask.function).collect()
}

fn plain(written: &Result<Written, WriteError>) -> bool {
    matches!(
        written,
        Ok(Written {
            read_back: None,
            ..
        })
    )
}

#[tokio::test(start_paused = true)]
async fn every_function_writes_what_a_poll_then_reads() {
    for framing in BOTH {
        let sim = Sim::new(framing, |ask| ask.answer());
        let mut meter = writable(
            1,
            ms(100),
            &["hr:10", "hr:20", "co:3", "hr:30.4..7", "hr:31.2"],
        );
        meter.points[1].raw = RawType::F32;
        let mut rig = Rig::start(&sim, vec![meter]);
        let cases = [
            (0, Value::U64(7), 6),
            (1, Value::F64(21.5), 16),
            (2, Value::Bool(true), 5),
            (2, Value::Bool(false), 5),
            (3, Value::U64(9), 22),
            (4, Value::Bool(true), 22),
        ];
        let count = cases.len();
        for (point, value, function) in cases {
            let written = rig.write(point, value.clone()).await;
            assert!(plain(&written), "{value:?}: {written:?}");
            assert_eq!(functions(&sim).last(), Some(&function));
            let found = |reading: &protocols_model::Reading| {
                reading.point == PointKey(point) && reading.value == Some(value.clone())
            };
            rig.until(|sweep| sweep.readings.iter().any(found)).await;
        }
        // The other bits of the register stayed as they were.
        assert_eq!(sim.written(1, 30), Some(word(1, 30) & 0xff0f | 9 << 4));
        assert_eq!(sim.coil(1, 3), Some(0));
        assert_eq!(functions(&sim).len(), count, "each was sent once");
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_function_is_the_one_the_device_wants() {
    for (with, expected) in [
        (WriteWith::Single, [vec![6], vec![6, 6], vec![5]]),
        (WriteWith::Multiple, [vec![16], vec![16], vec![15]]),
        (WriteWith::ReadWrite, [vec![23], vec![23], vec![5]]),
    ] {
        for framing in BOTH {
            let sim = Sim::new(framing, |ask| ask.answer());
            let mut meter = writable(1, ms(100), &["hr:10", "hr:20", "co:3"]);
            meter.points[1].raw = RawType::U32;
            meter.quirks.write_with = with;
            let mut rig = Rig::start(&sim, vec![meter]);
            let values = [Value::U64(7), Value::U64(0x0001_0002), Value::Bool(true)];
            for ((point, value), functions_used) in (0..).zip(values).zip(&expected) {
                let before = functions(&sim).len();
                let written = rig.write(point, value).await;
                assert!(written.is_ok(), "{with}: {written:?}");
                assert_eq!(functions(&sim)[before..], functions_used[..], "{with}");
            }
            assert_eq!((sim.written(1, 20), sim.written(1, 21)), (Some(1), Some(2)));
            rig.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bits_are_read_changed_and_written_only_when_that_was_chosen() {
    let sim = Sim::new(Framing::Rtu, |ask| match ask.function {
        22 => ask.exception(1),
        _ => ask.answer(),
    });
    let mut meter = writable(1, ms(100), &["hr:30.4..7"]);
    let mut rig = Rig::start(&sim, vec![meter.clone()]);
    let refused = rig.write(0, Value::U64(9)).await.unwrap_err().to_string();
    assert!(refused.contains("read-modify-write"), "{refused}");
    assert_eq!(sim.written(1, 30), None);
    rig.stop().await;
    meter.quirks.bit_writes = BitWrites::ReadModifyWrite;
    let mut rig = Rig::start(&sim, vec![meter]);
    assert!(plain(&rig.write(0, Value::U64(9)).await));
    assert_eq!(sim.written(1, 30), Some(word(1, 30) & 0xff0f | 9 << 4));
    rig.stop().await;
}

fn verified(address: &str) -> protocols_modbus::config::Device {
    let mut meter = writable(1, ms(100), &[address]);
    meter.points[0].write = Some(Write {
        verify: true,
        ..Write::default()
    });
    meter
}

#[tokio::test(start_paused = true)]
async fn a_verified_point_is_read_back_and_a_device_that_did_not_take_it_is_told() {
    for with in [WriteWith::Auto, WriteWith::ReadWrite] {
        let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
        let mut meter = verified("hr:10");
        meter.quirks.write_with = with;
        meter.points[0].scale = Scale::new(0.1, 0.0).unwrap();
        let mut rig = Rig::start(&sim, vec![meter]);
        let written = rig.write(0, Value::F64(21.54)).await.unwrap();
        assert_eq!(written.read_back, Some(Value::F64(21.5)), "its resolution");
        rig.stop().await;
    }
    // It confirms and keeps what it had.
    let sim = Sim::new(Framing::Rtu, |ask| match ask.function {
        6 => {
            let echo = [&[ask.unit], &ask.pdu[..]].concat();
            vec![Act::Send(ask.frame(&echo))]
        }
        _ => ask.answer(),
    });
    let mut rig = Rig::start(&sim, vec![verified("hr:10")]);
    let outcome = rig.write(0, Value::U64(7)).await;
    let kept = Value::U64(word(1, 10).into());
    assert_eq!(outcome, Err(WriteError::NotVerified(kept)));
    assert_eq!(
        functions(&sim),
        [6],
        "written once, however often it is read back"
    );
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_applies_late_is_read_back_until_it_has() {
    let wrote = Arc::new(std::sync::Mutex::new(None));
    let sim = Sim::new(Framing::Tcp, move |ask| {
        let mut wrote = wrote.lock().unwrap();
        match ask.function {
            6 => {
                *wrote = Some((ask.at, ask.clone()));
                let echo = [&[ask.unit], &ask.pdu[..]].concat();
                vec![Act::Send(ask.frame(&echo))]
            }
            _ => {
                if let Some((at, write)) = &*wrote
                    && at.elapsed() > ms(80)
                {
                    drop(write.body());
                }
                ask.answer()
            }
        }
    });
    let mut rig = Rig::start(&sim, vec![verified("hr:10")]);
    let written = rig.write(0, Value::U64(7)).await.unwrap();
    assert_eq!(written.read_back, Some(Value::U64(7)));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_ahead_of_the_polls_that_wait() {
    // Forty requests a pass, each 20 ms: a poll that came now would wait most of a second.
    let sim = Sim::new(Framing::Rtu, |ask| {
        [vec![Act::Wait(ms(20))], ask.answer()].concat()
    });
    let addresses: Vec<String> = (0..40).map(|n| format!("hr:{}", n * 50)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut rig = Rig::start(&sim, vec![writable(1, ms(1000), &addresses)]);
    rig.until(good).await;
    let before = sim.asks().len();
    let written = rig.write(7, Value::U64(5)).await;
    assert!(written.is_ok(), "{written:?}");
    let asks = sim.asks();
    let place = asks.iter().position(|ask| !ask.is_read()).unwrap();
    assert!(
        place - before <= 1,
        "{} polls came before it",
        place - before
    );
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_is_carried_out_while_nobody_takes_readings() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let mut rig = Rig::with_room(&sim, vec![writable(1, ms(20), &["hr:0"])], 2);
    rig.is_unwritten = false;
    tokio::time::sleep(ms(500)).await;
    let desk = rig.desk();
    let placed = desk.place(PointKey(0), Value::U64(5), rig.now().plus(ms(1000)));
    assert!(plain(&placed.await));
    assert_eq!(sim.written(1, 0), Some(5));
    assert_eq!(sim.asks().iter().filter(|ask| ask.is_read()).count(), 2);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_confirms_is_unknown_and_never_repeated() {
    type Fault = fn(&Ask) -> Vec<Act>;
    let faults: [(&str, Fault); 6] = [
        ("silence", |_| Vec::new()),
        ("done, then silence", |ask| {
            drop(ask.body());
            Vec::new()
        }),
        ("cut", |ask| {
            vec![Act::Send(ask.frame(&ask.body())[..5].to_vec())]
        }),
        ("confirms another value", |ask| {
            let mut body = ask.body();
            *body.last_mut().unwrap() ^= 1;
            vec![Act::Send(ask.frame(&body))]
        }),
        ("another unit", |ask| {
            let mut body = ask.body();
            body[0] += 1;
            vec![Act::Send(ask.frame(&body))]
        }),
        ("disconnects", |ask| {
            drop(ask.body());
            vec![Act::Close]
        }),
    ];
    for (name, fault) in faults {
        for framing in BOTH {
            let sim = Sim::new(framing, move |ask| {
                if ask.is_read() {
                    ask.answer()
                } else {
                    fault(ask)
                }
            });
            let mut rig = Rig::start(&sim, vec![writable(1, ms(100), &["hr:10", "hr:20"])]);
            rig.until(good).await;
            let outcome = rig.write(0, Value::U64(7)).await;
            assert_eq!(outcome, Err(WriteError::Unknown), "{name}, {framing:?}");
            // The line is well again, and nobody wrote a second time.
            rig.until(good).await;
            tokio::time::sleep(ms(3000)).await;
            assert_eq!(functions(&sim), [6], "{name}, {framing:?}");
            rig.take_all();
            rig.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_that_comes_late_is_never_taken_for_a_reading_or_another_write() {
    for framing in BOTH {
        let sim = Sim::new(framing, |ask| {
            if ask.is_read() || ask.count != 7 {
                ask.answer()
            } else {
                [vec![Act::Wait(TIMEOUT * 3 / 2)], ask.answer()].concat()
            }
        });
        let mut rig = Rig::start(&sim, vec![writable(1, ms(100), &["hr:10", "hr:20"])]);
        rig.until(good).await;
        assert_eq!(rig.write(0, Value::U64(7)).await, Err(WriteError::Unknown));
        assert!(plain(&rig.write(1, Value::U64(8)).await));
        let both = |sweep: &protocols_driver::Sweep| {
            let values: Vec<_> = sweep.readings.iter().map(|r| r.value.clone()).collect();
            values.contains(&Some(Value::U64(8)))
        };
        rig.until(both).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_answered_without_a_byte_on_the_wire() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let mut meter = writable(1, ms(100), &["hr:10", "ir:20"]);
    meter.points[0].range = Some(0.0..=100.0);
    meter.points[1].write = None;
    let mut rig = Rig::start(&sim, vec![meter]);
    let range = rig.write(0, Value::U64(101)).await.unwrap_err();
    assert!(range.to_string().contains("0 to 100"), "{range}");
    let text = rig.write(0, Value::Text("on".into())).await.unwrap_err();
    assert!(matches!(text, WriteError::BadValue(_)), "{text}");
    assert_eq!(rig.write(1, Value::U64(1)).await, Err(WriteError::ReadOnly));
    assert_eq!(
        rig.write(9, Value::U64(1)).await,
        Err(WriteError::UnknownPoint)
    );
    let past = rig.now();
    assert_eq!(
        rig.write_before(0, Value::U64(1), past).await,
        Err(WriteError::Expired)
    );
    assert!(functions(&sim).is_empty());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_in_words_and_leaves_the_device_alive() {
    let sim = Sim::new(Framing::Rtu, |ask| {
        if ask.is_read() {
            ask.answer()
        } else {
            ask.exception(3)
        }
    });
    let mut meter = writable(1, ms(100), &["hr:10"]);
    meter.retry.fails = 1;
    let mut rig = Rig::start(&sim, vec![meter]);
    let refused = rig.write(0, Value::U64(7)).await.unwrap_err().to_string();
    assert!(refused.contains("exception 03"), "{refused}");
    rig.until(good).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_device_and_a_link_that_is_down_are_unreachable_at_once() {
    let alive = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&alive);
    let sim = Sim::new(Framing::Rtu, move |ask| {
        if switch.load(Ordering::Relaxed) {
            ask.answer()
        } else {
            Vec::new()
        }
    });
    let mut meter = writable(1, ms(100), &["hr:10"]);
    meter.retry.fails = 2;
    let mut rig = Rig::start(&sim, vec![meter]);
    rig.until(|sweep| bad(sweep, Reason::NotAsked)).await;
    assert_eq!(
        rig.write(0, Value::U64(7)).await,
        Err(WriteError::Unreachable)
    );
    assert!(functions(&sim).is_empty());
    alive.store(true, Ordering::Relaxed);
    rig.until(good).await;
    assert!(plain(&rig.write(0, Value::U64(7)).await));
    sim.plug(false);
    rig.until(|sweep| bad(sweep, Reason::LinkDown)).await;
    assert_eq!(
        rig.write(0, Value::U64(8)).await,
        Err(WriteError::Unreachable)
    );
    sim.plug(true);
    rig.until(good).await;
    assert_eq!(functions(&sim), [6]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_was_closed_costs_no_order() {
    // It closes after each answer, so that the next request always finds a closed connection.
    let sim = Sim::new(Framing::Tcp, |ask| {
        [ask.answer(), vec![Act::Wait(ms(20)), Act::Close]].concat()
    });
    let mut rig = Rig::start(&sim, vec![writable(1, ms(10_000), &["hr:10"])]);
    rig.until(good).await;
    for value in 0..3 {
        tokio::time::sleep(ms(1000)).await;
        let written = rig.write(0, Value::U64(value)).await;
        assert!(plain(&written), "{written:?}");
    }
    assert_eq!(functions(&sim), [6, 6, 6]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_all_waits_for_nobody_and_says_that_nobody_confirmed_it() {
    let sim = Sim::new(Framing::Rtu, |ask| ask.answer());
    let all = writable(0, ms(100), &["hr:10", "co:3"]);
    let mut rig = Rig::start(&sim, vec![all, device(1, ms(100), &["hr:50"])]);
    rig.until(good).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(
        rig.write(0, Value::U64(7)).await,
        Err(WriteError::Unconfirmed)
    );
    assert!(
        begun.elapsed() >= ms(100),
        "the devices get time to carry it out"
    );
    assert_eq!(
        rig.write(1, Value::Bool(true)).await,
        Err(WriteError::Unconfirmed)
    );
    assert_eq!((sim.written(0, 10), sim.coil(0, 3)), (Some(7), Some(1)));
    assert_eq!(functions(&sim), [6, 5]);
    assert!(sim.asks().iter().all(|ask| ask.unit != 0 || !ask.is_read()));
    rig.until(good).await;
    assert_eq!(rig.count("timeouts"), 0);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_point_that_is_only_written_is_never_polled() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let mut meter = writable(1, ms(100), &["hr:10", "hr:50"]);
    meter.points[1].write = Some(Write {
        only: true,
        ..Write::default()
    });
    let mut rig = Rig::start(&sim, vec![meter]);
    for _ in 0..5 {
        assert_eq!(rig.next().await.readings.len(), 1);
    }
    assert!(plain(&rig.write(1, Value::U64(3)).await));
    assert!(
        sim.asks()
            .iter()
            .all(|ask| !ask.is_read() || ask.start == 10)
    );
    rig.stop().await;
}
