//! What the page must do, for somebody at a desk, at a keyboard, on a phone,
//! and against whoever wrote the program.

use std::fmt::Debug;

use libtest_mimic::Failed;
use serde_json::json;

use crate::page::{Page, Test};

type Run = fn(&mut Page<'_>) -> Result<(), Failed>;

pub(crate) struct NamedTrial {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
}

pub(crate) fn all() -> Vec<NamedTrial> {
    let trials: [(&str, Run); 12] = [
        ("hello_world_runs", hello_world_runs),
        ("tests_are_shown_as_they_arrive", tests_are_shown_as_they_arrive),
        ("a_hint_is_beside_its_line", a_hint_is_beside_its_line),
        ("a_run_is_cancelled", a_run_is_cancelled),
        ("a_link_carries_the_program", a_link_carries_the_program),
        ("half_a_link_is_none", half_a_link_is_none),
        ("wrong_fields_are_named", wrong_fields_are_named),
        ("nothing_is_run_as_html", nothing_is_run_as_html),
        ("the_policy_refuses_scripts_of_others", the_policy_refuses_scripts_of_others),
        ("all_is_done_by_keyboard", all_is_done_by_keyboard),
        ("a_phone_is_wide_enough", a_phone_is_wide_enough),
        ("it_is_light_or_dark", it_is_light_or_dark),
    ];
    trials.into_iter().map(|(name, run)| NamedTrial { name, run }).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is called as `assert_eq!` is")]
fn equal<A: PartialEq<B> + Debug, B: Debug>(found: A, expected: B) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} is not {expected:?}").into()) }
}

fn holds(condition: bool, what: &str) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(what.into()) }
}

fn hello_world_runs(page: &mut Page<'_>) -> Result<(), Failed> {
    equal(page.program()?.trim(), r#"print("Hello, world!")"#)?;
    equal(page.run()?, "Done.")?;
    equal(page.text(".output pre")?, "Hello, world!\n")?;
    page.write_program("print(input()[::-1])")?;
    page.evaluate("document.querySelector('#tests textarea').value = 'abc'")?;
    equal(page.run()?, "Done.")?;
    equal(page.text(".output pre")?, "cba\n")
}

fn tests_are_shown_as_they_arrive(page: &mut Page<'_>) -> Result<(), Failed> {
    page.write_program("import time\nseconds = int(input())\ntime.sleep(seconds)\nprint(seconds)\n")?;
    for (name, stdin, expected) in [("at once", "0", "0"), ("wrong", "0", "1"), ("late", "4", "4")] {
        page.add_test(&Test { name, stdin, expected })?;
    }
    page.click("#run")?;
    // The first is here while the last is not.
    page.wait(
        "document.querySelector('.outcomes > li:first-child').matches('.good')
         && document.querySelector('.outcomes > li:last-child').matches('.waiting')",
    )?;
    page.wait("!document.getElementById('run').disabled")?;
    equal(page.status()?, "Wrong answer: 2 of 3 tests passed.")?;
    let verdicts =
        page.evaluate("[...document.querySelectorAll('.outcomes .verdict')].map((one) => one.textContent)")?;
    equal(verdicts, json!(["accepted", "wrong answer", "accepted"]))?;
    let opened =
        page.evaluate("[...document.querySelectorAll('.outcomes details')].map((one) => one.open)")?;
    equal(opened, json!([false, true, false]))
}

fn a_hint_is_beside_its_line(page: &mut Page<'_>) -> Result<(), Failed> {
    page.write_program("count = 1\nfor i in range(3):\n    cuont += i\nprint(count)\n")?;
    equal(page.run()?, "Runtime error.")?;
    page.wait("document.querySelector('.CodeMirror .hint') !== null")?;
    let beside = page.evaluate(
        "document.querySelector('.CodeMirror .hint').closest('.CodeMirror-linewidget')
            .parentElement.querySelector('.CodeMirror-linenumber').textContent",
    )?;
    equal(beside, "3")?;
    holds(page.text(".CodeMirror .hint")?.starts_with("Line 3: "), "the hint does not name its line")?;
    // It is gone with the next run.
    page.write_program("print(1)")?;
    equal(page.run()?, "Done.")?;
    equal(page.count(".CodeMirror .hint")?, 0_u64)
}

fn a_run_is_cancelled(page: &mut Page<'_>) -> Result<(), Failed> {
    page.write_program("while True:\n    pass\n")?;
    page.click("#run")?;
    page.wait("!document.getElementById('cancel').disabled")?;
    page.click("#cancel")?;
    page.wait("!document.getElementById('run').disabled")?;
    equal(page.status()?, "Cancelled.")?;
    page.write_program("print(2)")?;
    equal(page.run()?, "Done.")
}

fn a_link_carries_the_program(page: &mut Page<'_>) -> Result<(), Failed> {
    let source = "print('ü€\u{1f980}', 1 < 2)  # <b>&amp;\n";
    page.write_program(source)?;
    page.add_test(&Test { name: "<i>", stdin: "a\nb", expected: "c" })?;
    page.evaluate("document.getElementById('memory_bytes').value = 64")?;
    page.click("#share")?;
    page.wait("location.hash.startsWith('#program=')")?;
    let link = page.evaluate("location.href")?;
    // Without the draft that this browser keeps.
    page.evaluate("localStorage.clear()")?;
    page.go(link.as_str().unwrap_or_default())?;
    equal(page.program()?, source)?;
    let fields = page.evaluate(
        "['.test .name', '.test .stdin', '.test .expected', '#memory_bytes', '#language']
            .map((selector) => document.querySelector(selector).value)",
    )?;
    equal(fields, json!(["<i>", "a\nb", "c", "64", "python"]))?;
    equal(page.status()?, "Nothing was run yet.")
}

fn half_a_link_is_none(page: &mut Page<'_>) -> Result<(), Failed> {
    let base = page.evaluate("location.href")?;
    for fragment in ["#program=", "#program=!", "#program=AAAA", "#program=bm90IGRlZmxhdGU"] {
        page.go(&format!("{}{fragment}", base.as_str().unwrap_or_default()))?;
        equal(page.status()?, "The link does not carry a whole program.")?;
        equal(page.program()?.trim(), r#"print("Hello, world!")"#)?;
    }
    Ok(())
}

fn wrong_fields_are_named(page: &mut Page<'_>) -> Result<(), Failed> {
    page.evaluate("document.getElementById('cpu_seconds').value = 1e9")?;
    page.run()?;
    equal(page.evaluate("document.getElementById('status').className")?, "bad")?;
    let told = page.text("#results .problem li")?;
    holds(told.starts_with("limits › cpu_seconds: "), &format!("it says {told:?}"))
}

fn nothing_is_run_as_html(page: &mut Page<'_>) -> Result<(), Failed> {
    const ATTACK: &str =
        "</pre></script><img src=x onerror=alert(1)><svg onload=alert(2)><script>alert(3)</script>";
    page.write_program(&format!(
        "import sys\nprint({attack})\nprint({attack}, file=sys.stderr)\nraise NameError({attack})\n",
        attack = json!(ATTACK)
    ))?;
    page.add_test(&Test { name: ATTACK, stdin: ATTACK, expected: ATTACK })?;
    equal(page.run()?, "Runtime error: 0 of 1 tests passed.")?;
    equal(page.text(".output pre")?.trim(), ATTACK)?;
    page.click("#share")?;
    page.wait("location.hash !== ''")?;
    let link = page.evaluate("location.href")?;
    page.go(link.as_str().unwrap_or_default())?;
    equal(page.count("main img, main svg, main script, option *")?, 0_u64)
}

fn the_policy_refuses_scripts_of_others(page: &mut Page<'_>) -> Result<(), Failed> {
    let policy = page.evaluate("fetch('.').then((page) => page.headers.get('content-security-policy'))")?;
    let policy = policy.as_str().unwrap_or_default().to_owned();
    let directives: Vec<_> = policy.split(';').map(str::trim).collect();
    for directive in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        holds(directives.contains(&directive), &format!("{directive} is not in {policy:?}"))?;
    }
    let type_sniffing =
        page.evaluate("fetch('.').then((page) => page.headers.get('x-content-type-options'))")?;
    equal(type_sniffing, "nosniff")
}

fn all_is_done_by_keyboard(page: &mut Page<'_>) -> Result<(), Failed> {
    const FOCUS: &str =
        "document.activeElement.closest('.CodeMirror') ? 'editor' : document.activeElement.id || 'other'";
    let tab = |page: &mut Page<'_>| page.press("Tab", 9, 0);
    page.evaluate("document.activeElement.blur()")?;
    let mut met = Vec::new();
    for _ in 0..5 {
        tab(page)?;
        met.push(page.evaluate(FOCUS)?);
    }
    equal(met, ["language", "run", "share", "theme", "editor"].map(|id| json!(id)).to_vec())?;
    // In the editor Tab indents, and Esc is the way out.
    page.write_program("")?;
    tab(page)?;
    equal(page.program()?, "    ")?;
    equal(page.evaluate(FOCUS)?, "editor")?;
    page.press("Escape", 27, 0)?;
    equal(page.evaluate(FOCUS)?, "run")?;
    page.write_program("print('by keyboard')")?;
    page.press("Enter", 13, 2)?;
    page.wait("document.getElementById('status').textContent === 'Done.'")?;
    equal(page.text(".output pre")?, "by keyboard\n")
}

fn a_phone_is_wide_enough(page: &mut Page<'_>) -> Result<(), Failed> {
    page.resize(360, 740)?;
    page.write_program(&format!("print('{}')\nundefined\n", "x".repeat(500)))?;
    page.add_test(&Test { name: &"long".repeat(50), stdin: "", expected: "" })?;
    page.run()?;
    let widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")?;
    equal(&widths[0], &widths[1])?;
    // What is touched is large enough for a finger.
    let small = page.evaluate(
        "[...document.querySelectorAll('button, select, input')]
            .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 36)
            .map((one) => one.outerHTML)",
    )?;
    equal(small, json!([]))
}

fn it_is_light_or_dark(page: &mut Page<'_>) -> Result<(), Failed> {
    const BACK: &str = "getComputedStyle(document.querySelector('.CodeMirror')).backgroundColor";
    page.prefer("light")?;
    let light = page.evaluate(BACK)?;
    page.prefer("dark")?;
    let dark = page.evaluate(BACK)?;
    holds(light != dark, "light is as dark")?;
    // What is chosen prevails, and is remembered.
    page.click("#theme")?;
    equal(page.evaluate(BACK)?, light.clone())?;
    let url = page.evaluate("location.href")?;
    page.go(url.as_str().unwrap_or_default())?;
    equal(page.evaluate(BACK)?, light)
}
