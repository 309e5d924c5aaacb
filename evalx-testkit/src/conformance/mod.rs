//! The conformance suite: what every sandbox does, one function for each behaviour.
//!
//! Each function takes a sandbox and the [`Probes`](crate::Probes), and panics
//! with the report if the behaviour is not there. [`cases`] lists them all with
//! what each needs; a [`Suite`](crate::Suite) runs them. Functions are added
//! and changed outside of semantic versioning.
#![expect(
    clippy::missing_panics_doc,
    reason = "every case panics if its behaviour is not there, as said above"
)]

pub mod artifacts;
pub mod ends;
pub mod files;
pub mod interaction;
pub mod memory;
pub mod output;
pub mod policy;
pub mod program;
pub mod requests;
pub mod sessions;
pub mod streams;
pub mod time;

use evalx_core::{Isolation, LimitKind};

use crate::case::case;
use crate::{Case, Need};

/// Every case of the suite.
#[must_use]
pub fn cases() -> Vec<Case> {
    [ends(), time(), memory(), output(), program(), streams(), files(), sessions(), policy(), requests()]
        .concat()
}

fn limited(case: Case, kind: LimitKind) -> Case {
    case.needing(Need::Limit(kind))
}

fn ends() -> Vec<Case> {
    vec![
        case!(ends::every_exit_code),
        case!(ends::segmentation_fault),
        case!(ends::division_by_zero),
        case!(ends::bad_instruction),
        case!(ends::abort),
        case!(ends::kills_itself),
        case!(ends::terminates_itself),
        case!(ends::forged_limit_signals),
        case!(ends::exit_code_like_a_signal),
        limited(case!(ends::memory_over_exit), LimitKind::Memory),
        limited(case!(ends::output_over_exit), LimitKind::Output),
        limited(case!(ends::disk_over_signal), LimitKind::Disk),
        limited(case!(ends::processes_over_signal), LimitKind::Processes),
        case!(ends::cancelled_over_all),
        case!(ends::clean_report),
    ]
}

fn time() -> Vec<Case> {
    let cpu = |case: Case| limited(case, LimitKind::CpuTime).exclusive();
    let wall = |case: Case| limited(case, LimitKind::WallTime).exclusive();
    vec![
        cpu(case!(time::cpu_limit_of_50_ms)),
        cpu(case!(time::cpu_limit_of_200_ms)),
        cpu(case!(time::cpu_limit_of_1_s)),
        cpu(case!(time::cpu_limit_of_threads)).needing(Need::TwoProcessors),
        cpu(case!(time::cpu_limit_of_children)).needing(Need::TwoProcessors),
        cpu(case!(time::cpu_limit_of_system_calls)),
        wall(case!(time::wall_limit_of_50_ms)),
        wall(case!(time::wall_limit_of_300_ms)),
        wall(case!(time::wall_limit_of_children)),
        case!(time::who_stopped_it),
        case!(time::the_first_limit_wins),
        cpu(case!(time::cpu_time_is_measured)),
        case!(time::sleeping_costs_no_cpu).exclusive(),
        cpu(case!(time::user_and_system_time)),
        cpu(case!(time::user_and_system_time_of_the_stopped)),
        cpu(case!(time::cpu_of_waited_children)),
        cpu(case!(time::cpu_of_parallel_children)),
        case!(time::steps_are_measured_apart).exclusive(),
    ]
}

fn memory() -> Vec<Case> {
    let memory = |case: Case| limited(case, LimitKind::Memory);
    let processes = |case: Case| limited(case, LimitKind::Processes);
    vec![
        case!(memory::peak_of_next_to_nothing),
        case!(memory::peak_of_10_mib),
        case!(memory::peak_of_50_mib),
        case!(memory::peak_of_100_mib),
        memory(case!(memory::peak_of_children)),
        case!(memory::peak_of_each_step),
        case!(memory::peak_after_many_processes),
        memory(case!(memory::limit_met_at_once)),
        memory(case!(memory::limit_met_slowly)),
        memory(case!(memory::limit_met_by_children)),
        case!(memory::just_under_the_limit),
        case!(memory::address_space_is_free).needing(Need::Limit(LimitKind::Memory)),
        case!(memory::stack_limit),
        case!(memory::open_files_limit),
        processes(case!(memory::process_count)),
        processes(case!(memory::refused_process_and_success)),
        case!(memory::processes_one_after_the_other),
    ]
}

fn output() -> Vec<Case> {
    let disk = |case: Case| limited(case, LimitKind::Disk);
    vec![
        case!(output::stdout_at_the_limit),
        case!(output::stdout_over_the_limit),
        case!(output::stderr_at_the_limit),
        case!(output::stderr_over_the_limit),
        case!(output::each_stream_has_its_own),
        case!(output::no_output_allowed),
        case!(output::output_before_a_crash),
        disk(case!(output::disk_limit_of_all_places)),
        disk(case!(output::full_disk_and_success)),
        limited(case!(output::file_count), LimitKind::Files),
        disk(case!(output::disk_use_is_reported)),
        disk(case!(output::session_goes_on_after_a_full_disk)),
    ]
}

fn program() -> Vec<Case> {
    vec![
        case!(program::odd_arguments),
        case!(program::binary_arguments),
        case!(program::many_arguments),
        case!(program::long_argument),
        case!(program::odd_variables),
        case!(program::environment_of_its_own),
        case!(program::defaults_are_replaced),
        case!(program::starts_in_the_work_folder),
        case!(program::bare_name_in_path),
        case!(program::default_path_finds_the_shell),
        case!(program::path_of_a_program),
        case!(program::what_cannot_be_executed),
        case!(program::script_with_an_interpreter),
    ]
}

fn streams() -> Vec<Case> {
    vec![
        case!(streams::ten_mebibytes_through),
        case!(streams::every_byte_through),
        case!(streams::two_streams_apart),
        case!(streams::empty_stdin_ends_at_once),
        case!(streams::stdin_never_read),
        case!(streams::stdin_closed_early),
        case!(streams::silent_stdin_and_wall_limit),
        case!(streams::silent_stdin_and_exit),
        case!(streams::closing_stdin),
        case!(streams::stdin_as_it_comes),
        case!(streams::closed_stdout_is_no_end),
        case!(streams::children_that_hold_stdout),
        case!(streams::output_as_it_comes),
        case!(interaction::joined_both_ways),
        case!(interaction::joined_to_one_that_ends),
        case!(interaction::joined_stderr),
        case!(interaction::terminal_of_a_size).needing(Need::Terminal),
        case!(interaction::terminal_is_the_controlling_one).needing(Need::Terminal),
        case!(interaction::no_terminal_by_default),
        case!(interaction::terminal_is_resized).needing(Need::Terminal),
        case!(interaction::terminal_interrupt).needing(Need::Terminal),
    ]
}

fn files() -> Vec<Case> {
    vec![
        case!(files::placed_and_read_back),
        case!(files::written_by_the_program),
        case!(files::read_by_the_program),
        case!(files::executable_or_not),
        case!(files::folders_are_made),
        case!(files::files_are_replaced),
        case!(files::symlink_in_the_way_is_replaced),
        case!(files::fifo_in_the_way_is_replaced),
        case!(files::no_folder_above),
        limited(case!(files::file_beyond_the_disk), LimitKind::Disk),
        case!(files::read_has_a_limit),
        case!(files::only_regular_files_are_read),
        case!(artifacts::file_is_kept),
        case!(artifacts::kept_program_runs_elsewhere),
        case!(artifacts::tree_is_kept),
        case!(artifacts::only_files_are_kept_of_a_tree),
        case!(artifacts::only_files_and_folders_are_kept),
        case!(artifacts::artifact_of_the_host),
        case!(artifacts::artifact_cannot_be_changed),
    ]
}

fn sessions() -> Vec<Case> {
    let apart = |case: Case| case.needing(Need::Isolation(Isolation::Processes));
    vec![
        case!(sessions::steps_share_files),
        apart(case!(sessions::steps_share_no_processes)),
        case!(sessions::steps_share_no_ipc).needing(Need::Isolation(Isolation::Ipc)),
        case!(sessions::many_steps),
        case!(sessions::session_goes_on_after_a_limit),
        case!(sessions::sixteen_sessions_at_once),
        case!(sessions::no_output_is_lost),
        case!(sessions::cancel),
        case!(sessions::cancel_the_deaf),
        case!(sessions::signal_is_handled),
        case!(sessions::signal_ends_it),
        case!(sessions::dropped_run),
        case!(sessions::dropped_session),
        case!(sessions::unused_sessions),
        case!(sessions::nothing_alive_after_a_run),
        case!(sessions::nothing_alive_after_close),
        case!(sessions::work_folder_is_fresh),
        case!(sessions::sessions_share_no_files),
        case!(sessions::neighbours_share_no_files),
        case!(sessions::labels_are_harmless),
    ]
}

fn policy() -> Vec<Case> {
    let strict = |case: Case| case.needing(Need::StrictSyscalls);
    vec![
        strict(case!(policy::strict_names_socket)),
        strict(case!(policy::strict_names_ptrace)),
        strict(case!(policy::strict_names_fork)),
        strict(case!(policy::strict_lets_compute)),
        case!(policy::default_refuses_with_a_code).needing(Need::Isolation(Isolation::Syscalls)),
        case!(policy::network_leads_nowhere).needing(Need::Isolation(Isolation::Network)),
        case!(policy::no_network_by_default).needing(Need::Isolation(Isolation::Syscalls)),
        case!(policy::loopback_talks).needing(Need::Loopback),
        case!(policy::loopback_leads_nowhere).needing(Need::Loopback),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        case!(requests::limits_out_of_range),
        case!(requests::impossible_steps),
        case!(requests::unsupported_is_refused),
        case!(requests::isolation_is_held_or_refused),
        case!(requests::check_is_well),
        case!(requests::names_itself),
        case!(requests::shutdown_twice).owning(),
        case!(requests::shutdown_unused).owning(),
        case!(requests::shutdown_ends_sessions).owning(),
    ]
}
