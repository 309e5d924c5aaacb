//! What a worker answers to whoever watches it: `/healthz`, `/readyz` and
//! `/metrics`. It tells no submission's content, and takes none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use evalx_service::{Exporter, Queues};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What is watched of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    exporter: Exporter,
    queues: Queues,
    ready: Arc<AtomicBool>,
}

impl Health {
    pub(crate) fn new(exporter: Exporter, queues: Queues) -> Self {
        Self { exporter, queues, ready: Arc::default() }
    }

    /// Says whether this worker takes jobs.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Answers at `address` until what it gives is dropped.
    ///
    /// # Errors
    ///
    /// If the address is in use, or not this machine's.
    pub(crate) async fn serve(&self, address: SocketAddr) -> std::io::Result<AbortOnDropHandle<()>> {
        let listener = TcpListener::bind(address).await?;
        tracing::info!(address = %listener.local_addr()?, "answers /metrics, /healthz and /readyz");
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone());
        let exporter = self.exporter.clone();
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                ended = async { axum::serve(listener, router).await } => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "nobody can watch this worker any more");
                    }
                }
                () = exporter.keep_up() => {}
            }
        })))
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if !health.ready.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "takes no jobs\n")
    } else if health.queues.submissions.stats().await.is_err() {
        (StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// The queue's figures are the servers' to tell.
async fn metrics(State(health): State<Health>) -> Response {
    let text = health.exporter.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
