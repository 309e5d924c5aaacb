//! What can be seen of the machine from outside.

use std::time::Duration;

use bytes::Bytes;

use super::books::drawer;
use super::job::Job;
use super::machine::Machine;
use crate::admission::expected_wait_ms;
use crate::{Event, JobId, JobState, JobView, ListQuery, Page, Stats, Timestamp};

/// The most events of one answer.
pub(crate) const MOST_EVENTS: usize = 1000;

impl Machine {
    pub(super) fn view(&self, id: JobId, now: u64) -> Option<JobView> {
        let job = self.job(id, now)?;
        let at = Timestamp::from_millis;
        Some(JobView {
            id,
            state: job.state,
            tenant: self.books.tenants[job.tenant].name.as_ref().to_owned(),
            language: self.books.languages[job.language].name.as_ref().to_owned(),
            priority: job.priority,
            attempt: job.attempt,
            crashes: job.crashes,
            token: job.token,
            enqueued_at: at(job.enqueued_at),
            started_at: (job.token > 0).then(|| at(job.started_at)),
            finished_at: job.finished_at.map(at),
            due_at: (job.state == JobState::Delayed).then(|| at(job.until)),
            expires_at: job.expires_at.map(at),
            kept_until: job.state.is_terminal().then(|| at(job.until)),
            worker: job.worker.as_ref().map(ToString::to_string),
            cancel_requested: job.cancel,
            position: (job.state == JobState::Ready)
                .then(|| self.books.lanes.position(&self.books.tenants, job)),
            result: job.result.clone(),
            errors: job.errors.clone(),
            trace: job.trace.clone(),
            blobs: job.blobs.clone(),
            payload_bytes: job.payload.len() as u64,
            events_dropped: job.events_dropped,
        })
    }

    pub(super) fn payload(&self, id: JobId, now: u64) -> Option<Bytes> {
        self.job(id, now).map(|job| job.payload.clone())
    }

    pub(super) fn events(&self, id: JobId, after: u64, now: u64) -> Option<Vec<Event>> {
        let job = self.job(id, now)?;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        Some(job.all_events().skip(skip).take(MOST_EVENTS).collect())
    }

    pub(super) fn list(&self, query: &ListQuery, now: u64) -> Page {
        let ids: Box<dyn Iterator<Item = JobId> + '_> = match (query.state, drawer(query.state)) {
            (_, Some(drawer)) => {
                let kept = self.books.ended[drawer].iter().rev().take_while(move |(until, _)| *until > now);
                Box::new(kept.map(|(_, id)| *id))
            }
            (JobState::Delayed, _) => Box::new(self.books.delayed.iter().map(|(_, id)| *id)),
            (JobState::Active, _) => Box::new(self.books.leases.iter().map(|(_, id)| *id)),
            _ => Box::new(self.books.lanes.iter()),
        };
        let skip = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let take = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let jobs =
            ids.skip(skip).take(take).filter_map(|id| Some(JobView { result: None, ..self.view(id, now)? }));
        let jobs = jobs.collect();
        Page { jobs, total: self.count(query.state, now) }
    }

    fn count(&self, state: JobState, now: u64) -> u64 {
        let count = match (state, drawer(state)) {
            (_, Some(drawer)) => {
                let over = self.books.ended[drawer].iter().take_while(|(until, _)| *until <= now).count();
                self.books.ended[drawer].len() - over
            }
            (JobState::Delayed, _) => self.books.delayed.len(),
            (JobState::Active, _) => self.books.leases.len(),
            _ => return self.books.lanes.count(),
        };
        count as u64
    }

    pub(super) fn stats(&self, now: u64) -> Stats {
        let (ready, active) = (self.books.lanes.count(), self.books.leases.len() as u64);
        Stats {
            ready,
            delayed: self.books.delayed.len() as u64,
            active,
            done: self.count(JobState::Done, now),
            dead: self.count(JobState::Dead, now),
            cancelled: self.count(JobState::Cancelled, now),
            depth_by_language: self
                .books
                .languages
                .iter()
                .filter(|language| language.data > 0)
                .map(|language| (language.name.as_ref().to_owned(), language.data))
                .collect(),
            ready_by_priority: self.books.lanes.by_level(),
            tenants_waiting: self.books.tenants_waiting,
            oldest_ready: Duration::from_millis(
                self.books.lanes.oldest().map_or(0, |since| now.saturating_sub(since)),
            ),
            retries: self.books.retries,
            crashes: self.books.crashes,
            completed: self.books.completed,
            average_run: Duration::from_millis(self.books.average_run),
            expected_wait: Duration::from_millis(expected_wait_ms(ready, active, self.books.average_run)),
            paused: self.books.paused,
            draining: self.books.draining,
        }
    }
}

impl Job {
    /// All events, numbered: the first and the last ones follow from the job's state.
    fn all_events(&self) -> impl Iterator<Item = Event> {
        let first = Event::new(1, self.enqueued_at, 0, "queued".to_owned(), Bytes::new());
        let kept = (2..).zip(&self.events).map(|(sequence, event)| {
            Event::new(sequence, event.at, event.token, event.name.clone().into_owned(), event.data.clone())
        });
        let told = self.events.len() as u64 + 1;
        let started = self
            .tells_start()
            .then(|| Event::new(told + 1, self.started_at, self.token, "started".to_owned(), Bytes::new()));
        let last = self.state.is_terminal().then(|| {
            let why = self.errors.last().filter(|_| self.state == JobState::Dead);
            let data = Bytes::from(why.map(|error| error.error.clone()).unwrap_or_default());
            let sequence = told + 1 + u64::from(self.tells_start());
            Event::new(
                sequence,
                self.finished_at.unwrap_or_default(),
                self.token,
                self.state.to_string(),
                data,
            )
        });
        std::iter::once(first).chain(kept).chain(started).chain(last)
    }
}
