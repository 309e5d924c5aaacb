//! What a worker says: to who asks, to who starts it wrongly, and in its log.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use evalx_testkit::RedisServer;
use nix::sys::signal::Signal;

use crate::process::{PATIENCE, Process, run};
use crate::submissions::Client;

pub(crate) fn help_names_every_setting() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for name in ["EVALX_QUEUE", "EVALX_SANDBOX", "EVALX_WORKERS", "EVALX_DRAIN", "EVALX_LOG", "--languages"] {
        assert!(help.contains(name), "{name} is not in {help}");
    }
    assert!(run(&["--version"]).status.success());
}

pub(crate) fn what_is_wrong_is_named() {
    for (arguments, part) in [
        (vec![], "--queue <URL>"),
        (vec!["--colour=red"], "--colour"),
        (vec!["--queue=memory"], "memory"),
        (vec!["--queue=amqp://user:hush@host/"], "amqp"),
        (vec!["--queue=redis://127.0.0.1/", "--workers=0"], "--workers"),
        (vec!["--queue=redis://127.0.0.1/", "--drain=soon"], "500ms"),
        (vec!["--queue=redis://127.0.0.1/", "--queue-durability=good"], "every_second"),
        (vec!["--queue=redis://127.0.0.1:1/", "--webhook-secret=hush"], "whsec_"),
        (vec!["--queue=redis://127.0.0.1:1/", "--languages=/nothing.toml"], "/nothing.toml"),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(part), "{arguments:?}: {said}");
        assert!(!said.contains("hush"), "{arguments:?}: {said}");
    }
}

pub(crate) fn a_redis_that_promises_less_is_refused(redis: &mut RedisServer) -> Result<(), String> {
    let output = run(&[&format!("--queue={}", redis.url()), "--queue-durability=fsync"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("appendfsync always"), "{said}");
    Ok(())
}

pub(crate) fn an_absent_redis_is_named() {
    // Nobody listens on a port that was just free.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let output = run(&[&format!("--queue=redis://:hush@127.0.0.1:{port}/")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && began.elapsed() < Duration::from_secs(60), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && !said.contains("hush"), "{said}");
}

pub(crate) fn nothing_secret_is_logged(redis: &mut RedisServer) -> Result<(), String> {
    let url = redis.url();
    let mut worker = Process::start(&[
        ("EVALX_QUEUE", &url),
        ("EVALX_LOG", "debug"),
        ("EVALX_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ])?;
    let client = Client::new(&url);
    let source = "SECRETSOURCE = input()\nprint('SECRETOUTPUT' + SECRETSOURCE)\nSECRETSOURCE()";
    let mut ids = client.submit(source, ["SECRETSTDIN".to_owned()]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ids.push(client.submit_with_webhook("SECRETSOURCE", &format!("http://{closed}/SECRETPATH")));
    for id in ids {
        client.result(id);
    }
    worker.signal(Signal::SIGTERM);
    assert!(worker.ended(PATIENCE).success());
    let said = worker.said();
    assert!(said.contains(" ready"), "{said}");
    for secret in ["SECRET", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    Ok(())
}
