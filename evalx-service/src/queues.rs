//! [`Queues`]: the queue of submissions and the one of deliveries, in memory
//! or on Redis.

use std::sync::Arc;

use evalx_queue::{DynQueue, Error, ErrorKind, MemoryQueue, QueueConfig, Result};

/// The larger a payload or result may be, the more memory a full queue takes.
const MAX_PAYLOAD: usize = 32 << 20;

/// The queues that servers and workers share.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Programs to be evaluated.
    pub submissions: DynQueue,
    /// Results to be delivered.
    pub deliveries: DynQueue,
}

impl Queues {
    /// Opens the queues of this address: `memory`, or with the feature `redis`
    /// what `RedisConfig::url` says.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> evalx_queue::Result<()> {
    /// use evalx_service::{QueueConfig, Queues};
    ///
    /// let queues = Queues::open("memory", QueueConfig::default()).await?;
    /// assert_eq!(queues.submissions.stats().await?.depth(), 0);
    /// assert!(Queues::open("amqp://localhost", QueueConfig::default()).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an address that means nothing, `Unavailable` if
    /// Redis does not answer.
    pub async fn open(address: &str, config: QueueConfig) -> Result<Self> {
        let config = config.with_max_payload(MAX_PAYLOAD).with_max_event_bytes(MAX_PAYLOAD as u64);
        if address == "memory" {
            return Ok(Self {
                submissions: Arc::new(MemoryQueue::new(config.clone())?),
                deliveries: Arc::new(MemoryQueue::new(config)?),
            });
        }
        #[cfg(feature = "redis")]
        if ["redis://", "rediss://", "redis-sentinel://", "unix://"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
        {
            use evalx_queue::{RedisConfig, RedisQueue};

            let open = async |name: &str| -> Result<DynQueue> {
                let redis = RedisConfig::new(address).with_name(name).with_queue(config.clone());
                Ok(Arc::new(RedisQueue::connect(redis).await?) as DynQueue)
            };
            return Ok(Self {
                submissions: open("evalx").await?,
                deliveries: open("evalx-deliveries").await?,
            });
        }
        // The address may hold a password: only its scheme is told.
        let scheme = address.split(':').next().unwrap_or_default();
        Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("no queue is reached by `{}`: write memory or redis://…", scheme.escape_default()),
        ))
    }
}
