//! [`App`]: what all requests share; and which paths there are.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, StatusCode};
use axum::middleware::from_fn;
use axum::routing::get;
use evalx_core::Languages;
use evalx_service::{Couriers, Engine, Exporter, Seats, Service};
use tokio::sync::SetOnce;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::access::Access;
use crate::problem::Problem;
use crate::settings::Caps;
use crate::{health, judge0, measure, observe, site, v1};

/// How long a request waits for the engine's start before it says that it knows nothing.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// How long a browser may remember that pages of others may ask: as long as
/// any of them does.
const CORS_AGE: Duration = Duration::from_secs(7200);

/// What all requests share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) languages: Languages,
    pub(crate) caps: Caps,
    pub(crate) access: Access,
    pub(crate) couriers: Couriers,
    pub(crate) judge0_version: String,
    pub(crate) judge0: judge0::Judge0,
    pub(crate) statistics: judge0::Statistics,
    pub(crate) seats: Seats,
    /// Whose pages may have sessions, besides our own.
    pub(crate) origins: Vec<String>,
    pub(crate) exporter: Exporter,
    pub(crate) engine: EngineSlot,
}

/// The engine, once it has started; for ever absent in a process that only serves HTTP.
#[derive(Debug)]
pub(crate) enum EngineSlot {
    Elsewhere,
    Here(SetOnce<Arc<Engine>>),
}

impl App {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The engine, if it has started.
    pub(crate) fn engine(&self) -> Option<&Arc<Engine>> {
        match &self.engine {
            EngineSlot::Elsewhere => None,
            EngineSlot::Here(slot) => slot.get(),
        }
    }

    /// The languages whose toolchains are there; `None` if this process can't know.
    pub(crate) async fn available(&self) -> Option<BTreeSet<String>> {
        let EngineSlot::Here(slot) = &self.engine else { return None };
        let engine = tokio::time::timeout(ENGINE_PATIENCE, slot.wait()).await.ok()?;
        Some(engine.available().map(str::to_owned).collect())
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every path, with what is around all of them.
pub(crate) fn router(app: App) -> Router {
    let body = usize::try_from(app.caps.max_body.as_u64()).unwrap_or(usize::MAX);
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        // Those that are asked for: `*` would not mean `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(CORS_AGE)
        .expose_headers([HeaderName::from_static("retry-after"), HeaderName::from_static("x-request-id")]);
    // A stream of events is of use only while it comes.
    let compression = CompressionLayer::new()
        .compress_when(DefaultPredicate::new().and(NotForContentType::const_new("text/event-stream")));
    Router::new()
        .merge(site::routes())
        .merge(v1::routes())
        .merge(judge0::routes())
        .route("/metrics", get(measure::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not have that method")
        })
        .layer(DefaultBodyLimit::max(body))
        .layer(compression)
        .layer(cors)
        .layer(from_fn(observe::observe))
        .with_state(app)
}
