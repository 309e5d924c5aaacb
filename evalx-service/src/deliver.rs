//! [`DeliveryHandler`]: what a worker does with a delivery: waits for the
//! result, makes one attempt, and writes it into the delivery log, which is
//! the list of events of the delivery's job.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evalx_queue::{Claimed, DynQueue, Event, Handler, JobContext, Outcome, QueueExt};
use evalx_webhook::{
    AddressPolicy, Attempt, ConfigError, Courier, CourierConfig, Delivery, DeliveryId, RetryPolicy, Secrets,
};
use tracing::Instrument;

use crate::document::SubmissionDocument;
use crate::job::NotifyForm;
use crate::judge0;
use crate::notice::{Notice, Urgency, delivery_of};
use crate::trace;

/// The event of a delivery's job that is one attempt.
const ATTEMPT: &str = "attempt";
/// How long a delivery waits for its result before it makes room for others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who brings results to those who want to be told.
#[derive(Clone, Debug)]
pub struct Couriers {
    webhook: Arc<Courier>,
    judge0: Arc<Courier>,
    secrets: Arc<Secrets>,
}

impl Couriers {
    /// A courier by the rules of Standard Webhooks, which signs with
    /// `secrets`, and one like Judge0's.
    ///
    /// # Errors
    ///
    /// If the system's certificates can't be read.
    pub fn new(webhook: CourierConfig, secrets: Secrets) -> Result<Self, ConfigError> {
        let judge0 = CourierConfig::judge0().with_addresses(webhook.addresses);
        Ok(Self {
            webhook: Arc::new(Courier::new(webhook)?),
            judge0: Arc::new(Courier::new(judge0)?),
            secrets: Arc::new(secrets),
        })
    }

    /// As operators write it: a secret as `whsec_…`, or several with commas;
    /// whether loopback and private addresses are allowed; how often a failed
    /// delivery is tried again.
    ///
    /// # Errors
    ///
    /// What is wrong with the secret, or with the machine.
    pub fn from_settings(secret: Option<&str>, allow_private: bool, retries: u32) -> Result<Self, String> {
        let addresses = if allow_private { AddressPolicy::AllowPrivate } else { AddressPolicy::default() };
        let secrets: Secrets = match secret.filter(|text| !text.is_empty()) {
            Some(text) => {
                text.parse().map_err(|error| format!("the webhook secret is of no use: {error}"))?
            }
            None => Secrets::default(),
        };
        let config = CourierConfig::default()
            .with_addresses(addresses)
            .with_retries(RetryPolicy::default().with_retries(retries));
        Self::new(config, secrets).map_err(|error| error.to_string())
    }

    /// The courier for this form of telling.
    #[must_use]
    pub fn of(&self, form: NotifyForm) -> &Courier {
        match form {
            NotifyForm::Webhook => &self.webhook,
            NotifyForm::Judge0 => &self.judge0,
        }
    }
}

/// Delivers results.
#[derive(Debug)]
pub struct DeliveryHandler {
    submissions: DynQueue,
    couriers: Couriers,
}

impl DeliveryHandler {
    /// Delivers results of `submissions` by `couriers`.
    #[must_use]
    pub const fn new(submissions: DynQueue, couriers: Couriers) -> Self {
        Self { submissions, couriers }
    }

    async fn deliver(&self, notice: Notice, context: &JobContext) -> evalx_queue::Result<Outcome> {
        let queue = context.queue();
        if notice.urgency == Urgency::Late
            && queue.get(delivery_of(notice.submission, Urgency::Now)).await?.is_some()
        {
            return Ok(Outcome::done("another"));
        }
        let job = match self.submissions.wait(notice.submission, PATIENCE).await {
            Ok(job) => job,
            Err(error) if error.kind() == evalx_queue::ErrorKind::NotFound => {
                return Ok(Outcome::rejected("the result is gone"));
            }
            Err(error) => return Err(error),
        };
        if !job.state.is_terminal() {
            return Ok(Outcome::Retry { error: "there is no result yet".to_owned(), after: Some(PATIENCE) });
        }
        let body = match notice.notify.form {
            NotifyForm::Webhook => serde_json::to_string(&SubmissionDocument::new(&job)),
            NotifyForm::Judge0 => {
                let payload = self.submissions.payload(job.id).await?.unwrap_or_default();
                let order = serde_json::from_slice(&payload).ok();
                serde_json::to_string(&judge0::callback(&job, order.as_ref()))
            }
        };
        let Ok(body) = body else { return Ok(Outcome::rejected("the result can't be written as JSON")) };
        let Ok(id) = format!("msg_{}", notice.submission).parse::<DeliveryId>() else {
            return Ok(Outcome::rejected("the token is no id of a delivery"));
        };
        let mut delivery = Delivery::new(id, notice.notify.url, body);
        for _ in attempts(&queue.events(context.lease().id, 0).await?.unwrap_or_default()) {
            delivery = delivery.next();
        }
        let attempt = self.couriers.of(notice.notify.form).attempt(&delivery, &self.couriers.secrets).await;
        if let Ok(data) = serde_json::to_vec(&attempt) {
            // A lost line of the log means one more attempt, never one fewer.
            context.emit(ATTEMPT, data).await?;
        }
        Ok(match attempt.outcome {
            evalx_webhook::Outcome::Delivered => Outcome::done("delivered"),
            evalx_webhook::Outcome::Retry { after } => {
                Outcome::Retry { error: format!("attempt {} failed", attempt.attempt), after: Some(after) }
            }
            _ => Outcome::rejected(format!("given up after attempt {}", attempt.attempt)),
        })
    }
}

#[async_trait]
impl Handler for DeliveryHandler {
    async fn handle(&self, claimed: Claimed, context: JobContext) -> Outcome {
        let notice: Notice = match claimed.decode() {
            Ok(notice) => notice,
            Err(error) => return Outcome::rejected(error.chain()),
        };
        let span = tracing::info_span!("delivery", claimed.attempt);
        trace::join(&span, claimed.trace.as_deref());
        match Box::pin(self.deliver(notice, &context)).instrument(span).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::retry(error.chain()),
        }
    }
}

/// The attempts among the events of a delivery's job.
pub(crate) fn attempts(events: &[Event]) -> Vec<Attempt> {
    let of_attempt = events.iter().filter(|event| event.name == ATTEMPT);
    of_attempt.filter_map(|event| serde_json::from_slice(&event.data).ok()).collect()
}
