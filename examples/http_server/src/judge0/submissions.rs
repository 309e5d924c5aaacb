//! Judge0's submissions.

use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use evalx_queue::{Admission, ErrorKind, JobId, JobState, JobView, ListQuery};
use evalx_service::judge0::{DEFAULT_FIELDS, Encoding, FIELDS, NotUtf8, fields, status, status_id};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::parameters::Parameters;
use super::{Authorized, Client, Flavour, request};
use crate::app::App;

/// How long `wait=true` waits.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How deep a listing goes.
const DEEPEST_PAGE: u64 = 10_000;

const NOT_UTF8: &str = "some attributes for this submission cannot be converted to UTF-8, use base64_encoded=true query parameter";
const NONE_UTF8: &str = "some attributes for one or more submissions cannot be converted to UTF-8, use base64_encoded=true query parameter";

/// How many names that are none are told at most.
const MOST_INVALID: usize = 20;

/// What is asked for, and how it is written.
struct View {
    wanted: Vec<&'static str>,
    encoding: Encoding,
}

impl View {
    fn of(parameters: &Parameters) -> Result<Self, Refusal> {
        let encoding =
            if parameters.flag("base64_encoded") == Some(true) { Encoding::Base64 } else { Encoding::Text };
        let Some(text) = parameters.text("fields").filter(|text| !text.trim().is_empty()) else {
            return Ok(Self { wanted: DEFAULT_FIELDS.to_vec(), encoding });
        };
        let mut wanted = Vec::new();
        let mut invalid = Vec::new();
        for name in text.split(',').map(str::trim) {
            match FIELDS.iter().find(|known| **known == name) {
                // Each is shown once, however often it is asked for.
                Some(known) if wanted.contains(known) => {}
                Some(known) => wanted.push(*known),
                None if name == "*" => wanted = FIELDS.to_vec(),
                None => invalid.push(name.chars().take(64).collect::<String>()),
            }
            if invalid.len() >= MOST_INVALID {
                break;
            }
        }
        if invalid.is_empty() {
            Ok(Self { wanted, encoding })
        } else {
            Err(Refusal::Bad(format!("invalid fields: [{}]", invalid.join(", "))))
        }
    }

    async fn show(&self, app: &App, job: &JobView) -> Result<Result<Map<String, Value>, NotUtf8>, Refusal> {
        let order = app.service.job_of(job.id).await?;
        Ok(fields(job, order.as_ref(), &self.wanted, self.encoding))
    }
}

/// `POST /submissions`
pub(super) async fn create(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    Client(tenant): Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of_request(query.as_deref(), &headers, body)?;
    let view = View::of(&parameters)?;
    let base64 = view.encoding == Encoding::Base64;
    let order = request::order(&app, flavour, &tenant.0, &parameters, base64).map_err(Refusal::Invalid)?;
    let id = match app.service.accept(vec![order]).await?.pop() {
        Some(admission) => admission.into_id()?,
        None => return Err(Refusal::Broken(StatusCode::INTERNAL_SERVER_ERROR)),
    };
    let mut answer = Map::from_iter([("token".to_owned(), json!(id))]);
    if parameters.flag("wait") == Some(true) {
        let job = app.service.wait(id, LONGEST_WAIT).await?;
        match view.show(&app, &job).await? {
            Ok(fields) => answer = fields,
            Err(NotUtf8) => {
                answer.insert("error".to_owned(), json!(NOT_UTF8));
            }
        }
    }
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `POST /submissions/batch`
pub(super) async fn create_batch(
    State(app): State<App>,
    Extension(flavour): Extension<Flavour>,
    Client(tenant): Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let parameters = Parameters::of_request(query.as_deref(), &headers, body)?;
    let base64 = parameters.flag("base64_encoded") == Some(true);
    let submissions = match parameters.get("submissions") {
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    check_batch(&app, submissions.len())?;
    let read: Vec<_> = submissions
        .into_iter()
        .map(|value| request::order(&app, flavour, &tenant.0, &Parameters::of_value(value), base64))
        .collect();
    let orders = read.iter().filter_map(|order| order.as_ref().ok().cloned()).collect();
    let mut admissions = app.service.accept(orders).await?.into_iter();
    let mut answers = Vec::with_capacity(read.len());
    let (mut any, mut full) = (false, None);
    for order in read {
        answers.push(match order {
            Err(messages) => Value::Object(messages),
            Ok(_) => match admissions.next().map(Admission::into_id) {
                Some(Ok(id)) => {
                    any = true;
                    json!({ "token": id })
                }
                // The others were accepted, and their tokens must be told.
                Some(Err(error)) if error.kind() == ErrorKind::Full => {
                    full.get_or_insert(error);
                    json!({ "error": "queue is full" })
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Refusal::Broken(StatusCode::INTERNAL_SERVER_ERROR)),
            },
        });
    }
    if let Some(error) = full.filter(|_| !any) {
        return Err(error.into());
    }
    let status = if any { StatusCode::CREATED } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok((status, Json(answers)).into_response())
}

/// `GET /submissions/:token`
pub(super) async fn find(
    State(app): State<App>,
    Client(tenant): Client,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Map<String, Value>>, Refusal> {
    let view = View::of(&Parameters::of_query(query.as_deref()))?;
    let job = found(&app, &tenant.0, &token).await?.ok_or(Refusal::NotFound)?;
    view.show(&app, &job).await?.map(Json).map_err(|NotUtf8| Refusal::Bad(NOT_UTF8.to_owned()))
}

/// `GET /submissions/batch`
pub(super) async fn find_batch(
    State(app): State<App>,
    Client(tenant): Client,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let parameters = Parameters::of_query(query.as_deref());
    let view = View::of(&parameters)?;
    let header = headers.get("tokens").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let tokens = parameters.text("tokens").or(header).unwrap_or_default();
    let tokens: Vec<&str> = tokens.split(',').map(str::trim).filter(|token| !token.is_empty()).collect();
    check_batch(&app, tokens.len())?;
    let mut submissions = Vec::with_capacity(tokens.len());
    for token in tokens {
        submissions.push(match found(&app, &tenant.0, token).await? {
            None => Value::Null,
            Some(job) => {
                let shown = view.show(&app, &job).await?;
                Value::Object(shown.map_err(|NotUtf8| Refusal::Bad(NONE_UTF8.to_owned()))?)
            }
        });
    }
    Ok(Json(json!({ "submissions": submissions })))
}

/// `DELETE /submissions/:token`
pub(super) async fn delete(
    State(app): State<App>,
    Client(tenant): Client,
    _: Authorized,
    Path(token): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Map<String, Value>>, Refusal> {
    let mut view = View::of(&Parameters::of_query(query.as_deref()))?;
    view.encoding = Encoding::Base64;
    let job = found(&app, &tenant.0, &token).await?.ok_or(Refusal::NotFound)?;
    if !job.state.is_terminal() {
        let id = status_id(&job);
        let name = status(id)["description"].as_str().unwrap_or_default().to_owned();
        return Err(Refusal::Bad(format!(
            "submission cannot be deleted because its status is {id} ({name})"
        )));
    }
    let shown = view.show(&app, &job).await?.map_err(|NotUtf8| Refusal::Bad(NOT_UTF8.to_owned()))?;
    app.service.remove(job.id).await?;
    Ok(Json(shown))
}

/// `GET /submissions`: of all tenants, the newest first.
pub(super) async fn list(
    State(app): State<App>,
    _: Client,
    _: Authorized,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Refusal> {
    let parameters = Parameters::of_query(query.as_deref());
    let view = View::of(&parameters)?;
    let number = |name: &str, default: u64, most: u64| match parameters.text(name) {
        None => Ok(default),
        Some(text) => text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
            Refusal::Bad(format!("invalid {name}: {}", text.chars().take(32).collect::<String>()))
        }),
    };
    let per_page = number("per_page", 20, ListQuery::MOST)?;
    let page = number("page", 1, DEEPEST_PAGE / per_page)?;
    let mut total = 0;
    let mut jobs: Vec<JobView> = Vec::new();
    for state in JobState::ALL {
        let mut offset = 0;
        loop {
            let part = app.service.list(state, offset, ListQuery::MOST).await?;
            offset += ListQuery::MOST;
            jobs.extend(part.jobs);
            if offset >= part.total.min(page * per_page) {
                total += part.total;
                break;
            }
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.enqueued_at));
    let skipped = usize::try_from((page - 1) * per_page).unwrap_or(usize::MAX);
    let mut submissions = Vec::new();
    for job in jobs.iter().skip(skipped).take(usize::try_from(per_page).unwrap_or(usize::MAX)) {
        // A page of the queue has no results.
        let Some(job) = app.service.find(&job.tenant, job.id).await? else { continue };
        let shown = view.show(&app, &job).await?;
        submissions.push(shown.map_err(|NotUtf8| Refusal::Bad(NONE_UTF8.to_owned()))?);
    }
    let pages = total.div_ceil(per_page);
    Ok(Json(json!({
        "submissions": submissions,
        "meta": {
            "current_page": page,
            "next_page": (page < pages).then_some(page + 1),
            "prev_page": (page > 1).then_some(page - 1),
            "total_pages": pages,
            "total_count": total,
        },
    })))
}

async fn found(app: &App, tenant: &str, token: &str) -> Result<Option<JobView>, Refusal> {
    let Ok(id) = token.parse::<JobId>() else { return Ok(None) };
    Ok(app.service.find(tenant, id).await?)
}

fn check_batch(app: &App, count: usize) -> Result<(), Refusal> {
    let most = app.judge0.max_submission_batch_size;
    match count {
        0 => Err(Refusal::Bad("there should be at least one submission in a batch".to_owned())),
        count if count <= most => Ok(()),
        _ => Err(Refusal::Bad(format!(
            "number of submissions in a batch should be less than or equal to {most}"
        ))),
    }
}
