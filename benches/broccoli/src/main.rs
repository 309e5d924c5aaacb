//! `evalx-queue` beside `broccoli_queue`, the queue that the plan of evalx named
//! first, on one server and in one run.
//!
//! ```text
//! cargo run --release --manifest-path benches/broccoli/Cargo.toml [off|everysec|always] …
//! cargo run --release --manifest-path benches/broccoli/Cargo.toml crash
//! ```
//!
//! The first compares speed; the second kills a worker in the midst of a job and
//! looks whether the job runs again. It needs `redis-server` on the `PATH`.

mod crash;
mod speed;

use std::process::ExitCode;

use evalx_testkit::RedisOptions;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let levels = [
        ("off", RedisOptions::volatile()),
        ("everysec", RedisOptions::every_second()),
        ("always", RedisOptions::always()),
    ];
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["crash"] => crash::compare(),
        ["crash", queue, url] => crash::work(queue, url),
        ref chosen => {
            if let Some(unknown) = chosen.iter().find(|word| !levels.iter().any(|(name, _)| name == *word)) {
                eprintln!("{unknown}: not one of off, everysec, always and crash");
                return ExitCode::from(2);
            }
            for (name, options) in levels {
                if chosen.is_empty() || chosen.contains(&name) {
                    speed::compare(name, options);
                }
            }
        }
    }
    ExitCode::SUCCESS
}
