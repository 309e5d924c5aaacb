//! What tests of evalx are made of: a fake sandbox, and the suites that every backend runs.
//!
//! - [`FakeSandbox`]: runs nothing and does what its script says.
//! - [`conformance`]: what a sandbox must do, one public function for each behaviour.
//! - [`escape`]: what it must withstand, one named attack for each claim.
//! - [`Hook`]: an address that a test has webhooks sent to.
//! - [`Suite`]: runs either as trials, one for each case, in a test with `harness = false`:
//!
//! ```no_run
//! use std::process::ExitCode;
//! # async fn start() -> evalx_core::Result<evalx_core::DynSandbox> { unimplemented!() }
//!
//! fn main() -> ExitCode {
//!     evalx_testkit::main_with("native", evalx_testkit::conformance::cases(), || async { start().await })
//! }
//! ```
//!
//! With the feature `queue`, [`queue`] is the suite that every queue runs, and
//! [`RedisServer`] a server that a test starts for itself.
//!
//! # Environment
//!
//! - `EVALX_PROBES`: the folder of a `probe` program built before, where there
//!   is no C compiler. [`Probes::path`] is what to copy.
//! - `EVALX_REQUIRE=native,gcc`: what must be here. A backend named in it that
//!   can't run or lacks a capability fails instead of being ignored.
//! - `EVALX_REDIS_SERVER`: the server that tests start, in place of the
//!   `redis-server` that is found: another version, or `valkey-server`.
//! - `EVALX_TIME_SCALE=10`: how many times slower this machine is than a plain
//!   one; stretches limits, tolerances and time-outs.

mod alive;
mod case;
pub mod conformance;
pub mod escape;
mod fake;
mod harness;
mod hook;
mod probes;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "queue")]
mod redis_server;
mod rig;

pub use alive::Token;
pub use case::{Case, CaseFuture, Facilities, Need, Ownership, Timing};
pub use fake::{FakeRun, FakeSandbox, FakeStep};
pub use harness::{Suite, main_with, required};
pub use hook::{Call, Hook};
pub use probes::Probes;
#[cfg(feature = "queue")]
pub use redis_server::{RedisOptions, RedisServer};
pub use rig::Ran;
