//! The first message of a session, `start`: what is run, and how.

use evalx_core::Submission;
use evalx_service::{Interactive, SessionRules};

use super::super::reader::{Fields, Wrong};
use super::super::request;
use super::message::{object, size};
use crate::app::App;
use crate::problem::Problem;

/// Reads a `start`.
///
/// # Errors
///
/// Every wrong field.
pub(super) fn read(app: &App, rules: &SessionRules, text: &str) -> Result<Interactive, Problem> {
    let mut wrong = Wrong::default();
    let interactive =
        object(text, &mut wrong)?.and_then(|fields| interactive(app, rules, fields, &mut wrong));
    match interactive {
        Some(interactive) if wrong.is_empty() => Ok(interactive),
        _ => Err(Problem::fields(wrong.into_errors())),
    }
}

fn interactive(
    app: &App,
    rules: &SessionRules,
    mut fields: Fields,
    wrong: &mut Wrong,
) -> Option<Interactive> {
    if fields.required("type", wrong).is_some_and(|kind| kind != "start") {
        wrong.note(fields.at("type"), "the first message must be `start`");
    }
    let code = request::code(app, &mut fields, wrong);
    let arguments = fields.texts("arguments", request::MOST_ARGUMENTS, wrong);
    // Most of the time passes while somebody thinks.
    let mut caps = app.caps.clone();
    caps.max_wall = rules.duration;
    let defaults = request::default_limits(&caps).with_wall_time(rules.duration);
    let limits = request::limits(&caps, defaults, &mut fields, wrong);
    let terminal = match fields.take("terminal") {
        None => None,
        Some(value) => Fields::of(fields.at("terminal"), value, wrong).and_then(|mut fields| {
            let size = size(&mut fields, wrong);
            fields.finish(wrong);
            size
        }),
    };
    fields.finish(wrong);
    let submission = Submission::from_code(code?).with_arguments(arguments).with_limits(limits);
    Some(Interactive::new(submission).with_terminal(terminal))
}
