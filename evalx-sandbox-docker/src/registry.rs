//! [`Registry`]: every container that exists or may exist, until it is gone.
//!
//! A container is claimed before it is made, so that a request whose answer
//! was never heard leaves nothing behind. Whoever lets go of a claim has the
//! container removed in the background; [`Registry::clear`] waits for that.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::engine::Engine;
use crate::error::DockerError;

/// How long a container may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long it takes until another attempt is made to remove a container.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What exists.
#[derive(Debug)]
pub(crate) struct Registry {
    instance: u64,
    runtime: Handle,
    state: Mutex<State>,
    /// Told whenever a container is gone.
    gone: Notify,
}

#[derive(Debug)]
struct State {
    /// Containers by name, and whether each was made; else it may be yet.
    live: HashMap<String, bool>,
    users: Users,
    closed: bool,
}

/// The users that containers run as.
#[derive(Debug)]
struct Users {
    first: u32,
    count: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Users {
    /// A user that no container of this process has, and the longest unused.
    fn take(&mut self) -> Option<u32> {
        let numbers = (0..self.count).map(|step| (self.next + step) % self.count);
        let number = numbers.into_iter().find(|number| !self.taken.contains(number))?;
        self.taken.insert(number);
        self.next = (number + 1) % self.count;
        Some(self.first + number)
    }

    fn give_back(&mut self, user: u32) {
        self.taken.remove(&(user - self.first));
    }
}

/// The right to a container of one name, and its user.
#[derive(Debug)]
pub(crate) struct Claim {
    name: String,
    user: u32,
    engine: Engine,
    registry: Arc<Registry>,
}

impl Registry {
    /// Users are taken from `first` on, beginning anywhere among `count`, so
    /// that two processes seldom take the same.
    pub(crate) fn new(instance: u64, first: u32, count: u32) -> Arc<Self> {
        let count = count.max(1);
        let next = u32::try_from(instance % u64::from(count)).unwrap_or(0);
        let users = Users { first, count, next, taken: BTreeSet::new() };
        Arc::new(Self {
            instance,
            runtime: Handle::current(),
            state: Mutex::new(State { live: HashMap::new(), users, closed: false }),
            gone: Notify::new(),
        })
    }

    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims a name that is about to be used.
    pub(crate) fn claim(self: &Arc<Self>, engine: &Engine, name: &str) -> Result<Claim, DockerError> {
        let mut state = self.state();
        if state.closed {
            return Err(DockerError::ShutDown);
        }
        let user = state.users.take().ok_or(DockerError::Slow { what: "remove old containers" })?;
        state.live.insert(name.to_owned(), false);
        drop(state);
        Ok(Claim { name: name.to_owned(), user, engine: engine.clone(), registry: Arc::clone(self) })
    }

    fn made(&self, name: &str) {
        if let Some(made) = self.state().live.get_mut(name) {
            *made = true;
        }
    }

    /// How many exist or may exist.
    pub(crate) fn count(&self) -> usize {
        self.state().live.len()
    }

    fn forget(&self, name: &str, user: u32) {
        let mut state = self.state();
        state.live.remove(name);
        state.users.give_back(user);
        drop(state);
        self.gone.notify_waiters();
    }

    /// Lets nobody claim any more, removes everything, and waits until it is gone.
    pub(crate) async fn clear(&self, engine: &Engine) -> Result<(), DockerError> {
        let names: Vec<String> = {
            let mut state = self.state();
            state.closed = true;
            // What is not made yet is removed by whoever makes it.
            state.live.iter().filter(|(_, made)| **made).map(|(name, _)| name.clone()).collect()
        };
        // Sessions that still use one lose it.
        let removals = names.iter().map(|name| see_off(engine, name));
        futures_util::future::try_join_all(removals).await?;
        for name in &names {
            self.state().live.remove(name);
        }
        self.gone.notify_waiters();
        Ok(())
    }

    /// Waits until no container is claimed any more.
    pub(crate) async fn emptied(&self, most: Duration) -> bool {
        let all = async {
            loop {
                let gone = self.gone.notified();
                if self.count() == 0 {
                    return;
                }
                gone.await;
            }
        };
        tokio::time::timeout(most, all).await.is_ok()
    }
}

impl Claim {
    /// Notes that the container is there.
    pub(crate) fn made(&self) {
        self.registry.made(&self.name);
    }

    pub(crate) fn user(&self) -> u32 {
        self.user
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (name, user) = (std::mem::take(&mut self.name), self.user);
        let (engine, registry) = (self.engine.clone(), Arc::clone(&self.registry));
        self.registry.runtime.spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                match see_off(&engine, &name).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(container = name, %error, "a container could not be removed yet");
                        tokio::time::sleep(pause).await;
                        pause = (2 * pause).min(LONGEST_PAUSE);
                    }
                }
            }
            registry.forget(&name, user);
        });
    }
}

/// Waits until a container is gone that nobody is attached to any more: its agent
/// ends, and the engine removes it. One that stays is removed by force.
///
/// An engine that is asked to remove what it is removing already may go on listing
/// it for ever, although it is not there: so force comes last.
pub(crate) async fn see_off(engine: &Engine, name: &str) -> Result<(), DockerError> {
    if is_gone_within(engine, name, GRACE).await? {
        return Ok(());
    }
    engine.remove(name).await?;
    match is_gone_within(engine, name, engine.patience()).await? {
        true => Ok(()),
        false => Err(DockerError::Slow { what: "remove a container" }),
    }
}

async fn is_gone_within(engine: &Engine, name: &str, most: Duration) -> Result<bool, DockerError> {
    let mut pause = Duration::from_millis(10);
    let deadline = tokio::time::Instant::now() + most;
    while engine.exists(name).await? {
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(Duration::from_millis(100));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_go_round() {
        let mut users = Users { first: 100, count: 3, next: 2, taken: BTreeSet::new() };
        assert_eq!(
            [users.take(), users.take(), users.take(), users.take()],
            [Some(102), Some(100), Some(101), None]
        );
        users.give_back(100);
        assert_eq!(users.take(), Some(100));
    }
}
