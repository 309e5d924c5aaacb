//! [`Notices`]: that somebody is to be told of a result, as jobs of a queue of
//! their own.
//!
//! ```text
//! submission ends ── announce ──────► delivery                 ─► attempts
//! its last worker begins ─ announce_later ─► delivery, delayed ─► only if there was none
//! ```

use std::time::Duration;

use evalx_queue::{DynQueue, JobId, NewJob, QueueExt, Result};
use serde::{Deserialize, Serialize};

use crate::job::Notify;
use crate::trace;

/// The payload of a job that delivers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) submission: JobId,
    pub(crate) notify: Notify,
    pub(crate) urgency: Urgency,
}

/// Which of the two deliveries of a submission it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Urgency {
    /// The submission ends now.
    Now,
    /// Somebody else should have announced it meanwhile.
    Late,
}

/// How often a delivery may be begun. Its retries are those of the courier;
/// this only bounds how long it waits for a result that does not come.
const MOST_ATTEMPTS: u32 = 1000;

/// Puts deliveries into their queue.
#[derive(Clone, Debug)]
pub struct Notices {
    deliveries: DynQueue,
}

impl Notices {
    /// Deliveries go to this queue.
    #[must_use]
    pub const fn new(deliveries: DynQueue) -> Self {
        Self { deliveries }
    }

    /// Has the result of a submission delivered as soon as it is there, in its
    /// tenant's turn. Announcing it again changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::enqueue`](evalx_queue::Queue::enqueue).
    pub async fn announce(&self, submission: JobId, tenant: &str, notify: &Notify) -> Result<()> {
        self.enqueue(submission, tenant, notify, Urgency::Now, Duration::ZERO).await
    }

    /// Has the result of a submission delivered after `patience`, unless it is
    /// announced before.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::enqueue`](evalx_queue::Queue::enqueue).
    pub async fn announce_later(
        &self,
        submission: JobId,
        tenant: &str,
        notify: &Notify,
        patience: Duration,
    ) -> Result<()> {
        self.enqueue(submission, tenant, notify, Urgency::Late, patience).await
    }

    async fn enqueue(
        &self,
        submission: JobId,
        tenant: &str,
        notify: &Notify,
        urgency: Urgency,
        delay: Duration,
    ) -> Result<()> {
        let notice = Notice { submission, notify: notify.clone(), urgency };
        let mut job = NewJob::json(&notice)?
            .with_id(delivery_of(submission, urgency))
            .with_tenant(tenant)
            .with_language("delivery")
            .with_max_attempts(MOST_ATTEMPTS)
            .with_delay(delay);
        job.trace = trace::current();
        self.deliveries.submit(job).await.map(|_| ())
    }
}

/// The id of the job that delivers: always the same, so that announcing twice is once.
pub(crate) fn delivery_of(submission: JobId, urgency: Urgency) -> JobId {
    let mark = match urgency {
        Urgency::Now => 0x6e6f_7700,
        Urgency::Late => 0x6c61_7465,
    };
    JobId::from_u128(submission.as_u128() ^ mark)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evalx_queue::{JobId, Queue as _, WorkerId};

    use super::*;
    use crate::{Durability, NotifyForm, QueueConfig, Queues, QueuesConfig};

    #[tokio::test]
    async fn a_delivery_is_its_tenant_s_and_no_limit_of_submissions_is_its_own() {
        let few = QueueConfig::default().with_max_depth(1).with_tenant_depth(Some(1));
        let queues = Queues::open("memory", QueuesConfig::default().with_queue(few)).await.unwrap();
        assert_eq!(queues.deliveries.durability(), Durability::None);
        let notices = Notices::new(Arc::clone(&queues.deliveries));
        let notify = Notify::new("https://school.example/", NotifyForm::Webhook);
        for tenant in ["ann", "bob", "bob"] {
            notices.announce(JobId::new(), tenant, &notify).await.unwrap();
        }
        let claimed = queues.deliveries.claim(&WorkerId::unique(), 3, Duration::ZERO).await.unwrap();
        let tenants: Vec<_> = claimed.iter().map(|job| job.tenant.as_str()).collect();
        assert_eq!(tenants, ["ann", "bob", "bob"]);
    }
}
