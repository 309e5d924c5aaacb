//! Class 1: processes that multiply, hide, outlive, and signal what is not theirs.

use evalx_core::{Isolation, LimitKind};

use super::{Attack, Bounds, Class, End};
use crate::Need;

const BRIEF: Bounds = Bounds { cpu_ms: 300, wall_ms: 1000, ..Bounds::SMALL };
const FEW: &[Need] = &[Need::Limit(LimitKind::Processes)];
const APART: &[Need] = &[Need::Isolation(Isolation::Processes)];
const GUARDED: &[Need] = &[Need::Isolation(Isolation::Syscalls)];
const STOPPED: &[End] = &[End::Cpu, End::Wall];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Process, name, arguments).within(BRIEF)
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("fork_bomb", &["fork-bomb"]).ends(STOPPED).needing(FEW),
    attack("vfork_bomb", &["vfork-bomb"]).ends(STOPPED).needing(FEW),
    attack("thread_bomb", &["thread-bomb"]).ends(STOPPED).needing(FEW),
    attack("exec_chain", &["exec-chain"]).ends(STOPPED),
    attack("zombie_flood", &["zombies"]).ends(&[End::Processes]).needing(FEW),
    attack("pid_hopper", &["pid-hopper"]),
    attack("daemon_by_setsid", &["daemon", "setsid"]),
    attack("daemon_by_double_fork", &["daemon", "double"]),
    attack("daemon_with_closed_streams", &["daemon", "closed"]),
    attack("daemon_that_spins", &["daemon", "spin"]),
    attack("daemon_without_pdeathsig", &["daemon", "pdeathsig"]),
    attack("daemon_of_a_subreaper", &["daemon", "subreaper"]),
    attack("daemon_as_a_sibling", &["daemon", "clone-parent"]),
    attack("orphan_holds_stdout", &["orphan-output", "30000"]),
    attack("children_spin_on", &["spin-children", "4", "0", "leave"]),
    attack("ignores_every_signal", &["ignore-signals"]).ends(&[End::Wall]),
    attack("stops_its_group", &["stop-group"]).ends(&[End::Wall]),
    attack("stops_itself", &["stop-self"]).ends(&[End::Wall]),
    attack("main_thread_exits", &["main-thread-exits"]).ends(STOPPED),
    attack("kills_everyone", &["kill-everyone", "9"]).needing(APART),
    attack("stops_everyone", &["kill-everyone", "19"]).needing(APART),
    attack("kills_init_by_every_signal", &["kill-init"]).needing(APART),
    attack("sees_strangers_by_signal_0", &["signal-strangers"]).needing(APART),
    attack("sees_strangers_in_proc", &["proc-list", "2"]).needing(APART),
    attack("limits_of_init", &["prlimit-init"]).needing(APART),
    attack("traced_by_init", &["traceme"]).ends(&[End::Held, End::Wall]),
    attack("lower_niceness", &["raise-priority", "nice"]).needing(GUARDED),
    attack("real_time_fifo", &["raise-priority", "fifo"]).needing(GUARDED),
    attack("real_time_round_robin", &["raise-priority", "rr"]).needing(GUARDED),
    attack("real_time_io", &["raise-priority", "io"]).needing(GUARDED),
    attack("raises_its_hard_limits", &["raise-rlimits"]).needing(GUARDED),
    attack("spared_by_the_oom_killer", &["oom-score"]).needing(GUARDED),
];
