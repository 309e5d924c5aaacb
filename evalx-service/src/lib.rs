//! Submissions as jobs: the part of a judging service that is the same whatever
//! protocol it speaks, and whichever process does it.
//!
//! ```text
//!  a server ── Service ──► queue of submissions ──► Workers ── Engine ──► sandbox
//!     ▲          │ ▲            │        ▲             │
//!     │          │ └─ events ◄──┘        └── result ◄──┤
//!     │          └──────► queue of deliveries ◄────────┘ announced
//!     │                        └──► Workers ── Couriers ──► who wants to be told
//!   one dialect or several
//! ```
//!
//! - A [`Service`] takes an [`Order`]; then it can be waited for, asked for, followed
//!   and cancelled.
//! - [`Workers`] take a [`Job`], have the [`Engine`]'s evaluator evaluate it, report
//!   each test as it ends, and leave an [`Answer`].
//! - A [`SubmissionDocument`] is all of it as JSON.
//! - [`Couriers`] deliver results to those who asked for it, as jobs of a queue of
//!   their own: a process that dies in between loses no delivery.
//!
//! The server and the workers may be one process or many; with a queue on Redis,
//! any of them may die at any moment.
//!
//! # Example
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::num::NonZeroUsize;
//! use std::time::Duration;
//! use evalx_core::Submission;
//! use evalx_service::{
//!     Couriers, Engine, EngineConfig, Job, Order, Queues, QueuesConfig, Service, SubmissionDocument, Workers,
//! };
//!
//! let queues = Queues::open("memory", QueuesConfig::default()).await?;
//! let engine = Engine::start(EngineConfig::new(NonZeroUsize::MIN)).await?;
//! let couriers = Couriers::new(Default::default(), Default::default())?;
//! let workers = Workers::start(&queues, &engine, couriers, 2, Duration::from_secs(20))?;
//!
//! let service = Service::new(queues);
//! let job = Job::new(Submission::new("python", "print('Hello, world!')"));
//! let minute = Duration::from_secs(60);
//! let admission = service.accept(vec![Order::new(job, "a school", minute)]).await?.remove(0);
//! let job = service.wait(admission.into_id()?, minute).await?;
//! println!("{:?}", SubmissionDocument::new(&job).verdict);
//!
//! workers.shutdown().await;
//! engine.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Crate features
//!
//! - **isolate** (default): the backend `isolate`, besides the native one.
//! - **docker**: the backend `docker`; `EVALX_DOCKER_IMAGE` names its image.
//! - **redis**: queues on Redis.
//! - **metrics**: what jobs, sandboxes and deliveries tell the `metrics` facade.
//! - **prometheus**: shows these to Prometheus; for applications.
//! - **openapi**: schemas of the documents.
//! - **logging**: [`Log`], where an application's log goes.
//! - **otel**: its spans, to a collector of OpenTelemetry.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod deliver;
mod document;
mod engine;
mod evaluate;
#[cfg(feature = "prometheus")]
mod exporter;
mod interactive;
mod job;
pub mod judge0;
#[cfg(feature = "logging")]
mod log;
mod notice;
mod queues;
mod seats;
mod service;
mod settings;
mod teller;
mod timestamp;
mod trace;
mod workers;

pub use deliver::{Couriers, DeliveryHandler};
pub use document::{Status, SubmissionDocument, TestDocument, compile_document, hint_text};
pub use engine::{Engine, EngineConfig};
pub use evaluate::{COMPILED, Compiled, EvaluationHandler, TEST, Tested};
pub use evalx::Choice;
pub use evalx::native::Cgroup;
pub use evalx_core::{LimitDocument, ReportDocument, parse_time};
pub use evalx_queue::{Durability, QueueConfig};
pub use evalx_webhook::{AddressPolicy, CourierConfig, Secrets};
#[cfg(feature = "prometheus")]
pub use exporter::Exporter;
pub use interactive::{EndReason, Interactive, Listener, Overrun, Said, SessionEnd, Sitting, Typist};
pub use job::{Answer, Job, Notify, NotifyForm};
#[cfg(feature = "logging")]
pub use log::{Log, LogError};
pub use notice::Notices;
pub use queues::{Queues, QueuesConfig};
pub use seats::{NoSeat, Seat, Seats, SessionRules};
pub use service::{Order, Service};
pub use settings::{languages_with, sandbox_choice};
pub use timestamp::rfc3339;
pub use workers::Workers;
