//! [`Queues`]: the queue of submissions and the one of deliveries, in memory
//! or on Redis.

use std::sync::Arc;

use evalx_queue::{Durability, DynQueue, Error, ErrorKind, MemoryQueue, QueueConfig, Result};

/// The larger a payload or result may be, the more memory a full queue takes.
const MAX_PAYLOAD: usize = 32 << 20;

/// What holds for the queues that servers and workers share.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueuesConfig {
    /// What holds for every job.
    pub queue: QueueConfig,
    /// What an accepted submission must survive; nothing by default. Queues that
    /// promise less are not opened.
    pub durability: Durability,
    /// How many replicas of the Redis server must have a submission before it is
    /// accepted; 0 by default.
    pub replicas: u32,
}

impl Default for QueuesConfig {
    fn default() -> Self {
        Self { queue: QueueConfig::default(), durability: Durability::None, replicas: 0 }
    }
}

impl QueuesConfig {
    /// Sets what holds for every job.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets what an accepted submission must survive.
    #[must_use]
    pub const fn with_durability(mut self, least: Durability) -> Self {
        self.durability = least;
        self
    }

    /// Sets how many replicas must have a submission.
    #[must_use]
    pub const fn with_replicas(mut self, least: u32) -> Self {
        self.replicas = least;
        self
    }
}

/// The most deliveries that wait, which are small.
const MOST_DELIVERIES: u64 = 1_000_000;

/// The queues that servers and workers share.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// use evalx_service::{Durability, Queues, QueuesConfig};
    ///
    /// let queues = Queues::open("memory", QueuesConfig::default()).await?;
    /// assert_eq!(queues.submissions.stats().await?.depth(), 0);
    /// let fsync = QueuesConfig::default().with_durability(Durability::Fsync);
    /// assert!(Queues::open("memory", fsync).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an address that means nothing, `Unavailable` if
    /// Redis does not answer, `Unsupported` if it promises less than is required.
    pub async fn open(address: &str, config: QueuesConfig) -> Result<Self> {
        let QueuesConfig { queue, durability, replicas } = config;
        let config = queue.with_max_payload(MAX_PAYLOAD).with_max_event_bytes(MAX_PAYLOAD as u64);
        // Receivers that don't answer hold up deliveries, and these no submissions: a
        // result whose delivery is refused is lost.
        let deliveries = config.clone().with_tenant_depth(None).with_max_depth(MOST_DELIVERIES);
        if address == "memory" {
            if durability > Durability::None || replicas > 0 {
                let message = "a queue in memory is gone with its process, and more than that is required";
                return Err(Error::new(ErrorKind::Unsupported, message).with_help("name a queue on Redis"));
            }
            return Ok(Self {
                submissions: Arc::new(MemoryQueue::new(config)?),
                deliveries: Arc::new(MemoryQueue::new(deliveries)?),
            });
        }
        #[cfg(feature = "redis")]
        if ["redis://", "rediss://", "redis-sentinel://", "rediss-sentinel://", "unix://"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
        {
            use evalx_queue::{RedisConfig, RedisQueue};

            let open = async |name: &str, config: QueueConfig| -> Result<DynQueue> {
                let redis = RedisConfig::new(address)
                    .with_name(name)
                    .with_queue(config)
                    .with_require_durability(durability)
                    .with_replicas(replicas);
                Ok(Arc::new(RedisQueue::connect(redis).await?) as DynQueue)
            };
            return Ok(Self {
                submissions: open("evalx", config).await?,
                deliveries: open("evalx-deliveries", deliveries).await?,
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
