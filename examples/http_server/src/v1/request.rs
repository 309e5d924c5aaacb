//! From the body of a request to an order: every field is read, and every
//! wrong one is named.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use evalx_core::{
    ByteSize, Checker, Language, Limits, OnFailure, SandboxPath, SourceCode, SourceFile, Submission, Test,
};
use evalx_queue::{NewJob, Priority};
use evalx_service::{Job, Notify, NotifyForm, Order};
use serde_json::Value;

use super::reader::{Fields, Wrong};
use crate::app::App;
use crate::problem::FieldError;
use crate::settings::Caps;

/// The most files, options or arguments of a submission.
const MOST_FILES: usize = 100;
pub(super) const MOST_ARGUMENTS: usize = 100;
/// How long a submission may wait for permits while others run, all told.
const SLACK: Duration = Duration::from_secs(600);

/// Reads one submission.
///
/// # Errors
///
/// Every wrong field, by its pointer behind `at`.
pub(crate) fn order(app: &App, tenant: &str, at: &str, body: Value) -> Result<Order, Vec<FieldError>> {
    let mut wrong = Wrong::default();
    let order = Fields::of(at, body, &mut wrong).and_then(|fields| read(app, tenant, fields, &mut wrong));
    match order {
        Some(order) if wrong.is_empty() => Ok(order),
        _ => Err(wrong.into_errors()),
    }
}

fn read(app: &App, tenant: &str, mut fields: Fields, wrong: &mut Wrong) -> Option<Order> {
    let code = code(app, &mut fields, wrong);
    let arguments = fields.texts("arguments", MOST_ARGUMENTS, wrong);
    let stdin = fields.text("stdin", wrong);
    let tests = tests(app, &mut fields, wrong);
    if stdin.is_some() && !tests.is_empty() {
        wrong.note(fields.at("stdin"), "either `stdin` or `tests` is allowed, not both");
    }
    let checker = checker(app, &mut fields, wrong);
    let interactor =
        fields.take("interactor").and_then(|value| program(app, fields.at("interactor"), value, wrong));
    let limits = limits(&app.caps, default_limits(&app.caps), &mut fields, wrong);
    let notify = fields.text("webhook_url", wrong).and_then(|url| notify(app, &fields, url, wrong));
    let priority = priority(&mut fields, wrong);
    let key = fields.text("idempotency_key", wrong);
    if let Some(why) = key.as_deref().and_then(wrong_key) {
        wrong.note(fields.at("idempotency_key"), why);
    }
    let fail_fast = fields.flag("fail_fast", wrong).unwrap_or(false);
    fields.finish(wrong);

    let runs = u32::try_from(tests.len().max(1)).unwrap_or(u32::MAX);
    let max_run = SLACK + limits.wall_time.saturating_mul(runs.saturating_mul(2));
    let mut submission = Submission::from_code(code?)
        .with_arguments(arguments)
        .with_stdin(stdin.unwrap_or_default())
        .with_tests(tests)
        .with_checker(checker)
        .with_limits(limits);
    if let Some(interactor) = interactor {
        submission = submission.with_interactor(interactor);
    }
    if fail_fast {
        submission = submission.with_on_failure(OnFailure::Stop);
    }
    let mut job = Job::new(submission);
    if let Some(notify) = notify {
        job = job.with_notify(notify);
    }
    Some(Order::new(job, tenant, max_run).with_priority(priority).with_idempotency_key(key))
}

/// What is wrong with an idempotency key.
pub(crate) fn wrong_key(key: &str) -> Option<String> {
    let good = !key.is_empty() && key.len() <= NewJob::LONGEST_NAME && !key.chars().any(char::is_control);
    (!good).then(|| format!("it must have 1 to {} bytes and no control characters", NewJob::LONGEST_NAME))
}

/// The program: `language`, and `source` or `files`, with `options`.
pub(super) fn code(app: &App, fields: &mut Fields, wrong: &mut Wrong) -> Option<SourceCode> {
    let language = fields.required("language", wrong);
    let language = language.and_then(|name| known(app, fields.at("language"), &name, wrong));
    let source = fields.text("source", wrong);
    let files: Vec<SourceFile> = fields
        .list("files", MOST_FILES, wrong)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(at, value)| file(at, value, wrong))
        .collect();
    let options = fields.texts("options", MOST_ARGUMENTS, wrong);
    let files = match source {
        Some(_) if !files.is_empty() => {
            wrong.note(fields.at("files"), "either `source` or `files` is allowed, not both");
            return None;
        }
        Some(source) => vec![SourceFile::main(source)],
        None if files.is_empty() => {
            wrong.note(fields.at("source"), "it is missing: the program's text, or `files`");
            return None;
        }
        None => files,
    };
    Some(SourceCode::from_files(language?, files).with_options(options))
}

/// The id of a language by any name of it, if it is known and its toolchain is not known to be absent.
fn known(app: &App, at: String, name: &str, wrong: &mut Wrong) -> Option<String> {
    let Some(language) = app.languages.get(name) else {
        let shown: String = name.chars().take(32).collect();
        let all: Vec<&str> = app.languages.iter().map(|language| language.id.as_str()).collect();
        wrong.note(at, format!("`{}` is no language; there are {}", shown.escape_debug(), all.join(", ")));
        return None;
    };
    match absence(app, language) {
        Some(why) => {
            wrong.note(at, why);
            None
        }
        None => Some(language.id.clone()),
    }
}

/// Why programs of a language can't be run by this process, if that is known.
pub(crate) fn absence(app: &App, language: &Language) -> Option<String> {
    match app.engine()?.toolchains().get(&language.id) {
        Some(evalx_core::Toolchain::Absent { reason, .. }) => {
            Some(format!("{} can't be run here: {reason}", language.name))
        }
        _ => None,
    }
}

fn file(at: String, value: Value, wrong: &mut Wrong) -> Option<SourceFile> {
    let mut fields = Fields::of(at, value, wrong)?;
    let path = fields.required("path", wrong);
    let path = path.and_then(|path| match SandboxPath::new(&path) {
        Ok(path) => Some(path),
        Err(error) => {
            wrong.note(fields.at("path"), error.to_string());
            None
        }
    });
    let text = fields.text("content", wrong).map(Bytes::from);
    let binary = fields.text("content_base64", wrong).and_then(|text| match STANDARD.decode(text) {
        Ok(bytes) => Some(Bytes::from(bytes)),
        Err(error) => {
            wrong.note(fields.at("content_base64"), format!("it is not base64: {error}"));
            None
        }
    });
    if text.is_some() == binary.is_some() {
        wrong.note(fields.at("content"), "one of `content` and `content_base64` is needed");
    }
    fields.finish(wrong);
    Some(SourceFile::new(path?, text.or(binary)?))
}

fn tests(app: &App, fields: &mut Fields, wrong: &mut Wrong) -> Vec<Test> {
    let list = fields.list("tests", app.caps.max_tests, wrong).unwrap_or_default();
    let mut tests = Vec::with_capacity(list.len());
    for (index, (at, value)) in list.into_iter().enumerate() {
        let Some(mut fields) = Fields::of(at, value, wrong) else { continue };
        let name = fields.text("name", wrong).unwrap_or_else(|| (index + 1).to_string());
        let stdin = fields.text("stdin", wrong).unwrap_or_default();
        let mut test = Test::new(name, stdin);
        if let Some(expected) = fields.text("expected_output", wrong) {
            test = test.with_expected(expected);
        }
        fields.finish(wrong);
        tests.push(test);
    }
    tests
}

fn checker(app: &App, fields: &mut Fields, wrong: &mut Wrong) -> Checker {
    let at = fields.at("checker");
    match fields.take("checker") {
        None => Checker::default(),
        Some(Value::String(name)) => match name.parse() {
            Ok(comparison) => Checker::Compare(comparison),
            Err(_) => {
                let allowed = "exact, lines, tokens, float, float:EPSILON, unordered, or a program";
                wrong.note(at, format!("there is no such checker: {allowed}"));
                Checker::default()
            }
        },
        Some(value) => program(app, at, value, wrong).map_or_else(Checker::default, Checker::Program),
    }
}

/// A checker or interactor: `language`, and `source` or `files`.
fn program(app: &App, at: String, value: Value, wrong: &mut Wrong) -> Option<SourceCode> {
    let mut fields = Fields::of(at, value, wrong)?;
    let code = code(app, &mut fields, wrong);
    fields.finish(wrong);
    code
}

/// What a run gets that says nothing: what suits a learner's program, within the caps.
pub(crate) fn default_limits(caps: &Caps) -> Limits {
    let defaults = Limits::default();
    defaults
        .clone()
        .with_cpu_time(defaults.cpu_time.min(caps.max_cpu))
        .with_wall_time(defaults.wall_time.min(caps.max_wall))
        .with_memory(defaults.memory.min(caps.max_memory))
        .with_stack(defaults.stack.min(caps.max_stack))
        .with_processes(defaults.processes.min(caps.max_processes))
        .with_output(ByteSize::mib(1).min(caps.max_output))
        .with_disk(defaults.disk.min(caps.max_disk))
}

/// The field `limits`: what it does not name is as in `limits`.
pub(super) fn limits(caps: &Caps, mut limits: Limits, fields: &mut Fields, wrong: &mut Wrong) -> Limits {
    let Some(value) = fields.take("limits") else { return limits };
    let Some(mut fields) = Fields::of(fields.at("limits"), value, wrong) else { return limits };
    let time = |most: Duration| 0.001..=most.as_secs_f64();
    let size = |least: ByteSize, most: ByteSize| least.as_u64()..=most.as_u64();
    if let Some(seconds) = fields.number("cpu_seconds", time(caps.max_cpu), wrong) {
        limits.cpu_time = Duration::from_secs_f64(seconds);
    }
    if let Some(seconds) = fields.number("wall_seconds", time(caps.max_wall), wrong) {
        limits.wall_time = Duration::from_secs_f64(seconds);
    }
    if let Some(bytes) = fields.integer("memory_bytes", size(ByteSize::mib(1), caps.max_memory), wrong) {
        limits.memory = ByteSize::bytes(bytes);
    }
    if let Some(bytes) = fields.integer("stack_bytes", size(ByteSize::kib(128), caps.max_stack), wrong) {
        limits.stack = ByteSize::bytes(bytes);
    }
    if let Some(count) = fields.integer("processes", 1..=u64::from(caps.max_processes), wrong) {
        limits.processes = u32::try_from(count).unwrap_or(caps.max_processes);
    }
    if let Some(bytes) = fields.integer("output_bytes", size(ByteSize::ZERO, caps.max_output), wrong) {
        limits.output = ByteSize::bytes(bytes);
    }
    if let Some(bytes) = fields.integer("disk_bytes", size(ByteSize::kib(64), caps.max_disk), wrong) {
        limits.disk = ByteSize::bytes(bytes);
    }
    fields.finish(wrong);
    limits
}

fn notify(app: &App, fields: &Fields, url: String, wrong: &mut Wrong) -> Option<Notify> {
    match app.couriers.of(NotifyForm::Webhook).check(&url) {
        Ok(_) => Some(Notify::new(url, NotifyForm::Webhook)),
        Err(error) => {
            wrong.note(fields.at("webhook_url"), error.to_string());
            None
        }
    }
}

fn priority(fields: &mut Fields, wrong: &mut Wrong) -> Priority {
    let Some(text) = fields.text("priority", wrong) else { return Priority::Normal };
    text.parse().unwrap_or_else(|_| {
        wrong.note(fields.at("priority"), "a priority is low, normal or high");
        Priority::Normal
    })
}
