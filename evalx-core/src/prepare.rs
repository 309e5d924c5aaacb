//! [`Prepared`]: a program that is compiled and can be run any number of times.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::cache::{Key, Weigh};
use crate::layout::Layout;
use crate::{
    Artifact, Collect, CompileReport, Error, ErrorKind, Evaluator, FileContents, Hint, HintRequest, Language,
    Limits, Network, Origin, Outcome, Phase, Program, Result, SandboxPath, SessionSpec, SourceCode,
    StderrMode, Step, StepReport, Submission, SyscallPolicy,
};

/// A program that is compiled and can be run any number of times, in as many
/// sessions. Made by [`Evaluator::prepare`].
///
/// Its files are reference-counted; one more session copies none of them.
#[derive(Debug)]
pub struct Prepared {
    language: Arc<Language>,
    layout: Layout,
    compile: Option<CompileReport>,
    /// What a session needs; `None` if the program was not compiled.
    launch: Option<Launch>,
}

#[derive(Debug)]
struct Launch {
    spec: SessionSpec,
    files: Vec<(SandboxPath, FileContents)>,
    argv: Vec<String>,
}

impl Prepared {
    /// Its language.
    #[must_use]
    pub const fn language(&self) -> &Arc<Language> {
        &self.language
    }

    /// What the compiler did; `None` for a language that has none.
    #[must_use]
    pub const fn compile(&self) -> Option<&CompileReport> {
        self.compile.as_ref()
    }

    /// The program, ready to be run; `None` if it was not compiled.
    ///
    /// An interactive host gives the step a terminal and opens the session
    /// itself; others hand it to [`SandboxExt::execute`](crate::SandboxExt::execute).
    #[must_use]
    pub fn program(&self) -> Option<Program> {
        let launch = self.launch.as_ref()?;
        let mut program = Program::new(launch.spec.clone(), step(&self.language, &launch.argv));
        program.files.clone_from(&launch.files);
        Some(program)
    }

    /// What explains a failure in `phase`, as `evaluator` has it explained.
    #[must_use]
    pub fn hints(
        &self,
        evaluator: &Evaluator,
        phase: Phase,
        report: &StepReport,
        stdout: &[u8],
        stderr: &[u8],
    ) -> Vec<Hint> {
        let request = HintRequest::new(&self.language.id, phase)
            .with_report(report)
            .with_output(stdout, stderr)
            .with_source(self.layout.main_path().as_str(), self.layout.main_contents());
        evaluator.hints.hints(&request)
    }
}

/// How a program is to be run once it is compiled.
#[derive(Debug)]
pub(crate) struct RunPlan<'a> {
    pub(crate) arguments: &'a [String],
    pub(crate) limits: &'a Limits,
    pub(crate) network: Network,
    pub(crate) syscalls: SyscallPolicy,
    pub(crate) stderr: StderrMode,
}

/// A step of a language, with the language's environment.
fn step(language: &Language, argv: &[String]) -> Step {
    let (program, arguments) = argv.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
    let mut step = Step::new(program).with_arguments(arguments);
    for (name, value) in &language.environment {
        step = step.with_variable(name, value);
    }
    step
}

/// What a compile made; kept in the cache.
#[derive(Debug)]
pub(crate) struct Compiled {
    report: CompileReport,
    artifact: Option<Artifact>,
}

impl Weigh for Compiled {
    fn weight(&self) -> Option<u64> {
        /// What an entry takes besides the bytes that are counted.
        const OVERHEAD: u64 = 1024;
        // A compiler that met a limit, or was killed, may fare better another time.
        let Outcome::Exited(_) = self.report.report.outcome else { return None };
        let artifact = self.artifact.as_ref().map_or(0, |artifact| artifact.size().as_u64());
        let output = self.report.stdout.len() + self.report.stderr.len();
        Some(artifact + output as u64 + OVERHEAD)
    }
}

impl Evaluator {
    /// Compiles a submission, or finds it compiled, and makes it ready to run.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> evalx_core::Result<()> {
    /// use evalx_core::{Evaluator, SandboxExt, Submission};
    /// use evalx_testkit::{FakeRun, FakeSandbox};
    ///
    /// let sandbox = FakeSandbox::new(|step| FakeRun::exited(0).with_stdout(step.command_line()));
    /// let evaluator = Evaluator::new(sandbox);
    /// let prepared = evaluator.prepare(&Submission::new("python", "print(1)")).await?;
    /// let program = prepared.program().expect("nothing to compile");
    /// let execution = evaluator.sandbox().execute(program, "").await?;
    /// assert_eq!(execution.stdout, "python3 main.py");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for an unknown language, files without a name, or
    /// limits out of range; else those of the sandbox. A program that does not
    /// compile is not an error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the compiler, unless an equal submission
    /// waits for it too: then that one compiles it again.
    pub async fn prepare(&self, submission: &Submission) -> Result<Prepared> {
        let plan = RunPlan {
            arguments: &submission.arguments,
            limits: submission.limits.as_ref().unwrap_or(&self.limits),
            network: submission.network,
            syscalls: submission.syscalls,
            // An interactor must not read the program's error messages.
            stderr: match submission.interactor {
                Some(_) => StderrMode::Separate,
                None => submission.stderr,
            },
        };
        self.prepare_code(&submission.code, &plan).await
    }

    pub(crate) async fn prepare_code(&self, code: &SourceCode, plan: &RunPlan<'_>) -> Result<Prepared> {
        let Some(language) = self.languages.get(&code.language) else {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("there is no language `{}`", code.language.escape_default()),
            ));
        };
        let limits = language.limits.adjust(plan.limits);
        limits.validate()?;
        let layout = Layout::new(language, code)?;
        let origin = Origin::new();
        let mut compile = None;
        let mut launch = true;
        let mut artifact = None;
        if language.is_compiled() {
            let (compiled, cached) = self.compile(language, &layout, &code.options, &origin).await?;
            artifact = compiled.artifact.clone().map(FileContents::Artifact);
            launch = artifact.is_some();
            compile = Some(CompileReport { cached, ..compiled.report.clone() });
        }
        let launch = launch.then(|| {
            let template = layout.template(language, &code.options, plan.arguments, plan.limits);
            let mut argv = language.expand(&language.run, &template);
            if plan.stderr == StderrMode::IntoStdout {
                // By the shell, since only the child itself can give both
                // descriptors one pipe. It sees the argv as it is.
                argv.splice(0..0, ["sh", "-c", "exec \"$@\" 2>&1", "sh"].map(str::to_owned));
            }
            let mut spec = SessionSpec::new(limits)
                .with_network(plan.network)
                .with_syscalls(plan.syscalls)
                .with_label(&language.id)
                .with_origin(origin);
            spec.required.clone_from(&self.required);
            Launch { spec, files: layout.placed(language, artifact), argv }
        });
        Ok(Prepared { language: Arc::clone(language), layout, compile, launch })
    }

    /// Compiles, unless it was compiled before; whether it was.
    async fn compile(
        &self,
        language: &Language,
        layout: &Layout,
        options: &[String],
        origin: &Origin,
    ) -> Result<(Arc<Compiled>, bool)> {
        let template = layout.template(language, options, &[], &self.compile_limits);
        let mut steps = vec![language.expand(&language.compile, &template)];
        if !language.link.is_empty() {
            steps.push(language.expand(&language.link, &template));
        }
        let key = self.key(language, layout, &steps);
        self.cache.get_or_make(key, || self.compile_now(language, layout, &steps, origin)).await
    }

    async fn compile_now(
        &self,
        language: &Language,
        layout: &Layout,
        steps: &[Vec<String>],
        origin: &Origin,
    ) -> Result<Compiled> {
        let _permit = self.permit().await?;
        let mut spec = SessionSpec::new(self.compile_limits.clone())
            .with_label(&language.id)
            .with_origin(origin.clone());
        spec.required.clone_from(&self.required);
        let mut session = self.sandbox.open(spec).await?;
        for (path, contents) in &layout.files {
            session.write_file(path, FileContents::data(contents.clone())).await?;
        }
        let mut io = Collect::default();
        let mut report: Option<StepReport> = None;
        for argv in steps {
            let next = session.run(step(language, argv), &mut io).await.map_err(|error| {
                let message = format!("could not start the compiler of {}", language.name);
                Error::new(error.kind(), message).with_help(language.install_hint()).with_source(error)
            })?;
            report = Some(match report {
                Some(before) => together(&before, next),
                None => next,
            });
            if report.as_ref().is_some_and(|report| !report.outcome.is_success()) {
                break;
            }
        }
        let report = report
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a language without a compiler was compiled"))?;
        let (artifact, failure) = match &language.output {
            _ if !report.outcome.is_success() => (None, Some(format!("the compiler {}", report.outcome))),
            None => (None, Some("the language names no output".to_owned())),
            Some(output) => match session.keep(output).await {
                Ok(artifact) => (Some(artifact), None),
                // Options can have made the compiler do something else.
                Err(error) if error.kind() == ErrorKind::InvalidRequest => {
                    (None, Some(format!("the compiler succeeded but made no `{output}`")))
                }
                Err(error) => return Err(error),
            },
        };
        session.close().await?;
        let (stdout, stderr) = io.into_output();
        let report = CompileReport { report, stdout, stderr, failure, cached: false };
        Ok(Compiled { report, artifact })
    }

    /// All that decides what a compile makes.
    fn key(&self, language: &Language, layout: &Layout, steps: &[Vec<String>]) -> Key {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            // Its length keeps a part from running into the next.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(b"evalx compile 1");
        add(language.id.as_bytes());
        // Another backend, or another version, makes another program.
        add(self.sandbox.capabilities().backend.as_bytes());
        let toolchain = self.toolchains.get(&language.id).and_then(|toolchain| toolchain.version());
        add(toolchain.unwrap_or_default().as_bytes());
        add(language.output.as_ref().map_or("", SandboxPath::as_str).as_bytes());
        for argv in steps {
            add(&(argv.len() as u64).to_le_bytes());
            argv.iter().for_each(|argument| add(argument.as_bytes()));
        }
        for (name, value) in &language.environment {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        for (path, contents) in &layout.files {
            add(path.as_str().as_bytes());
            add(contents);
        }
        hash.finalize().into()
    }
}

/// Two steps' reports as one: how the second ended, and what both used.
fn together(first: &StepReport, second: StepReport) -> StepReport {
    StepReport {
        cpu_time: first.cpu_time + second.cpu_time,
        user_time: first.user_time + second.user_time,
        system_time: first.system_time + second.system_time,
        wall_time: first.wall_time + second.wall_time,
        memory_peak: first.memory_peak.max(second.memory_peak),
        processes_peak: first.processes_peak.max(second.processes_peak),
        voluntary_switches: first.voluntary_switches + second.voluntary_switches,
        involuntary_switches: first.involuntary_switches + second.involuntary_switches,
        ..second
    }
}

/// The first bytes of a compiler's output, for a message.
pub(crate) fn excerpt(compile: &CompileReport) -> String {
    const LONGEST: usize = 400;
    let output: &Bytes = if compile.stderr.is_empty() { &compile.stdout } else { &compile.stderr };
    String::from_utf8_lossy(&output[..output.len().min(LONGEST)]).into_owned()
}
