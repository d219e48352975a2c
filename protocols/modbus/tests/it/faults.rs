//! Every misbehaviour of a device, over TCP and over a serial line.

use crate::rig::{Rig, TIMEOUT, bad, device, good, ms};
use crate::sim::{Act, Ask, Framing, Sim};
use protocols_modbus::config::Device;
use protocols_model::Reason;
use std::time::Duration;

/// A misbehaviour, and what the readings of that poll say.
struct Fault {
    name: &'static str,
    acts: fn(&Ask) -> Vec<Act>,
    /// `None`: the answer gets through all the same.
    tcp: Option<Reason>,
    serial: Option<Reason>,
}

/// The right answer with one thing changed in its body.
fn changed(ask: &Ask, change: impl FnOnce(&mut Vec<u8>)) -> Vec<Act> {
    let mut body = ask.body();
    change(&mut body);
    vec![Act::Send(ask.frame(&body))]
}

fn whole(ask: &Ask) -> Vec<u8> {
    ask.frame(&ask.body())
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "silence",
        acts: |_| Vec::new(),
        tcp: Some(Reason::Timeout),
        serial: Some(Reason::Timeout),
    },
    Fault {
        name: "short: half of the frame",
        acts: |ask| vec![Act::Send(whole(ask)[..5].to_vec())],
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "short: fewer registers than asked for",
        acts: |ask| {
            changed(ask, |body| {
                body[2] -= 2;
                body.truncate(body.len() - 2);
            })
        },
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "more registers than asked for",
        acts: |ask| {
            changed(ask, |body| {
                body[2] += 2;
                body.extend([0, 0]);
            })
        },
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "wrong byte count",
        acts: |ask| changed(ask, |body| body[2] += 1),
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "wrong unit",
        acts: |ask| changed(ask, |body| body[0] += 1),
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "wrong function",
        acts: |ask| changed(ask, |body| body[1] = 4),
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "exception",
        acts: |ask| ask.exception(6),
        tcp: Some(Reason::DeviceError),
        serial: Some(Reason::DeviceError),
    },
    Fault {
        name: "exception to another function",
        acts: |ask| vec![Act::Send(ask.frame(&[ask.unit, 0x84, 2]))],
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "garbage",
        acts: |_| vec![Act::Send(vec![0xa5; 40])],
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "endless garbage",
        acts: |_| vec![Act::Send(vec![0x5a; 4000])],
        tcp: Some(Reason::BadAnswer),
        serial: Some(Reason::BadAnswer),
    },
    Fault {
        name: "noise before the answer",
        acts: |ask| vec![Act::Send([&[0, 0xff, 0][..], &whole(ask)].concat())],
        tcp: Some(Reason::BadAnswer),
        serial: None,
    },
    Fault {
        name: "noise after the answer",
        acts: |ask| vec![Act::Send([&whole(ask)[..], &[0xff, 1, 3]].concat())],
        tcp: None,
        serial: None,
    },
    Fault {
        name: "the answer twice",
        acts: |ask| vec![Act::Send([whole(ask), whole(ask)].concat())],
        tcp: None,
        serial: None,
    },
    Fault {
        name: "in pieces",
        acts: |ask| {
            let piece = |byte| [Act::Send(vec![byte]), Act::Wait(ms(2))];
            whole(ask).into_iter().flat_map(piece).collect()
        },
        tcp: None,
        serial: None,
    },
    Fault {
        name: "disconnected, or unplugged, in mid-frame",
        acts: |ask| vec![Act::Send(whole(ask)[..6].to_vec()), Act::Close],
        tcp: Some(Reason::LinkDown),
        serial: Some(Reason::LinkDown),
    },
];

/// Requests 3, 7, 11, ... meet the fault; all others are answered.
fn script(acts: fn(&Ask) -> Vec<Act>) -> impl Fn(&Ask) -> Vec<Act> + Send + Sync {
    move |ask| match ask.number % 4 {
        3 => acts(ask),
        _ => ask.answer(),
    }
}

/// The faulty poll says why, the polls around it are good, three times over.
async fn survives(mut rig: Rig, name: &str, expected: Option<Reason>) {
    let mut seen = 0;
    let mut good_after = 0;
    rig.until(|sweep| {
        if good(sweep) {
            good_after += 1;
        } else {
            let reason = expected.unwrap_or_else(|| panic!("{name}: {sweep:?}"));
            assert!(bad(sweep, reason), "{name}: {sweep:?}");
            // A link that is gone is missing for as many polls as opening it again takes.
            let before = good_after >= 1 || reason == Reason::LinkDown;
            assert!(before, "{name}: no good poll before the fault");
            seen += usize::from(good_after >= 1);
            good_after = 0;
        }
        if expected.is_some() {
            seen >= 3 && good_after >= 2
        } else {
            good_after >= 9
        }
    })
    .await;
    rig.stop().await;
}

fn meter() -> Device {
    device(1, ms(30), &["hr:10", "hr:11", "hr:13"])
}

#[tokio::test(start_paused = true)]
async fn over_tcp_every_fault_is_named_and_the_polls_around_it_are_good() {
    for fault in FAULTS {
        let sim = Sim::new(Framing::Tcp, script(fault.acts));
        let rig = Rig::start(&sim, vec![meter()]);
        survives(rig, fault.name, fault.tcp).await;
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_serial_line_every_fault_is_named_and_the_polls_around_it_are_good() {
    for fault in FAULTS {
        let sim = Sim::new(Framing::Rtu, script(fault.acts));
        let rig = Rig::start(&sim, vec![meter()]);
        survives(rig, fault.name, fault.serial).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_checksum_is_a_bad_answer_and_counted() {
    let sim = Sim::new(Framing::Rtu, |ask| {
        let mut frame = whole(ask);
        frame[4] ^= 0x10;
        vec![Act::Send(frame)]
    });
    let mut rig = Rig::start(&sim, vec![meter()]);
    rig.until(|sweep| bad(sweep, Reason::BadAnswer)).await;
    assert_eq!(rig.count("crc_errors"), 1);
    rig.stop().await;
}

/// One answer in ten comes after `late` parts in a hundred of the time-out; registers 1, 20, 40 and
/// 60 are asked one by one.
async fn late_answers(late: u32, framing: Framing) {
    let answer = move |ask: &Ask| -> Vec<Act> {
        let wait = if ask.number % 10 == 4 {
            TIMEOUT * late / 100
        } else {
            Duration::ZERO
        };
        [vec![Act::Wait(wait)], ask.answer()].concat()
    };
    let mut meter = device(1, ms(60), &["hr:1", "hr:20", "hr:40", "hr:60"]);
    meter.limits.max_gap = Some(0);
    let sim = Sim::new(framing, answer);
    let mut rig = Rig::start(&sim, vec![meter]);
    // The rig compares each good value with its register.
    let (mut failed, mut fine) = (0, 0);
    rig.until(|sweep| {
        failed += u32::from(bad(sweep, Reason::Timeout));
        fine += u32::from(good(sweep));
        failed >= 4 && fine >= 12
    })
    .await;
    if framing == Framing::Rtu {
        assert!(
            rig.count("late_answers") >= 3,
            "{late}: {:?}",
            rig.status.counters.values()
        );
    }
    rig.stop().await;
}

/// The case measured with the plain client: registers are asked one by one, one answer comes late,
/// and from then on each value is the previous register's, as good as any.
#[tokio::test(start_paused = true)]
async fn late_answer_is_never_taken_for_the_next_request() {
    // Within the silence after the error, around its end, and so late that only the other length of
    // the next request protects it.
    for late in [130, 190, 198, 201, 203, 206, 215, 240, 270, 290] {
        late_answers(late, Framing::Rtu).await;
        late_answers(late, Framing::Tcp).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_always_late_gives_no_values_at_all() {
    let sim = Sim::new(Framing::Rtu, |ask| {
        [vec![Act::Wait(TIMEOUT * 3 / 2)], ask.answer()].concat()
    });
    let mut rig = Rig::start(&sim, vec![device(1, ms(60), &["hr:1", "hr:40", "hr:80"])]);
    let mut polls = 0;
    rig.until(|sweep| {
        assert!(!good(sweep), "{sweep:?}");
        polls += u32::from(bad(sweep, Reason::Timeout));
        polls >= 6
    })
    .await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stays_silent_to_the_longer_request_is_not_lost_for_ever() {
    // After the one time-out the driver asks for two registers, which this device does not have.
    let sim = Sim::new(Framing::Tcp, |ask| {
        if ask.number == 3 || ask.count != 1 {
            Vec::new()
        } else {
            ask.answer()
        }
    });
    let mut meter = device(1, ms(30), &["hr:10"]);
    meter.retry.fails = 2;
    let mut rig = Rig::start(&sim, vec![meter]);
    rig.until(|sweep| bad(sweep, Reason::NotAsked)).await;
    rig.until(good).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_the_longer_request_is_asked_as_planned_at_once() {
    let sim = Sim::new(Framing::Tcp, |ask| match (ask.number, ask.count) {
        (3, _) => Vec::new(),
        (_, 1) => ask.answer(),
        _ => ask.exception(2),
    });
    let mut rig = Rig::start(&sim, vec![device(1, ms(30), &["hr:10"])]);
    let mut bads = 0;
    let mut goods = 0;
    rig.until(|sweep| {
        bads += u32::from(!good(sweep));
        goods += u32::from(good(sweep));
        goods >= 8
    })
    .await;
    assert_eq!(bads, 1, "only the poll that timed out");
    assert!(sim.asks().iter().any(|ask| ask.count == 2));
    rig.stop().await;
}
