//! [`SessionSpec`] and [`Step`]: what is asked of a sandbox.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{PipeReader, PipeWriter};
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Isolation, Limits, Origin, Result};

/// The work folder inside every session, which is also where programs start.
pub const WORK_FOLDER: &str = "/box";

/// The longest argument list and environment that is accepted, in bytes.
const MAX_ARGUMENTS: usize = 1 << 20;

/// Which network a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Network {
    /// None: nothing outside can be reached. Where system calls are filtered,
    /// an Internet socket can't even be made; with isolate it can, and leads to
    /// a loopback interface of the step's own.
    #[default]
    None,
    /// A loopback interface of its own, which leads nowhere else.
    Loopback,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Loopback => "loopback",
        })
    }
}

/// Which system calls a program may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyscallPolicy {
    /// Dangerous calls are refused with an error code; all others go through.
    /// A backend that does not hold this refuses the session, unless its
    /// operator has accepted that by the name [`Isolation::Syscalls`].
    #[default]
    Default,
    /// What one program computing by itself needs; any other call ends it,
    /// and the report names the call.
    Strict,
}

impl fmt::Display for SyscallPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Strict => "strict",
        })
    }
}

/// What a session is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSpec {
    /// What each of its steps may use; the disk belongs to the session.
    pub limits: Limits,
    /// Its network.
    pub network: Network,
    /// The system calls its programs may make.
    pub syscalls: SyscallPolicy,
    /// Whose it is, as metrics are labelled: a language's name. A backend that
    /// has an image for each language chooses by it.
    pub label: String,
    /// Which sessions run programs of the same submission; none: no other does.
    pub origin: Option<Origin>,
    /// What the host depends on, whatever an operator has accepted: beside
    /// what every session is [promised](Isolation::PROMISED), or to have that
    /// from no weaker backend.
    pub required: BTreeSet<Isolation>,
}

impl SessionSpec {
    /// A session with these limits, no network and the default system call policy.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Sets the network.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets the system call policy.
    #[must_use]
    pub fn with_syscalls(mut self, syscalls: SyscallPolicy) -> Self {
        self.syscalls = syscalls;
        self
    }

    /// Sets the label of metrics.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Says whose programs it runs.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Requires a separation: the session is opened by a backend that holds
    /// it, or not at all.
    ///
    /// ```
    /// use evalx_core::{Isolation, SessionSpec};
    ///
    /// // No lock on a file of the system may be seen by a neighbour.
    /// let spec = SessionSpec::default().with_required(Isolation::Inodes);
    /// assert!(spec.required.contains(&Isolation::Inodes));
    /// ```
    #[must_use]
    pub fn with_required(mut self, isolation: Isolation) -> Self {
        self.required.insert(isolation);
        self
    }
}

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a step's stdin, stdout and stderr are.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// Three pipes to the host.
    #[default]
    Pipes,
    /// One terminal of this size for all three.
    Terminal(TerminalSize),
    /// Stdin and stdout are ends of pipes whose other ends are another
    /// step's; stderr is a pipe to the host. Nothing is copied through the host.
    Joined {
        /// What the program reads as its stdin.
        stdin: PipeReader,
        /// What the program writes as its stdout.
        stdout: PipeWriter,
    },
}

/// One run of a program in a session.
///
/// ```
/// use evalx_core::Step;
///
/// let step = Step::new("gcc").with_arguments(["-O2", "main.c", "-o", "main"]);
/// assert_eq!(step.arguments.len(), 4);
/// ```
#[non_exhaustive]
pub struct Step {
    /// What is run: a bare name is looked up in the session's `PATH`, a path
    /// with a slash from the work folder.
    pub program: OsString,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<OsString>,
    /// Its environment, besides `PATH`, `HOME` and `LC_ALL`, which have
    /// defaults that can be overridden here. Nothing of the host's is passed on.
    pub environment: Vec<(OsString, OsString)>,
    /// What its stdin, stdout and stderr are.
    pub stdio: Stdio,
}

impl Step {
    /// Runs `program` without arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), stdio: Stdio::Pipes }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn with_arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable, or replaces one of the defaults.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets what stdin, stdout and stderr are.
    #[must_use]
    pub fn with_stdio(mut self, stdio: Stdio) -> Self {
        self.stdio = stdio;
        self
    }

    /// Checks what no kernel could take. Backends call it in `run`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for an empty program, a NUL anywhere, a
    /// variable whose name is empty or has a `=`, or more than 1 MiB together.
    pub fn validate(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidRequest, why));
        if self.program.is_empty() {
            return refuse("the program's name is empty".to_owned());
        }
        let mut total = self.program.len();
        let variables = self.environment.iter().flat_map(|(name, value)| [name, value]);
        for text in std::iter::once(&self.program).chain(&self.arguments).chain(variables) {
            if has(text, 0) {
                return refuse(format!("{text:?} has a NUL, which no argument or variable can hold"));
            }
            total += text.len() + 1 + size_of::<usize>();
        }
        if total > MAX_ARGUMENTS {
            return refuse(format!(
                "arguments and environment take {total} bytes: at most {MAX_ARGUMENTS} are allowed"
            ));
        }
        match self.environment.iter().find(|(name, _)| name.is_empty() || has(name, b'=')) {
            Some((name, _)) => {
                refuse(format!("{name:?} is not a variable's name: it must not be empty or have a `=`"))
            }
            None => Ok(()),
        }
    }
}

fn has(text: &OsStr, byte: u8) -> bool {
    text.as_bytes().contains(&byte)
}

impl fmt::Debug for Step {
    /// Prints sizes where user data would be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("program", &self.program)
            .field("arguments", &self.arguments.len())
            .field("environment", &self.environment.len())
            .field("stdio", &self.stdio)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_takes_is_refused() {
        assert!(Step::new("").validate().is_err());
        assert!(Step::new("a\0b").validate().is_err());
        assert!(Step::new("a").with_argument("x\0").validate().is_err());
        assert!(Step::new("a").with_variable("A=B", "c").validate().is_err());
        assert!(Step::new("a").with_variable("", "c").validate().is_err());
        assert!(Step::new("a").with_argument("x".repeat(MAX_ARGUMENTS)).validate().is_err());
        Step::new("a").with_argument("").with_variable("A", "b=c").validate().unwrap();
    }
}
