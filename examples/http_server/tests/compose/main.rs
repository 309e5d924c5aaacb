//! `examples/compose` as its users start it: a server, two workers and Redis in
//! containers, whose images are made here, without a registry.
//!
//! It needs Docker with Compose, mmdebstrap, and the `worker` beside the
//! server; where these are not, it is ignored, or fails if `EVALX_REQUIRE`
//! names `compose`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

// Its other users send more than is sent here.
#[expect(dead_code, reason = "shared with the tests of the API")]
#[path = "../api/client.rs"]
mod client;
mod project;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use project::Project;
use serde_json::json;

/// Programs that are sent while a worker is killed.
const PROGRAMS: usize = 20;
/// What `stop_grace_period` of compose.yaml allows.
const GRACE: Duration = Duration::from_secs(30);

/// The service comes up warm, evaluates, survives the death of a worker, and
/// ends in time with nothing left.
fn a_service_of_several_processes() -> Result<Completion, Failed> {
    let project = match Project::prepare() {
        Ok(project) => project,
        Err(reason) => return missing(reason),
    };
    project.up();
    let address = project.address();
    project.wait_until_healthy();
    client::send(address, "GET", "/readyz", &[], b"").expect(200);

    let hello = [
        ("python", "print('hello')"),
        ("c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }"),
        ("cpp", "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }"),
        (
            "java",
            "public class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }",
        ),
        ("javascript", "console.log('hello')"),
    ];
    for (language, source) in hello {
        let body =
            json!({ "language": language, "source": source, "tests": [{ "expected_output": "hello\n" }] });
        let path = "/v1/submissions?wait=60s";
        let answer = client::send(address, "POST", path, JSON, body.to_string().as_bytes()).json();
        assert_eq!(answer["verdict"], "accepted", "{language}: {answer}");
    }

    let source = "import time; time.sleep(0.5); print('done')";
    let body = json!({ "language": "python", "source": source, "tests": [{ "expected_output": "done\n" }] });
    let tokens: Vec<String> = (0..PROGRAMS)
        .map(|_| client::send(address, "POST", "/v1/submissions", JSON, body.to_string().as_bytes()))
        .map(|answer| answer.expect(202).json()["token"].as_str().unwrap().to_owned())
        .collect();
    project.kill_a_worker();
    for token in tokens {
        let path = format!("/v1/submissions/{token}?wait=60s");
        let answer = client::send(address, "GET", &path, &[], b"").json();
        assert_eq!(answer["verdict"], "accepted", "{answer}");
    }

    let began = Instant::now();
    project.stop();
    assert!(began.elapsed() < GRACE, "it took {:?} to stop", began.elapsed());
    project.down();
    Ok(Completion::Completed)
}

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// What can't be run here is ignored, or fails where it is required.
fn missing(reason: String) -> Result<Completion, Failed> {
    if evalx_testkit::required("compose") { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) }
}

fn main() -> ExitCode {
    let trials =
        vec![Trial::ignorable_test("a_service_of_several_processes", a_service_of_several_processes)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
