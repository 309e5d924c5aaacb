//! [`Fleet`]: the launcher, and the slots that it forks for this sandbox.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evalx_host::Owner;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Launcher, NativeConfig};
use crate::error::NativeError;
use crate::identity::UIDS_PER_SLOT;
use crate::instance::{Instance, UIDS};
use crate::launch::{LaunchPlan, REQUEST};
use crate::launcher::PATIENCE;
use crate::slot::{Slot, SlotState};
use crate::store::Store;
use crate::sys;
use crate::wire::Shape;

/// What the launcher said of a zygote that died.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Death {
    pub(crate) oom_kills: u64,
    pub(crate) memory_peak: u64,
}

/// How long a zygote's death may take to be told.
const DEATH_NOTICE: Duration = Duration::from_secs(2);

/// What the launcher found when it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) overlay: bool,
    pub(crate) landlock: usize,
}

/// What the launcher has said of the slots that it was asked for.
#[derive(Debug, Default)]
struct Register {
    entries: Mutex<Entries>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    /// Numbers of slots that were asked for and are not known to be dead.
    used: HashSet<u64>,
    /// Where to look for the next number.
    next: u64,
    /// Deaths that nobody has asked about.
    told: HashMap<u64, Death>,
    /// The launcher will say no more.
    over: bool,
}

impl Register {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no slot has, be it one that still ends: uids and cgroups
    /// go by it.
    fn number(&self) -> Option<u64> {
        const NUMBERS: u64 = (UIDS / UIDS_PER_SLOT) as u64;
        let mut entries = self.entries();
        let next = entries.next;
        let number = (next..next + NUMBERS)
            .map(|next| next % NUMBERS)
            .find(|number| !entries.used.contains(number))?;
        entries.next = number + 1;
        entries.used.insert(number);
        entries.told.remove(&number);
        Some(number)
    }

    fn note(&self, number: u64, death: Death) {
        let mut entries = self.entries();
        entries.used.remove(&number);
        entries.told.insert(number, death);
        drop(entries);
        self.news.notify_waiters();
    }

    fn end(&self) {
        self.entries().over = true;
        self.news.notify_waiters();
    }

    async fn death(&self, number: u64) -> Option<Death> {
        loop {
            let news = self.news.notified();
            {
                let mut entries = self.entries();
                let told = entries.told.remove(&number);
                if told.is_some() || entries.over {
                    return told;
                }
            }
            news.await;
        }
    }
}

/// The slots of one sandbox.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) found: Found,
    pub(crate) store: Store,
    instance: Instance,
    /// Requests go to the launcher here; what it says is read by `listener`.
    socket: Arc<UnixStream>,
    listener: Mutex<Option<JoinHandle<()>>>,
    launcher: tokio::sync::Mutex<Option<Child>>,
    register: Arc<Register>,
    idle: Mutex<VecDeque<Slot>>,
    permits: Arc<Semaphore>,
    slots: usize,
}

impl Fleet {
    /// Starts a launcher and has every slot made.
    pub(crate) async fn start(
        config: &NativeConfig,
        mut instance: Instance,
        plan: crate::cgroup::Plan,
        shape: Shape,
    ) -> Result<Arc<Self>, NativeError> {
        let readable = config.readable.iter().chain(&config.toolchains).cloned().collect();
        let plan = LaunchPlan {
            instance: instance.name.clone(),
            folder: instance.stage.clone(),
            cgroup: plan,
            uids: instance.uids,
            readable,
        };
        let (mut child, socket) = spawn(&config.launcher, &plan)?;
        instance.hand_over();
        let socket = Arc::new(socket);
        let silent = NativeError::Silent("its entry hook may not have run");
        let heard = timeout(PATIENCE, hear(Arc::clone(&socket))).await.unwrap_or(Err(silent));
        let (found, store, ear) = match heard {
            Ok(heard) => heard,
            Err(error) => {
                // It may not be a launcher at all, which would clean up.
                if child.kill().await.is_ok() {
                    // What is left if it fails is removed by the next start.
                    let _ = instance.end();
                }
                return Err(error);
            }
        };
        let register = Arc::new(Register::default());
        let listener = tokio::spawn(listen(ear, Arc::clone(&register)));
        let fleet = Self {
            found,
            store,
            instance,
            socket,
            listener: Mutex::new(Some(listener)),
            launcher: tokio::sync::Mutex::new(Some(child)),
            register,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(config.sessions)),
            slots: config.sessions,
        };
        for _ in 0..config.sessions + config.spares {
            let slot = fleet.make(shape).await?;
            fleet.idle().push_back(slot);
        }
        Ok(Arc::new(fleet))
    }

    /// Whether programs run as uids of the instance's own.
    pub(crate) fn is_privileged(&self) -> bool {
        self.instance.uids.is_some()
    }

    /// Whether the launcher has said its last word, and no slot can be made.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.register.entries().over
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the launcher fork a zygote.
    ///
    /// # Cancel safety
    ///
    /// Nothing was asked for if the future is dropped.
    async fn make(&self, shape: Shape) -> Result<Slot, NativeError> {
        loop {
            match self.ask(shape)? {
                Some(slot) => return Ok(slot),
                // Several hundred are asked for at once.
                None => self.socket.writable().await.map_err(NativeError::LauncherDied)?,
            }
        }
    }

    /// Asks the launcher for a zygote; `None` while its socket is full.
    fn ask(&self, shape: Shape) -> Result<Option<Slot>, NativeError> {
        let (command, their_command) = StdStream::pair().map_err(NativeError::Talk)?;
        let (control, their_control) = StdStream::pair().map_err(NativeError::Talk)?;
        let index = self.register.number().ok_or(NativeError::TooMany)?;
        let mut request = [0; REQUEST];
        request[8..].copy_from_slice(&index.to_ne_bytes());
        let fds = [their_command.as_raw_fd(), their_control.as_raw_fd()];
        let sent = self.socket.try_io(Interest::WRITABLE, || {
            Ok(sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[std::io::IoSlice::new(&request)],
                &[ControlMessage::ScmRights(&fds)],
                MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
                None,
            )?)
        });
        // A message this small is sent whole or not at all.
        if let Err(error) = sent {
            self.register.entries().used.remove(&index);
            return match error.kind() {
                std::io::ErrorKind::WouldBlock => Ok(None),
                _ => Err(NativeError::LauncherDied(error)),
            };
        }
        for stream in [&command, &control] {
            stream.set_nonblocking(true).map_err(NativeError::Talk)?;
        }
        let command = UnixStream::from_std(command).map_err(NativeError::Talk)?;
        #[expect(clippy::cast_possible_truncation, reason = "the index is below the block's size")]
        let id = self.instance.uids.map(|first| first + index as u32 * UIDS_PER_SLOT + 1);
        let owner = id.map(|id| Owner { uid: id, gid: id });
        let mut slot = Slot::new(index, command, control, shape, owner);
        slot.reset(shape)?;
        Ok(Some(slot))
    }

    /// Takes a slot, preferably one that is prepared in this shape already.
    ///
    /// # Cancel safety
    ///
    /// A slot taken is given back if the future is dropped.
    pub(crate) async fn take(self: &Arc<Self>, shape: Shape) -> Result<Taken, NativeError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| NativeError::ShutDown)?;
        let slot = choose(&mut self.idle(), shape);
        let mut taken = Taken { fleet: Arc::clone(self), slot, _permit: permit };
        let reused = match &mut taken.slot {
            Some(slot) if slot.state() == SlotState::Dead => false,
            Some(slot) if slot.shape() == shape => slot.ready().await.is_ok(),
            Some(slot) => slot.reset(shape).is_ok() && slot.ready().await.is_ok(),
            None => false,
        };
        if !reused {
            // A slot that has died since is replaced here, once.
            if let Some(dead) = taken.slot.take() {
                tracing::warn!(slot = dead.index, "replacing a slot that died");
            }
            let mut slot = self.make(shape).await?;
            slot.ready().await?;
            taken.slot = Some(slot);
        }
        Ok(taken)
    }

    /// Waits until every slot is prepared.
    pub(crate) async fn ready(&self) -> Result<(), NativeError> {
        let all = u32::try_from(self.slots).unwrap_or(u32::MAX);
        let _permits = self.permits.acquire_many(all).await.map_err(|_| NativeError::ShutDown)?;
        let mut slots = std::mem::take(&mut *self.idle());
        let mut result = Ok(());
        for slot in &mut slots {
            if let Err(error) = slot.ready().await {
                result = Err(error);
            }
        }
        *self.idle() = slots;
        result
    }

    /// What the launcher says of a zygote's end.
    pub(crate) async fn death(&self, index: u64) -> Option<Death> {
        timeout(DEATH_NOTICE, self.register.death(index)).await.ok().flatten()
    }

    /// Ends everything and waits until nothing is left.
    pub(crate) async fn shut_down(self: &Arc<Self>) -> Result<(), NativeError> {
        self.permits.close();
        self.idle().clear();
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
        let mut launcher = self.launcher.lock().await;
        if let Some(child) = launcher.as_mut() {
            match timeout(PATIENCE, child.wait()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(NativeError::Talk(error)),
                Err(_) => return Err(NativeError::Silent("it does not end")),
            }
        }
        *launcher = None;
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.abort();
        }
        let fleet = Arc::clone(self);
        let ended = tokio::task::spawn_blocking(move || fleet.instance.end()).await;
        ended.unwrap_or_else(|error| Err(error.into())).map_err(NativeError::Talk)
    }
}

/// Takes a slot off those that are idle, which lie in the order in which they
/// became so.
fn choose(idle: &mut VecDeque<Slot>, shape: Shape) -> Option<Slot> {
    // Of those that are prepared the one that was used last: what it needs is
    // in the processor's caches yet.
    let warm = |slot: &Slot| slot.shape() == shape && slot.state() == SlotState::Prepared;
    let at = idle.iter().rposition(warm);
    // Else the one that has been at it for longest.
    let at = at.or_else(|| idle.iter().position(|slot| slot.shape() == shape));
    // One of the same policy can at least be reset to the shape; the policy of
    // a slot is for good.
    let at = at.or_else(|| idle.iter().position(|slot| slot.shape().strict == shape.strict));
    // One of the other policy makes room.
    idle.remove(at.unwrap_or(0)).filter(|slot| slot.shape().strict == shape.strict)
}

impl Drop for Fleet {
    /// The launcher sees the sockets close, and cleans up by itself.
    fn drop(&mut self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.abort();
        }
    }
}

/// A slot in use; it goes back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    fleet: Arc<Fleet>,
    /// `None` only while it is replaced.
    slot: Option<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl Taken {
    pub(crate) fn slot(&mut self) -> Result<&mut Slot, NativeError> {
        self.slot.as_mut().ok_or(NativeError::SlotDied)
    }

    pub(crate) fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// Forgets a slot that has died; the next to take one has it replaced.
    pub(crate) fn discard(&mut self) {
        self.slot = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        // The zygote kills what runs and prepares the next session meanwhile.
        let shape = slot.shape();
        if slot.reset(shape).is_ok() && !self.fleet.permits.is_closed() {
            self.fleet.idle().push_back(slot);
        }
    }
}

fn spawn(launcher: &Launcher, plan: &LaunchPlan) -> Result<(Child, UnixStream), NativeError> {
    let (ours, theirs) = StdStream::pair().map_err(NativeError::Start)?;
    let program = match launcher {
        Launcher::Current if !sys::keep_entry() => {
            return Err(NativeError::refused(
                "this code is in a shared library; name an executable with `Launcher::Path`",
            ));
        }
        Launcher::Current => std::path::Path::new("/proc/self/exe"),
        Launcher::Path(path) => path,
    };
    let (marker, value) = sys::arm();
    let child = Command::new(program)
        .arg0("evalx-launcher")
        .args(plan.to_arguments())
        .env_clear()
        .env(marker, value)
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(NativeError::Start)?;
    ours.set_nonblocking(true).map_err(NativeError::Start)?;
    let ours = UnixStream::from_std(ours).map_err(NativeError::Start)?;
    Ok((child, ours))
}

/// Reads lines off a socket that others write to at the same time.
#[derive(Debug)]
struct Ear {
    socket: Arc<UnixStream>,
    heard: Vec<u8>,
}

impl Ear {
    /// The next line, and a descriptor if one came with it; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// What was heard of a line is kept.
    async fn line(&mut self) -> Option<(String, Option<OwnedFd>)> {
        let mut descriptor = None;
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Some((String::from_utf8_lossy(&line[..end]).into_owned(), descriptor));
            }
            let mut piece = [0; 512];
            let mut fds = [-1; sys::MAX_FDS];
            let receive = || Ok(sys::receive(self.socket.as_raw_fd(), &mut piece, &mut fds)?);
            let length =
                self.socket.async_io(Interest::READABLE, receive).await.ok().filter(|length| *length > 0)?;
            descriptor = sys::own(fds[0]).or(descriptor);
            self.heard.extend_from_slice(&piece[..length]);
        }
    }
}

/// The launcher's first line.
async fn hear(socket: Arc<UnixStream>) -> Result<(Found, Store, Ear), NativeError> {
    let mut ear = Ear { socket, heard: Vec::new() };
    let (line, folder) =
        ear.line().await.ok_or(NativeError::Silent("it ended; its entry hook may not have run"))?;
    match (line.split_whitespace().collect::<Vec<_>>().as_slice(), folder) {
        (["ready", layers, landlock], Some(folder)) => {
            let found = Found { overlay: *layers == "overlay", landlock: landlock.parse().unwrap_or(0) };
            Ok((found, Store::new(folder), ear))
        }
        (["error", stage, ..], _) => {
            let text = line["error ".len() + stage.len()..].trim().to_owned();
            let stage = stage.parse().map_err(|_| NativeError::Silent("its refusal is not understood"))?;
            Err(NativeError::Refused { stage, text })
        }
        _ => Err(NativeError::Silent("its first word is not understood")),
    }
}

async fn listen(mut ear: Ear, register: Arc<Register>) {
    while let Some((line, _)) = ear.line().await {
        if let ["died", index, oom_kills, peak] = line.split_whitespace().collect::<Vec<_>>().as_slice()
            && let (Ok(index), Ok(oom_kills), Ok(memory_peak)) =
                (index.parse(), oom_kills.parse(), peak.parse())
        {
            register.note(index, Death { oom_kills, memory_peak });
        }
    }
    register.end();
}
