//! [`Capabilities`]: what a backend enforces on this machine, and by what.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, LimitKind, Network, Result, SessionSpec, SyscallPolicy};

/// How strongly something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strength {
    /// Not held.
    None,
    /// Held for each process by itself; a tree of processes can exceed it.
    PerProcess,
    /// Held for the whole session.
    Whole,
}

/// How something is held, and by which mechanism.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Enforcement {
    /// How strongly.
    pub strength: Strength,
    /// By what: `cgroup v2 memory.max`, `seccomp`; or why not.
    pub mechanism: String,
}

impl Enforcement {
    /// Held with `strength` by `mechanism`.
    pub fn new(strength: Strength, mechanism: impl Into<String>) -> Self {
        Self { strength, mechanism: mechanism.into() }
    }
}

/// Something that is kept apart from the host and from other sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Isolation {
    /// No process outside can be seen or signalled.
    Processes,
    /// The host's files can't be changed, and only chosen ones be read.
    Files,
    /// No inode is shared with another session: no lock or watch crosses over.
    Inodes,
    /// No network but what the session's spec allows.
    Network,
    /// No System V or POSIX IPC object crosses over.
    Ipc,
    /// No privilege can be had, and dangerous system calls are refused.
    Syscalls,
    /// A uid of its own on the host.
    Uid,
    /// A second wall around files beside the mounts.
    SecondWall,
}

/// What a backend enforces here, on this machine.
///
/// A session that needs more is refused when it is [opened](crate::Sandbox::open),
/// never weakened in silence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend's name: `native`, `isolate`, `docker`.
    pub backend: String,
    /// Each limit and how it is held; a limit that is absent is not.
    pub limits: BTreeMap<LimitKind, Enforcement>,
    /// Each separation and how it is held.
    pub isolation: BTreeMap<Isolation, Enforcement>,
    /// The networks a session may ask for.
    pub networks: Vec<Network>,
    /// The system call policies a session may ask for.
    pub syscall_policies: Vec<SyscallPolicy>,
    /// Whether a step may have a terminal.
    pub terminal: bool,
    /// Limits that the operator has accepted as weak, by name.
    pub accepted_weak: Vec<LimitKind>,
}

impl Capabilities {
    /// Nothing enforced yet, by the backend of this name.
    pub fn new(backend: impl Into<String>) -> Self {
        Self { backend: backend.into(), ..Self::default() }
    }

    /// Adds how a limit is held.
    #[must_use]
    pub fn with_limit(mut self, kind: LimitKind, strength: Strength, mechanism: impl Into<String>) -> Self {
        self.limits.insert(kind, Enforcement::new(strength, mechanism));
        self
    }

    /// Adds how a separation is held.
    #[must_use]
    pub fn with_isolation(
        mut self,
        kind: Isolation,
        strength: Strength,
        mechanism: impl Into<String>,
    ) -> Self {
        self.isolation.insert(kind, Enforcement::new(strength, mechanism));
        self
    }

    /// How strongly a limit is held.
    #[must_use]
    pub fn limit(&self, kind: LimitKind) -> Strength {
        self.limits.get(&kind).map_or(Strength::None, |enforcement| enforcement.strength)
    }

    /// Whether a session of this spec can be had here. Backends call it in `open`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for limits out of range,
    /// [`ErrorKind::Unsupported`] for what can't be enforced.
    pub fn admit(&self, spec: &SessionSpec) -> Result<()> {
        spec.limits.validate()?;
        let refuse = |what: fmt::Arguments<'_>, mend: &str| {
            Err(Error::new(ErrorKind::Unsupported, format!("{} can't {what} on this machine", self.backend))
                .with_mend(mend))
        };
        if !self.networks.contains(&spec.network) {
            return refuse(format_args!("give the network `{}`", spec.network), "ask for network `none`");
        }
        if !self.syscall_policies.contains(&spec.syscalls) {
            return refuse(
                format_args!("hold the system call policy `{}`", spec.syscalls),
                "ask for `default`",
            );
        }
        for kind in LimitKind::ALL {
            // Descriptors and the stack belong to one process by their nature.
            let needed = match kind {
                LimitKind::OpenFiles | LimitKind::Stack => Strength::PerProcess,
                _ => Strength::Whole,
            };
            if self.limit(kind) < needed && !self.accepted_weak.contains(&kind) {
                return refuse(
                    format_args!("enforce the {kind} limit for the whole session"),
                    "run `evalx doctor` to see what is missing, or accept the weaker limit by name",
                );
            }
        }
        Ok(())
    }
}
