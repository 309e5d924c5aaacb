//! Interactive sessions: a program that one talks to while it runs, over a
//! WebSocket. Who may have one is decided here, before there is one.

mod message;
mod socket;
mod start;
mod text;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evalx_service::NoSeat;

use crate::access::{Tenant, token_of};
use crate::app::App;
use crate::problem::Problem;

pub(super) use message::Spoken;

/// The subprotocol that is spoken.
const PROTOCOL: &str = "evalx";
/// A subprotocol that carries a token: pages can set no header.
const BEARER: &str = "evalx.bearer.";
/// When it is worth asking for a seat again.
const AGAIN: u64 = 5;

/// Runs a program that one talks to: a WebSocket with the subprotocol `evalx`, whose first message is `start`.
///
/// Messages of the client are of the schema `SessionInput`, as text; a binary message is stdin as it is. Those
/// of the server are of the schema `SessionOutput`. The program is killed when the connection ends. A browser
/// can't set a header: its token is a second subprotocol, `evalx.bearer.` with the token in base64url behind it.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions",
    responses((status = 101, description = "The connection is a WebSocket from now on."),
              (status = "4XX", description = "It is none, or not allowed.", body = Problem, content_type = "application/problem+json"),
              (status = 503, description = "As many sessions run as may, or this process runs no programs.", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn sessions(
    State(app): State<App>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let tenant = tenant(&app, &headers)?;
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("a session needs a WebSocket: {}", rejection.body_text());
        Problem::new(rejection.status(), detail)
    })?;
    if !may_come_from(&app.origins, &headers) {
        let detail = "pages of this origin may have no session; EVALX_ORIGINS lists those that may";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let Some(engine) = app.engine().cloned() else {
        let detail = "this process runs no programs, or does not yet";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_retry_after(AGAIN));
    };
    let seat = app.seats.take(&tenant.0).map_err(refused)?;
    let most = usize::try_from(app.caps.max_body.as_u64()).unwrap_or(usize::MAX);
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(most).max_frame_size(most);
    Ok(upgrade.on_upgrade(move |socket| socket::serve(socket, app, engine, seat)).into_response())
}

fn refused(no_seat: NoSeat) -> Problem {
    let status = match no_seat {
        NoSeat::TenantFull(_) => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, no_seat.to_string()).with_retry_after(AGAIN)
}

/// Whose token this is, in a header or among the subprotocols.
fn tenant(app: &App, headers: &HeaderMap) -> Result<Tenant, Problem> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let mut tokens = offered.filter_map(|protocol| protocol.trim().strip_prefix(BEARER)).filter_map(decoded);
    let token = token_of(headers, "x-auth-token").map(str::to_owned).or_else(|| tokens.next());
    app.access.tenant(token.as_deref()).ok_or_else(|| {
        let detail = "a token is needed, as `Authorization: Bearer`, as `X-Auth-Token`, or as the subprotocol \
                      `evalx.bearer.` with the token in base64url behind it";
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    })
}

fn decoded(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?).ok()
}

/// Whether a session may come from there: from a program, from this server's
/// own page, or from a page of an origin that is listed.
///
/// No other check keeps a page of anybody's from opening a WebSocket to a
/// server that only this browser can reach.
fn may_come_from(allowed: &[String], headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(origin) = text(header::ORIGIN) else { return true };
    let own = origin.split_once("://").map(|(_, authority)| authority);
    own.is_some_and(|authority| text(header::HOST) == Some(authority))
        || allowed.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_and_of_listed_origins_may_come() {
        let may = |origin: Option<&'static str>, allowed: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "judge.example:3000".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            may_come_from(&allowed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &headers)
        };
        assert!(may(None, &[]));
        assert!(may(Some("http://judge.example:3000"), &[]));
        for foreign in
            ["http://judge.example", "http://evil.example", "null", "http://judge.example:3000.evil"]
        {
            assert!(!may(Some(foreign), &["https://school.example/"]), "{foreign}");
        }
        assert!(may(Some("https://school.example"), &["https://school.example/"]));
        assert!(may(Some("http://evil.example"), &["*"]));
    }

    #[test]
    fn a_token_comes_as_a_subprotocol() {
        assert_eq!(decoded("YW5uL2I_").as_deref(), Some("ann/b?"));
        assert_eq!(decoded("YQ==").as_deref(), Some("a"));
        assert_eq!(decoded("?"), None);
    }
}
