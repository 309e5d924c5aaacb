//! The command over the native sandbox, as a person or a script calls it.
//!
//! Where `evalx doctor` finds no backend fit, every test here is ignored, with
//! its reason; with `EVALX_REQUIRE=native` it fails in place of that.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evalx"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn evalx(arguments: &[&str]) -> Output {
    command(arguments).output().expect("evalx can be started")
}

/// Runs with `--json` already among the arguments, and reads the one document.
fn json(arguments: &[&str], status: i32) -> Value {
    let output = evalx(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("one JSON document on stdout")
}

/// Runs a shell script inside, and reads its report.
fn script(options: &[&str], script: &str, status: i32) -> Value {
    let mut arguments = vec!["exec", "--json"];
    arguments.extend(options);
    arguments.extend(["--", "sh", "-c", script]);
    json(&arguments, status)
}

fn program(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/programs").join(name)
}

fn a_report_has_its_fields() {
    let report = script(&[], "echo hello; echo oops >&2", 0);
    let names: Vec<_> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "outcome",
        "exit_code",
        "signal",
        "syscall",
        "cpu_seconds",
        "user_seconds",
        "system_seconds",
        "wall_seconds",
        "memory_peak_bytes",
        "memory_measured_by",
        "processes_peak",
        "oom_kills",
        "limit",
        "killed_by",
        "stdout",
        "stderr",
        "stdout_base64",
        "stderr_base64",
        "stdout_bytes",
        "stderr_bytes",
        "stdout_truncated",
        "stderr_truncated",
        "backend",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(report["outcome"], "exited");
    assert_eq!(report["exit_code"], 0);
    assert_eq!((&report["stdout"], &report["stderr"]), (&"hello\n".into(), &"oops\n".into()));
    assert_eq!((&report["stdout_bytes"], &report["stderr_bytes"]), (&6.into(), &5.into()));
    assert_eq!(report["backend"], "native");
    assert!(report["wall_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(report["memory_peak_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    for absent in ["signal", "syscall", "limit", "killed_by", "stdout_base64"] {
        assert_eq!(report[absent], Value::Null, "{absent}");
    }
}

fn an_exit_code_is_the_programs_own() {
    let report = script(&[], "exit 42", 1);
    assert_eq!((&report["outcome"], &report["exit_code"]), (&"exited".into(), &42.into()));
}

fn a_signal_has_its_name() {
    let report = script(&[], "kill -SEGV $$", 1);
    assert_eq!((&report["outcome"], &report["signal"]), (&"signaled".into(), &"SIGSEGV".into()));
    assert_eq!(report["exit_code"], Value::Null);
}

fn cpu_time_is_limited() {
    let report = script(&["--cpu", "200ms"], "while :; do :; done", 1);
    assert_eq!(report["outcome"], "cpu_time_limit");
    assert_eq!((&report["limit"]["kind"], &report["limit"]["limit"]), (&"cpu_time".into(), &0.2.into()));
    assert_eq!(report["killed_by"], "supervisor");
}

fn wall_time_is_limited() {
    let report = script(&["--wall", "200ms"], "sleep 10", 1);
    assert_eq!(report["outcome"], "wall_time_limit");
    assert!(report["limit"]["measured"].as_f64().is_some_and(|seconds| (0.2..5.0).contains(&seconds)));
}

fn memory_is_limited() {
    let report = script(&["--memory", "32M"], "x=0123456789abcdef; while :; do x=$x$x; done", 1);
    assert_eq!(report["outcome"], "memory_limit");
    assert_eq!(report["limit"]["limit"], 32 << 20);
    assert!(report["oom_kills"].as_u64().is_some_and(|kills| kills > 0));
}

fn output_is_limited() {
    let report = script(&["--output", "1K"], "yes", 1);
    assert_eq!(report["outcome"], "output_limit");
    assert_eq!(report["stdout"].as_str().map(str::len), Some(1024));
    assert_eq!(report["stdout_truncated"], true);
}

fn bytes_that_are_no_text_are_exact() {
    let report = script(&[], r"printf 'a\377'", 0);
    assert_eq!((&report["stdout"], &report["stdout_base64"]), (&"a\u{fffd}".into(), &"Yf8=".into()));
}

fn files_are_placed_with_their_mode() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("say");
    fs::write(&path, "#!/bin/sh\necho placed $1\n").expect("written");
    let place = |inside: &str| format!("{}{inside}", path.display());
    let plain = evalx(&["exec", "--file", &place(""), "--", "./say", "x"]);
    assert_ne!(plain.status.code(), Some(0), "a plain file was executed: {plain:?}");
    let status = Command::new("chmod").arg("755").arg(&path).status().expect("chmod");
    assert!(status.success());
    let output = evalx(&["exec", "--file", &place(":bin/it"), "--", "./bin/it", "well"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "placed well\n", "{output:?}");
}

fn stdin_is_empty_unless_given() {
    assert_eq!(script(&[], "wc -c", 0)["stdout"], "0\n");
    let mut child = command(&["exec", "--json", "--stdin", "-", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("evalx can be started");
    child.stdin.take().expect("piped").write_all(b"from outside").expect("written");
    let output = child.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["stdout"], "from outside");
    let sum = program("sum/1.in");
    let report = script(&["--stdin", sum.to_str().expect("UTF-8")], "cat", 0);
    assert_eq!(report["stdout"], "1 2 3\n");
}

fn the_environment_is_its_own() {
    let mut command = command(&["exec", "--env", "GREETING=hi=there", "--", "env"]);
    let output = command.env("SECRET_OF_THE_HOST", "1").output().expect("evalx can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("GREETING=hi=there\n"), "{text}");
    assert!(!text.contains("SECRET_OF_THE_HOST"), "{text}");
}

fn output_passes_through_and_a_line_follows() {
    let output = evalx(&["exec", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"out\n");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "err"), "{text}");
    assert!(lines[1].starts_with("evalx: exited with 3 · cpu "), "{text}");
}

fn a_reader_that_goes_away_ends_the_program() {
    let mut child = command(&["exec", "--", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    wait_for(&mut child, Duration::from_secs(10));
}

fn an_interrupt_cancels_and_still_reports() {
    let mut child = command(&["exec", "--json", "--", "sh", "-c", "echo ready; sleep 30"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    // The control waits for the step, so that it matters little how far it is.
    std::thread::park_timeout(Duration::from_millis(500));
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    wait_for(&mut child, Duration::from_secs(10));
    let output = child.wait_with_output().expect("it ended");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["outcome"], "cancelled");
}

fn wait_for(child: &mut std::process::Child, patience: Duration) {
    let deadline = Instant::now() + patience;
    while child.try_wait().expect("it can be waited for").is_none() {
        assert!(Instant::now() < deadline, "evalx did not end in {patience:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn a_program_that_is_not_there_is_wrong_usage() {
    let document = json(&["exec", "--json", "--", "/no/such/program"], 2);
    assert_eq!(document["error"]["kind"], "invalid_request");
}

fn bench_compares_both_sides() {
    let figures = json(&["bench", "--runs", "20", "--concurrency", "2", "--json", "--", "/bin/true"], 0);
    assert_eq!((&figures["runs"], &figures["concurrency"]), (&20.into(), &2.into()));
    for side in ["floor", "sandbox"] {
        for name in ["median_us", "p95_us", "per_second"] {
            assert!(figures[side][name].as_f64().is_some_and(|n| n > 0.0), "{side}.{name}: {figures}");
        }
    }
    for name in ["ratio_median", "ratio_p95", "throughput_share"] {
        assert!(figures[name].as_f64().is_some_and(|n| n > 0.0), "{name}: {figures}");
    }
}

fn bench_places_a_program_that_sandboxes_do_not_show() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("copy");
    fs::copy("/bin/true", &path).expect("copied");
    let path = path.to_str().expect("UTF-8");
    json(&["bench", "--runs", "5", "--json", "--", path], 0);
}

fn doctor_finds_it_fit() {
    let document = json(&["doctor", "--json"], 0);
    let native = &document["backends"][0];
    assert_eq!(
        (&document["fit"], &native["name"], &native["fit"]),
        (&true.into(), &"native".into(), &true.into())
    );
    assert_eq!(native["self_test"].as_array().map(Vec::len), Some(5));
    // What SECURITY.md asks of a report.
    assert_eq!(document["architecture"], std::env::consts::ARCH);
    assert!(document["uid"].is_u64() && document["kernel"].is_string(), "{document}");
    let text = evalx(&["doctor"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("native: fit"), "{text:?}");
}

fn path(name: &str) -> String {
    program(name).display().to_string()
}

fn run_shows_the_output_and_the_verdict() {
    let output = evalx(&["run", &path("hello.py")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"hello from the sandbox\n");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.starts_with("evalx: accepted · exited with 0 · cpu "), "{text}");
}

fn run_judges_tests() {
    let test = |input: &str, expected: &str| format!("{}:{}", path(input), path(expected));
    let (right, wrong) = (test("sum/1.in", "sum/1.out"), test("sum/2.in", "sum/3.out"));
    let arguments =
        ["run", "--json", "--jobs", "1", "--fail-fast", "--test", &right, "--test", &wrong, "--test", &right];
    let document = json(&[&arguments[..], &[&path("sum.py")]].concat(), 1);
    assert_eq!((&document["language"], &document["compile"]), (&"python".into(), &Value::Null));
    let verdicts: Vec<_> = (0..3).map(|index| document["tests"][index]["verdict"].clone()).collect();
    assert_eq!(verdicts, ["accepted", "wrong_answer", "skipped"]);
    assert_eq!(document["tests"][0]["name"], path("sum/1.in"));
    assert_eq!(document["tests"][0]["report"]["stdout"], "6\n");
    assert_eq!(document["tests"][1]["message"], "line 1: expected `0`, found `6`");
    assert_eq!((&document["verdict"], &document["hint"]), (&"wrong_answer".into(), &Value::Null));
    assert_eq!(document["hints"], Value::Array(Vec::new()));
}

fn run_reports_what_the_compiler_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("broken.cpp");
    fs::write(&source, "int main() { return missing; }\n").expect("written");
    let source = source.to_str().expect("UTF-8");
    let document = json(&["run", "--json", source], 1);
    assert_eq!(document["verdict"], "compilation_error");
    assert_eq!(document["compile"]["cached"], false);
    let said = document["compile"]["stderr"].as_str().expect("text");
    assert!(said.contains("broken.cpp:1:") && said.contains("missing"), "{said}");
    assert_eq!(document["compile"]["backend"], "native");
}

fn run_ends_what_never_ends() {
    let document = json(&["run", "--json", "--cpu", "200ms", &path("endless.py")], 1);
    assert_eq!(document["verdict"], "time_limit_exceeded");
    assert_eq!(document["tests"][0]["report"]["outcome"], "cpu_time_limit");
}

fn languages_are_listed_with_versions_or_what_to_install() {
    let document = json(&["languages", "--json"], 0);
    let languages = document.as_array().expect("an array");
    let python = languages.iter().find(|language| language["id"] == "python").expect("python");
    assert_eq!((&python["available"], &python["install"]), (&true.into(), &Value::Null));
    assert!(python["version"].as_str().is_some_and(|version| version.starts_with("3.")), "{python}");
    for language in languages.iter().filter(|language| language["available"] == false) {
        assert!(language["install"].is_string() && language["version"].is_null(), "{language}");
    }
}

type Test = (&'static str, fn());

macro_rules! tests {
    ($($name:ident)*) => { [$((stringify!($name), $name as fn())),*] };
}

const TESTS: &[Test] = &tests! {
    a_report_has_its_fields
    an_exit_code_is_the_programs_own
    a_signal_has_its_name
    cpu_time_is_limited
    wall_time_is_limited
    memory_is_limited
    output_is_limited
    bytes_that_are_no_text_are_exact
    files_are_placed_with_their_mode
    stdin_is_empty_unless_given
    the_environment_is_its_own
    output_passes_through_and_a_line_follows
    a_reader_that_goes_away_ends_the_program
    an_interrupt_cancels_and_still_reports
    a_program_that_is_not_there_is_wrong_usage
    bench_compares_both_sides
    bench_places_a_program_that_sandboxes_do_not_show
    doctor_finds_it_fit
    run_shows_the_output_and_the_verdict
    run_judges_tests
    run_reports_what_the_compiler_said
    run_ends_what_never_ends
    run_explains_what_failed
    languages_are_listed_with_versions_or_what_to_install
};

fn run_explains_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |name: &str, source: &str| {
        let path = folder.path().join(name);
        fs::write(&path, source).expect("a file can be written");
        json(&["run", "--json", path.to_str().expect("UTF-8")], 1)
    };
    let document = run("main.py", "prices = [1, 2]\nprint(prces)\n");
    let hint = &document["hint"];
    assert_eq!((&hint["category"], &hint["identifier"]), (&"undefined-name".into(), &"prces".into()));
    assert_eq!((&hint["line"], &hint["file"]), (&2.into(), &"main.py".into()));
    assert!(hint["suggestion"].as_str().is_some_and(|text| text.contains("prices")), "{hint}");
    assert_eq!(&document["hints"][0], hint);
    assert_eq!(&document["tests"][0]["hint"], hint);

    let document = run("main.c", "int main(void) {\n    int count = 3\n    return count;\n}\n");
    assert_eq!(document["verdict"], "compilation_error");
    assert_eq!(document["hint"]["category"], "syntax-missing-semicolon");

    let document = run("loud.py", "raise SystemExit(4)\n");
    assert_eq!(document["hint"]["category"], "nonzero-exit");
}

/// Why the native backend can't be tested here, if it can't.
fn unfit() -> Option<String> {
    let output = evalx(&["doctor"]);
    (output.status.code() != Some(0)).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let unfit = if arguments.list { None } else { unfit() };
    let required = evalx_testkit::required("native");
    let trials = TESTS.iter().map(|&(name, test)| {
        let unfit = unfit.clone();
        Trial::ignorable_test(name, move || match unfit {
            None => {
                test();
                Ok(Completion::Completed)
            }
            Some(why) if required => Err(Failed::from(why)),
            Some(_) => Ok(Completion::ignored_with("the native backend is not fit here: see `evalx doctor`")),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
