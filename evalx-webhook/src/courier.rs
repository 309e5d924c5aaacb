//! [`Courier`]: makes one attempt at a delivery, and says what comes next.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::connect::Connector;
use crate::exchange::Exchange;
use crate::failure::Waiting;
use crate::{
    Answer, Attempt, ConfigError, CourierConfig, Delivery, Ending, Failure, Form, ID_HEADER,
    SIGNATURE_HEADER, Secrets, TIMESTAMP_HEADER, Target, TargetError, sign,
};

/// Makes attempts at deliveries. It waits for nothing between them: when the
/// next is due is for the host's queue to see to, which outlives a crash.
pub struct Courier {
    config: CourierConfig,
    connector: Connector,
}

impl Courier {
    /// A courier of this configuration.
    ///
    /// # Errors
    ///
    /// If the additional authorities are no certificates.
    pub fn new(config: CourierConfig) -> Result<Self, ConfigError> {
        let connector = Connector {
            policy: config.addresses,
            resolver: Arc::clone(&config.resolver),
            tls: TlsConnector::from(Arc::new(config.tls()?)),
        };
        Ok(Self { config, connector })
    }

    /// Checks a URL as far as its text tells, so that whoever names it hears at
    /// once what is wrong with it. The addresses of its host name are checked
    /// at every attempt.
    ///
    /// # Errors
    ///
    /// The [`TargetError`] says what is wrong with it, and what is allowed.
    pub fn check(&self, url: &str) -> Result<Target, TargetError> {
        Target::parse(url, self.config.addresses)
    }

    /// Makes one attempt, signed with each of `secrets`, and says what came of it.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped ends the connection. The receiver may have got
    /// the delivery or not; an attempt that is made again has the same id.
    #[tracing::instrument(level = "debug", skip_all, fields(delivery.id = %delivery.id, delivery.attempt = delivery.attempt))]
    pub async fn attempt(&self, delivery: &Delivery, secrets: &Secrets) -> Attempt {
        let (started, began) = (SystemTime::now(), Instant::now());
        let exchange = self.exchange(delivery, secrets, started).await;
        let took = began.elapsed();
        let ending = match &exchange {
            Ok(exchange) => Ending::Answered(exchange.answer(SystemTime::now())),
            Err(failure) => Ending::Failed(failure.clone()),
        };
        let outcome = self.config.retries.decide(delivery.attempt, &ending, fastrand::f64());
        let (status, failure) = match ending {
            Ending::Answered(answer) => (Some(answer.status), self.failure(&answer)),
            Ending::Failed(failure) => (None, Some(failure)),
        };
        #[cfg(feature = "metrics")]
        {
            metrics::counter!("evalx_webhook_attempts_total", "outcome" => outcome.as_str()).increment(1);
            metrics::histogram!("evalx_webhook_attempt_seconds", "outcome" => outcome.as_str()).record(took);
        }
        tracing::debug!(status, outcome = outcome.as_str(), took = ?took, "attempted a delivery");
        if let Ok(exchange) = exchange {
            exchange.finish().await;
        }
        Attempt {
            id: delivery.id.clone(),
            attempt: delivery.attempt,
            started,
            took,
            status,
            failure,
            outcome,
        }
    }

    /// Why this answer is no success, to whom a bad status is none.
    fn failure(&self, answer: &Answer) -> Option<Failure> {
        match self.config.retries.success {
            crate::Success::GoodStatus => answer.failure(),
            crate::Success::AnyAnswer => None,
        }
    }

    async fn exchange(
        &self,
        delivery: &Delivery,
        secrets: &Secrets,
        now: SystemTime,
    ) -> Result<Exchange, Failure> {
        let refused = |error: TargetError| Failure::Refused { reason: error.to_string() };
        let target = self.check(&delivery.url).map_err(refused)?;
        let request = self.request(&target, delivery, secrets, now)?;
        let deadline = Instant::now() + self.config.attempt_time;
        let connection =
            self.connector.connect(&target, self.config.connect_time.min(self.config.attempt_time));
        let connection = connection.await?;
        let late = Failure::TimedOut { waiting_for: Waiting::Answer };
        timeout_at(deadline, Exchange::begin(connection, request)).await.unwrap_or(Err(late))
    }

    fn request(
        &self,
        target: &Target,
        delivery: &Delivery,
        secrets: &Secrets,
        now: SystemTime,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let method = match self.config.form {
            Form::StandardWebhook => Method::POST,
            Form::Judge0Callback => Method::PUT,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target.path_and_query())
            .header(HOST, target.authority())
            .header(
                USER_AGENT,
                HeaderValue::from_static(concat!("evalx-webhook/", env!("CARGO_PKG_VERSION"))),
            )
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.config.form == Form::StandardWebhook {
            let timestamp = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request.header(ID_HEADER, delivery.id.as_str()).header(TIMESTAMP_HEADER, timestamp);
            if !secrets.is_empty() {
                let signature = sign(secrets, delivery.id.as_str(), timestamp, delivery.body.as_bytes());
                request = request.header(SIGNATURE_HEADER, signature);
            }
        }
        // The two parsers of URLs differ in a few characters.
        request.body(Full::from(delivery.body.clone())).map_err(|_| Failure::Refused {
            reason: "the URL has characters that are not allowed in a request".to_owned(),
        })
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("config", &self.config).finish_non_exhaustive()
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Courier>();
};
