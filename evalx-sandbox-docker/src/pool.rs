//! [`Pool`]: containers that are ready before somebody asks.
//!
//! Each image has a shelf with a target of spares. Whoever takes one has
//! another made behind; no more than so many are made at once. Who finds a
//! shelf empty waits in line, and gets the next that is made. A container that
//! has served a session of a submission is parked for the submission's next.
//!
//! To make and to remove a container takes processors that programs run on, a
//! quarter of a second of them. So:
//!
//! - While sessions are open, spares are made and used containers let go of only
//!   if somebody waits in line, or that was put off for [`LONGEST_DELAY`].
//! - A submission that has a session open waits for that one's container, rather
//!   than take another, until all its waiting together has cost as much time as
//!   making a container does. Short tests share one; long ones soon have several.

mod shelf;
mod statistics;
mod tenants;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evalx_core::{Origin, WeakOrigin};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Reuse;
use crate::container::{Container, Recipe};
use crate::error::DockerError;
use shelf::Shelf;
pub use statistics::{PoolStatistics, ShelfStatistics};
use tenants::Tenants;

/// How often parked containers are looked at whose submission may be over.
const LOOK: Duration = Duration::from_millis(250);
/// How long making and removing containers is put off while sessions are open.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// How long no session was open where it is quiet: the next of a submission is
/// opened sooner.
const QUIET: Duration = Duration::from_millis(20);
/// The pauses between attempts to make a container that nobody waits for.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whether a submission has a container already.
#[derive(Debug)]
enum Own {
    /// It has one that nobody uses now.
    Free(Box<Loan>),
    /// It has, and waiting for it costs more by now than another would.
    Busy,
    /// It has none.
    None,
}

#[derive(Debug)]
struct State {
    shelves: HashMap<String, Shelf>,
    making: usize,
    most_making: usize,
    /// How long it took to make the last container.
    price: Duration,
    /// Each belongs to its container's origin.
    parked: VecDeque<Container>,
    tenants: Tenants,
    /// When a session was ended last.
    last_end: Option<Instant>,
    reaping: bool,
    closed: bool,
}

impl State {
    fn new(shelves: HashMap<String, Shelf>) -> Self {
        Self {
            shelves,
            making: 0,
            most_making: 0,
            price: Duration::ZERO,
            parked: VecDeque::new(),
            tenants: Tenants::default(),
            last_end: None,
            reaping: false,
            closed: false,
        }
    }

    /// Notes that a container is not in use any more.
    fn vacate(&mut self, container: &Container) {
        self.last_end = Some(Instant::now());
        if let Some(shelf) = self.shelves.get_mut(&container.image) {
            shelf.lent = shelf.lent.saturating_sub(1);
        }
        self.tenants.vacate(container);
    }
}

/// The containers of one sandbox.
pub(crate) struct Pool {
    recipe: Arc<Recipe>,
    state: Mutex<State>,
    sessions: Arc<Semaphore>,
    creations: Semaphore,
    /// Told whenever a shelf has changed.
    changed: Notify,
    /// Told whenever somebody waits in line, so that no pause holds them up.
    hurry: Notify,
    /// Told whenever a container came back or will not.
    returned: Notify,
}

/// A container that was taken from the pool. One in which no session was begun
/// goes back when this is dropped; after [`Loan::spend`] it does not.
#[derive(Debug)]
pub(crate) struct Loan {
    container: Option<Container>,
    pool: Arc<Pool>,
}

impl Loan {
    fn new(container: Container, pool: &Arc<Pool>) -> Self {
        Self { container: Some(container), pool: Arc::clone(pool) }
    }

    /// The container, for a session.
    pub(crate) fn spend(mut self) -> Result<Container, DockerError> {
        self.container.take().ok_or(DockerError::ShutDown)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            let excess = {
                let mut state = self.pool.state();
                state.vacate(&container);
                let closed = state.closed;
                let shelf = state.shelves.entry(container.image.clone()).or_default();
                // One that has served a submission is for no other.
                let spent = container.served > 0 && self.pool.reuse() == Reuse::Submission;
                if closed || spent { Some(container) } else { shelf.place(container, usize::MAX, &self.pool) }
            };
            drop(excess);
            self.pool.refill();
        }
    }
}

/// Counts a container while it is being made.
struct Making<'a>(&'a Pool);

impl<'a> Making<'a> {
    fn new(pool: &'a Pool) -> Self {
        let mut state = pool.state();
        state.making += 1;
        state.most_making = state.most_making.max(state.making);
        Self(pool)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.state().making -= 1;
    }
}

/// The right to have a session open.
#[derive(Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

impl Pool {
    /// A pool that has a first container and begins to fill its shelves; without
    /// one, containers are made to measure, and it only counts sessions.
    pub(crate) fn start(recipe: Arc<Recipe>, first: Option<Container>) -> Arc<Self> {
        let config = &recipe.config;
        let mut shelves: HashMap<String, Shelf> = HashMap::new();
        for image in config.images.values().chain([&config.image]).filter(|_| first.is_some()) {
            shelves.entry(image.name.clone()).or_default().target += image.spares;
        }
        let pool = Arc::new(Self {
            sessions: Arc::new(Semaphore::new(config.sessions)),
            creations: Semaphore::new(config.creations),
            state: Mutex::new(State::new(shelves)),
            changed: Notify::new(),
            hurry: Notify::new(),
            returned: Notify::new(),
            recipe,
        });
        let excess = first.and_then(|first| pool.deliver(first));
        drop(excess);
        pool.refill();
        pool
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reuse(&self) -> Reuse {
        self.recipe.config.reuse
    }

    /// Waits for the right to open a session.
    pub(crate) async fn permit(&self) -> Result<Permit, DockerError> {
        let permit = Arc::clone(&self.sessions).acquire_owned().await;
        permit.map(Permit).map_err(|_| DockerError::ShutDown)
    }

    /// A container of an image: the one that serves this origin, or a spare, or
    /// the next that is made.
    ///
    /// # Cancel safety
    ///
    /// A container that was already on its way goes to the next in line.
    pub(crate) async fn take(
        self: &Arc<Self>,
        image: &str,
        origin: Option<&Origin>,
    ) -> Result<Loan, DockerError> {
        let returning = origin.filter(|_| self.reuse() == Reuse::Submission);
        let turn = loop {
            let own = match returning {
                Some(origin) => self.take_own(image, origin).await,
                None => Own::None,
            };
            if let Own::Free(loan) = own {
                return Ok(*loan);
            }
            let mut state = self.state();
            if state.closed {
                return Err(DockerError::ShutDown);
            }
            let has_one = returning.is_some_and(|origin| state.tenants.find(image, origin).is_some());
            if matches!(own, Own::None) && has_one {
                // Another session of it was quicker, and has a container now.
                continue;
            }
            let shelf = state.shelves.entry(image.to_owned()).or_default();
            match shelf.spare.pop_front() {
                Some(mut container) => {
                    shelf.lent += 1;
                    state.tenants.let_to(&mut container, origin);
                    drop(state);
                    self.refill();
                    return Ok(Loan::new(container, self));
                }
                None => {
                    let (sender, receiver) = oneshot::channel();
                    shelf.line.push_back(sender);
                    break receiver;
                }
            }
        };
        self.refill();
        self.hurry.notify_waiters();
        let mut loan = turn.await.map_err(|_| DockerError::ShutDown)??;
        if let Some(container) = &mut loan.container {
            self.state().tenants.let_to(container, origin);
        }
        Ok(loan)
    }

    /// The container that serves this origin, if it has one that is free now, or
    /// soon enough that another is not worth its price.
    async fn take_own(self: &Arc<Self>, image: &str, origin: &Origin) -> Own {
        let began = Instant::now();
        let own = loop {
            let returned = self.returned.notified();
            let deadline = {
                let mut state = self.state();
                let mine = |parked: &Container| {
                    parked.image == image && parked.origin.as_ref().is_some_and(|own| own.is(origin))
                };
                if let Some(index) = state.parked.iter().position(mine)
                    && let Some(mut container) = state.parked.remove(index)
                {
                    state.tenants.let_to(&mut container, Some(origin));
                    break Own::Free(Box::new(Loan::new(container, self)));
                }
                let price = state.price;
                let Some(tenant) = state.tenants.find(image, origin) else { break Own::None };
                began + price.saturating_sub(tenant.waited)
            };
            if timeout_at(deadline, returned).await.is_err() {
                break Own::Busy;
            }
        };
        if let Some(tenant) = self.state().tenants.find(image, origin) {
            tenant.waited += began.elapsed();
        }
        own
    }

    /// Takes back a container whose session is over.
    pub(crate) fn give_back(self: &Arc<Self>, container: Container) {
        let mut excess = None;
        {
            let mut state = self.state();
            state.vacate(&container);
            let may_return = container.origin.as_ref().is_some_and(|origin| !origin.is_gone());
            match self.recipe.config.reuse {
                _ if state.closed => excess = Some(container),
                Reuse::Submission if may_return => {
                    state.parked.push_back(container);
                    if state.parked.len() > self.recipe.config.sessions {
                        excess = state.parked.pop_front();
                    }
                    if !std::mem::replace(&mut state.reaping, true) {
                        tokio::spawn(Arc::clone(self).reap());
                    }
                }
                Reuse::Sessions(most) if container.served < most => {
                    let shelf = state.shelves.entry(container.image.clone()).or_default();
                    excess = shelf.place(container, self.recipe.config.sessions, self);
                }
                _ => excess = Some(container),
            }
        }
        drop(excess);
        self.returned.notify_waiters();
        self.refill();
    }

    /// Notes that a container will not come back.
    pub(crate) fn lost(self: &Arc<Self>, container: &Container) {
        self.state().vacate(container);
        self.returned.notify_waiters();
        self.refill();
    }

    /// Lets go of parked containers once their submission is over.
    async fn reap(self: Arc<Self>) {
        loop {
            sleep(LOOK).await;
            self.delay(|_| false).await;
            let mut over = Vec::new();
            let mut state = self.state();
            let parked = std::mem::take(&mut state.parked);
            for parked in parked {
                let is_over = parked.origin.as_ref().is_none_or(WeakOrigin::is_gone);
                if is_over { over.push(parked) } else { state.parked.push_back(parked) }
            }
            let done = state.parked.is_empty();
            if done {
                state.reaping = false;
            }
            drop(state);
            drop(over);
            if done {
                return;
            }
        }
    }

    /// Waits until no session is open, or it is urgent, or has waited long enough.
    async fn delay(&self, is_urgent: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + LONGEST_DELAY;
        loop {
            let hurry = self.hurry.notified();
            {
                let state = self.state();
                let quiet =
                    self.open_sessions() == 0 && state.last_end.is_none_or(|end| end.elapsed() >= QUIET);
                if quiet || state.closed || is_urgent(&state) || Instant::now() >= deadline {
                    return;
                }
            }
            tokio::select! {
                () = sleep(QUIET) => {}
                () = hurry => {}
            }
        }
    }

    fn open_sessions(&self) -> usize {
        self.recipe.config.sessions.saturating_sub(self.sessions.available_permits())
    }

    /// Has as many containers made as are missing.
    fn refill(self: &Arc<Self>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        let reused = matches!(self.recipe.config.reuse, Reuse::Sessions(_));
        for (image, shelf) in &mut state.shelves {
            shelf.line.retain(|sender| !sender.is_closed());
            let lent = if reused { shelf.lent } else { 0 };
            let wanted = shelf.target + shelf.line.len();
            while shelf.spare.len() + shelf.creating + lent < wanted {
                shelf.creating += 1;
                tokio::spawn(Arc::clone(self).create(image.clone()));
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Makes one container, at last.
    async fn create(self: Arc<Self>, image: String) {
        let in_line = |state: &State| state.shelves.get(&image).is_some_and(|shelf| !shelf.line.is_empty());
        self.delay(in_line).await;
        let mut pause = FIRST_PAUSE;
        loop {
            let (result, took) = {
                let Ok(_turn) = self.creations.acquire().await else { break };
                let _count = Making::new(&self);
                let began = Instant::now();
                (self.recipe.make(&image).await, began.elapsed())
            };
            match result {
                Ok(container) => {
                    self.state().price = took;
                    let excess = self.deliver(container);
                    drop(excess);
                    break;
                }
                Err(error) => {
                    tracing::warn!(image, %error, "a container could not be made");
                    if !self.disappoint(&image, error) {
                        break;
                    }
                }
            }
            // Whoever comes to the line meanwhile does not wait for the pause.
            let hurry = self.hurry.notified();
            tokio::select! {
                () = sleep(pause) => {}
                () = hurry => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
            if !self.is_wanted(&image) {
                break;
            }
        }
        if let Some(shelf) = self.state().shelves.get_mut(&image) {
            shelf.creating = shelf.creating.saturating_sub(1);
        }
        self.refill();
    }

    fn deliver(self: &Arc<Self>, container: Container) -> Option<Container> {
        let mut state = self.state();
        if state.closed {
            return Some(container);
        }
        let shelf = state.shelves.entry(container.image.clone()).or_default();
        shelf.failure = None;
        let most = shelf.target;
        shelf.place(container, most, self)
    }

    /// Tells one in line that there is no container; whether to try again.
    fn disappoint(&self, image: &str, error: DockerError) -> bool {
        let mut state = self.state();
        let closed = state.closed;
        let Some(shelf) = state.shelves.get_mut(image) else { return false };
        shelf.failure = Some(chain(&error));
        let mut error = Err(error);
        while let Some(sender) = shelf.line.pop_front() {
            match sender.send(error) {
                Ok(()) => break,
                Err(back) => error = back,
            }
        }
        drop(state);
        self.changed.notify_waiters();
        !closed
    }

    fn is_wanted(&self, image: &str) -> bool {
        let state = self.state();
        let wanted = |shelf: &Shelf| shelf.spare.len() + shelf.creating <= shelf.target + shelf.line.len();
        !state.closed && state.shelves.get(image).is_some_and(wanted)
    }

    /// Waits until every shelf has its spares.
    pub(crate) async fn ready(&self) -> Result<(), DockerError> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.closed {
                    return Err(DockerError::ShutDown);
                }
                if state.shelves.values().all(|shelf| shelf.spare.len() >= shelf.target) {
                    return Ok(());
                }
                let failed = state.shelves.values().filter(|shelf| shelf.spare.len() < shelf.target);
                if let Some(failure) = failed.filter_map(|shelf| shelf.failure.clone()).next() {
                    return Err(DockerError::Lost(failure));
                }
            }
            changed.await;
        }
    }

    pub(crate) fn statistics(&self) -> PoolStatistics {
        let state = self.state();
        let mut shelves: Vec<_> =
            state.shelves.iter().map(|(image, shelf)| shelf.statistics(image)).collect();
        shelves.sort_by(|one, other| one.image.cmp(&other.image));
        PoolStatistics {
            shelves,
            parked: state.parked.len(),
            making: state.making,
            most_making: state.most_making,
            sessions: self.open_sessions(),
            containers: self.recipe.registry.count(),
        }
    }

    /// Lets nobody take any more, and lets go of what is here.
    pub(crate) fn close(&self) {
        self.sessions.close();
        self.creations.close();
        let (shelves, parked) = {
            let mut state = self.state();
            state.closed = true;
            (std::mem::take(&mut state.shelves), std::mem::take(&mut state.parked))
        };
        drop((shelves, parked));
        self.changed.notify_waiters();
        self.hurry.notify_waiters();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("statistics", &self.statistics()).finish_non_exhaustive()
    }
}

/// An error and its sources, joined by `: `.
fn chain(error: &DockerError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
