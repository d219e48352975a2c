//! Requests to a bus with faults, without any wire.

use super::super::map::Point;
use super::super::pdu::Space;
use super::super::raw::{Order, Raw, RawKind};
use super::*;
use crate::script::Signal;

fn setup(device: &str) -> UnitSetup {
    let point = |id: &str, address| Point {
        id: id.into(),
        space: Space::Holding,
        address,
        raw: Raw::new(RawKind::U16, Order::default()),
        signal: Signal::constant(Value::Int(i64::from(address) + 5)),
        read_only: false,
    };
    UnitSetup {
        device: device.into(),
        map: Map::new(vec![point("a", 0), point("b", 1), point("c", 3)]).unwrap(),
        limits: Limits::default(),
        turnaround: Duration::from_millis(2),
        faults: Board::default(),
    }
}

fn bus() -> (Bus, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let hook: Hook = Arc::new(move |event: &Event<'_>| {
        let text = format!("{} {:?}", event.device.unwrap_or("-"), event.what);
        heard.lock().unwrap().push(text);
    });
    let units = BTreeMap::from([(1, setup("one")), (2, setup("two"))]);
    (Bus::new("b".into(), units, hook, Instant::now()), told)
}

const READ: [u8; 5] = [3, 0, 0, 0, 2];

fn reply(carrier: Carrier) -> Reply {
    match carrier {
        Carrier::Answer(reply) => reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_unit_that_is_asked_answers_and_it_is_told_first() {
    let (bus, told) = bus();
    let answer = reply(bus.ask(2, &READ));
    assert_eq!((answer.unit, answer.pdu), (2, vec![3, 4, 0, 5, 0, 6]));
    assert!(told.lock().unwrap()[0].starts_with("two Read"));
    assert_eq!(bus.ask(3, &READ), Carrier::Silence);
}

#[test]
fn every_fault_does_what_its_name_says_and_ends_with_ok() {
    let (bus, told) = bus();
    let good = reply(bus.ask(1, &READ));
    let good_frame = good.on_a_line().concat();
    let with = |fault: &str| {
        assert!(bus.heal("one"));
        assert!(bus.arm("one", fault.parse().unwrap()).unwrap());
        bus.ask(1, &READ)
    };
    assert_eq!(with("silent"), Carrier::Silence);
    assert_eq!(with("drop"), Carrier::HangUp);
    assert_eq!(reply(with("late 300ms")).after, Duration::from_millis(302));
    assert_eq!(reply(with("exception 6")).pdu, [0x83, 6]);
    assert_eq!(reply(with("limit 1")).pdu, [0x83, 3]);
    assert_eq!(reply(with("wrong-unit")).unit, 2);
    let frame = |fault: &str| reply(with(fault)).on_a_line().concat();
    assert_eq!(frame("cut"), good_frame[..4]);
    let garbage = frame("garbage");
    assert!(garbage.len() == good_frame.len() && garbage != good_frame);
    let wrong = frame("wrong-crc");
    assert_eq!(wrong[..7], good_frame[..7]);
    assert_ne!(wrong[8], good_frame[8]);
    let over_tcp = |fault: &str| reply(with(fault)).over_tcp([1, 2]).concat();
    assert_ne!(over_tcp("wrong-crc")[..2], [1, 2]);
    let stalled = reply(with("stall 1s"));
    assert_eq!((stalled.on_a_line().len(), stalled.pause.as_secs()), (2, 1));
    assert_eq!(stalled.on_a_line().concat(), good_frame);
    assert!(
        bus.arm("b", "silent".parse().unwrap()).unwrap(),
        "a bus is all its devices"
    );
    assert_eq!(bus.ask(2, &READ), Carrier::Silence);
    assert!(bus.heal("b") && !bus.heal("nobody"));
    assert_eq!(reply(bus.ask(1, &READ)), good);
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .any(|line| line.contains("late 300ms"))
    );
}

#[test]
fn gaps_are_refused_when_the_device_does_and_a_refused_poll_is_none() {
    let (bus, told) = bus();
    let across = [3, 0, 0, 0, 4];
    assert_eq!(reply(bus.ask(1, &across)).pdu[..2], [3, 8]);
    bus.arm("one", "refuse-gaps".parse().unwrap()).unwrap();
    assert_eq!(reply(bus.ask(1, &across)).pdu, [0x83, 2]);
    assert_eq!(reply(bus.ask(1, &READ)).pdu[..2], [3, 4]);
    let told = told.lock().unwrap();
    assert!(
        told[1].contains("Refused") && told[2].contains("poll: 1"),
        "{told:?}"
    );
}

#[test]
fn writes_are_kept_by_every_function_and_a_broadcast_reaches_all() {
    let (bus, _) = bus();
    let ask = |pdu: &[u8]| reply(bus.ask(1, pdu)).pdu;
    assert_eq!(ask(&[6, 0, 0, 0x12, 0x34]), [6, 0, 0, 0x12, 0x34]);
    assert_eq!(ask(&[16, 0, 0, 0, 2, 4, 0, 1, 0, 0xf2]), [16, 0, 0, 0, 2]);
    assert_eq!(ask(&READ), [3, 4, 0, 1, 0, 0xf2]);
    // The example of the specification: 0x12 with and 0xf2, or 0x25 becomes 0x17.
    ask(&[6, 0, 1, 0, 0x12]);
    assert_eq!(
        ask(&[22, 0, 1, 0, 0xf2, 0, 0x25]),
        [22, 0, 1, 0, 0xf2, 0, 0x25]
    );
    assert_eq!(ask(&[3, 0, 1, 0, 1]), [3, 2, 0, 0x17]);
    assert_eq!(ask(&[23, 0, 0, 0, 1, 0, 1, 0, 1, 2, 0, 9]), [23, 2, 0, 1]);
    assert_eq!(ask(&[6, 0, 2, 0, 1]), [0x86, 2], "no point lies there");
    assert_eq!(bus.ask(0, &[6, 0, 0, 0, 77]), Carrier::Silence);
    for unit in [1, 2] {
        assert_eq!(reply(bus.ask(unit, &[3, 0, 0, 0, 1])).pdu, [3, 2, 0, 77]);
    }
    assert_eq!(bus.set("one", "a", None), Some(true));
    assert_eq!(ask(&[3, 0, 0, 0, 1]), [3, 2, 0, 5]);
    assert_eq!(bus.set("one", "x", None), Some(false));
    assert_eq!(bus.set("nobody", "a", None), None);
}
