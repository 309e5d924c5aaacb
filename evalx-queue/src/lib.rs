//! A queue of jobs that loses nothing, in memory and on Redis.
//!
//! What was accepted is run, or ends among the dead letters with its reason. A
//! job whose worker is killed is given to another; one that kills its workers
//! is taken out of the way; a worker that comes back from the dead changes
//! nothing. Jobs are bytes, and the queue knows nothing of sandboxes.
//!
//! # The words
//!
//! | Word | What it means | Type |
//! |---|---|---|
//! | queue | where jobs wait | [`Queue`], [`MemoryQueue`] |
//! | job | what is to be done, as bytes | [`NewJob`], [`Claimed`], [`JobView`] |
//! | tenant | on whose behalf: each gets its turn | [`NewJob::tenant`] |
//! | lease | the proof that a job is one worker's, with a token that only grows | [`Lease`] |
//! | outcome | how the run of a job ended | [`Outcome`] |
//! | event | what happened to a job, numbered, for those who follow it | [`Event`] |
//! | dead | failed for good, kept with all its errors until somebody looks | [`JobState::Dead`] |
//! | blob | something too large for a job | [`BlobId`] |
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> evalx_queue::Result<()> {
//! use std::sync::Arc;
//! use std::time::Duration;
//! use evalx_queue::{DynQueue, MemoryQueue, NewJob, Outcome, QueueExt, Worker, WorkerConfig, handler_fn};
//!
//! let queue: DynQueue = Arc::new(MemoryQueue::default());
//! let shout = handler_fn(|job, context| async move {
//!     // Whoever follows the job sees this at once, or later.
//!     if let Err(error) = context.emit("inhaled", "").await {
//!         return Outcome::retry(error.chain());
//!     }
//!     Outcome::done(job.payload.to_ascii_uppercase())
//! });
//! let worker = Worker::start(Arc::clone(&queue), shout, WorkerConfig::default())?;
//!
//! let id = queue.submit(NewJob::new("hello").with_tenant("ada").with_language("text")).await?;
//! let job = queue.wait(id, Duration::from_secs(10)).await?;
//! assert_eq!(job.result.as_deref(), Some(&b"HELLO"[..]));
//!
//! let names: Vec<_> = queue.next_events(id, 0, Duration::ZERO).await?.into_iter().map(|e| e.name).collect();
//! assert_eq!(names, ["queued", "started", "inhaled", "done"]);
//! worker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - **At-least-once execution, exactly one visible result.** A job may be
//!   begun again if its worker is lost. What is said by an old lease is
//!   [`Settled::Stale`] and changes nothing; the first end of a job stands.
//! - **Retries are for infrastructure.** A program that fails has run: that is a
//!   result. Only what the machinery could not do is tried again, after a random
//!   time whose limit doubles, [`QueueConfig::max_attempts`] times.
//! - **Poison is contained.** A job that loses [`QueueConfig::max_crashes`]
//!   workers is dead, whatever attempts remain.
//! - **Nobody starves.** Tenants take turns, whatever their number of jobs; of
//!   each sixteen jobs, one is of the lowest priority and one of that in the middle.
//! - **Nothing grows without bound.** Depth, attempts, errors, events, sizes and
//!   the time that things are kept have limits, and meeting one is an answer.
//!
//! # Why not one of the existing queues
//!
//! Those that were tried lost jobs whose worker was killed, or never retried
//! them, or let a worker that had lost its lease overwrite the result of
//! another. The repository's `docs/decisions` has what was measured.
//!
//! # Crate features
//!
//! - **redis**: `RedisQueue`, durable, shared by any number of processes.
//! - **tls**: `rediss://` addresses, checked against the certificates of the
//!   system (or of `SSL_CERT_FILE`).
//! - **metrics**: what is observed is told to the `metrics` facade. Which
//!   exporter is installed is the application's choice.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod config;
mod error;
mod event;
mod ext;
mod id;
mod job;
mod label;
mod memory;
#[cfg(feature = "metrics")]
mod observed;
mod queue;
#[cfg(feature = "redis")]
mod redis;
mod settle;
mod stats;
mod telemetry;
mod time;
mod view;
mod watch;
mod worker;

pub use admission::{Admission, Scope};
pub use config::QueueConfig;
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, EventKind, NewEvent};
pub use ext::QueueExt;
pub use id::{BlobId, JobId, WorkerId};
pub use job::{Claimed, Lease, NewJob, Priority};
pub use memory::MemoryQueue;
#[cfg(feature = "metrics")]
pub use observed::Observed;
pub use queue::{DynQueue, Queue};
#[cfg(feature = "redis")]
pub use redis::{RedisConfig, RedisQueue};
pub use settle::{Beat, Cancellation, Finished, Outcome, Settled, Settlement};
pub use stats::{Control, Durability, Limits, Stats, Swept};
pub use time::{Clock, ManualClock, SteadyClock, Timestamp};
pub use view::{AttemptError, JobState, JobView, ListQuery, Page};
pub use watch::Watch;
pub use worker::{Drained, Handler, JobContext, Worker, WorkerConfig, handler_fn, json_fn};
