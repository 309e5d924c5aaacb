//! [`Toolchains`]: which languages' compilers and interpreters a sandbox has.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::{
    DynSandbox, Error, ErrorKind, Language, Languages, Limits, Program, Result, SandboxExt, SessionSpec, Step,
};

/// How many languages are probed at once.
const AT_ONCE: usize = 4;

/// Prints those of its arguments that are no commands.
const FIND_ABSENT: &str = r#"for name; do command -v -- "$name" >/dev/null || echo "$name"; done"#;

/// A language's compiler or interpreter, as a sandbox has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Toolchain {
    /// It is there.
    Available {
        /// Its version: `12.2.0`; empty if it was not asked, or does not say.
        version: String,
        /// The line in which it says so.
        banner: String,
    },
    /// It is not there, or does not work.
    Absent {
        /// What is missing.
        reason: String,
        /// What to install.
        install: String,
    },
}

impl Toolchain {
    /// Its version, if it is there and has said it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Available { version, .. } if !version.is_empty() => Some(version),
            Self::Available { .. } | Self::Absent { .. } => None,
        }
    }

    /// It is there, and has said nothing.
    const fn silent() -> Self {
        Self::Available { version: String::new(), banner: String::new() }
    }
}

/// The toolchains that were found in a sandbox, by the language's id.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_core::Result<()> {
/// use std::sync::Arc;
/// use evalx_core::{Languages, Toolchains};
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let sandbox = FakeSandbox::new(|step| match step.program.as_str() {
///     "python3" => FakeRun::exited(0).with_stdout("Python 3.11.2\n"),
///     _ => FakeRun::exited(0),
/// });
/// let found = Toolchains::probe(Arc::new(sandbox), &Languages::builtin()).await?;
/// assert_eq!(found.get("python").and_then(|python| python.version()), Some("3.11.2"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Toolchains(BTreeMap<String, Toolchain>);

impl Toolchains {
    /// Looks for the toolchain of every language, each in a session of its
    /// own, labelled with the language, and asks each for its version. That
    /// takes as long as they need to start: some of them seconds.
    ///
    /// # Errors
    ///
    /// Those of [`Sandbox::open`](crate::Sandbox::open). A toolchain that is
    /// absent or broken is not one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the probes that run.
    pub async fn probe(sandbox: DynSandbox, languages: &Languages) -> Result<Self> {
        Self::each(sandbox, languages, Depth::Version).await
    }

    /// As [`probe`](Self::probe), but starts none of them: whether their
    /// programs are there takes milliseconds. No version is known then, and
    /// one that is broken counts as available.
    ///
    /// # Errors
    ///
    /// As [`probe`](Self::probe).
    ///
    /// # Cancel safety
    ///
    /// As [`probe`](Self::probe).
    pub async fn find(sandbox: DynSandbox, languages: &Languages) -> Result<Self> {
        Self::each(sandbox, languages, Depth::Presence).await
    }

    async fn each(sandbox: DynSandbox, languages: &Languages, depth: Depth) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut probes = JoinSet::new();
        for language in languages.iter() {
            if probes.len() == AT_ONCE {
                collect(&mut probes, &mut found).await?;
            }
            let (sandbox, language) = (Arc::clone(&sandbox), Arc::clone(language));
            probes.spawn(async move {
                let toolchain = probe(&sandbox, &language, depth).await?;
                Ok((language.id.clone(), toolchain))
            });
        }
        while !probes.is_empty() {
            collect(&mut probes, &mut found).await?;
        }
        Ok(Self(found))
    }

    /// What was found for the language of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Toolchain> {
        self.0.get(id)
    }

    /// These, with what `newer` says of some of them.
    #[must_use]
    pub fn updated(mut self, newer: Self) -> Self {
        self.0.extend(newer.0);
        self
    }

    /// All of them, by the language's id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Toolchain)> {
        self.0.iter().map(|(id, toolchain)| (id.as_str(), toolchain))
    }
}

/// How far a probe goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Whether the programs are there.
    Presence,
    /// And what version they say they are.
    Version,
}

/// Awaits one probe.
async fn collect(
    probes: &mut JoinSet<Result<(String, Toolchain)>>,
    found: &mut BTreeMap<String, Toolchain>,
) -> Result<()> {
    if let Some(probe) = probes.join_next().await {
        let probe =
            probe.map_err(|error| Error::new(ErrorKind::Internal, "a probe panicked").with_source(error))?;
        found.extend([probe?]);
    }
    Ok(())
}

async fn probe(sandbox: &DynSandbox, language: &Language, depth: Depth) -> Result<Toolchain> {
    let absent = |reason: String| Ok(Toolchain::Absent { reason, install: language.install_hint() });
    let spec = SessionSpec::new(Limits::for_compiling()).with_label(&language.id);

    // Asked of the shell first: of a language with several programs the
    // version names only one, and starting what is absent is an error.
    let find = Step::new("sh").with_arguments(["-c", FIND_ABSENT, "sh"]).with_arguments(language.programs());
    let missing = sandbox.execute(Program::new(spec.clone(), find), "").await?;
    let missing = String::from_utf8_lossy(&missing.stdout).split_whitespace().collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        return absent(format!("not found: {missing}"));
    }
    if depth == Depth::Presence {
        return Ok(Toolchain::silent());
    }

    let Some((program, arguments)) = language.version.split_first() else {
        return absent("it has no version probe".to_owned());
    };
    let mut step = Step::new(program).with_arguments(arguments);
    for (name, value) in &language.environment {
        step = step.with_variable(name, value);
    }
    let said = match sandbox.execute(Program::new(spec, step), language.version_stdin.clone()).await {
        Ok(said) => said,
        Err(error) if error.kind() == ErrorKind::InvalidRequest => return absent(error.chain()),
        Err(error) => return Err(error),
    };
    if !said.report.outcome.is_success() {
        return absent(format!("`{}` {}", language.version.join(" "), said.report.outcome));
    }
    Ok(version(&said.stdout).or_else(|| version(&said.stderr)).unwrap_or(Toolchain::silent()))
}

/// The version in what a toolchain printed: the first number with a point, or
/// else the first with a digit, of the first line that has one.
fn version(printed: &[u8]) -> Option<Toolchain> {
    let printed = String::from_utf8_lossy(&printed[..printed.len().min(4096)]);
    let banner = printed.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    let numbers = || {
        banner
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .map(|number| number.trim_matches('.'))
            .filter(|number| !number.is_empty())
    };
    let version = numbers().find(|number| number.contains('.')).or_else(|| numbers().next())?;
    Some(Toolchain::Available { version: version.to_owned(), banner: banner.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_toolchains_print() {
        for (printed, expected) in [
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022", "12.2.0"),
            ("openjdk version \"17.0.15\" 2025-04-15", "17.0.15"),
            ("\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64", "5.36.0"),
            ("GNU bash, version 5.2.15(1)-release", "5.2.15"),
            ("Rscript (R) version 4.2.2 Patched", "4.2.2"),
            ("go version go1.19.8 linux/amd64", "1.19.8"),
            ("Mono C# compiler version 6.8.0.105", "6.8.0.105"),
            ("v20.20.2", "20.20.2"),
            ("25", "25"),
        ] {
            assert_eq!(version(printed.as_bytes()).unwrap().version(), Some(expected), "{printed}");
        }
        assert_eq!(version(b"no number"), None);
    }
}
