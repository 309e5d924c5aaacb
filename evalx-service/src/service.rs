//! [`Service`]: what one can do with submissions, in whatever dialect it is
//! asked for: hand them in, wait, ask, follow, cancel.

use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{
    Admission, Cancellation, Error, ErrorKind, Event, JobId, JobState, JobView, ListQuery, NewJob, Page,
    Priority, Queue, QueueExt, Result, Stats,
};
use evalx_webhook::Attempt;
use tokio_util::sync::CancellationToken;

use crate::deliver::attempts;
use crate::job::Job;
use crate::notice::{Notices, Urgency, delivery_of};
use crate::queues::Queues;
use crate::trace;

/// A submission that somebody hands in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Order {
    /// What is to be evaluated.
    pub job: Job,
    /// On whose behalf.
    pub tenant: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What makes a repeated order be recognised.
    pub idempotency_key: Option<String>,
    /// How long it may run, all tests together.
    pub max_run: Duration,
}

impl Order {
    /// An ordinary order of this tenant.
    pub fn new(job: Job, tenant: impl Into<String>, max_run: Duration) -> Self {
        Self { job, tenant: tenant.into(), priority: Priority::Normal, idempotency_key: None, max_run }
    }

    /// Sets how urgent it is.
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets what makes a repeated order be recognised.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: Option<String>) -> Self {
        self.idempotency_key = key;
        self
    }

    fn into_job(self) -> Result<NewJob> {
        let mut job = NewJob::json(&self.job)?
            // Random in all its bits: who knows one token must not guess another.
            .with_id(JobId::from_u128(uuid::Uuid::new_v4().as_u128()))
            .with_tenant(self.tenant)
            .with_language(self.job.submission.code.language)
            .with_priority(self.priority)
            .with_max_run(self.max_run);
        job.trace = trace::current();
        Ok(match self.idempotency_key {
            Some(key) => job.with_idempotency_key(key),
            None => job,
        })
    }
}

/// What one can do with submissions. Clones are the same service.
#[derive(Clone, Debug)]
pub struct Service {
    queues: Queues,
    notices: Notices,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Service {
    /// A service over these queues.
    #[must_use]
    pub fn new(queues: Queues) -> Self {
        let notices = Notices::new(Arc::clone(&queues.deliveries));
        Self { queues, notices, closing: CancellationToken::new(), closed: CancellationToken::new() }
    }

    /// The queues that it is over.
    #[must_use]
    pub const fn queues(&self) -> &Queues {
        &self.queues
    }

    /// From now on no order is taken. Who waits goes on waiting.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Nothing more will run in this process: who still waits is told so.
    pub fn abandon(&self) {
        self.closing.cancel();
        self.closed.cancel();
    }

    /// Whether orders are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closing.is_cancelled()
    }

    /// Hands in orders, all at once; says of each what became of it.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an order that no queue takes: it is too large, or
    /// its idempotency key is odd. `Unavailable` if the queue is, or after
    /// [`close`](Self::close).
    pub async fn accept(&self, orders: Vec<Order>) -> Result<Vec<Admission>> {
        if !self.is_open() {
            return Err(shutting_down());
        }
        let jobs: Vec<NewJob> = orders.into_iter().map(Order::into_job).collect::<Result<_>>()?;
        self.queues.submissions.enqueue(jobs).await
    }

    /// What is known of a submission of this tenant; `None` if there is none.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn find(&self, tenant: &str, id: JobId) -> Result<Option<JobView>> {
        Ok(self.queues.submissions.get(id).await?.filter(|job| job.tenant == tenant))
    }

    /// The order of a submission that was found, as long as it is known.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn job_of(&self, id: JobId) -> Result<Option<Job>> {
        let Some(payload) = self.queues.submissions.payload(id).await? else { return Ok(None) };
        serde_json::from_slice(&payload).map(Some).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, "a job of the queue is no submission").with_source(error)
        })
    }

    /// Waits until a submission that was accepted has ended, but not longer
    /// than `most`; gives it as it is then.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is gone, `Unavailable` if the queue is, or once this
    /// process ends.
    pub async fn wait(&self, id: JobId, most: Duration) -> Result<JobView> {
        tokio::select! {
            job = self.queues.submissions.wait(id, most) => job,
            () = self.closed.cancelled() => match self.queues.submissions.get(id).await? {
                // It may have ended just before.
                Some(job) if job.state.is_terminal() => Ok(job),
                _ => Err(shutting_down()),
            },
        }
    }

    /// What has happened to a submission after the event of this number; waits
    /// for the next, but not longer than `most`.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub async fn next_events(&self, id: JobId, after: u64, most: Duration) -> Result<Vec<Event>> {
        tokio::select! {
            events = self.queues.submissions.next_events(id, after, most) => events,
            () = self.closed.cancelled() => Err(shutting_down()),
        }
    }

    /// Cancels a submission of this tenant, queued or running. What runs is
    /// killed at once.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn cancel(&self, tenant: &str, id: JobId) -> Result<Cancellation> {
        if self.find(tenant, id).await?.is_none() {
            return Ok(Cancellation::NotFound);
        }
        let cancellation = self.queues.submissions.cancel(id).await?;
        if matches!(cancellation, Cancellation::Done | Cancellation::Requested) {
            // Its worker won't announce it: its handler is dropped, or never begins.
            if let Some(notify) = self.job_of(id).await?.and_then(|job| job.notify) {
                self.notices.announce(id, tenant, &notify).await?;
            }
        }
        Ok(cancellation)
    }

    /// The delivery log of a submission: every attempt to tell of its result.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn deliveries(&self, id: JobId) -> Result<Vec<Attempt>> {
        let mut log = Vec::new();
        for urgency in [Urgency::Now, Urgency::Late] {
            let events = self.queues.deliveries.events(delivery_of(id, urgency), 0).await?;
            log.extend(attempts(&events.unwrap_or_default()));
        }
        Ok(log)
    }

    /// Submissions in a state, of all tenants.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a page that is too large, `Unavailable`.
    pub async fn list(&self, state: JobState, offset: u64, limit: u64) -> Result<Page> {
        self.queues.submissions.list(&ListQuery::new(state).with_offset(offset).with_limit(limit)).await
    }

    /// Puts a dead submission back; whether there was one.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn requeue(&self, id: JobId) -> Result<bool> {
        Ok(self.queues.submissions.requeue(&[id]).await? == 1)
    }

    /// Forgets a submission that has ended; whether there was one.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if it has not ended, `Unavailable`.
    pub async fn remove(&self, id: JobId) -> Result<bool> {
        Ok(self.queues.submissions.remove(&[id]).await? == 1)
    }

    /// How the queue of submissions is.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    pub async fn stats(&self) -> Result<Stats> {
        self.queues.submissions.stats().await
    }
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is shutting down").with_retry_after(Duration::from_secs(5))
}
