//! [`Refusal`]: Judge0's errors, which look otherwise than ours.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use evalx_queue::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// Why Judge0 would not do something.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 401, empty.
    Unauthenticated,
    /// 403, empty.
    Unauthorized,
    /// 404.
    NotFound,
    /// 400, with a sentence.
    Bad(String),
    /// 422, with messages by field.
    Invalid(Map<String, Value>),
    /// 503: the queue is full; come again after so many seconds.
    Full(u64),
    /// 413 and the like: the request can't be read.
    Unreadable(StatusCode, String),
    /// 500, 503: not the client's fault.
    Broken(StatusCode),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Full => Self::Full(error.retry_after().map_or(5, |wait| wait.as_secs().max(1))),
            ErrorKind::InvalidRequest => Self::Bad(error.to_string()),
            kind => {
                tracing::error!(error = %error.chain(), "the queue could not do its job");
                Self::Broken(if kind == ErrorKind::Unavailable {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR
                })
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = |status: StatusCode, text: &str| (status, Json(json!({ "error": text }))).into_response();
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED.into_response(),
            Self::Unauthorized => StatusCode::FORBIDDEN.into_response(),
            Self::NotFound => {
                (StatusCode::NOT_FOUND, Json(json!({ "status": 404, "error": "Not Found" }))).into_response()
            }
            Self::Bad(text) => error(StatusCode::BAD_REQUEST, &text),
            Self::Invalid(fields) => (StatusCode::UNPROCESSABLE_ENTITY, Json(fields)).into_response(),
            Self::Full(seconds) => {
                let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "queue is full");
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
            Self::Unreadable(status, text) => error(status, &text),
            Self::Broken(status) => error(status, "the server could not do that; try again later"),
        }
    }
}
