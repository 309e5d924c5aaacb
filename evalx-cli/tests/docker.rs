//! The command over containers, as in a fresh clone: nothing was built for it but
//! itself, and there is an image.
//!
//! Where no engine answers, every test here is ignored, with its reason; with
//! `EVALX_REQUIRE=docker` it fails in place of that.

use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

const BASE: &str = "evalx/base";
const EMPTY: &str = "evalx/scratch";

/// Runs a program in a container of this image, by an agent that is the command
/// itself, however it is linked; its stdout.
fn exec(image: &str, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_evalx"))
        .args(["exec", "--backend", "docker", "--json"])
        .args(arguments)
        .env_remove("EVALX_AGENT")
        // No other `evalx` is found here, but the one that was just built.
        .env("PATH", "/usr/bin:/bin")
        .env("EVALX_DOCKER_IMAGE", image)
        .stdin(Stdio::null())
        .output()
        .expect("evalx can be started");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document on stdout");
    document["stdout"].as_str().unwrap_or_else(|| panic!("there is no stdout: {document}")).to_owned()
}

fn a_program_of_the_image() {
    assert_eq!(exec(BASE, &["--", "echo", "hello"]), "hello\n");
    // Nothing of the agent is to be found, nor of what loads it.
    assert_eq!(exec(BASE, &["--", "sh", "-c", "ls -A /.evalx; ls -A /.evalx/lib 2>/dev/null; true"]), "");
}

fn an_image_without_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("hello.c"), folder.path().join("hello"));
    std::fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n")
        .expect("it is written");
    let compiled = Command::new("cc").args(["-static", "-o"]).arg(&program).arg(&source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "it does not compile");
    let program = program.to_str().expect("UTF-8");
    assert_eq!(exec(EMPTY, &["--file", program, "--", "./hello"]), "hello\n");
}

/// Why containers of these images can't be had here, if they can't.
fn unfit() -> Option<String> {
    let absent = |image: &&str| {
        let known = Command::new("docker").args(["image", "inspect", image]).output();
        known.map_or(true, |output| !output.status.success())
    };
    let absent = [BASE, EMPTY].into_iter().find(absent)?;
    Some(format!("no engine answers, or it has no image {absent}: examples/images/make.sh base scratch"))
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let unfit = if arguments.list { None } else { unfit() };
    let required = evalx_testkit::required("docker");
    let trial = |name: &str, test: fn()| {
        let unfit = unfit.clone();
        Trial::ignorable_test(name, move || match unfit {
            None => {
                test();
                Ok(Completion::Completed)
            }
            Some(why) if required => Err(Failed::from(why)),
            Some(why) => Ok(Completion::ignored_with(why)),
        })
    };
    let trials = vec![
        trial("a_program_of_the_image", a_program_of_the_image),
        trial("an_image_without_a_file", an_image_without_a_file),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
