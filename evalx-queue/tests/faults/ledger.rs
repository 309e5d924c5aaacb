//! [`Ledger`]: which jobs were accepted and how they were run, to be held
//! against what the queue says in the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evalx_queue::{
    Claimed, DynQueue, Handler, JobId, JobState, JobView, NewJob, Outcome, Queue as _, handler_fn,
};

#[derive(Default)]
struct Books {
    accepted: HashMap<JobId, Instant>,
    /// Begin and end of each run of a job, in this process.
    runs: HashMap<JobId, Vec<(Instant, Instant)>>,
}

#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

/// What the one right result of a payload is.
pub(crate) fn result_of(payload: &[u8]) -> Vec<u8> {
    [b"result of ", payload].concat()
}

/// Writes down the end of a run, however it came.
struct Run {
    ledger: Ledger,
    id: JobId,
    began: Instant,
}

impl Drop for Run {
    fn drop(&mut self) {
        let run = (self.began, Instant::now());
        self.ledger.0.lock().unwrap().runs.entry(self.id).or_default().push(run);
    }
}

impl Ledger {
    /// Enqueues jobs until they are accepted: what a caller does who was told of an error.
    pub(crate) async fn enqueue(&self, queue: &DynQueue, jobs: Vec<NewJob>) {
        loop {
            match queue.enqueue(jobs.clone()).await {
                Ok(admissions) => {
                    let mut books = self.0.lock().unwrap();
                    for admission in admissions {
                        books.accepted.insert(admission.id().expect("there is room"), Instant::now());
                    }
                    return;
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    pub(crate) fn accepted(&self) -> Vec<(JobId, Instant)> {
        self.0.lock().unwrap().accepted.iter().map(|(id, at)| (*id, *at)).collect()
    }

    /// A handler that runs for `time`, and writes that down.
    pub(crate) fn handler(&self, time: Duration) -> impl Handler + use<> {
        let ledger = self.clone();
        handler_fn(move |job: Claimed, _| {
            let run = Run { ledger: ledger.clone(), id: job.id(), began: Instant::now() };
            async move {
                tokio::time::sleep(time).await;
                drop(run);
                Outcome::done(result_of(&job.payload))
            }
        })
    }

    /// No job was run twice at the same time.
    pub(crate) fn assert_apart(&self) {
        for (id, runs) in &mut self.0.lock().unwrap().runs {
            runs.sort_unstable();
            for pair in runs.windows(2) {
                let overlap = pair[0].1.saturating_duration_since(pair[1].0);
                assert!(overlap.is_zero(), "{id} was run twice at once, for {overlap:?}");
            }
        }
    }

    /// How many runs there were beyond one for each job.
    pub(crate) fn reruns(&self) -> usize {
        self.0.lock().unwrap().runs.values().map(|runs| runs.len().saturating_sub(1)).sum()
    }

    /// Every accepted job is done, with its one right result; gives what the queue says of each.
    pub(crate) async fn assert_all_done(&self, queue: &DynQueue) -> Vec<JobView> {
        let mut views = Vec::new();
        for (id, _) in self.accepted() {
            let view =
                queue.get(id).await.unwrap().unwrap_or_else(|| panic!("{id} was accepted and is lost"));
            assert_eq!(view.state, JobState::Done, "{view:?}");
            let payload = queue.payload(id).await.unwrap().expect("the payload is kept");
            assert!(view.result.as_deref() == Some(&result_of(&payload)[..]), "{id} has another's result");
            views.push(view);
        }
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.ready, stats.delayed, stats.active), (0, 0, 0), "{stats:?}");
        assert!(stats.depth_by_language.is_empty() && stats.tenants_waiting == 0, "{stats:?}");
        // Exactly one end was counted for each job.
        assert_eq!((stats.completed, stats.done), (views.len() as u64, views.len() as u64), "{stats:?}");
        views
    }
}

/// Jobs with payloads of their own.
pub(crate) fn jobs(range: std::ops::Range<usize>) -> Vec<NewJob> {
    range.map(|n| NewJob::new(format!("job {n}")).with_tenant(format!("tenant {}", n % 5))).collect()
}
