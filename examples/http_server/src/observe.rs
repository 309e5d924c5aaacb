//! What is written down of every request: its id, how long it took, and how it
//! went; nothing of what is in it.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a proxy.
const LONGEST_ID: usize = 64;

/// Gives a request its id, and writes down how it went.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| is_plain(id))
        .cloned()
        .unwrap_or_else(|| random_id().unwrap_or_else(|| HeaderValue::from_static("none")));
    // The pattern and not the path: a path names a token, and there are too many.
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, path);
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    metrics::histogram!("evalx_request_latency_seconds", "path" => path.clone()).record(took.as_secs_f64());
    span.in_scope(|| {
        tracing::info!(status = response.status().as_u16(), seconds = took.as_secs_f64(), "answered");
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn is_plain(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !id.is_empty() && id.len() <= LONGEST_ID && id.as_bytes().iter().all(plain)
}

fn random_id() -> Option<HeaderValue> {
    HeaderValue::try_from(evalx_queue::JobId::new().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_are_taken_over() {
        for (id, plain) in [("a-1_B.2", true), ("", false), ("a b", false), ("x\t", false), ("é", false)] {
            assert_eq!(is_plain(&HeaderValue::from_bytes(id.as_bytes()).unwrap()), plain, "{id:?}");
        }
        assert!(!is_plain(&HeaderValue::from_str(&"a".repeat(65)).unwrap()));
    }
}
