//! Benchmarks of evalx: who competes, at what, and how it is written down.
//!
//! ```sh
//! examples/images/make.sh base        # the image of the containers
//! cargo bench -p evalx-benches        # measures: some ten minutes
//! cargo run -p evalx-benches          # writes docs/benchmarks.md and its plot
//! ```
//!
//! Each file beside this folder answers one question:
//!
//! | File | Question |
//! |---|---|
//! | `cold_start.rs` | How long until a new sandbox has run its first program? |
//! | `warm_run.rs` | What does one run cost when all is warm? |
//! | `throughput.rs` | How many runs a second, one after the other and at once? |
//! | `twenty_tests.rs` | How long does a submission with twenty tests take? |
//! | `compile.rs` | What does a sandbox add to compiling? |
//!
//! `EVALX_BENCH_SECONDS=1` measures each for a second, to see that all goes well.
//!
//! A backend that can't run here is named as skipped, with the reason. Runs of
//! all contenders are interleaved by criterion only from one benchmark to the
//! next: compare within one file.

pub mod contender;
pub mod engine;
pub mod record;
pub mod workload;
