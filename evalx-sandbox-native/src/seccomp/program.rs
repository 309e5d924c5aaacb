//! [`Filter`]: rules, in order, to a program of classic BPF.

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
#[cfg(target_arch = "x86_64")]
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A filter under construction. The first rule that fits a call decides.
#[derive(Debug)]
pub(super) struct Filter {
    program: Vec<Instruction>,
    otherwise: Action,
}

const fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

impl Filter {
    /// A filter that does `otherwise` with what no rule names. Calls of
    /// another architecture kill; those of x32 are not there.
    pub(super) fn new(otherwise: Action) -> Self {
        let program = vec![
            instruction(LOAD, 0, 0, ARCHITECTURE),
            instruction(JUMP_EQUAL, 1, 0, ARCH),
            instruction(RETURN, 0, 0, Action::Kill.code()),
            instruction(LOAD, 0, 0, NUMBER),
            #[cfg(target_arch = "x86_64")]
            instruction(JUMP_GREATER_EQUAL, 0, 1, 0x4000_0000),
            #[cfg(target_arch = "x86_64")]
            instruction(RETURN, 0, 0, Action::Errno(libc::ENOSYS).code()),
        ];
        Self { program, otherwise }
    }

    /// Every use of a call.
    pub(super) fn call(&mut self, call: libc::c_long, action: Action) {
        self.program.push(instruction(JUMP_EQUAL, 0, 1, number(call)));
        self.program.push(instruction(RETURN, 0, 0, action.code()));
    }

    /// Uses whose argument has any of these bits.
    pub(super) fn any_of(&mut self, call: libc::c_long, argument: u32, bits: u32, action: Action) {
        self.with_argument(call, argument, &[instruction(JUMP_ANY_BIT, 0, 1, bits)], action);
    }

    /// Uses whose argument is this value.
    pub(super) fn equals(&mut self, call: libc::c_long, argument: u32, value: u32, action: Action) {
        self.with_argument(call, argument, &[instruction(JUMP_EQUAL, 0, 1, value)], action);
    }

    /// Uses whose argument, under `mask`, is this value.
    pub(super) fn masked(
        &mut self,
        call: libc::c_long,
        argument: u32,
        mask: u32,
        value: u32,
        action: Action,
    ) {
        const AND: u16 = 0x54;
        let tests = [instruction(AND, 0, 0, mask), instruction(JUMP_EQUAL, 0, 1, value)];
        self.with_argument(call, argument, &tests, action);
    }

    /// Uses whose argument is none of these values.
    pub(super) fn none_of(&mut self, call: libc::c_long, argument: u32, values: &[i32], action: Action) {
        let mut tests = Vec::new();
        for (left, value) in (0..values.len()).rev().zip(values) {
            // Over the tests left and the return.
            let skip = u8::try_from(left + 1).expect("a rule has few values");
            tests.push(instruction(JUMP_EQUAL, skip, 0, value.cast_unsigned()));
        }
        self.with_argument(call, argument, &tests, action);
    }

    /// `tests` on the low half of an argument, the last of which falls
    /// through to the action or skips it; then the number again for the next rule.
    fn with_argument(&mut self, call: libc::c_long, argument: u32, tests: &[Instruction], action: Action) {
        // Little-endian on every architecture this builds for.
        let low_half = ARGUMENTS + 8 * argument;
        let body = tests.len() + 3;
        self.program.push(instruction(JUMP_EQUAL, 1, 0, number(call)));
        let over = u32::try_from(body).expect("a rule is short");
        self.program.push(instruction(JUMP, 0, 0, over));
        self.program.push(instruction(LOAD, 0, 0, low_half));
        self.program.extend_from_slice(tests);
        self.program.push(instruction(RETURN, 0, 0, action.code()));
        self.program.push(instruction(LOAD, 0, 0, NUMBER));
    }

    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.program.push(instruction(RETURN, 0, 0, self.otherwise.code()));
        self.program
    }
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
        offset => arguments[((offset - ARGUMENTS) / 8) as usize] as u32,
    };
    let (mut at, mut value) = (0, 0u32);
    loop {
        let step = program[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { step.if_true } else { step.if_false });
        match step.code {
            LOAD => value = load(step.value),
            0x54 => value &= step.value,
            JUMP => at += step.value as usize,
            JUMP_EQUAL => at += jump(value == step.value),
            0x35 => at += jump(value >= step.value),
            JUMP_ANY_BIT => at += jump(value & step.value != 0),
            RETURN => {
                return match step.value & 0xffff_0000 {
                    libc::SECCOMP_RET_ALLOW => Action::Allow,
                    libc::SECCOMP_RET_ERRNO => Action::Errno((step.value & 0xffff) as i32),
                    libc::SECCOMP_RET_USER_NOTIF => Action::Notify,
                    _ => Action::Kill,
                };
            }
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}
