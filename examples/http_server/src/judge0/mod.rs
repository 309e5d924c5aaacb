//! Judge0's API at the root, so that its clients work unchanged; and the
//! flavour Extra CE under `/extra-ce`.

mod about;
mod answer;
mod archive;
mod conf;
mod parameters;
mod request;
mod statistics;
mod submissions;
mod table;
mod words;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use evalx_core::Language;
use std::sync::Arc;

use crate::access::{Tenant, token_of};
use crate::app::App;
use answer::Refusal;
pub(crate) use conf::{Judge0, arguments, without_effect};
use parameters::Parameters;
pub(crate) use statistics::Statistics;

/// Which of Judge0's two products is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flavour {
    Ce,
    Extra,
}

impl Flavour {
    /// The language of an id, if programs in it can be run here.
    fn language(self, app: &App, id: u32) -> Option<Arc<Language>> {
        let language = match self {
            Self::Ce => app.languages.by_judge0_id(id),
            Self::Extra => app.languages.by_judge0_extra_id(id),
        }?;
        crate::v1::absence(app, language).is_none().then(|| Arc::clone(language))
    }

    /// All ids with their names.
    fn table(self) -> &'static [(u32, &'static str)] {
        match self {
            Self::Ce => table::CE,
            Self::Extra => table::EXTRA,
        }
    }

    /// The name that clients show for an id.
    fn name(self, id: u32) -> Option<&'static str> {
        self.table().iter().chain(self.archived()).find(|(known, _)| *known == id).map(|(_, name)| *name)
    }

    /// Those that can no longer be used.
    const fn archived(self) -> &'static [(u32, &'static str)] {
        match self {
            Self::Ce => table::ARCHIVED,
            Self::Extra => &[],
        }
    }
}

/// The paths of both flavours.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(flavour(Flavour::Ce))
        .nest("/extra-ce", flavour(Flavour::Extra).route("/", get(|| async {})))
}

fn flavour(flavour: Flavour) -> Router<App> {
    let mut router = Router::new();
    // Some clients write a slash at the end, and follow no redirect.
    let mut add = |path: &str, method: MethodRouter<App>| {
        router = std::mem::take(&mut router).route(path, method.clone()).route(&format!("{path}/"), method);
    };
    add("/authenticate", post(about::authenticate));
    add("/authorize", post(about::authorize));
    add("/submissions", post(submissions::create).get(submissions::list));
    add("/submissions/batch", post(submissions::create_batch).get(submissions::find_batch));
    add("/submissions/{token}", get(submissions::find).delete(submissions::delete));
    add("/languages", get(about::languages));
    add("/languages/all", get(about::all_languages));
    add("/languages/{id}", get(about::language));
    add("/statuses", get(about::statuses));
    add("/config_info", get(about::config_info));
    add("/system_info", get(about::system_info));
    add("/statistics", get(statistics::statistics));
    add("/workers", get(about::workers));
    add("/about", get(about::about));
    add("/version", get(about::version));
    add("/isolate", get(about::isolate));
    add("/license", get(|| async { "MIT OR Apache-2.0\n" }));
    router.layer(Extension(flavour))
}

/// Whoever asks, in Judge0's way: with a header or a parameter.
struct Client(Tenant);

impl FromRequestParts<App> for Client {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let query = Parameters::of_query(parts.uri.query());
        let token = token_of(&parts.headers, "x-auth-token")
            .map(str::to_owned)
            .or_else(|| query.text("X-Auth-Token"));
        app.access.tenant(token.as_deref()).map(Self).ok_or(Refusal::Unauthenticated)
    }
}

/// That whoever asks is an operator, in Judge0's way.
struct Authorized;

impl FromRequestParts<App> for Authorized {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let query = Parameters::of_query(parts.uri.query());
        let header = parts.headers.get("x-auth-user").and_then(|value| value.to_str().ok());
        let token = header.map(str::to_owned).or_else(|| query.text("X-Auth-User"));
        if app.access.is_operator(token.as_deref()) { Ok(Self) } else { Err(Refusal::Unauthorized) }
    }
}
