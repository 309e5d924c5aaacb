//! [`NativeConfig`]: how many slots, which cgroup, what programs may read.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use evalx_core::{Error, ErrorKind, LimitKind};
use serde::{Deserialize, Serialize};

/// Which control group the slots are made in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cgroup {
    /// Below this process's own group on v1; on v2 likewise, or as root at the
    /// top of the hierarchy, since a group of v2 can't have processes and
    /// controlled children at once.
    #[default]
    Auto,
    /// Below this folder of a cgroup v2 hierarchy, which has been delegated to
    /// this user and in which this process is not itself.
    Path(PathBuf),
    /// Below this process's own v2 group: every process of it, this one
    /// included, is first moved to a leaf `evalx-host`.
    Adopt,
    /// None. Memory, processes and CPU time are then held for each process by
    /// itself, and a session is refused unless the operator has
    /// [accepted](NativeConfig::with_accepted_weak_limit) that.
    RlimitsOnly,
}

impl fmt::Display for Cgroup {
    /// As [`FromStr`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Path(path) => path.display().fmt(f),
            Self::Adopt => f.write_str("adopt"),
            Self::RlimitsOnly => f.write_str("rlimits-only"),
        }
    }
}

impl FromStr for Cgroup {
    type Err = Error;

    /// Reads `auto`, `adopt`, `rlimits-only`, or the absolute path of a
    /// delegated group.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "adopt" => Ok(Self::Adopt),
            "rlimits-only" => Ok(Self::RlimitsOnly),
            path if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "`{}` is no control group: write auto, adopt, rlimits-only, or the absolute path of a delegated one",
                    text.escape_default()
                ),
            )),
        }
    }
}

/// Which executable the slots are started from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Launcher {
    /// The one that runs now. It must be statically linked with this crate,
    /// as every Rust program that depends on it is.
    #[default]
    Current,
    /// Another that is linked with this crate of the same version, such as
    /// the `evalx` command: for shared libraries in programs of other languages.
    Path(PathBuf),
}

/// How a [`NativeSandbox`](crate::NativeSandbox) is set up.
///
/// ```
/// use evalx_sandbox_native::NativeConfig;
///
/// let config = NativeConfig::default().with_sessions(8).with_readable("/opt/toolchain");
/// assert_eq!(config.sessions, 8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NativeConfig {
    /// Sessions that can be open at once; more wait. 1 to 1024, by default
    /// twice the number of processors. Each has a slot.
    pub sessions: usize,
    /// Slots made beyond those, so that one is always prepared while another
    /// is cleaned up behind its last session. By default the number of processors.
    pub spares: usize,
    /// Which control group the slots are made in.
    pub cgroup: Cgroup,
    /// Which executable the slots are started from.
    pub launcher: Launcher,
    /// Host folders that programs see read-only at the same path, besides
    /// `/usr` and what belongs to it.
    pub readable: Vec<PathBuf>,
    /// Toolchain folders: readable, and their `bin` is added to `PATH`.
    pub toolchains: Vec<PathBuf>,
    /// Limits whose weaker form the operator accepts.
    pub accepted_weak_limits: Vec<LimitKind>,
    /// Where instances note what they own, to be cleaned up after a crash; by
    /// default `/run/evalx` as root, else in `$XDG_RUNTIME_DIR` or `/tmp`.
    pub state_folder: Option<PathBuf>,
}

impl Default for NativeConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            sessions: 2 * processors,
            spares: processors,
            cgroup: Cgroup::default(),
            launcher: Launcher::default(),
            readable: Vec::new(),
            toolchains: Vec::new(),
            accepted_weak_limits: Vec::new(),
            state_folder: None,
        }
    }
}

impl NativeConfig {
    /// Sets the number of [`sessions`](Self::sessions).
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets the number of [`spares`](Self::spares).
    #[must_use]
    pub fn with_spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// Sets the [`cgroup`](Self::cgroup).
    #[must_use]
    pub fn with_cgroup(mut self, cgroup: Cgroup) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// Takes [no control group](Cgroup::RlimitsOnly), and accepts with it that
    /// memory, processes and CPU time are held for each process by itself.
    #[must_use]
    pub fn with_rlimits_only(mut self) -> Self {
        self.accepted_weak_limits.extend([LimitKind::Memory, LimitKind::Processes, LimitKind::CpuTime]);
        self.with_cgroup(Cgroup::RlimitsOnly)
    }

    /// Takes the control group that an operator has chosen by its name:
    /// `rlimits-only` means [`with_rlimits_only`](Self::with_rlimits_only).
    #[must_use]
    pub fn with_named_cgroup(self, cgroup: Cgroup) -> Self {
        if cgroup == Cgroup::RlimitsOnly { self.with_rlimits_only() } else { self.with_cgroup(cgroup) }
    }

    /// Sets the [`launcher`](Self::launcher).
    #[must_use]
    pub fn with_launcher(mut self, launcher: Launcher) -> Self {
        self.launcher = launcher;
        self
    }

    /// Adds a [`readable`](Self::readable) folder.
    #[must_use]
    pub fn with_readable(mut self, folder: impl Into<PathBuf>) -> Self {
        self.readable.push(folder.into());
        self
    }

    /// Adds a folder of [`toolchains`](Self::toolchains).
    #[must_use]
    pub fn with_toolchain(mut self, folder: impl Into<PathBuf>) -> Self {
        self.toolchains.push(folder.into());
        self
    }

    /// Adds the toolchains that are installed for this user alone: Rust's, by rustup.
    #[must_use]
    pub fn with_discovered_toolchains(mut self) -> Self {
        self.toolchains.extend(rustup_toolchain());
        self
    }

    /// Accepts the weaker form of a limit: on rlimits, that a tree of
    /// processes can exceed what each may use.
    #[must_use]
    pub fn with_accepted_weak_limit(mut self, limit: LimitKind) -> Self {
        self.accepted_weak_limits.push(limit);
        self
    }

    /// Sets the [`state_folder`](Self::state_folder).
    #[must_use]
    pub fn with_state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_folder = Some(folder.into());
        self
    }
}

/// The default toolchain of rustup, whose `rustc` on the `PATH` is but a proxy.
fn rustup_toolchain() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")))?;
    let name = match std::env::var("RUSTUP_TOOLCHAIN") {
        Ok(name) => name,
        Err(_) => {
            let settings = std::fs::read_to_string(home.join("settings.toml")).ok()?;
            let line = settings.lines().find_map(|line| line.strip_prefix("default_toolchain = "))?;
            line.trim_matches('"').to_owned()
        }
    };
    let folder = home.join("toolchains").join(name);
    folder.join("bin/rustc").exists().then(|| std::fs::canonicalize(folder).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_is_read_as_it_is_written() {
        for cgroup in
            [Cgroup::Auto, Cgroup::Adopt, Cgroup::RlimitsOnly, Cgroup::Path("/sys/fs/cgroup/x".into())]
        {
            assert_eq!(cgroup.to_string().parse::<Cgroup>().unwrap(), cgroup);
        }
        let error = "none".parse::<Cgroup>().unwrap_err();
        assert!(error.to_string().contains("rlimits-only"), "{error}");
    }

    #[test]
    fn who_names_rlimits_accepts_what_they_hold_for_each_process_alone() {
        let named = NativeConfig::default().with_named_cgroup("rlimits-only".parse().unwrap());
        assert_eq!(named.cgroup, Cgroup::RlimitsOnly);
        for kind in [LimitKind::Memory, LimitKind::Processes, LimitKind::CpuTime] {
            assert!(named.accepted_weak_limits.contains(&kind), "{kind}");
        }
        let other = NativeConfig::default().with_named_cgroup(Cgroup::Adopt);
        assert_eq!((other.cgroup, other.accepted_weak_limits), (Cgroup::Adopt, Vec::new()));
    }
}
