//! [`Probes`]: the static program that does things inside a sandbox.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use evalx_core::{ByteSize, Limits};

macro_rules! sources {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../probes/", $name)))),*]
    };
}

/// The program's sources: headers first.
const SOURCES: [(&str, &str); 13] = sources![
    "probe.h" "probe.c" "fidelity.c" "process.c" "memory.c" "time.c" "output.c" "files.c" "mounts.c"
    "kernel.c" "sockets.c" "ipc.c" "reset.c"
];

const FLAGS: [&str; 7] =
    ["-static", "-O1", "-s", "-w", "-pthread", "-ffunction-sections", "-Wl,--gc-sections"];

/// The probe program, and how slow the machine is that runs it.
///
/// Cloning shares it.
#[derive(Clone, Debug)]
pub struct Probes {
    program: Bytes,
    path: PathBuf,
    scale: f64,
    memory_slack: ByteSize,
}

/// The kernel charges memory in batches of pages for each processor.
const MEMORY_SLACK: ByteSize = ByteSize::mib(1);

impl Probes {
    /// Takes the program from the folder in `EVALX_PROBES`, or from the cache
    /// beside this executable, or compiles it with `cc`.
    ///
    /// # Errors
    ///
    /// Says what is missing and how to mend it.
    pub fn find() -> Result<Self, String> {
        let scale = match std::env::var("EVALX_TIME_SCALE") {
            Ok(text) => match text.parse::<f64>() {
                Ok(scale) if (1.0..=1000.0).contains(&scale) => scale,
                _ => return Err(format!("EVALX_TIME_SCALE is `{text}`: give a number from 1 to 1000")),
            },
            Err(_) => 1.0,
        };
        let path = match std::env::var_os("EVALX_PROBES") {
            Some(folder) => Path::new(&folder).join("probe"),
            None => compiled()?,
        };
        let program = fs::read(&path)
            .map_err(|error| format!("the probe {} can't be read: {error}", path.display()))?;
        Ok(Self { program: program.into(), path, scale, memory_slack: MEMORY_SLACK })
    }

    /// The program's bytes, to be placed in a session.
    #[must_use]
    pub fn program(&self) -> Bytes {
        self.program.clone()
    }

    /// Where the program lies on the host, to be copied to where there is no compiler.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `time`, stretched as `EVALX_TIME_SCALE` says.
    #[must_use]
    pub fn stretch(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale)
    }

    /// These, where a step can use `more` memory than its limit.
    #[must_use]
    pub fn with_memory_slack(mut self, more: ByteSize) -> Self {
        self.memory_slack = ByteSize::bytes(MEMORY_SLACK.as_u64() + more.as_u64());
        self
    }

    /// The most that a step may be measured with that has met this limit of memory.
    #[must_use]
    pub fn most_memory(&self, limit: ByteSize) -> ByteSize {
        ByteSize::bytes(limit.as_u64() + self.memory_slack.as_u64())
    }

    /// Limits that suit a small program: enough for any probe that behaves.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::default()
            .with_cpu_time(self.stretch(Duration::from_secs(5)))
            .with_wall_time(self.stretch(Duration::from_secs(10)))
            .with_memory(ByteSize::mib(64))
            .with_processes(32)
            .with_output(ByteSize::mib(1))
            .with_disk(ByteSize::mib(16))
            .with_files(1024)
            .with_stack(ByteSize::mib(8))
    }
}

/// Compiles the program unless the same sources were compiled before.
fn compiled() -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    (SOURCES, FLAGS, std::env::consts::ARCH).hash(&mut hasher);
    let folder = cache_folder().join(format!("evalx-probes-{:016x}", hasher.finish()));
    let program = folder.join("probe");
    if program.is_file() {
        return Ok(program);
    }
    let failed =
        |what: &str, error: &dyn std::fmt::Display| format!("the probe could not be {what}: {error}");
    fs::create_dir_all(&folder).map_err(|error| failed("stored", &error))?;
    // Another test process may do the same: each builds on its own, and the
    // last to rename wins with an equal file.
    let work = tempfile::tempdir_in(&folder).map_err(|error| failed("stored", &error))?;
    let mut command = Command::new("cc");
    command.current_dir(work.path()).args(FLAGS).args(["-o", "probe"]);
    for (name, source) in SOURCES {
        fs::write(work.path().join(name), source).map_err(|error| failed("stored", &error))?;
        if Path::new(name).extension().is_some_and(|extension| extension == "c") {
            command.arg(name);
        }
    }
    let output = command.output().map_err(|error| {
        failed(
            "compiled",
            &format_args!("{error}; install a C compiler, or point EVALX_PROBES to a built one"),
        )
    })?;
    if !output.status.success() {
        return Err(failed("compiled", &String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(work.path().join("probe"), &program).map_err(|error| failed("stored", &error))?;
    Ok(program)
}

/// The folder of this test's executable, which only its user can write.
fn cache_folder() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf))
        .filter(|folder| tempfile::tempfile_in(folder).is_ok())
        .unwrap_or_else(std::env::temp_dir)
}
