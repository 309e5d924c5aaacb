//! [`QueueExt`]: what is convenient, built of what a queue must do.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::{Error, ErrorKind, Event, JobId, JobState, JobView, ListQuery, NewJob, Queue, Result};

/// How long a watch is relied on before the job is looked at in any case.
const LOOK: Duration = Duration::from_secs(5);

/// Conveniences over any [`Queue`]; implemented for all, never by one.
pub trait QueueExt: Queue {
    /// Puts one job in.
    ///
    /// # Errors
    /// `Full`, `Conflict`, `InvalidRequest`, `Unavailable`.
    fn submit(&self, job: NewJob) -> impl Future<Output = Result<JobId>> + Send {
        async move {
            let admission = self.enqueue(vec![job]).await?.pop();
            admission.ok_or_else(|| Error::new(ErrorKind::Internal, "the queue gave no answer"))?.into_id()
        }
    }

    /// Puts one value in, as JSON.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and `InvalidRequest` if the value has no JSON.
    fn submit_json<T>(&self, value: &T) -> impl Future<Output = Result<JobId>> + Send
    where
        T: Serialize + Sync + ?Sized,
    {
        async move { self.submit(NewJob::json(value)?).await }
    }

    /// Waits until the job has ended, up to `most`; gives it as it is then.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    ///
    /// # Cancel safety
    /// Safe to drop.
    fn wait(&self, id: JobId, most: Duration) -> impl Future<Output = Result<JobView>> + Send {
        async move {
            let deadline = Instant::now() + most.min(crate::config::LONGEST);
            // Watched before it is looked at, so that nothing is missed between.
            let mut watch = self.watch(id);
            loop {
                let Some(view) = self.get(id).await? else { return Err(not_found(id)) };
                if view.state.is_terminal() || Instant::now() >= deadline {
                    return Ok(view);
                }
                let look = deadline.min(Instant::now() + LOOK);
                // Whether it told or the time was up: the job is looked at.
                let _ = timeout_at(look, watch.changed()).await;
            }
        }
    }

    /// The events after number `after`; waits up to `most` for the first of them.
    ///
    /// Begin with 0, and go on with the number of the last one got, until one
    /// [is the last](Event::is_last).
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    ///
    /// # Cancel safety
    /// Safe to drop.
    fn next_events(
        &self,
        id: JobId,
        after: u64,
        most: Duration,
    ) -> impl Future<Output = Result<Vec<Event>>> + Send {
        async move {
            let deadline = Instant::now() + most.min(crate::config::LONGEST);
            let mut watch = self.watch(id);
            loop {
                let Some(events) = self.events(id, after).await? else { return Err(not_found(id)) };
                if !events.is_empty() || Instant::now() >= deadline {
                    return Ok(events);
                }
                let look = deadline.min(Instant::now() + LOOK);
                let _ = timeout_at(look, watch.changed()).await;
            }
        }
    }

    /// Puts back as many dead jobs as there are now; gives how many.
    ///
    /// # Errors
    /// `Unavailable`.
    fn requeue_all_dead(&self) -> impl Future<Output = Result<u64>> + Send {
        async move {
            let (mut requeued, mut pages) = (0, Pages::of(JobState::Dead));
            loop {
                let ids = pages.next(self).await?;
                if ids.is_empty() {
                    return Ok(requeued);
                }
                requeued += self.requeue(&ids).await?;
            }
        }
    }

    /// Forgets all jobs that have ended in this state; gives how many.
    ///
    /// # Errors
    /// `InvalidRequest` if jobs in this state have not ended, `Unavailable`.
    fn purge(&self, state: JobState) -> impl Future<Output = Result<u64>> + Send {
        async move {
            if !state.is_terminal() {
                let message = format!("only done, dead and cancelled jobs can be purged, not {state} ones");
                return Err(Error::invalid(message));
            }
            let (mut purged, mut pages) = (0, Pages::of(state));
            loop {
                let ids = pages.next(self).await?;
                if ids.is_empty() {
                    return Ok(purged);
                }
                purged += self.remove(&ids).await?;
            }
        }
    }
}

impl<T: Queue + ?Sized> QueueExt for T {}

/// The jobs in a state, a page after the other, for who takes them out of it.
struct Pages {
    state: JobState,
    /// How many there were at first, without those that were given since: what
    /// comes into the state meanwhile is not sent round for ever. (How many a call
    /// has changed says less: fewer, if its answer was lost and it was repeated.)
    left: Option<u64>,
}

impl Pages {
    const fn of(state: JobState) -> Self {
        Self { state, left: None }
    }

    /// The next of them; none at the end.
    async fn next<Q: Queue + ?Sized>(&mut self, queue: &Q) -> Result<Vec<JobId>> {
        let page = queue.list(&ListQuery::new(self.state).with_limit(ListQuery::MOST)).await?;
        let left = self.left.get_or_insert(page.total);
        if *left == 0 {
            return Ok(Vec::new());
        }
        *left = left.saturating_sub(page.jobs.len() as u64);
        Ok(page.jobs.iter().map(|job| job.id).collect())
    }
}

fn not_found(id: JobId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no job {id}, or no longer"))
}
