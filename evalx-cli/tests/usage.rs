//! What the command says without a sandbox: wrong usage, help, refusals.

use std::process::{Command, Output};

use serde_json::Value;

fn evalx(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evalx")).args(arguments).output().expect("evalx can be started")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_allowed() {
    let cases: [(&[&str], &str); 22] = [
        (&[], "Usage"),
        (&["unknown"], "unrecognized subcommand"),
        (&["exec"], "PROGRAM"),
        (&["exec", "--memory", "12Q", "--", "true"], "suffix K, M or G"),
        (&["exec", "--cpu", "1h", "--", "true"], "500ms"),
        (&["exec", "--cpu", "0s", "--", "true"], "0.001s"),
        (&["exec", "--processes", "-1", "--", "true"], "whole number"),
        (&["exec", "--backend", "chroot", "--", "true"], "native"),
        (&["exec", "--network", "host", "--", "true"], "loopback"),
        (&["exec", "--env", "NOVALUE", "--", "true"], "NAME=VALUE"),
        (&["run"], "SOURCE"),
        (&["run", "Makefile"], "--language"),
        (&["run", "--language", "klingon", "x"], "evalx languages"),
        (&["run", "--checker", "fuzzy", "x.py"], "unordered"),
        (&["run", "--test", ":x", "x.py"], "INPUT:EXPECTED"),
        (&["bench", "--runs", "0", "--", "/bin/true"], "--runs"),
        (&["queue", "stats"], "--redis"),
        (&["queue", "--redis", "http://127.0.0.1/", "stats"], "redis://"),
        (&["queue", "--redis", "redis://h", "list", "asleep"], "delayed, ready, active"),
        (&["queue", "--redis", "redis://h", "list", "dead", "--limit", "0"], "1..=200"),
        (&["queue", "--redis", "redis://h", "show", "12"], "looks like"),
        (&["queue", "--redis", "redis://h", "requeue"], "--all-dead"),
    ];
    for (arguments, allowed) in cases {
        let output = evalx(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(allowed), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?} printed a result");
    }
}

#[test]
fn files_that_are_not_there_are_wrong_usage() {
    for arguments in [
        ["exec", "--file", "/no/such/file", "--", "true"],
        ["exec", "--file", "/etc", "--", "true"],
        ["exec", "--stdin", "/no/such/file", "--", "true"],
    ] {
        let output = evalx(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    let output = evalx(&["bench", "--", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_backend_that_is_not_built_in_is_a_failure_of_the_sandbox() {
    for backend in ["isolate", "docker"] {
        let output = evalx(&["exec", "--backend", backend, "--json", "--", "true"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(document["error"]["kind"], "unsupported");
        let message = document["error"]["message"].as_str().expect("a message");
        assert!(message.contains("not built into this evalx"), "{message}");
        assert!(document["error"]["hint"].is_string());

        let output = evalx(&["exec", "--backend", backend, "--", "true"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(output.stdout.is_empty());
        assert!(stderr(&output).contains("not built into this evalx"));
    }
}

#[test]
fn every_command_helps_with_examples() {
    for command in ["exec", "run", "bench", "doctor", "languages", "queue", "completions"] {
        let output = evalx(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains("Examples:"), "{command}");
    }
    assert!(stdout(&evalx(&["--help"])).contains("Exit status:"));
}

#[test]
fn shells_are_given_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = evalx(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(stdout(&output).contains("evalx"), "{shell}");
    }
}
