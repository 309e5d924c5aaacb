//! What `judge0.conf` of Judge0 says, as far as it means something here: its
//! variables are read from the environment, under their own names.

use std::ffi::OsString;

/// The numbers that a submission gets that says nothing, and maxima that only
/// Judge0's API has. The names are Judge0's, and its defaults.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Judge0's API (variables of judge0.conf)")]
pub(crate) struct Judge0 {
    /// CPU time, in seconds.
    #[arg(long, env = "CPU_TIME_LIMIT", value_name = "SECONDS", default_value = "5")]
    pub(crate) cpu_time_limit: f64,
    /// CPU time after which a program that was too slow is stopped, in seconds beyond that.
    #[arg(long, env = "CPU_EXTRA_TIME", value_name = "SECONDS", default_value = "1")]
    pub(crate) cpu_extra_time: f64,
    /// The most of it that may be asked for.
    #[arg(long, env = "MAX_CPU_EXTRA_TIME", value_name = "SECONDS", default_value = "5")]
    pub(crate) max_cpu_extra_time: f64,
    /// Wall time, in seconds.
    #[arg(long, env = "WALL_TIME_LIMIT", value_name = "SECONDS", default_value = "10")]
    pub(crate) wall_time_limit: f64,
    /// Memory, in kilobytes.
    #[arg(long, env = "MEMORY_LIMIT", value_name = "KILOBYTES", default_value = "128000")]
    pub(crate) memory_limit: u32,
    /// Stack, in kilobytes.
    #[arg(long, env = "STACK_LIMIT", value_name = "KILOBYTES", default_value = "64000")]
    pub(crate) stack_limit: u32,
    /// Processes and threads.
    #[arg(long, env = "MAX_PROCESSES_AND_OR_THREADS", value_name = "COUNT", default_value = "60")]
    pub(crate) max_processes_and_or_threads: u32,
    /// Output, in kilobytes.
    #[arg(long, env = "MAX_FILE_SIZE", value_name = "KILOBYTES", default_value = "1024")]
    pub(crate) max_file_size: u32,
    /// Runs of a program on the same input.
    #[arg(long, env = "NUMBER_OF_RUNS", value_name = "COUNT", default_value = "1")]
    pub(crate) number_of_runs: u32,
    /// The most of them that may be asked for.
    #[arg(long, env = "MAX_NUMBER_OF_RUNS", value_name = "COUNT", default_value = "20")]
    pub(crate) max_number_of_runs: u32,
    /// The most submissions of a batch.
    #[arg(long, env = "MAX_SUBMISSION_BATCH_SIZE", value_name = "COUNT", default_value = "20")]
    pub(crate) max_submission_batch_size: usize,
}

/// Variables of `judge0.conf` that say what a setting of ours says: its option,
/// and the unit that is written behind the number.
const SAME: &[(&str, &str, &str)] = &[
    ("MAX_CPU_TIME_LIMIT", "max-cpu", "s"),
    ("MAX_WALL_TIME_LIMIT", "max-wall", "s"),
    ("MAX_MEMORY_LIMIT", "max-memory", "K"),
    ("MAX_STACK_LIMIT", "max-stack", "K"),
    ("MAX_MAX_PROCESSES_AND_OR_THREADS", "max-processes", ""),
    ("MAX_MAX_FILE_SIZE", "max-output", "K"),
    ("MAX_QUEUE_SIZE", "queue-limit", ""),
    ("AUTHN_TOKEN", "auth-tokens", ""),
    ("AUTHZ_TOKEN", "admin-tokens", ""),
];

/// Variables that have no effect here; who sets one is told so.
const NO_EFFECT: &[&str] = &[
    "AUTHN_HEADER",
    "AUTHZ_HEADER",
    "ALLOW_IP",
    "DISALLOW_IP",
    "ALLOW_ORIGIN",
    "DISALLOW_ORIGIN",
    "MAINTENANCE_MODE",
    "MAINTENANCE_MESSAGE",
    "ENABLE_WAIT_RESULT",
    "ENABLE_COMPILER_OPTIONS",
    "ALLOWED_LANGUAGES_FOR_COMPILER_OPTIONS",
    "ENABLE_COMMAND_LINE_ARGUMENTS",
    "ENABLE_SUBMISSION_DELETE",
    "ENABLE_CALLBACKS",
    "CALLBACKS_MAX_TRIES",
    "CALLBACKS_TIMEOUT",
    "ENABLE_ADDITIONAL_FILES",
    "ENABLE_BATCHED_SUBMISSIONS",
    "ENABLE_NETWORK",
    "ALLOW_ENABLE_NETWORK",
    "ENABLE_PER_PROCESS_AND_THREAD_TIME_LIMIT",
    "ALLOW_ENABLE_PER_PROCESS_AND_THREAD_TIME_LIMIT",
    "ENABLE_PER_PROCESS_AND_THREAD_MEMORY_LIMIT",
    "ALLOW_ENABLE_PER_PROCESS_AND_THREAD_MEMORY_LIMIT",
    "REDIRECT_STDERR_TO_STDOUT",
    "MAX_EXTRACT_SIZE",
    "SUBMISSION_CACHE_DURATION",
    "USE_DOCS_AS_HOMEPAGE",
    "POSTGRES_HOST",
    "REDIS_HOST",
];

/// The options that variables of `judge0.conf` set, as they would stand on the
/// command line; but for those that `is_set` another way.
///
/// # Errors
///
/// What is wrong with which variable.
pub(crate) fn arguments(
    variable: impl Fn(&str) -> Option<OsString>,
    is_set: impl Fn(&str) -> bool,
) -> Result<Vec<OsString>, String> {
    let mut arguments = Vec::new();
    for (name, option, unit) in SAME {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
        if is_set(option) {
            continue;
        }
        let text = value.into_string().map_err(|_| format!("{name} is no text"))?;
        let text = text.trim();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if option.ends_with("-tokens") {
            // Judge0 has blanks between them.
            arguments
                .push(format!("--{option}={}", text.split_whitespace().collect::<Vec<_>>().join(",")).into());
        } else if is_number {
            arguments.push(format!("--{option}={text}{unit}").into());
        } else {
            return Err(format!("{name} must be a number, as in judge0.conf"));
        }
    }
    Ok(arguments)
}

/// The variables that are set and have no effect.
pub(crate) fn without_effect(variable: impl Fn(&str) -> Option<OsString>) -> Vec<&'static str> {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    NO_EFFECT.iter().copied().filter(is_set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_judge0_says_stands_on_the_command_line() {
        let variable = |name: &str| {
            let value = match name {
                "MAX_CPU_TIME_LIMIT" => "30",
                "MAX_MEMORY_LIMIT" => "1024000",
                "MAX_QUEUE_SIZE" => "7",
                "AUTHN_TOKEN" => "ann  bob",
                "REDIS_HOST" => "redis",
                _ => return None,
            };
            Some(value.into())
        };
        let told = arguments(variable, |option| option == "queue-limit").unwrap();
        assert_eq!(told, ["--max-cpu=30s", "--max-memory=1024000K", "--auth-tokens=ann,bob"]);
        assert_eq!(without_effect(variable), ["REDIS_HOST"]);
        let wrong = arguments(|_| Some("much".into()), |_| false).unwrap_err();
        assert!(wrong.contains("MAX_CPU_TIME_LIMIT"), "{wrong}");
    }
}
