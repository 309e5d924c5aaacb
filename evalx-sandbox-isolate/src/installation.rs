//! [`Installation`]: the `isolate` that is here, its version, and how it is called.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::error::IsolateError;
use crate::starter;

/// How long isolate may take for anything but a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// isolate's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The program, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
}

impl Installation {
    /// Finds the program, asks for its version, and lets it check its
    /// configuration if it can.
    pub(crate) async fn find(program: &Path) -> Result<Self, IsolateError> {
        let program = locate(program);
        let start = |source| IsolateError::Start { program: program.clone(), source };
        let output =
            output(command(&program, ["--version"]), "--version").await.map_err(|failure| match failure {
                Failure::Start(source) => start(source),
                Failure::Stuck(command) => IsolateError::Stuck(command),
            })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = version(&text).ok_or_else(|| IsolateError::Stranger {
            program: program.clone(),
            found: text.chars().take(80).collect(),
        })?;
        let installation = Self { program, version };
        installation.check_configuration().await?;
        Ok(installation)
    }

    /// Versions since 2.0 say what is wrong with their configuration.
    async fn check_configuration(&self) -> Result<(), IsolateError> {
        if self.version.major < 2 {
            return Ok(());
        }
        match self.call("--check-config", command(&self.program, ["--check-config"])).await {
            // The first of them did not know how yet.
            Err(IsolateError::Command { message, .. }) if message.contains("unrecognized option") => Ok(()),
            other => other.map(drop),
        }
    }

    /// A call about a box.
    pub(crate) fn about(&self, number: u32, groups: bool) -> Command {
        let mut command = command(&self.program, [format!("--box-id={number}")]);
        if groups {
            command.arg("--cg");
        }
        command
    }

    /// Makes a box anew: what the last run in it has counted is gone.
    pub(crate) async fn initialise(&self, number: u32, groups: bool) -> Result<(), IsolateError> {
        if self.version.major < 2 {
            // Later ones do this by themselves.
            self.clean_up(number, groups).await?;
        }
        let mut command = self.about(number, groups);
        command.arg("--init");
        self.call("--init", command).await.map(drop)
    }

    /// Removes a box.
    pub(crate) async fn clean_up(&self, number: u32, groups: bool) -> Result<(), IsolateError> {
        let mut command = self.about(number, groups);
        command.arg("--cleanup");
        self.call("--cleanup", command).await.map(drop)
    }

    /// Runs a call to its end; its stdout.
    pub(crate) async fn call(&self, name: &'static str, command: Command) -> Result<Vec<u8>, IsolateError> {
        let output = output(command, name).await.map_err(|failure| match failure {
            Failure::Start(source) => IsolateError::Start { program: self.program.clone(), source },
            Failure::Stuck(command) => IsolateError::Stuck(command),
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let message = text.lines().next().unwrap_or_default().chars().take(400).collect::<String>();
        let message = if message.is_empty() { output.status.to_string() } else { message };
        Err(IsolateError::Command { command: name, message })
    }
}

enum Failure {
    Start(std::io::Error),
    Stuck(&'static str),
}

async fn output(mut command: Command, name: &'static str) -> Result<Output, Failure> {
    command.kill_on_drop(true);
    let child = starter::spawn(&mut command).map_err(Failure::Start)?;
    match timeout(PATIENCE, child.wait_with_output()).await {
        Ok(output) => output.map_err(Failure::Start),
        Err(_) => Err(Failure::Stuck(name)),
    }
}

/// A call of isolate that has nothing of this process: no variables, for it
/// runs as root, and no streams.
fn command<S: Into<OsString>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments.into_iter().map(Into::into))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A bare name as the `PATH` has it; what is not there stays as it is.
fn locate(program: &Path) -> PathBuf {
    if program.components().count() > 1 || program.is_absolute() {
        return std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| program.to_owned())
}

/// The version in what `--version` prints, if that is isolate's, 1 or 2.
fn version(text: &str) -> Option<Version> {
    let rest = text.lines().next()?.strip_prefix("The process isolator ")?;
    let mut numbers = rest.trim().split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    let version = Version { major: next()?, minor: next()? };
    (1..=2).contains(&version.major).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let found = |text| version(text).map(|version| version.to_string());
        assert_eq!(found("The process isolator 2.6\n(c) 2012\n").as_deref(), Some("2.6"));
        assert_eq!(found("The process isolator 1.10.1\n").as_deref(), Some("1.10"));
        for text in [
            "",
            "isolate 2.6",
            "The process isolator",
            "The process isolator 3.0",
            "The process isolator x.y",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
        assert!(Version { major: 1, minor: 10 } < Version { major: 2, minor: 0 });
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let error = Installation::find(Path::new("/nowhere/isolate")).await.unwrap_err();
        let error = evalx_core::Error::from(error);
        assert_eq!(error.kind(), evalx_core::ErrorKind::Unavailable);
        assert!(error.chain().contains("/nowhere/isolate"), "{}", error.chain());
        assert!(error.help().is_some_and(|help| help.contains("install isolate")));
    }

    #[tokio::test]
    async fn another_program_of_the_name_is_told_apart() {
        let error = Installation::find(Path::new("/bin/echo")).await.unwrap_err();
        assert!(matches!(error, IsolateError::Stranger { .. }), "{error}");
    }
}
