//! The loop of a worker: claims, starts, settles.
//!
//! It alone decides how many jobs the worker has. While all slots are taken,
//! the next jobs come with the answer to what was finished; while some are
//! free, a claim waits. Jobs that end while an answer is on its way are settled
//! together in the next call, so that a busy worker batches by itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::handler::Handler;
use super::roster::Roster;
use super::supervise::{End, Ended, supervise};
use super::{Drained, WorkerConfig};
use crate::telemetry;
use crate::{Claimed, DynQueue, Finished, Lease, Outcome, Result, Settled, Settlement};

/// How long a claim waits before it is asked anew.
const WAIT: Duration = Duration::from_secs(30);
/// The least and the most that is waited after an error of the queue.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long jobs that are killed at shutdown may take to be handed back.
const HAND_BACK: Duration = Duration::from_secs(5);
/// The most jobs settled or claimed by one call.
const BATCH: usize = 100;

type Call<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

pub(super) struct Dispatcher {
    pub(super) queue: DynQueue,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) roster: Arc<Roster>,
    pub(super) config: WorkerConfig,
    running: JoinSet<Ended>,
    unsettled: Vec<Settlement>,
    claiming: Option<Call<Vec<Claimed>>>,
    settling: Option<(Vec<Settlement>, Call<Finished>)>,
    failures: u32,
    not_before: Instant,
    drained: Drained,
    to_hand_back: Vec<Lease>,
}

impl Dispatcher {
    pub(super) fn new(
        queue: DynQueue,
        handler: Arc<dyn Handler>,
        roster: Arc<Roster>,
        config: WorkerConfig,
    ) -> Self {
        Self {
            queue,
            handler,
            roster,
            config,
            running: JoinSet::new(),
            unsettled: Vec::new(),
            claiming: None,
            settling: None,
            failures: 0,
            not_before: Instant::now(),
            drained: Drained::default(),
            to_hand_back: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Drained {
        loop {
            self.gather().await;
            self.call(true);
            tokio::select! {
                // Cancel safe: a receiver, and what `progress` says of itself.
                _ = &mut stop => break,
                () = self.progress() => {}
            }
        }
        self.drain().await
    }

    /// Waits for one thing to happen, and acts on it.
    ///
    /// Cancel safe: each branch awaits something that is kept in `self`, and
    /// what follows has no await.
    async fn progress(&mut self) {
        let has_running = !self.running.is_empty();
        let waits = self.not_before > Instant::now();
        tokio::select! {
            Some(ended) = self.running.join_next(), if has_running => {
                self.ended(ended);
                self.all_ended();
            }
            answer = answer_of(self.claiming.as_mut()) => {
                self.claiming = None;
                match answer {
                    Ok(jobs) => self.start(jobs),
                    Err(error) => self.failed("claim jobs", &error),
                }
            }
            answer = answer_of(self.settling.as_mut().map(|(_, call)| call)) => {
                let Some((sent_settlements, _)) = self.settling.take() else { return };
                match answer {
                    Ok(finished) => {
                        self.settled(&sent_settlements, &finished.settled);
                        self.start(finished.claimed);
                    }
                    Err(error) => {
                        self.failed("settle jobs", &error);
                        self.unsettled.splice(0..0, sent_settlements);
                    }
                }
            }
            () = sleep_until(self.not_before), if waits => {}
        }
    }

    /// Lets jobs that end in the same moment be settled in one call: those that
    /// are about to say so get a turn before it is sent.
    async fn gather(&mut self) {
        if self.unsettled.is_empty() || self.settling.is_some() {
            return;
        }
        tokio::task::yield_now().await;
        self.all_ended();
    }

    /// Takes note of all jobs that have ended by now.
    fn all_ended(&mut self) {
        while let Some(ended) = self.running.try_join_next() {
            self.ended(ended);
        }
    }

    /// Sends what is to be sent: what is to be settled first, else a claim.
    fn call(&mut self, takes_more: bool) {
        if self.settling.is_some() || self.not_before > Instant::now() {
            return;
        }
        let free = if takes_more { self.config.slots.saturating_sub(self.running.len()) } else { 0 };
        let queue = Arc::clone(&self.queue);
        let worker = self.config.id.clone();
        if !self.unsettled.is_empty() {
            let batch = self.unsettled.len().min(BATCH);
            let batch: Vec<_> = self.unsettled.drain(..batch).collect();
            // A claim that waits already asks for the free slots.
            let most = if self.claiming.is_some() { 0 } else { free.min(BATCH) };
            let done = batch.clone();
            let call = async move { queue.finish(&worker, done, most).await };
            self.settling = Some((batch, Box::pin(call)));
        } else if free > 0 && self.claiming.is_none() {
            let most = free.min(BATCH);
            self.claiming = Some(Box::pin(async move { queue.claim(&worker, most, WAIT).await }));
        }
    }

    fn start(&mut self, jobs: Vec<Claimed>) {
        self.failures = 0;
        for job in jobs {
            telemetry::claimed(&job);
            let standing = self.roster.add(&job);
            self.running.spawn(supervise(
                Arc::clone(&self.queue),
                Arc::clone(&self.handler),
                Arc::clone(&self.roster),
                job,
                standing,
                self.config.cancel_grace,
            ));
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        let Ok(Ended { lease, end, events }) = ended else {
            tracing::error!("the supervisor of a job panicked: its lease will run out");
            return;
        };
        match end {
            End::Settle(outcome) => {
                let mut settlement = Settlement::new(lease, outcome).with_events(events);
                // What the queue would refuse is the handler's mistake, and no repetition mends it.
                if let Err(error) = settlement.check(self.queue.config()) {
                    settlement = Settlement::new(lease, Outcome::rejected(error.chain()));
                }
                self.unsettled.push(settlement);
            }
            End::HandBack => self.to_hand_back.push(lease),
            End::Lost => {
                self.roster.remove(lease);
                self.drained.lost += 1;
                telemetry::lost();
                tracing::warn!(job.id = %lease.id, job.token = lease.token, "the job was lost to another worker");
            }
        }
    }

    fn settled(&mut self, sent: &[Settlement], answers: &[Settled]) {
        self.failures = 0;
        for (settlement, answer) in sent.iter().zip(answers) {
            self.roster.remove(settlement.lease);
            match answer {
                Settled::Applied => {
                    self.drained.finished += 1;
                    telemetry::settled(&settlement.outcome);
                }
                Settled::Stale => {
                    self.drained.lost += 1;
                    telemetry::lost();
                    tracing::warn!(job.id = %settlement.lease.id, "the end of a job came too late: it is another worker's");
                }
            }
        }
    }

    /// Waits a little before the next call; longer, the more have failed.
    fn failed(&mut self, what: &str, error: &crate::Error) {
        let most = PAUSES.0.saturating_mul(1 << self.failures.min(10)).min(PAUSES.1);
        self.failures += 1;
        self.not_before = Instant::now() + most.mul_f64(0.5 + fastrand::f64() / 2.0);
        tracing::warn!("could not {what}: {}", error.chain());
    }

    /// Takes no more jobs; waits for those that run, and hands the rest back.
    async fn drain(mut self) -> Drained {
        // Dropping a claim hands back what it would have brought.
        self.claiming = None;
        let deadline = Instant::now() + self.config.drain;
        while self.is_busy() {
            self.gather().await;
            self.call(false);
            if timeout_at(deadline, self.progress()).await.is_err() {
                break;
            }
        }
        let deadline = Instant::now() + HAND_BACK;
        loop {
            // An answer that was on its way may have brought more.
            self.roster.hand_back();
            self.all_ended();
            self.release().await;
            if !self.is_busy() {
                break;
            }
            self.gather().await;
            self.call(false);
            if timeout_at(deadline, self.progress()).await.is_err() {
                tracing::warn!(count = self.running.len(), "jobs can't be stopped: their leases run out");
                break;
            }
        }
        self.drained
    }

    /// Hands back what was killed by now; what can't be killed must not hold it up.
    async fn release(&mut self) {
        if self.to_hand_back.is_empty() {
            return;
        }
        let leases = std::mem::take(&mut self.to_hand_back);
        match timeout(HAND_BACK, self.queue.release(&leases)).await {
            Ok(Ok(answers)) => {
                let released = answers.iter().filter(|answer| **answer == Settled::Applied);
                self.drained.released += released.count() as u64;
            }
            _ => tracing::warn!(count = leases.len(), "jobs could not be handed back: their leases run out"),
        }
    }

    fn is_busy(&self) -> bool {
        !self.running.is_empty() || !self.unsettled.is_empty() || self.settling.is_some()
    }
}

/// What a call brings, once there is one.
async fn answer_of<T>(call: Option<&mut Call<T>>) -> Result<T> {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
