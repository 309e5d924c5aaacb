//! The lists of system calls that the native backend and the agent of containers
//! deny are the same, but for the differences named here.
//!
//! The two crates share no code, so each has its list; a call that is added to
//! one is easily forgotten in the other.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const AGENT: &str = "evalx-agent/src/filter.rs";
const LISTS: &str = "evalx-sandbox-native/src/seccomp/lists.rs";
const SECCOMP: &str = "evalx-sandbox-native/src/seccomp.rs";

/// In the agent's list of absent calls alone: `last` of the native filter adds
/// it in each program, since the native cell starts programs by it.
const AGENT_ALONE: &[&str] = &["clone3"];

/// In the native list of absent calls alone: calls that no kernel has any more.
/// A container's profile refuses whatever it does not name, and names none of them.
const NATIVE_ALONE: &[&str] =
    &["_sysctl", "afs_syscall", "getpmsg", "putpmsg", "security", "tuxcall", "vserver"];

/// The text between `from` and the next `to` of a source file.
fn part(file: &str, from: &str, to: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).expect("a source file is UTF-8");
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{file} has no `{from}`"));
    rest.split_once(to).unwrap_or_else(|| panic!("{file} has no `{to}` behind `{from}`")).0.to_owned()
}

/// What follows each `libc::SYS_`, up to what ends it.
fn calls(text: &str, end: char) -> BTreeSet<String> {
    let found: BTreeSet<String> = text
        .split("libc::SYS_")
        .skip(1)
        .map(|rest| rest.split(end).next().unwrap_or_default().to_owned())
        .collect();
    assert!(!found.is_empty(), "no call was found in: {text}");
    found
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn beyond(one: &BTreeSet<String>, other: &BTreeSet<String>) -> BTreeSet<String> {
    one.difference(other).cloned().collect()
}

#[test]
fn the_same_calls_are_forbidden() {
    let agent = calls(&part(AGENT, "const FORBIDDEN:", "];"), ',');
    let native = calls(&part(LISTS, "const EPERM_CALLS:", "];"), ',');
    assert!(agent.contains("mount") && agent.contains("bpf"), "{agent:?}");
    assert_eq!(beyond(&agent, &native), set(&[]), "forbidden by the agent alone");
    assert_eq!(beyond(&native, &agent), set(&[]), "forbidden by the native backend alone");
}

#[test]
fn the_same_calls_are_absent() {
    let agent = calls(&part(AGENT, "const ABSENT:", "];"), ',');
    let native = calls(&part(LISTS, "const ENOSYS_CALLS:", "];"), ',');
    assert_eq!(beyond(&agent, &native), set(AGENT_ALONE), "absent in containers alone");
    assert_eq!(beyond(&native, &agent), set(NATIVE_ALONE), "absent in the native backend alone");
    // What stands in for each difference is there.
    assert!(part(SECCOMP, "fn last(", "\n}\n").contains("SYS_clone3"));
    let profile = part("evalx-sandbox-docker/src/seccomp.rs", "const ALLOWED:", "\";");
    for call in NATIVE_ALONE {
        assert!(!profile.split_whitespace().any(|name| name == *call), "containers are allowed {call}");
    }
}

#[test]
fn the_same_calls_keep_nothing() {
    let agent = calls(&part(AGENT, "const UNKEPT:", "];"), ',');
    let native = calls(&part(LISTS, "const ENOTSUP_CALLS:", "];"), ',');
    assert!(agent.contains("setxattr"), "{agent:?}");
    assert_eq!(agent, native);
}

/// Each as `CALL, NUMBER OF THE ARGUMENT`.
#[test]
fn the_same_calls_spare_pid_one() {
    let agent = calls(&part(AGENT, "const ON_PROCESSES:", "];"), ')');
    let native = calls(&part(SECCOMP, "fn spare_pid_one(", "] {"), ')');
    assert_eq!(agent, native);
}
