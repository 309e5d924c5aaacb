//! Who hands in submissions: a service over the same Redis, as a server has one.

use std::time::Duration;

use evalx_core::Submission;
use evalx_queue::JobId;
use evalx_service::{
    Job, Notify, NotifyForm, Order, Queues, QueuesConfig, Service, Status, SubmissionDocument,
};
use tokio::runtime::Runtime;

use crate::process::PATIENCE;

/// A service, and what it runs on.
pub(crate) struct Client {
    runtime: Runtime,
    service: Service,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let queues = runtime.block_on(Queues::open(url, QueuesConfig::default())).unwrap();
        Self { runtime, service: Service::new(queues) }
    }

    /// Hands in programs of Python, each with its stdin.
    pub(crate) fn submit(&self, source: &str, stdins: impl IntoIterator<Item = String>) -> Vec<JobId> {
        let job = |stdin| Job::new(Submission::new("python", source.to_owned()).with_stdin(stdin));
        self.accept(stdins.into_iter().map(job).collect())
    }

    /// Hands in one whose result is delivered.
    pub(crate) fn submit_with_webhook(&self, source: &str, url: &str) -> JobId {
        let job = Job::new(Submission::new("python", source.to_owned()))
            .with_notify(Notify::new(url, NotifyForm::Webhook));
        self.accept(vec![job])[0]
    }

    fn accept(&self, jobs: Vec<Job>) -> Vec<JobId> {
        let minute = Duration::from_secs(60);
        let orders = jobs.into_iter().map(|job| Order::new(job, "tests", minute)).collect();
        let admissions = self.runtime.block_on(self.service.accept(orders)).unwrap();
        admissions.into_iter().map(|admission| admission.into_id().unwrap()).collect()
    }

    /// How many are run now.
    pub(crate) fn running(&self) -> u64 {
        self.runtime.block_on(self.service.stats()).unwrap().active
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.runtime.block_on(self.service.stats()).unwrap().depth()
    }

    /// What is known of a submission now.
    pub(crate) fn document(&self, id: JobId) -> SubmissionDocument {
        SubmissionDocument::new(&self.runtime.block_on(self.service.find("tests", id)).unwrap().unwrap())
    }

    /// Waits for the result of a submission.
    pub(crate) fn result(&self, id: JobId) -> SubmissionDocument {
        let job = self.runtime.block_on(self.service.wait(id, PATIENCE)).unwrap();
        assert!(job.state.is_terminal(), "no result in {PATIENCE:?}: {job:?}");
        SubmissionDocument::new(&job)
    }

    /// Waits for the results of all, each of which prints what it read.
    pub(crate) fn expect_echoes(&self, ids: &[JobId]) {
        for (number, id) in ids.iter().enumerate() {
            let document = self.result(*id);
            assert_eq!(document.status, Status::Finished, "{document:?}");
            let report = document.tests[0].report.as_ref().unwrap();
            assert_eq!(report.stdout, format!("{number}\n"), "{document:?}");
        }
    }

    /// Puts those back that are dead since two workers were killed under them,
    /// as an operator does by `POST /v1/dead/{token}/requeue`; gives how many.
    pub(crate) fn requeue_the_dead(&self, ids: &[JobId]) -> u64 {
        let dead: Vec<_> =
            ids.iter().copied().filter(|id| self.result(*id).status == Status::Failed).collect();
        for id in &dead {
            let document = self.document(*id);
            assert!(document.error.as_ref().is_some_and(|why| why.contains("worker lost")), "{document:?}");
        }
        self.runtime.block_on(self.service.queues().submissions.requeue(&dead)).unwrap()
    }

    /// The statuses of all attempts to deliver a result.
    pub(crate) fn deliveries(&self, id: JobId) -> Vec<Option<u16>> {
        let log = self.runtime.block_on(self.service.deliveries(id)).unwrap();
        log.iter().map(|attempt| attempt.status).collect()
    }
}
