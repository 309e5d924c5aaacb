//! The limits of the command line, shared by the commands that run programs.

use std::time::Duration;

use clap::Args;
use evalx_core::{ByteSize, Limits, parse_time};

use crate::failure::Failure;
use crate::units::parse_count;

/// What a program may use.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// CPU time of all its processes together (suffix ms, s, m, h or d).
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_time, default_value = "10s")]
    cpu: Duration,
    /// Time from start to end.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_time, default_value = "20s")]
    wall: Duration,
    /// Memory of all its processes together, with the files it writes (suffix K, M or G).
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, default_value = "256M")]
    memory: ByteSize,
    /// Processes and threads at once.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, value_parser = parse_count, default_value = "64")]
    processes: u32,
    /// Bytes of stdout, and as many of stderr; it is killed at the next.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, default_value = "16M")]
    output: ByteSize,
    /// Bytes in /box, /tmp and /dev/shm together.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, default_value = "64M")]
    disk: ByteSize,
    /// The main thread's stack.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, default_value = "64M")]
    stack: ByteSize,
    /// Descriptors that a process may have open.
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, value_parser = parse_count, default_value = "256")]
    open_files: u32,
}

impl LimitArguments {
    /// The limits that were asked for.
    ///
    /// # Errors
    ///
    /// For a limit out of range, with the range.
    pub(crate) fn to_limits(&self) -> Result<Limits, Failure> {
        let limits = Limits::default()
            .with_cpu_time(self.cpu)
            .with_wall_time(self.wall)
            .with_memory(self.memory)
            .with_processes(self.processes)
            .with_output(self.output)
            .with_disk(self.disk)
            .with_stack(self.stack)
            .with_open_files(self.open_files);
        limits.validate()?;
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArguments,
    }

    fn limits(arguments: &[&str]) -> Result<Limits, String> {
        let line = Line::try_parse_from(["test"].iter().chain(arguments)).map_err(|e| e.to_string())?;
        line.limits.to_limits().map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(limits(&[]).unwrap(), Limits::default());
    }

    #[test]
    fn each_limit_is_read() {
        let limits = limits(&["--cpu", "500ms", "--memory", "64M", "--processes", "1", "--open-files", "16"]);
        let limits = limits.unwrap();
        assert_eq!(limits.cpu_time, Duration::from_millis(500));
        assert_eq!(limits.memory, ByteSize::mib(64));
        assert_eq!((limits.processes, limits.open_files), (1, 16));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        let cases = [
            ("--cpu", "0s", "0.001s"),
            ("--memory", "0", "1M"),
            ("--memory", "12Q", "suffix K, M or G"),
            ("--wall", "-1s", "500ms"),
            ("--processes", "-1", "whole number"),
            ("--processes", "0", "from 1"),
        ];
        for (name, value, allowed) in cases {
            let error = limits(&[name, value]).unwrap_err();
            assert!(error.contains(allowed), "{name} {value}: {error}");
        }
    }
}
