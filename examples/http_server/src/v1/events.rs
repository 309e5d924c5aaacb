//! Following a submission: server-sent events, from its first on, whenever one
//! comes; with `Last-Event-ID` from there on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use evalx_queue::{Event, EventKind, JobId, JobState};
use evalx_service::{
    COMPILED, Compiled, Service, SubmissionDocument, TEST, TestDocument, Tested, compile_document,
};
use futures_util::{Stream, stream};
use serde_json::{Value, json};

use super::submissions::id_of;
use crate::access::Tenant;
use crate::app::App;
use crate::problem::Problem;

/// How long the queue is asked to wait for an event at a time.
const POLL: Duration = Duration::from_secs(20);
/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens to a submission, as it happens: `queued`, `started`, `compiled`, one `test` each, `finished`.
#[utoipa::path(get, path = "/v1/submissions/{token}/events", tag = "submissions",
    params(("token" = String, Path), ("last-event-id" = Option<u64>, Header, description = "The id of the last event that came.")),
    responses((status = 200, description = "The events.", content_type = "text/event-stream"),
              (status = "4XX", description = "There is none.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<App>,
    tenant: Tenant,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = id_of(&token)?;
    let after = match headers.get("last-event-id") {
        None => 0,
        Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "the header Last-Event-ID must be the number of an event")
        })?,
    };
    app.service.find(&tenant.0, id).await?.ok_or_else(Problem::not_found)?;
    let follower = Follower {
        service: app.service.clone(),
        tenant: tenant.0,
        id,
        after,
        waiting: VecDeque::new(),
        over: false,
    };
    // A proxy that collects or keeps the stream would hold back what happens.
    let headers = [
        (HeaderName::from_static("cache-control"), "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let stream = Sse::new(follower.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok((headers, stream).into_response())
}

/// Who follows a submission.
struct Follower {
    service: Service,
    tenant: String,
    id: JobId,
    after: u64,
    waiting: VecDeque<Event>,
    over: bool,
}

impl Follower {
    fn stream(self) -> impl Stream<Item = Result<Sent, Infallible>> {
        stream::unfold(self, async |mut follower| {
            let sent = follower.next().await?;
            Some((Ok(sent), follower))
        })
    }

    /// The next event; `None` at the end, or when the queue or this process can
    /// tell no more: the follower comes again.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if self.over {
                return None;
            }
            let Some(event) = self.waiting.pop_front() else {
                self.fill().await?;
                continue;
            };
            self.after = event.sequence;
            self.over = event.is_last();
            if let Some((name, data)) = self.told(&event).await {
                let sent = Sent::default().id(event.sequence.to_string()).event(name);
                // JSON has no line breaks of its own.
                return Some(sent.data(data.to_string()));
            }
        }
    }

    async fn fill(&mut self) -> Option<()> {
        // What has passed comes at once; only then it may be that nothing comes any more.
        let mut events = self.service.next_events(self.id, self.after, Duration::ZERO).await.ok()?;
        if events.is_empty() {
            let job = self.service.find(&self.tenant, self.id).await.ok()??;
            if job.state.is_terminal() {
                events = self.service.next_events(self.id, self.after, Duration::ZERO).await.ok()?;
                self.over = events.is_empty();
            } else {
                events = self.service.next_events(self.id, self.after, POLL).await.ok()?;
            }
        }
        self.waiting = events.into();
        Some(())
    }

    /// An event of the queue as it is told.
    async fn told(&self, event: &Event) -> Option<(&'static str, Value)> {
        Some(match event.kind {
            EventKind::Queued | EventKind::Requeued => {
                let job = self.service.find(&self.tenant, self.id).await.ok()??;
                let waits = matches!(job.state, JobState::Ready | JobState::Delayed);
                ("queued", json!({ "position": job.position.filter(|_| waits) }))
            }
            EventKind::Started => ("started", json!({})),
            EventKind::Retrying | EventKind::Lost | EventKind::Released => ("retrying", json!({})),
            EventKind::Ended(_) => {
                let job = self.service.find(&self.tenant, self.id).await.ok()??;
                ("finished", json!(SubmissionDocument::new(&job)))
            }
            EventKind::Told if event.name == COMPILED => {
                let Compiled { backend, compile, .. } = serde_json::from_slice(&event.data).ok()?;
                ("compiled", json!(compile_document(&compile, &backend)))
            }
            EventKind::Told if event.name == TEST => {
                let Tested { backend, index, result, .. } = serde_json::from_slice(&event.data).ok()?;
                let mut document = json!(TestDocument::new(&result, &backend));
                document["index"] = json!(index);
                ("test", document)
            }
            _ => return None,
        })
    }
}
