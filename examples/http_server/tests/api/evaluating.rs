//! What a server with workers does: programs run, and their authors are told.

use std::time::Duration;

use evalx_testkit::Hook;
use evalx_webhook::{Secrets, SignedHeaders, verify};
use serde_json::json;

use crate::SECRET;
use crate::client::send;
use crate::server::Server;

pub(crate) fn a_program_is_run_on_its_tests(server: &Server) {
    let body = json!({ "language": "python", "source": "print(int(input()) * 2)",
        "tests": [{ "stdin": "2", "expected_output": "4" }, { "name": "odd", "stdin": "3", "expected_output": "7" }] });
    let document = server.post("/v1/submissions?wait=50s", &body).expect(200).json();
    assert_eq!(document["status"], "finished");
    assert_eq!(document["verdict"], "wrong_answer");
    assert_eq!(document["tests"][0]["verdict"], "accepted");
    assert_eq!(document["tests"][1]["name"], "odd");
    assert_eq!(document["tests"][1]["report"]["stdout"], "6\n");
    for time in ["queued_at", "started_at", "finished_at"] {
        assert!(document[time].is_string(), "{document}");
    }
    let again = server.get(&format!("/v1/submissions/{}", document["token"].as_str().unwrap()));
    assert_eq!(again.expect(200).json(), document);
}

pub(crate) fn a_failure_is_explained_at_its_line(server: &Server) {
    let body = json!({ "language": "python", "source": "x = 1\npritn(x)\n" });
    let document = server.post("/v1/submissions?wait=50s", &body).expect(200).json();
    assert_eq!(document["hints"][0]["line"], 2, "{document}");
    assert!(document["hint"].as_str().unwrap().contains("print"), "{document}");
}

pub(crate) fn events_come_in_order_and_resume(server: &Server) {
    let token = server.submit(&json!({ "language": "c", "source": "int main(void) { return 0; }" }));
    let path = format!("/v1/submissions/{token}/events");
    let stream = server.get(&path).expect(200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let names: Vec<&str> = stream.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["queued", "started", "compiled", "test", "finished"]);
    let rest = send(server.address, "GET", &path, &[("Last-Event-ID", "3")], b"").expect(200);
    let rest: Vec<&str> = rest.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(rest, ["test", "finished"]);
    let over = send(server.address, "GET", &path, &[("Last-Event-ID", "5")], b"").expect(200);
    assert_eq!(over.body, "");
}

pub(crate) fn what_runs_is_cancelled(server: &Server) {
    let token = server.submit(
        &json!({ "language": "python", "source": "while True: pass", "limits": { "cpu_seconds": 15 } }),
    );
    let path = format!("/v1/submissions/{token}");
    assert!([200, 202].contains(&server.delete(&path).status));
    assert_eq!(server.result(&token)["status"], "cancelled");
    server.delete(&path).expect(200);
}

pub(crate) fn a_webhook_is_told_once_and_signed(server: &Server) {
    let hook = Hook::listen().unwrap();
    let url = hook.url("/done?secret");
    let token = server.submit(&json!({ "language": "python", "source": "print(1)", "webhook_url": url }));
    let secrets: Secrets = SECRET.parse().unwrap();
    for status in ["500 Oh", "503 No", "200 OK"] {
        let call = hook.next_within(Duration::from_secs(60)).unwrap().expect("three attempts");
        let header = |name: &str| call.header(name).unwrap();
        let (id, timestamp, signature) =
            (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
        assert_eq!(id, format!("msg_{token}"));
        let now = std::time::SystemTime::now();
        let headers = SignedHeaders::new(id, timestamp, signature);
        verify(&secrets, headers, &call.body, now, Duration::from_secs(300)).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!((&document["token"], &document["status"]), (&json!(token), &json!("finished")));
        call.answer(status).unwrap();
    }
    // The log is written behind the answer.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let log = server.get(&format!("/v1/submissions/{token}/deliveries")).expect(200);
        assert!(!log.body.contains("secret"));
        let statuses: Vec<_> = log.json()["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| attempt["status"].clone())
            .collect();
        if statuses == [500, 503, 200] {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{statuses:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

pub(crate) fn judge0_is_spoken_at_the_root(server: &Server) {
    let body = json!({ "language_id": "71", "source_code": "print(input())", "stdin": "hi", "expected_output": "hi", "cpu_time_limit": null });
    let result = server.post("/submissions/?wait=true", &body).expect(201).json();
    assert_eq!(result["status"], json!({ "id": 3, "description": "Accepted" }), "{result}");
    assert_eq!(result["stdout"], "hi\n");
    let path = format!("/submissions/{}/?fields=*&base64_encoded=true", result["token"].as_str().unwrap());
    let all = server.get(&path).expect(200).json();
    assert_eq!(
        (&all["source_code"], &all["cpu_time_limit"], &all["language_id"]),
        (&json!("cHJpbnQoaW5wdXQoKSk="), &json!("5.0"), &json!(71))
    );
    let segfault =
        json!({ "language_id": 50, "source_code": "int main(void) { volatile int *p = 0; *p = 1; }" });
    let result =
        server.post("/submissions?wait=true&fields=status_id,exit_signal", &segfault).expect(201).json();
    assert_eq!(result, json!({ "status_id": 7, "exit_signal": 11 }));
    let invalid =
        server.post("/submissions", &json!({ "source_code": "", "cpu_time_limit": 16 })).expect(422).json();
    assert_eq!(invalid["source_code"], json!(["can't be blank"]));
    assert_eq!(invalid["cpu_time_limit"], json!(["must be less than or equal to 15.0"]));
    assert_eq!(server.get("/config_info").expect(200).json().as_object().unwrap().len(), 39);
    assert_eq!(server.get("/submissions/nonsense").expect(404).json()["error"], "Not Found");
    assert_eq!(server.get("/extra-ce/about").expect(200).json()["version"], "1.13.1-extra");
}

pub(crate) fn the_promised_metrics_are_there(server: &Server) {
    server.post("/v1/submissions?wait=50s", &json!({ "language": "python", "source": "" })).expect(200);
    let metrics = server.get("/metrics").expect(200).body;
    for name in [
        "evalx_queue_depth{language=",
        "evalx_active_sandboxes{language=\"python\",backend=\"native\"}",
        "evalx_request_latency_seconds_bucket{path=\"/v1/submissions\"",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
}
