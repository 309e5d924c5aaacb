//! evalx's own API, and the document that describes it.

mod catalogue;
mod events;
mod operators;
mod reader;
mod request;
mod schema;
mod sessions;
mod submissions;

use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
pub(crate) use request::absence;

#[derive(OpenApi)]
#[openapi(
    components(schemas(sessions::Spoken<'static>, schema::SessionInput)),
    info(title = "evalx", description = "Runs programs of users in a sandbox, and says how they did."),
    tags((name = "submissions", description = "Programs to be evaluated."),
         (name = "sessions", description = "Programs that one talks to while they run."),
         (name = "catalogue", description = "What this server offers."),
         (name = "operators", description = "The queue and its dead letters."))
)]
struct Document;

/// The paths of the API, with `/openapi.json` and `/docs`.
pub(crate) fn routes() -> Router<App> {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(submissions::submit))
        .routes(routes!(submissions::submit_batch))
        .routes(routes!(submissions::find, submissions::cancel))
        .routes(routes!(submissions::deliveries))
        .routes(routes!(events::events))
        .routes(routes!(sessions::sessions))
        .routes(routes!(catalogue::languages))
        .routes(routes!(catalogue::config))
        .routes(routes!(operators::queue))
        .routes(routes!(operators::dead))
        .routes(routes!(operators::requeue))
        .split_for_parts();
    let page = crate::docs::page(&document);
    router
        .route("/openapi.json", get(move || async move { Json(document) }))
        .route("/docs", get(move || async move { Html(page) }))
}
