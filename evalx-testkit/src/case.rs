//! [`Case`]: one named behaviour or attack, and what it needs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use evalx_core::{Capabilities, DynSandbox, Isolation, LimitKind, Network, Strength, SyscallPolicy};

use crate::Probes;

/// What a case returns: it panics if the behaviour is not there.
pub type CaseFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

type Run = Arc<dyn Fn(DynSandbox, Probes) -> CaseFuture + Send + Sync>;

/// Whether a case measures time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// It may run beside others.
    #[default]
    Shared,
    /// It measures, and has the machine to itself.
    Exclusive,
}

/// Whose sandbox a case uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The one that all cases share.
    #[default]
    Shared,
    /// One made for it, since it shuts it down.
    Own,
}

/// What a case can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A step on a terminal.
    Terminal,
    /// The strict system call policy.
    StrictSyscalls,
    /// A loopback network.
    Loopback,
    /// This limit, held for the whole session.
    Limit(LimitKind),
    /// This separation.
    Isolation(Isolation),
    /// Two processors or more.
    TwoProcessors,
    /// A 64-bit x86 processor.
    X86,
    /// `gcc` inside the sandbox.
    Gcc,
    /// At most 65536 descriptors for the host process, so that they can run out.
    FewDescriptors,
}

/// What this sandbox on this machine has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facilities {
    /// What the backend says of itself.
    pub capabilities: Capabilities,
    /// Whether `gcc` runs in the sandbox.
    pub gcc: bool,
}

impl Facilities {
    /// Facilities of these capabilities, with or without a compiler inside.
    #[must_use]
    pub const fn new(capabilities: Capabilities, gcc: bool) -> Self {
        Self { capabilities, gcc }
    }

    /// Why `need` is not met; `None` if it is.
    #[must_use]
    pub fn lacks(&self, need: Need) -> Option<String> {
        let has = &self.capabilities;
        let met = match need {
            Need::Terminal => has.terminal,
            Need::StrictSyscalls => has.syscall_policies.contains(&SyscallPolicy::Strict),
            Need::Loopback => has.networks.contains(&Network::Loopback),
            Need::Limit(kind) => has.limit(kind) == Strength::Whole,
            Need::Isolation(kind) => has.isolation(kind) == Strength::Whole,
            Need::TwoProcessors => std::thread::available_parallelism().is_ok_and(|count| count.get() >= 2),
            Need::X86 => cfg!(target_arch = "x86_64"),
            Need::Gcc => self.gcc,
            Need::FewDescriptors => descriptor_limit().is_some_and(|limit| limit <= 65_536),
        };
        if met { None } else { Some(format!("{} has no {need}", has.backend)) }
    }
}

/// The soft limit of descriptors of this process.
fn descriptor_limit() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

impl Need {
    /// The word in `EVALX_REQUIRE` that makes a failure of its absence;
    /// `None` for a property of the machine that nobody can mend.
    pub(crate) fn required_by(self, backend: &str) -> Option<&str> {
        match self {
            Self::Terminal | Self::StrictSyscalls | Self::Loopback | Self::Limit(_) | Self::Isolation(_) => {
                Some(backend)
            }
            Self::Gcc => Some("gcc"),
            Self::TwoProcessors | Self::X86 | Self::FewDescriptors => None,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminal => f.write_str("terminal"),
            Self::StrictSyscalls => f.write_str("strict system call policy"),
            Self::Loopback => f.write_str("loopback network"),
            Self::Limit(kind) => write!(f, "{kind} limit for the whole session"),
            Self::Isolation(kind) => write!(f, "isolation of {kind}"),
            Self::TwoProcessors => f.write_str("second processor"),
            Self::X86 => f.write_str("x86-64 processor"),
            Self::Gcc => f.write_str("gcc inside"),
            Self::FewDescriptors => f.write_str("small limit of descriptors"),
        }
    }
}

/// One named behaviour or attack.
///
/// Its function gets a sandbox and the probes, and panics if what it checks
/// does not hold.
#[derive(Clone)]
pub struct Case {
    name: String,
    timing: Timing,
    ownership: Ownership,
    needs: Vec<Need>,
    run: Run,
}

impl Case {
    /// A case that may run beside others and needs nothing special.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(DynSandbox, Probes) -> CaseFuture + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            timing: Timing::default(),
            ownership: Ownership::default(),
            needs: Vec::new(),
            run: Arc::new(run),
        }
    }

    /// Gives it the machine to itself.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.timing = Timing::Exclusive;
        self
    }

    /// Gives it a sandbox of its own.
    #[must_use]
    pub fn owning(mut self) -> Self {
        self.ownership = Ownership::Own;
        self
    }

    /// Adds something it can't do without.
    #[must_use]
    pub fn needing(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Puts `prefix` and `::` before its name.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.name = format!("{prefix}::{}", self.name);
        self
    }

    /// Puts another prefix in the place of its own.
    #[must_use]
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        if let Some((_, own)) = self.name.split_once("::") {
            self.name = format!("{prefix}::{own}");
        }
        self
    }

    /// Its name, the same on every backend.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it measures time.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Whose sandbox it uses.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// What it can't do without.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Starts it; the future panics if what it checks does not hold.
    #[must_use]
    pub fn run(&self, sandbox: DynSandbox, probes: Probes) -> CaseFuture {
        (self.run)(sandbox, probes)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("timing", &self.timing)
            .field("ownership", &self.ownership)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

/// A [`Case`] of the function of this path, named as the function.
macro_rules! case {
    ($module:ident::$function:ident) => {
        $crate::Case::new(stringify!($function), |sandbox, probes| {
            Box::pin(async move { $module::$function(&sandbox, &probes).await })
        })
        .within(stringify!($module))
    };
}
pub(crate) use case;
