//! `docs/threat-model.md` and `docs/queue.md` name only trials that there are.
//!
//! A promise is worth as much as what holds it: a trial that is renamed or
//! removed must not leave a promise behind that nothing tests any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use evalx_testkit::{Case, conformance, escape, queue};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the file is there, and is UTF-8")
}

fn page() -> String {
    text("docs/threat-model.md")
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

/// Fails if one of the names is none of what is known.
fn all_exist(page: &str, named: &[&str], known: &BTreeSet<&str>) {
    let exists = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => known.iter().any(|known| known.starts_with(prefix)),
        None => known.contains(name),
    };
    assert!(!named.is_empty(), "{page} names no trial");
    let wrong: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(wrong.is_empty(), "{page} names trials that are not there: {wrong:?}");
}

fn check(suite: &str, cases: &[Case]) {
    let known = cases.iter().map(Case::name).collect();
    all_exist("docs/threat-model.md", &named(&page(), suite), &known);
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
fn every_trial_of_queues_that_is_named_exists() {
    let page = text("docs/queue.md");
    let cases = queue::cases();
    let known = cases.iter().map(queue::QueueCase::name).collect();
    all_exist("docs/queue.md", &named(&page, "conformance"), &known);
}

/// They are named `faults fNN_…`, and in the same cell of a table `fNN_…` alone.
#[test]
fn every_fault_test_that_is_named_exists() {
    let page = text("docs/queue.md");
    let names = quoted(&page).map(|text| text.strip_prefix("faults ").unwrap_or(text));
    let is_one = |name: &&str| {
        let rest = name.strip_prefix('f').unwrap_or_default();
        rest.find('_').is_some_and(|end| end > 0 && rest[..end].bytes().all(|byte| byte.is_ascii_digit()))
    };
    let tests = text("evalx-queue/tests/faults/main.rs");
    let known = tests.split('"').skip(1).step_by(2).collect();
    all_exist("docs/queue.md", &names.filter(is_one).collect::<Vec<_>>(), &known);
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
    let tests = text("evalx-sandbox-isolate/tests/backend/mod.rs");
    let texts = tests.split('"').skip(1).step_by(2);
    let left_out: Vec<&str> = texts.filter(|text| text.contains("::") && !text.contains(' ')).collect();
    assert!(left_out.len() > 20, "{left_out:?}");
    let page = page();
    let named: BTreeSet<&str> = quoted(&page).filter_map(|text| text.split(' ').nth(1)).collect();
    let silent: Vec<_> = left_out.into_iter().filter(|name| !named.contains(name)).collect();
    assert!(silent.is_empty(), "left out, and not named in docs/threat-model.md: {silent:?}");
}
