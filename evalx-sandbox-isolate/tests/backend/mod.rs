//! The sandbox under test, as this machine can have it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use evalx_core::{DynSandbox, Isolation, LimitKind};
use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
use evalx_testkit::{Case, Need, Suite};

const NO_FILTER: &str = "isolate leaves this system call to the kernel";
const FILTER_OF_2: &str = "isolate filters no system calls before 2.4";
const BOUNDING_SET: &str = "isolate drops capabilities by a change of user, and leaves the bounding set";
const UNGROUPED: &str = "the CPU time of a tree is held by control groups alone";
const LOOPBACK: &str = "isolate has a loopback interface up in each box, for which sockets can be made";

/// Cases that no isolate can hold; docs/threat-model.md says what that means.
const BEYOND: [(&str, &str); 24] = [
    ("process::traced_by_init", "isolate takes a program that is stopped for tracing as dead"),
    ("files::capabilities", BOUNDING_SET),
    ("compile::wrapper_program", BOUNDING_SET),
    ("compile::plugin_of_its_own", BOUNDING_SET),
    ("kernel::perf_event_open", NO_FILTER),
    ("kernel::io_setup", NO_FILTER),
    ("output::access_lists", NO_FILTER),
    ("kernel::add_key", NO_FILTER),
    ("kernel::request_key", NO_FILTER),
    ("kernel::userfaultfd", NO_FILTER),
    ("kernel::quotactl", NO_FILTER),
    ("kernel::fanotify_init", NO_FILTER),
    ("kernel::socket_netlink", NO_FILTER),
    ("network::tcp", LOOPBACK),
    ("network::tcp_by_number", LOOPBACK),
    ("network::multipath_tcp", LOOPBACK),
    ("network::udp", LOOPBACK),
    ("network::udp_lite", LOOPBACK),
    ("network::sctp", LOOPBACK),
    ("network::tcp_over_ipv6", LOOPBACK),
    ("network::udp_over_ipv6", LOOPBACK),
    ("network::close_on_exec_and_nonblocking", LOOPBACK),
    ("policy::no_network_by_default", LOOPBACK),
    ("policy::strict_*", "isolate has no strict policy"),
];

/// Cases that isolate 1 can't hold.
const BEYOND_1: [(&str, &str); 7] = [
    ("files::no_new_privileges", "isolate sets no_new_privs together with its filter, which 1.x has not"),
    ("files::set_uid_program", "isolate sets no_new_privs together with its filter, which 1.x has not"),
    ("kernel::io_uring_setup", FILTER_OF_2),
    ("kernel::keyctl*", FILTER_OF_2),
    ("kernel::i386_calls", FILTER_OF_2),
    ("kernel::socket_vsock", FILTER_OF_2),
    ("policy::default_refuses_with_a_code", FILTER_OF_2),
];

/// Cases that isolate 2 can't hold.
const BEYOND_2: [(&str, &str); 1] = [(
    "time::waits_on_its_own_lock",
    "isolate 2 refuses all locks on files, so that there is none to wait for",
)];

/// Cases that isolate can't hold without control groups.
const BEYOND_UNGROUPED: [(&str, &str); 5] = [
    ("process::fork_bomb", UNGROUPED),
    ("process::vfork_bomb", UNGROUPED),
    ("process::thread_bomb", UNGROUPED),
    ("memory::process_count", "threads meet the limit of address space first"),
    ("library::memory_of_the_host_returns", "memory is held for each process alone"),
];

/// `EVALX_ISOLATE` names the program, as for the `evalx` command.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("EVALX_ISOLATE").map_or_else(|| PathBuf::from("isolate"), PathBuf::from)
}

/// A state folder that no other process uses, so that what is left in it is ours.
pub(crate) fn state() -> PathBuf {
    std::env::temp_dir().join(format!("evalx-isolate-suite-{}", std::process::id()))
}

/// For suites: what needs control groups is left out where there are none.
pub(crate) fn config() -> IsolateConfig {
    IsolateConfig::default()
        .with_program(program())
        .with_sessions(16)
        .with_state_folder(state())
        .with_accepted_weak_limit(LimitKind::Memory)
        .with_accepted_weak_limit(LimitKind::CpuTime)
        .with_accepted_weak_isolation(Isolation::Syscalls)
}

/// Whether isolate does this well.
fn does(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    let program = program();
    let is_2 = Command::new(&program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("isolator 2."));
    let grouped = does(&program, &["--box-id=999", "--cg", "--init"]);
    does(&program, &["--box-id=999", "--cg", "--cleanup"]);
    let suite = Suite::new("isolate", cases, || async {
        let sandbox = IsolateSandbox::start(config()).await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    })
    .lacking(Need::Terminal, "isolate gives no program a terminal of its own")
    .attempting(Need::Isolation(Isolation::Syscalls));
    let mut beyond = BEYOND.to_vec();
    beyond.extend_from_slice(if is_2 { &BEYOND_2 } else { &BEYOND_1 });
    if !grouped {
        beyond.extend_from_slice(&BEYOND_UNGROUPED);
    }
    beyond.into_iter().fold(suite, |suite, (name, reason)| suite.without(name, reason)).with_leak_check(
        || {
            let left: Vec<PathBuf> = std::fs::read_dir(state())
                .map_err(|error| error.to_string())?
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_none_or(|extension| extension != "lock"))
                .collect();
            let removed = std::fs::remove_dir_all(state()).map_err(|error| error.to_string());
            if left.is_empty() { removed } else { Err(format!("{left:?}")) }
        },
    )
}
