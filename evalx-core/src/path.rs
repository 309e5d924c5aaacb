//! [`SandboxPath`]: a place inside a session's work folder, and nowhere else.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// The longest path that is accepted, in bytes; Linux allows 4096 with the
/// work folder's own name and a NUL.
const MAX_LENGTH: usize = 4000;
/// The longest name between two slashes, in bytes: Linux's `NAME_MAX`.
const MAX_NAME: usize = 255;

/// A path relative to the work folder of a session.
///
/// It can't leave the work folder by its own text: it is relative, and has no
/// `..`, no empty name and no NUL. Whether a symlink inside leads out is for
/// the backend to prevent when it opens the path.
///
/// ```
/// use evalx_core::SandboxPath;
///
/// assert_eq!(SandboxPath::new("src//./main.c")?.as_str(), "src/main.c");
/// assert!(SandboxPath::new("../etc/passwd").is_err());
/// # Ok::<(), evalx_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxPath(String);

impl SandboxPath {
    /// Checks `path` and drops its `.` parts and doubled slashes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] for a path that is empty, absolute, over
    /// 4000 bytes, has a name over 255 bytes, a `..` or a NUL.
    pub fn new(path: impl AsRef<str>) -> Result<Self, Error> {
        let path = path.as_ref();
        let refuse = |why: &str| {
            Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("`{}` is not a path in the work folder: {why}", path.escape_default()),
            ))
        };
        if path.starts_with('/') {
            return refuse("it must be relative");
        }
        if path.contains('\0') {
            return refuse("it has a NUL");
        }
        if path.len() > MAX_LENGTH {
            return refuse("it is over 4000 bytes long");
        }
        let mut clean = String::with_capacity(path.len());
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            if name == ".." {
                return refuse("`..` is not allowed");
            }
            if name.len() > MAX_NAME {
                return refuse("a name in it is over 255 bytes long");
            }
            if !clean.is_empty() {
                clean.push('/');
            }
            clean.push_str(name);
        }
        if clean.is_empty() {
            return refuse("it names no file");
        }
        Ok(Self(clean))
    }

    /// The path with single slashes and no leading one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name of the path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The folder above, if that is not the work folder itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }
}

impl AsRef<str> for SandboxPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for SandboxPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for SandboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SandboxPath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self, Error> {
        Self::new(path)
    }
}

impl TryFrom<String> for SandboxPath {
    type Error = Error;

    fn try_from(path: String) -> Result<Self, Error> {
        Self::new(path)
    }
}

impl From<SandboxPath> for String {
    fn from(path: SandboxPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_are_refused() {
        for path in ["", ".", "./", "/", "/etc", "..", "a/..", "a/../b", "a\0b", "../x"] {
            assert!(SandboxPath::new(path).is_err(), "{path:?} was accepted");
        }
        assert!(SandboxPath::new("x".repeat(256)).is_err());
        assert!(SandboxPath::new("x/".repeat(2001)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_escapes(text: String) {
            if let Ok(path) = SandboxPath::new(&text) {
                prop_assert!(!path.as_str().is_empty());
                prop_assert!(!path.as_str().starts_with('/'));
                prop_assert!(path.as_str().split('/').all(|name| !matches!(name, "" | "." | "..")));
                prop_assert_eq!(SandboxPath::new(path.as_str()).unwrap(), path);
            }
        }
    }
}
