//! The program that is submitted: for every number it prints the double. And
//! how fast it runs without anything around it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Failure;

/// How long it is run bare.
const BARE: Duration = Duration::from_secs(3);

const C: &str =
    "#include <stdio.h>\nint main(void) { long n; scanf(\"%ld\", &n); printf(\"%ld\\n\", 2 * n); }\n";
/// The same after about a millisecond of counting, as much as a small exercise needs.
const COUNTING: &str = "#include <stdio.h>\nint main(void) { long n; scanf(\"%ld\", &n);\n\
    for (volatile long i = 0; i < 4000000; i++) {}\nprintf(\"%ld\\n\", 2 * n); }\n";
const PYTHON: &str = "print(2 * int(input()))\n";

/// A program in a language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    language: &'static str,
    source: &'static str,
}

/// Those that can be chosen.
pub(crate) const PROGRAMS: [Program; 3] = [
    Program { name: "c", language: "c", source: C },
    Program { name: "counting", language: "c", source: COUNTING },
    Program { name: "python", language: "python", source: PYTHON },
];

impl Program {
    /// A submission of it.
    pub(crate) fn submission(self, number: usize) -> Value {
        json!({ "language": self.language, "source": self.source, "stdin": number.to_string() })
    }

    /// How often it runs in a second, started by as many threads as there are
    /// processors, with nothing around it.
    pub(crate) fn bare_rate(self) -> Result<f64, Failure> {
        let folder = tempfile::tempdir()?;
        let command = self.prepared(folder.path())?;
        let threads = std::thread::available_parallelism()?.get();
        let (count, began) = (AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            let one = || -> Result<(), std::io::Error> {
                while began.elapsed() < BARE {
                    let mut child = Command::new(&command[0])
                        .args(&command[1..])
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .spawn()?;
                    child.stdin.take().map(|mut stdin| stdin.write_all(b"21\n")).transpose()?;
                    let output = child.wait_with_output()?;
                    if output.stdout != b"42\n" {
                        return Err(std::io::Error::other("it does not print the double"));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?.map_err(Failure::from))
        })?;
        Ok(f64::from(u32::try_from(count.into_inner())?) / began.elapsed().as_secs_f64())
    }

    /// The command that runs it, compiled in this folder.
    fn prepared(self, folder: &Path) -> Result<Vec<String>, Failure> {
        let (source, binary) = (folder.join("main.src"), folder.join("main"));
        fs::write(&source, self.source)?;
        let (source, binary) = (source.display().to_string(), binary.display().to_string());
        if self.language == "python" {
            return Ok(vec!["/usr/bin/python3".to_owned(), source]);
        }
        let compiled = Command::new("gcc").args(["-O2", "-x", "c", &source, "-o", &binary]).status()?;
        if compiled.success() { Ok(vec![binary]) } else { Err("gcc does not compile it".into()) }
    }
}
