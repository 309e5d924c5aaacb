//! What a program is given: its arguments, environment, folder, and whether it is found.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use evalx_core::{Collect, DynSandbox, ErrorKind, FileContents, Outcome, Step};

use crate::Probes;
use crate::rig::{close, open, path, probe, refused, run, run_with, try_run};

async fn arrive(sandbox: &DynSandbox, probes: &Probes, arguments: Vec<OsString>) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let expected: Vec<u8> =
        arguments.iter().flat_map(|argument| [argument.clone().into_vec(), vec![0]]).flatten().collect();
    let step = probe(["arguments"]).with_arguments(arguments);
    let ran = run_with(session.as_mut(), step, Bytes::new()).await;
    assert!(ran.well().stdout[..] == expected[..], "{}", ran.story());
    close(session).await;
}

/// Arguments that are empty, or have spaces, quotes, newlines or a dash, arrive as they are.
pub async fn odd_arguments(sandbox: &DynSandbox, probes: &Probes) {
    let odd =
        ["", " ", "a b", "\"", "'", "\\", "\n", "a\nb", "$HOME", "*", "-", "--", "--help", "=", ";", ""];
    arrive(sandbox, probes, odd.iter().map(OsString::from).collect()).await;
}

/// Arguments that are not UTF-8 arrive as they are.
pub async fn binary_arguments(sandbox: &DynSandbox, probes: &Probes) {
    let all = OsString::from_vec((1..=255).collect());
    arrive(sandbox, probes, vec![all, OsString::from_vec(vec![0xff, 0xfe]), OsString::from_vec(vec![0x80])])
        .await;
}

/// Three thousand arguments arrive.
pub async fn many_arguments(sandbox: &DynSandbox, probes: &Probes) {
    arrive(sandbox, probes, (0..3000).map(|i: i32| OsString::from(i.to_string())).collect()).await;
}

/// An argument of 100 KiB arrives.
pub async fn long_argument(sandbox: &DynSandbox, probes: &Probes) {
    arrive(sandbox, probes, vec![OsString::from("x".repeat(100 * 1024))]).await;
}

async fn variables(
    sandbox: &DynSandbox,
    probes: &Probes,
    given: &[(OsString, OsString)],
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let step =
        given.iter().fold(probe(["environment"]), |step, (name, value)| step.with_variable(name, value));
    let ran = run_with(session.as_mut(), step, Bytes::new()).await;
    close(session).await;
    let mut found = BTreeMap::new();
    for line in ran.well().stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b'=').expect("a variable has a `=`");
        let doubled = found.insert(line[..at].to_vec(), line[at + 1..].to_vec());
        assert!(doubled.is_none(), "a variable is there twice: {}", ran.story());
    }
    found
}

/// Variables that are empty, binary, or hold `=` and newlines arrive as they are.
pub async fn odd_variables(sandbox: &DynSandbox, probes: &Probes) {
    let given = [
        (OsString::from("EMPTY"), OsString::new()),
        (OsString::from("EQUALS"), OsString::from("a=b=c")),
        (OsString::from("LINES"), OsString::from("one\ntwo\n")),
        (OsString::from("lower case"), OsString::from("x")),
        (OsString::from("BYTES"), OsString::from_vec((1..=255).collect())),
    ];
    let found = variables(sandbox, probes, &given).await;
    for (name, value) in given {
        assert_eq!(found.get(&name.clone().into_vec()), Some(&value.into_vec()), "{name:?}");
    }
}

/// Nothing is in the environment but `PATH`, `HOME` and `LC_ALL`.
pub async fn environment_of_its_own(sandbox: &DynSandbox, probes: &Probes) {
    let found = variables(sandbox, probes, &[]).await;
    for (name, value) in found {
        let (name, value) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
        assert!(matches!(&*name, "PATH" | "HOME" | "LC_ALL"), "{name}={value} is in the environment");
    }
}

/// The defaults of the environment can be replaced.
pub async fn defaults_are_replaced(sandbox: &DynSandbox, probes: &Probes) {
    let home = (OsString::from("HOME"), OsString::from("/nowhere"));
    let found = variables(sandbox, probes, &[home]).await;
    assert_eq!(found.get(&b"HOME"[..]), Some(&b"/nowhere".to_vec()));
}

/// A program starts in `/box`, the work folder.
pub async fn starts_in_the_work_folder(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    assert_eq!(run(session.as_mut(), &["folder"]).await.well().text(), "/box");
    close(session).await;
}

/// A bare name is looked up in the session's `PATH`.
pub async fn bare_name_in_path(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let contents = FileContents::executable(probes.program());
    session.write_file(&path("bin/evalx-hello"), contents).await.expect("the file is placed");
    let step = || Step::new("evalx-hello").with_argument("hello").with_variable("PATH", "/nowhere:/box/bin");
    assert_eq!(run_with(session.as_mut(), step(), Bytes::new()).await.well().text(), "hello\n");
    // Not in the default PATH, nor in the work folder itself.
    let bare = Step::new("probe").with_argument("hello");
    refused(try_run(session.as_mut(), bare, Collect::default()).await, ErrorKind::InvalidRequest, "`probe`");
    close(session).await;
}

/// The default `PATH` finds the shell.
pub async fn default_path_finds_the_shell(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let step = Step::new("sh").with_arguments(["-c", "exit 9"]);
    run_with(session.as_mut(), step, Bytes::new()).await.ended(&Outcome::Exited(9));
    close(session).await;
}

/// A path with a slash is taken from the work folder, and an absolute one as it is.
pub async fn path_of_a_program(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let contents = FileContents::executable(probes.program());
    session.write_file(&path("deep/down/program"), contents).await.expect("the file is placed");
    for name in ["deep/down/program", "./deep/../deep/down/program", "/box/deep/down/program"] {
        let step = Step::new(name).with_argument("hello");
        run_with(session.as_mut(), step, Bytes::new()).await.well();
    }
    close(session).await;
}

/// What can't be executed is a wrong request, says so, and leaves the session as it was.
pub async fn what_cannot_be_executed(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let place = [
        ("data", FileContents::data("#!/bin/sh\n")),
        ("garbage", FileContents::executable("neither a script nor a program")),
        ("lost-script", FileContents::executable("#!/nowhere/interpreter\n")),
        ("empty", FileContents::executable("")),
        ("folder/file", FileContents::data("")),
    ];
    for (name, contents) in place {
        session.write_file(&path(name), contents).await.expect("the file is placed");
    }
    for name in ["no-such-program", "./no-such-program", "./data", "./garbage", "./lost-script", "./folder"] {
        let result = try_run(session.as_mut(), Step::new(name), Collect::default()).await;
        refused(result, ErrorKind::InvalidRequest, name);
        run(session.as_mut(), &["hello"]).await.well();
    }
    close(session).await;
}

/// A script with an interpreter line runs by it.
pub async fn script_with_an_interpreter(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let script = FileContents::executable("#!/box/probe say\n");
    session.write_file(&path("script"), script).await.expect("the file is placed");
    let ran = run_with(session.as_mut(), Step::new("./script"), Bytes::new()).await;
    assert_eq!(ran.well().text(), "./script", "{}", ran.story());
    close(session).await;
}
