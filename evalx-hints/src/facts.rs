//! [`Facts`]: what the supervisor knows about the end of a program, before any
//! of its output is read.

use evalx_core::{HintRequest, Outcome, Phase, Signal};

use crate::diagnostic::Diagnostic;

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Facts {
    outcome: Option<Outcome>,
    phase: Phase,
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<Signal>,
}

impl Facts {
    pub(crate) fn of(request: &HintRequest<'_>) -> Self {
        let exit = request.exit_code();
        // A shell in between reports a signal as 128 and its number.
        let through_shell = exit
            .filter(|_| request.phase == Phase::Run)
            .and_then(|code| Signal::from_number(code - 128))
            .filter(|signal| FATAL.contains(signal));
        let signal = request.signal().or(through_shell);
        let exit = exit.filter(|_| signal.is_none());
        Self { outcome: request.outcome.clone(), phase: request.phase, exit, signal }
    }

    /// Whether there is nothing to explain.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self.outcome, None | Some(Outcome::Exited(_)))
            && self.exit == Some(0)
            && self.signal.is_none()
            || matches!(self.outcome, Some(Outcome::Cancelled))
    }

    /// What the supervisor itself did to the program.
    pub(crate) fn supervisor(&self) -> Option<Diagnostic> {
        let kind = match self.outcome.as_ref()? {
            Outcome::CpuTimeLimit | Outcome::WallTimeLimit if self.phase == Phase::Compile => {
                "compile-time-limit"
            }
            Outcome::CpuTimeLimit | Outcome::WallTimeLimit => "time-limit",
            Outcome::MemoryLimit if self.phase == Phase::Compile => "compile-memory-limit",
            Outcome::MemoryLimit => "memory-limit",
            Outcome::OutputLimit => "output-limit",
            Outcome::ProcessLimit => "process-limit",
            Outcome::DiskLimit => "disk-limit",
            Outcome::ForbiddenSyscall(_) => "forbidden-syscall",
            _ => return None,
        };
        Some(Diagnostic::new("supervisor", kind, kind))
    }

    /// How the program ended, where its output says nothing about it.
    pub(crate) fn end(&self) -> Option<Diagnostic> {
        match (self.signal, self.exit) {
            (Some(signal), _) => {
                let name = signal.to_string();
                Some(Diagnostic::new("end", &name, &name))
            }
            (None, Some(code)) if code != 0 => Some(Diagnostic::new("end", "exit", &format!("exit {code}"))),
            _ => None,
        }
    }

    /// What the texts of rules can name.
    pub(crate) fn named(&self) -> Vec<(&'static str, String)> {
        let mut named = Vec::new();
        if let Some(code) = self.exit {
            named.push(("exit", code.to_string()));
        }
        if let Some(signal) = self.signal {
            named.push(("signal", signal.to_string()));
        }
        if let Some(Outcome::ForbiddenSyscall(call)) = &self.outcome {
            named.push(("syscall", call.to_string()));
        }
        named
    }
}

/// The signals that end a program that did not ask for it.
const FATAL: [Signal; 9] = [
    Signal::ILL,
    Signal::ABRT,
    Signal::BUS,
    Signal::FPE,
    Signal::KILL,
    Signal::SEGV,
    Signal::PIPE,
    Signal::TERM,
    Signal::SYS,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Facts {
        Facts::of(&HintRequest::new("c", Phase::Run).with_end(evalx_core::ProgramEnd::Code(code)))
    }

    #[test]
    fn shells_hide_signals() {
        assert_eq!(exited(139).signal, Some(Signal::SEGV));
        assert_eq!(exited(130).exit, Some(130));
        assert!(exited(0).is_success());
        assert!(!exited(1).is_success());
    }
}
