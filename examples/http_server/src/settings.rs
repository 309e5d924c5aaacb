//! [`Settings`]: what an operator can choose, on the command line, in the
//! environment, or in a TOML file; in this order.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser};
use evalx_core::ByteSize;
use evalx_service::{Durability, parse_time};

use crate::judge0::{self, Judge0};

/// A judge over HTTP: runs programs of users in a sandbox, and says how they did.
///
/// Without any setting it needs nothing else: programs run in a sandbox of
/// this machine, and the queue is in memory.
#[derive(Debug, Parser)]
#[command(
    name = "http_server",
    version,
    args_override_self = true,
    after_help = "\
EVALX_LOG says how much is logged: error, warn, info (as it comes), debug, or evalx_queue=debug.
SIGTERM: takes no more, lets run what runs for EVALX_DRAIN, and tells who waits."
)]
pub(crate) struct Settings {
    /// A TOML file with the long names of these options as keys.
    #[arg(long, env = "EVALX_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen; port 0 takes one that is free.
    #[arg(long, env = "EVALX_ADDR", value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) addr: SocketAddr,
    /// What programs run in: native, isolate, docker, several with commas, or auto.
    #[arg(long, env = "EVALX_SANDBOX", value_name = "NAMES")]
    pub(crate) sandbox: Option<String>,
    /// The control group of the native sandbox: auto, adopt, the path of a delegated one, or
    /// rlimits-only, which accepts weaker limits.
    #[arg(long, env = "EVALX_CGROUP", value_name = "GROUP", default_value = "auto")]
    pub(crate) cgroup: String,
    /// Where submissions wait: memory, or the URL of a Redis server.
    #[arg(long, env = "EVALX_QUEUE", value_name = "URL", default_value = "memory", hide_env_values = true)]
    pub(crate) queue: String,
    /// Programs that run at once in this process; 0 only serves HTTP. As many as there are processors.
    #[arg(long, env = "EVALX_WORKERS", value_name = "COUNT")]
    pub(crate) workers: Option<usize>,
    /// Tokens with commas between them; then every call of the API needs one.
    #[arg(
        long,
        env = "EVALX_AUTH_TOKENS",
        value_name = "LIST",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) auth_tokens: Vec<String>,
    /// Tokens of operators; without any, nobody is one.
    #[arg(
        long,
        env = "EVALX_ADMIN_TOKENS",
        value_name = "LIST",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) admin_tokens: Vec<String>,
    /// A TOML file with languages to add or change.
    #[arg(long, env = "EVALX_LANGUAGES", value_name = "FILE")]
    pub(crate) languages: Option<PathBuf>,
    /// The only languages that are offered, with commas between them.
    #[arg(long, env = "EVALX_ONLY_LANGUAGES", value_name = "LIST", value_delimiter = ',')]
    pub(crate) only_languages: Vec<String>,
    #[command(flatten)]
    pub(crate) caps: Caps,
    #[command(flatten)]
    pub(crate) queueing: Queueing,
    #[command(flatten)]
    pub(crate) webhooks: Webhooks,
    #[command(flatten)]
    pub(crate) sessions: Sessions,
    /// The version that Judge0's API announces: 1.13.1 or 1.14.0.
    #[arg(long, env = "EVALX_JUDGE0_VERSION", value_name = "VERSION", default_value = "1.13.1",
          value_parser = ["1.13.1", "1.14.0"])]
    pub(crate) judge0_version: String,
    #[command(flatten)]
    pub(crate) judge0: Judge0,
}

/// The most that a submission may ask for, in either API.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Caps {
    /// CPU time of a run.
    #[arg(long, env = "EVALX_MAX_CPU", value_name = "TIME", value_parser = parse_time, default_value = "15s")]
    pub(crate) max_cpu: Duration,
    /// Wall time of a run.
    #[arg(long, env = "EVALX_MAX_WALL", value_name = "TIME", value_parser = parse_time, default_value = "20s")]
    pub(crate) max_wall: Duration,
    /// Memory of a run.
    #[arg(long, env = "EVALX_MAX_MEMORY", value_name = "SIZE", default_value = "500M")]
    pub(crate) max_memory: ByteSize,
    /// Stack of a run.
    #[arg(long, env = "EVALX_MAX_STACK", value_name = "SIZE", default_value = "125M")]
    pub(crate) max_stack: ByteSize,
    /// Processes and threads of a run.
    #[arg(long, env = "EVALX_MAX_PROCESSES", value_name = "COUNT", default_value = "120")]
    pub(crate) max_processes: u32,
    /// Output of a run, and as much of errors.
    #[arg(long, env = "EVALX_MAX_OUTPUT", value_name = "SIZE", default_value = "4M")]
    pub(crate) max_output: ByteSize,
    /// Disk of a run.
    #[arg(long, env = "EVALX_MAX_DISK", value_name = "SIZE", default_value = "64M")]
    pub(crate) max_disk: ByteSize,
    /// Tests of a submission.
    #[arg(long, env = "EVALX_MAX_TESTS", value_name = "COUNT", default_value = "200")]
    pub(crate) max_tests: usize,
    /// Submissions of one request.
    #[arg(long, env = "EVALX_MAX_BATCH", value_name = "COUNT", default_value = "100")]
    pub(crate) max_batch: usize,
    /// Body of a request.
    #[arg(long, env = "EVALX_MAX_BODY", value_name = "SIZE", default_value = "8M")]
    pub(crate) max_body: ByteSize,
    /// How long a request may wait for a result.
    #[arg(long, env = "EVALX_MAX_WAIT", value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    pub(crate) max_wait: Duration,
}

/// How the queue is kept.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Queue")]
pub(crate) struct Queueing {
    /// Submissions that may wait, beyond which new ones are refused.
    #[arg(long, env = "EVALX_QUEUE_LIMIT", value_name = "COUNT", default_value = "100000")]
    pub(crate) queue_limit: u64,
    /// Submissions of one auth token that may wait; as many as of all, if not given.
    #[arg(long, env = "EVALX_TENANT_LIMIT", value_name = "COUNT")]
    pub(crate) tenant_limit: Option<u64>,
    /// What an accepted submission must survive, or the server does not start: none, every_second,
    /// fsync or replicated.
    #[arg(long, env = "EVALX_QUEUE_DURABILITY", value_name = "LEVEL", default_value = "none")]
    pub(crate) queue_durability: Durability,
    /// Replicas of the Redis server that must have a submission before it is accepted.
    #[arg(long, env = "EVALX_QUEUE_REPLICAS", value_name = "COUNT", default_value = "0")]
    pub(crate) queue_replicas: u32,
    /// How long results are kept.
    #[arg(long, env = "EVALX_RESULT_TTL", value_name = "TIME", value_parser = parse_time, default_value = "24h")]
    pub(crate) result_ttl: Duration,
    /// How long running programs may go on when the server is to end.
    #[arg(long, env = "EVALX_DRAIN", value_name = "TIME", value_parser = parse_time, default_value = "20s")]
    pub(crate) drain: Duration,
}

/// What interactive sessions may take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Interactive sessions")]
pub(crate) struct Sessions {
    /// Sessions at once; 0 allows none.
    #[arg(long, env = "EVALX_SESSIONS", value_name = "COUNT", default_value = "8")]
    pub(crate) sessions: usize,
    /// Sessions of one auth token at once; as many as of all, if not given.
    #[arg(long, env = "EVALX_TENANT_SESSIONS", value_name = "COUNT")]
    pub(crate) tenant_sessions: Option<usize>,
    /// The longest time from the start of a program to its end.
    #[arg(long, env = "EVALX_SESSION_TIME", value_name = "TIME", value_parser = parse_time, default_value = "10m")]
    pub(crate) session_time: Duration,
    /// How long a session may be silent.
    #[arg(long, env = "EVALX_SESSION_IDLE", value_name = "TIME", value_parser = parse_time, default_value = "60s")]
    pub(crate) session_idle: Duration,
    /// Origins of pages that may have sessions, besides this server's own: `https://…`, or `*`.
    #[arg(long, env = "EVALX_ORIGINS", value_name = "LIST", value_delimiter = ',')]
    pub(crate) origins: Vec<String>,
}

/// How others are told of results.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct Webhooks {
    /// The secret that deliveries are signed with, as `whsec_…`; several with commas while they change.
    #[arg(long, env = "EVALX_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub(crate) webhook_secret: Option<String>,
    /// Whether deliveries may go to loopback and private addresses.
    #[arg(long, env = "EVALX_WEBHOOK_ALLOW_PRIVATE", value_name = "BOOL", num_args = 0..=1,
          default_value = "false", default_missing_value = "true")]
    pub(crate) webhook_allow_private: bool,
    /// How often a failed delivery is tried again.
    #[arg(long, env = "EVALX_WEBHOOK_RETRIES", value_name = "COUNT", default_value = "3")]
    pub(crate) webhook_retries: u32,
}

impl Settings {
    /// Ends the process as a wrong setting does.
    pub(crate) fn refuse(why: impl std::fmt::Display) -> ! {
        Self::command().error(clap::error::ErrorKind::InvalidValue, why).exit()
    }

    /// Reads the command line, the environment, and the file that they name.
    ///
    /// # Errors
    ///
    /// What is wrong and what is allowed; also what `--help` prints.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let first = Self::try_parse_from(&arguments)?;
        let wrong = |why| Self::command().error(clap::error::ErrorKind::InvalidValue, why);
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let from_file = match &first.config {
            Some(file) => arguments_of(file, is_set).map_err(wrong)?,
            None => Vec::new(),
        };
        let has_own = |option: &str| variable_of(option).is_some_and(|name| is_set(&name));
        let from_judge0 = judge0::arguments(|name| std::env::var_os(name), has_own).map_err(wrong)?;
        // What comes later wins: the file, judge0.conf, the command line. What
        // the environment has under its own name is taken from neither.
        let program = arguments.first().cloned().unwrap_or_default();
        let others = from_file.into_iter().chain(from_judge0);
        let all = std::iter::once(program).chain(others).chain(arguments.into_iter().skip(1));
        Self::from_arg_matches(&Self::command().try_get_matches_from(all)?)
    }
}

/// The variable of an option.
fn variable_of(option: &str) -> Option<String> {
    let command = Settings::command();
    let known = command.get_arguments().find(|argument| argument.get_long() == Some(option))?;
    Some(known.get_env()?.to_str()?.to_owned())
}

/// The options that a TOML file sets, as they would stand on the command line.
fn arguments_of(file: &Path, is_set: impl Fn(&str) -> bool) -> Result<Vec<OsString>, String> {
    let at = |why: String| format!("{}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| at(error.to_string()))?;
    let command = Settings::command();
    let mut arguments = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        let known = command.get_arguments().find(|argument| argument.get_long() == Some(&name));
        let Some(known) = known.filter(|_| name != "config") else {
            let all: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
            return Err(at(format!("`{key}` is no setting; there are {}", all.join(", "))));
        };
        if known.get_env().and_then(|name| name.to_str()).is_some_and(&is_set) {
            continue;
        }
        let text = plain(&value).ok_or_else(|| at(format!("`{key}` must be a text, a number, or a list")))?;
        arguments.push(format!("--{name}={text}").into());
    }
    Ok(arguments)
}

/// A value as it is written on the command line.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(list) => {
            list.iter().map(plain).collect::<Option<Vec<_>>>().map(|list| list.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_gives_what_neither_command_line_nor_environment_says() {
        let file =
            file("queue_limit = 7\nauth-tokens = [\"a\", \"b\"]\nmax_cpu = \"3s\"\nsandbox = \"isolate\"\n");
        let is_set = |name: &str| ["EVALX_MAX_CPU", "EVALX_SANDBOX"].contains(&name);
        let arguments = arguments_of(file.path(), is_set).unwrap();
        assert!(!arguments.iter().any(|argument| argument == "--sandbox=isolate"), "{arguments:?}");
        let settings = Settings::try_parse_from(
            std::iter::once("x".into()).chain(arguments).chain(["--queue-limit=9".into()]),
        );
        let settings = settings.unwrap();
        assert_eq!(settings.queueing.queue_limit, 9);
        assert_eq!(settings.auth_tokens, ["a", "b"]);
        assert_eq!(settings.caps.max_cpu, Duration::from_secs(15));
    }

    #[test]
    fn a_file_with_nonsense_is_refused_by_name() {
        for (text, part) in [
            ("colour = 1", "`colour`"),
            ("addr = {}", "`addr`"),
            ("a b", "TOML"),
            ("config = \"x\"", "`config`"),
        ] {
            let file = file(text);
            let error = arguments_of(file.path(), |_| false).unwrap_err();
            assert!(error.contains(part) || error.contains("parse"), "{error}");
        }
    }
}
