//! Writes the pages of the categories, `docs/hints/`, which every hint links to.
//!
//! `EVALX_BLESS=1 cargo test -p evalx-hints pages` writes them anew; without it
//! the test says whether they are as the rules are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use evalx_core::Hint;

use crate::category::Category;
use crate::engine::HintEngine;
use crate::rule::Rule;
use crate::trials::{explanations, rules};

/// How many lines of an example are shown.
const LINES: usize = 14;

/// The folders of rules as a reader knows them.
const NAMES: &[(&str, &str)] = &[
    ("any", "Any language"),
    ("native", "C, C++, Rust: run time"),
    ("c", "C and C++"),
    ("cpp", "C++"),
    ("python", "Python"),
    ("java", "Java"),
    ("jvm", "Java and Kotlin: run time"),
    ("kotlin", "Kotlin"),
    ("javascript", "JavaScript"),
    ("typescript", "TypeScript"),
    ("rust", "Rust"),
    ("go", "Go"),
    ("ruby", "Ruby"),
    ("php", "PHP"),
    ("bash", "Bash"),
    ("haskell", "Haskell"),
    ("csharp", "C#"),
    ("swift", "Swift"),
    ("perl", "Perl"),
    ("lua", "Lua"),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/hints")
}

/// Every page by its file name.
fn pages() -> BTreeMap<String, String> {
    let engine = HintEngine::new();
    let rules = rules();
    let mut pages = BTreeMap::new();
    let mut index = String::from(
        "# What hints are about\n\nEvery hint of evalx names one of these categories and links to its page. The pages are written by `EVALX_BLESS=1 cargo test -p evalx-hints pages` from the rules in [evalx-hints/rules](../../evalx-hints/rules); do not edit them.\n",
    );
    let mut group = "";
    for category in Category::all() {
        if category.group != group {
            group = category.group;
            let _ = write!(index, "\n## {group}\n\n");
        }
        let _ = writeln!(index, "- [{}]({}.md): {}", category.slug, category.slug, category.meaning);
        pages.insert(format!("{}.md", category.slug), page(category, &rules, &engine));
    }
    pages.insert("README.md".to_owned(), index);
    pages
}

fn page(category: &Category, rules: &[(&'static str, Rule)], engine: &HintEngine) -> String {
    let mut page = format!("# {}\n\n{}: {}.\n", category.slug, category.group, category.meaning);
    for (folder, name) in NAMES {
        let mut of_folder =
            rules.iter().filter(|(at, rule)| at == folder && rule.category == category.slug).peekable();
        if of_folder.peek().is_none() {
            continue;
        }
        let _ = write!(page, "\n## {name}\n");
        for (folder, rule) in of_folder {
            if let Some(hint) =
                explanations(engine, folder, rule).into_iter().find(|hint| hint.rule == rule.id)
            {
                write_example(&mut page, rule, &hint);
            }
        }
    }
    page.push_str("\n[All categories](README.md)\n");
    page
}

fn write_example(page: &mut String, rule: &Rule, hint: &Hint) {
    if !rule.example.trim().is_empty() {
        let _ = write!(page, "\n````text\n");
        for line in rule.example.trim_end().lines().take(LINES) {
            let _ = writeln!(page, "{}", line.trim_end());
        }
        if rule.example.trim_end().lines().count() > LINES {
            page.push_str("…\n");
        }
        page.push_str("````\n");
        if rule.made {
            page.push_str("\n*(an output of this form, not a recorded one)*\n");
        }
    }
    let _ = write!(page, "\n> **{}**", escaped(&hint.title));
    for text in [Some(&hint.explanation), hint.suggestion.as_ref()].into_iter().flatten() {
        let _ = write!(page, " {}", escaped(text));
    }
    let _ = writeln!(page, " *({})*", rule.id);
}

/// Text with what would be markup outside of code made harmless.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut code = false;
    for c in text.chars() {
        code ^= c == '`';
        if !code && matches!(c, '<' | '*' | '_' | '[') {
            escaped.push('\\');
        }
        escaped.push(if c == '\n' { ' ' } else { c });
    }
    escaped
}

#[test]
fn pages_are_as_the_rules_are() {
    let bless = std::env::var_os("EVALX_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, text) in pages() {
        let path = folder().join(&name);
        if bless {
            fs::create_dir_all(folder()).expect("docs/hints can be made");
            fs::write(&path, &text).expect("a page can be written");
        } else if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "EVALX_BLESS=1 cargo test -p evalx-hints pages writes anew: {wrong:?}");
}

#[test]
fn every_folder_has_a_name() {
    for (folder, rule) in rules() {
        assert!(NAMES.iter().any(|(known, _)| *known == folder), "{}: name its folder in NAMES", rule.id);
    }
}
