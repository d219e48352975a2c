//! Stories: what must hold for the whole system, one sentence each, told by real processes.
//!
//! Each story starts its own system in its own folder, breaks it in one way, waits for conditions
//! (never for luck) and, where data moved, ends before the judge. One line a story; the folder of one
//! that failed is kept.

mod away;
mod cluster;
mod configuration;
mod disk;
mod foreign;
mod garbage;
mod guides;
mod identity;
mod kill;
mod outage;
mod plant;
mod privacy;
mod rules;
mod stage;
mod start;
mod strangers;
mod thinning;
mod time;
mod unchanged;

use crate::screen;
use anyhow::Context as _;
use stage::{Stage, Told};
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests_harness::stack::Binaries;

/// No story takes longer, even on a machine that does other things: it hangs.
const STORY_LIMIT: Duration = Duration::from_secs(600);

type Telling<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Told>> + 'a>>;

/// A story and its name.
struct Story {
    name: &'static str,
    tell: for<'a> fn(&'a Stage) -> Telling<'a>,
}

macro_rules! stories {
    ($($room:ident::$name:ident),* $(,)?) => {
        &[$(Story { name: stringify!($name), tell: |stage| Box::pin($room::$name(stage)) }),*]
    };
}

const ALL: &[Story] = stories![
    start::a_gateway_polls_and_keeps_readings_when_it_starts_without_broker_or_network,
    outage::live_data_overtakes_the_backlog_of_an_outage,
    kill::what_a_killed_gateway_kept_offline_arrives_after_its_restart,
    identity::a_revoked_gateway_is_cut_within_a_second_and_stays_out,
    identity::a_gateway_with_anothers_certificate_gets_nowhere,
    strangers::strangers_are_refused_and_counted_while_the_others_go_on,
    identity::two_bearers_of_one_identity_are_noticed_and_cost_no_reading,
    garbage::garbage_from_a_gateway_is_quarantined_and_what_is_behind_it_flows,
    disk::a_full_disk_costs_no_reading_that_was_stored,
    foreign::on_another_broker_nothing_is_lost_and_nobody_speaks_for_another,
    configuration::a_broken_configuration_file_leaves_the_gateway_running_the_last_good_one,
    unchanged::a_value_that_does_not_change_stays_fresh_with_the_time_of_its_reading,
    rules::a_rule_acts_in_an_outage_and_its_alarm_survives_a_kill_and_is_told_once,
    away::a_locked_database_settles_nothing_and_recovers,
    privacy::nothing_private_reaches_broker_or_database,
    time::a_board_without_a_clock_connects_and_its_readings_find_their_place_later,
    guides::the_commands_of_the_guides_run,
    cluster::the_guide_of_the_cluster_holds_and_nothing_stays_behind,
];

/// Stories told with programs that have fail points: their spools are full in seconds.
const SMALL_SPOOLS: &[Story] =
    stories![thinning::a_spool_that_fills_up_in_an_outage_is_thinned_and_the_extremes_arrive,];

/// What the stories are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Stories {
    /// Only stories whose name contains one of these; all by default.
    names: Vec<String>,
    /// Those that are told with programs that have fail points, instead of the others.
    #[arg(long)]
    failpoints: bool,
}

impl Stories {
    /// Tells them, one after the other.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let wanted = |story: &&Story| {
            self.names.is_empty()
                || self
                    .names
                    .iter()
                    .any(|name| story.name.contains(name.as_str()))
        };
        let all = if self.failpoints { SMALL_SPOOLS } else { ALL };
        let wanted: Vec<&Story> = all.iter().filter(wanted).collect();
        if wanted.is_empty() {
            let names: Vec<&str> = all.iter().map(|story| story.name).collect();
            anyhow::bail!(
                "no story has such a name; there are:\n  {}",
                names.join("\n  ")
            );
        }
        let binaries = Binaries::from_environment()?;
        let mut all_hold = true;
        for story in wanted {
            all_hold &= tell(story, &binaries).await?;
        }
        Ok(if all_hold {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Tells one story and says how it ended.
async fn tell(story: &Story, binaries: &Binaries) -> anyhow::Result<bool> {
    let dir = tempfile::Builder::new()
        .prefix("fogline-story-")
        .tempdir()?;
    let stage = Stage::new(dir.path(), binaries);
    let begun = Instant::now();
    let told = tokio::time::timeout(STORY_LIMIT, (story.tell)(&stage)).await;
    let told = told
        .context("the story did not end in time")
        .and_then(|told| told);
    let (word, more) = match &told {
        Ok(Told::Holds(more)) => ("ok", more.clone()),
        Ok(Told::NotRun(why)) => ("NOT RUN", why.clone()),
        Err(error) => ("FAILED", format!("{error:#}")),
    };
    drop(stage);
    screen::result(&format!(
        "{word:<8}{:>6.1} s  {}  {more}",
        begun.elapsed().as_secs_f64(),
        story.name
    ));
    if told.is_err() {
        screen::say(&format!("everything is kept in {}", dir.keep().display()));
    }
    Ok(told.is_ok())
}
