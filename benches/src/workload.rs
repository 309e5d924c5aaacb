//! [`Workload`]: what contenders run.

use std::path::{Path, PathBuf};
use std::process::Command;

use evalx_core::Artifact;
use tempfile::TempDir;

const HELLO_C: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";
/// As a learner writes it: the header that has everything.
pub const HELLO_CPP: &str =
    "#include <bits/stdc++.h>\nint main() { int n; std::cin >> n; std::cout << n + 1 << '\\n'; }\n";

/// A program, its arguments and what it prints.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called in results.
    pub name: &'static str,
    /// The program's file, to be placed as `./program`; none for one of the system.
    pub program: Option<(PathBuf, Artifact)>,
    /// The command line; the first is `./program` or a name for `PATH`.
    pub command: Vec<&'static str>,
    /// What it prints.
    pub output: &'static str,
}

/// The programs that benchmarks run, compiled once.
#[derive(Debug)]
pub struct Programs {
    folder: TempDir,
}

impl Programs {
    /// Compiles them.
    ///
    /// # Panics
    ///
    /// Without a C compiler.
    #[must_use]
    pub fn make() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        std::fs::write(folder.path().join("hello.c"), HELLO_C).expect("the folder can be written");
        let status = Command::new("cc")
            .current_dir(folder.path())
            .args(["-O2", "-static", "-s", "-o", "program", "hello.c"])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "hello.c could not be compiled: install gcc");
        // Containers read it as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("the folder is ours");
        Self { folder }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A static C program that says hello.
    ///
    /// # Panics
    ///
    /// If somebody has removed it meanwhile.
    #[must_use]
    pub fn hello_c(&self) -> Workload {
        let path = self.folder.path().join("program");
        let contents = std::fs::read(&path).expect("it was compiled");
        Workload {
            name: "hello C",
            program: Some((path, Artifact::executable(contents))),
            command: vec!["./program"],
            output: "hello\n",
        }
    }

    /// Python, which starts slowly by itself.
    #[must_use]
    pub fn hello_python(&self) -> Workload {
        Workload {
            name: "hello Python",
            program: None,
            // Not what a manager of versions puts before it in a home folder.
            command: vec!["/usr/bin/python3", "-c", "print('hello')"],
            output: "hello\n",
        }
    }
}
