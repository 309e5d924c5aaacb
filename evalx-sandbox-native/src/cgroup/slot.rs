//! [`SlotGroup`]: the groups of one slot, made and removed by the launcher.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use super::Plan;

/// The groups of one slot, in the order of the plan's folders.
#[derive(Debug)]
pub(crate) struct SlotGroup {
    pub(crate) folders: Vec<PathBuf>,
    unified: bool,
}

impl SlotGroup {
    /// Makes the groups of slot `index`, and hands them to `owner` where the
    /// zygote is to make groups of its own below.
    pub(crate) fn make(plan: &Plan, instance: &str, index: u64, owner: Option<u32>) -> io::Result<Self> {
        let mut group = Self { folders: Vec::new(), unified: matches!(plan, Plan::V2(_)) };
        match group.fill(plan, instance, index, owner) {
            Ok(()) => Ok(group),
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    fn fill(&mut self, plan: &Plan, instance: &str, index: u64, owner: Option<u32>) -> io::Result<()> {
        for base in plan.folders() {
            let top = base.join(format!("evalx.{instance}"));
            if !top.exists() {
                fs::create_dir(&top)?;
                if self.unified {
                    enable(&top)?;
                }
            }
            let folder = top.join(format!("slot-{index}"));
            fs::create_dir(&folder)?;
            self.folders.push(folder);
        }
        owner.map_or(Ok(()), |owner| self.hand_over(owner))
    }

    /// The groups that were made as these folders.
    pub(crate) const fn of(folders: Vec<PathBuf>, unified: bool) -> Self {
        Self { folders, unified }
    }

    /// Lets the zygote make groups below, and move itself between them: on v1
    /// in the memory and pids hierarchies, whose figures can't be reset.
    fn hand_over(&self, owner: u32) -> io::Result<()> {
        let (folders, files): (_, &[&str]) = if self.unified {
            (&self.folders[..], &["", "cgroup.procs", "cgroup.subtree_control"])
        } else {
            (&self.folders[..self.folders.len().min(2)], &["", "cgroup.procs"])
        };
        for folder in folders {
            for file in files {
                chown(folder.join(file), Some(owner), Some(owner))?;
            }
        }
        Ok(())
    }

    /// Moves the calling process in.
    pub(crate) fn enter(&self) -> io::Result<()> {
        for folder in &self.folders {
            fs::write(folder.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// How many processes the kernel killed here for want of memory. For a
    /// zygote that is gone; only v1 has the zygote itself as a member.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(memory) = self.folders.first().filter(|_| !self.unified) else { return 0 };
        figures(memory, "memory.oom_control", |text| super::meter::field(text, b"oom_kill ")).sum()
    }

    /// The peak of memory, for a zygote that is gone.
    pub(crate) fn memory_peak(&self) -> u64 {
        let Some(memory) = self.folders.first().filter(|_| !self.unified) else { return 0 };
        figures(memory, "memory.max_usage_in_bytes", super::meter::number).max().unwrap_or(0)
    }

    /// Removes the groups once no process is in them.
    pub(crate) fn remove(&self) {
        for folder in &self.folders {
            remove_tree(folder);
        }
    }
}

/// A figure of each group below a folder.
fn figures(folder: &Path, file: &str, read: impl Fn(&[u8]) -> Option<u64>) -> impl Iterator<Item = u64> {
    let groups = fs::read_dir(folder).into_iter().flatten().flatten();
    groups.filter_map(move |group| read(&fs::read(group.path().join(file)).ok()?))
}

fn enable(folder: &Path) -> io::Result<()> {
    let available = fs::read_to_string(folder.join("cgroup.controllers"))?;
    let wanted: Vec<String> = ["memory", "pids", "cpu"]
        .into_iter()
        .filter(|name| available.split_whitespace().any(|have| have == *name))
        .map(|name| format!("+{name}"))
        .collect();
    fs::write(folder.join("cgroup.subtree_control"), wanted.join(" "))
}

/// Removes a group and those below it. A group can be busy for a moment after
/// its last process was reaped, hence the bounded tries.
pub(crate) fn remove_tree(folder: &Path) {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_tree(&entry.path());
        }
    }
    for _ in 0..200 {
        match fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                let _ = nix::poll::poll(&mut [], 5u8);
            }
            _ => return,
        }
    }
}

/// Kills every process in a group left by a dead instance, then removes it.
pub(crate) fn destroy(folder: &Path) {
    for _ in 0..100 {
        let mut alive = false;
        kill_below(folder, &mut alive);
        if !alive {
            break;
        }
        let _ = nix::poll::poll(&mut [], 5u8);
    }
    remove_tree(folder);
}

fn kill_below(folder: &Path, alive: &mut bool) {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            kill_below(&entry.path(), alive);
        }
    }
    for line in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = line.parse::<i32>()
            && pid > 1
        {
            *alive = true;
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
