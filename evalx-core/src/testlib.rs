//! The protocol of checkers and interactors made with testlib: an exit code
//! for the verdict, and a message on stderr.

use crate::{Execution, Outcome, Verdict};

/// The names of the files that are its arguments, in this order.
pub(crate) const FILES: [&str; 3] = ["input.txt", "output.txt", "answer.txt"];

/// What a checker or interactor said.
#[derive(Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) message: Option<String>,
    pub(crate) score: Option<f64>,
}

/// Reads the verdict of a checker or interactor that has ended.
///
/// `_ok` is 0, `_wa` 1, `_pe` 2, `_fail` 3, `_dirt` 4, `_points` 7,
/// `_unexpected_eof` 8, and `_partially` 16 with the percentage added.
pub(crate) fn judge(execution: &Execution) -> Judgement {
    let message = message(&execution.stderr);
    let (verdict, score) = match execution.report.outcome {
        Outcome::Exited(0) => (Verdict::Accepted, None),
        Outcome::Exited(1 | 2 | 4 | 8) => (Verdict::WrongAnswer, None),
        // Points are for the host to weigh; the output was not wrong.
        Outcome::Exited(7) => (Verdict::Accepted, message.as_deref().and_then(points)),
        Outcome::Exited(code @ 16..=116) => (Verdict::WrongAnswer, Some(f64::from(code - 16))),
        _ => (Verdict::InternalError, None),
    };
    let message = match verdict {
        Verdict::InternalError => {
            let why = format!("the checker {}", execution.report.outcome);
            Some(message.map_or_else(|| why.clone(), |message| format!("{why}: {message}")))
        }
        _ => message,
    };
    Judgement { verdict, message, score }
}

/// The start of what it wrote, as one line.
fn message(stderr: &[u8]) -> Option<String> {
    const LONGEST: usize = 1000;
    let text = String::from_utf8_lossy(&stderr[..stderr.len().min(LONGEST)]);
    let words: Vec<_> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The points of `points 0.5 because …`.
fn points(message: &str) -> Option<f64> {
    let words = message.split(' ').map(str::parse);
    words.take(2).find_map(Result::ok).filter(|points: &f64| points.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Signal, StepReport};
    use bytes::Bytes;

    fn judged(outcome: Outcome, stderr: &'static str) -> (Verdict, Option<String>, Option<f64>) {
        let judgement = judge(&Execution::new(StepReport::new(outcome), Bytes::new(), stderr.into()));
        (judgement.verdict, judgement.message, judgement.score)
    }

    #[test]
    fn exit_codes_are_verdicts() {
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            judged(Outcome::Exited(0), "ok 3 numbers\n"),
            (Verdict::Accepted, said("ok 3 numbers"), None)
        );
        for code in [1, 2, 4, 8] {
            assert_eq!(judged(Outcome::Exited(code), "").0, Verdict::WrongAnswer);
        }
        assert_eq!(judged(Outcome::Exited(7), "points 0.5 half").2, Some(0.5));
        assert_eq!(judged(Outcome::Exited(7), "12 of 20").2, Some(12.0));
        assert_eq!(judged(Outcome::Exited(7), "points inf").2, None);
        assert_eq!(
            judged(Outcome::Exited(66), "partially"),
            (Verdict::WrongAnswer, said("partially"), Some(50.0))
        );
    }

    #[test]
    fn a_broken_checker_is_nobodys_wrong_answer() {
        for outcome in [
            Outcome::Exited(3),
            Outcome::Exited(127),
            Outcome::Exited(255),
            Outcome::Signaled(Signal::SEGV),
            Outcome::WallTimeLimit,
        ] {
            assert_eq!(judged(outcome, "").0, Verdict::InternalError);
        }
        let (_, message, _) = judged(Outcome::Exited(3), "FAIL bad\ninput");
        assert_eq!(message.unwrap(), "the checker exited with 3: FAIL bad input");
    }
}
