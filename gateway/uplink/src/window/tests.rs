//! The window's bounds and its pairing of PUBACKs.

use super::*;
use crate::rate::LinkRate;
use proptest::prelude::*;

const STREAM: Stream = Stream {
    epoch: Epoch(1),
    lane: Lane::Telemetry,
};

/// A link that should carry so much, a quarter of it backlog.
const fn link(all: usize) -> Flight {
    Flight {
        all,
        history: all / 4,
        is_through: false,
        unsettled: usize::MAX,
    }
}

fn open(first: u64, bytes: usize) -> Open {
    Open {
        stream: STREAM,
        left: set_of(SeqRange::new(first, first + 1).unwrap()),
        bytes,
        history: false,
        handed_at: Instant::default(),
        phase: Phase::Sending,
        dictionaries: Vec::new(),
        sample: LinkRate::default().sent(bytes, bytes, Instant::default()),
    }
}

#[test]
fn packet_ids_are_paired_in_order_of_handing_over_and_acked_in_any_order() {
    let mut window = Window::new(WindowLimits::default());
    for i in 0..3 {
        window.hand(open(1 + i * 2, 100));
    }
    for packet in [7, 8, 9] {
        window.paired(packet).unwrap();
    }
    assert_eq!(window.paired(10), Err(Unpaired));
    let (_, left, ..) = window.taken(9, Instant::default()).unwrap();
    assert_eq!(left.ranges(), [SeqRange::new(5, 6).unwrap()]);
    assert!(window.taken(9, Instant::default()).is_none(), "twice");
    let (_, left, ..) = window.taken(7, Instant::default()).unwrap();
    assert_eq!(left.ranges(), [SeqRange::new(1, 2).unwrap()]);
    assert_eq!(window.under_way(), 100);
}

#[test]
fn a_puback_of_an_older_connection_credits_nothing() {
    let mut window = Window::new(WindowLimits::default());
    window.hand(open(1, 100));
    window.paired(1).unwrap();
    window.disconnected();
    assert!(window.taken(1, Instant::default()).is_none());
    assert_eq!(window.iter().next().unwrap().phase, Phase::Unsure);
    assert_eq!(window.bytes(), 100, "an unsure envelope keeps its place");
}

#[test]
fn the_newest_publish_never_runs_a_whole_round_of_packet_ids_ahead_of_a_missing_puback() {
    let mut window = Window::new(WindowLimits {
        max_bytes: usize::MAX,
        max_envelopes: usize::MAX,
    });
    let mut sent = 0u16;
    while window.room(false, link(usize::MAX)).is_some() {
        window.hand(open(u64::from(sent) * 2 + 1, 10));
        let packet = sent % PACKET_IDS + 1;
        window.paired(packet).unwrap();
        sent += 1;
        if packet != 1 {
            window.taken(packet, Instant::default());
            window.take_out(STREAM, &set_of(SeqRange::new(3, u64::MAX).unwrap()));
        }
    }
    assert!(sent < PACKET_IDS, "{sent}");
}

#[test]
fn history_leaves_a_quarter_of_the_window_to_live_data_and_keeps_its_own_part() {
    let mut window = Window::new(WindowLimits {
        max_bytes: 400_000,
        max_envelopes: 8,
    });
    for i in 0..6 {
        assert!(window.room(true, link(1 << 20)).is_some());
        window.hand(Open {
            history: true,
            ..open(i * 2 + 1, 10)
        });
    }
    assert_eq!(window.room(true, link(1 << 20)), None);
    assert_eq!(
        window.room(false, link(1 << 20)).unwrap().hard,
        400_000 - 60
    );
    let mut slow = Window::new(WindowLimits::default());
    slow.hand(open(1, 15_000));
    assert!(
        slow.room(true, link(16_384)).is_some(),
        "live data on a slow line does not push history out"
    );
}

proptest! {
    #[test]
    fn bytes_under_way_and_unsettled_always_add_up(steps in prop::collection::vec((0u8..6, 1u64..60, 1usize..12_000), 1..200)) {
        let limits = WindowLimits { max_bytes: 2 * ONE_RECORD_BYTES, max_envelopes: 10 };
        let mut window = Window::new(limits);
        let (mut seq, mut packet, mut handed) = (1, 0u16, 0u16);
        for (step, n, bytes) in steps {
            match step {
                0 | 1 => if window.room(false, link(30_000)).is_some_and(|room| room.wanted >= bytes) {
                    window.hand(open(seq, bytes));
                    seq += 2;
                    handed += 1;
                },
                2 => if packet < handed { packet += 1; window.paired(packet).unwrap(); },
                3 => { window.taken(u16::try_from(n).unwrap(), Instant::default()); }
                4 => { window.take_out(STREAM, &set_of(SeqRange::new(n, n + 7).unwrap())); }
                _ => { window.disconnected(); packet = handed; }
            }
            prop_assert_eq!(window.bytes(), window.iter().map(|o| o.bytes).sum::<usize>());
            let sending: usize = window.iter().filter(|o| o.phase == Phase::Sending).map(|o| o.bytes).sum();
            prop_assert_eq!(window.under_way(), sending);
            prop_assert!(window.bytes() <= limits.max_bytes && window.len() <= limits.max_envelopes);
        }
    }
}
