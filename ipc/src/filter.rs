//! Filters of system calls, as instructions of the kernel's classic BPF.
//!
//! Owns the instructions. Used by `calls`, which knows which call is which. A filter is short, because each child installs
//! one: the kernel compiles it, and asks it about every call that the filters before it always allow. The compiler of the
//! crate `seccompiler` takes five instructions for a call, and none of its conditions adds two arguments; so only its
//! type of an instruction and its installation are used.
//!
//! Each rule begins with the number of the call in the accumulator. It returns a verdict, or goes on with the next rule, with
//! the number still there.

use std::io;
use std::ops::Range;

use nix::libc::{self, c_long};
use seccompiler::{BpfProgram, apply_filter, sock_filter};

/// The verdicts. If several filters differ, the first one in this list counts.
pub const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
pub const NOT_IMPLEMENTED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
pub const FORBIDDEN: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;
pub const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

// struct seccomp_data: number, architecture, instruction pointer, and six arguments of 8 bytes.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const ARGUMENT_LEN: u32 = 8;

/// The architecture whose numbers of system calls `libc` has, as audit.h names it; `None` if there is no filter for it.
const OWN: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xC000_003E)
} else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
    Some(0xC000_00B7)
} else {
    None
};

/// Whether the kernel and this architecture have filters that can kill a process.
pub fn is_available() -> bool {
    let action = KILL;
    // SAFETY: the kernel reads the four bytes of `action`, which lives until the call returns, and changes nothing.
    let asked = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    OWN.is_some() && asked == 0
}

/// A condition of an argument. Arguments are numbered from 0.
#[derive(Debug, Clone, Copy)]
pub enum Check<'a> {
    /// The low half is one of these.
    Is(u32, &'a [u32]),
    /// The low half is none of these.
    IsNot(u32, &'a [u32]),
    /// The low half has at least one of these bits.
    Has(u32, u32),
    /// The low half has none of these bits.
    Lacks(u32, u32),
    /// The argument is not below this number.
    AtLeast(u32, u64),
    /// The high half is zero.
    IsSmall(u32),
}

/// A program, without its last verdict.
#[derive(Debug)]
pub struct Filter(BpfProgram);

impl Filter {
    /// The first filter of a process: a call of another architecture kills it.
    pub fn of_this_architecture() -> Self {
        let own = OWN.unwrap_or_default();
        Self(vec![load(ARCHITECTURE), jump(libc::BPF_JEQ, own, 1, 0), verdict(KILL), load(NUMBER)])
    }

    /// A filter after that one.
    pub fn further() -> Self {
        Self(vec![load(NUMBER)])
    }

    /// These calls get this verdict. At most 250 calls: a jump skips at most 255 instructions.
    pub fn each(mut self, calls: &[c_long], then: u32) -> Self {
        for (at, &call) in calls.iter().enumerate() {
            let rest = u8::try_from(calls.len() - 1 - at).expect("a list of calls is short");
            self.0.push(jump(libc::BPF_JEQ, number(call), rest, u8::from(rest == 0)));
        }
        if !calls.is_empty() {
            self.0.push(verdict(then));
        }
        self
    }

    /// This call is allowed if all checks hold. Otherwise it gets the other verdict.
    pub fn only_if(self, call: c_long, checks: &[Check<'_>], otherwise: u32) -> Self {
        let mut body: BpfProgram = checks.iter().flat_map(|check| check.or(otherwise)).collect();
        body.push(verdict(ALLOW));
        self.block(call, body)
    }

    /// A call with the arguments of pwrite64 is allowed if it stays inside of one of these places: descriptor and bytes of
    /// the file. The length of a place is a power of two, and its offset a multiple of that.
    pub fn only_inside(self, call: c_long, places: &[(u32, Range<u32>)], otherwise: u32) -> Self {
        let small = [Check::IsSmall(2), Check::IsSmall(3)];
        let mut body: BpfProgram = small.iter().flat_map(|check| check.or(otherwise)).collect();
        body.extend(places.iter().flat_map(|(descriptor, place)| inside(*descriptor, place)));
        body.push(verdict(otherwise));
        self.block(call, body)
    }

    /// All other calls get this verdict.
    pub fn others(mut self, then: u32) -> Self {
        self.0.push(verdict(then));
        self
    }

    /// Installs it. It stays, also in children.
    ///
    /// # Errors
    /// The error of prctl(2) or seccomp(2).
    pub fn install(&self) -> io::Result<()> {
        apply_filter(&self.0).map_err(|e| match e {
            seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => e,
            e => io::Error::other(e),
        })
    }

    /// A body that always ends with a verdict, for this call only.
    fn block(mut self, call: c_long, body: BpfProgram) -> Self {
        let len = u8::try_from(body.len()).expect("a rule is short");
        self.0.push(jump(libc::BPF_JEQ, number(call), 0, len));
        self.0.extend(body);
        self
    }
}

impl Check<'_> {
    /// The instructions: go on after them if the check holds, otherwise return the verdict.
    fn or(&self, otherwise: u32) -> BpfProgram {
        let failed = verdict(otherwise);
        match *self {
            Self::Is(argument, values) => {
                let equal = |(at, &value): (usize, &u32)| jump(libc::BPF_JEQ, value, short(values.len() - at), 0);
                [load(low(argument))].into_iter().chain(values.iter().enumerate().map(equal)).chain([failed]).collect()
            }
            Self::IsNot(argument, values) => {
                let last = values.len() - 1;
                let equal =
                    |(at, &value): (usize, &u32)| jump(libc::BPF_JEQ, value, short(last - at), u8::from(at == last));
                [load(low(argument))].into_iter().chain(values.iter().enumerate().map(equal)).chain([failed]).collect()
            }
            Self::Has(argument, bits) => vec![load(low(argument)), jump(libc::BPF_JSET, bits, 1, 0), failed],
            Self::Lacks(argument, bits) => vec![load(low(argument)), jump(libc::BPF_JSET, bits, 0, 1), failed],
            Self::AtLeast(argument, least) => vec![
                load(high(argument)),
                jump(libc::BPF_JGT, (least >> 32) as u32, 4, 0),
                jump(libc::BPF_JEQ, (least >> 32) as u32, 0, 2),
                load(low(argument)),
                jump(libc::BPF_JGE, least as u32, 1, 0),
                failed,
            ],
            Self::IsSmall(argument) => vec![load(high(argument)), jump(libc::BPF_JEQ, 0, 1, 0), failed],
        }
    }
}

/// Allows a pwrite64 inside of the place; otherwise goes on after these instructions.
fn inside(descriptor: u32, place: &Range<u32>) -> BpfProgram {
    let len = place.end - place.start;
    assert!(
        len.is_power_of_two() && place.start.is_multiple_of(len),
        "a place has the form that the filter can compare"
    );
    let [fd, count, offset] = [low(0), low(2), low(3)];
    vec![
        load(fd),
        jump(libc::BPF_JEQ, descriptor, 0, 11),
        load(offset),
        calculate(libc::BPF_AND | libc::BPF_K, !(len - 1)),
        jump(libc::BPF_JEQ, place.start, 0, 8),
        load(offset),
        calculate(libc::BPF_AND | libc::BPF_K, len - 1),
        sock_filter { code: (libc::BPF_MISC | libc::BPF_TAX) as u16, jt: 0, jf: 0, k: 0 },
        load(count),
        // First alone, because the sum may overflow.
        jump(libc::BPF_JGT, len, 3, 0),
        calculate(libc::BPF_ADD | libc::BPF_X, 0),
        jump(libc::BPF_JGT, len, 1, 0),
        verdict(ALLOW),
    ]
}

fn load(at: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: at }
}

/// Skips this many instructions if the comparison of the accumulator holds, and if not.
fn jump(comparison: u32, k: u32, holds: u8, fails: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | libc::BPF_K | comparison) as u16, jt: holds, jf: fails, k }
}

fn calculate(operation: u32, k: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_ALU | operation) as u16, jt: 0, jf: 0, k }
}

fn verdict(verdict: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

fn low(argument: u32) -> u32 {
    FIRST_ARGUMENT + ARGUMENT_LEN * argument
}

/// Both architectures are little-endian.
fn high(argument: u32) -> u32 {
    low(argument) + ARGUMENT_LEN / 2
}

fn number(call: c_long) -> u32 {
    u32::try_from(call).expect("numbers of system calls are small")
}

fn short(distance: usize) -> u8 {
    u8::try_from(distance).expect("a rule is short")
}
