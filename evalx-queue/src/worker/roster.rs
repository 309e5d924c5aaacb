//! [`Roster`]: which jobs a worker has, and until when it may rely on that.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::{Beat, Claimed, JobId, Lease};

/// What whoever runs a job must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Without another heartbeat the job counts as lost from here on.
    pub(super) relied_until: Instant,
    /// When another worker may have it.
    pub(super) valid_until: Instant,
    pub(super) order: Order,
}

/// What is to be done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    Cancel,
    /// The worker shuts down: kill it, to be handed back.
    HandBack,
    /// It is somebody else's: kill it.
    Abandon,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    jobs: Mutex<HashMap<JobId, (Lease, watch::Sender<Standing>)>>,
    /// Told when a heartbeat should come at once.
    pub(super) hurry: Notify,
}

/// The part of a lease that is relied on: the rest is for killing what runs.
fn relied_on(valid_for: Duration) -> Duration {
    valid_for * 4 / 5
}

impl Roster {
    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, (Lease, watch::Sender<Standing>)>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job that was just claimed.
    pub(super) fn add(&self, job: &Claimed) -> watch::Receiver<Standing> {
        let now = Instant::now();
        let left = Instant::from_std(job.valid_until).saturating_duration_since(now);
        let (relied_until, valid_until) = (now + relied_on(left), now + left);
        let standing = Standing { relied_until, valid_until, order: Order::Run };
        let (sender, receiver) = watch::channel(standing);
        self.jobs().insert(job.id(), (job.lease, sender));
        receiver
    }

    /// Removes a job, unless it is there anew by a later lease.
    pub(super) fn remove(&self, lease: Lease) {
        let mut jobs = self.jobs();
        if jobs.get(&lease.id).is_some_and(|(held, _)| *held == lease) {
            jobs.remove(&lease.id);
        }
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.jobs().values().map(|(lease, _)| *lease).collect()
    }

    /// Passes on what a heartbeat sent at `sent` has brought.
    pub(super) fn apply(&self, lease: Lease, beat: Beat, sent: Instant) {
        let jobs = self.jobs();
        let Some((held, sender)) = jobs.get(&lease.id) else { return };
        if *held != lease {
            return;
        }
        sender.send_modify(|standing| {
            let (valid_for, order) = match beat {
                Beat::Renewed { valid_for } => (Some(valid_for), Order::Run),
                Beat::Cancel { valid_for } => (Some(valid_for), Order::Cancel),
                Beat::Lost => (None, Order::Abandon),
            };
            if let Some(valid_for) = valid_for {
                standing.relied_until = sent + relied_on(valid_for);
                standing.valid_until = sent + valid_for;
            }
            // An order is never taken back.
            standing.order = standing.order.max(order);
        });
    }

    /// Has everything killed that still runs.
    pub(super) fn hand_back(&self) {
        for (_, sender) in self.jobs().values() {
            sender.send_modify(|standing| standing.order = standing.order.max(Order::HandBack));
        }
    }
}
