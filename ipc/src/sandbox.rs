//! A process that gives up what it does not need: no file can be opened, no program started, no other process touched.
//!
//! Owns the steps, and the question what the kernel has for them: Landlock, seccomp, and limits of resources. A program
//! calls [`Sandbox::probe`] at its start, [`Sandbox::begin`] in the parent before the first fork, [`Sandbox::close`] in
//! each child before it reads a byte that somebody else has written, and [`Sandbox::narrow`] when the child knows which
//! bytes it may write. The module `calls` has the lists of system calls, `filter` the instructions.
//!
//! Invariants:
//!
//! - A step that the kernel has either takes effect or returns an error. The caller must end the process then.
//! - Nothing here can be undone: the kernel only adds restrictions, and children inherit them.
//!
//! # Trap: a file has more doors than one
//!
//! A filter of `pwrite64` is useless if the process can also write to the file with `write` after `lseek`, through a shared
//! mapping, over a duplicate of the descriptor, or with one of the calls that copy between descriptors. So no mapping of a
//! file, no duplicate and no such call is allowed, and `write` refuses the files whose places are restricted.
//!
//! # Trap: a skipped call is filtered again
//!
//! A tracer skips a call by replacing its number by -1. The kernel then asks the filters about -1. They answer ENOSYS, so the
//! process goes on with the result that the tracer sets.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd;

pub use calls::Files;

use crate::calls::{self, of_child, of_parent, of_writer};
use crate::filter::{self, Filter};

/// The newest version of Landlock whose rights are taken: files, TCP, signals, and sockets with abstract names. Later
/// ones concern the sockets of files, which a log may use.
const LANDLOCK: ABI = ABI::V6;
/// The first version of Landlock: files only.
const LANDLOCK_OF_FILES: ABI = ABI::V1;
/// The lowest limit of descriptors. poll(2) refuses to wait for more descriptors than the limit, even if all are open.
const LEAST_DESCRIPTORS: u64 = 8;

/// Which steps are taken. A copy in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    /// The rest is without effect if this is false.
    is_on: bool,
    landlock: Landlock,
    has_seccomp: bool,
}

/// How much of Landlock the kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landlock {
    Missing,
    Partial,
    Full,
}

impl Sandbox {
    /// No step is taken.
    pub const OFF: Self = Self { is_on: false, landlock: Landlock::Missing, has_seccomp: false };

    /// Asks the kernel what it has. Returns also the names of the parts that it lacks.
    pub fn probe() -> (Self, Vec<&'static str>) {
        let landlock = match [LANDLOCK, LANDLOCK_OF_FILES].map(|version| has_landlock(version).is_ok()) {
            [true, _] => Landlock::Full,
            [false, true] => Landlock::Partial,
            [false, false] => Landlock::Missing,
        };
        let has_seccomp = filter::is_available();
        let missing = match landlock {
            Landlock::Full => None,
            Landlock::Partial => Some("landlock version 6"),
            Landlock::Missing => Some("landlock"),
        };
        let missing = missing.into_iter().chain((!has_seccomp).then_some("seccomp")).collect();
        (Self { is_on: true, landlock, has_seccomp }, missing)
    }

    /// The same steps without filters of system calls, as on a kernel that does not have them.
    #[must_use]
    pub fn without_seccomp(self) -> Self {
        Self { has_seccomp: false, ..self }
    }

    /// The step of the parent, after it has opened its files: it and its children can gain no privileges, and make only the
    /// system calls that they need. Others return ENOSYS, and those that only an attacker makes kill the process.
    ///
    /// # Errors
    /// Any error of prctl(2) or seccomp(2).
    pub fn begin(self) -> io::Result<()> {
        if !self.is_on {
            return Ok(());
        }
        prctl::set_no_new_privs()?;
        self.install(of_parent)
    }

    /// The steps of a child that has opened its files: limits, Landlock without any rule, and a filter that removes what
    /// only the parent needs. `files` are the ones that it may write to; with `None` it can change no file.
    ///
    /// # Errors
    /// Any error of setrlimit(2), prctl(2), landlock_restrict_self(2) or seccomp(2); an error also if Landlock enforces
    /// less than at the [probe](Self::probe).
    pub fn close(self, files: Option<Files<'_>>) -> io::Result<()> {
        if !self.is_on {
            return Ok(());
        }
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        setrlimit(Resource::RLIMIT_NPROC, 0, 0)?;
        self.leave_the_file_system()?;
        // After Landlock, which needs a descriptor for a moment.
        let limit = lowest_free()?.max(LEAST_DESCRIPTORS);
        setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?;
        prctl::set_dumpable(false)?;
        self.install(|| of_child(files))
    }

    /// The last step of a child: from now on it can write only to `places` of the files that it [could](Files::written)
    /// write to. The length of each place is a power of two, and its offset a multiple of that.
    ///
    /// # Errors
    /// Any error of prctl(2) or seccomp(2).
    pub fn narrow(self, places: &[(BorrowedFd<'_>, Range<u32>)]) -> io::Result<()> {
        if self.is_on { self.install(|| of_writer(places)) } else { Ok(()) }
    }

    fn install(self, filter: impl FnOnce() -> Filter) -> io::Result<()> {
        if self.has_seccomp { filter().install() } else { Ok(()) }
    }

    fn leave_the_file_system(self) -> io::Result<()> {
        if self.landlock == Landlock::Missing {
            return Ok(());
        }
        let rules = all_rights(LANDLOCK, CompatLevel::BestEffort).and_then(Ruleset::create);
        let status = rules.and_then(|rules| rules.restrict_self()).map_err(io::Error::other)?.ruleset;
        match status {
            RulesetStatus::FullyEnforced => Ok(()),
            RulesetStatus::PartiallyEnforced if self.landlock == Landlock::Partial => Ok(()),
            _ => Err(io::Error::other(format!("landlock: {status:?}"))),
        }
    }
}

/// A ruleset that takes all rights of this version, and has no rule that gives one back.
fn all_rights(version: ABI, level: CompatLevel) -> Result<Ruleset, RulesetError> {
    let rules = Ruleset::default().set_compatibility(level).handle_access(AccessFs::from_all(version))?;
    match version {
        LANDLOCK_OF_FILES => Ok(rules),
        _ => rules.handle_access(AccessNet::from_all(version))?.scope(Scope::from_all(version)),
    }
}

fn has_landlock(version: ABI) -> Result<(), RulesetError> {
    all_rights(version, CompatLevel::HardRequirement).and_then(Ruleset::create).map(drop)
}

/// The lowest number that no descriptor has.
fn lowest_free() -> io::Result<u64> {
    let free = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(0))?;
    unistd::close(free)?;
    Ok(free.unsigned_abs().into())
}
