//! Webhook deliveries that are signed, retried and kept away from private addresses.
//!
//! A host that tells others what has happened sends requests to URLs that
//! others have named. That asks for three things, and this crate does them:
//!
//! - **The receiver must know who sends.** Deliveries are signed by the rules
//!   of [Standard Webhooks](https://www.standardwebhooks.com/), with several
//!   secrets while they rotate: [`Secrets`], [`sign`], and for the other side
//!   [`verify`].
//! - **A delivery must arrive, though the receiver may be down.** A
//!   [`RetryPolicy`] says whether and when to try again. A [`Courier`] makes
//!   one attempt, waits for nothing, and says what comes next; the host's queue
//!   does the waiting, so that a crash loses no delivery.
//! - **A URL must lead nowhere that its author could not go.** An
//!   [`AddressPolicy`] is held at the moment of connecting, after the host name
//!   was looked up, and on the very addresses that are connected to.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use evalx_webhook::{Courier, CourierConfig, Delivery, Failure, Outcome, Secrets};
//!
//! let courier = Courier::new(CourierConfig::default())?;
//! let secrets: Secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//!
//! // When somebody names a URL: say at once what is wrong with it.
//! assert!(courier.check("http://169.254.169.254/latest/meta-data/").is_err());
//!
//! // In the job of a queue: one attempt.
//! let delivery = Delivery::new("msg_1".parse()?, "http://127.0.0.1:9000/done", r#"{"verdict":"accepted"}"#);
//! let attempt = courier.attempt(&delivery, &secrets).await;
//! match attempt.outcome {
//!     Outcome::Delivered => println!("done"),
//!     Outcome::Retry { after } => println!("queue {:?} again, {after:?} from now", delivery.clone().next()),
//!     _ => println!("given up"),
//! }
//! assert!(matches!(attempt.failure, Some(Failure::Refused { .. }))); // loopback is not public
//! # Ok(())
//! # }
//! ```
//!
//! # What a receiver must know
//!
//! A delivery comes at least once: if its sender dies between sending and
//! writing that down, it comes again, with the same [`webhook-id`](ID_HEADER).
//!
//! # Why no HTTP client
//!
//! Checks of addresses in front of a client that resolves and connects by
//! itself have gaps: literal addresses skip its resolver, proxies from the
//! environment resolve elsewhere, redirects begin anew, pooled connections were
//! checked for somebody else. Here the crate itself looks up, checks, connects,
//! and only then speaks HTTP/1.1 over what it got.
//!
//! # Crate features
//!
//! - **metrics**: tells the `metrics` facade `evalx_webhook_attempts_total` and
//!   `evalx_webhook_attempt_seconds`, each by `outcome`. Which exporter is
//!   installed is the application's choice.

mod address;
mod config;
mod connect;
mod courier;
mod delivery;
mod exchange;
mod failure;
mod milliseconds;
mod resolve;
mod retry;
mod secret;
mod signature;
mod target;

pub use address::{AddressPolicy, Refusal};
pub use config::{ConfigError, CourierConfig, Form};
pub use courier::Courier;
pub use delivery::{Attempt, Delivery, DeliveryId, DeliveryIdError};
pub use failure::{Failure, Waiting};
pub use resolve::{Resolve, SystemResolver};
pub use retry::{Answer, Ending, Outcome, RetryPolicy, Success, parse_retry_after};
pub use secret::{Secret, SecretError, Secrets};
pub use signature::{
    ID_HEADER, SIGNATURE_HEADER, SignedHeaders, TIMESTAMP_HEADER, VerifyError, sign, verify,
};
pub use target::{Target, TargetError};
