//! [`Language`]: how a programming language is compiled and run, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::template::{self, Template};
use crate::{ByteSize, Limits, SandboxPath};

/// How a programming language is compiled and run.
///
/// An argv is expanded element by element, never by a shell:
///
/// | placeholder | stands for | where |
/// |---|---|---|
/// | `{sources}` | every source file | an element by itself |
/// | `{options}` | the submission's compiler options | an element by itself |
/// | `{arguments}` | the submission's arguments | an element by itself |
/// | `{source}` | the main source file | anywhere |
/// | `{stem}` | its name without folder and extension | anywhere |
/// | `{output}` | what the compiler makes | anywhere |
/// | `{main_class}` | the class that has `main` | anywhere |
/// | `{memory_mb}`, `{stack_mb}` | those limits in MiB (of the stack at most 1024) | anywhere |
///
/// A language comes from TOML, by [`Languages::with_toml`](crate::Languages::with_toml):
///
/// ```
/// use evalx_core::Languages;
///
/// let languages = Languages::builtin();
/// let c = languages.get("c").expect("C is built in");
/// assert_eq!(c.source.as_str(), "main.c");
/// assert!(c.is_compiled());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Language {
    /// Its unique name in lower case: the key of its entry in TOML.
    #[serde(skip)]
    pub id: String,
    /// Its name as people write it.
    pub name: String,
    /// Other names it is known by.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The endings of file names that mean this language, without the dot.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// What its main source file is called.
    pub source: SandboxPath,
    /// The folder in the work folder that the submission's files are placed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<SandboxPath>,
    /// How the source file's name and the main class follow from the source.
    #[serde(default)]
    pub entry_point: EntryPoint,
    /// What is put before the main source file's text.
    #[serde(default)]
    pub prefix: String,
    /// The compiler's argv; empty for a language that is run from its source.
    #[serde(default)]
    pub compile: Vec<String>,
    /// A second argv, run if the first succeeded: a linker, as a rule.
    #[serde(default)]
    pub link: Vec<String>,
    /// The file or folder that compiling makes and running needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<SandboxPath>,
    /// The program's argv.
    pub run: Vec<String>,
    /// Variables for all its steps.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// An argv that prints the toolchain's version. It is not expanded.
    pub version: Vec<String>,
    /// What that program reads as stdin.
    #[serde(default)]
    pub version_stdin: String,
    /// The Debian packages that have the toolchain.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What to install where no package has it.
    #[serde(default)]
    pub install: String,
    /// A container image that has the toolchain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How the limits of its programs differ from those that were asked for.
    #[serde(default)]
    pub limits: LanguageLimits,
    /// Texts on the stderr of a failed program that mean that it ran out of
    /// memory: those of a runtime that holds a limit of its own, below ours.
    #[serde(default)]
    pub out_of_memory: Vec<String>,
    /// Its ids in Judge0 CE, of all versions.
    #[serde(default)]
    pub judge0: Vec<u32>,
    /// Its ids in Judge0 Extra CE, of all versions.
    #[serde(default)]
    pub judge0_extra: Vec<u32>,
    /// A program that prints `Hello, world!`.
    #[serde(default)]
    pub hello: String,
}

/// How the main source file's name and the main class follow from the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryPoint {
    /// They don't: the name is fixed, and the main class is named like it.
    #[default]
    Fixed,
    /// By Java's rules: the public class names the file, and the class that
    /// has `main` is run.
    Java,
}

/// How the limits of a language's programs differ from those asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LanguageLimits {
    /// What CPU time and wall time are multiplied by.
    pub time_factor: f64,
    /// Memory that the runtime itself needs, added to the limit.
    pub extra_memory: ByteSize,
    /// The fewest processes and threads that the runtime starts with.
    pub min_processes: u32,
}

impl Default for LanguageLimits {
    fn default() -> Self {
        Self { time_factor: 1.0, extra_memory: ByteSize::ZERO, min_processes: 1 }
    }
}

impl LanguageLimits {
    /// The limits of a program of this language for which `limits` were asked.
    #[must_use]
    pub fn adjust(&self, limits: &Limits) -> Limits {
        let longer = |time: Duration| {
            Duration::try_from_secs_f64(time.as_secs_f64() * self.time_factor).unwrap_or(Duration::MAX)
        };
        let mut adjusted = limits.clone();
        // Not even rounded by a factor of one.
        if self.time_factor.to_bits() != 1.0_f64.to_bits() {
            adjusted.cpu_time = longer(limits.cpu_time);
            adjusted.wall_time = longer(limits.wall_time);
        }
        adjusted.memory = ByteSize::bytes(limits.memory.as_u64().saturating_add(self.extra_memory.as_u64()));
        adjusted.processes = limits.processes.max(self.min_processes);
        adjusted
    }
}

impl Language {
    /// Whether it has a compile step.
    #[must_use]
    pub const fn is_compiled(&self) -> bool {
        !self.compile.is_empty()
    }

    /// What to install to have its toolchain, in words for an operator.
    #[must_use]
    pub fn install_hint(&self) -> String {
        if self.install.is_empty() {
            format!("apt-get install {}", self.packages.join(" "))
        } else {
            self.install.clone()
        }
    }

    /// Whether a file of this name is one of its source files.
    #[must_use]
    pub fn is_source(&self, path: &SandboxPath) -> bool {
        let extension = |path: &SandboxPath| {
            Path::new(path.file_name()).extension().and_then(|ending| ending.to_str()).map(str::to_owned)
        };
        match extension(path) {
            Some(ending) => {
                self.extensions.contains(&ending) || extension(&self.source).as_ref() == Some(&ending)
            }
            None => *path == self.source,
        }
    }

    /// The programs that its steps start, which its toolchain must have.
    pub(crate) fn programs(&self) -> BTreeSet<&str> {
        [&self.version, &self.compile, &self.link, &self.run]
            .into_iter()
            .filter_map(|argv| argv.first())
            .map(String::as_str)
            .filter(|program| !program.contains(['/', '{']))
            .collect()
    }

    /// Whether the main source file is itself what is run.
    pub(crate) fn runs_source(&self) -> bool {
        self.run.first().is_some_and(|program| program == "./{source}")
    }

    /// What is wrong with it, naming the field.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_+#-.".contains(&b))
        };
        if !word(&self.id) {
            return Err("its id may have lower-case letters, digits and `_+#-.` only".to_owned());
        }
        if let Some(alias) = self.aliases.iter().find(|alias| !word(alias)) {
            return Err(format!(
                "`aliases` has {alias:?}: lower-case letters, digits and `_+#-.` are allowed"
            ));
        }
        if let Some(ending) =
            self.extensions.iter().find(|ending| ending.is_empty() || ending.starts_with('.'))
        {
            return Err(format!("`extensions` has {ending:?}: write it without a dot"));
        }
        for (field, argv) in [("run", &self.run), ("version", &self.version)] {
            if argv.is_empty() {
                return Err(format!("`{field}` is empty: it needs a program at least"));
            }
        }
        for (field, argv) in [("compile", &self.compile), ("link", &self.link), ("run", &self.run)] {
            template::check(argv).map_err(|why| format!("`{field}` {why}"))?;
        }
        if self.is_compiled() != self.output.is_some() {
            return Err("`compile` and `output` need each other".to_owned());
        }
        if !self.link.is_empty() && !self.is_compiled() {
            return Err("`link` needs `compile`".to_owned());
        }
        if let Some(name) = self.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err(format!("`environment` has {name:?}, which is no variable's name"));
        }
        if !(self.limits.time_factor.is_finite() && self.limits.time_factor > 0.0) {
            return Err("`limits.time_factor` must be a number above 0".to_owned());
        }
        Ok(())
    }

    /// Expands one of its argvs.
    pub(crate) fn expand(&self, argv: &[String], values: &Template<'_>) -> Vec<String> {
        template::expand(argv, values)
    }
}
