//! Class 8: compilers as a way out. They run in the sandbox like any program,
//! so nothing they can be talked into reaches further than that.

use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{ByteSize, DynSandbox, FileContents, Isolation, Limits, Step};

use super::attack::bounded;
use crate::rig::{close, open, path, run_with, still_works};
use crate::{Case, Need, Probes, Ran};

/// What is compiled, and how.
struct Compile {
    name: &'static str,
    source: &'static str,
    arguments: &'static [&'static str],
}

const fn compile(name: &'static str, source: &'static str, arguments: &'static [&'static str]) -> Compile {
    Compile { name, source, arguments }
}

const PLAIN: &str = "int main(void) { return 0; }\n";
const BOMB: &str = "#define A x x x x x x x x x x\n#define B A A A A A A A A A A\n#define C B B B B B B B B B B\n\
                    #define D C C C C C C C C C C\n#define E D D D D D D D D D D\n#define F E E E E E E E E E E\n\
                    #define G F F F F F F F F F F\n#define H G G G G G G G G G G\nint main(void) { H H H H }\n";

/// Each must fail to compile, or meet a limit, and give nothing away.
const ATTACKS: &[Compile] = &[
    compile("includes_shadow", "#include \"/etc/shadow\"\n", &["main.c"]),
    compile("includes_shadow_by_option", PLAIN, &["-include", "/etc/shadow", "main.c"]),
    compile("includes_init_environment", "#include \"/proc/1/environ\"\n", &["main.c"]),
    compile("includes_zeros", "#include \"/dev/zero\"\n", &["main.c"]),
    compile("includes_noise", "#include \"/dev/urandom\"\n", &["main.c"]),
    compile("includes_a_fifo_of_its_own", "#include \"/dev/stdin\"\nint f(\n", &["main.c"]),
    compile("includes_itself", "#include __FILE__\n", &["-fmax-include-depth=1000000", "main.c"]),
    compile("assembles_shadow", "__asm__(\".incbin \\\"/etc/shadow\\\"\");\n", &["-c", "main.c"]),
    compile("assembles_zeros", "__asm__(\".incbin \\\"/dev/zero\\\"\");\n", &["-c", "main.c"]),
    compile("compiles_shadow", PLAIN, &["-x", "c", "-E", "/etc/shadow"]),
    compile("arguments_from_shadow", PLAIN, &["@/etc/shadow", "main.c"]),
    compile("specs_from_shadow", PLAIN, &["-specs=/etc/shadow", "main.c"]),
    compile("linker_script_from_shadow", PLAIN, &["-T", "/etc/shadow", "main.c"]),
    compile("macro_bomb", BOMB, &["-E", "main.c"]),
    compile("object_of_gigabytes", "char a[1L << 34] = {1};\nint main(void) { return 0; }\n", &["main.c"]),
    compile(
        "repeated_by_the_assembler",
        "__asm__(\".rept 1000000000\\n.quad 1\\n.endr\");\n",
        &["-c", "main.c"],
    ),
    compile("output_into_etc", PLAIN, &["main.c", "-o", "/etc/evalx-probe"]),
    compile("output_into_usr_bin", PLAIN, &["main.c", "-o", "/usr/bin/evalx-probe"]),
    compile("output_over_the_shell", PLAIN, &["main.c", "-o", "/bin/sh"]),
    compile("plugin_that_is_no_plugin", PLAIN, &["-fplugin=/box/probe", "main.c"]),
    compile("assembler_of_its_own", PLAIN, &["-B", "/box/tools/", "main.c"]),
];

/// Every case of this module.
#[must_use]
pub fn cases() -> Vec<Case> {
    let fails = ATTACKS.iter().map(|attack| {
        Case::new(attack.name, move |sandbox, probes| {
            Box::pin(async move { fails_to_compile(&sandbox, &probes, attack).await })
        })
    });
    let runs_within = ["wrapper_program", "plugin_of_its_own"].into_iter().map(|name| {
        Case::new(name, move |sandbox, probes| {
            Box::pin(async move { runs_contained(&sandbox, &probes, name).await })
        })
        .needing(Need::Isolation(Isolation::Syscalls))
    });
    let common =
        |case: Case| case.needing(Need::Gcc).needing(Need::Isolation(Isolation::Files)).within("compile");
    fails.chain(runs_within).map(common).collect()
}

fn limits(probes: &Probes) -> Limits {
    Limits::for_compiling()
        .with_cpu_time(probes.stretch(Duration::from_secs(2)))
        .with_wall_time(probes.stretch(Duration::from_secs(4)))
        .with_memory(ByteSize::mib(256))
        .with_output(ByteSize::kib(256))
        .with_disk(ByteSize::mib(64))
}

async fn gcc(sandbox: &DynSandbox, probes: &Probes, source: &str, steps: &[&[&str]]) -> Ran {
    let limits = limits(probes);
    let mut session = open(sandbox, probes, limits.clone()).await;
    let files = [
        ("main.c", FileContents::data(source.to_owned())),
        ("tools/as", FileContents::executable("#!/box/probe unreadable /etc/shadow\n")),
    ];
    for (name, contents) in files {
        session.write_file(&path(name), contents).await.expect("the file is placed");
    }
    let mut last = None;
    for arguments in steps {
        let started = Instant::now();
        let step = Step::new("gcc").with_arguments(arguments.iter().copied());
        let ran = run_with(session.as_mut(), step, Bytes::new()).await;
        bounded(probes, &limits, &ran, started.elapsed());
        gives_nothing_away(&ran);
        last = Some(ran);
    }
    close(session).await;
    last.expect("there is a step")
}

/// A line of /etc/shadow has these fields in any distribution.
fn gives_nothing_away(ran: &Ran) {
    for stream in [&ran.stdout, &ran.stderr] {
        let text = String::from_utf8_lossy(stream);
        assert!(!text.contains(":99999:") && !text.contains("root:$"), "a secret is shown: {}", ran.story());
    }
}

async fn fails_to_compile(sandbox: &DynSandbox, probes: &Probes, attack: &Compile) {
    let ran = gcc(sandbox, probes, attack.source, &[attack.arguments]).await;
    assert!(!ran.report.outcome.is_success(), "it compiled: {}", ran.story());
    still_works(sandbox, probes).await;
}

/// Code of the attacker's that the compiler runs has no more rights than any other.
async fn runs_contained(sandbox: &DynSandbox, probes: &Probes, name: &str) {
    const PLUGIN: &str = "#include <unistd.h>\n__attribute__((constructor)) static void start(void)\n\
                          { execl(\"/box/probe\", \"probe\", \"capabilities\", (char *)0); }\n";
    let ran = match name {
        "wrapper_program" => {
            gcc(sandbox, probes, PLAIN, &[&["-wrapper", "/box/probe,capabilities", "-S", "main.c"]]).await
        }
        _ => {
            let build: &[&str] = &["-shared", "-fPIC", "main.c", "-o", "plugin.so"];
            gcc(sandbox, probes, PLUGIN, &[build, &["-fplugin=/box/plugin.so", "-S", "main.c"]]).await
        }
    };
    // `bounded` has seen that the probe found no capability.
    assert!(ran.report.signal().is_none(), "{}", ran.story());
    still_works(sandbox, probes).await;
}
