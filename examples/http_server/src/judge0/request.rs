//! From Judge0's parameters to an order, with Judge0's messages for what is wrong.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use evalx_core::{
    ByteSize, Language, Limits, SandboxPath, SourceCode, SourceFile, StderrMode, Submission, Test,
};
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
    let mut reader = Reader { app, flavour, parameters, base64, wrong: Map::new(), echo: Map::new() };
    let (id, language) = reader.language();
    let files = reader.files(id, language.as_deref());
    let options = reader.compiler_options(id, language.as_deref());
    let arguments = reader.short_text("command_line_arguments");
    let Terms { limits, cpu_time, runs } = reader.terms();
    for name in ["enable_per_process_and_thread_time_limit", "enable_per_process_and_thread_memory_limit"] {
        reader.flag(name);
    }
    let joined = reader.flag("redirect_stderr_to_stdout");
    reader.refuse_network();
    let callback = reader.callback();
    let test = reader.test();
    let Reader { wrong, echo, .. } = reader;
    let (Some(language), true) = (language, wrong.is_empty()) else { return Err(wrong) };

    let code = SourceCode::from_files(&language.id, files).with_options(words_of(options));
    let max_run = SLACK + limits.wall_time.saturating_mul(2 * runs);
    let submission = Submission::from_code(code)
        .with_arguments(words_of(arguments))
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

/// How a program is measured.
struct Terms {
    limits: Limits,
    /// The CPU time beyond which it was too slow.
    cpu_time: Duration,
    runs: u32,
}

/// Reads parameters, and collects what is to be said of them.
struct Reader<'a> {
    app: &'a App,
    flavour: Flavour,
    parameters: &'a Parameters,
    /// Whether the program and its input are.
    base64: bool,
    /// The messages of wrong fields.
    wrong: Map<String, Value>,
    /// What answers repeat of the request.
    echo: Map<String, Value>,
}

impl Reader<'_> {
    fn note(&mut self, field: &str, message: impl Into<String>) {
        let messages = self.wrong.entry(field).or_insert_with(|| json!([]));
        if let Value::Array(messages) = messages {
            messages.push(json!(message.into()));
        }
    }

    fn echo(&mut self, name: &str, value: Value) {
        self.echo.insert(name.to_owned(), value);
    }

    /// A text that is not empty, and is repeated.
    fn text(&mut self, name: &str) -> Option<String> {
        let text = self.parameters.text(name).filter(|text| !text.is_empty());
        self.echo(name, json!(text));
        text
    }

    fn short_text(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if text.chars().count() > LONGEST_TEXT {
            self.note(name, format!("is too long (maximum is {LONGEST_TEXT} characters)"));
        }
        Some(text)
    }

    fn bytes(&self, name: &str) -> Option<Bytes> {
        let text = self.parameters.text(name)?;
        Some(if self.base64 { lenient(&text) } else { Bytes::from(text) })
    }

    fn flag(&mut self, name: &str) -> bool {
        let flag = self.parameters.flag(name).unwrap_or(false);
        self.echo(name, json!(flag));
        flag
    }

    fn language(&mut self) -> (Option<u32>, Option<Arc<Language>>) {
        let id = self.language_id();
        let name = id.and_then(|id| self.flavour.name(id));
        self.echo("language_id", json!(id));
        self.echo("language", json!({ "id": id, "name": name }));
        let Some(id) = id else { return (None, None) };
        let language = self.flavour.language(self.app, id).filter(|_| name.is_some());
        if language.is_none() {
            let why = if name.is_some() { "is archived and cannot be used anymore" } else { "doesn't exist" };
            self.note("language_id", format!("language with id {id} {why}"));
        }
        (Some(id), language)
    }

    fn language_id(&mut self) -> Option<u32> {
        let Some(text) = self.parameters.text("language_id").filter(|text| !text.is_empty()) else {
            self.note("language_id", "can't be blank");
            self.note("language_id", "language with id  doesn't exist");
            return None;
        };
        let id = text.parse::<f64>().ok().filter(|id| id.fract() == 0.0 && (0.0..1e6).contains(id));
        if id.is_none() {
            self.note("language_id", "is not a number");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in range")]
        id.map(|id| id as u32)
    }

    /// The program's files, of which the first is run.
    fn files(&mut self, id: Option<u32>, language: Option<&Language>) -> Vec<SourceFile> {
        let source = self.bytes("source_code").filter(|source| !source.trim_ascii().is_empty());
        let archive = self.text("additional_files");
        self.echo("has_source", json!(source.is_some()));
        let additional = archive.map(|text| {
            archive::unpack(&lenient(&text)).unwrap_or_else(|why| {
                self.note("additional_files", why);
                Vec::new()
            })
        });
        if id == Some(MULTI_FILE) {
            self.multi_file(source.is_some(), additional)
        } else {
            self.single_file(source, additional.unwrap_or_default(), language)
        }
    }

    /// All that is in an archive, whose script `run` is what is run.
    fn multi_file(&mut self, has_source: bool, additional: Option<Vec<SourceFile>>) -> Vec<SourceFile> {
        if has_source {
            self.note("source_code", "must be blank");
        }
        let Some(mut files) = additional else {
            self.note("additional_files", "can't be blank");
            return Vec::new();
        };
        let is_run = |file: &SourceFile| file.path.as_ref().is_some_and(|path| path.as_str() == "run");
        match files.iter().position(is_run) {
            Some(index) => files.swap(0, index),
            None => self.note("additional_files", "must have a bash script `run`"),
        }
        files
    }

    /// The source, and what lies beside it.
    fn single_file(
        &mut self,
        source: Option<Bytes>,
        mut additional: Vec<SourceFile>,
        language: Option<&Language>,
    ) -> Vec<SourceFile> {
        if source.is_none() {
            self.note("source_code", "can't be blank");
        }
        // The source is never replaced by a file of its name, nor is any other.
        let mut taken: HashSet<SandboxPath> =
            language.iter().map(|language| language.source.clone()).collect();
        additional.retain(|file| file.path.as_ref().is_none_or(|path| taken.insert(path.clone())));
        source.map(SourceFile::main).into_iter().chain(additional).collect()
    }

    fn compiler_options(&mut self, id: Option<u32>, language: Option<&Language>) -> Option<String> {
        let options = self.short_text("compiler_options")?;
        if language.is_some_and(|language| !language.is_compiled() || id == Some(MULTI_FILE)) {
            self.note("compiler_options", "setting compiler options is only allowed for compiled languages");
        }
        Some(options)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "every number is within its range"
    )]
    fn terms(&mut self) -> Terms {
        let [cpu, extra, wall] = times(self.app).map(|(name, range)| {
            let number = self.number(name, &range, |bound| format!("{bound:?}"));
            // Times are texts in Judge0's answers, and the others are numbers.
            self.echo(name, json!(format!("{number:?}")));
            number
        });
        let [memory, stack, processes, file_size, runs] = counts(self.app).map(|(name, range)| {
            let number = self.number(name, &range, |bound| format!("{bound:.0}")) as u64;
            self.echo(name, json!(number));
            number
        });
        // What Judge0 takes as nothing at all, a sandbox does not.
        let time = |seconds: f64| Duration::from_secs_f64(seconds.max(0.001));
        let limits = Limits::default()
            .with_cpu_time(time(cpu + extra))
            .with_wall_time(time(wall))
            .with_memory(ByteSize::kib(memory))
            .with_stack(ByteSize::kib(stack.max(128)))
            .with_processes(processes as u32)
            .with_output(ByteSize::kib(file_size))
            .with_disk(self.app.caps.max_disk);
        Terms { limits, cpu_time: time(cpu), runs: runs as u32 }
    }

    /// A number within its range; the default in place of a wrong one.
    fn number(&mut self, name: &str, range: &Range, shown: fn(f64) -> String) -> f64 {
        let Some(text) = self.parameters.text(name).filter(|text| !text.trim().is_empty()) else {
            return range.default;
        };
        let wrong = match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => {
                if number < range.least {
                    format!("must be greater than or equal to {}", shown(range.least))
                } else if number > range.most {
                    format!("must be less than or equal to {}", shown(range.most))
                } else {
                    return number;
                }
            }
            _ => "is not a number".to_owned(),
        };
        self.note(name, wrong);
        range.default
    }

    fn refuse_network(&mut self) {
        self.echo("enable_network", json!(false));
        if self.parameters.flag("enable_network") == Some(true) {
            self.note("enable_network", "enabling network is not allowed");
        }
    }

    fn callback(&mut self) -> Option<String> {
        let url = self.text("callback_url")?;
        if let Err(error) = self.app.couriers.of(NotifyForm::Judge0).check(&url) {
            self.note("callback_url", error.to_string());
        }
        Some(url)
    }

    fn test(&self) -> Test {
        let test = Test::new("run", self.bytes("stdin").unwrap_or_default());
        match self.bytes("expected_output") {
            Some(expected) => test.with_expected(expected),
            None => test,
        }
    }
}

/// The words of a command line, if there is one.
fn words_of(line: Option<String>) -> Vec<String> {
    line.map(|line| words::split(&line)).unwrap_or_default()
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
