//! evalx runs untrusted source code for a host application.
pub use evalx_core::*;
