//! The escape suite: what a sandbox withstands, one named attack for each claim.
//!
//! The attacker writes the source code, the stdin, the arguments and the files,
//! and knows this page. Most attacks are rows of a table, an [`Attack`]: a probe
//! with its arguments, its limits, and the ends that are right. Those in which
//! two sessions or the host take part are functions. Every attack, whatever it
//! claims, also fails if a process outlives its step, if memory or output went
//! beyond the limits, if it took much longer than its wall time, or if the
//! sandbox does not work afterwards.
//!
//! Nothing here sends anything to an address beyond loopback.
#![expect(clippy::missing_panics_doc, reason = "every case panics if the attack is not held, as said above")]

mod attack;
pub mod compile;
pub mod cross;
pub mod dropped;
mod files;
mod kernel;
pub mod library;
mod memory;
mod network;
mod output;
mod process;
pub mod reset;
mod time;

use std::fmt;

pub use attack::{Attack, Bounds, End, Expectation, withstand};

use crate::Case;

/// What an attack is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Processes that multiply, hide and outlive.
    Process,
    /// Memory taken in every way there is.
    Memory,
    /// Time used up, or hidden from the clock.
    Time,
    /// Output and disk without end.
    Output,
    /// Files that are not the session's.
    Files,
    /// System calls that widen the kernel's surface.
    Kernel,
    /// Networks, and what crosses from session to session.
    Network,
    /// Compilers as a way out.
    Compile,
    /// What a run leaves for the next.
    Reset,
    /// The host's own calls, abused.
    Library,
}

impl Class {
    /// The name in snake case, which is the prefix of its cases' names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Memory => "memory",
            Self::Time => "time",
            Self::Output => "output",
            Self::Files => "files",
            Self::Kernel => "kernel",
            Self::Network => "network",
            Self::Compile => "compile",
            Self::Reset => "reset",
            Self::Library => "library",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The attacks that are rows of a table.
pub fn attacks() -> impl Iterator<Item = &'static Attack> {
    [
        process::ATTACKS,
        memory::ATTACKS,
        time::ATTACKS,
        output::ATTACKS,
        files::ATTACKS,
        kernel::ATTACKS,
        network::ATTACKS,
    ]
    .into_iter()
    .flatten()
}

/// Every attack of the suite, the tables' and the functions'.
#[must_use]
pub fn cases() -> Vec<Case> {
    let tables = attacks().map(Attack::case);
    tables
        .chain(cross::cases())
        .chain(reset::cases())
        .chain(compile::cases())
        .chain(library::cases())
        .chain(dropped::cases())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_many() {
        let cases = cases();
        let names: BTreeSet<&str> = cases.iter().map(Case::name).collect();
        assert_eq!(names.len(), cases.len());
        assert!(names.len() >= 120, "{} attacks", names.len());
    }
}
