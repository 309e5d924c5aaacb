//! `/healthz` and `/readyz`: whether this process lives, and whether it should
//! be sent requests.

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::{App, EngineSlot};

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the sandbox is warm, the queue answers, and orders are taken.
pub(crate) async fn readyz(State(app): State<App>) -> (StatusCode, &'static str) {
    let starting = matches!(app.engine, EngineSlot::Here(_)) && app.engine().is_none();
    if !app.service.is_open() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else if starting {
        (StatusCode::SERVICE_UNAVAILABLE, "the sandbox is starting\n")
    } else if app.service.stats().await.is_err() {
        (StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
