//! Handing in submissions, asking for them, and cancelling them.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evalx_queue::{Admission, Cancellation, JobId};
use evalx_service::{Order, SubmissionDocument, parse_time};
use evalx_webhook::Attempt;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::reader::{Fields, Wrong};
use super::request;
use super::schema::{BatchRequest, SubmissionRequest};
use crate::access::Tenant;
use crate::app::App;
use crate::problem::{FieldError, Problem};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A submission that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// What it is asked for by.
    token: String,
    /// Where it is asked for.
    status_url: String,
    /// About how many submissions will have been begun when it is.
    position: Option<u64>,
}

/// The delivery log of a submission.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryLog {
    /// Every attempt, in their order.
    #[schema(value_type = Vec<Object>)]
    attempts: Vec<Attempt>,
}

/// Hands in a program.
#[utoipa::path(post, path = "/v1/submissions", tag = "submissions", request_body = SubmissionRequest,
    params(("wait" = Option<String>, Query, description = "How long to wait for the result, as `10s`."),
           ("idempotency-key" = Option<String>, Header, description = "As the field `idempotency_key`.")),
    responses((status = 200, description = "The result.", body = SubmissionDocument),
              (status = 202, description = "It was accepted.", body = Receipt),
              (status = "4XX", description = "It was not.", body = Problem, content_type = "application/problem+json"),
              (status = 503, description = "Too many wait.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn submit(
    State(app): State<App>,
    tenant: Tenant,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wait = wait_of(&app, query.as_deref())?;
    let body = json_of(&headers, body)?;
    let mut order = request::order(&app, &tenant.0, "", body).map_err(Problem::fields)?;
    if let Some(key) = key_of(&headers)? {
        order = order.with_idempotency_key(Some(key));
    }
    let admission = app.service.accept(vec![order]).await?.pop().ok_or_else(lost)?;
    let replayed = matches!(admission, Admission::Duplicate { .. });
    let (id, position) = match admission {
        Admission::Accepted { id, position } => (id, position),
        Admission::Duplicate { id, .. } => (id, None),
        refused => return Err(Problem::refused(refused)),
    };
    let mut response = answer(&app, id, position, wait).await?;
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The result if it comes in time, or else where it will be.
async fn answer(
    app: &App,
    id: JobId,
    position: Option<u64>,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    if let Some(wait) = wait {
        let job = app.service.wait(id, wait).await?;
        if job.state.is_terminal() {
            return Ok((StatusCode::OK, Json(SubmissionDocument::new(&job))).into_response());
        }
    }
    let receipt = receipt(id, position);
    let location = [(header::LOCATION, receipt.status_url.clone())];
    Ok((StatusCode::ACCEPTED, location, Json(receipt)).into_response())
}

fn receipt(id: JobId, position: Option<u64>) -> Receipt {
    Receipt { token: id.to_string(), status_url: format!("/v1/submissions/{id}"), position }
}

/// Hands in several programs at once. What is wrong with one keeps back no other.
#[utoipa::path(post, path = "/v1/submissions/batch", tag = "submissions", request_body = BatchRequest,
    responses((status = 202, description = "A receipt or a problem of each, in their order.", body = Object),
              (status = "4XX", description = "None was accepted.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn submit_batch(
    State(app): State<App>,
    tenant: Tenant,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let mut wrong = Wrong::default();
    let list = Fields::of("", json_of(&headers, body)?, &mut wrong).map(|mut fields| {
        let list = fields.list("submissions", app.caps.max_batch, &mut wrong);
        if wrong.is_empty() && list.as_ref().is_none_or(Vec::is_empty) {
            wrong.note("/submissions", "there must be at least one submission");
        }
        fields.finish(&mut wrong);
        list.unwrap_or_default()
    });
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong.into_errors()));
    }
    let read: Vec<Result<Order, Vec<FieldError>>> = list
        .unwrap_or_default()
        .into_iter()
        .map(|(at, value)| request::order(&app, &tenant.0, &at, value))
        .collect();
    let orders = read.iter().filter_map(|order| order.as_ref().ok().cloned()).collect();
    let mut admissions = app.service.accept(orders).await?.into_iter();
    let mut answers: Vec<Value> = Vec::with_capacity(read.len());
    for order in read {
        answers.push(match order {
            Err(errors) => Problem::fields(errors).document(),
            Ok(_) => match admissions.next().ok_or_else(lost)? {
                Admission::Accepted { id, position } => json!(receipt(id, position)),
                Admission::Duplicate { id, .. } => json!(receipt(id, None)),
                refused => Problem::refused(refused).document(),
            },
        });
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "submissions": answers }))).into_response())
}

/// All that is known of a submission.
#[utoipa::path(get, path = "/v1/submissions/{token}", tag = "submissions",
    params(("token" = String, Path), ("wait" = Option<String>, Query, description = "How long to wait for its end, as `10s`.")),
    responses((status = 200, body = SubmissionDocument, description = "All that is known."),
              (status = "4XX", description = "There is none.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn find(
    State(app): State<App>,
    tenant: Tenant,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<SubmissionDocument>, Problem> {
    let wait = wait_of(&app, query.as_deref())?;
    let mut job = app.service.find(&tenant.0, id_of(&token)?).await?.ok_or_else(Problem::not_found)?;
    if let Some(wait) = wait.filter(|_| !job.state.is_terminal()) {
        job = app.service.wait(job.id, wait).await?;
    }
    Ok(Json(SubmissionDocument::new(&job)))
}

/// Cancels a submission, queued or running.
#[utoipa::path(delete, path = "/v1/submissions/{token}", tag = "submissions", params(("token" = String, Path)),
    responses((status = 200, body = SubmissionDocument, description = "It had ended, or has now."),
              (status = 202, body = SubmissionDocument, description = "Its worker is told."),
              (status = "4XX", description = "There is none.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    tenant: Tenant,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    let id = id_of(&token)?;
    let status = match app.service.cancel(&tenant.0, id).await? {
        Cancellation::NotFound => return Err(Problem::not_found()),
        Cancellation::Requested => StatusCode::ACCEPTED,
        Cancellation::Done | Cancellation::TooLate => StatusCode::OK,
    };
    let job = app.service.find(&tenant.0, id).await?.ok_or_else(Problem::not_found)?;
    Ok((status, Json(SubmissionDocument::new(&job))).into_response())
}

/// The delivery log of a submission's webhook.
#[utoipa::path(get, path = "/v1/submissions/{token}/deliveries", tag = "submissions", params(("token" = String, Path)),
    responses((status = 200, body = DeliveryLog, description = "Every attempt to deliver."),
              (status = "4XX", description = "There is none.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn deliveries(
    State(app): State<App>,
    tenant: Tenant,
    Path(token): Path<String>,
) -> Result<Json<DeliveryLog>, Problem> {
    let job = app.service.find(&tenant.0, id_of(&token)?).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(DeliveryLog { attempts: app.service.deliveries(job.id).await? }))
}

/// The id that a token is. What is none names no submission.
pub(crate) fn id_of(token: &str) -> Result<JobId, Problem> {
    token.parse().map_err(|_| Problem::not_found())
}

/// How long the parameter `wait` says to wait.
fn wait_of(app: &App, query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let refuse = |detail: String| Problem::fields(vec![FieldError { pointer: "?wait".to_owned(), detail }]);
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(name, _)| *name == "wait") else { return Ok(None) };
    let wait = parse_time(text).map_err(|error| refuse(error.to_string()))?;
    if wait > app.caps.max_wait {
        return Err(refuse(format!("{text} is too long: at most {:?} is allowed", app.caps.max_wait)));
    }
    Ok(Some(wait))
}

/// The header `Idempotency-Key`.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let refuse = |detail: &str| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the header Idempotency-Key is wrong: {detail}"))
    };
    let key = value.to_str().map_err(|_| refuse("it must be visible ASCII"))?;
    match request::wrong_key(key) {
        Some(why) => Err(refuse(&why)),
        None => Ok(Some(key.to_owned())),
    }
}

/// The body as JSON.
pub(crate) fn json_of(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Value, Problem> {
    let is_json = |value: &HeaderValue| {
        let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
    };
    if !headers.get(header::CONTENT_TYPE).is_none_or(is_json) {
        let detail = "the body must be JSON: send `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))
}

fn lost() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the queue did not say what became of a submission")
}
