//! A test per row of the crate's table "what can go wrong on the wire".

use crate::rig::*;
use protocols_driver::{LinkState, STOP_BOUND};
use protocols_model::{Reason, Value};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

const TIMEOUT: Said = bad(Reason::Timeout);
const BAD_ANSWER: Said = bad(Reason::BadAnswer);

/// Answers the next question of [`asked`].
async fn answer(port: &mut tokio::io::DuplexStream, with: &[u8]) {
    assert_eq!(until(port, b"\n").await, b"V?\n");
    say(port, with).await;
}

/// An asked binary device with a checksum.
fn asked_with_crc() -> protocols_serial::config::Bus {
    let mut bus = bus("length:u8@1+4 start:\\xaa", "crc16/modbus le");
    let mut sensor = device("sensor");
    sensor.timeout = Duration::from_millis(400);
    point(
        &mut sensor,
        0,
        Some("\\x01"),
        1000,
        "binary",
        Some("u16be@2*0.1"),
    );
    bus.devices.push(sensor);
    bus
}

/// A frame of that device.
fn crc_frame(raw: u16) -> Vec<u8> {
    let mut frame = vec![0xaa, 2];
    frame.extend(raw.to_be_bytes());
    let check: protocols_serial::config::Checksum = "crc16/modbus le".parse().unwrap();
    frame.extend(check.render(&frame.clone()));
    frame
}

#[tokio::test(start_paused = true)]
async fn good_frames_are_readings() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    say(&mut port, b"half a line\nST,+ 12.50kg\r\nST,- 0.75kg\n").await;
    assert_eq!(rig.one().await, good(12.5));
    assert_eq!(rig.one().await, good(-0.75));
    assert_eq!(rig.link(), LinkState::Up);

    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    answer(&mut port, b"+1.25E+01\r\n").await;
    assert_eq!(rig.one().await, good(12.5));
    assert_eq!(rig.link(), LinkState::Up);
}

#[tokio::test(start_paused = true)]
async fn a_broken_checksum_is_a_bad_answer() {
    let mut rig = Rig::new(asked_with_crc());
    let mut port = rig.port().await;
    let mut broken = crc_frame(500);
    broken[3] ^= 0x10;
    for frame in [broken, crc_frame(501)] {
        port.read_u8().await.unwrap();
        say(&mut port, &frame).await;
    }
    assert_eq!(rig.one().await, BAD_ANSWER);
    assert_eq!(rig.one().await, good(50.1));
    assert_eq!(rig.status.counters.crc_errors.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn merged_frames_are_no_value() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    // The end of the first line was lost.
    say(&mut port, b"\nST,+ 12.50kgST,+ 13.50kg\nST,+ 14.50kg\n").await;
    assert_eq!(rig.one().await, good(14.5));
    assert_eq!(rig.status.counters.bad_answers.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_frame_is_no_value_and_neither_is_its_rest() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    say(&mut port, b"\nST,+ 12").await;
    sleep(1000).await;
    say(&mut port, b"3.50kg\nST,+ 14.50kg\n").await;
    assert_eq!(rig.one().await, good(14.5));

    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    answer(&mut port, b"12.").await;
    assert_eq!(rig.one().await, BAD_ANSWER);
}

#[tokio::test(start_paused = true)]
async fn noise_between_frames_is_dropped_and_counted() {
    let mut bus = bus("start:\\x02 end:\\x03 tail:1", "xor8 with:end");
    let mut scale = device("scale");
    point(&mut scale, 0, None, 2000, "text", None);
    bus.devices.push(scale);
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    // 31 ^ 32 ^ 03 = 00
    say(
        &mut port,
        b"\xff\x80\x00\x0212\x03\x00\xfe\xfe\x0212\x03\x00",
    )
    .await;
    assert_eq!(rig.one().await, good(12.0));
    assert_eq!(rig.one().await, good(12.0));
    assert_eq!(rig.status.counters.stray_bytes.get(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_speed_gives_bad_answers_and_never_a_value() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    let mut noise = 1u32;
    for _ in 0..40 {
        sleep(100).await;
        let garbage = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // As a receiver sees a faster sender: no letters, many zeros.
            u8::try_from(noise >> 24).unwrap() & 0x9c
        });
        say(&mut port, &Iterator::take(garbage, 20).collect::<Vec<_>>()).await;
    }
    assert_eq!(rig.one().await, BAD_ANSWER);
    assert_eq!(rig.link(), LinkState::Down(Reason::BadAnswer));
    assert_eq!(rig.status.counters.answers.get(), 0);
    assert!(rig.status.counters.bytes_received.get() >= 400);
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_an_end_is_dropped_at_its_bound() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    for _ in 0..100 {
        say(&mut port, &[b'x'; 100]).await;
        sleep(10).await;
    }
    say(&mut port, b"\nST,+ 12.50kg\n").await;
    assert_eq!(rig.one().await, good(12.5));
    assert!(rig.status.counters.stray_bytes.get() >= 9 * 1024);

    // Asked: the endless answer ends with the time-out, and the next question is asked all the same.
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    until(&mut port, b"\n").await;
    for _ in 0..50 {
        say(&mut port, &[b'x'; 100]).await;
        sleep(10).await;
    }
    assert_eq!(rig.one().await, BAD_ANSWER);
    answer(&mut port, b"5\n").await;
    assert_eq!(rig.one().await, good(5.0));
}

#[tokio::test(start_paused = true)]
async fn silence_is_one_bad_reading_a_span() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    sleep(5000).await;
    assert_eq!(rig.one().await, TIMEOUT);
    assert_eq!(rig.one().await, TIMEOUT);
    assert_eq!(rig.link(), LinkState::Down(Reason::Timeout));
    say(&mut port, b"\nST,+ 12.50kg\n").await;
    assert_eq!(rig.one().await, good(12.5));
    assert_eq!(rig.link(), LinkState::Up);
    // The span begins anew with the reading.
    rig.nothing_for(Duration::from_millis(1990)).await;
    assert_eq!(rig.one().await, TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_is_dead_after_a_while_and_comes_back_by_a_probe() {
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    assert_eq!(rig.one().await, TIMEOUT);
    assert_eq!(rig.one().await, TIMEOUT);
    assert_eq!(rig.link(), LinkState::Down(Reason::Timeout));
    assert_eq!(rig.one().await, bad(Reason::NotAsked));
    assert_eq!(until(&mut port, b"V?\nV?\n").await, b"V?\nV?\n");
    let device = tokio::spawn(async move {
        answer(&mut port, b"7\n").await;
        port
    });
    let unasked = rig.eventually(good(7.0)).await;
    assert!((1..8).contains(&unasked.len()), "{unasked:?}");
    assert_eq!(rig.link(), LinkState::Up);
    assert_eq!(rig.status.counters.probes.get(), 1);
    drop(device.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_adapter_is_link_down_until_it_is_back() {
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    answer(&mut port, b"1\n").await;
    assert_eq!(rig.one().await, good(1.0));
    rig.ports.set(Plug::Out);
    drop(port);
    assert_eq!(rig.one().await, bad(Reason::LinkDown));
    assert_eq!(rig.link(), LinkState::Down(Reason::LinkDown));
    assert_eq!(rig.one().await, bad(Reason::LinkDown));
    let told = rig.told();
    assert!(told.contains("the port is gone"), "{told}");
    assert!(told.contains("is the adapter plugged in?"), "{told}");
    // Polls that fell into the outage are reported; the first question after it is a new one.
    rig.ports.set(Plug::In);
    let mut port = rig.port().await;
    answer(&mut port, b"2\n").await;
    rig.eventually(good(2.0)).await;
    assert!(rig.told().contains("open again"));
    assert_eq!(rig.status.counters.disconnects.get(), 1);

    let mut rig = Rig::new(listening());
    let port = rig.port().await;
    rig.ports.set(Plug::Out);
    drop(port);
    assert_eq!(rig.one().await, bad(Reason::LinkDown));
    assert_eq!(rig.one().await, bad(Reason::LinkDown));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_somebody_holds_is_told_with_its_holder() {
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    rig.ports.set(Plug::Held);
    answer(&mut port, b"1\n").await;
    assert_eq!(rig.one().await, good(1.0));
    drop(port);
    for _ in 0..5 {
        assert_eq!(rig.one().await, bad(Reason::LinkDown));
    }
    let told = rig.told();
    assert_eq!(
        told.matches("held by minicom (process 4711)").count(),
        1,
        "{told}"
    );
    rig.ports.set(Plug::In);
    let mut port = rig.port().await;
    answer(&mut port, b"2\n").await;
    rig.eventually(good(2.0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_never_taken_for_the_next_question() {
    // Later than the time-out by this much, within the quiet time after it.
    for late in [10, 200, 390] {
        let mut rig = Rig::new(asked());
        let mut port = rig.port().await;
        answer(&mut port, b"").await;
        sleep(400 + late).await;
        say(&mut port, b"1\n").await;
        answer(&mut port, b"2\n").await;
        assert_eq!(rig.one().await, TIMEOUT, "{late}");
        assert_eq!(rig.one().await, good(2.0), "{late}");
        let counters = &rig.status.counters;
        assert!(
            counters.late_answers.get() == 1 || counters.stray_bytes.get() == 2,
            "{late}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_answers_to_one_question_are_none() {
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    answer(&mut port, b"1\n2\n").await;
    assert_eq!(rig.one().await, BAD_ANSWER);
    answer(&mut port, b"3\n").await;
    assert_eq!(rig.one().await, good(3.0));

    // The first fills what is read at once, so that the second still waits in the port.
    let long = format!("{:>511}\n4\n", 1);
    answer(&mut port, long.as_bytes()).await;
    assert_eq!(rig.one().await, BAD_ANSWER);
}

#[tokio::test(start_paused = true)]
async fn an_echo_is_no_answer() {
    // Nobody said so in the configuration: a frame that is the question is not its answer.
    let mut rig = Rig::new(asked());
    let mut port = rig.port().await;
    answer(&mut port, b"V?\r\n12\n").await;
    assert_eq!(rig.one().await, good(12.0));

    // Said so: what comes first must be the echo, byte by byte.
    let mut bus = asked();
    bus.echo = true;
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    answer(&mut port, b"V").await;
    sleep(5).await;
    say(&mut port, b"?\n12\n").await;
    assert_eq!(rig.one().await, good(12.0));
    answer(&mut port, b"X?\n12\n").await;
    assert_eq!(rig.one().await, BAD_ANSWER);
}

#[tokio::test(start_paused = true)]
async fn a_character_with_wrong_parity_spoils_its_frame() {
    let mut rig = Rig::new(listening());
    let mut port = rig.port().await;
    // The line discipline puts a zero in its place.
    say(&mut port, b"\nST,+ 1\x00.50kg\nST,+ 12.50kg\n").await;
    assert_eq!(rig.one().await, good(12.5));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_reports_an_error_gives_no_value() {
    let mut bus = asked();
    bus.devices[0].points[0].value.invalid = vec!["9.91E+37".to_owned()];
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    answer(&mut port, b"9.91E+37\n").await;
    assert_eq!(rig.one().await, bad(Reason::DeviceError));
    answer(&mut port, b"ERROR 13\n").await;
    assert_eq!(rig.one().await, bad(Reason::Undecodable));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_takes_readings_a_listener_keeps_the_latest_and_an_asker_waits() {
    let mut rig = Rig::with_room(listening(), 1);
    let mut port = rig.port().await;
    say(&mut port, b"\n").await;
    for n in 10..99 {
        say(&mut port, format!("ST,+ {n}.00kg\n").as_bytes()).await;
        sleep(1).await;
    }
    assert_eq!(rig.one().await, good(10.0));
    // One in the channel, 64 in the queue: the oldest of the others made way.
    assert_eq!(rig.status.counters.overrun.get(), 24);
    assert_eq!(rig.one().await, good(35.0));

    let mut rig = Rig::with_room(asked(), 1);
    let mut port = rig.port().await;
    answer(&mut port, b"1\n").await;
    sleep(10_500).await;
    assert_eq!(rig.one().await, good(1.0));
    answer(&mut port, b"2\n").await;
    assert_eq!(rig.one().await, good(2.0));
    assert!((8..=11).contains(&rig.status.counters.missed_polls.get()));
}

#[tokio::test(start_paused = true)]
async fn groups_are_polled_by_their_periods_and_share_one_answer() {
    let mut bus = bus("line", "");
    let mut meter = device("meter");
    point(&mut meter, 0, Some("A\\n"), 1000, "csv:, u i", Some("u"));
    point(&mut meter, 1, Some("A\\n"), 1000, "csv:, u i", Some("i"));
    point(&mut meter, 2, Some("T\\n"), 5000, "text", None);
    bus.devices.push(meter);
    bus.init = vec!["INIT\\n".parse().unwrap()];
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    assert_eq!(until(&mut port, b"\n").await, b"INIT\n");
    say(&mut port, b"WELCOME\n").await;
    let device = tokio::spawn(async move {
        for _ in 0..8 {
            let question = until(&mut port, b"\n").await;
            let with: &[u8] = if question == b"A\n" {
                b"230.5,1.25\n"
            } else {
                b"21\n"
            };
            say(&mut port, with).await;
        }
    });
    let (mut electric, mut thermal) = (0, 0);
    for _ in 0..8 {
        match rig.next().await.as_slice() {
            [u, i] => {
                assert_eq!((u, i), (&good(230.5), &good(1.25)));
                electric += 1;
            }
            t => {
                assert_eq!(t, [good(21.0)]);
                thermal += 1;
            }
        }
    }
    assert_eq!((electric, thermal), (6, 2));
    device.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_stops_within_its_bound_in_the_middle_of_a_question() {
    let mut bus = asked();
    bus.devices[0].timeout = Duration::from_secs(60);
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    until(&mut port, b"\n").await;
    rig.stop.cancel();
    tokio::time::timeout(STOP_BOUND, rig.task)
        .await
        .expect("stopped in time")
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gps_receiver_is_read_sentence_by_sentence() {
    let mut bus = bus("nmea", "xor8 hex after:*");
    let mut gps = device("gps");
    for (key, field) in ["RMC.lat", "RMC.speed_kmh", "GGA.satellites"]
        .into_iter()
        .enumerate()
    {
        point(
            &mut gps,
            u32::try_from(key).unwrap(),
            None,
            5000,
            "nmea",
            Some(field),
        );
    }
    bus.devices.push(gps);
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    say(
        &mut port,
        b"GLL*12\r\n$GNRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,A*",
    )
    .await;
    say(
        &mut port,
        b"62\r\n$GNGGA,123519,4807.038,N,01131.000,E,0,00,,,M,,M,,*4C\r\n",
    )
    .await;
    assert_eq!(rig.next().await, [good(48.1173), good(41.4848)]);
    assert_eq!(rig.next().await, [Ok(Value::U64(0))]);
    // A sentence that nobody wants is no trouble; one with a wrong checksum is counted.
    say(&mut port, b"$GPHDT,1,T*2A\r\n$GNRMC,123519,A*00\r\n").await;
    sleep(100).await;
    assert_eq!(rig.status.counters.crc_errors.get(), 1);
    assert_eq!(rig.status.counters.bad_answers.get(), 0);
}
