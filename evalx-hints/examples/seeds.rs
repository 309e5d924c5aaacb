//! Writes recorded outputs as seeds for the fuzz target `hints`.
//!
//! ```text
//! cargo run -p evalx-hints --example seeds -- FOLDER RECORDS.jsonl...
//! ```
use std::fs;
use std::path::Path;

use evalx_hints::HintEngine;
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("seeds FOLDER RECORDS.jsonl...")?;
    fs::create_dir_all(&folder)?;
    let languages: Vec<&str> = HintEngine::languages().collect();
    let mut number = 0;
    for path in arguments {
        for line in fs::read_to_string(path)?.lines() {
            let record: Value = serde_json::from_str(line)?;
            let text = |key: &str| record[key].as_str().unwrap_or_default();
            let language = languages.iter().position(|id| *id == text("language"));
            let Some(language) = language.and_then(|at| u8::try_from(at).ok()) else { continue };
            // As the target reads it: exit status 1 of a compile or of a run.
            let end = u8::from(record["phase"] == "run");
            let mut seed = vec![language, end];
            seed.extend(text("stderr").bytes().chain(text("stdout").bytes()).take(3000));
            seed.push(0);
            seed.extend(text("source").bytes().take(1000));
            fs::write(Path::new(&folder).join(number.to_string()), seed)?;
            number += 1;
        }
    }
    Ok(())
}
