//! [`Artifact`]: a file or a tree of files kept outside any session.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::{ByteSize, Result, SandboxPath};

/// A regular file of an [`Artifact`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactFile {
    /// Where it lies below the artifact's own path; empty if the artifact is this file.
    pub path: Option<SandboxPath>,
    /// What it holds.
    pub contents: Bytes,
    /// Whether it may be executed.
    pub executable: bool,
}

impl ArtifactFile {
    /// A file; `path` is `None` for an artifact that is one file.
    #[must_use]
    pub const fn new(path: Option<SandboxPath>, contents: Bytes, executable: bool) -> Self {
        Self { path, contents, executable }
    }

    /// Where the file lies when its artifact is placed at `path`.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if that is longer than a path may be.
    pub fn placed_at(&self, path: &SandboxPath) -> Result<SandboxPath> {
        match &self.path {
            Some(below) => SandboxPath::new(format!("{path}/{below}")),
            None => Ok(path.clone()),
        }
    }
}

impl fmt::Debug for ArtifactFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.path, self.contents.len())
    }
}

/// A file or a tree of files, kept by [`Session::keep`](crate::Session::keep)
/// to be placed in other sessions of any backend.
///
/// It is reference-counted and immutable; the last clone frees it. Its bytes
/// are the host's and are charged to the host.
#[derive(Clone)]
pub struct Artifact(Arc<[ArtifactFile]>);

impl Artifact {
    /// An artifact of these files.
    pub fn new(files: impl Into<Arc<[ArtifactFile]>>) -> Self {
        Self(files.into())
    }

    /// An artifact that is one executable file.
    pub fn executable(contents: impl Into<Bytes>) -> Self {
        Self::new([ArtifactFile::new(None, contents.into(), true)])
    }

    /// Tells clones of one artifact from all other artifacts, as long as one lives.
    #[must_use]
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }

    /// A handle that does not keep the artifact alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakArtifact {
        WeakArtifact(Arc::downgrade(&self.0))
    }

    /// Its files.
    #[must_use]
    pub fn files(&self) -> &[ArtifactFile] {
        &self.0
    }

    /// How many bytes its files hold together.
    #[must_use]
    pub fn size(&self) -> ByteSize {
        ByteSize::bytes(self.0.iter().map(|file| file.contents.len() as u64).sum())
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact").field("files", &self.0.len()).field("size", &self.size()).finish()
    }
}

/// Knows whether an [`Artifact`] is still held by somebody.
#[derive(Clone, Debug)]
pub struct WeakArtifact(Weak<[ArtifactFile]>);

impl WeakArtifact {
    /// Whether nobody holds the artifact any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Whether this is of that artifact.
    #[must_use]
    pub fn is(&self, artifact: &Artifact) -> bool {
        std::ptr::addr_eq(self.0.as_ptr(), Arc::as_ptr(&artifact.0))
    }
}

/// What [`Session::write_file`](crate::Session::write_file) places.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FileContents {
    /// A regular file of these bytes.
    Bytes {
        /// What it holds.
        contents: Bytes,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A file or tree that was kept before.
    Artifact(Artifact),
}

impl FileContents {
    /// A file that may not be executed.
    pub fn data(contents: impl Into<Bytes>) -> Self {
        Self::Bytes { contents: contents.into(), executable: false }
    }

    /// A file that may be executed.
    pub fn executable(contents: impl Into<Bytes>) -> Self {
        Self::Bytes { contents: contents.into(), executable: true }
    }
}

impl From<Artifact> for FileContents {
    fn from(artifact: Artifact) -> Self {
        Self::Artifact(artifact)
    }
}
