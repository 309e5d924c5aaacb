//! evalx runs untrusted source code for a host application: safely, at nearly
//! the speed of running it unprotected, and with an answer a person can use.
//!
//! This package re-exports [`evalx_core`] and, by feature, the backends.

pub use evalx_core::*;

#[cfg(feature = "native")]
pub use evalx_sandbox_native::{Cgroup, Launcher, NativeConfig, NativeSandbox};
