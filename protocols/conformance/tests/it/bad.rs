//! Each bad driver fails the kit at exactly the rule it breaks.

use crate::echo::Defect;
use crate::echo_device::EchoBench;
use protocols_conformance::check;

#[test]
fn the_good_driver_breaks_nothing() {
    let report = check(|| EchoBench::new(Defect::None));
    report.assert_conforms();
    assert!(report.left_out.is_empty(), "{report}");
}

macro_rules! bad_drivers {
    ($($test:ident: $defect:ident breaks $rule:literal,)+) => {
        $(#[test]
        fn $test() {
            let report = check(|| EchoBench::new(Defect::$defect));
            assert!(report.not_run.is_empty(), "{report}");
            assert_eq!(report.rules().into_iter().collect::<Vec<_>>(), [$rule], "{report}");
        })+
    };
}

bad_drivers! {
    a_driver_that_leaves_a_task_behind_is_found: LeavesTaskBehind breaks 1,
    a_driver_that_ignores_stop_is_found: IgnoresStop breaks 2,
    a_driver_that_returns_when_its_link_breaks_is_found: ReturnsOnLostLink breaks 2,
    a_driver_that_drops_answers_when_the_channel_is_full_is_found: DropsWhenFull breaks 3,
    a_driver_that_queues_missed_polls_is_found: QueuesMissedPolls breaks 3,
    a_driver_that_is_silent_about_failures_is_found: NoReadingOnFailure breaks 4,
    a_driver_that_stalls_in_mid_transaction_is_found: StallsInMidTransaction breaks 4,
    a_driver_that_polls_every_other_time_is_found: SkipsPolls breaks 4,
    a_driver_that_gives_no_quality_is_found: NoQuality breaks 5,
    a_driver_that_repeats_the_last_value_is_found: RepeatsLastValue breaks 5,
    a_driver_that_takes_late_answers_is_found: TakesLateAnswers breaks 5,
    a_driver_that_stamps_each_point_is_found: StampsEachPoint breaks 6,
    a_driver_that_asks_the_machine_for_the_time_is_found: OwnWallClock breaks 6,
    a_driver_that_schedules_by_the_wall_clock_is_found: SchedulesByWallClock breaks 6,
    a_driver_that_hammers_dead_devices_is_found: HammersDeadDevices breaks 7,
    a_driver_that_writes_twice_is_found: WritesTwice breaks 8,
    a_driver_that_never_answers_orders_is_found: NeverAnswersOrders breaks 8,
    a_driver_that_writes_expired_orders_is_found: WritesExpiredOrders breaks 8,
    a_driver_that_repeats_unconfirmed_orders_is_found: RepeatsUnconfirmed breaks 8,
    a_driver_that_polls_ahead_of_orders_is_found: PollsAheadOfOrders breaks 8,
    a_driver_that_leaks_is_found: Leaks breaks 9,
    a_driver_that_does_not_publish_its_links_is_found: KeepsLinksToItself breaks 9,
    a_driver_that_miscounts_is_found: Miscounts breaks 9,
    a_driver_that_blocks_its_thread_is_found: Blocks breaks 10,
    a_driver_whose_helper_blocks_the_thread_is_found: BlocksElsewhere breaks 10,
    a_driver_that_spins_is_found: Spins breaks 10,
    a_driver_that_panics_is_found: Panics breaks 10,
}
