//! The store from outside: the suite that every implementation must pass, run on both, and what only
//! one of them can get wrong.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends here; clippy knows only functions marked as tests"
)]

mod alarms;
mod kill;
mod kit;
mod model;
mod postgres;
mod queries;
mod sqlite;
mod suite;

use kit::{PostgresKit, SqliteKit};

/// Runs the suite on both databases.
macro_rules! on_both {
    ($($module:ident: $($test:ident),+ $(,)?;)+) => {
        mod sqlite_passes {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::SqliteKit::new()).await;
                })+
            })+
        }

        mod postgres_passes {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::PostgresKit::new()).await;
                })+
            })+
        }
    };
}

on_both!(
    suite:
        a_record_is_stored_once_however_often_it_comes,
        records_may_come_in_any_order,
        a_record_that_would_make_a_65th_range_is_hinted_to_come_later,
        a_claim_behind_many_gaps_of_its_own_lane_is_taken_and_fills_them,
        a_record_with_an_unknown_dictionary_waits_for_it,
        a_claim_strikes_what_is_stored_and_a_late_record_strikes_the_claim,
        an_open_ended_claim_covers_what_nobody_can_name_and_late_records_still_count,
        a_malformed_record_is_refused_quarantined_and_blocks_nothing,
        a_refused_record_stands_in_the_ledger_until_the_gateway_claims_it,
        values_of_another_type_than_the_dictionary_says_are_refused,
        series_above_the_limit_are_refused_by_name,
        an_unknown_or_revoked_gateway_is_refused,
        a_closed_epoch_takes_nothing_and_an_epoch_in_use_is_never_closed,
        a_partial_hello_closes_nothing,
        alternating_boots_raise_identity_cloned_once,
        hello_names_missing_dictionaries_and_settled_ranges,
        a_stamp_that_cannot_be_right_is_kept_counted_and_shown_in_no_chart,
        a_time_map_corrects_what_was_sent_before_and_after_it,
        times_of_a_boot_without_a_clock_are_estimated_until_a_better_map_comes,
        events_and_device_links_are_listed,
        the_four_truths_are_kept_apart,
        live_updates_bring_new_values,
        a_sign_of_life_makes_a_latest_value_fresh_and_is_stored_nowhere,
        quarantine_is_bounded_and_counts_repeats,
        sessions_end_idle_or_old_or_with_the_password,
        failed_logins_are_forgotten_after_a_quiet_hour,
        a_restore_draws_a_new_generation,
        two_gateways_with_the_same_points_have_series_of_their_own,
    ;
    alarms:
        an_alarm_stands_as_its_gateway_said_last_in_whatever_order_words_come,
        epochs_are_ordered_by_hellos_and_not_by_clocks,
        the_backlog_of_a_run_that_never_connected_is_older_than_the_run_that_brings_it,
        an_alarm_that_goes_on_through_a_restart_is_raised_since_before,
        an_open_alarm_outlives_its_events_and_one_that_is_over_does_not,
        alarms_of_a_gateway_are_bounded_and_open_ones_never_give_way,
        alarms_are_listed_by_urgency_counted_and_lead_to_their_points,
        events_carry_what_they_say_of_an_alarm_and_are_found_by_it,
        traffic_counts_each_record_once_by_the_hour_it_came,
    ;
    queries:
        an_answer_does_not_depend_on_how_much_was_compacted,
        a_peak_survives_every_resolution,
        late_data_joins_its_hour_and_its_rollups,
        every_type_survives_compaction_and_reopening,
        retention_drops_old_weeks_and_keeps_long_rollups,
        counts_and_latest_values_survive_compaction_and_reopening,
        gaps_of_bad_quality_and_of_silence_are_told,
        the_compactor_gathers_before_it_works,
    ;
);
