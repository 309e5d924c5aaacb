//! How a step is said to isolate: its limits and environment as arguments.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evalx_core::{Limits, Step, WORK_FOLDER};
use tokio::process::Command;

/// The variables of a step, each once.
#[derive(Debug)]
pub(crate) struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// The defaults, and what the step has in their place and beside them.
    pub(crate) fn of(step: &Step, path: &[PathBuf]) -> Self {
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), std::env::join_paths(path).unwrap_or_default()),
            ("HOME".into(), WORK_FOLDER.into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
        ];
        for (name, value) in &step.environment {
            variables.retain(|(known, _)| known != name);
            variables.push((name.clone(), value.clone()));
        }
        Self(variables)
    }

    /// Where bare names are looked up.
    pub(crate) fn path(&self) -> &OsStr {
        self.0.iter().find(|(name, _)| name == "PATH").map_or(OsStr::new(""), |(_, path)| path)
    }

    /// Has isolate give them to the program.
    ///
    /// They are arguments and not variables of isolate itself: it runs as root,
    /// and the loader would heed some of them. An empty value as an argument
    /// would mean that there is no such variable, so those are inherited;
    /// empty, none is heeded.
    pub(crate) fn pass_on(&self, command: &mut Command) {
        // isolate gives this one by itself.
        if !self.0.iter().any(|(name, _)| name == FATAL_TO_STDERR) {
            command.arg(format!("--env={FATAL_TO_STDERR}="));
        }
        for (name, value) in &self.0 {
            let mut rule = OsString::from("--env=");
            rule.push(name);
            if value.is_empty() {
                command.env(name, "");
            } else {
                rule.push("=");
                rule.push(value);
            }
            command.arg(rule);
        }
    }
}

const FATAL_TO_STDERR: &str = "LIBC_FATAL_STDERR_";

/// How far isolate's clock is behind ours: it counts from before the program
/// was let go, and would stop one that has not reached its limit.
const BEHIND: Duration = Duration::from_millis(50);

/// The limits, as far as isolate holds them. `groups` is whether it makes
/// control groups, `counted` whether processes are counted elsewhere.
pub(crate) fn limits(limits: &Limits, groups: bool, counted: bool) -> Vec<String> {
    let kib = |bytes: u64| bytes.div_ceil(1 << 10);
    let memory = if groups { "--cg-mem" } else { "--mem" };
    vec![
        format!("--time={}", seconds(limits.cpu_time + BEHIND)),
        format!("--wall-time={}", seconds(limits.wall_time + BEHIND)),
        format!("{memory}={}", kib(limits.memory.as_u64())),
        format!("--stack={}", kib(limits.stack.as_u64())),
        format!("--fsize={}", kib(limits.disk.as_u64())),
        format!("--open-files={}", limits.open_files.min(most_open_files())),
        // Without a number, as many as one likes.
        if counted { "--processes".to_owned() } else { format!("--processes={}", limits.processes) },
    ]
}

pub(crate) fn meta(path: &Path) -> OsString {
    let mut argument = OsString::from("--meta=");
    argument.push(path);
    argument
}

/// Whole milliseconds are what isolate counts in.
fn seconds(time: Duration) -> String {
    let ms = time.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The most that the kernel lets anybody have, root too.
fn most_open_files() -> u32 {
    std::fs::read_to_string("/proc/sys/fs/nr_open")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_never_rounded_to_none() {
        let least = Limits::default()
            .with_cpu_time(Duration::from_millis(1))
            .with_wall_time(Duration::from_micros(1500));
        let arguments = limits(&least, true, true);
        assert!(arguments.contains(&"--time=0.051".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--wall-time=0.052".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--processes".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--cg-mem=262144".to_owned()), "{arguments:?}");
        let arguments = limits(&least, false, false);
        assert!(arguments.contains(&"--processes=64".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--mem=262144".to_owned()), "{arguments:?}");
    }

    #[test]
    fn variables_are_arguments_unless_they_are_empty() {
        let step = Step::new("x")
            .with_variable("LD_PRELOAD", "/evil.so")
            .with_variable("HOME", "/tmp")
            .with_variable("EMPTY", "");
        let mut command = Command::new("isolate");
        command.env_clear();
        Environment::of(&step, &[PathBuf::from("/bin")]).pass_on(&mut command);
        let command = command.as_std();
        let arguments: Vec<&OsStr> = command.get_args().collect();
        for argument in [
            "--env=LIBC_FATAL_STDERR_=",
            "--env=PATH=/bin",
            "--env=HOME=/tmp",
            "--env=LD_PRELOAD=/evil.so",
            "--env=EMPTY",
        ] {
            assert!(arguments.contains(&OsStr::new(argument)), "{argument}: {arguments:?}");
        }
        assert!(!arguments.contains(&OsStr::new("--env=HOME=/box")));
        let variables: Vec<_> = command.get_envs().collect();
        assert_eq!(variables, [(OsStr::new("EMPTY"), Some(OsStr::new("")))]);
    }
}
