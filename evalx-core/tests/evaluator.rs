//! What the evaluator promises, held against a scripted sandbox.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evalx_core::{
    Amount, ByteSize, Checker, Comparison, Error, ErrorKind, Evaluator, Event, Hint, HintProvider,
    HintRequest, LimitHit, LimitKind, Limits, OnFailure, Outcome, Phase, Signal, SourceCode, StderrMode,
    Submission, Test, Verdict,
};
use evalx_testkit::{FakeRun, FakeSandbox, FakeStep};
use tokio::sync::{Barrier, Semaphore};

fn at_once(steps: usize) -> NonZeroUsize {
    NonZeroUsize::new(steps).unwrap()
}

fn is_compile(step: &FakeStep) -> bool {
    matches!(step.program.as_str(), "gcc" | "g++" | "nasm" | "ld")
}

/// A C compiler whose programs do what their source says: `echo` their stdin,
/// `crash`, or print the source.
fn compiler(step: &FakeStep) -> FakeRun {
    if is_compile(step) {
        let source = step.file("main.c").unwrap_or_default();
        return if source.contains("error") {
            FakeRun::exited(1).with_stderr("main.c:1:1: error: nonsense\n")
        } else {
            FakeRun::exited(0).with_stderr("a warning").with_file("main", source)
        };
    }
    match step.file("main").as_deref() {
        Some("echo") => FakeRun::exited(0).with_stdout(step.stdin.clone()),
        Some("crash") => FakeRun::new(Outcome::Signaled(Signal::SEGV)),
        Some(source) => FakeRun::exited(0).with_stdout(source.to_owned()),
        None => FakeRun::absent(),
    }
}

/// Tests whose input and expected output are their numbers.
fn numbered(count: usize) -> impl Iterator<Item = Test> {
    (0..count).map(|n| Test::new(n.to_string(), n.to_string()).with_expected(n.to_string()))
}

fn verdicts(evaluation: &evalx_core::Evaluation) -> Vec<&'static str> {
    evaluation.tests.iter().map(|test| test.verdict.as_str()).collect()
}

#[tokio::test]
async fn compiles_once_and_runs_every_test_in_a_session_of_its_own() {
    let sandbox = FakeSandbox::new(compiler);
    let evaluator = Evaluator::new(sandbox.clone());
    let submission = Submission::new("c", "echo").with_tests(numbered(20));

    let evaluation = evaluator.evaluate(submission.clone()).await.unwrap();
    assert_eq!(evaluation.verdict, Verdict::Accepted);
    assert_eq!(
        evaluation.tests.iter().map(|t| t.name.clone()).collect::<Vec<_>>(),
        (0..20).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert!(evaluation.tests.iter().all(|test| test.stdout == test.name));
    let compile = evaluation.compile.unwrap();
    assert!(compile.is_success() && !compile.cached);
    assert_eq!(compile.stderr, "a warning");
    assert_eq!((sandbox.steps(), sandbox.opened_sessions(), sandbox.open_sessions()), (21, 21, 0));

    let again = evaluator.evaluate(submission).await.unwrap();
    assert!(again.compile.unwrap().cached);
    assert_eq!(sandbox.steps(), 41);
}

#[tokio::test]
async fn what_decides_a_compile_decides_the_cache() {
    let evaluator = Evaluator::new(FakeSandbox::new(compiler));
    let cached = async |submission: &Submission| {
        evaluator.prepare(submission).await.unwrap().compile().unwrap().cached
    };
    let plain = Submission::new("c", "echo");
    assert!(!cached(&plain).await);
    assert!(cached(&plain).await);
    assert!(cached(&plain.clone().with_arguments(["x"]).with_stdin("y")).await, "only the run differs");
    assert!(!cached(&Submission::new("c", "echo ")).await);
    assert!(!cached(&Submission::from_code(plain.code.clone().with_options(["-O0"]))).await);
    assert!(!cached(&Submission::from_code(plain.code.clone().with_options(["-O", "0"]))).await);
    let smaller = evaluator.clone().with_cache(ByteSize::ZERO);
    assert!(!smaller.prepare(&plain).await.unwrap().compile().unwrap().cached);
    assert!(!smaller.prepare(&plain).await.unwrap().compile().unwrap().cached);
}

#[tokio::test]
async fn failures_are_cached_but_not_those_of_a_busy_machine() {
    let sandbox = FakeSandbox::new(compiler);
    let evaluator = Evaluator::new(sandbox.clone());
    for cached in [false, true] {
        let evaluation = evaluator.evaluate(Submission::new("c", "error")).await.unwrap();
        assert_eq!(evaluation.verdict, Verdict::CompilationError);
        assert_eq!(verdicts(&evaluation), ["skipped"]);
        let compile = evaluation.compile.unwrap();
        assert_eq!(
            (compile.cached, compile.failure.as_deref()),
            (cached, Some("the compiler exited with 1"))
        );
    }
    assert_eq!(sandbox.steps(), 1);

    let slow = FakeSandbox::new(|_| {
        let mut run = FakeRun::new(Outcome::WallTimeLimit);
        let second = Amount::Time(Duration::from_secs(1));
        run.report.limit = Some(LimitHit::new(LimitKind::WallTime, second, second));
        run
    });
    let evaluator = Evaluator::new(slow.clone());
    for _ in 0..2 {
        let evaluation = evaluator.evaluate(Submission::new("c", "")).await.unwrap();
        assert_eq!(evaluation.verdict, Verdict::CompilationError);
        assert!(!evaluation.compile.unwrap().cached);
    }
    assert_eq!(slow.steps(), 2);
}

#[tokio::test]
async fn equal_compiles_at_the_same_time_are_one() {
    let gate = Arc::new(Semaphore::new(0));
    let sandbox = FakeSandbox::with_script({
        let gate = Arc::clone(&gate);
        move |step| {
            let gate = Arc::clone(&gate);
            async move {
                if is_compile(&step) {
                    gate.acquire().await.unwrap().forget();
                }
                compiler(&step)
            }
        }
    });
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(4));
    let evaluate = || {
        let evaluator = evaluator.clone();
        tokio::spawn(async move { evaluator.evaluate(Submission::new("c", "echo")).await.unwrap() })
    };
    let (first, second, third) = (evaluate(), evaluate(), evaluate());
    sandbox.wait_for_running_steps(1).await;

    // The one that compiles is cancelled; another takes over.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    sandbox.wait_for_running_steps(1).await;
    gate.add_permits(1);
    let (second, third) = (second.await.unwrap(), third.await.unwrap());
    let cached = [second, third].map(|evaluation| evaluation.compile.unwrap().cached);
    assert_eq!(cached.iter().filter(|cached| **cached).count(), 1);
    assert_eq!(sandbox.steps(), 2 + 2, "a compile that was cancelled, one that was not, and two runs");
}

#[tokio::test]
async fn as_many_steps_run_at_once_as_there_are_permits() {
    let barrier = Arc::new(Barrier::new(3));
    let sandbox = FakeSandbox::with_script(move |_| {
        let barrier = Arc::clone(&barrier);
        async move {
            // Nobody passes unless three run.
            barrier.wait().await;
            FakeRun::exited(0)
        }
    });
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(3));
    let submission =
        || Submission::new("python", "").with_tests(numbered(6).map(|test| Test::new(test.name, "")));
    let (one, two) = tokio::join!(evaluator.evaluate(submission()), evaluator.evaluate(submission()));
    assert_eq!((one.unwrap().verdict, two.unwrap().verdict), (Verdict::Accepted, Verdict::Accepted));
    assert_eq!(sandbox.most_running_steps(), 3);
}

#[tokio::test]
async fn stops_at_the_first_failure_if_asked() {
    let sandbox = FakeSandbox::new(compiler);
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(1));
    let mut tests: Vec<_> = numbered(6).collect();
    tests[2].expected = Some("something else".into());
    let submission = Submission::new("c", "echo").with_tests(tests);

    let all = evaluator.evaluate(submission.clone()).await.unwrap();
    assert_eq!(verdicts(&all), ["accepted", "accepted", "wrong_answer", "accepted", "accepted", "accepted"]);
    let stopped = evaluator.evaluate(submission.with_on_failure(OnFailure::Stop)).await.unwrap();
    assert_eq!(verdicts(&stopped), ["accepted", "accepted", "wrong_answer", "skipped", "skipped", "skipped"]);
    assert_eq!(stopped.verdict, Verdict::WrongAnswer);
    assert_eq!(sandbox.steps(), 1 + 6 + 3);
}

#[tokio::test]
async fn a_failure_kills_the_tests_behind_it_and_lets_those_before_it_finish() {
    let gate = Arc::new(Semaphore::new(0));
    let sandbox = FakeSandbox::with_script({
        let gate = Arc::clone(&gate);
        move |step| {
            let gate = Arc::clone(&gate);
            async move {
                match &step.stdin[..] {
                    b"0" => {
                        gate.acquire().await.unwrap().forget();
                        FakeRun::new(Outcome::MemoryLimit)
                    }
                    b"1" => FakeRun::exited(1),
                    _ => std::future::pending().await,
                }
            }
        }
    });
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(3));
    let submission = Submission::new("python", "").with_tests(numbered(5)).with_on_failure(OnFailure::Stop);
    let mut stream = evaluator.stream(submission);
    let Some(Ok(Event::Test { index: 1, result })) = stream.next().await else { panic!("1 is first") };
    assert_eq!(result.verdict, Verdict::RuntimeError);
    sandbox.wait_for_running_steps(1).await;
    gate.add_permits(1);
    let mut last = None;
    while let Some(event) = stream.next().await {
        last = Some(event.unwrap());
    }
    let Some(Event::Finished(evaluation)) = last else { panic!("finished is last") };
    assert_eq!(
        verdicts(&evaluation),
        ["memory_limit_exceeded", "runtime_error", "skipped", "skipped", "skipped"]
    );
    assert_eq!(evaluation.verdict, Verdict::MemoryLimitExceeded, "the first of the tests, not of the clock");
}

#[tokio::test]
async fn events_come_once_each_and_in_order() {
    let evaluator = Evaluator::new(FakeSandbox::new(compiler));
    let mut stream = evaluator.stream(Submission::new("c", "echo").with_tests(numbered(40)));
    assert!(matches!(stream.next().await, Some(Ok(Event::Compiled(_)))));
    let mut seen = [0; 40];
    let evaluation = loop {
        match stream.next().await.unwrap().unwrap() {
            Event::Test { index, result } => {
                assert_eq!(result.name, index.to_string());
                seen[index] += 1;
            }
            Event::Finished(evaluation) => break evaluation,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen, [1; 40]);
    assert_eq!(evaluation.tests.len(), 40);
    assert!(stream.next().await.is_none());
    assert!(stream.next().await.is_none());

    let mut stream = evaluator.stream(Submission::new("klingon", ""));
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn dropping_an_evaluation_ends_all_of_it() {
    let sandbox = FakeSandbox::with_script(|_| std::future::pending());
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(4));
    let submission = Submission::new("python", "").with_tests(numbered(8));

    let stream = evaluator.stream(submission.clone());
    sandbox.wait_for_running_steps(4).await;
    drop(stream);
    sandbox.wait_until_closed().await;

    let evaluation = tokio::spawn({
        let evaluator = evaluator.clone();
        async move { evaluator.evaluate(submission).await }
    });
    // The permits of those that were dropped are free again.
    sandbox.wait_for_running_steps(4).await;
    evaluation.abort();
    sandbox.wait_until_closed().await;
    assert_eq!(sandbox.running_steps(), 0);
}

#[tokio::test]
async fn a_sandbox_that_fails_is_no_verdict_on_the_program() {
    let sandbox = FakeSandbox::new(compiler);
    let evaluator = Evaluator::new(sandbox.clone()).with_parallelism(at_once(1));
    let submission = Submission::new("c", "echo").with_tests(numbered(3));
    evaluator.evaluate(submission.clone()).await.unwrap();

    sandbox.fail_run(Error::new(ErrorKind::Unavailable, "the slot broke"));
    let evaluation = evaluator.evaluate(submission.clone()).await.unwrap();
    assert_eq!(verdicts(&evaluation), ["internal_error", "accepted", "accepted"]);
    assert_eq!(evaluation.tests[0].message.as_deref(), Some("the slot broke"));
    assert!(evaluation.is_retryable());

    sandbox.fail_open(Error::new(ErrorKind::Busy, "no room"));
    let error = evaluator.evaluate(Submission::new("c", "new")).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(evaluator.evaluate(Submission::new("c", "new")).await.unwrap().verdict, Verdict::Accepted);
    assert_eq!(sandbox.open_sessions(), 0);
}

#[tokio::test]
async fn what_can_not_be_evaluated_is_an_error_of_the_request() {
    let evaluator = Evaluator::new(FakeSandbox::new(compiler));
    let limits = Limits::default().with_cpu_time(Duration::ZERO);
    for submission in [
        Submission::new("klingon", ""),
        Submission::new("c", "echo").with_limits(limits),
        Submission::from_code(SourceCode::from_files("c", [])),
        Submission::new("c", "echo").with_checker(Checker::Program(SourceCode::new("c", "error"))),
    ] {
        let error = evaluator.evaluate(submission).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[tokio::test]
async fn an_absent_compiler_is_named_with_its_mend() {
    let evaluator = Evaluator::new(FakeSandbox::new(|_| FakeRun::absent()));
    let error = evaluator.evaluate(Submission::new("haskell", "")).await.unwrap_err();
    assert!(error.to_string().contains("Haskell"), "{error}");
    assert_eq!(error.help(), Some("apt-get install ghc"));
}

#[tokio::test]
async fn outcomes_are_verdicts() {
    let cases = [
        (Outcome::Exited(3), "", "runtime_error"),
        (Outcome::Signaled(Signal::SEGV), "", "runtime_error"),
        (Outcome::ProcessLimit, "", "runtime_error"),
        (Outcome::DiskLimit, "", "runtime_error"),
        (Outcome::ForbiddenSyscall("ptrace".to_owned()), "", "runtime_error"),
        (Outcome::CpuTimeLimit, "", "time_limit_exceeded"),
        (Outcome::WallTimeLimit, "", "time_limit_exceeded"),
        (Outcome::MemoryLimit, "", "memory_limit_exceeded"),
        (Outcome::OutputLimit, "", "output_limit_exceeded"),
        (Outcome::Exited(1), "Traceback …\nMemoryError\n", "memory_limit_exceeded"),
        (Outcome::Exited(0), "MemoryError", "accepted"),
    ];
    for (outcome, stderr, expected) in cases {
        let run = outcome.clone();
        let sandbox = FakeSandbox::new(move |_| FakeRun::new(run.clone()).with_stderr(stderr));
        let evaluation = Evaluator::new(sandbox).evaluate(Submission::new("python", "")).await.unwrap();
        assert_eq!(evaluation.verdict.as_str(), expected, "{outcome}");
        assert_eq!(evaluation.tests[0].message.is_none(), expected == "accepted");
    }
}

#[derive(Debug, Default)]
struct Recorded(Arc<Mutex<Vec<String>>>);

impl HintProvider for Recorded {
    fn hints(&self, request: &HintRequest<'_>) -> Vec<Hint> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let phase = if request.phase == Phase::Compile { "compile" } else { "run" };
        self.0.lock().unwrap().push(format!(
            "{} {phase} {:?} {:?} {} {}: {}",
            request.language,
            request.exit_code(),
            request.signal(),
            text(request.stderr).trim(),
            request.source_file,
            text(request.source)
        ));
        vec![Hint::new("a-rule", "a-category", "A title")]
    }
}

#[tokio::test]
async fn failures_are_explained() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let evaluator = Evaluator::new(FakeSandbox::new(compiler)).with_hints(Recorded(Arc::clone(&asked)));
    for source in ["error", "crash", "echo"] {
        let evaluation = evaluator.evaluate(Submission::new("c", source)).await.unwrap();
        assert_eq!(evaluation.hints.len(), usize::from(source != "echo"));
    }
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "c compile Some(1) None main.c:1:1: error: nonsense main.c: error",
            "c run None Some(Signal(11))  main.c: crash"
        ]
    );
}

#[tokio::test]
async fn comparisons_judge_small_and_large_outputs() {
    let evaluator = Evaluator::new(FakeSandbox::new(compiler));
    let judge = async |comparison, input: String, expected: String| {
        let submission = Submission::new("c", "echo")
            .with_checker(Checker::Compare(comparison))
            .with_test(Test::new("", input).with_expected(expected));
        evaluator.evaluate(submission).await.unwrap().verdict
    };
    assert_eq!(judge(Comparison::Exact, "a\n".into(), "a".into()).await, Verdict::WrongAnswer);
    assert_eq!(judge(Comparison::Lines, "a\n".into(), "a".into()).await, Verdict::Accepted);
    let (large, other) = ("x \n".repeat(1 << 20), "x\n".repeat(1 << 20));
    assert_eq!(judge(Comparison::Lines, large.clone(), other.clone()).await, Verdict::Accepted);
    assert_eq!(judge(Comparison::Exact, large, other).await, Verdict::WrongAnswer);
}

/// A checker by testlib's protocol beside the submission's program.
fn with_checker(step: &FakeStep) -> FakeRun {
    if is_compile(step) || step.file("main").as_deref() != Some("checker") {
        return compiler(step);
    }
    assert_eq!(step.arguments, ["input.txt", "output.txt", "answer.txt"]);
    let [input, output, answer] =
        ["input.txt", "output.txt", "answer.txt"].map(|name| step.file(name).unwrap());
    assert_eq!(input, output, "the program echoes");
    match answer.as_str() {
        "fail" => FakeRun::exited(3).with_stderr("FAIL the answer is bad"),
        "points" => FakeRun::exited(7).with_stderr("points 0.25 meh"),
        answer if answer == output => FakeRun::exited(0).with_stderr("ok fine"),
        _ => FakeRun::exited(1).with_stderr("wrong answer: no"),
    }
}

#[tokio::test]
async fn a_checker_program_judges() {
    let sandbox = FakeSandbox::new(with_checker);
    let evaluator = Evaluator::new(sandbox.clone());
    let tests = ["7", "8", "fail", "points"].map(|answer| Test::new(answer, "7").with_expected(answer));
    let submission = Submission::new("c", "echo")
        .with_tests(tests)
        .with_checker(Checker::Program(SourceCode::new("c", "checker")));
    let evaluation = evaluator.evaluate(submission.clone()).await.unwrap();
    assert_eq!(verdicts(&evaluation), ["accepted", "wrong_answer", "internal_error", "accepted"]);
    let messages: Vec<_> = evaluation.tests.iter().map(|test| test.message.as_deref().unwrap()).collect();
    assert_eq!(messages[..2], ["ok fine", "wrong answer: no"]);
    assert!(messages[2].contains("FAIL the answer is bad"));
    assert_eq!(evaluation.tests[3].score, Some(0.25));
    assert_eq!(evaluation.tests[0].stdout, "7", "the program's output, not the checker's");

    // A program that failed is not checked.
    let mut crash = submission;
    crash.code = SourceCode::new("c", "crash");
    let before = sandbox.steps();
    assert_eq!(evaluator.evaluate(crash).await.unwrap().verdict, Verdict::RuntimeError);
    assert_eq!(sandbox.steps() - before, 1 + 4);
}

#[tokio::test]
async fn kept_output_is_bounded_but_all_of_it_is_judged() {
    let evaluator = Evaluator::new(FakeSandbox::new(compiler))
        .with_kept_output(ByteSize::bytes(10))
        .with_parallelism(at_once(1));
    let tests = (0..3).map(|n| Test::new(n.to_string(), "sixsix").with_expected("sixsix"));
    let evaluation = evaluator.evaluate(Submission::new("c", "echo").with_tests(tests)).await.unwrap();
    assert_eq!(evaluation.verdict, Verdict::Accepted);
    let kept: Vec<_> = evaluation
        .tests
        .iter()
        .map(|test| (test.stdout.len(), test.report.as_ref().unwrap().stdout.truncated))
        .collect();
    assert_eq!(kept, [(6, false), (4, true), (0, true)]);
}

#[tokio::test]
async fn argvs_are_expanded_and_never_by_a_shell() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sandbox = FakeSandbox::new({
        let lines = Arc::clone(&lines);
        move |step| {
            lines.lock().unwrap().push(step.command_line());
            FakeRun::exited(0).with_file("main", "elf").with_file("classes/Sum.class", "class")
        }
    });
    let evaluator = Evaluator::new(sandbox);
    let submission = |language, source: &'static str| {
        Submission::from_code(SourceCode::new(language, source).with_options(["-g; rm -rf /"]))
            .with_arguments(["$(id)"])
            .with_limits(Limits::default().with_memory(ByteSize::mib(100)))
    };
    evaluator.evaluate(submission("assembly", "").with_stderr(StderrMode::IntoStdout)).await.unwrap();
    evaluator
        .evaluate(submission("java", "public class Sum { public static void main(String[] a) {} }"))
        .await
        .unwrap();
    let lines = lines.lock().unwrap();
    assert_eq!(
        lines[..3],
        [
            "nasm -f elf64 -o /tmp/main.o -g; rm -rf / main.asm",
            "ld -o main /tmp/main.o",
            "sh -c exec \"$@\" 2>&1 sh ./main $(id)"
        ]
    );
    assert!(lines[3].ends_with("-d classes -g; rm -rf / Sum.java"), "{}", lines[3]);
    assert!(lines[4].contains("-Xmx100m") && lines[4].ends_with("-cp classes Sum $(id)"), "{}", lines[4]);
}

#[tokio::test]
async fn a_language_adjusts_the_limits() {
    let seen = Arc::new(Mutex::new(None));
    let sandbox = FakeSandbox::new({
        let seen = Arc::clone(&seen);
        move |step| {
            *seen.lock().unwrap() = Some(step.spec.clone());
            FakeRun::exited(0)
        }
    });
    let limits = Limits::default().with_memory(ByteSize::mib(64)).with_processes(1);
    Evaluator::new(sandbox).evaluate(Submission::new("js", "").with_limits(limits)).await.unwrap();
    let spec = seen.lock().unwrap().clone().unwrap();
    assert_eq!((spec.limits.memory, spec.limits.processes), (ByteSize::mib(128), 24));
    assert_eq!(spec.label, "javascript");
}

#[tokio::test]
async fn a_compiler_that_makes_nothing_has_failed() {
    let evaluator = Evaluator::new(FakeSandbox::new(|_| FakeRun::exited(0)));
    let evaluation = evaluator.evaluate(Submission::new("c", "")).await.unwrap();
    assert_eq!(evaluation.verdict, Verdict::CompilationError);
    assert_eq!(
        evaluation.compile.unwrap().failure.as_deref(),
        Some("the compiler succeeded but made no `main`")
    );
}

#[tokio::test]
async fn compiler_and_linker_are_reported_together() {
    let linked = Arc::new(AtomicUsize::new(0));
    let sandbox = FakeSandbox::new({
        let linked = Arc::clone(&linked);
        move |step| {
            linked.fetch_add(usize::from(step.program == "ld"), Ordering::Relaxed);
            let fails = step.file("main.asm").is_some_and(|source| source == "bad");
            let mut run =
                FakeRun::exited(i32::from(fails)).with_file("main", "elf").with_stderr(step.program.clone());
            run.report.cpu_time = Duration::from_secs(1);
            run
        }
    });
    let evaluator = Evaluator::new(sandbox);
    let compile = async |source: &'static str| {
        evaluator.evaluate(Submission::new("nasm", source)).await.unwrap().compile.unwrap()
    };
    let good = compile("good").await;
    assert_eq!((good.report.cpu_time, &good.stderr[..]), (Duration::from_secs(2), &b"nasmld"[..]));
    assert!(!compile("bad").await.is_success());
    assert_eq!(linked.load(Ordering::Relaxed), 1);
}
