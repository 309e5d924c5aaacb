//! [`Capabilities`]: what a backend enforces on this machine, and by what.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

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
///
/// Five of them are what the words of every session promise, and are
/// [required](Self::PROMISED) of a backend unasked. A host that depends on
/// another one [asks for it](SessionSpec::with_required).
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
    /// Nothing outside can be reached, nor reach in: there is no network but
    /// what the session's spec allows.
    Network,
    /// No System V or POSIX IPC object crosses over.
    Ipc,
    /// No privilege can be had, and calls that are dangerous are refused, as
    /// [`SyscallPolicy::Default`] says.
    Syscalls,
    /// A uid of its own on the host.
    Uid,
    /// A second wall around files beside the mounts.
    SecondWall,
}

impl Isolation {
    /// Every separation there is.
    pub const ALL: [Self; 8] = [
        Self::Processes,
        Self::Files,
        Self::Inodes,
        Self::Network,
        Self::Ipc,
        Self::Syscalls,
        Self::Uid,
        Self::SecondWall,
    ];

    /// Those that every session has, whether its spec names them or not: a
    /// backend that lacks one refuses, unless its operator has accepted that
    /// by name.
    pub const PROMISED: [Self; 5] = [Self::Processes, Self::Files, Self::Network, Self::Ipc, Self::Syscalls];

    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Files => "files",
            Self::Inodes => "inodes",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Syscalls => "syscalls",
            Self::Uid => "uid",
            Self::SecondWall => "second_wall",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Isolation {
    type Err = Error;

    /// Reads the name in snake case.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            let message = format!("`{}` is no isolation: there are {names}", text.escape_default());
            Error::new(ErrorKind::InvalidRequest, message)
        })
    }
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
    pub accepted_weak_limits: Vec<LimitKind>,
    /// Separations whose absence the operator has accepted, by name.
    pub accepted_weak_isolation: Vec<Isolation>,
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

    /// How strongly a separation is held.
    #[must_use]
    pub fn isolation(&self, kind: Isolation) -> Strength {
        self.isolation.get(&kind).map_or(Strength::None, |enforcement| enforcement.strength)
    }

    /// Whether a session of this spec can be had here. Backends call it in `open`.
    ///
    /// What an operator has accepted as weak counts as held, except for a
    /// separation that the spec [requires](SessionSpec::required) itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for limits out of range,
    /// [`ErrorKind::Unsupported`] for what can't be enforced.
    pub fn admit(&self, spec: &SessionSpec) -> Result<()> {
        spec.limits.validate()?;
        let refuse = |what: fmt::Arguments<'_>, help: &str| {
            Err(Error::new(ErrorKind::Unsupported, format!("{} can't {what} on this machine", self.backend))
                .with_help(help))
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
            if self.limit(kind) < needed && !self.accepted_weak_limits.contains(&kind) {
                return refuse(
                    format_args!("enforce the {kind} limit for the whole session"),
                    "run `evalx doctor` to see what is missing, or accept the weaker limit by name",
                );
            }
        }
        self.admit_isolation(spec)
    }

    fn admit_isolation(&self, spec: &SessionSpec) -> Result<()> {
        for kind in Isolation::ALL {
            let required = spec.required.contains(&kind);
            let promised =
                Isolation::PROMISED.contains(&kind) && !self.accepted_weak_isolation.contains(&kind);
            if self.isolation(kind) == Strength::Whole || !(required || promised) {
                continue;
            }
            let why = self.isolation.get(&kind).map_or("nothing holds it", |held| &held.mechanism);
            let help = if required {
                "choose a backend that holds it: `evalx doctor` shows which do".to_owned()
            } else {
                format!(
                    "choose a backend that holds it, as `evalx doctor` shows, or have the operator accept its absence by the name `{kind}`"
                )
            };
            let message =
                format!("{} can't hold the isolation `{kind}` on this machine: {why}", self.backend);
            return Err(Error::new(ErrorKind::Unsupported, message).with_help(help));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend that holds everything but these.
    fn holding_all_but(weak: &[(Isolation, Strength)]) -> Capabilities {
        let mut capabilities = Capabilities::new("test");
        for kind in LimitKind::ALL {
            capabilities = capabilities.with_limit(kind, Strength::Whole, "a test");
        }
        for kind in Isolation::ALL {
            let strength = weak.iter().find(|(weak, _)| *weak == kind).map(|(_, strength)| *strength);
            capabilities = capabilities.with_isolation(kind, strength.unwrap_or(Strength::Whole), "a test");
        }
        capabilities.networks = vec![Network::None];
        capabilities.syscall_policies = vec![SyscallPolicy::Default];
        capabilities
    }

    fn refusal(capabilities: &Capabilities, spec: &SessionSpec) -> String {
        let error = capabilities.admit(spec).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.help().is_some(), "{error}");
        error.to_string()
    }

    #[test]
    fn what_every_session_is_promised_is_required_unasked() {
        let spec = SessionSpec::default();
        holding_all_but(&[]).admit(&spec).unwrap();
        for kind in Isolation::ALL {
            for strength in [Strength::None, Strength::PerProcess] {
                let capabilities = holding_all_but(&[(kind, strength)]);
                if Isolation::PROMISED.contains(&kind) {
                    assert!(refusal(&capabilities, &spec).contains(&format!("`{kind}`")), "{kind}");
                } else {
                    capabilities.admit(&spec).unwrap();
                }
            }
            // What a backend does not speak of, it does not hold.
            let mut silent = holding_all_but(&[]);
            silent.isolation.remove(&kind);
            assert_eq!(silent.admit(&spec).is_err(), Isolation::PROMISED.contains(&kind), "{kind}");
        }
    }

    #[test]
    fn what_a_spec_requires_is_refused_where_it_is_not_held() {
        for kind in Isolation::ALL {
            let spec = SessionSpec::default().with_required(kind);
            holding_all_but(&[]).admit(&spec).unwrap();
            assert!(refusal(&holding_all_but(&[(kind, Strength::None)]), &spec).contains(kind.as_str()));
        }
    }

    #[test]
    fn an_operator_accepts_by_name_what_the_spec_does_not_require() {
        let mut capabilities =
            holding_all_but(&[(Isolation::Syscalls, Strength::None), (Isolation::Network, Strength::None)]);
        let spec = SessionSpec::default();
        capabilities.accepted_weak_isolation.push(Isolation::Syscalls);
        assert!(refusal(&capabilities, &spec).contains("`network`"));
        capabilities.accepted_weak_isolation.push(Isolation::Network);
        capabilities.admit(&spec).unwrap();
        assert!(refusal(&capabilities, &spec.with_required(Isolation::Syscalls)).contains("`syscalls`"));
    }

    #[test]
    fn a_weak_limit_is_refused_until_it_is_accepted_by_name() {
        let spec = SessionSpec::default();
        let mut capabilities =
            holding_all_but(&[]).with_limit(LimitKind::Memory, Strength::PerProcess, "a test");
        assert!(refusal(&capabilities, &spec).contains("memory"));
        capabilities.accepted_weak_limits.push(LimitKind::Memory);
        capabilities.admit(&spec).unwrap();
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in Isolation::ALL {
            assert_eq!(kind.to_string().parse::<Isolation>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("Network".parse::<Isolation>().unwrap_err().to_string().contains("second_wall"));
    }
}
