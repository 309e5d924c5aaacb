//! Programs that talk to each other over pipes.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use evalx_core::{
    ErrorKind, Evaluator, Limited, Limits, Outcome, Program, SandboxExt, SessionSpec, Side, Signal,
    SourceCode, Stdio, Step, Submission, TerminalSize, Test, Verdict,
};
use evalx_testkit::{FakeRun, FakeSandbox, FakeStep};
use tokio::sync::Semaphore;

/// Does what the main source file says, line by line of its pipe.
fn talker(mut step: FakeStep) -> FakeRun {
    let role = step.file("main.py").unwrap_or_else(|| step.program.clone());
    let answer = step.file("answer.txt");
    let (stdin, mut stdout) = step.joined.take().expect("both sides are joined");
    let mut lines = BufReader::new(stdin).lines().map_while(Result::ok);
    match role.as_str() {
        // Says a number and is told whether it is right.
        "guess" => {
            let _ = writeln!(stdout, "7");
            let said = lines.next().unwrap_or_default();
            FakeRun::exited(0).with_stderr(format!("heard {said}"))
        }
        // Reads the answer's end after it has given a wrong guess.
        "trip" => {
            let _ = writeln!(stdout, "8");
            lines.next();
            FakeRun::exited(1).with_stderr("EOFError")
        }
        "quit" => FakeRun::exited(0),
        "talk on" => {
            let _ = writeln!(stdout, "7");
            lines.next();
            drop(lines);
            FakeRun::new(Outcome::Signaled(Signal::PIPE))
        }
        "crash" => FakeRun::new(Outcome::Signaled(Signal::SEGV)),
        "wait for ever" => {
            // A true sandbox would kill it after a while, and so end its pipes.
            FakeRun::new(Outcome::WallTimeLimit)
        }
        "interactor" => {
            assert_eq!(step.arguments[1..], ["input.txt", "output.txt", "answer.txt"]);
            assert!(step.file("input.txt").is_some());
            match lines.next() {
                None if answer.as_deref() == Some("write anyway") => {
                    FakeRun::new(Outcome::Signaled(Signal::PIPE))
                }
                None => FakeRun::exited(8).with_stderr("unexpected end"),
                Some(guess) if Some(&guess) == answer.as_ref() => {
                    let _ = writeln!(stdout, "yes");
                    // Waits for the other to end, as it would for more guesses.
                    lines.for_each(drop);
                    FakeRun::exited(0).with_stderr("ok guessed")
                }
                Some(_) => FakeRun::exited(1).with_stderr("wrong guess"),
            }
        }
        other => panic!("no role {other}"),
    }
}

fn sandbox() -> FakeSandbox {
    FakeSandbox::with_script(|step| async { talker(step) })
}

fn program(role: &str) -> Program {
    Program::new(SessionSpec::new(Limits::default()), Step::new(role))
}

async fn judge(role: &'static str, answer: &'static str) -> (Verdict, Option<String>) {
    let submission = Submission::new("python", role)
        .with_test(Test::new("1", "").with_expected(answer))
        .with_interactor(SourceCode::new("python", "interactor"));
    let mut evaluation = Evaluator::new(sandbox()).evaluate(submission).await.unwrap();
    (evaluation.verdict, evaluation.tests.remove(0).message)
}

#[tokio::test]
async fn an_interactor_judges() {
    assert_eq!(judge("guess", "7").await, (Verdict::Accepted, Some("ok guessed".to_owned())));
    assert_eq!(judge("guess", "8").await, (Verdict::WrongAnswer, Some("wrong guess".to_owned())));
}

#[tokio::test]
async fn the_cause_is_told_from_what_follows_of_it() {
    assert_eq!(judge("crash", "7").await.0, Verdict::RuntimeError, "the interactor only missed a guess");
    assert_eq!(judge("trip", "7").await.0, Verdict::WrongAnswer, "the program only missed a reply");
    assert_eq!(judge("wait for ever", "7").await.0, Verdict::TimeLimitExceeded);
    assert_eq!(judge("talk on", "7").await.0, Verdict::Accepted);
    assert_eq!(judge("quit", "write anyway").await.0, Verdict::WrongAnswer);
}

#[tokio::test]
async fn connected_programs_hear_each_other_and_are_both_reported() {
    let sandbox = FakeSandbox::with_script(|mut step| async move {
        let (stdin, mut stdout) = step.joined.take().unwrap();
        if step.program == "asks" {
            writeln!(stdout, "ping").unwrap();
        }
        let heard = BufReader::new(stdin).lines().next().unwrap().unwrap();
        if step.program == "answers" {
            writeln!(stdout, "pong").unwrap();
        }
        FakeRun::exited(0).with_stderr(heard)
    });
    let connection = sandbox.connect(program("asks"), program("answers")).await.unwrap();
    assert_eq!(connection.first.stderr, "pong");
    assert_eq!(connection.second.stderr, "ping");
    assert_eq!((sandbox.opened_sessions(), sandbox.open_sessions()), (2, 0));
}

#[tokio::test]
async fn who_ended_first_is_told() {
    let gates = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let sandbox = FakeSandbox::with_script({
        let gates = gates.clone();
        move |step| {
            let gate = Arc::clone(&gates[usize::from(step.program == "later")]);
            async move {
                gate.acquire().await.unwrap().forget();
                FakeRun::exited(0)
            }
        }
    });
    for (first, second, expected) in [("sooner", "later", Side::First), ("later", "sooner", Side::Second)] {
        let (first, second) = (program(first), program(second));
        let connection = tokio::spawn({
            let sandbox = sandbox.clone();
            async move { sandbox.connect(first, second).await.unwrap() }
        });
        for (gate, running) in gates.iter().zip([2, 1]) {
            sandbox.wait_for_running_steps(running).await;
            gate.add_permits(1);
        }
        assert_eq!(connection.await.unwrap().ended_first, expected);
    }
}

#[tokio::test]
async fn a_side_that_can_not_open_closes_the_other() {
    let sandbox = sandbox();
    let mut wrong = program("guess");
    wrong.spec.limits.processes = 0;
    let error = sandbox.connect(program("guess"), wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!((sandbox.open_sessions(), sandbox.steps()), (0, 0));

    let mut terminal = program("guess");
    terminal.step.stdio = Stdio::Terminal(TerminalSize { rows: 1, columns: 1 });
    assert_eq!(
        sandbox.connect(terminal, program("guess")).await.unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
}

#[tokio::test]
async fn a_pair_has_one_permit_so_that_pairs_can_not_block_each_other() {
    let fake = sandbox();
    let sandbox = Limited::new(fake.clone(), NonZeroUsize::MIN);
    let pair = || sandbox.connect(program("guess"), program("guess"));
    let (one, two, three) = tokio::join!(pair(), pair(), pair());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(fake.most_running_steps(), 2);
}
