//! What tests of evalx are made of: a fake sandbox, and the suites that every backend runs.

mod fake;

pub use fake::{FakeRun, FakeSandbox, FakeStep};
