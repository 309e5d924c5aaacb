//! The invariants of the workspace, held over `cargo metadata` and the sources.
//!
//! `ARCHITECTURE.md` gives the reason of each. A rule that stands in the way of
//! a better shape is changed there and here, in the same commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each member and the members it depends on, outside its own tests: these and no others.
const DEPENDS_ON: &[(&str, &[&str])] = &[
    (
        "evalx",
        &[
            "evalx-core",
            "evalx-hints",
            "evalx-queue",
            "evalx-sandbox-docker",
            "evalx-sandbox-isolate",
            "evalx-sandbox-native",
        ],
    ),
    ("evalx-agent", &[]),
    (
        "evalx-benches",
        &[
            "evalx-core",
            "evalx-hints",
            "evalx-sandbox-docker",
            "evalx-sandbox-isolate",
            "evalx-sandbox-native",
        ],
    ),
    ("evalx-core", &[]),
    ("evalx-hints", &["evalx-core"]),
    // The one crate that backends share, beside their words.
    ("evalx-host", &["evalx-core"]),
    // The queue knows jobs as bytes: no sandbox, and not even the words of one.
    ("evalx-queue", &[]),
    ("evalx-sandbox-docker", &["evalx-agent", "evalx-core"]),
    ("evalx-sandbox-isolate", &["evalx-core", "evalx-host"]),
    ("evalx-sandbox-native", &["evalx-core", "evalx-host"]),
    // What servers and workers share: here the libraries meet.
    ("evalx-service", &["evalx", "evalx-core", "evalx-hints", "evalx-queue", "evalx-webhook"]),
    ("evalx-testkit", &["evalx-core", "evalx-queue"]),
    ("evalx-webhook", &[]),
    (
        "evalx-cli",
        &[
            "evalx",
            "evalx-agent",
            "evalx-core",
            "evalx-hints",
            "evalx-queue",
            "evalx-sandbox-isolate",
            "evalx-sandbox-native",
        ],
    ),
    ("http_server", &["evalx-core", "evalx-queue", "evalx-service", "evalx-webhook"]),
    ("worker", &["evalx-service"]),
];

/// What `evalx-core` must not reach even through others.
const NOT_IN_CORE: &[&str] = &["bollard", "redis", "hyper", "reqwest", "axum", "nix", "rustix", "libc"];

/// The one module that may hold unsafe code: this file, and the folder of its parts.
const UNSAFE_HOME: &str = "evalx-sandbox-native/src/sys";

/// The longest file in a `src` folder, in lines without its unit tests.
const LONGEST_SOURCE: usize = 550;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--all-features", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The packages of the workspace, without what they depend on.
fn members(metadata: &Value) -> Vec<&Value> {
    list(metadata, "packages").iter().filter(|package| package["source"].is_null()).collect()
}

/// The files below `folder` whose names end in one of `endings`, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace can be read") {
            let entry = entry.expect("a folder of the workspace can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().expect("it has a type").is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(entry.path());
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The number and text of each line that is no comment.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a source file is UTF-8");
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default().to_owned()))
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let boundary = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        boundary(line[..at].chars().next_back()) && boundary(line[at + word.len()..].chars().next())
    })
}

/// Fails with everything that is wrong, and not only with the first.
fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn members_depend_on_exactly_what_is_listed() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        let name = text(package, "name");
        let Some((_, allowed)) = DEPENDS_ON.iter().find(|(member, _)| *member == name) else {
            wrong.push(format!("{name}: add it to DEPENDS_ON and to ARCHITECTURE.md"));
            continue;
        };
        let mut unused: BTreeSet<&str> = allowed.iter().copied().collect();
        for dependency in list(package, "dependencies") {
            let to = text(dependency, "name");
            let in_tests_only = text(dependency, "kind") == "dev";
            if to.starts_with("evalx") && !in_tests_only {
                unused.remove(to);
                if !allowed.contains(&to) {
                    wrong.push(format!("{name} -> {to}"));
                }
            }
            let between_backends = name.starts_with("evalx-sandbox-") && to.starts_with("evalx-sandbox-");
            if between_backends && name != to {
                wrong.push(format!("{name} -> {to}: not even in tests"));
            }
        }
        wrong.extend(unused.iter().map(|to| format!("{name} -> {to}: it does not: take it out of the list")));
    }
    none("dependencies other than those listed", &wrong);
}

#[test]
fn core_reaches_no_backend_and_no_protocol() {
    let metadata = metadata();
    let nodes = list(&metadata["resolve"], "nodes");
    let name_of = |id: &str| {
        list(&metadata, "packages").iter().find(|p| text(p, "id") == id).map_or("", |p| text(p, "name"))
    };
    let core = nodes.iter().find(|node| name_of(text(node, "id")) == "evalx-core").expect("core is a member");
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Value> = vec![core];
    while let Some(node) = open.pop() {
        for dependency in list(node, "deps") {
            let id = text(dependency, "pkg");
            let normal = list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            // Others may stand on libc; what core itself writes does not.
            let others_libc = name_of(text(node, "id")) != "evalx-core" && name_of(id) == "libc";
            if normal && !others_libc && reached.insert(name_of(id).to_owned()) {
                open.extend(nodes.iter().filter(|node| text(node, "id") == id));
            }
        }
    }
    let wrong: Vec<_> = reached
        .into_iter()
        .filter(|name| NOT_IN_CORE.contains(&name.as_str()) || name.starts_with("evalx"))
        .collect();
    none("evalx-core depends on", &wrong);
}

#[test]
fn core_starts_no_process() {
    let mut wrong = Vec::new();
    for path in files(&root().join("evalx-core/src"), &[".rs"]) {
        for (number, line) in code(&path) {
            if line.contains("std::process")
                || line.contains("tokio::process")
                || line.contains("Command::new")
            {
                wrong.push(format!("{}:{number}", relative(&path)));
            }
        }
    }
    none("evalx-core must start no process", &wrong);
}

#[test]
fn unsafe_code_has_one_home() {
    let word = concat!("uns", "afe");
    let mut wrong = Vec::new();
    for path in files(&root(), &[".rs"]) {
        let module = relative(&path);
        if module == format!("{UNSAFE_HOME}.rs") || module.starts_with(&format!("{UNSAFE_HOME}/")) {
            continue;
        }
        for (number, line) in code(&path) {
            if has_word(&line, word) {
                wrong.push(format!("{}:{number}", relative(&path)));
            }
        }
    }
    none(&format!("{word} outside {UNSAFE_HOME}"), &wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let wrong: Vec<_> = files(&root(), &[".rs"])
        .iter()
        .filter(|path| !fs::read_to_string(path).expect("UTF-8").starts_with("//!"))
        .map(|path| relative(path))
        .collect();
    none("files that do not begin with `//!`", &wrong);
}

#[test]
fn files_are_named_for_what_they_hold() {
    let wrong: Vec<_> = files(&root(), &["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"])
        .iter()
        .map(|path| relative(path))
        .collect();
    none("files named for nothing", &wrong);
}

#[test]
fn source_files_fit_in_the_head() {
    let mut wrong = Vec::new();
    for path in files(&root(), &[".rs"]) {
        let name = relative(&path);
        let text = fs::read_to_string(&path).expect("a source file is UTF-8");
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if format!("/{name}").contains("/src/") && lines > LONGEST_SOURCE {
            wrong.push(format!("{name}: {lines} lines"));
        }
    }
    none(&format!("source files over {LONGEST_SOURCE} lines"), &wrong);
}

#[test]
fn lints_are_never_silenced_without_a_reason() {
    let bare = [concat!("#[al", "low"), concat!("#![al", "low")];
    let mut wrong = Vec::new();
    for path in files(&root(), &[".rs"]) {
        for (number, line) in code(&path) {
            if bare.iter().any(|bare| line.contains(bare)) {
                wrong.push(format!("{}:{number}: write `#[expect(…, reason = \"…\")]`", relative(&path)));
            }
        }
    }
    none("bare suppressions", &wrong);
}

#[test]
fn manifests_inherit_from_the_workspace() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        let path = PathBuf::from(text(package, "manifest_path"));
        let manifest: toml::Table =
            fs::read_to_string(&path).expect("a manifest is UTF-8").parse().expect("a manifest is TOML");
        let inherits = |value: Option<&toml::Value>| {
            value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
        };
        for key in ["version", "edition", "rust-version", "license", "repository"] {
            if !inherits(manifest["package"].get(key)) {
                wrong.push(format!("{}: {key}", relative(&path)));
            }
        }
        if !inherits(manifest.get("lints")) {
            wrong.push(format!("{}: [lints]", relative(&path)));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                // A cycle that is for tests alone must not name a version, or
                // neither crate could be published first.
                let cycle = section == "dev-dependencies"
                    && value.get("path").is_some()
                    && value.get("version").is_none();
                if !inherits(Some(value)) && !cycle {
                    wrong.push(format!("{}: {section}.{name}", relative(&path)));
                }
            }
        }
    }
    none("manifests that do not inherit (write `….workspace = true`)", &wrong);
}

#[test]
fn backends_have_the_same_files() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        if !text(package, "name").starts_with("evalx-sandbox-") {
            continue;
        }
        let folder = PathBuf::from(text(package, "manifest_path")).with_file_name("src");
        for file in ["lib.rs", "config.rs", "backend.rs", "session.rs", "error.rs"] {
            if !folder.join(file).is_file() {
                wrong.push(relative(&folder.join(file)));
            }
        }
    }
    none("files that every backend has", &wrong);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let here = root();
    let mut homes = vec![concat!("/Us", "ers/").to_owned()];
    // A checkout right below the root folder has a name too short to mean it.
    if here.components().count() > 2 {
        homes.push(here.display().to_string());
    }
    let mut wrong = Vec::new();
    for path in files(&here, &[".rs", ".toml", ".md", ".sh", ".c", ".json", ".py", "test", "run", "init"]) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home)) {
                wrong.push(format!("{}:{}", relative(&path), number + 1));
            }
        }
    }
    none("paths of one machine", &wrong);
}

/// Links between the pages of the repository. What stands in code is none. The
/// pages of hints are written from rules, and quote compilers.
#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for path in files(&root(), &[".md"]) {
        let is_of_hints = path.starts_with(root().join("docs/hints"));
        if is_of_hints && !path.ends_with("README.md") {
            continue;
        }
        let page = fs::read_to_string(&path).expect("a page is UTF-8");
        let prose = page.split('`').step_by(2);
        let targets =
            prose.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
        for target in targets {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() && !path.with_file_name(file).exists() {
                wrong.push(format!("{}: {target}", relative(&path)));
            }
        }
    }
    none("links that lead nowhere", &wrong);
}
