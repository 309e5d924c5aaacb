//! What there is of ours at the engine, asked of its own command.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the `docker` command prints, or its complaint.
pub(crate) fn docker(arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new("docker").args(arguments).output().map_err(|error| format!("docker: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The names of the containers of this process and of dead ones, in whatever
/// state; those of other programs that live are theirs.
pub(crate) fn owned() -> BTreeSet<String> {
    let format = r#"{{.Names}} {{.Label "evalx.owner"}}"#;
    let list = docker(&["ps", "--all", "--filter", "label=evalx.owner", "--format", format]);
    let list = list.expect("containers are listed");
    let ours = |line: &&str| {
        let pid = line.rsplit('/').nth(1).unwrap_or_default();
        pid == std::process::id().to_string() || !Path::new("/proc").join(pid).exists()
    };
    let names = list.lines().filter(ours).filter_map(|line| line.split(' ').next());
    // Some engines go on listing what was removed twice at a time, without a name.
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What the engine knows of a container.
pub(crate) fn inspect(name: &str) -> serde_json::Value {
    let text = docker(&["inspect", "--format", "{{json .}}", name]).expect("it is inspected");
    serde_json::from_str(&text).expect("the engine speaks JSON")
}

/// Kills a container; one that is gone is dead.
pub(crate) fn kill(name: &str) {
    let _ = docker(&["kill", name]);
}

/// Makes a container that is never started, of an owner that is dead.
pub(crate) fn create_orphan(name: &str, image: &str) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there is a boot");
    let namespace = std::fs::read_link("/proc/self/ns/pid").expect("there is a namespace");
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let label = format!("evalx.owner={}/{namespace}/{}/1", boot.trim(), u32::MAX);
    docker(&["create", "--name", name, "--label", &label, image, "true"]).expect("it is created");
}

/// Waits until `state` holds, for at most `most`; whether it did.
pub(crate) fn poll(most: Duration, state: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + most;
    while !state() {
        if Instant::now() >= deadline {
            return false;
        }
        // Other tasks go on meanwhile: the runtime has more threads than one.
        std::thread::park_timeout(Duration::from_millis(20));
    }
    true
}
