//! Calls that hand out jobs: what comes for somebody who no longer waits, goes back.

use std::sync::Arc;
use std::time::Instant;

use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::link::Link;
use super::script::{self, Arguments, Script};
use crate::memory::MOST_AT_ONCE;
use crate::{Error, ErrorKind, Lease, Result, WorkerId};

/// What scripts that hand out jobs are given first.
pub(super) fn arguments(link: &Link, worker: &WorkerId, most: usize) -> Arguments {
    let mut arguments = link.arguments();
    arguments
        .text(worker)
        .number(most.min(MOST_AT_ONCE) as u64)
        .connection()
        .text(&format_args!("{:016x}", fastrand::u64(..)));
    arguments
}

/// Calls a script that hands out jobs, in a task of its own: if nobody
/// waits for the answer any more, the jobs are handed back.
pub(super) async fn call<T, F>(
    link: &Arc<Link>,
    script: &'static Script,
    arguments: Arguments,
    read: F,
) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(Value, Instant) -> Result<(T, Vec<Lease>)> + Send + 'static,
{
    let link = Arc::clone(link);
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let sent = Instant::now();
        let answer = link.call(script, arguments).await.and_then(|value| read(value, sent));
        // Whether nobody waits any more, or nobody looks at what was sent: it is dropped.
        let runtime = Handle::current();
        let _ = sender.send(answer.map(|(answer, leases)| (answer, Unclaimed { link, leases, runtime })));
    });
    let aborted = |_| Error::new(ErrorKind::Internal, "the call of a script was aborted");
    let (answer, mut unclaimed) = receiver.await.map_err(aborted)??;
    unclaimed.leases.clear();
    Ok(answer)
}

/// Jobs that are handed back unless somebody takes them.
struct Unclaimed {
    link: Arc<Link>,
    leases: Vec<Lease>,
    /// Whoever drops them may be outside of it.
    runtime: Handle,
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let (link, mut release) = (Arc::clone(&self.link), self.link.arguments());
        release.leases(&self.leases);
        self.runtime.spawn(async move {
            if let Err(error) = link.call(&script::RELEASE, release).await {
                tracing::warn!("jobs that nobody waits for could not be handed back: {}", error.chain());
            }
        });
    }
}
