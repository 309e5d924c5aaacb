//! [`blocking`]: work on files, without holding up the runtime.

use evalx_core::{Error, ErrorKind, Result};

/// Files up to this size are handled on the spot: a work folder is in memory.
const SMALL: u64 = 256 << 10;

/// Does `work`, which handles `size` bytes of a session's files and so blocks:
/// at once if they are few, else on a thread for such work.
///
/// # Errors
///
/// That of `work`; `Internal` if it panics.
///
/// # Cancel safety
///
/// Dropped, work that was begun on a thread goes on to its end.
pub async fn blocking<T: Send + 'static>(
    size: u64,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if size <= SMALL {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Internal, "file work was interrupted").with_source(error)),
    }
}
