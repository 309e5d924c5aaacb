//! [`NativeSession`]: one session on one slot.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Artifact, ByteSize, FileContents, Result, SandboxPath, Session, SessionSpec, Step, StepIo, StepReport,
    StreamSummary,
};

use crate::error::{NativeError, not_started};
use crate::fleet::{Death, Taken};
use crate::report::{Seen, report};
use crate::stdio::{Ends, Host};
use crate::store::LARGE;
use crate::wire::{Answer, Done, FLAG_TERMINAL, Order, Stage, Stopped};
use evalx_host::{WorkFolder, blocking};

/// What every session of a sandbox knows.
#[derive(Debug)]
pub(crate) struct Common {
    /// Where bare names are looked up.
    pub(crate) path: Vec<std::path::PathBuf>,
    /// What this process itself may have: the kernel lets nobody raise these.
    pub(crate) most_open_files: u64,
    pub(crate) most_stack: u64,
}

/// One session on one slot.
pub(crate) struct NativeSession {
    taken: Taken,
    spec: SessionSpec,
    common: Arc<Common>,
    folder: WorkFolder,
    /// A cell waits for an order; else one has to be made first.
    fresh: bool,
    /// A run was dropped, and its answer is still to come.
    dropped_run: bool,
    /// An order is being sent, or was dropped amid that.
    half_sent: bool,
    /// What the next step's cell is to mount.
    places: Vec<Place>,
}

/// A stored file of an artifact, and where it is to be mounted.
struct Place {
    name: String,
    path: SandboxPath,
    artifact: Artifact,
    file: usize,
}

impl NativeSession {
    pub(crate) fn new(taken: Taken, spec: SessionSpec, common: Arc<Common>, folder: WorkFolder) -> Self {
        Self {
            taken,
            spec,
            common,
            folder,
            fresh: true,
            dropped_run: false,
            half_sent: false,
            places: Vec::new(),
        }
    }

    /// Awaits the end of a run whose future was dropped.
    async fn settle(&mut self) -> Result<(), NativeError> {
        if std::mem::take(&mut self.half_sent) {
            // Nobody has the rest of the order: the cell would wait for it for ever.
            self.lose_slot().await;
        }
        if self.dropped_run {
            let slot = self.taken.slot()?;
            slot.abandon();
            slot.answer().await?;
            self.dropped_run = false;
        }
        Ok(())
    }

    fn order(&self, step: &Step) -> Order {
        let limits = &self.spec.limits;
        let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Order {
            flags: if matches!(step.stdio, evalx_core::Stdio::Terminal(_)) { FLAG_TERMINAL } else { 0 },
            cpu_ns: ns(limits.cpu_time),
            wall_ns: ns(limits.wall_time),
            memory: limits.memory.as_u64(),
            processes: u64::from(limits.processes),
            disk: limits.disk.as_u64(),
            stack: limits.stack.as_u64().min(self.common.most_stack),
            open_files: u64::from(limits.open_files).min(self.common.most_open_files),
            ..Order::default()
        }
    }

    fn message(&self, step: &Step) -> Vec<u8> {
        use std::ffi::{OsStr, OsString};
        use std::os::unix::ffi::OsStrExt;
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), std::env::join_paths(&self.common.path).unwrap_or_default()),
            ("HOME".into(), evalx_core::WORK_FOLDER.into()),
            ("LC_ALL".into(), "C.UTF-8".into()),
        ];
        for (name, value) in &step.environment {
            variables.retain(|(known, _)| known != name);
            variables.push((name.clone(), value.clone()));
        }
        let programs: Vec<OsString> = if step.program.as_bytes().contains(&b'/') {
            vec![step.program.clone()]
        } else {
            let path = variables.iter().find(|(name, _)| name == "PATH");
            let folders = path.map(|(_, value)| std::env::split_paths(value).collect::<Vec<_>>());
            folders.unwrap_or_default().iter().map(|folder| folder.join(&step.program).into()).collect()
        };
        self.order(step).encode(
            self.places.iter().map(|place| (place.name.as_str(), place.path.as_str())),
            programs.iter().map(OsString::as_os_str),
            std::iter::once(step.program.as_os_str()).chain(step.arguments.iter().map(OsString::as_os_str)),
            variables.iter().map(|(name, value)| -> (&OsStr, &OsStr) { (name, value) }),
        )
    }

    /// Notes what of an artifact is to be mounted; returns how many bytes are
    /// left to be copied.
    fn store(&mut self, artifact: &Artifact, path: &SandboxPath) -> Result<u64> {
        let mut copied = 0;
        for (index, file) in artifact.files().iter().enumerate() {
            if file.contents.len() < LARGE {
                copied += file.contents.len() as u64;
                continue;
            }
            let name = self.taken.fleet().store.name(artifact, index).map_err(NativeError::Store)?;
            let path = file.placed_at(path)?;
            self.places.push(Place { name, path, artifact: artifact.clone(), file: index });
        }
        Ok(copied)
    }

    /// Copies what would be mounted: somebody wants to read it before any step.
    fn copy_places(&mut self) -> Result<()> {
        for place in self.places.drain(..) {
            let file = &place.artifact.files()[place.file];
            let folder = &self.folder;
            folder.write(&place.path, &file.contents, file.executable)?;
        }
        Ok(())
    }

    /// Starts the program.
    async fn start(&mut self, message: &[u8], ends: Ends) -> Result<(), NativeError> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        let slot = self.taken.slot()?;
        if !fresh {
            slot.again()?;
        }
        let stdio: Vec<BorrowedFd<'_>> = ends.iter().map(OwnedFd::as_fd).collect();
        self.half_sent = true;
        slot.order(message, &stdio).await?;
        self.half_sent = false;
        // From here on an answer comes, whether somebody waits or not.
        self.dropped_run = true;
        Ok(())
    }

    /// Gives up the slot, and waits until its processes are dead.
    async fn lose_slot(&mut self) -> Option<Death> {
        let index = self.taken.slot().ok()?.index;
        self.taken.discard();
        self.dropped_run = false;
        self.taken.fleet().death(index).await
    }

    /// A slot whose zygote ended: on cgroup v1 the kernel may have chosen it
    /// when the step's memory was up.
    async fn bereaved(
        &mut self,
        error: NativeError,
        summary: (StreamSummary, StreamSummary),
    ) -> Result<StepReport> {
        match self.lose_slot().await {
            Some(death) if death.oom_kills > 0 => {
                let done = Done {
                    stopped: Stopped::Memory,
                    oom_kills: death.oom_kills,
                    memory_peak: death.memory_peak.min(self.spec.limits.memory.as_u64()),
                    ..Done::default()
                };
                Ok(report(&done, &self.spec.limits, Seen::from(summary)))
            }
            _ => Err(error.into()),
        }
    }
}

#[async_trait]
impl Session for NativeSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.settle().await?;
        let (folder, path) = (self.folder.clone(), path.clone());
        // What was to be mounted there, or below, is not any more.
        self.places.retain(|place| !Path::new(place.path.as_str()).starts_with(path.as_str()));
        let size = match &contents {
            FileContents::Bytes { contents, .. } => contents.len() as u64,
            FileContents::Artifact(artifact) => self.store(artifact, &path)?,
            _ => 0,
        };
        blocking(size, move || match contents {
            FileContents::Bytes { contents, executable } => folder.write(&path, &contents, executable),
            FileContents::Artifact(artifact) => {
                for file in artifact.files() {
                    // Of one that is mounted, only the place is made.
                    let contents = if file.contents.len() >= LARGE { &[] } else { file.contents.as_ref() };
                    let target = file.placed_at(&path)?;
                    folder.write(&target, contents, file.executable)?;
                }
                Ok(())
            }
            _ => Ok(()),
        })
        .await
    }

    async fn run(&mut self, mut step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        self.settle().await?;
        step.validate()?;
        let message = self.message(&step);
        self.places.clear();
        let stdio = std::mem::take(&mut step.stdio);
        let (mut host, ends) = Host::open(stdio, io, self.spec.limits.output).map_err(NativeError::Talk)?;
        match self.start(&message, ends).await {
            Ok(()) => {}
            Err(error) => return self.bereaved(error, host.summary()).await,
        }
        // Dropped here, the session still has `dropped_run` set, and the kill
        // is sent at once rather than with the next call.
        let answer = {
            let slot = self.taken.slot()?;
            let guard = KillOnDrop { slot, armed: true };
            let answer = host.attend(guard.slot, io).await;
            guard.disarm();
            answer
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.bereaved(error, host.summary()).await,
        };
        self.dropped_run = false;
        match answer {
            Answer::Done(done) => Ok(report(&done, &self.spec.limits, Seen::from(host.summary()))),
            Answer::Failed { stage, errno, .. } => {
                if Stage::may_leave_the_order_unread(stage) {
                    self.lose_slot().await;
                }
                Err(not_started(&step.program, stage, errno))
            }
            Answer::Ready { .. } => Err(NativeError::SlotDied.into()),
        }
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        self.settle().await?;
        self.copy_places()?;
        let (folder, path) = (self.folder.clone(), path.clone());
        blocking(u64::MAX, move || folder.read(&path, max)).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        self.settle().await?;
        self.copy_places()?;
        let (folder, path, max) = (self.folder.clone(), path.clone(), self.spec.limits.disk);
        blocking(u64::MAX, move || folder.keep(&path, max)).await
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        // A step that has answered is dead already. After a dropped run the
        // answer is awaited; the rest is removed by the zygote, behind.
        self.settle().await.map_err(Into::into)
    }
}

/// Where a file of an artifact at `path` lies.
/// Kills the step if the future of `run` is dropped.
struct KillOnDrop<'a> {
    slot: &'a crate::slot::Slot,
    armed: bool,
}

impl KillOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.slot.abandon();
        }
    }
}

impl fmt::Debug for NativeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeSession").field("spec", &self.spec).finish_non_exhaustive()
    }
}
