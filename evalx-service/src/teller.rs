//! [`Teller`]: tells those who follow a job what happens to it, while it goes on.
//!
//! Nothing waits for it but the end of the job. What happens within a moment is
//! told in one call of the queue, which may be a network away; and what happens
//! in the last, with the job's end. Most submissions are over within a moment.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{JobContext, NewEvent};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

/// How long an event waits for others to be told with it: nobody who looks on
/// sees the difference.
const MOMENT: Duration = Duration::from_millis(5);
/// How much may wait at the most; beyond it, tests wait too.
const ROOM: usize = 4 << 20;

/// Tells the events of one job.
pub(crate) struct Teller<'c> {
    context: &'c JobContext,
    waiting: Vec<NewEvent>,
    bytes: usize,
    /// When what waits is told.
    due: Instant,
    /// What is being told.
    telling: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<'c> Teller<'c> {
    pub(crate) fn new(context: &'c JobContext) -> Self {
        Self { context, waiting: Vec::new(), bytes: 0, due: Instant::now(), telling: None }
    }

    /// Whether it can take another event.
    pub(crate) const fn has_room(&self) -> bool {
        self.waiting.len() < NewEvent::MOST && self.bytes < ROOM
    }

    /// Takes an event, to be told in a moment.
    pub(crate) fn tell<T: Serialize>(&mut self, name: &str, data: &T) {
        let event = serde_json::to_vec(data).map_err(|error| error.to_string()).and_then(|data| {
            self.bytes += data.len();
            NewEvent::new(name, data).map_err(|error| error.chain())
        });
        match event {
            Ok(event) => {
                if self.waiting.is_empty() {
                    self.due = Instant::now() + MOMENT;
                }
                self.waiting.push(event);
            }
            Err(error) => untold(&error),
        }
    }

    /// Tells what is due. Ends when something was told, and never while there
    /// is nothing to tell.
    ///
    /// # Cancel safety
    ///
    /// What is being told goes on with the next call.
    pub(crate) async fn progress(&mut self) {
        if self.telling.is_none() {
            if self.waiting.is_empty() {
                pending::<()>().await;
            }
            sleep_until(self.due).await;
        }
        self.tell_waiting().await;
    }

    /// Has what is left be told with the end of the job.
    pub(crate) async fn finish(mut self) {
        while self.telling.is_some() || !self.has_room() {
            self.tell_waiting().await;
        }
        self.context.emit_at_end(self.waiting);
    }

    async fn tell_waiting(&mut self) {
        let telling = self.telling.get_or_insert_with(|| {
            let (queue, lease) = (Arc::clone(self.context.queue()), self.context.lease());
            let events: Vec<_> = self.waiting.drain(..self.waiting.len().min(NewEvent::MOST)).collect();
            self.bytes = if self.waiting.is_empty() { 0 } else { self.bytes };
            // The result has all of it: who looked on for nothing sees it there.
            Box::pin(async move {
                if let Err(error) = queue.emit(&lease, events).await {
                    untold(&error.chain());
                }
            })
        });
        telling.await;
        self.telling = None;
    }
}

fn untold(error: &str) {
    tracing::warn!(%error, "what happens to a submission could not be told");
}

#[cfg(test)]
mod tests {
    use evalx_queue::{
        DynQueue, EventKind, MemoryQueue, NewJob, Outcome, QueueExt, Worker, WorkerConfig, handler_fn,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_in_a_moment_is_told_together_and_in_order() {
        let queue: DynQueue = Arc::new(MemoryQueue::default());
        let handler = handler_fn(|_, context: JobContext| async move {
            let mut teller = Teller::new(&context);
            let began = Instant::now();
            for number in 0..3 {
                teller.tell("number", &number);
            }
            teller.progress().await;
            assert!(began.elapsed() >= MOMENT);
            assert!(tokio::time::timeout(MOMENT * 2, teller.progress()).await.is_err(), "all is told");
            for number in 3..3 + NewEvent::MOST {
                assert!(teller.has_room());
                teller.tell("number", &number);
            }
            assert!(!teller.has_room());
            teller.finish().await;
            Outcome::done("")
        });
        let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default()).unwrap();
        let id = queue.submit(NewJob::new("")).await.unwrap();
        queue.wait(id, Duration::from_secs(60)).await.unwrap();
        let mut numbers = Vec::new();
        let mut seen = 0;
        loop {
            let events = queue.events(id, seen).await.unwrap().unwrap();
            let Some(last) = events.last() else { break };
            seen = last.sequence;
            let told = events.iter().filter(|event| matches!(event.kind, EventKind::Told));
            numbers.extend(told.map(|event| serde_json::from_slice::<usize>(&event.data).unwrap()));
        }
        assert!(numbers.into_iter().eq(0..3 + NewEvent::MOST));
        worker.shutdown().await;
    }
}
