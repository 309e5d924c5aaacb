//! How the harness reports: the program starts itself again, once for each
//! scene, and looks at what that run printed and how it ended.
#![expect(clippy::unwrap_used, reason = "all of this program is a test")]

#[path = "weak/sandbox.rs"]
#[expect(dead_code, reason = "the other test of this module uses all of it")]
mod sandbox;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use evalx_core::{DynSandbox, Error, ErrorKind};
use evalx_testkit::{Case, Need, Suite};
use libtest_mimic::{Arguments, Trial};

use sandbox::WeakSandbox;

/// Names the scene in a run that this program started.
const SCENE: &str = "EVALX_TEST_SCENE";

fn main() -> ExitCode {
    match std::env::var(SCENE) {
        Ok(scene) => play(&scene),
        Err(_) => judge(),
    }
}

/// One run of the harness, on a sandbox that suits the scene.
fn play(scene: &str) -> ExitCode {
    let works = Case::new("works", |_, _| Box::pin(async {}));
    let cases = match scene {
        "panic" => vec![works, Case::new("panics", |_, _| Box::pin(async { panic!("this is why") }))],
        "hang" => vec![works, Case::new("hangs", |_, _| Box::pin(std::future::pending()))],
        "lack" => vec![works, Case::new("needs", |_, _| Box::pin(async {})).needing(Need::Terminal)],
        _ => vec![works.clone(), works.owning().within("own")],
    };
    let absent = scene == "absent";
    let suite = Suite::new("weak", cases, move || async move {
        if absent {
            return Err(Error::new(ErrorKind::Unavailable, "there is no such daemon"));
        }
        Ok(Arc::new(WeakSandbox::new()) as DynSandbox)
    })
    .with_case_time(Duration::from_millis(300));
    match scene {
        "leak" => suite.with_leak_check(|| Err("a cgroup".to_owned())).main(),
        _ => suite.main(),
    }
}

/// What a scene must print, and whether it must end well.
fn judge() -> ExitCode {
    let scene = |name: &'static str, required: &'static str, well: bool, printed: &'static [&'static str]| {
        let title = if required.is_empty() { name.to_owned() } else { format!("{name}_required") };
        Trial::test(title, move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(SCENE, name).env("EVALX_REQUIRE", required).env_remove("EVALX_TIME_SCALE");
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let right = output.status.success() == well && printed.iter().all(|part| text.contains(part));
            if right { Ok(()) } else { Err(format!("{:?}: {text}", output.status).into()) }
        })
    };
    let scenes = vec![
        scene("plain", "", true, &["2 passed", "own::works"]),
        scene("panic", "", false, &["1 passed; 1 failed", "this is why"]),
        scene("hang", "", false, &["1 passed; 1 failed", "hangs hung: it was not done in 300ms"]),
        scene("absent", "", true, &["2 ignored", "there is no such daemon"]),
        scene("absent", "docker,weak", false, &["2 failed", "there is no such daemon"]),
        scene("lack", "", true, &["1 passed; 0 failed; 1 ignored", "weak has no terminal"]),
        scene("lack", "weak", false, &["1 passed; 1 failed", "weak has no terminal"]),
        scene("leak", "", false, &["2 passed", "left something behind: a cgroup"]),
    ];
    libtest_mimic::run(&Arguments::from_args(), scenes).exit_code()
}
