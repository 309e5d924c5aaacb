//! [`Fleets`]: the fleet in use, and a new one in its place when its launcher
//! has died.
//!
//! A launcher can be killed from outside, by the kernel for want of memory or
//! by an operator. Its zygotes die with it, and what ran in them fails; whoever
//! takes a slot next has a new launcher started, and does not notice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cgroup::Plan;
use crate::config::NativeConfig;
use crate::error::NativeError;
use crate::fleet::{Fleet, Found, Taken};
use crate::instance::Instance;
use crate::wire::Shape;

/// The fleets of one sandbox, one of which is in use.
#[derive(Debug)]
pub(crate) struct Fleets {
    config: NativeConfig,
    plan: Plan,
    /// What slots are prepared for ahead of their first session.
    shape: Shape,
    known: Mutex<Known>,
    /// Held by who starts a launcher, or ends all of them.
    turn: tokio::sync::Mutex<State>,
}

#[derive(Debug)]
struct Known {
    current: Arc<Fleet>,
    /// Those whose launcher has died and that are not wholly removed.
    dead: Vec<Arc<Fleet>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    ShutDown,
}

impl Fleets {
    /// Starts the first.
    ///
    /// # Cancel safety
    ///
    /// What was started ends by itself.
    pub(crate) async fn start(config: NativeConfig, plan: Plan, shape: Shape) -> Result<Self, NativeError> {
        let first = begin(&config, &plan, shape).await?;
        Ok(Self {
            config,
            plan,
            shape,
            known: Mutex::new(Known { current: first, dead: Vec::new() }),
            turn: tokio::sync::Mutex::new(State::Open),
        })
    }

    /// What the launcher found when it started.
    pub(crate) fn found(&self) -> Found {
        self.current().found
    }

    /// Whether programs run as uids that are not this process's own.
    pub(crate) fn is_privileged(&self) -> bool {
        self.current().is_privileged()
    }

    /// Takes a slot of the fleet in use.
    ///
    /// # Cancel safety
    ///
    /// A slot taken is given back if the future is dropped.
    pub(crate) async fn take(&self, shape: Shape) -> Result<Taken, NativeError> {
        let fleet = self.current();
        match fleet.take(shape).await {
            Err(error) if self.is_over(&fleet, &error) => {
                self.replace(&fleet).await?;
                self.current().take(shape).await
            }
            taken => taken,
        }
    }

    /// Waits until every slot of the fleet in use is prepared.
    pub(crate) async fn ready(&self) -> Result<(), NativeError> {
        let fleet = self.current();
        match fleet.ready().await {
            Err(error) if self.is_over(&fleet, &error) => {
                self.replace(&fleet).await?;
                self.current().ready().await
            }
            result => result,
        }
    }

    /// Ends everything and waits until nothing is left.
    pub(crate) async fn shut_down(&self) -> Result<(), NativeError> {
        let mut state = self.turn.lock().await;
        *state = State::ShutDown;
        let (current, dead) = {
            let known = self.known();
            (Arc::clone(&known.current), known.dead.clone())
        };
        let mut result = current.shut_down().await;
        for fleet in dead {
            result = result.and(fleet.shut_down().await);
        }
        if result.is_ok() {
            self.known().dead.clear();
        }
        result
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<Fleet> {
        Arc::clone(&self.known().current)
    }

    /// Whether it failed because the fleet's launcher has died, or because
    /// somebody else saw that first.
    fn is_over(&self, fleet: &Arc<Fleet>, error: &NativeError) -> bool {
        match error {
            NativeError::LauncherDied(_) => true,
            NativeError::ShutDown => !Arc::ptr_eq(fleet, &self.current()),
            _ => fleet.is_orphaned(),
        }
    }

    /// Starts another fleet in place of this one, unless that is done already.
    async fn replace(&self, over: &Arc<Fleet>) -> Result<(), NativeError> {
        let state = self.turn.lock().await;
        if *state == State::ShutDown {
            return Err(NativeError::ShutDown);
        }
        if !Arc::ptr_eq(over, &self.current()) {
            return Ok(());
        }
        tracing::warn!("the launcher of the native sandbox has died; starting another");
        let next = begin(&self.config, &self.plan, self.shape).await?;
        {
            let mut known = self.known();
            let over = std::mem::replace(&mut known.current, next);
            known.dead.push(over);
        }
        // Its zygotes may still be dying; what can't be removed yet, the
        // shutdown removes.
        match over.shut_down().await {
            Ok(()) => self.known().dead.retain(|dead| !Arc::ptr_eq(dead, over)),
            Err(error) => {
                tracing::warn!(%error, "what a dead launcher left can't all be removed yet");
            }
        }
        Ok(())
    }
}

async fn begin(config: &NativeConfig, plan: &Plan, shape: Shape) -> Result<Arc<Fleet>, NativeError> {
    let (state, groups) = (config.state_folder.clone(), plan.clone());
    // Others may be starting, or dying, whom it waits for.
    let instance = tokio::task::spawn_blocking(move || Instance::begin(state.as_deref(), &groups)).await;
    let instance = instance.unwrap_or_else(|error| Err(NativeError::Start(error.into())))?;
    Fleet::start(config, instance, plan.clone(), shape).await
}
