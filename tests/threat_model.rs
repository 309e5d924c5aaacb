//! `docs/threat-model.md` names only trials and files that there are.
//!
//! A promise is worth as much as what holds it: a trial that is renamed or
//! removed must not leave a promise behind that nothing tests any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evalx_testkit::{Case, conformance, escape};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/threat-model.md")).expect("the page is there, and is UTF-8")
}

/// Every text between backticks.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// The cases that the page names as this suite's: each `SUITE CLASS::NAME`,
/// where a `*` at the end stands for any rest of the name.
fn named<'a>(page: &'a str, suite: &str) -> Vec<&'a str> {
    let trials = quoted(page).filter_map(|text| text.strip_prefix(suite)?.strip_prefix(' '));
    trials.filter(|name| name.contains("::")).collect()
}

fn check(suite: &str, cases: &[Case]) {
    let page = page();
    let known: BTreeSet<&str> = cases.iter().map(Case::name).collect();
    let named = named(&page, suite);
    assert!(!named.is_empty(), "the page names no trial of {suite}");
    let exists = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => known.iter().any(|known| known.starts_with(prefix)),
        None => known.contains(name),
    };
    let wrong: Vec<_> = named.into_iter().filter(|name| !exists(name)).collect();
    assert!(wrong.is_empty(), "docs/threat-model.md names trials of {suite} that are not there: {wrong:?}");
}

#[test]
fn every_escape_trial_that_is_named_exists() {
    check("escape", &escape::cases());
}

#[test]
fn every_conformance_trial_that_is_named_exists() {
    check("conformance", &conformance::cases());
}

#[test]
fn every_class_of_attacks_is_spoken_of() {
    let (page, cases) = (page(), escape::cases());
    let class = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    let classes: BTreeSet<String> = cases.iter().map(|case| class(case.name())).collect();
    let spoken_of: BTreeSet<String> = named(&page, "escape").into_iter().map(class).collect();
    assert_eq!(classes, spoken_of);
}

/// What a backend leaves out of the suites, it has to own up to.
#[test]
fn every_case_that_isolate_cannot_hold_is_named() {
    let tests = root().join("evalx-sandbox-isolate/tests/backend/mod.rs");
    let tests = fs::read_to_string(tests).expect("the tests are there");
    let texts = tests.split('"').skip(1).step_by(2);
    let left_out: Vec<&str> = texts.filter(|text| text.contains("::") && !text.contains(' ')).collect();
    assert!(left_out.len() > 20, "{left_out:?}");
    let page = page();
    let named: BTreeSet<&str> = quoted(&page).filter_map(|text| text.split(' ').nth(1)).collect();
    let silent: Vec<_> = left_out.into_iter().filter(|name| !named.contains(name)).collect();
    assert!(silent.is_empty(), "left out, and not named in docs/threat-model.md: {silent:?}");
}

/// Links between the pages of the repository, the decisions among them.
#[test]
fn every_link_leads_somewhere() {
    let mut pages =
        vec![root().join("ARCHITECTURE.md"), root().join("README.md"), root().join("SECURITY.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
        pages
            .extend(entries.map(|entry| entry.expect("it can be read").path()).filter(|path| path.is_file()));
    }
    let mut wrong = Vec::new();
    for path in pages {
        let text = fs::read_to_string(&path).expect("a page is UTF-8");
        let folder = path.parent().unwrap_or(Path::new("/"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() && !folder.join(file).exists() {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere: {wrong:?}");
}
