//! What operators look at: the queue and its dead letters.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use evalx_queue::{JobState, ListQuery, Priority};
use evalx_service::SubmissionDocument;
use serde_json::{Value, json};

use super::submissions::id_of;
use crate::access::{Operator, Tenant};
use crate::app::App;
use crate::problem::{FieldError, Problem};

/// How the queue is.
#[utoipa::path(get, path = "/v1/queue", tag = "operators",
    responses((status = 200, body = Object, description = "Lengths and waits."),
              (status = 401, body = Problem, description = "A token is needed.", content_type = "application/problem+json")))]
pub(crate) async fn queue(State(app): State<App>, _: Tenant) -> Result<Json<Value>, Problem> {
    let stats = app.service.stats().await?;
    let priorities: serde_json::Map<String, Value> = Priority::ALL
        .iter()
        .zip(stats.ready_by_priority)
        .map(|(priority, count)| (priority.to_string(), json!(count)))
        .collect();
    Ok(Json(json!({
        "waiting": stats.depth(),
        "waiting_by_language": stats.depth_by_language,
        "waiting_by_priority": priorities,
        "running": stats.active,
        "dead": stats.dead,
        "completed": stats.completed,
        "retries": stats.retries,
        "oldest_wait_seconds": stats.oldest_ready.as_secs_f64(),
        "expected_wait_seconds": stats.expected_wait.as_secs_f64(),
        "durability": app.service.queues().submissions.durability().as_str(),
    })))
}

/// Submissions that failed for good, the latest first.
#[utoipa::path(get, path = "/v1/dead", tag = "operators",
    params(("offset" = Option<u64>, Query), ("limit" = Option<u64>, Query, description = "1 to 200; 50 if not given.")),
    responses((status = 200, body = Object, description = "A page of them."),
              (status = "4XX", body = Problem, description = "An operator's token is needed.", content_type = "application/problem+json")))]
pub(crate) async fn dead(
    State(app): State<App>,
    _: Operator,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = query.unwrap_or_default();
    let offset = number(&query, "offset", 0, u64::from(u32::MAX), 0)?;
    let limit = number(&query, "limit", 1, ListQuery::MOST, 50)?;
    let page = app.service.list(JobState::Dead, offset, limit).await?;
    let letters: Vec<Value> = page
        .jobs
        .iter()
        .map(|job| {
            let mut letter = json!(SubmissionDocument::new(job));
            letter["tenant"] = json!(job.tenant);
            letter["errors"] = json!(job.errors);
            letter
        })
        .collect();
    Ok(Json(json!({ "total": page.total, "submissions": letters })))
}

/// Puts a submission that failed for good back into the queue.
#[utoipa::path(post, path = "/v1/dead/{token}/requeue", tag = "operators", params(("token" = String, Path)),
    responses((status = 202, description = "It is queued again."),
              (status = "4XX", body = Problem, description = "There is none.", content_type = "application/problem+json")))]
pub(crate) async fn requeue(
    State(app): State<App>,
    _: Operator,
    Path(token): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = id_of(&token)?;
    if !app.service.requeue(id).await? {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no dead submission has this token"));
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "token": token }))))
}

/// A number among the parameters.
fn number(query: &str, name: &str, least: u64, most: u64, default: u64) -> Result<u64, Problem> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(key, _)| *key == name) else { return Ok(default) };
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        let detail = format!("a whole number from {least} to {most} is expected");
        Problem::fields(vec![FieldError { pointer: format!("?{name}"), detail }])
    })
}
