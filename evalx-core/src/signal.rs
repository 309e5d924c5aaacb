//! [`Signal`]: a Linux signal by number and name.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind};

/// The names of Linux's signals 1 to 31 on x86-64 and aarch64, in order.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// A signal, by its Linux number (1 to 64).
///
/// ```
/// use evalx_core::Signal;
///
/// assert_eq!(Signal::SEGV.to_string(), "SIGSEGV");
/// assert_eq!("SIGTERM".parse::<Signal>()?, Signal::TERM);
/// # Ok::<(), evalx_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

impl Signal {
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Bad instruction.
    pub const ILL: Self = Self(4);
    /// `abort()`.
    pub const ABRT: Self = Self(6);
    /// Bad memory access that the file behind a mapping can't serve.
    pub const BUS: Self = Self(7);
    /// Arithmetic error, such as an integer division by zero.
    pub const FPE: Self = Self(8);
    /// The signal that can't be caught.
    pub const KILL: Self = Self(9);
    /// Bad memory access.
    pub const SEGV: Self = Self(11);
    /// Write to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// A polite request to end.
    pub const TERM: Self = Self(15);
    /// The process's own CPU limit.
    pub const XCPU: Self = Self(24);
    /// The file size limit.
    pub const XFSZ: Self = Self(25);
    /// A bad or refused system call.
    pub const SYS: Self = Self(31);

    /// The signal of this number, if Linux has it (1 to 64).
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=64).contains(n)).map(Self)
    }

    /// The signal's number.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => write!(f, "SIGRT{}", self.0),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        (1..=64)
            .map(Self)
            .find(|signal| signal.to_string() == text || signal.to_string().strip_prefix("SIG") == Some(text))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    format!("`{text}` is not a signal: write it as SIGTERM or TERM"),
                )
            })
    }
}

impl serde::Serialize for Signal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Signal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
        assert_eq!(Signal::from_number(0), None);
        assert_eq!(Signal::from_number(65), None);
        assert_eq!(Signal::SYS.to_string(), "SIGSYS");
        assert_eq!(Signal::XFSZ.to_string(), "SIGXFSZ");
    }
}
