//! What the command says without a sandbox: wrong usage, help, refusals.

use std::io::Write;
use std::process::{Command, Output, Stdio};

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
        (&["exec", "--cpu", "1y", "--", "true"], "500ms"),
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

/// An agent that is nowhere: so `docker` can't start, whether an engine is here or not.
const NO_AGENT: (&str, &str) = ("EVALX_AGENT", "/nowhere/agent");

#[test]
fn a_backend_that_can_not_start_is_a_failure_of_the_sandbox() {
    let output = evalx_with(&[NO_AGENT], &["exec", "--backend", "docker", "--json", "--", "true"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!(document["error"]["kind"].is_string(), "{document}");
    let message = document["error"]["message"].as_str().expect("a message");
    assert!(message.contains("/nowhere/agent"), "{message}");
    assert!(document["error"]["hint"].is_string(), "{document}");

    let output = evalx_with(&[NO_AGENT], &["exec", "--backend", "docker", "--", "true"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("/nowhere/agent"), "{output:?}");
}

/// Runs the command with these variables besides those of this process.
fn evalx_with(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evalx"));
    command.envs(variables.iter().copied()).args(arguments).output().expect("it starts")
}

#[test]
fn a_backend_that_is_not_installed_says_what_to_do() {
    let output =
        evalx_with(&[("EVALX_ISOLATE", "/nowhere/isolate")], &["exec", "--backend", "isolate", "--", "true"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(stderr(&output).contains("/nowhere/isolate"), "{output:?}");
    assert!(stderr(&output).contains("install isolate"), "{output:?}");
}

#[test]
fn variables_choose_a_backend_where_the_command_line_does_not() {
    for (name, value) in [("EVALX_SANDBOX", "docker"), ("USE_ISOLATE", "false")] {
        let output = evalx_with(&[NO_AGENT, (name, value)], &["exec", "--", "true"]);
        assert_eq!(output.status.code(), Some(3), "{name}: {output:?}");
        assert!(stderr(&output).contains("/nowhere/agent"), "{name}: {output:?}");
    }
    for (name, value) in
        [("EVALX_SANDBOX", "the best"), ("EVALX_SANDBOX", "nonsense"), ("USE_ISOLATE", "perhaps")]
    {
        let output = evalx_with(&[(name, value)], &["exec", "--", "true"]);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {output:?}");
        assert!(stderr(&output).contains("auto") || stderr(&output).contains("true or false"), "{output:?}");
    }
}

#[test]
fn every_command_helps_with_examples() {
    for command in ["exec", "run", "bench", "doctor", "languages", "hint", "queue", "completions"] {
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

/// Runs `evalx hint` with this stdin.
fn hint(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evalx"))
        .arg("hint")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("evalx can be started");
    // It may have refused the arguments already, and not read any of it.
    drop(child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()));
    child.wait_with_output().expect("evalx ends")
}

#[test]
fn hint_explains_an_output() {
    let stderr_text = "Main.java:3: error: ';' expected\n        int a = 5\n                 ^\n1 error\n";
    let arguments = ["--language", "java", "--phase", "compile", "--exit-code", "1", "--json"];
    let output = hint(&arguments, stderr_text);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    assert_eq!(document["hints"][0]["category"], "syntax-missing-semicolon");

    let output = hint(&["--language", "c", "--signal", "SIGSEGV"], "");
    assert!(stderr(&output).contains("Segmentation fault"), "{output:?}");
    let output = hint(&["--language", "c", "--exit-code", "0", "--json"], "error: nothing\n");
    assert_eq!(stdout(&output).trim(), r#"{"hints":[]}"#);
}

#[test]
fn hint_answers_each_record_with_a_line() {
    let records = concat!(
        r#"{"id":"a","language":"c","phase":"run","exit_code":null,"signal":"SIGFPE","stdout":"","stderr":""}"#,
        "\n",
        r#"{"id":"b","language":"python","phase":"run","exit_code":0,"signal":null,"stderr":"SyntaxError: no"}"#,
        "\n",
        r#"{"id":"c","language":"c++","phase":"run","signal":"SIGKILL","timed_out":true,"unknown":[1]}"#,
    );
    let output = hint(&["--jsonl"], records);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answers: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first = |at: usize| (answers[at]["id"].clone(), answers[at]["hints"][0]["category"].clone());
    assert_eq!(first(0), ("a".into(), "division-by-zero".into()));
    assert_eq!(first(1), ("b".into(), Value::Null));
    assert_eq!(first(2), ("c".into(), "time-limit".into()));
}

#[test]
fn hint_refuses_what_is_no_record() {
    for (arguments, stdin, allowed) in [
        (&["--jsonl"][..], "{}\nnonsense\n", "line 2"),
        (&["--jsonl"][..], r#"{"signal":"SIGNOTHING"}"#, "SIGTERM"),
        (&["--jsonl", "--timed-out"][..], "", "cannot be used"),
        (&[][..], "", "--language"),
        (&["--source", "/no/such/file.py"][..], "", "/no/such/file.py"),
    ] {
        let output = hint(arguments, stdin);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(allowed), "{arguments:?}: {}", stderr(&output));
    }
}
