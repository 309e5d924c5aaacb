//! Scores the engine on recorded outputs that say what a good hint must achieve.
//!
//! ```text
//! cargo run -p evalx-hints --example score -- [--failures] RECORDS.jsonl...
//! ```
//!
//! A record is a JSON object a line: `language`, `phase`, `source`,
//! `source_file`, `exit_code` or `signal`, `timed_out`, `oom_killed`, `stdout`,
//! `stderr`, and `expect` with `category`, `also_ok`, `must_mention`,
//! `must_not_mention`, `identifier`, `suggestion`, `line` and `no_hint`.
#![expect(clippy::print_stdout, reason = "it is a command whose answer is a table")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evalx_hints::HintEngine;
use serde_json::Value;

#[path = "../tests/judging/mod.rs"]
mod judging;

use judging::{Tally, answer, judge, string, text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let failures =
        arguments.iter().position(|argument| argument == "--failures").map(|at| arguments.remove(at));
    let engine = HintEngine::new();
    engine.warm_up(HintEngine::languages());
    let mut tally = Tally::default();
    let mut languages: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut times = Vec::new();
    let mut lengths = Vec::new();
    for path in &arguments {
        for line in std::fs::read_to_string(path)?.lines() {
            let record: Value = serde_json::from_str(line)?;
            let start = Instant::now();
            let hints = answer(&engine, &record);
            times.push(start.elapsed());
            lengths.extend(hints.first().map(|hint| text(hint).len()));
            let wrong = judge(&record["expect"], &hints, &mut tally);
            let (good, all) = languages.entry(string(&record["language"])).or_default();
            *good += usize::from(wrong.is_empty());
            *all += 1;
            if failures.is_some() && !wrong.is_empty() {
                println!("{}: {}", string(&record["id"]), wrong.join("; "));
            }
        }
    }
    for (what, (good, all)) in &tally.0 {
        println!("{what:>12} {good:4} of {all:4}  {:5.1} %", percent(*good, *all));
    }
    for (language, (good, all)) in languages {
        println!("{language:>12} {good:4} of {all:4}  all right");
    }
    times.sort();
    lengths.sort_unstable();
    let median = |sorted: &[Duration]| sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    println!("time: median {:?}, longest {:?}", median(&times), times.last().copied().unwrap_or_default());
    println!("text: median {:?} bytes, longest {:?}", lengths.get(lengths.len() / 2), lengths.last());
    Ok(())
}

fn percent(good: usize, all: usize) -> f64 {
    let part = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    100.0 * part(good) / part(all.max(1))
}
