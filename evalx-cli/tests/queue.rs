//! `evalx queue` on a server that the test starts.

use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use evalx_queue::{
    JobId, NewJob, Outcome, Queue as _, QueueExt as _, RedisConfig, RedisQueue, Settlement, WorkerId,
};
use evalx_testkit::{RedisOptions, RedisServer};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

struct Stage {
    server: RedisServer,
    queue: RedisQueue,
}

impl Stage {
    fn evalx(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evalx"));
        command.args(["queue", "--redis", &self.server.url()]).args(arguments);
        command.output().expect("evalx can be started")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.evalx(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.evalx(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    async fn dead(&self, payload: &str) -> JobId {
        let job = NewJob::new(payload.to_owned()).with_tenant("mallory\u{202e}").with_language("c");
        let id = self.queue.submit(job).await.expect("it is accepted");
        let worker = WorkerId::new("w").expect("a good name");
        let claimed = self.queue.claim(&worker, 1, Duration::from_secs(10)).await.expect("it is there");
        let why = Outcome::rejected("bad \x1b[2J payload");
        let done = vec![Settlement::new(claimed[0].lease, why)];
        self.queue.finish(&worker, done, 0).await.expect("it is settled");
        id
    }
}

async fn tour(stage: Stage) {
    let first = stage.dead("payload one").await;
    let (second, third) = (stage.dead("two").await, stage.dead("\u{0}").await);
    stage.queue.submit(NewJob::new(vec![0xff]).with_language("python")).await.expect("it is accepted");

    let stats = stage.json(&["stats"]);
    assert_eq!((&stats["stats"]["dead"], &stats["stats"]["ready"]), (&3.into(), &1.into()));
    assert_eq!(stats["stats"]["depth_by_language"]["python"], 1);
    assert!(stats["stats"]["oldest_ready_seconds"].is_number() && stats["server_durability"].is_string());
    assert!(stage.text(&["stats"]).contains("python"));

    let page = stage.json(&["list", "dead", "--limit", "2"]);
    assert_eq!((&page["total"], page["jobs"].as_array().map(Vec::len)), (&3.into(), Some(2)));
    let listed = stage.text(&["list", "dead"]);
    assert!(listed.contains(&first.to_string()) && listed.contains("bad"), "{listed}");
    assert!(!listed.contains('\x1b'), "an error has moved the cursor: {listed:?}");

    let shown = stage.json(&["show", &first.to_string()]);
    assert_eq!((&shown["job"]["state"], &shown["payload"]), (&"dead".into(), &"payload one".into()));
    assert_eq!(shown["job"]["errors"][0]["worker"], "w");
    assert!(stage.text(&["show", &first.to_string()]).contains("payload one"));
    let ready = stage.json(&["list", "ready"])["jobs"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(stage.json(&["show", &ready])["payload_base64"], "/w==");

    assert_eq!(stage.json(&["requeue", &first.to_string()])["requeued"], 1);
    for arguments in [["requeue", &first.to_string()], ["show", &JobId::new().to_string()]] {
        let output = stage.evalx(&arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no"), "{output:?}");
    }
    assert_eq!(stage.json(&["requeue", "--all-dead"])["requeued"], 2);
    for id in [second, third] {
        stage.queue.cancel(id).await.expect("it is cancelled");
    }
    stage.dead("four").await;
    assert_eq!(stage.json(&["purge", "dead"])["purged"], 1);
    assert_eq!(stage.json(&["stats"])["stats"]["dead"], 0);
    assert_eq!(stage.json(&["--name", "other", "stats"])["stats"]["ready"], 0);
}

fn run() -> Result<Completion, Failed> {
    let server = match RedisServer::start(RedisOptions::volatile()) {
        Ok(server) => server,
        Err(reason) => {
            return if evalx_testkit::required("redis") {
                Err(reason.into())
            } else {
                Ok(Completion::ignored_with(reason))
            };
        }
    };
    let gone = server.url();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let queue = RedisQueue::connect(RedisConfig::new(server.url())).await.expect("the server is there");
        tour(Stage { server, queue }).await;
    });
    // The server is gone by now.
    let mut command = Command::new(env!("CARGO_BIN_EXE_evalx"));
    let output = command.args(["queue", "--redis", &gone, "--json", "stats"]).output()?;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(document["error"]["kind"], "unavailable");
    Ok(Completion::Completed)
}

fn main() -> ExitCode {
    let trial = Trial::ignorable_test("a_tour_of_the_command", run);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
