//! What a server does that never runs a program: it refuses, keeps tenants
//! apart, sends what waits away when it ends.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::client::send;
use crate::server::Server;

/// A server that serves HTTP alone.
pub(crate) fn without_workers(settings: &[(&str, &str)]) -> Server {
    let settings = [settings, &[("EVALX_WORKERS", "0")]].concat();
    Server::start(&settings).unwrap().ready().unwrap()
}

pub(crate) fn every_wrong_field_is_named() {
    let server = without_workers(&[("EVALX_MAX_TESTS", "3"), ("EVALX_MAX_BODY", "100K")]);
    let ok = json!({ "language": "python", "source": "print(1)" });
    let with = |name: &str, value: Value| {
        let mut body = ok.clone();
        body[name] = value;
        body
    };
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["/language", "/source"]),
        (json!([]), &[""]),
        (json!("x"), &[""]),
        (json!(null), &[""]),
        (json!({ "language": "python" }), &["/source"]),
        (json!({ "source": "x" }), &["/language"]),
        (with("language", json!("klingon")), &["/language"]),
        (with("language", json!(71)), &["/language"]),
        (with("source", json!(1)), &["/source"]),
        (with("sauce", json!("x")), &["/sauce"]),
        (with("files", json!([{ "path": "a", "content": "" }])), &["/files"]),
        (with("stdin", json!(["x"])), &["/stdin"]),
        (with("tests", json!({})), &["/tests"]),
        (with("tests", json!([1])), &["/tests/0"]),
        (with("tests", json!([{ "stdin": 1 }, { "input": "" }])), &["/tests/0/stdin", "/tests/1/input"]),
        (with("tests", json!([{}, {}, {}, {}])), &["/tests"]),
        (with("limits", json!(5)), &["/limits"]),
        (with("limits", json!({ "cpu_seconds": 1e9 })), &["/limits/cpu_seconds"]),
        (
            with("limits", json!({ "cpu_seconds": 0, "wall_seconds": -1 })),
            &["/limits/cpu_seconds", "/limits/wall_seconds"],
        ),
        (
            with("limits", json!({ "memory_bytes": 1.5, "processes": 0 })),
            &["/limits/memory_bytes", "/limits/processes"],
        ),
        (with("limits", json!({ "memory": 1 })), &["/limits/memory"]),
        (with("webhook_url", json!("ftp://example.org")), &["/webhook_url"]),
        (with("webhook_url", json!("http://127.0.0.1/")), &["/webhook_url"]),
        (with("webhook_url", json!("http://[::ffff:169.254.169.254]/")), &["/webhook_url"]),
        (with("webhook_url", json!("http://2130706433/")), &["/webhook_url"]),
        (with("priority", json!("urgent")), &["/priority"]),
        (with("idempotency_key", json!("")), &["/idempotency_key"]),
        (with("fail_fast", json!("yes")), &["/fail_fast"]),
        (with("checker", json!("psychic")), &["/checker"]),
        (with("checker", json!({ "language": "python" })), &["/checker/source"]),
        (with("interactor", json!({ "language": "x", "source": "" })), &["/interactor/language"]),
        (with("arguments", json!(["a\u{0}b"])), &["/arguments/0"]),
        (
            json!({ "language": "c", "files": [{ "path": "../x", "content": "" }, { "path": "/x", "content": "" }] }),
            &["/files/0/path", "/files/1/path"],
        ),
        (
            json!({ "language": "c", "files": [{ "path": "x", "content_base64": "?" }] }),
            &["/files/0/content_base64"],
        ),
    ];
    for (body, expected) in cases {
        let answer = server.post("/v1/submissions", &body).expect(422);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        let pointers: Vec<&str> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        for pointer in expected {
            assert!(pointers.contains(pointer), "{body}: {problem}");
        }
    }
    let raw = |headers: &[(&str, &str)], body: &[u8]| {
        send(server.address, "POST", "/v1/submissions", headers, body)
    };
    let kind = [("Content-Type", "application/json")];
    raw(&kind, b"{").expect(400);
    raw(&kind, b"\xff\xfe").expect(400);
    raw(&kind, "[".repeat(10_000).as_bytes()).expect(400);
    raw(&[("Content-Type", "text/plain")], b"{}").expect(415);
    raw(&kind, &vec![b' '; 200_000]).expect(413);
    raw(&[kind[0], ("Idempotency-Key", &"k".repeat(300))], ok.to_string().as_bytes()).expect(400);
    server.post("/v1/submissions?wait=soon", &ok).expect(422);
    server.post("/v1/submissions?wait=2h", &ok).expect(422);
    server.get("/v1/submissions/..%2f..%2fetc").expect(404);
    server.get("/v1/submissions/00000000-0000-0000-0000-000000000000").expect(404);
    server.get("/page/../Cargo.toml").expect(404);
    server.get("/nothing").expect(404);
    server.delete("/v1/languages").expect(405);
    server.get("/v1/dead").expect(403);
}

pub(crate) fn tenants_are_kept_apart() {
    let server = without_workers(&[("EVALX_AUTH_TOKENS", "ann,bob"), ("EVALX_ADMIN_TOKENS", "root")]);
    let (ann, bob) = ([("Authorization", "Bearer ann")], [("X-Auth-Token", "bob")]);
    let body = json!({ "language": "python", "source": "print(1)", "idempotency_key": "k" });
    server.post("/v1/submissions", &body).expect(401);
    server.post_with("/v1/submissions", &[("X-Auth-Token", "eve")], &body).expect(401);
    let first = server.post_with("/v1/submissions", &ann, &body).expect(202).json();
    let token = first["token"].as_str().unwrap();
    // The same key of the same tenant is the same submission, and another's is not.
    let again = server.post_with("/v1/submissions", &ann, &body).expect(202);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json()["token"], token);
    assert_ne!(server.post_with("/v1/submissions", &bob, &body).expect(202).json()["token"], token);
    let other = json!({ "language": "python", "source": "print(2)" });
    server.post_with("/v1/submissions", &[ann[0], ("Idempotency-Key", "k")], &other).expect(409);
    let path = format!("/v1/submissions/{token}");
    send(server.address, "GET", &path, &ann, b"").expect(200);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/events")),
        ("GET", format!("/submissions/{token}")),
    ] {
        send(server.address, method, &path, &bob, b"").expect(404);
    }
    // Neither kind of token is the other.
    send(server.address, "GET", "/v1/dead", &ann, b"").expect(403);
    send(server.address, "GET", "/v1/dead", &[("X-Auth-User", "root")], b"").expect(200);
    send(server.address, "GET", "/v1/queue", &[("Authorization", "Bearer root")], b"").expect(401);
    server.get("/languages").expect(401);
    // The page, and whether the server lives, need none.
    server.get("/").expect(200);
    server.get("/healthz").expect(200);
}

pub(crate) fn what_is_too_much_is_refused_with_a_time() {
    let server = without_workers(&[("EVALX_QUEUE_LIMIT", "2")]);
    let body = json!({ "language": "python", "source": "print(1)" });
    let batch = server
        .post("/v1/submissions/batch", &json!({ "submissions": [body, {}, body, body] }))
        .expect(202)
        .json();
    let answers = batch["submissions"].as_array().unwrap();
    assert!(answers[0]["token"].is_string() && answers[2]["token"].is_string());
    assert_eq!(
        (&answers[1]["status"], &answers[1]["errors"][0]["pointer"]),
        (&json!(422), &json!("/submissions/1/language"))
    );
    assert_eq!(answers[3]["status"], 503);
    let refused = server.post("/v1/submissions", &body).expect(503);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(refused.json()["queue_length"], 2);
    let judge0 = server.post("/submissions", &json!({ "language_id": 71, "source_code": "x" })).expect(503);
    assert_eq!(judge0.json(), json!({ "error": "queue is full" }));
    let one = json!({ "language_id": 71, "source_code": "x" });
    let several = json!({ "submissions": [one, one, one] });
    server.post("/submissions/batch", &several).expect(503);
    server.delete(&format!("/v1/submissions/{}", answers[2]["token"].as_str().unwrap())).expect(200);
    // Who was accepted is told so, though the others were not.
    let batch = server.post("/submissions/batch", &several).expect(201).json();
    assert!(batch[0]["token"].is_string(), "{batch}");
    let full = json!({ "error": "queue is full" });
    assert_eq!((&batch[1], &batch[2]), (&full, &full));
    // However often a field is asked for, it is asked for once.
    let asked =
        json!({ "language_id": 71, "source_code": "x", "fields": format!("{}*", "*,".repeat(200_000)) });
    server.post("/submissions?wait=true", &asked).expect(503);
    let nonsense = json!({ "language_id": 71, "source_code": "x", "fields": "y,".repeat(200_000) });
    assert!(server.post("/submissions", &nonsense).expect(400).json().to_string().len() < 1_000);
    // What was cancelled makes room.
    server.delete(&format!("/v1/submissions/{}", answers[0]["token"].as_str().unwrap())).expect(200);
    server.post("/v1/submissions", &body).expect(202);
}

pub(crate) fn the_page_and_the_document_are_served() {
    let server = without_workers(&[]);
    let page = server.get("/").expect(200);
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    server.get("/page/app.js").expect(200);
    let document = server.get("/openapi.json").expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/v1/submissions",
        "/v1/submissions/batch",
        "/v1/submissions/{token}",
        "/v1/submissions/{token}/events",
        "/v1/languages",
        "/v1/dead",
    ] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
    // The fields that the document shows are those that are read.
    let unknown = server.post("/v1/submissions", &json!({ "?": 1 })).expect(422).json();
    let errors = unknown["errors"].as_array().unwrap();
    let told = errors.iter().find(|error| error["pointer"] == "/?").unwrap()["detail"].as_str().unwrap();
    for field in
        document["components"]["schemas"]["SubmissionRequest"]["properties"].as_object().unwrap().keys()
    {
        assert!(told.contains(field.as_str()), "{field} is not read");
    }
    assert!(server.get("/docs").expect(200).body.contains("/v1/submissions/{token}/events"));
}

pub(crate) fn pages_of_others_may_ask() {
    let server = without_workers(&[("EVALX_AUTH_TOKENS", "ann")]);
    let asked = [
        ("Origin", "https://school.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-auth-token"),
    ];
    let answer = send(server.address, "OPTIONS", "/submissions?wait=false", &asked, b"").expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    // By their names: `*` does not mean `authorization` to a browser.
    assert_eq!(answer.header("access-control-allow-headers"), Some(asked[2].1));
    assert!(answer.header("access-control-max-age").is_some());
    let refused = send(server.address, "GET", "/v1/languages", &asked[..1], b"").expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "a page can read why");
}

pub(crate) fn who_waits_at_the_end_is_told_so() {
    let mut server = without_workers(&[]);
    let address = server.address;
    let waiting = std::thread::spawn(move || {
        let body = json!({ "language": "python", "source": "print(1)" }).to_string();
        let kind = [("Content-Type", "application/json")];
        send(address, "POST", "/v1/submissions?wait=50s", &kind, body.as_bytes())
    });
    // It waits once it is in the queue.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while server.get("/v1/queue").json()["waiting"] != 1 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    server.signal(Signal::SIGTERM);
    assert!(server.ended(Duration::from_secs(30)).success());
    waiting.join().unwrap().expect(503);
}
