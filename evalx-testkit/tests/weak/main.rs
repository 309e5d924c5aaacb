//! Proof that the suites can fail: a sandbox that isolates nothing fails the
//! cases about isolation and no others, and each lie of a [`ChaosSandbox`] is
//! caught by the case that is there for it.
//!
//! Only cases that do a host no harm are run here: nothing that multiplies,
//! fills, kills, or outlives its parent.
#![expect(clippy::unwrap_used, reason = "all of this crate is a test")]

mod chaos;
mod sandbox;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evalx_core::DynSandbox;
use evalx_testkit::{Case, Probes, conformance, escape};

use chaos::{ChaosSandbox, Lie};
use sandbox::WeakSandbox;

/// Cases that hold even for a plain child process.
const HOLD: &[&str] = &[
    "ends::every_exit_code",
    "ends::segmentation_fault",
    "ends::division_by_zero",
    "ends::bad_instruction",
    "ends::abort",
    "ends::kills_itself",
    "ends::forged_limit_signals",
    "ends::exit_code_like_a_signal",
    "ends::cancelled_over_all",
    "ends::clean_report",
    "time::wall_limit_of_300_ms",
    "time::cpu_time_is_measured",
    "time::sleeping_costs_no_cpu",
    "time::user_and_system_time",
    "time::cpu_of_waited_children",
    "time::steps_are_measured_apart",
    "output::stdout_at_the_limit",
    "output::stdout_over_the_limit",
    "output::stderr_at_the_limit",
    "output::stderr_over_the_limit",
    "output::each_stream_has_its_own",
    "output::no_output_allowed",
    "output::output_before_a_crash",
    "program::odd_arguments",
    "program::binary_arguments",
    "program::many_arguments",
    "program::long_argument",
    "program::odd_variables",
    "program::defaults_are_replaced",
    "program::default_path_finds_the_shell",
    "program::what_cannot_be_executed",
    "streams::ten_mebibytes_through",
    "streams::every_byte_through",
    "streams::two_streams_apart",
    "streams::empty_stdin_ends_at_once",
    "streams::stdin_never_read",
    "streams::stdin_closed_early",
    "streams::silent_stdin_and_wall_limit",
    "streams::silent_stdin_and_exit",
    "streams::closing_stdin",
    "streams::stdin_as_it_comes",
    "streams::closed_stdout_is_no_end",
    "streams::output_as_it_comes",
    "interaction::joined_both_ways",
    "interaction::joined_to_one_that_ends",
    "interaction::joined_stderr",
    "files::placed_and_read_back",
    "files::written_by_the_program",
    "files::read_by_the_program",
    "files::executable_or_not",
    "files::folders_are_made",
    "files::files_are_replaced",
    "files::read_has_a_limit",
    "artifacts::file_is_kept",
    "artifacts::kept_program_runs_elsewhere",
    "artifacts::tree_is_kept",
    "artifacts::artifact_of_the_host",
    "sessions::many_steps",
    "sessions::sixteen_sessions_at_once",
    "sessions::no_output_is_lost",
    "sessions::cancel",
    "sessions::cancel_the_deaf",
    "sessions::signal_is_handled",
    "sessions::signal_ends_it",
    "sessions::work_folder_is_fresh",
    "sessions::unused_sessions",
    "sessions::labels_are_harmless",
    "requests::limits_out_of_range",
    "requests::impossible_steps",
    "requests::unsupported_is_refused",
    "requests::isolation_is_held_or_refused",
    "requests::check_is_well",
    "requests::names_itself",
    "requests::shutdown_twice",
    "requests::shutdown_unused",
    "time::pauses",
    "time::trickles_output",
    "time::waits_on_a_futex",
    "time::waits_on_its_own_lock",
    "output::endless_stdout",
    "output::endless_stderr",
    "output::both_streams_endless",
    "output::stdout_made_nonblocking",
    "output::streams_twisted",
    "library::paths_that_leave",
    "library::controls_without_a_sender",
    "library::stdin_that_fails",
    "library::output_taken_slowly",
];

/// Cases that only a sandbox passes.
const FAIL: &[&str] = &[
    // What a sandbox must give, and a plain child process has not.
    "program::starts_in_the_work_folder",
    "program::environment_of_its_own",
    "memory::peak_of_10_mib",
    "memory::limit_met_at_once",
    "memory::open_files_limit",
    "streams::children_that_hold_stdout",
    "files::only_regular_files_are_read",
    "artifacts::only_files_are_kept_of_a_tree",
    "policy::no_network_by_default",
    // Attacks that a plain child process does not withstand.
    "process::sees_strangers_by_signal_0",
    "process::sees_strangers_in_proc",
    "time::spins",
    "time::ignores_sigxcpu_and_raises_its_limit",
    "files::no_new_privileges",
    "kernel::socket_netlink",
    "network::tcp",
    "network::udp",
    "network::tcp_over_ipv6",
];

/// The suites' cases by name.
fn all() -> BTreeMap<String, Case> {
    let cases = conformance::cases().into_iter().chain(escape::cases());
    cases.map(|case| (case.name().to_owned(), case)).collect()
}

/// CPU time of children is read from a counter of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a case as the harness does; what it said if it failed.
fn failure(case: &Case, sandbox: DynSandbox, probes: &Probes) -> Option<String> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let future = case.run(sandbox, probes.clone());
    let result = runtime.block_on(async {
        match tokio::time::timeout(Duration::from_secs(60), tokio::spawn(future)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it hung".to_owned()),
        }
    });
    runtime.shutdown_background();
    result
}

#[test]
fn exactly_the_right_cases_fail_without_a_sandbox() {
    let (all, probes) = (all(), Probes::find().unwrap());
    let (mut wrongly_failed, mut wrongly_passed) = (Vec::new(), Vec::new());
    for name in HOLD {
        if let Some(why) = failure(&all[*name], Arc::new(WeakSandbox::new()), &probes) {
            wrongly_failed.push(format!("{name}: {why}"));
        }
    }
    for name in FAIL {
        if failure(&all[*name], Arc::new(WeakSandbox::new()), &probes).is_none() {
            wrongly_passed.push(*name);
        }
    }
    assert!(
        wrongly_failed.is_empty() && wrongly_passed.is_empty(),
        "failed and should not: {wrongly_failed:#?}\npassed and should not: {wrongly_passed:#?}"
    );
}

#[test]
fn every_lie_is_caught_by_its_case() {
    let (all, probes) = (all(), Probes::find().unwrap());
    for (lie, name) in Lie::ALL {
        assert!(HOLD.contains(&name), "{name} must hold when nothing lies");
        let chaos = Arc::new(ChaosSandbox::new(WeakSandbox::new(), lie));
        assert!(failure(&all[name], chaos, &probes).is_some(), "{name} did not catch {lie:?}");
    }
}
