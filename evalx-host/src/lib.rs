//! Shared by the backends that run programs on the host itself: access to a session's
//! files, its stdin, and which host files programs can see.
//!
//! Untrusted code meets the host's own code in few places, and each of them is
//! here once, for all of these backends:
//!
//! - [`WorkFolder`] opens files that untrusted programs have made, [`blocking`]
//!   keeps the wait for them off the runtime.
//! - [`Feed`] brings a program its input, [`output_pipe`] takes its output.
//! - [`view`] says which files of the host programs see, and makes the others.
//! - [`private_folder`] makes the folders in which a supervisor notes what it owns.
//!
//! It starts no process and knows no backend. A backend of your own can use it; one
//! whose programs run on another machine needs none of it.
//!
//! # Example
//!
//! ```
//! use std::fs::File;
//!
//! use evalx_core::{ByteSize, SandboxPath};
//! use evalx_host::WorkFolder;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let session = WorkFolder::new(File::open(&folder)?.into(), None);
//! session.write(&SandboxPath::new("input/one.txt")?, b"1 2", false)?;
//! assert_eq!(session.read(&SandboxPath::new("input/one.txt")?, ByteSize::kib(1))?, "1 2");
//!
//! // What leads elsewhere is refused.
//! std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link"))?;
//! assert!(session.read(&SandboxPath::new("link")?, ByteSize::kib(1)).is_err());
//! # Ok(())
//! # }
//! ```

mod blocking;
mod feed;
mod files;
mod folder;
pub mod view;

pub use blocking::blocking;
pub use feed::{Feed, next_control, nonblocking, output_pipe};
pub use files::{Owner, WorkFolder};
pub use folder::private_folder;
