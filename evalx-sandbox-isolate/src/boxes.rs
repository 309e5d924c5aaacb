//! [`Boxes`]: the boxes of one sandbox, which are ready before they are asked
//! for, and are made anew behind the sessions that had them.
//!
//! ```text
//!             lease, kit, --init                    close or drop
//!  free number ───────────────> ready ──> session ───────────────> used
//!        ^                        ^                                  │
//!        └── --cleanup, no lease ─┴────────────── --init ────────────┘
//! ```
//!
//! All of that is done by tasks that [`shut_down`](Boxes::shut_down) waits for.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evalx_core::{Limits, Result};
use evalx_host::Owner;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::backend::Found;
use crate::error::IsolateError;
use crate::groups::Groups;
use crate::installation::Installation;
use crate::kit::Kit;
use crate::lease::{Lease, State};
use crate::remains::{self, Note};
use crate::starter::{self, Starter};
use crate::tenancy::{Tenancy, UsedBox};
use crate::work::{Work, unmount_below};

/// How long a number may be waited for that other processes have.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked for.
const INTERVAL: Duration = Duration::from_millis(20);

/// What all boxes of a sandbox have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) installation: Installation,
    /// Where isolate's groups are, if it makes any.
    pub(crate) groups: Option<Groups>,
    /// The user of box 0.
    pub(crate) first_owner: Owner,
    pub(crate) state: State,
    /// Where groups of boxes are made, on cgroup v1.
    pub(crate) group_folders: Vec<PathBuf>,
    pub(crate) readable: Vec<PathBuf>,
    /// Where bare names are looked up.
    pub(crate) path: Vec<PathBuf>,
    /// The numbers that may be used: the first, and how many.
    pub(crate) range: (u32, u32),
    pub(crate) spares: usize,
}

/// A box that has been initialised and not been used.
#[derive(Debug)]
pub(crate) struct ReadyBox {
    pub(crate) lease: Lease,
    pub(crate) kit: Kit,
    pub(crate) starter: Starter,
    pub(crate) owner: Owner,
}

/// The boxes of one sandbox.
#[derive(Debug)]
pub(crate) struct Boxes {
    pub(crate) common: Common,
    permits: Arc<Semaphore>,
    ready: Mutex<Vec<ReadyBox>>,
    /// Boxes that are leased or about to be.
    leased: AtomicUsize,
    tenancies: Mutex<HashMap<u64, std::sync::Weak<Tenancy>>>,
    /// Why boxes of these numbers could not be removed, as long as nobody has
    /// leased them since.
    left: Mutex<BTreeMap<u32, String>>,
    next: AtomicU64,
    closing: AtomicBool,
    tasks: TaskTracker,
    /// Where tasks run, whoever begins them: a session may be dropped anywhere.
    runtime: Handle,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder leaves it whole, whatever happens then.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Boxes {
    /// Begins to make spare boxes, and does not wait for them.
    pub(crate) fn new(common: Common, sessions: usize) -> Arc<Self> {
        let boxes = Arc::new(Self {
            common,
            permits: Arc::new(Semaphore::new(sessions)),
            ready: Mutex::default(),
            leased: AtomicUsize::new(0),
            tenancies: Mutex::default(),
            left: Mutex::default(),
            next: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
        });
        boxes.warm();
        boxes
    }

    /// Begins a task that a shutdown waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Makes spare boxes behind, until as many are leased as are kept.
    fn warm(self: &Arc<Self>) {
        let boxes = Arc::clone(self);
        self.spawn(async move {
            while boxes.leased.load(Ordering::SeqCst) < boxes.common.spares && !boxes.is_closing() {
                match boxes.make().await {
                    Ok(Some(made)) => boxes.shelve(made).await,
                    Ok(None) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a spare box can't be made");
                        return;
                    }
                }
            }
        });
    }

    /// Waits until a box is ready; what was found when it was made.
    pub(crate) async fn ready(self: &Arc<Self>) -> Result<Found, IsolateError> {
        let made = self.lease_and_make().await?;
        let found = Found { layers: made.kit.layers, pids: made.starter.mechanism() };
        self.shelve(made).await;
        Ok(found)
    }

    /// A box for a session with these limits.
    pub(crate) async fn take(self: &Arc<Self>, limits: &Limits) -> Result<Arc<Tenancy>> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|_| IsolateError::ShutDown)?;
        let spare = locked(&self.ready).pop();
        let ready = match spare {
            Some(spare) => spare,
            None => self.lease_and_make().await?,
        };
        let made = Work::make(&ready.lease.folder.join("work"), ready.owner, limits).and_then(|work| {
            ready.starter.limit(limits.processes)?;
            Ok(work)
        });
        let work = match made {
            Ok(work) => work,
            Err(source) => {
                let path = ready.lease.folder.clone();
                self.throw_away_behind(ready);
                return Err(
                    IsolateError::Host { what: "a session's disk can't be made in", path, source }.into()
                );
            }
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let tenancy = Arc::new(Tenancy::new(number, Arc::clone(self), UsedBox::new(ready, work), permit));
        locked(&self.tenancies).insert(number, Arc::downgrade(&tenancy));
        // The shutdown either sees it in the list or is seen here.
        if self.is_closing() {
            tenancy.end();
            return Err(IsolateError::ShutDown.into());
        }
        Ok(tenancy)
    }

    /// Makes a box in a task of its own, so that nothing is lost if the caller
    /// is dropped meanwhile: the box is then a spare one.
    async fn lease_and_make(self: &Arc<Self>) -> Result<ReadyBox, IsolateError> {
        let (sender, receiver) = oneshot::channel();
        let boxes = Arc::clone(self);
        self.spawn(async move {
            let result = boxes.make_patiently(&sender).await;
            if let Err(Ok(made)) = sender.send(result) {
                boxes.shelve(made).await;
            }
        });
        receiver.await.map_err(|_| IsolateError::ShutDown)?
    }

    async fn make_patiently(
        &self,
        caller: &oneshot::Sender<Result<ReadyBox, IsolateError>>,
    ) -> Result<ReadyBox, IsolateError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.is_closing() || caller.is_closed() {
                return Err(IsolateError::ShutDown);
            }
            let spare = locked(&self.ready).pop();
            if let Some(made) = spare {
                return Ok(made);
            }
            if let Some(made) = self.make().await? {
                return Ok(made);
            }
            if Instant::now() >= deadline {
                return Err(IsolateError::no_box(self.common.range));
            }
            sleep(INTERVAL).await;
        }
    }

    /// Leases a free number and makes its box; `None` if there is no free one.
    async fn make(&self) -> Result<Option<ReadyBox>, IsolateError> {
        self.leased.fetch_add(1, Ordering::SeqCst);
        let common = &self.common;
        let made = match remains::lease(&common.state, common.range, &common.installation).await {
            Ok(Some(lease)) => {
                // Leasing it has removed what was there.
                locked(&self.left).remove(&lease.number);
                common.make(lease).await.map(Some)
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        if !matches!(made, Ok(Some(_))) {
            self.leased.fetch_sub(1, Ordering::SeqCst);
        }
        made
    }

    /// Puts a box where the next session finds it, if it is wanted there.
    async fn shelve(&self, made: ReadyBox) {
        let surplus = {
            let mut ready = locked(&self.ready);
            if !self.is_closing() && ready.len() < self.common.spares {
                ready.push(made);
                None
            } else {
                Some(made)
            }
        };
        if let Some(surplus) = surplus {
            self.throw_away(surplus).await;
        }
    }

    /// Forgets a tenancy that has ended.
    pub(crate) fn forget(&self, number: u64) {
        locked(&self.tenancies).remove(&number);
    }

    /// Makes a used box ready again, or throws it away.
    pub(crate) async fn renew(&self, used: UsedBox) {
        let UsedBox { ready, work, broken } = used;
        let number = ready.lease.number;
        let removed = work.remove();
        if let Err(error) = &removed {
            tracing::warn!(number, %error, "the disk of a box can't be removed");
        }
        if broken || removed.is_err() || self.is_closing() {
            return self.throw_away(ready).await;
        }
        // Without groups nothing carries over, and isolate's own box folder
        // was never shown to a program.
        if self.common.groups.is_some()
            && let Err(error) = self.common.initialise(number).await
        {
            tracing::warn!(number, %error, "a box can't be made anew");
            return self.throw_away(ready).await;
        }
        self.shelve(ready).await;
    }

    async fn throw_away(&self, ready: ReadyBox) {
        let number = ready.lease.number;
        if let Err(error) = self.common.remove(ready).await {
            tracing::warn!(number, %error, "a box can't be removed");
            locked(&self.left).insert(number, error.to_string());
        }
        self.leased.fetch_sub(1, Ordering::SeqCst);
    }

    fn throw_away_behind(self: &Arc<Self>, ready: ReadyBox) {
        let boxes = Arc::clone(self);
        self.spawn(async move { boxes.throw_away(ready).await });
    }

    /// Ends every session, and removes every box; the first that could not be
    /// removed is the error.
    pub(crate) async fn shut_down(self: &Arc<Self>) -> Result<(), IsolateError> {
        self.closing.store(true, Ordering::SeqCst);
        self.permits.close();
        let tenancies: Vec<_> = locked(&self.tenancies).values().cloned().collect();
        for tenancy in tenancies.iter().filter_map(std::sync::Weak::upgrade) {
            tenancy.end();
        }
        let ready = std::mem::take(&mut *locked(&self.ready));
        for made in ready {
            self.throw_away(made).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        let left = locked(&self.left).first_key_value().map(|(number, why)| (*number, why.clone()));
        left.map_or(Ok(()), |(number, why)| Err(IsolateError::Left { number, why }))
    }
}

impl Common {
    async fn make(&self, lease: Lease) -> Result<ReadyBox, IsolateError> {
        let number = lease.number;
        let owner = self.owner(number);
        let groups = starter::v1_groups(&self.group_folders, number);
        let host = |what, path: PathBuf| move |source| IsolateError::Host { what, path, source };
        let note = Note::new(self.installation.program.clone(), groups.clone());
        note.write(&lease).map_err(host("what belongs to a box can't be noted in", lease.folder.clone()))?;
        let starter = match groups.first().cloned() {
            Some(first) => {
                Starter::counted(groups).map_err(host("a control group can't be made at", first))?
            }
            None => Starter::Plain { group: None },
        };
        let (folder, readable) = (lease.folder.join("kit"), self.readable.clone());
        let refuse = host("what programs may see can't be laid out in", folder.clone());
        let kit = tokio::task::spawn_blocking(move || Kit::make(&folder, owner.gid, &readable)).await;
        let kit = kit.map_err(std::io::Error::other).and_then(|kit| kit);
        match kit {
            Ok(kit) => {
                let mut made = ReadyBox { lease, kit, starter, owner };
                match self.initialise(number).await {
                    Ok(()) => {
                        self.count_by_isolates_group(&mut made);
                        Ok(made)
                    }
                    Err(error) => {
                        if let Err(error) = self.remove(made).await {
                            tracing::warn!(number, %error, "a box can't be removed");
                        }
                        Err(error)
                    }
                }
            }
            Err(error) => {
                let _ = tokio::task::spawn_blocking(move || drop(starter)).await;
                // The error that led here says more than one of this.
                let _ = unmount_below(&lease.folder);
                Err(refuse(error))
            }
        }
    }

    /// On cgroup v2, isolate's group of the box counts processes if its parent
    /// lets it.
    fn count_by_isolates_group(&self, made: &mut ReadyBox) {
        let group = self.groups.as_ref().and_then(|groups| groups.unified(made.lease.number));
        if let (Starter::Plain { group: counted }, Some(group)) = (&mut made.starter, group)
            && group.join("pids.max").exists()
        {
            *counted = Some(group);
        }
    }

    pub(crate) fn owner(&self, number: u32) -> Owner {
        Owner { uid: self.first_owner.uid + number, gid: self.first_owner.gid + number }
    }

    /// Makes a box anew by isolate.
    pub(crate) async fn initialise(&self, number: u32) -> Result<(), IsolateError> {
        self.installation.initialise(number, self.groups.is_some()).await
    }

    /// Removes a box and all that belongs to it, then lets go of its number.
    async fn remove(&self, ready: ReadyBox) -> Result<(), IsolateError> {
        let ReadyBox { lease, starter, .. } = ready;
        // Its thread is waited for. It can't have panicked, which is all that could go wrong.
        let _ = tokio::task::spawn_blocking(move || drop(starter)).await;
        // What is left would be found and removed by the next who leases the number.
        remains::remove(&lease, &self.installation).await
    }
}
