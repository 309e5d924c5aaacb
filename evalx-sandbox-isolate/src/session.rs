//! [`IsolateSession`]: one session in one box.

use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Artifact, ByteSize, FileContents, Result, SandboxPath, Session, SessionSpec, Step, StepIo, StepReport,
};
use evalx_host::{WorkFolder, blocking};
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::command::{self, Environment};
use crate::error::IsolateError;
use crate::gate::Gate;
use crate::keeper::{Bounds, End, Keeper, Stopped};
use crate::meta::{LONGEST_META, Meta};
use crate::program::{self, View};
use crate::report::{Seen, report};
use crate::starter::without_forks;
use crate::streams::{Ends, Host};
use crate::tenancy::Tenancy;

/// One session in one box.
pub(crate) struct IsolateSession {
    tenancy: Arc<Tenancy>,
    spec: SessionSpec,
    /// The box has been initialised since the last run.
    fresh: bool,
}

/// What a run was begun with.
struct Begun {
    keeper: Keeper,
    /// What isolate itself says.
    words: PipeReader,
    number: u32,
    /// Processes that the kernel had refused to earlier runs.
    refused: u64,
}

impl IsolateSession {
    pub(crate) fn new(tenancy: Arc<Tenancy>, spec: SessionSpec) -> Self {
        Self { tenancy, spec, fresh: true }
    }

    /// Awaits the end of a run whose future was dropped.
    async fn settle(&self) {
        if let Some(keeper) = self.tenancy.keeper() {
            keeper.stop(Stopped::Abandoned);
            keeper.ended().await;
        }
    }

    fn folder(&self) -> Result<WorkFolder, IsolateError> {
        self.tenancy.with(|used| used.work.files.clone())
    }

    /// Has isolate make the box anew if it has counted an earlier run, which
    /// it would add to this one.
    async fn renew(&mut self) -> Result<(), IsolateError> {
        if !self.fresh && self.tenancy.common().groups.is_some() {
            let number = self.tenancy.with(|used| used.ready.lease.number)?;
            self.tenancy.common().initialise(number).await?;
            // A new group has no limit yet.
            let processes = self.spec.limits.processes;
            self.tenancy.with(|used| used.ready.starter.limit(processes))?.map_err(|source| {
                IsolateError::Host { what: "a limit can't be set on", path: "pids.max".into(), source }
            })?;
        }
        self.fresh = true;
        Ok(())
    }

    /// The call of isolate for this step.
    fn command(&self, step: &Step) -> Result<Command> {
        let common = self.tenancy.common();
        let environment = Environment::of(step, &common.path);
        self.tenancy.with(|used| {
            let view = View { files: &used.work.files, shown: &used.ready.kit.shown };
            let program = program::find(&view, &step.program, environment.path())?;
            let number = used.ready.lease.number;
            let mut command = common.installation.about(number, common.groups.is_some());
            let rules = used.ready.kit.rules.iter().chain(&used.work.rules);
            command.args(rules.map(|rule| format!("--dir={rule}")));
            command.arg(command::meta(&used.ready.lease.folder.join(META)));
            command.args(command::limits(
                &self.spec.limits,
                common.groups.is_some(),
                used.ready.starter.counts(),
            ));
            environment.pass_on(&mut command);
            command.arg(Gate::argument());
            command.args(["--silent", "--run", "--"]).arg(program).args(&step.arguments);
            Ok(command)
        })?
    }

    /// Starts the program.
    fn begin(
        &mut self,
        mut command: Command,
        ends: Ends,
    ) -> Result<(Begun, oneshot::Receiver<OwnedFd>), IsolateError> {
        self.fresh = false;
        let common = self.tenancy.common();
        let (begun, gate) = self.tenancy.with(|used| {
            let ready = &used.ready;
            // So that what is read afterwards is of this run.
            match std::fs::remove_file(ready.lease.folder.join(META)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(IsolateError::Files(error));
                }
                _ => {}
            }
            let bounds = Bounds {
                cpu_time: self.spec.limits.cpu_time,
                wall_time: self.spec.limits.wall_time,
                groups: common.groups.clone(),
                number: ready.lease.number,
                gate: ready.kit.gate.shut().map_err(IsolateError::Streams)?,
            };
            let (words, stderr) = io::pipe().map_err(IsolateError::Streams)?;
            let refused = ready.starter.refused();
            command.stdin(ends.stdin).stdout(ends.stdout).stderr(stderr);
            let program = common.installation.program.clone();
            let start = |source| IsolateError::Start { program, source };
            let child = ready.starter.start(command).map_err(start)?;
            let (keeper, gate) = Keeper::watch(child, bounds, self.tenancy.boxes());
            Ok((Begun { keeper, words, number: ready.lease.number, refused }, gate))
        })??;
        self.tenancy.keep(&begun.keeper);
        Ok((begun, gate))
    }

    /// What isolate, the kernel and this host saw of a run that has ended.
    fn conclude(&self, run: Begun, end: End, host: &Host) -> Result<StepReport, IsolateError> {
        let (stdout, stderr) = host.summary();
        let stopped = run.keeper.stopped();
        let figures = self.tenancy.common().groups.as_ref().and_then(|groups| groups.figures(run.number));
        let seen = self.tenancy.with(|used| {
            let meta = read_meta(&used.ready.lease.folder.join(META));
            if !has_run(end.status, stopped) {
                used.broken = true;
                let message = meta.message.or_else(|| spoken(run.words));
                let message = message.or_else(|| end.status.map(|status| status.to_string()));
                let message = message.unwrap_or_else(|| "its end was missed".to_owned());
                return Err(IsolateError::Command { command: "--run", message });
            }
            Ok(Seen {
                meta,
                figures: figures.map(|figures| figures.without(end.setting_up)),
                wall_time: end.wall_time,
                stopped,
                space: used.work.space().map_err(IsolateError::Files)?,
                refused: used.ready.starter.refused().saturating_sub(run.refused),
                stdout,
                stderr,
            })
        })??;
        Ok(report(&seen, &self.spec.limits))
    }
}

/// Whether isolate saw the run to its end, whatever that was.
fn has_run(status: Option<ExitStatus>, stopped: Option<Stopped>) -> bool {
    // A program that can't be let go is never run.
    stopped != Some(Stopped::Gate) && matches!(status.and_then(|status| status.code()), Some(0 | 1))
}

/// The meta file of a box's last run.
const META: &str = "meta";

fn read_meta(path: &Path) -> Meta {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // What was read until an error is what there is.
        let _ = file.take(LONGEST_META as u64).read_to_end(&mut bytes);
    }
    Meta::parse(&bytes)
}

/// The first line of what isolate said, which has ended.
fn spoken(words: PipeReader) -> Option<String> {
    let mut text = Vec::new();
    words.take(400).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(ToOwned::to_owned).filter(|line| !line.is_empty())
}

#[async_trait]
impl Session for IsolateSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.settle().await;
        let (folder, path) = (self.folder()?, path.clone());
        let size = match &contents {
            FileContents::Bytes { contents, .. } => contents.len() as u64,
            FileContents::Artifact(artifact) => artifact.size().as_u64(),
            _ => 0,
        };
        blocking(size, move || match contents {
            FileContents::Bytes { contents, executable } => {
                let _unforked = without_forks();
                folder.write(&path, &contents, executable)
            }
            FileContents::Artifact(artifact) => artifact.files().iter().try_for_each(|file| {
                let _unforked = without_forks();
                folder.write(&file.placed_at(&path)?, &file.contents, file.executable)
            }),
            _ => Ok(()),
        })
        .await
    }

    async fn run(&mut self, mut step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        self.settle().await;
        step.validate()?;
        let command = self.command(&step)?;
        self.renew().await?;
        let stdio = std::mem::take(&mut step.stdio);
        let (mut host, ends) = Host::open(stdio, io, self.spec.limits.output)?;
        let (run, gate) = self.begin(command, ends)?;
        // Dropped here, the step is stopped at once rather than with the next call.
        let guard = StopOnDrop(Some(run.keeper.clone()));
        let end = host.attend(&run.keeper, gate, io).await;
        guard.disarm();
        Ok(self.conclude(run, end, &host)?)
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        self.settle().await;
        let (folder, path) = (self.folder()?, path.clone());
        blocking(u64::MAX, move || folder.read(&path, max)).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        self.settle().await;
        let (folder, path, max) = (self.folder()?, path.clone(), self.spec.limits.disk);
        blocking(u64::MAX, move || folder.keep(&path, max)).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.settle().await;
        self.tenancy.end();
        Ok(())
    }
}

impl Drop for IsolateSession {
    fn drop(&mut self) {
        self.tenancy.end();
    }
}

/// Where a file of an artifact at `path` lies.
/// Stops the step if the future of `run` is dropped.
struct StopOnDrop(Option<Keeper>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(keeper) = &self.0 {
            keeper.stop(Stopped::Abandoned);
        }
    }
}

impl fmt::Debug for IsolateSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolateSession").field("spec", &self.spec).finish_non_exhaustive()
    }
}
