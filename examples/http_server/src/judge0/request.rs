//! From Judge0's parameters to an order, with Judge0's messages for what is wrong.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use evalx_core::{ByteSize, Limits, SandboxPath, SourceCode, SourceFile, StderrMode, Submission, Test};
use evalx_service::{Job, Notify, NotifyForm, Order};
use serde_json::{Map, Value, json};

use super::parameters::Parameters;
use super::{Flavour, archive, words};
use crate::app::App;

/// The language whose files all come in an archive.
const MULTI_FILE: u32 = 89;
const LONGEST_TEXT: usize = 512;
/// How long a submission may wait for permits while others run.
const SLACK: Duration = Duration::from_secs(600);

/// What a numeric field is when nothing is said, and what is allowed, in Judge0's units.
pub(super) struct Range {
    pub(super) default: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// The numeric fields of time, in seconds.
pub(super) fn times(app: &App) -> [(&'static str, Range); 3] {
    let (defaults, caps) = (&app.judge0, &app.caps);
    let range = |default: f64, least, most: f64| Range { default: default.min(most), least, most };
    [
        ("cpu_time_limit", range(defaults.cpu_time_limit, 0.0, caps.max_cpu.as_secs_f64())),
        ("cpu_extra_time", range(defaults.cpu_extra_time, 0.0, defaults.max_cpu_extra_time)),
        ("wall_time_limit", range(defaults.wall_time_limit, 1.0, caps.max_wall.as_secs_f64())),
    ]
}

/// The numeric fields that are whole, in kilobytes and pieces.
pub(super) fn counts(app: &App) -> [(&'static str, Range); 5] {
    let (defaults, caps) = (&app.judge0, &app.caps);
    let range = |default: u32, least, most: f64| Range { default: f64::from(default).min(most), least, most };
    let kilobytes = |size: ByteSize| (size.as_u64() / 1024) as f64;
    let processes = defaults.max_processes_and_or_threads;
    [
        ("memory_limit", range(defaults.memory_limit, 2048.0, kilobytes(caps.max_memory))),
        ("stack_limit", range(defaults.stack_limit, 0.0, kilobytes(caps.max_stack))),
        ("max_processes_and_or_threads", range(processes, 1.0, f64::from(caps.max_processes))),
        ("max_file_size", range(defaults.max_file_size, 0.0, kilobytes(caps.max_output))),
        ("number_of_runs", range(defaults.number_of_runs, 1.0, f64::from(defaults.max_number_of_runs))),
    ]
}

/// The messages of wrong fields.
#[derive(Default)]
struct Wrong(Map<String, Value>);

impl Wrong {
    fn note(&mut self, field: &str, message: impl Into<String>) {
        let messages = self.0.entry(field).or_insert_with(|| json!([]));
        if let Value::Array(messages) = messages {
            messages.push(json!(message.into()));
        }
    }
}

/// Reads one submission.
///
/// # Errors
///
/// Judge0's messages by field.
pub(super) fn order(
    app: &App,
    flavour: Flavour,
    tenant: &str,
    parameters: &Parameters,
    base64: bool,
) -> Result<Order, Map<String, Value>> {
    let mut wrong = Wrong::default();
    let bytes = |name: &str| {
        let text = parameters.text(name)?;
        Some(if base64 { lenient(&text) } else { Bytes::from(text) })
    };
    let mut echo = Map::new();
    let (id, language) = language(app, flavour, parameters, &mut wrong);
    echo.insert("language_id".to_owned(), json!(id));
    echo.insert("language".to_owned(), json!({ "id": id, "name": id.and_then(|id| flavour.name(id)) }));

    let source = bytes("source_code").filter(|source| !source.trim_ascii().is_empty());
    let additional = parameters.text("additional_files").filter(|text| !text.is_empty());
    echo.insert("additional_files".to_owned(), json!(additional));
    echo.insert("has_source".to_owned(), json!(source.is_some()));
    let mut files: Vec<SourceFile> = source.iter().cloned().map(SourceFile::main).collect();
    match (id == Some(MULTI_FILE), source.is_some()) {
        (true, true) => wrong.note("source_code", "must be blank"),
        (false, false) => wrong.note("source_code", "can't be blank"),
        _ => {}
    }
    match additional.as_deref().map(|text| archive::unpack(&lenient(text))) {
        Some(Ok(unpacked)) => files.extend(unpacked),
        Some(Err(why)) => wrong.note("additional_files", why),
        None if id == Some(MULTI_FILE) => wrong.note("additional_files", "can't be blank"),
        None => {}
    }
    if id == Some(MULTI_FILE) {
        // What is run comes first.
        let is_run = |file: &SourceFile| file.path.as_ref().is_some_and(|path| path.as_str() == "run");
        match files.iter().position(is_run) {
            Some(index) => files.swap(0, index),
            None if additional.is_some() => wrong.note("additional_files", "must have a bash script `run`"),
            None => {}
        }
    } else if let Some(language) = &language {
        // The source is never replaced by a file of its name.
        let mut seen: Vec<SandboxPath> = vec![language.source.clone()];
        files.retain(|file| match &file.path {
            None => true,
            Some(path) if seen.contains(path) => false,
            Some(path) => {
                seen.push(path.clone());
                true
            }
        });
    }

    let options = short_text("compiler_options", parameters, &mut wrong, &mut echo);
    if options.is_some()
        && language.as_ref().is_some_and(|language| !language.is_compiled() || id == Some(MULTI_FILE))
    {
        wrong.note("compiler_options", "setting compiler options is only allowed for compiled languages");
    }
    let arguments = short_text("command_line_arguments", parameters, &mut wrong, &mut echo);
    let (limits, cpu_time) = limits(app, parameters, &mut wrong, &mut echo);
    let runs = echo["number_of_runs"].as_u64().and_then(|runs| u32::try_from(runs).ok()).unwrap_or(1);
    for name in ["enable_per_process_and_thread_time_limit", "enable_per_process_and_thread_memory_limit"] {
        echo.insert(name.to_owned(), json!(parameters.flag(name).unwrap_or(false)));
    }
    let joined = parameters.flag("redirect_stderr_to_stdout").unwrap_or(false);
    echo.insert("redirect_stderr_to_stdout".to_owned(), json!(joined));
    echo.insert("enable_network".to_owned(), json!(false));
    if parameters.flag("enable_network") == Some(true) {
        wrong.note("enable_network", "enabling network is not allowed");
    }
    let callback = parameters.text("callback_url").filter(|url| !url.is_empty());
    echo.insert("callback_url".to_owned(), json!(callback));
    if let Some(Err(error)) = callback.as_ref().map(|url| app.couriers.of(NotifyForm::Judge0).check(url)) {
        wrong.note("callback_url", error.to_string());
    }

    let (Some(language), true) = (language, wrong.0.is_empty()) else { return Err(wrong.0) };
    let code = SourceCode::from_files(&language.id, files)
        .with_options(options.map(|text| words::split(&text)).unwrap_or_default());
    let mut test = Test::new("run", bytes("stdin").unwrap_or_default());
    if let Some(expected) = bytes("expected_output") {
        test = test.with_expected(expected);
    }
    let max_run = SLACK + limits.wall_time.saturating_mul(2 * runs);
    let submission = Submission::from_code(code)
        .with_arguments(arguments.map(|text| words::split(&text)).unwrap_or_default())
        .with_test(test)
        .with_limits(limits)
        .with_stderr(if joined { StderrMode::IntoStdout } else { StderrMode::Separate });
    let mut job =
        Job::new(submission).with_cpu_time(cpu_time).with_runs(runs).with_request(Value::Object(echo));
    if let Some(url) = callback {
        job = job.with_notify(Notify { url, form: NotifyForm::Judge0 });
    }
    Ok(Order::new(job, tenant, max_run))
}

fn language(
    app: &App,
    flavour: Flavour,
    parameters: &Parameters,
    wrong: &mut Wrong,
) -> (Option<u32>, Option<std::sync::Arc<evalx_core::Language>>) {
    let text = parameters.text("language_id").filter(|text| !text.is_empty());
    let Some(text) = text else {
        wrong.note("language_id", "can't be blank");
        wrong.note("language_id", "language with id  doesn't exist");
        return (None, None);
    };
    let id = text.parse::<f64>().ok().filter(|id| id.fract() == 0.0 && (0.0..1e6).contains(id));
    let Some(id) = id else {
        wrong.note("language_id", "is not a number");
        return (None, None);
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in range")]
    let id = id as u32;
    match flavour.language(app, id) {
        Some(language) if flavour.name(id).is_some() => return (Some(id), Some(language)),
        _ if flavour.name(id).is_some() => {
            wrong
                .note("language_id", format!("language with id {id} is archived and cannot be used anymore"));
        }
        _ => wrong.note("language_id", format!("language with id {id} doesn't exist")),
    }
    (Some(id), None)
}

fn short_text(
    name: &'static str,
    parameters: &Parameters,
    wrong: &mut Wrong,
    echo: &mut Map<String, Value>,
) -> Option<String> {
    let text = parameters.text(name).filter(|text| !text.is_empty());
    if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_TEXT) {
        wrong.note(name, format!("is too long (maximum is {LONGEST_TEXT} characters)"));
    }
    echo.insert(name.to_owned(), json!(text));
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "every number is within its range"
)]
/// The limits, and the CPU time beyond which a program was too slow.
fn limits(
    app: &App,
    parameters: &Parameters,
    wrong: &mut Wrong,
    echo: &mut Map<String, Value>,
) -> (Limits, Duration) {
    let mut read = |name: &'static str, range: &Range, whole: bool| {
        let text = parameters.text(name).filter(|text| !text.trim().is_empty());
        let number = match &text {
            None => Some(range.default),
            Some(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        };
        let shown = |bound: f64| if whole { format!("{bound:.0}") } else { format!("{bound:?}") };
        let number = match number {
            None => {
                wrong.note(name, "is not a number");
                range.default
            }
            Some(number) if number < range.least => {
                wrong.note(name, format!("must be greater than or equal to {}", shown(range.least)));
                range.default
            }
            Some(number) if number > range.most => {
                wrong.note(name, format!("must be less than or equal to {}", shown(range.most)));
                range.default
            }
            Some(number) => number,
        };
        // Times are texts in Judge0's answers, and the others are numbers.
        let value = if whole { json!(number as u64) } else { json!(format!("{number:?}")) };
        echo.insert(name.to_owned(), value);
        number
    };
    let [cpu, extra, wall] = times(app).map(|(name, range)| read(name, &range, false));
    let [memory, stack, processes, file_size, _] = counts(app).map(|(name, range)| read(name, &range, true));
    // What Judge0 takes as nothing at all, a sandbox does not.
    let time = |seconds: f64| Duration::from_secs_f64(seconds.max(0.001));
    let limits = Limits::default()
        .with_cpu_time(time(cpu + extra))
        .with_wall_time(time(wall))
        .with_memory(ByteSize::kib(memory as u64))
        .with_stack(ByteSize::kib((stack as u64).max(128)))
        .with_processes(processes as u32)
        .with_output(ByteSize::kib(file_size as u64))
        .with_disk(app.caps.max_disk);
    (limits, time(cpu))
}

/// Decodes base64 as Ruby does: what is foreign is skipped, padding may be absent.
fn lenient(text: &str) -> Bytes {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let mut clean: Vec<u8> = text
        .bytes()
        .take_while(|byte| *byte != b'=')
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        .collect();
    if clean.len() % 4 == 1 {
        clean.pop();
    }
    GeneralPurpose::new(&STANDARD, CONFIG).decode(clean).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_as_ruby_does() {
        for (text, bytes) in [
            ("aGVsbG8=", "hello"),
            ("aGVs\nbG8", "hello"),
            ("aGVsbG8=\n", "hello"),
            ("", ""),
            ("a", ""),
            ("?!", ""),
        ] {
            assert_eq!(lenient(text), bytes, "{text:?}");
        }
    }
}
