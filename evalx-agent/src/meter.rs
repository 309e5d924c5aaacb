//! What a step uses, read from the control groups that the engine shows the
//! container, v1 or v2.
//!
//! The groups can't be written to from inside. Where the host has put the cell
//! in a group of its own, that group's figures are the step's; else they are
//! the whole container's, and what it had used before is taken off.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

const ROOT: &str = "/sys/fs/cgroup";

/// A folder of control groups; none where there is no such controller.
type Folder = Option<OwnedFd>;

/// Where the groups of the container are, open: a path is dear, see
/// [`Ground`](crate::workspace::Ground).
#[derive(Debug)]
pub(crate) struct Meters {
    roots: Files,
}

/// Reads the figures of one group.
#[derive(Debug)]
pub(crate) struct Meter {
    files: Files,
    /// Whether the group was made for one step.
    own: bool,
    /// What the group had used before the step.
    before: Usage,
}

/// What a group has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_ns: u64,
    pub(crate) user: u64,
    pub(crate) system: u64,
    pub(crate) memory: u64,
    pub(crate) memory_peak: u64,
    pub(crate) oom_kills: u64,
    pub(crate) processes_peak: u64,
    pub(crate) forks_refused: u64,
}

#[derive(Debug)]
enum Files {
    V1 { cpu: Folder, memory: Folder, pids: Folder },
    V2 { group: Folder },
}

/// What a file says; nothing, if it can't be read.
fn text(folder: &Folder, name: &str) -> String {
    let Some(folder) = folder else { return String::new() };
    let file = openat(folder, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    // All that is asked for is within the first page, which is read at once.
    let mut page = [0; 4096];
    let read = file.and_then(|file| nix::unistd::read(&file, &mut page)).unwrap_or(0);
    String::from_utf8_lossy(&page[..read]).into_owned()
}

fn number(folder: &Folder, name: &str) -> u64 {
    text(folder, name).trim().parse().unwrap_or(0)
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

/// Opens a group below a folder; with no name, the folder again.
fn below(folder: &Folder, group: &str) -> Folder {
    let name = if group.is_empty() { "." } else { group };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(folder.as_ref()?, name, flags, Mode::empty()).ok()
}

impl Meters {
    /// Finds the container's own groups.
    pub(crate) fn find() -> Self {
        let root = Path::new(ROOT);
        let open = |path: &Path| File::open(path).ok().map(OwnedFd::from);
        let roots = if root.join("cgroup.controllers").exists() {
            Files::V2 { group: open(root) }
        } else {
            // Where they are one hierarchy, both names lead to it.
            let of = |controller: &str| open(&root.join(controller));
            Files::V1 { cpu: of("cpuacct"), memory: of("memory"), pids: of("pids") }
        };
        Self { roots }
    }

    /// Starts measuring the group of this name, or the container.
    pub(crate) fn start(&self, group: &str) -> Meter {
        let files = match &self.roots {
            Files::V1 { cpu, memory, pids } => {
                Files::V1 { cpu: below(cpu, group), memory: below(memory, group), pids: below(pids, group) }
            }
            Files::V2 { group: root } => Files::V2 { group: below(root, group) },
        };
        let mut meter = Meter { files, own: !group.is_empty(), before: Usage::default() };
        if meter.own {
            // In a new group the cell alone has been, which only took CPU time.
            (meter.before.cpu_ns, meter.before.user, meter.before.system) = meter.cpu();
        } else {
            meter.before = meter.read();
        }
        meter
    }
}

impl Meter {
    /// Processes in the group that are not the program's: the cell, and
    /// without a group of its own the guard and the supervisor.
    fn own_processes(&self) -> u64 {
        if self.own { 1 } else { 3 }
    }

    pub(crate) fn has_own_group(&self) -> bool {
        self.own
    }

    /// CPU time in nanoseconds, and its parts in user mode and in the kernel.
    fn cpu(&self) -> (u64, u64, u64) {
        match &self.files {
            Files::V1 { cpu, .. } => {
                let of = |name| number(cpu, name);
                (of("cpuacct.usage"), of("cpuacct.usage_user"), of("cpuacct.usage_sys"))
            }
            Files::V2 { group } => {
                let text = text(group, "cpu.stat");
                let of = |name| field(&text, name);
                (of("usage_usec").saturating_mul(1000), of("user_usec"), of("system_usec"))
            }
        }
    }

    /// Where the figures of memory and of processes are, and what the files of
    /// the former are called: used now, used at most, and what went wrong.
    fn files(&self) -> (&Folder, &Folder, [&'static str; 3]) {
        match &self.files {
            Files::V1 { memory, pids, .. } => {
                (memory, pids, ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"])
            }
            Files::V2 { group } => (group, group, ["memory.current", "memory.peak", "memory.events"]),
        }
    }

    fn read(&self) -> Usage {
        let (cpu_ns, user, system) = self.cpu();
        let (memory, pids, [now, peak, wrong]) = self.files();
        Usage {
            cpu_ns,
            user,
            system,
            memory: number(memory, now),
            memory_peak: number(memory, peak),
            oom_kills: field(&text(memory, wrong), "oom_kill"),
            processes_peak: number(pids, "pids.peak"),
            forks_refused: field(&text(pids, "pids.events"), "max"),
        }
    }

    /// CPU time since the start.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let now = match &self.files {
            Files::V1 { cpu, .. } => number(cpu, "cpuacct.usage"),
            Files::V2 { .. } => self.cpu().0,
        };
        now.saturating_sub(self.before.cpu_ns)
    }

    /// Processes killed for want of memory since the start.
    pub(crate) fn oom_kills(&self) -> u64 {
        let (memory, _, [.., wrong]) = self.files();
        field(&text(memory, wrong), "oom_kill").saturating_sub(self.before.oom_kills)
    }

    /// What was used since the start.
    pub(crate) fn usage(&self) -> Usage {
        let (now, before) = (self.read(), self.before);
        Usage {
            cpu_ns: now.cpu_ns.saturating_sub(before.cpu_ns),
            user: now.user.saturating_sub(before.user),
            system: now.system.saturating_sub(before.system),
            memory: now.memory.saturating_sub(before.memory),
            // The kernel charges in batches: a small program may take no more than
            // what the cell's last one has left, and yet has used something.
            memory_peak: if self.own {
                now.memory_peak
            } else {
                now.memory_peak.saturating_sub(before.memory)
            },
            oom_kills: now.oom_kills.saturating_sub(before.oom_kills),
            // Of a group that lives on, the peak may be an earlier step's.
            processes_peak: if self.own {
                now.processes_peak.saturating_sub(self.own_processes())
            } else {
                0
            },
            forks_refused: now.forks_refused.saturating_sub(before.forks_refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart() {
        assert_eq!(field("oom 1\noom_kill 3\n", "oom_kill"), 3);
        assert_eq!(field("oom 1\n", "oom_kill"), 0);
        assert_eq!(field("max 7\n", "max"), 7);
    }
}
