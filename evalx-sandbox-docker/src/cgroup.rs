//! Control groups for steps, made by this process below a container's own
//! (cgroup v1, as root on the engine's machine).
//!
//! The engine's API can't make one, and a container can't write to its own. A
//! group for each step gives it limits and figures that are nobody else's, at
//! the price of a few writes, where changing a container's limits by the API
//! takes some twenty milliseconds.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::error::DockerError;

const ROOT: &str = "/sys/fs/cgroup";
/// The hierarchies that a step has a group in; `cpu`, so that the agent's
/// supervisor need not wait its turn among a program's threads.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpuacct", "cpu"];
/// The cell, which counts as a process but is none of the program's.
const OWN_PROCESSES: u64 = 1;

/// The control groups of a container.
#[derive(Debug)]
pub(crate) struct Groups {
    maker: Arc<Maker>,
    /// Those of the cells that wait, in the order of their making.
    waiting: VecDeque<StepGroup>,
    current: Option<StepGroup>,
    /// Those of steps that are over.
    spent: Vec<StepGroup>,
    /// What the last step was limited to, as the next will probably be.
    limits: Option<StepLimits>,
}

/// What makes groups below a container's own, and knows its agent's processes.
#[derive(Debug)]
struct Maker {
    /// The container's folder in each hierarchy.
    folders: Vec<PathBuf>,
    supervisor: u32,
    next: AtomicU64,
}

/// Bytes of memory, and processes.
type StepLimits = (u64, u64);

/// The groups of one step; removed when dropped.
#[derive(Debug)]
pub(crate) struct StepGroup {
    name: String,
    folders: Vec<PathBuf>,
    limits: Option<StepLimits>,
}

/// A cell on its way to a group of its own.
pub(crate) type Moving = JoinHandle<Result<StepGroup, DockerError>>;

impl Drop for StepGroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The engine removes what is left with the container.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl StepGroup {
    /// Sets limits, unless they are set already.
    fn limit(&mut self, limits: StepLimits) -> io::Result<()> {
        let [memory_folder, pids_folder, ..] = &self.folders[..] else { return Ok(()) };
        let before = self.limits.replace(limits);
        if before == Some(limits) {
            return Ok(());
        }
        let (memory, processes) = limits;
        let alone = || set(memory_folder, "memory.limit_in_bytes", memory);
        let with_swap = || match set(memory_folder, "memory.memsw.limit_in_bytes", memory) {
            // Swap is not accounted here, and there is a swappiness to say so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                set(memory_folder, "memory.swappiness", 0)
            }
            result => result,
        };
        // At no time may the limit with swap be the lower one.
        if before.is_some_and(|(before, _)| before < memory) {
            with_swap()?;
            alone()?;
        } else {
            alone()?;
            with_swap()?;
        }
        set(pids_folder, "pids.max", processes.saturating_add(OWN_PROCESSES))
    }
}

impl Maker {
    fn make(&self) -> io::Result<StepGroup> {
        let name = format!("evalx-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut made = StepGroup { name, folders: Vec::new(), limits: None };
        for folder in &self.folders {
            let path = folder.join(&made.name);
            match fs::create_dir(&path) {
                Ok(()) => made.folders.push(path),
                // `cpu` and `cpuacct` may be one hierarchy.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !made.folders.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Puts the cell that the supervisor knows by this number in a new group.
    fn put(&self, cell: u64, limits: Option<StepLimits>) -> Result<StepGroup, DockerError> {
        let own = |pid: u32| is_cell(pid, cell);
        let pid = child_of(self.supervisor, own)
            .and_then(|pid| pid.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(failed("could not find a cell"))?;
        let mut group = self.make().map_err(failed("could not make a control group"))?;
        for folder in &group.folders {
            set(folder, "cgroup.procs", pid.into()).map_err(failed("could not move a cell to its group"))?;
        }
        if let Some(limits) = limits {
            group.limit(limits).map_err(failed("could not set a step's limits"))?;
        }
        Ok(group)
    }
}

impl Groups {
    /// The groups of the container whose first process is `guard`, if this
    /// process may make others below them.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub(crate) fn find(guard: u32) -> io::Result<Self> {
        let absent = |what: &str| io::Error::new(io::ErrorKind::NotFound, what.to_owned());
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            return Err(absent("cgroup v2 gives no groups below one that has processes"));
        }
        let text = fs::read_to_string(format!("/proc/{guard}/cgroup"))?;
        let folder = |controller: &str| {
            let path = text.lines().find_map(|line| {
                let (names, path) = line.split_once(':')?.1.split_once(':')?;
                names.split(',').any(|name| name == controller).then_some(path)
            });
            let path = path.map(|path| Path::new(ROOT).join(controller).join(path.trim_start_matches('/')));
            path.filter(|path| path.is_dir()).ok_or_else(|| absent(controller))
        };
        let folders = CONTROLLERS.into_iter().map(folder).collect::<io::Result<Vec<_>>>()?;
        let supervisor = child_of(guard, |_| true)?.ok_or_else(|| absent("the agent's supervisor"))?;
        let maker = Arc::new(Maker { folders, supervisor, next: AtomicU64::new(1) });
        // Whether it works is best found out by doing it.
        drop(maker.make()?);
        Ok(Self { maker, waiting: VecDeque::new(), current: None, spent: Vec::new(), limits: None })
    }

    /// Begins to put the cell that the supervisor knows by this number in a new group.
    ///
    /// The kernel may take ten milliseconds to move a process, until every
    /// processor has been idle once: nobody waits for that who has another cell.
    pub(crate) fn put(&mut self, cell: u64) -> Moving {
        let (maker, limits, spent) = (Arc::clone(&self.maker), self.limits, std::mem::take(&mut self.spent));
        tokio::task::spawn_blocking(move || {
            let put = maker.put(cell, limits);
            drop(spent);
            put
        })
    }

    /// Takes note of a cell that is in its group; the group's name.
    pub(crate) fn add(&mut self, group: StepGroup) -> String {
        let name = group.name.clone();
        self.waiting.push_back(group);
        name
    }

    /// Takes the group of the cell that has waited longest, and gives it the
    /// limits of its step. The step before is over.
    pub(crate) fn take(&mut self, memory: u64, processes: u64) -> Result<(), DockerError> {
        self.spent.extend(self.current.take());
        self.limits = Some((memory, processes));
        let Some(mut group) = self.waiting.pop_front() else { return Ok(()) };
        let limited = group.limit((memory, processes)).map_err(failed("could not set a step's limits"));
        self.current = Some(group);
        limited
    }
}

fn set(folder: &Path, file: &str, value: u64) -> io::Result<()> {
    fs::write(folder.join(file), value.to_string())
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> DockerError {
    move |source| DockerError::Group { what, source }
}

/// The first child of a process that is as asked.
fn child_of(pid: u32, is: impl Fn(u32) -> bool) -> io::Result<Option<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|child| child.parse().ok()).find(|child| is(*child)))
}

/// Whether this is a cell, and the supervisor calls it so: it is the first
/// process of its own PID namespace, and `number` in the one above.
fn is_cell(pid: u32, number: u64) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    matches!(numbers[..], [.., above, 1] if above == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_this_namespace_is_no_cell() {
        assert!(!is_cell(std::process::id(), u64::from(std::process::id())));
    }

    #[test]
    fn a_container_that_is_not_there_has_no_groups() {
        assert!(Groups::find(u32::MAX).is_err());
    }
}
