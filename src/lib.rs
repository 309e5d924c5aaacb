//! evalx runs untrusted source code for a host application: safely, at nearly
//! the speed of running it unprotected, and with an answer a person can use.
//!
//! This crate re-exports the others, so that an application has one
//! dependency: all of [`evalx-core`](evalx_core), the vocabulary, the traits and
//! the [`Evaluator`]; and the backends, by feature. Of a backend its sandbox and
//! its settings are here, all else in the module of its name: `native`, `isolate`
//! or `docker`. Their pages say more.
//!
//! # Example
//!
//! A C++ program is compiled once, run on two inputs, and judged:
//!
#![cfg_attr(feature = "native", doc = "```no_run")]
#![cfg_attr(not(feature = "native"), doc = "```ignore")]
//! use std::sync::Arc;
//! use evalx::{Evaluator, NativeConfig, NativeSandbox, Sandbox, Submission, Test, Verdict};
//!
//! const SUM: &str = "#include <iostream>
//!     int main() { long a, b; std::cin >> a >> b; std::cout << a + b; }";
//!
//! #[tokio::main]
//! async fn main() -> evalx::Result<()> {
//!     let sandbox = Arc::new(NativeSandbox::start(NativeConfig::default()).await?);
//!     let submission = Submission::new("cpp", SUM)
//!         .with_test(Test::new("small", "1 2").with_expected("3"))
//!         .with_test(Test::new("large", "1000000 -1").with_expected("999999"));
//!     let evaluation = Evaluator::new(Arc::clone(&sandbox)).evaluate(submission).await?;
//!     assert_eq!(evaluation.verdict, Verdict::Accepted);
//!     sandbox.shutdown().await
//! }
//! ```
//!
//! It needs a machine that can run the backend; `examples/quickstart.rs` is the
//! same as a program. `FakeSandbox` of `evalx-testkit` is there to try out, on any
//! machine, what is built on the traits.
//!
//! # Crate features
//!
//! - **hints**: `HintEngine`, which explains failed compiles and runs. Give it
//!   to [`Evaluator::with_hints`].
//! - **native** (default): `NativeSandbox`, which drives Linux namespaces,
//!   cgroups and seccomp directly.
//! - **docker**: `DockerSandbox`, which keeps containers warm.
//! - **isolate**: `IsolateSandbox`, which drives the `isolate` program.
//! - **queue**: the module `queue`, with the queue in memory and the worker.
//! - **redis**: `queue::RedisQueue`.
//! - **metrics**: gauges, counters and histograms of [`Observed`] sandboxes and
//!   of queues, told to the `metrics` facade.
//!
//! Without native, isolate or docker there is no backend. [`Backends`] chooses among
//! them, if wanted by what the environment says, and lets one fall back on another.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backends;
mod choice;
mod deferred;
#[cfg(feature = "docker")]
mod image;

pub use backends::Backends;
#[cfg(feature = "docker")]
pub use backends::DOCKER_IMAGE;
pub use choice::Choice;
#[cfg(feature = "docker")]
pub use image::docker_image;

#[doc(inline)]
pub use evalx_core::*;
#[cfg(feature = "hints")]
#[doc(inline)]
pub use evalx_hints::{Category, HintEngine, LoadError};
#[cfg(feature = "queue")]
#[doc(inline)]
pub use evalx_queue as queue;
#[cfg(feature = "docker")]
#[doc(inline)]
pub use evalx_sandbox_docker as docker;
#[cfg(feature = "docker")]
#[doc(inline)]
pub use evalx_sandbox_docker::{DockerConfig, DockerSandbox};
#[cfg(feature = "isolate")]
#[doc(inline)]
pub use evalx_sandbox_isolate as isolate;
#[cfg(feature = "isolate")]
#[doc(inline)]
pub use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
#[cfg(feature = "native")]
#[doc(inline)]
pub use evalx_sandbox_native as native;
#[cfg(feature = "native")]
#[doc(inline)]
pub use evalx_sandbox_native::{NativeConfig, NativeSandbox};

/// The program in the README compiles.
#[cfg(all(doctest, feature = "native"))]
#[doc = include_str!("../README.md")]
struct Readme;
