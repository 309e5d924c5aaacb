//! Control groups: which ones this process may use, found before anything starts.
//!
//! What a slot does with them is in [`slot`] (made by the launcher), [`renew`]
//! (new ones for the next step) and [`meter`] (limits and figures of one step).

pub(crate) mod meter;
pub(crate) mod renew;
pub(crate) mod slot;

use std::fs;
use std::path::{Path, PathBuf};

use evalx_core::{Error, ErrorKind, Result};

use crate::config::Cgroup;

/// The cgroup v1 controllers a slot is a member of. `cpu` gives each slot an
/// equal share whatever its number of threads, and is left out where absent.
pub(crate) const V1_CONTROLLERS: [&str; 4] = ["memory", "pids", "cpuacct", "cpu"];

/// Below which folders the slots' groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// One folder in each hierarchy, in the order of [`V1_CONTROLLERS`].
    V1(Vec<PathBuf>),
    /// One folder whose controllers can be handed down.
    V2(PathBuf),
    /// None: the operator chose rlimits only.
    Rlimits,
}

impl Plan {
    /// What to call it when saying which mechanism holds a limit.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::V1(_) => "cgroup v1",
            Self::V2(_) => "cgroup v2",
            Self::Rlimits => "rlimits",
        }
    }

    /// The folders, as the launcher is told them.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        match self {
            Self::V1(folders) => folders,
            Self::V2(folder) => std::slice::from_ref(folder),
            Self::Rlimits => &[],
        }
    }

    /// Finds what `choice` allows and this machine has.
    pub(crate) fn find(choice: &Cgroup) -> Result<Self> {
        let missing = |why: String| {
            Error::new(ErrorKind::Unsupported, format!("no usable cgroup: {why}")).with_help(
                "run as root; or in a delegated cgroup v2 subtree: put `systemd-run --user --scope -p Delegate=yes \
                 env EVALX_CGROUP=adopt` before the command, or name one by EVALX_CGROUP=/sys/fs/cgroup/…",
            )
        };
        let mounts = Mounts::read().map_err(|error| missing(error.to_string()))?;
        match choice {
            Cgroup::RlimitsOnly => Ok(Self::Rlimits),
            Cgroup::Path(path) => {
                hand_down(path).map_err(|error| missing(format!("{}: {error}", path.display())))?;
                Ok(Self::V2(path.clone()))
            }
            Cgroup::Adopt => adopt(&mounts).map(Self::V2).map_err(missing),
            Cgroup::Auto => {
                let v1 = mounts.v1();
                let v2 = mounts.v2();
                v1.or_else(|v1| v2.map_err(|v2| missing(format!("{v1}; {v2}"))))
            }
        }
    }
}

/// Enables the controllers for the groups below `folder`.
fn hand_down(folder: &Path) -> Result<(), String> {
    let available =
        fs::read_to_string(folder.join("cgroup.controllers")).map_err(|error| error.to_string())?;
    for controller in ["memory", "pids"] {
        if !available.split_whitespace().any(|name| name == controller) {
            return Err(format!("the {controller} controller is not available"));
        }
    }
    // `cpu` gives equal shares; its absence weakens no limit.
    let wanted = if available.split_whitespace().any(|name| name == "cpu") {
        "+memory +pids +cpu"
    } else {
        "+memory +pids"
    };
    fs::write(folder.join("cgroup.subtree_control"), wanted)
        .map_err(|error| format!("its controllers can't be handed down ({error})"))
}

/// Moves this process to a leaf of its own cgroup, so that controllers can be
/// enabled beside it: a group of v2 has processes or controlled children, not both.
fn adopt(mounts: &Mounts) -> Result<PathBuf, String> {
    let own = mounts.own_v2().ok_or("there is no cgroup v2 mount")?;
    if own.file_name().is_some_and(|name| name == "evalx-host") {
        let parent = own.parent().ok_or("the cgroup has no parent")?.to_owned();
        hand_down(&parent)?;
        return Ok(parent);
    }
    let leaf = own.join("evalx-host");
    fs::create_dir_all(&leaf).map_err(|error| format!("{}: {error}", leaf.display()))?;
    let processes = fs::read_to_string(own.join("cgroup.procs")).map_err(|error| error.to_string())?;
    for process in processes.lines() {
        // One that has just ended need not be moved.
        let _ = fs::write(leaf.join("cgroup.procs"), process);
    }
    hand_down(&own)?;
    Ok(own)
}

/// A mounted cgroup hierarchy and this process's own group in it.
#[derive(Debug)]
struct Hierarchy {
    /// The controllers, empty for v2.
    controllers: Vec<String>,
    mount: PathBuf,
    own: PathBuf,
}

#[derive(Debug)]
struct Mounts(Vec<Hierarchy>);

impl Mounts {
    fn read() -> std::io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(&mounts, &own))
    }

    /// Reads `mountinfo` and `cgroup` of `/proc/self`; see proc(5), cgroups(7).
    fn parse(mounts: &str, own: &str) -> Self {
        let mut found = Vec::new();
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut left = left.split(' ').skip(3);
            let (Some(root), Some(mount)) = (left.next(), left.next()) else { continue };
            let mut right = right.split(' ');
            let kind = right.next().unwrap_or_default();
            let options = right.nth(1).unwrap_or_default();
            let controllers: Vec<String> = match kind {
                "cgroup2" => Vec::new(),
                "cgroup" => options.split(',').map(str::to_owned).collect(),
                _ => continue,
            };
            let group = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let names = fields.next()?;
                let path = fields.next()?;
                let same = if kind == "cgroup2" {
                    names.is_empty()
                } else {
                    !names.is_empty() && names.split(',').all(|name| controllers.iter().any(|c| c == name))
                };
                same.then_some(path)
            });
            let Some(group) = group else { continue };
            let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
            found.push(Hierarchy {
                controllers,
                mount: PathBuf::from(mount),
                own: Path::new(mount).join(below),
            });
        }
        Self(found)
    }

    fn v1(&self) -> Result<Plan, String> {
        let mut folders = Vec::new();
        for controller in V1_CONTROLLERS {
            let hierarchy = self.0.iter().find(|h| h.controllers.iter().any(|c| c == controller));
            match hierarchy {
                Some(hierarchy) if writable(&hierarchy.own) => folders.push(hierarchy.own.clone()),
                _ if controller == "cpu" => {}
                Some(hierarchy) => return Err(format!("{} is not writable", hierarchy.own.display())),
                None => return Err(format!("cgroup v1 has no {controller} controller")),
            }
        }
        Ok(Plan::V1(folders))
    }

    fn own_v2(&self) -> Option<PathBuf> {
        self.0.iter().find(|h| h.controllers.is_empty()).map(|h| h.own.clone())
    }

    /// As root, the root of the hierarchy: this process's own group has
    /// processes and can't have controlled children as well.
    fn v2(&self) -> Result<Plan, String> {
        let Some(hierarchy) = self.0.iter().find(|h| h.controllers.is_empty()) else {
            return Err("there is no cgroup v2 mount".to_owned());
        };
        for folder in [&hierarchy.own, &hierarchy.mount] {
            if writable(folder) && hand_down(folder).is_ok() {
                return Ok(Plan::V2(folder.clone()));
            }
        }
        hand_down(&hierarchy.mount).map_err(|error| format!("{}: {error}", hierarchy.mount.display()))?;
        Ok(Plan::V2(hierarchy.mount.clone()))
    }
}

fn writable(folder: &Path) -> bool {
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
30 20 0:25 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
31 20 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 20 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const V1_OWN: &str = "3:cpu,cpuacct:/\n2:memory:/agent/x\n1:pids:/\n0::/";

    #[test]
    fn hierarchies_and_own_groups_are_found() {
        let mounts = Mounts::parse(V1_MOUNTS, V1_OWN);
        let own = |name: &str| {
            mounts.0.iter().find(|h| h.controllers.iter().any(|c| c == name)).map(|h| h.own.clone())
        };
        assert_eq!(own("memory"), Some("/sys/fs/cgroup/memory/agent/x".into()));
        assert_eq!(own("cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(own("cpu"), own("cpuacct"));
        assert_eq!(mounts.own_v2(), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        let mounts = "40 20 0:29 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw";
        let mounts = Mounts::parse(mounts, "0::/docker/abc");
        assert_eq!(mounts.own_v2(), Some("/sys/fs/cgroup".into()));
    }
}
