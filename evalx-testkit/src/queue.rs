//! What decides whether something is a queue: one public function for each behaviour.
//!
//! Every queue of evalx runs it, and a stranger's can:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//! use evalx_queue::{DynQueue, MemoryQueue};
//! use evalx_testkit::queue;
//!
//! fn main() -> ExitCode {
//!     queue::main_with("memory", |config| async move {
//!         let queue: DynQueue = Arc::new(MemoryQueue::new(config)?);
//!         Ok(queue)
//!     })
//! }
//! ```
//!
//! Each case gets queues of its own from the factory, empty and with the
//! configuration that it asks for. Time is real: what has to pass is short, and
//! what has to happen is waited for with a deadline.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a case panics where the queue does not do what it must"
)]

pub mod admission;
pub mod blobs;
pub mod claiming;
pub mod dead;
pub mod ending;
pub mod events;
pub mod fairness;
pub mod leases;
pub mod reading;
mod rig;
pub mod working;

pub use rig::{QueueCase, QueueRig, main_with, trials};

/// All cases.
#[must_use]
pub fn cases() -> Vec<QueueCase> {
    macro_rules! cases {
        ($($module:ident: $($name:ident),+;)*) => {
            vec![$($(QueueCase::new(
                concat!(stringify!($module), "::", stringify!($name)),
                |rig| Box::pin($module::$name(rig)),
            )),+),*]
        };
    }
    cases! {
        admission: accepts_and_says_the_position, repeats_nothing, knows_idempotency_keys,
            is_full_at_its_depth, is_full_for_one_tenant, limits_can_be_changed, takes_nothing_while_it_drains,
            refuses_nonsense_and_writes_nothing, takes_odd_names, takes_a_burst, expires_what_waited_too_long;
        claiming: gives_in_order, gives_no_more_than_asked, says_what_was_enqueued, wakes_who_waits,
            waits_no_longer_than_asked, gives_nothing_while_paused, puts_off_what_is_delayed,
            gives_each_job_once, a_dropped_claim_loses_nothing;
        fairness: high_goes_first_but_none_starves, tenants_take_turns, a_tenant_has_a_cap,
            who_waits_looks_on;
        leases: a_lease_that_ran_out_is_another_s, heartbeats_renew, heartbeats_end_with_the_time_of_the_job,
            what_is_stale_changes_nothing, finishing_again_is_finishing_once, poison_is_dead_after_two_workers,
            releasing_counts_no_attempt;
        ending: a_result_is_kept_for_its_time, finishing_brings_the_next, retries_wait_and_end,
            retries_wait_at_random_up_to_a_limit, rejected_is_dead_at_once, a_crash_counts,
            too_large_a_result_changes_nothing, cancels_what_waits, cancels_what_runs, the_first_end_stands;
        dead: is_listed_with_its_errors, is_requeued, is_removed_and_capped;
        events: are_numbered_and_replayed, are_bounded, begin_anew_with_each_attempt, come_with_the_end, wake_who_follows;
        reading: lists_every_state_in_pages, says_its_figures, wakes_who_waits_for_the_end, forgets_what_was_removed,
            unknown_jobs_are_unknown;
        blobs: are_kept_for_their_time, are_kept_as_long_as_a_job_needs_them,
            are_not_gone_with_the_first_job, have_a_limit;
        working: runs_what_comes, takes_no_more_than_its_slots, survives_panics, kills_what_runs_too_long,
            kills_what_is_cancelled, a_cancelled_handler_may_say_how_it_ended, buries_what_can_not_be_decoded,
            finishes_what_runs_at_shutdown, hands_back_what_takes_too_long, hands_back_beside_what_blocks,
            refuses_results_that_are_too_large,
            two_workers_share;
    }
}
