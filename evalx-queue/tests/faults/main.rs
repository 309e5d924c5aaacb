//! What the queue on Redis withstands: killed workers, producers and servers,
//! frozen ones, cut connections, zombies, poison, full memory.
//!
//! Each test starts a `redis-server` of its own. By default they are small;
//! `EVALX_QUEUE_SCALE=full` runs them at the size of the project's promises
//! (10,000 jobs and 200 kills, a minute of restarts), in release:
//! `EVALX_QUEUE_SCALE=full cargo test --release -p evalx-queue --all-features
//! --test faults -- --test-threads 1 --nocapture`.
//!
//! This program is also its own children: started with [`child::ROLE`] in the
//! environment it is a worker or a producer, to be killed.

#![expect(clippy::unwrap_used, reason = "a test panics where something does not hold")]

mod child;
mod clocks;
mod failover;
mod kills;
mod ledger;
mod limits;
mod network;
mod outages;
mod proxy;
mod rounds;
mod stage;
#[cfg(feature = "tls")]
mod tls;
mod zombies;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use stage::Stage;

fn trial<F, R>(name: &str, test: F) -> Trial
where
    F: FnOnce(Stage) -> R + Send + 'static,
    R: Future<Output = ()>,
{
    trial_where_possible(name, |stage| async {
        test(stage).await;
        Ok(())
    })
}

/// A trial that needs more than a server, and says what it lacks. It is then
/// ignored, or fails where all must run.
fn trial_where_possible<F, R>(name: &str, test: F) -> Trial
where
    F: FnOnce(Stage) -> R + Send + 'static,
    R: Future<Output = Result<(), String>>,
{
    Trial::ignorable_test(name, move || {
        let run = |stage| -> Result<(), String> {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let result = runtime.block_on(test(stage));
            // What a test has left to run is of no interest.
            runtime.shutdown_background();
            result
        };
        match Stage::new().and_then(run) {
            Ok(()) => Ok(Completion::Completed),
            Err(reason) if stage::required() => Err(Failed::from(reason)),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }
    })
}

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(child::ROLE) {
        child::play(&role.to_string_lossy());
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        trial("f01_killed_workers_lose_nothing", kills::workers_at_random),
        trial("f01_killed_in_each_window", kills::workers_in_each_window),
        trial("f02_killed_producers_leave_whole_jobs", kills::producers),
        trial("f03_a_killed_server_loses_nothing_that_is_synced", outages::killed_and_synced_always),
        trial("f04_a_killed_server_loses_at_most_seconds", outages::killed_and_synced_every_second),
        trial("f05_a_frozen_server_runs_no_job_twice_at_once", outages::frozen),
        trial("f06_bad_networks_lose_nothing", network::all_kinds),
        trial("f06_a_silent_connection_is_given_up", network::silent_connections),
        trial("f06_a_claim_that_comes_late_takes_nothing", network::late_claims),
        trial("f06_an_answer_that_nobody_reads_is_handed_back", network::dropped_answers),
        trial("f06_an_answer_at_shutdown_is_handed_back", network::answers_at_shutdown),
        trial("f06_an_answer_that_was_cut_off_counts_once", network::cut_answers),
        trial("f07_a_zombie_changes_nothing", zombies::frozen_worker),
        trial("f08_many_sweepers_count_once", zombies::sweepers),
        trial("f09_clocks_that_jump_cost_no_job", clocks::jumps),
        trial("f09_nothing_reads_the_time_of_day", clocks::sources),
        trial("f10_poison_kills_two_workers_at_most", kills::poison),
        trial("f11_bursts_are_worked_off", limits::bursts),
        trial("f13_full_memory_refuses_new_jobs_only", limits::memory),
        trial_where_possible("f13_a_full_disk_refuses_cleanly", limits::disk),
        trial("f13_a_replica_says_what_it_is", limits::replica),
        trial("f13_too_little_durability_is_refused", limits::durability),
        trial("f13_durability_is_that_of_the_node_of_the_queue", failover::by_the_word_of_another_node),
        trial("f13_a_job_that_was_removed_takes_no_other_with_it", limits::removed),
        trial("a_job_wakes_a_worker_that_is_free", limits::wakes),
        trial("f14_lost_scripts_are_no_errors", limits::scripts),
        trial("f14_a_failover_loses_the_last_moment_at_most", failover::by_sentinel),
        trial("f14_sentinels_have_passwords", failover::by_sentinel_with_passwords),
        trial("f14_silent_sentinels_are_not_waited_for", failover::by_silent_sentinels),
        trial("f14_a_queue_moves_to_another_node", failover::by_moving_a_slot),
        trial("f14_another_node_dies", failover::by_the_death_of_another_node),
        trial("f14_a_replica_hangs", failover::with_a_replica_that_hangs),
        trial("f15_rolling_restarts_count_no_attempt", rounds::restarts),
        trial("f16_nothing_is_left_over", rounds::soak),
        trial("an_idle_worker_is_quiet", limits::idle),
        #[cfg(feature = "tls")]
        trial_where_possible("a_server_is_spoken_to_by_tls", tls::speaks),
        trial("what_is_no_server_is_an_error", limits::no_server),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
