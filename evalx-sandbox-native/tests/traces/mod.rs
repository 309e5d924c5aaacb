//! What the sandboxes of a process have on this machine, seen from outside.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A process that belongs to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    role: Role,
}

/// What a process is there for, as far as it shows from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Launcher,
    Zygote,
    /// A cell, a program, or a child of one.
    Other,
}

/// Where the sandboxes of one host process show.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    state: PathBuf,
    host: u32,
}

impl Traces {
    /// Those of the process `host` that keeps its state in `state`.
    pub(crate) fn of(state: &Path, host: u32) -> Self {
        Self { state: state.to_owned(), host }
    }

    /// The start of the names of its instances.
    fn name(&self) -> String {
        format!("{}-", self.host)
    }

    /// Launchers, zygotes and cells by their command line, programs by their
    /// cgroup. One that is dead and was not waited for yet is left out.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let folder = format!("folder={}/{}", self.state.display(), self.name());
        let group = format!("/evalx.{}", self.name());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mut found = Vec::new();
        for pid in pids {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let own = line.starts_with(b"evalx-launcher\0")
                && line.windows(folder.len()).any(|window| window == folder.as_bytes());
            let member =
                || fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&group));
            if !own && !member() {
                continue;
            }
            if let Some(parent) = living(pid) {
                let role = if own { role(pid) } else { Role::Other };
                found.push(Process { pid, parent, role });
            }
        }
        found
    }

    /// The launchers, of which each sandbox has one.
    pub(crate) fn launchers(&self) -> Vec<i32> {
        self.playing(Role::Launcher)
    }

    /// Their children, of which each slot has one.
    pub(crate) fn zygotes(&self) -> Vec<i32> {
        self.playing(Role::Zygote)
    }

    fn playing(&self, role: Role) -> Vec<i32> {
        let all = self.processes().into_iter();
        all.filter(|process| process.role == role).map(|process| process.pid).collect()
    }

    /// Cgroups of its instances, in every hierarchy.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for mount in cgroup_mounts() {
            find_groups(&mount, &format!("evalx.{}", self.name()), &mut found);
        }
        found
    }

    /// Folders of its instances.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.state) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&self.name()))
            .map(|entry| entry.path())
            .collect()
    }

    /// Mounts below the state folder that this process sees.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let state = format!(" {}/", self.state.display());
        text.lines().filter(|line| line.contains(&state)).map(str::to_owned).collect()
    }

    /// Whether nothing at all is left; else what is.
    pub(crate) fn gone(&self) -> Result<(), String> {
        let mut left = String::new();
        let (launchers, zygotes) = (self.launchers(), self.zygotes());
        for Process { pid, parent, .. } in self.processes() {
            let role = match pid {
                pid if launchers.contains(&pid) => "launcher",
                pid if zygotes.contains(&pid) => "zygote",
                _ => "process",
            };
            let _ = write!(left, "\n  {role} {pid} of {parent}");
        }
        for path in self.groups().into_iter().chain(self.folders()) {
            let _ = write!(left, "\n  {}", path.display());
        }
        for mount in self.mounts() {
            let _ = write!(left, "\n  the mount {mount}");
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    }
}

/// The parent, unless the process has ended.
fn living(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have spaces and parentheses of its own.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.next()?.parse().ok()
}

/// What a process that has not executed since it was a fork of a launcher is:
/// a launcher is in the host's PID namespace, a zygote the first of one below,
/// and what a zygote makes is one deeper still.
fn role(pid: i32) -> Role {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    match ids.split_whitespace().collect::<Vec<_>>().as_slice() {
        [_] => Role::Launcher,
        [_, "1"] => Role::Zygote,
        _ => Role::Other,
    }
}

fn cgroup_mounts() -> BTreeSet<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup").then(|| left.split(' ').nth(4).map(PathBuf::from))?
    });
    mounts.collect()
}

fn find_groups(folder: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        } else {
            find_groups(&entry.path(), prefix, found);
        }
    }
}

/// What this process itself holds: open descriptors; and the machine's
/// objects of System V IPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    descriptors: Vec<String>,
    ipc: usize,
}

impl Holdings {
    pub(crate) fn now() -> Self {
        let names = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let mut descriptors: Vec<String> = names
            .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
            // The one that the list is read by, and numbers that tell nothing.
            .filter(|target| !target.contains("/proc/"))
            .map(|target| target.split(":[").next().unwrap_or_default().to_owned())
            .collect();
        descriptors.sort();
        let tables = ["shm", "msg", "sem"].iter();
        let ipc = tables
            .filter_map(|table| fs::read_to_string(format!("/proc/sysvipc/{table}")).ok())
            .map(|text| text.lines().count().saturating_sub(1))
            .sum();
        Self { descriptors, ipc }
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors.len()
    }

    pub(crate) const fn ipc(&self) -> usize {
        self.ipc
    }

    /// Whether there is no more now than there was then; else what there is.
    pub(crate) fn restored(&self) -> Result<(), String> {
        let now = Self::now();
        if now.descriptors() <= self.descriptors() && now.ipc() <= self.ipc() {
            return Ok(());
        }
        Err(format!("\n  before: {self:?}\n  now: {now:?}"))
    }
}

/// Waits until `state` is well, for at most that long; else how it was last.
pub(crate) fn eventually<T>(
    most: Duration,
    mut state: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let deadline = Instant::now() + stretched(most);
    loop {
        match state() {
            Err(problem) if Instant::now() >= deadline => return Err(problem),
            Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
            Ok(value) => return Ok(value),
        }
    }
}

/// `time`, stretched as `EVALX_TIME_SCALE` says.
pub(crate) fn stretched(time: Duration) -> Duration {
    let scale = std::env::var("EVALX_TIME_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    time.mul_f64(scale)
}
