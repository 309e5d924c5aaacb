//! [`Watch`]: being told that something may have happened to a job.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::JobId;

/// Tells when something may have happened to a job since this was made.
///
/// It may tell once too often, never once too seldom, as long as the queue can
/// be reached; whoever waits long looks by themselves from time to time.
pub struct Watch {
    id: JobId,
    changes: watch::Receiver<()>,
    watchers: Arc<Watchers>,
}

impl Watch {
    /// Waits until something may have happened since this was made, or since
    /// this last returned.
    ///
    /// # Cancel safety
    /// Safe to drop: what had not been told will be.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender lives as long as somebody watches: this can't be.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watchers.leave(self.id);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({})", self.id)
    }
}

/// Who watches which job, in this process.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    jobs: Mutex<HashMap<JobId, (watch::Sender<()>, usize)>>,
    count: AtomicUsize,
    /// Told when the first watcher comes.
    arrival: Notify,
}

impl Watchers {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, (watch::Sender<()>, usize)>> {
        // No code under the lock can panic half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch a job.
    pub(crate) fn watch(self: &Arc<Self>, id: JobId) -> Watch {
        let mut jobs = self.jobs();
        let (sender, watchers) = jobs.entry(id).or_insert_with(|| (watch::Sender::new(()), 0));
        *watchers += 1;
        let changes = sender.subscribe();
        drop(jobs);
        if self.count.fetch_add(1, Ordering::SeqCst) == 0 {
            self.arrival.notify_one();
        }
        Watch { id, changes, watchers: Arc::clone(self) }
    }

    fn leave(&self, id: JobId) {
        let mut jobs = self.jobs();
        if let Some((_, watchers)) = jobs.get_mut(&id) {
            *watchers -= 1;
            if *watchers == 0 {
                jobs.remove(&id);
            }
        }
        drop(jobs);
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Tells those who watch this job.
    pub(crate) fn wake(&self, id: JobId) {
        if !self.is_empty()
            && let Some((sender, _)) = self.jobs().get(&id)
        {
            sender.send_replace(());
        }
    }

    /// Tells everybody: something may have been missed.
    #[cfg(feature = "redis")]
    pub(crate) fn wake_all(&self) {
        for (sender, _) in self.jobs().values() {
            sender.send_replace(());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Waits until somebody watches.
    #[cfg(feature = "redis")]
    pub(crate) async fn occupied(&self) {
        while self.is_empty() {
            self.arrival.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_between_two_looks_is_told() {
        let watchers = Arc::new(Watchers::default());
        let id = JobId::new();
        let (mut first, mut second) = (watchers.watch(id), watchers.watch(id));
        watchers.wake(id);
        first.changed().await;
        second.changed().await;
        watchers.wake(JobId::new());
        let early = tokio::time::timeout(std::time::Duration::from_millis(5), first.changed()).await;
        assert!(early.is_err(), "somebody else's job");
        drop(first);
        watchers.wake(id);
        second.changed().await;
        drop(second);
        assert!(watchers.is_empty() && watchers.jobs().is_empty());
    }
}
