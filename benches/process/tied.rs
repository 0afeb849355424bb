//! A process that the kernel kills when the benchmark ends, even if SIGKILL ends it.
//!
//! This program is executed again. The new process ties itself to its parent with `PR_SET_PDEATHSIG`, and then becomes
//! a floor, the relay, or by exec(3) any other program; the tie survives an exec. This replaces
//! [`CommandExt::pre_exec`], which is unsafe.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{User, setgid, setgroups, setuid};

use crate::Result;

/// Start of the first argument of this program if it is such a process.
const TIED: &str = "--tied-to=";
const EXEC: &str = "exec";
const EXEC_AS: &str = "exec-as";
const OWN: &str = "own";

/// The work of a tied process.
pub enum Role<'a> {
    /// Another program.
    Program(&'a OsStr),
    /// Another program, as another user.
    ProgramOf(&'a str, &'a Path),
    /// A server of this program, named by its arguments.
    Own,
}

/// The command of a tied process. The caller adds the arguments of its program.
pub fn tied(role: &Role<'_>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(format!("{TIED}{}", std::process::id()));
    match role {
        Role::Program(program) => command.arg(EXEC).arg(program),
        Role::ProgramOf(user, program) => command.args([EXEC_AS, user]).arg(program),
        Role::Own => command.arg(OWN),
    };
    Ok(command)
}

/// If this process is a tied one, it takes its role. Returns the arguments of a server of this program, `None` in the
/// benchmark itself.
///
/// # Errors
/// The parent has ended, or the program cannot be executed.
pub fn role_of_this_process() -> Option<Result<Vec<String>>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parent = arguments.first()?.strip_prefix(TIED)?.parse().ok()?;
    Some(take_role(parent, &arguments[1..]))
}

fn take_role(parent: u32, arguments: &[String]) -> Result<Vec<String>> {
    match arguments {
        [role, own @ ..] if role == OWN => tie_to(parent).map(|()| own.to_vec()),
        [role, program, rest @ ..] if role == EXEC => {
            tie_to(parent)?;
            Err(Command::new(program).args(rest).exec().into())
        }
        [role, user, program, rest @ ..] if role == EXEC_AS => {
            become_user(user)?;
            // A change of the user cuts the tie, so it comes first.
            tie_to(parent)?;
            Err(Command::new(program).args(rest).exec().into())
        }
        _ => Err("unknown role".into()),
    }
}

fn become_user(name: &str) -> Result<()> {
    let user = User::from_name(name)?.ok_or_else(|| format!("there is no user {name}"))?;
    setgroups(&[user.gid])?;
    setgid(user.gid)?;
    Ok(setuid(user.uid)?)
}

fn tie_to(parent: u32) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if parent_id() == parent { Ok(()) } else { Err("the parent process has ended".into()) }
}
