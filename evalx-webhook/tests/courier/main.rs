//! A courier at work, against receivers on loopback.

#![expect(clippy::unwrap_used, reason = "what a test builds on fails the test")]

mod addresses;
#[cfg(feature = "metrics")]
mod measured;
mod receiver;
mod sending;
mod tls;
