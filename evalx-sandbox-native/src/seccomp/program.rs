//! [`Filter`]: rules, in order, to a program of classic BPF.

use std::collections::BTreeMap;

use crate::sys::Instruction;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Errno(i32),
    /// The zygote hears of it, and ends the step.
    Notify,
    Kill,
}

impl Action {
    const fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// `AUDIT_ARCH_*` of this build.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCH: u32 = 0xc000_00b7;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A filter under construction: what happens to calls, and to all others.
///
/// It becomes a binary tree over the numbers: the kernel tries a new filter
/// for every call there is, and runs it each time for calls whose arguments
/// count.
#[derive(Debug)]
pub(super) struct Filter {
    rules: BTreeMap<u32, Vec<Rule>>,
    otherwise: Action,
}

/// What happens if all tests hold; the first rule of a call that fits decides.
#[derive(Debug)]
struct Rule {
    /// On the low half of which argument; without one, every use fits.
    argument: Option<u32>,
    /// The last either falls through to the action or skips it.
    tests: Vec<Instruction>,
    action: Action,
}

const fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

impl Filter {
    /// A filter that does `otherwise` with what no rule names. Calls of
    /// another architecture kill; those of x32 are not there.
    pub(super) const fn new(otherwise: Action) -> Self {
        Self { rules: BTreeMap::new(), otherwise }
    }

    fn rule(&mut self, call: libc::c_long, argument: Option<u32>, tests: Vec<Instruction>, action: Action) {
        self.rules.entry(number(call)).or_default().push(Rule { argument, tests, action });
    }

    /// Every use of a call.
    pub(super) fn call(&mut self, call: libc::c_long, action: Action) {
        self.rule(call, None, Vec::new(), action);
    }

    /// Uses whose argument has any of these bits.
    pub(super) fn any_of(&mut self, call: libc::c_long, argument: u32, bits: u32, action: Action) {
        self.rule(call, Some(argument), vec![instruction(JUMP_ANY_BIT, 0, 1, bits)], action);
    }

    /// Uses whose argument has none of these bits.
    pub(super) fn none_set(&mut self, call: libc::c_long, argument: u32, bits: u32, action: Action) {
        self.rule(call, Some(argument), vec![instruction(JUMP_ANY_BIT, 1, 0, bits)], action);
    }

    /// Uses whose argument is this value.
    pub(super) fn equals(&mut self, call: libc::c_long, argument: u32, value: u32, action: Action) {
        self.rule(call, Some(argument), vec![instruction(JUMP_EQUAL, 0, 1, value)], action);
    }

    /// Uses whose argument is none of these values.
    pub(super) fn none_of(&mut self, call: libc::c_long, argument: u32, values: &[i32], action: Action) {
        let tests = (0..values.len()).rev().zip(values).map(|(left, value)| {
            // Over the tests left and the action.
            let skip = u8::try_from(left + 1).expect("a rule has few values");
            instruction(JUMP_EQUAL, skip, 0, value.cast_unsigned())
        });
        self.rule(call, Some(argument), tests.collect(), action);
    }

    pub(super) fn finish(self) -> Vec<Instruction> {
        let mut program = vec![
            instruction(LOAD, 0, 0, ARCHITECTURE),
            instruction(JUMP_EQUAL, 1, 0, ARCH),
            instruction(RETURN, 0, 0, Action::Kill.code()),
            instruction(LOAD, 0, 0, NUMBER),
            #[cfg(target_arch = "x86_64")]
            instruction(JUMP_GREATER_EQUAL, 0, 1, 0x4000_0000),
            #[cfg(target_arch = "x86_64")]
            instruction(RETURN, 0, 0, Action::Errno(libc::ENOSYS).code()),
        ];
        let rules: Vec<(u32, Vec<Rule>)> = self.rules.into_iter().collect();
        program.extend(tree(&rules, self.otherwise));
        program
    }
}

/// Finds a call's rules by halves.
fn tree(rules: &[(u32, Vec<Rule>)], otherwise: Action) -> Vec<Instruction> {
    if let [(number, rules)] = rules {
        let body = body(rules, otherwise);
        let skip = u8::try_from(body.len()).expect("a call has few rules");
        let mut program = vec![instruction(JUMP_EQUAL, 0, skip, *number)];
        program.extend(body);
        program.push(instruction(RETURN, 0, 0, otherwise.code()));
        return program;
    }
    let Some((middle, _)) = rules.get(rules.len() / 2) else {
        return vec![instruction(RETURN, 0, 0, otherwise.code())];
    };
    let (left, right) = rules.split_at(rules.len() / 2);
    let left = tree(left, otherwise);
    // A conditional jump reaches but 255 instructions; a plain one all.
    let over = u32::try_from(left.len()).expect("a filter is short");
    let mut program = vec![instruction(JUMP_GREATER_EQUAL, 0, 1, *middle), instruction(JUMP, 0, 0, over)];
    program.extend(left);
    program.extend(tree(right, otherwise));
    program
}

/// The rules of one call; always returns.
fn body(rules: &[Rule], otherwise: Action) -> Vec<Instruction> {
    let mut body = Vec::new();
    for rule in rules {
        if let Some(argument) = rule.argument {
            // Little-endian on every architecture this builds for.
            body.push(instruction(LOAD, 0, 0, ARGUMENTS + 8 * argument));
        }
        body.extend_from_slice(&rule.tests);
        body.push(instruction(RETURN, 0, 0, rule.action.code()));
    }
    body.push(instruction(RETURN, 0, 0, otherwise.code()));
    body
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("system calls have small numbers")
}

/// Runs a program as the kernel would, for tests.
#[cfg(test)]
pub(super) fn interpret(
    program: &[Instruction],
    arch: u32,
    call: libc::c_long,
    arguments: [u64; 2],
) -> Action {
    let load = |offset: u32| match offset {
        NUMBER => number(call),
        ARCHITECTURE => arch,
        offset => u32::try_from(arguments[((offset - ARGUMENTS) / 8) as usize] & 0xffff_ffff).unwrap(),
    };
    let (mut at, mut value) = (0, 0u32);
    loop {
        let step = program[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { step.if_true } else { step.if_false });
        match step.code {
            LOAD => value = load(step.value),
            JUMP => at += step.value as usize,
            JUMP_EQUAL => at += jump(value == step.value),
            JUMP_GREATER_EQUAL => at += jump(value >= step.value),
            JUMP_ANY_BIT => at += jump(value & step.value != 0),
            RETURN => {
                return match step.value & 0xffff_0000 {
                    libc::SECCOMP_RET_ALLOW => Action::Allow,
                    libc::SECCOMP_RET_ERRNO => Action::Errno((step.value & 0xffff).cast_signed()),
                    libc::SECCOMP_RET_USER_NOTIF => Action::Notify,
                    _ => Action::Kill,
                };
            }
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}
