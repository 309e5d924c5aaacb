//! What a server says while it runs, and how it ends under load.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

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
    for secret in ["SECRET", &crate::SECRET[6..]] {
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
        ("GET", "/metrics".to_owned(), &[("X-Request-Id", "kept-1")]),
    ] {
        send(server.address, method, &path, headers, br#"{"source_code": "SECRETSOURCE"}"#);
    }
    let session = json!({ "language": "python", "source": "print(input() + 'SECRETOUTPUT')\nSECRETSOURCE" });
    let mut talk = Talk::start(server.address, &ann, session);
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

/// What a collector is told, until the server has ended: the spans, and
/// nothing of what is in a request.
#[cfg(feature = "otel")]
pub(crate) fn a_collector_gets_spans() -> Result<(), String> {
    use std::io::Write;
    use std::sync::mpsc;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, told) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                bytes.extend(&buffer[..count]);
                let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                if bytes.len() >= end + 4 + length.unwrap_or(0) {
                    break;
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if sender.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
        }
    });
    let (mut server, log) = logged(&[
        ("EVALX_LOG", "info"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_SERVICE_NAME", "judge-under-test"),
    ])?;
    let program = json!({ "language": "python", "source": "print('SECRETSOURCE')" });
    server.post("/v1/submissions?wait=50s", &program).expect(200);
    server.signal(Signal::SIGTERM);
    assert!(server.ended(Duration::from_secs(30)).success());
    let told: String = told.try_iter().collect();
    assert!(told.starts_with("POST /v1/traces"), "{told:?}: {}", text(&log));
    for part in ["judge-under-test", "request", "/v1/submissions", "job", "python"] {
        assert!(told.contains(part), "{part} is not in {told:?}");
    }
    assert!(!told.contains("SECRETSOURCE"));
    Ok(())
}
