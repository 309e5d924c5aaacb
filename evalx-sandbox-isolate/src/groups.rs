//! [`Groups`]: the control groups that isolate makes for a box, and what they
//! have counted.
//!
//! Where they are is told by a program that ran in one: isolate's own
//! configuration is compiled into it as a path, and not for others to guess.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folders in which isolate makes the group `box-N` of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// cgroup v1: one folder for each controller.
    V1 { memory: PathBuf, cpuacct: PathBuf },
    /// cgroup v2.
    V2 { folder: PathBuf },
}

/// What the groups of a box have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cpu_time: Duration,
    pub(crate) user_time: Duration,
    pub(crate) system_time: Duration,
    pub(crate) oom_kills: u64,
}

impl Figures {
    /// Without the CPU time that was used before.
    pub(crate) fn without(self, before: Duration) -> Self {
        let cpu_time = self.cpu_time.saturating_sub(before);
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (user_time, system_time) = divide(cpu_time, ns(self.user_time), ns(self.system_time));
        Self { cpu_time, user_time, system_time, ..self }
    }
}

impl Groups {
    /// From the text of `/proc/self/cgroup` as a program in box `number` saw
    /// it; `None` if that program was in no group of isolate's.
    pub(crate) fn from_inside(text: &str, number: u32) -> Option<Self> {
        let parents = |controller: &str| {
            let path = text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                controllers.split(',').any(|name| name == controller).then_some(path)
            })?;
            let parent = path.strip_suffix(&format!("/box-{number}"))?;
            Some(mounted(controller)?.join(parent.trim_start_matches('/')))
        };
        match (parents("memory"), parents("cpuacct")) {
            (Some(memory), Some(cpuacct)) => Some(Self::V1 { memory, cpuacct }),
            _ => Some(Self::V2 { folder: parents("")? }),
        }
    }

    /// `cgroup v1` or `cgroup v2`.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "cgroup v1",
            Self::V2 { .. } => "cgroup v2",
        }
    }

    /// The CPU time that the box's tree has used.
    pub(crate) fn cpu_time(&self, number: u32) -> Option<Duration> {
        match self {
            Self::V1 { cpuacct, .. } => {
                read_number(&group(cpuacct, number).join("cpuacct.usage")).map(Duration::from_nanos)
            }
            Self::V2 { folder } => {
                let text = fs::read_to_string(group(folder, number).join("cpu.stat")).ok()?;
                keyed(&text, "usage_usec").map(Duration::from_micros)
            }
        }
    }

    /// All that was counted since the box was initialised.
    pub(crate) fn figures(&self, number: u32) -> Option<Figures> {
        let cpu_time = self.cpu_time(number)?;
        let (user, system, oom_kills) = match self {
            Self::V1 { memory, cpuacct } => {
                let cpu = group(cpuacct, number);
                let text =
                    fs::read_to_string(group(memory, number).join("memory.oom_control")).unwrap_or_default();
                (
                    read_number(&cpu.join("cpuacct.usage_user")).unwrap_or(0),
                    read_number(&cpu.join("cpuacct.usage_sys")).unwrap_or(0),
                    keyed(&text, "oom_kill").unwrap_or(0),
                )
            }
            Self::V2 { folder } => {
                let group = group(folder, number);
                let cpu = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
                let events = fs::read_to_string(group.join("memory.events")).unwrap_or_default();
                (
                    keyed(&cpu, "user_usec").unwrap_or(0),
                    keyed(&cpu, "system_usec").unwrap_or(0),
                    keyed(&events, "oom_kill").unwrap_or(0),
                )
            }
        };
        let (user_time, system_time) = divide(cpu_time, user, system);
        Some(Figures { cpu_time, user_time, system_time, oom_kills })
    }

    /// The v2 group of a box, in which a pids controller may be.
    pub(crate) fn unified(&self, number: u32) -> Option<PathBuf> {
        match self {
            Self::V1 { .. } => None,
            Self::V2 { folder } => Some(group(folder, number)),
        }
    }
}

fn group(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("box-{number}"))
}

/// The kernel tells user from system time by samples; the sum is exact
/// elsewhere, and is divided as the samples are.
fn divide(whole: Duration, user: u64, system: u64) -> (Duration, Duration) {
    let sum = user.saturating_add(system);
    if sum == 0 {
        return (whole, Duration::ZERO);
    }
    let nanoseconds = whole.as_nanos() * u128::from(user) / u128::from(sum);
    let user = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    (user, whole.saturating_sub(user))
}

/// The number in a file of one.
pub(crate) fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a key, in a file of lines of both.
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Where the hierarchy of this controller is mounted; that of v2 for none.
pub(crate) fn mounted(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let system = kind.next()?;
        let options = kind.nth(1)?;
        let is_it = match controller {
            "" => system == "cgroup2",
            _ => system == "cgroup" && options.split(',').any(|option| option == controller),
        };
        is_it.then(|| place.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// This process's own group in the v1 hierarchy of this controller.
pub(crate) fn own(controller: &str) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })?;
    Some(mounted(controller)?.join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
        assert_eq!(keyed("usage_usec 17", "usage_usec"), Some(17));
        assert_eq!(keyed("usage_usec x", "usage_usec"), None);
    }

    #[test]
    fn time_is_divided_as_the_samples_are() {
        let second = Duration::from_secs(1);
        assert_eq!(divide(second, 3, 1), (Duration::from_millis(750), Duration::from_millis(250)));
        assert_eq!(divide(second, 0, 0), (second, Duration::ZERO));
        assert_eq!(divide(second, u64::MAX, 1).1, Duration::ZERO);
    }

    #[test]
    fn a_program_outside_isolates_groups_is_in_none() {
        assert_eq!(Groups::from_inside("4:memory:/user\n2:cpuacct:/user\n0::/\n", 5), None);
        assert_eq!(Groups::from_inside("", 5), None);
        // Of another box, or one whose number only ends alike.
        assert_eq!(Groups::from_inside("4:memory:/box-15\n2:cpuacct:/box-15\n", 5), None);
    }
}
