//! Class 3: programs that use up time, or evade its being counted.

use evalx_core::LimitKind;

use super::{Attack, Bounds, Class, End};
use crate::Need;

/// CPU time runs out long before wall time.
const BUSY: Bounds = Bounds { cpu_ms: 150, wall_ms: 2000, ..Bounds::SMALL };
/// Wall time runs out, whatever happens.
const IDLE: Bounds = Bounds { wall_ms: 300, ..Bounds::SMALL };
const WHOLE: &[Need] = &[Need::Limit(LimitKind::CpuTime)];

const fn busy(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Time, name, arguments).within(BUSY).ends(&[End::Cpu]).needing(WHOLE)
}

const fn idle(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Time, name, arguments).within(IDLE).ends(&[End::Wall])
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    busy("spins", &["spin"]),
    busy("threads_spin", &["spin-threads", "8"]),
    busy("children_spin", &["spin-children", "8"]),
    busy("orphans_spin", &["spin-orphans"]),
    busy("short_children_spin", &["spin-short-children"]),
    busy("spins_and_executes_itself", &["spin-exec"]),
    busy("spins_in_the_kernel", &["spin-calls", "getppid"]),
    busy("spins_by_yielding", &["spin-calls", "yield"]),
    busy("evades_the_ticks", &["evade-ticks"]),
    busy("ignores_sigxcpu_and_raises_its_limit", &["spin-ignoring"]),
    busy("storm_of_alarms", &["alarm-storm"]).ends(&[End::Cpu, End::Wall]),
    idle("pauses", &["sleep-ever"]),
    idle("sleeps_in_children", &["sleep-children"]),
    idle("trickles_output", &["trickle"]),
    idle("vfork_without_exec", &["vfork-pause"]),
    idle("waits_on_a_futex", &["futex-wait"]),
    idle("waits_on_a_fifo", &["fifo-wait"]),
    idle("waits_on_its_own_lock", &["lock-wait"]),
    idle("holds_its_own_stdin_open", &["stdin-held-open"]).ends(&[End::Wall, End::Held]),
    Attack::new(Class::Time, "flood_of_timers", &["timer-flood"]).ends(&[
        End::Held,
        End::Memory,
        End::Cpu,
        End::Wall,
    ]),
];
