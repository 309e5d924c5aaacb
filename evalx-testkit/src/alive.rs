//! [`Token`]: a mark in a command line, by which the host finds a step's processes.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// A word that no other command line has; given to a program as an argument,
/// it marks the program's whole tree, since forks keep the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A word that this process never gave out before.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("token={}-{number}-end", std::process::id()))
    }

    /// The word itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The processes on this host that carry the word. Those of another
    /// machine (a remote daemon's) are not seen; a dead one that was not
    /// waited for yet has no command line any more.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(self.0.len()).any(|window| window == self.0.as_bytes())
            })
            .collect()
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
