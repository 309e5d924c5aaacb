//! The two traits that a backend implements: [`Sandbox`] and [`Session`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Artifact, ByteSize, Capabilities, FileContents, Result, SandboxPath, SessionSpec, Step, StepIo,
    StepReport,
};

/// A way to run untrusted programs: a backend, or a wrapper around one.
///
/// # For implementors
///
/// - A program that fails is `Ok`. `Err` means that the sandbox could not do
///   its job; no exit code, time-out or exceeded limit is one.
/// - What can't be enforced is refused by [`open`](Self::open) with
///   [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), unless the operator accepted it by name.
/// - The conformance and escape suites of `evalx-testkit` decide whether an
///   implementation is one.
#[async_trait]
pub trait Sandbox: fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// What is enforced here, on this machine, and by which mechanism.
    fn capabilities(&self) -> Capabilities;

    /// Whether this host can run it.
    ///
    /// # Errors
    ///
    /// Names what is missing, and [what helps](crate::Error::help).
    async fn check(&self) -> Result<()>;

    /// Opens a fresh session, waiting for capacity.
    ///
    /// An implementation first asks [`Capabilities::admit`]: what it can't
    /// enforce here, it refuses.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for limits out of range, `Unsupported` for what can't
    /// be enforced here, `Unavailable` if the backend is broken or shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, no session is open and no capacity is lost.
    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>>;

    /// Ends every session, and removes every process, mount, cgroup, container
    /// and file of this sandbox before it returns. May be called again.
    ///
    /// # Errors
    ///
    /// Names what could not be removed.
    async fn shutdown(&self) -> Result<()>;
}

/// One fresh, hermetic workspace in a sandbox.
///
/// The work folder is [`WORK_FOLDER`](crate::WORK_FOLDER); what a step leaves in it, in `/tmp`
/// and in `/dev/shm` is there for the next step of the same session, and gone
/// with the session. Processes, IPC objects and all else end with their step.
///
/// Dropping a session closes it: a janitor cleans up behind.
#[async_trait]
pub trait Session: fmt::Debug + Send + 'static {
    /// Places a file or an artifact, making the folders above it; what was at
    /// `path` is replaced.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if it does not fit in the session's disk, or if the
    /// program has put something that is no folder in the way.
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()>;

    /// Runs a program and reports what it did. When this returns, no process
    /// of the step is alive.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if the program is not there or can't be executed.
    /// Never for what the program does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the step; the next call on the session first
    /// awaits that. To stop a step and have its report, send
    /// [`Control::Cancel`](crate::Control::Cancel).
    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport>;

    /// Reads a regular file of at most `max` bytes. No symlink is followed.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if there is no such file, it is larger, or it is
    /// anything but a regular file.
    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes>;

    /// Copies a file or a tree out of the session, to be placed in others.
    /// Symlinks, devices and the like are left out of a tree.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if there is nothing at `path`, or it is neither a
    /// regular file nor a folder.
    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact>;

    /// Ends the session: when this returns, none of its processes is alive and
    /// nothing of it can be reached. What is left is removed behind.
    ///
    /// # Errors
    ///
    /// If the backend could not make sure of that.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// A sandbox whose type was decided at run time.
pub type DynSandbox = Arc<dyn Sandbox>;

macro_rules! forward {
    ($($pointer:ident)*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: Sandbox + ?Sized> Sandbox for $pointer<S> {
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }

            async fn check(&self) -> Result<()> {
                (**self).check().await
            }

            async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
                (**self).open(spec).await
            }

            async fn shutdown(&self) -> Result<()> {
                (**self).shutdown().await
            }
        }
    )*};
}

forward!(Arc Box);
