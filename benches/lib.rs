//! Benchmarks of evalx: one file, one question. `cargo bench -p evalx-benches`
//! runs them all, `cargo bench -p evalx-benches --bench hints` one.
