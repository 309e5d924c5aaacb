//! What a server says while it runs, and how it ends under load.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::client::send;
use crate::server::Server;
use crate::socket::Talk;

/// Starts a server whose log goes into a file.
fn logged(settings: &[(&str, &str)]) -> Result<(Server, NamedTempFile), String> {
    let log = NamedTempFile::new().unwrap();
    let stderr = Stdio::from(log.reopen().unwrap());
    let basic = [("EVALX_SANDBOX", "native"), ("EVALX_ONLY_LANGUAGES", "python")];
    let server = Server::start_with(&[&basic, settings].concat(), stderr)?.ready()?;
    Ok((server, log))
}

fn text(log: &NamedTempFile) -> String {
    let mut text = String::new();
    File::open(log.path()).unwrap().read_to_string(&mut text).unwrap();
    text
}

pub(crate) fn nothing_secret_is_logged() -> Result<(), String> {
    let (text, _) = log_of_secrets("debug")?;
    // That nothing is found in an empty log would say nothing.
    assert!(text.contains("kept-1") && text.contains("/v1/submissions/{token}"), "{text}");
    // As it is, and as a subprotocol carries it.
    for secret in ["SECRET", &URL_SAFE_NO_PAD.encode("SECRET"), &crate::SECRET[6..]] {
        assert_eq!(text.lines().find(|line| line.contains(secret)), None);
    }
    // Who knows a token may read the result; who looks for a defect sees it.
    let (text, token) = log_of_secrets("info")?;
    assert_eq!(text.lines().find(|line| line.contains("SECRET") || line.contains(&token)), None);
    Ok(())
}

/// What a server logs that has seen secrets in every place; and a token.
fn log_of_secrets(level: &str) -> Result<(String, String), String> {
    let (mut server, log) = logged(&[
        ("EVALX_LOG", level),
        ("EVALX_AUTH_TOKENS", "SECRETANN,SECRETBOB"),
        ("EVALX_ADMIN_TOKENS", "SECRETROOT"),
        ("EVALX_WEBHOOK_SECRET", crate::SECRET),
        ("EVALX_WEBHOOK_ALLOW_PRIVATE", "true"),
    ])?;
    // Where nobody listens: why a delivery failed is logged, and where it went is not.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ann = [("Authorization", "Bearer SECRETANN")];
    let program = json!({ "language": "python",
        "source": "SECRETSOURCE = input()\nprint('SECRETOUTPUT' + SECRETSOURCE)\nSECRETSOURCE()",
        "arguments": ["SECRETARGUMENT"], "idempotency_key": "SECRETKEY",
        "webhook_url": format!("http://{closed}/SECRETPATH?SECRETQUERY"),
        "tests": [{ "name": "SECRETNAME", "stdin": "SECRETSTDIN", "expected_output": "SECRETEXPECTED" }] });
    let done = server.post_with("/v1/submissions?wait=50s", &ann, &program).expect(200).json();
    assert_eq!(done["verdict"], "runtime_error");
    let token = done["token"].as_str().unwrap().to_owned();
    let mut wrong = program.clone();
    wrong["limits"] = json!({ "SECRETLIMIT": 1 });
    server.post_with("/v1/submissions", &ann, &wrong).expect(422);
    for (method, path, headers) in [
        ("GET", format!("/v1/submissions/{token}?SECRETPARAMETER=1"), &[("X-Auth-Token", "SECRETBOB")][..]),
        ("GET", format!("/v1/submissions/{token}"), &[("X-Auth-Token", "SECRETEVE")]),
        ("GET", format!("/v1/submissions/{token}/events"), &ann),
        ("GET", "/v1/dead".to_owned(), &[("X-Auth-User", "SECRETROOT")]),
        ("GET", "/SECRETNOWHERE".to_owned(), &[]),
        ("POST", "/submissions?X-Auth-Token=SECRETBOB".to_owned(), &[]),
        ("GET", "/v1/languages".to_owned(), &[("Authorization", "Basic SECRET"), ("Cookie", "SECRET")]),
        (
            "GET",
            "/v1/languages".to_owned(),
            &[("traceparent", "SECRETTRACE"), ("Referer", "http://a/?SECRET")],
        ),
        ("GET", "/v1/languages".to_owned(), &[("X-Request-Id", "SECRET ID"), ("X-Forwarded-For", "SECRET")]),
        ("GET", "/metrics".to_owned(), &[("X-Request-Id", "kept-1")]),
    ] {
        send(server.address, method, &path, headers, br#"{"source_code": "SECRETSOURCE"}"#);
    }
    let session = json!({ "language": "python", "source": "print(input() + 'SECRETOUTPUT')\nSECRETSOURCE" });
    let offered = format!("evalx, evalx.bearer.{}", URL_SAFE_NO_PAD.encode("SECRETANN"));
    let mut talk = Talk::start(server.address, &[("Sec-WebSocket-Protocol", &offered)], session);
    talk.stdin("SECRETSTDIN\n");
    talk.until("finished");
    server.signal(Signal::SIGTERM);
    assert!(server.ended(Duration::from_secs(30)).success());
    Ok((text(&log), token))
}

pub(crate) fn a_server_ends_in_time_under_load() -> Result<(), String> {
    const CROWD: usize = 12;
    let (mut server, log) = logged(&[("EVALX_LOG", "info"), ("EVALX_WORKERS", "2")])?;
    let address = server.address;
    let waiting: Vec<_> = (0..CROWD)
        .map(|_| {
            std::thread::spawn(move || {
                let body = json!({ "language": "python", "source": "import time; time.sleep(2); print(1)" });
                let kind = [("Content-Type", "application/json")];
                send(address, "POST", "/v1/submissions?wait=50s", &kind, body.to_string().as_bytes())
            })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let queue = |server: &Server| -> Value { server.get("/v1/queue").expect(200).json() };
    loop {
        let queue = queue(&server);
        let (running, waits) = (queue["running"].as_u64().unwrap(), queue["waiting"].as_u64().unwrap());
        if running > 0 && running + waits == CROWD as u64 {
            break;
        }
        assert!(Instant::now() < deadline, "{queue}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    server.signal(Signal::SIGTERM);
    assert!(server.ended(Duration::from_secs(30)).success());
    // Who waits is told: what ran is finished, and what did not is lost.
    let answers: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
    let finished = answers.iter().filter(|answer| answer.status == 200);
    assert!(finished.clone().all(|answer| answer.json()["verdict"] == "accepted"), "{answers:?}");
    let (finished, lost) = (finished.count(), answers.iter().filter(|answer| answer.status == 503).count());
    assert!(finished > 0 && lost > 0 && finished + lost == CROWD, "{answers:?}");
    let text = text(&log);
    assert!(
        text.contains("submissions are lost") && text.contains(&format!("waiting={lost}")),
        "{lost}: {text}"
    );
    Ok(())
}

/// What a collector is told: the spans, each in its place, and nothing of what
/// is in a request.
#[cfg(feature = "otel")]
pub(crate) fn a_collector_gets_spans() -> Result<(), String> {
    let hook = evalx_testkit::Hook::listen().unwrap();
    let (mut server, log) = logged(&[
        ("EVALX_LOG", "info"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &hook.url("")),
        ("OTEL_SERVICE_NAME", "judge-under-test"),
    ])?;
    let program = json!({ "language": "python", "source": "print('SECRETSOURCE')" });
    server.post("/v1/submissions?wait=50s", &program).expect(200);
    // What is not sent yet is sent at the end.
    server.signal(Signal::SIGTERM);
    let mut told = Vec::new();
    let has = |told: &[u8], part: &str| told.windows(part.len()).any(|window| window == part.as_bytes());
    let parts = ["judge-under-test", "request", "/v1/submissions", "job", "python"];
    while let Some(missing) = parts.iter().find(|part| !has(&told, part)) {
        let call = hook.next_within(Duration::from_secs(60)).unwrap();
        let call = call.unwrap_or_else(|| panic!("{missing} is not told: {}", text(&log)));
        assert!(call.head.starts_with("POST /v1/traces"), "{}", call.head);
        told.extend(&call.body);
        call.answer("200 OK").unwrap();
    }
    assert!(server.ended(Duration::from_secs(30)).success());
    assert!(!has(&told, "SECRETSOURCE"));
    let requests = ids_before(&told, "request");
    let parents = ids_before(&told, "job");
    assert!(parents.iter().any(|parent| requests.contains(parent)), "{parents:?} of {requests:?}");
    Ok(())
}

/// The id that comes right before each name of a span in the protobuf of OTLP:
/// its parent's, or its own if it has none.
#[cfg(feature = "otel")]
fn ids_before<'t>(told: &'t [u8], name: &str) -> Vec<&'t [u8]> {
    const ID: usize = 8;
    // The field `name` is the fifth of a span, and a text.
    let field = [&[5 << 3 | 2, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    let whole = ID + field.len();
    told.windows(whole).filter(|window| window[ID..] == field).map(|window| &window[..ID]).collect()
}
