//! [`Problem`]: what was wrong with a request, as `application/problem+json`
//! (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use evalx_queue::{Admission, ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What was wrong with a request, and what is allowed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What is wrong, in a few words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong here.
    detail: String,
    /// Every wrong field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Seconds after which the same request may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
    /// How many submissions wait, if too many do.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_length: Option<u64>,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where it is: a JSON pointer into the body, or `?name` of a parameter.
    pub(crate) pointer: String,
    /// What it was, and what is allowed.
    pub(crate) detail: String,
}

impl Problem {
    /// A problem of this status.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            queue_length: None,
        }
    }

    /// Fields of the body, or parameters, that are wrong.
    pub(crate) fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} fields are wrong", many.len()),
        };
        Self { title: "Wrong fields", errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// Says when the same request may succeed.
    pub(crate) const fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// There is no such submission, or it is another tenant's.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such submission, or no longer")
    }

    /// An order that the queue refused.
    pub(crate) fn refused(admission: Admission) -> Self {
        let depth = match &admission {
            Admission::Full { depth, .. } => Some(*depth),
            _ => None,
        };
        let mut problem = match admission.into_id() {
            Err(error) => Self::from(error),
            Ok(id) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{id} was not refused")),
        };
        problem.queue_length = depth;
        problem
    }

    /// The document, for an answer that holds several.
    pub(crate) fn document(&self) -> Value {
        serde_json::to_value(self).unwrap_or_else(|_| Value::Object(Map::new()))
    }
}

impl From<evalx_queue::Error> for Problem {
    fn from(error: evalx_queue::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Full | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() && error.kind() != ErrorKind::Full {
            // The chain may name hosts and ports, which are not the client's to know.
            tracing::error!(error = %error.chain(), "the queue could not do its job");
        }
        let mut problem = Self::new(status, error.to_string());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem.retry_after_seconds = Some(error.retry_after().map_or(5, |wait| wait.as_secs().max(1)));
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_seconds;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
