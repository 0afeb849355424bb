//! One program under ptrace(2), and one fault in it.
//!
//! Owns the stops of the traced processes: it counts their system calls by role, and makes one of them fail, be cut
//! short, or be the last one. Used by the play; knows the calls from the table, and of the programs only how their
//! roles are distinguished. The tracing thread starts the program, since a tracee reports only to the thread that has
//! seized it.
//!
//! | fault | at the entry | at the exit |
//! |---|---|---|
//! | kill | SIGKILL: the call is not made | |
//! | error | the call is skipped (unless it is done in spite of the error) | the result is replaced by the error |
//! | short | half of the count | the register is restored |
//! | torn | half of the count | SIGKILL |

use std::collections::{BTreeSet, HashMap};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use ipc::process::Exit;
use nix::errno::Errno;
use nix::libc::{self, c_int, c_long, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::table::{self, On};

/// The process that makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Role {
    /// The server's parent.
    Parent,
    /// The child of the first connection, which waits for the draw while the others work.
    First,
    /// A child of a later connection.
    Session,
    /// The child that holds the draw.
    Draw,
    /// The client.
    Client,
    /// The client's thread that resolves names.
    Resolver,
}

/// The fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before it.
    Kill,
    /// It fails.
    Error(Errno),
    /// It does half of the work and returns that count.
    Short,
    /// It does half, and the process is killed.
    Torn,
}

/// The call that is hit, the `nth` of its kind by this role, and its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    pub role: Role,
    pub call: c_long,
    pub nth: u32,
    pub fault: Fault,
}

/// A call that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub role: Role,
    pub call: c_long,
    pub nth: u32,
    pub on: On,
}

/// The call that was hit.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    pub pid: i32,
    pub on: On,
    /// Whether the parent was past its start.
    pub serving: bool,
    /// Whether its process has sent bytes over its connection since.
    pub answered: bool,
    /// The role that the call concerns: its own process; or, for a parent, the child on the link of the call, or else
    /// the next child.
    pub about: Role,
}

/// The results of a trace.
#[derive(Debug, Default)]
pub struct Trace {
    pub positions: Vec<Position>,
    pub hit: Option<Hit>,
    pub ends: Vec<(i32, Role, Exit)>,
    /// Numbers of calls that the table does not know.
    pub unknown: BTreeSet<c_long>,
}

/// A program that is traced.
pub struct Traced {
    pid: i32,
    exit: Arc<OnceLock<Exit>>,
    thread: JoinHandle<Trace>,
}

impl Traced {
    /// Starts `program`, which stops itself before it executes the traced program; `role` is the role of its first
    /// process.
    ///
    /// # Errors
    /// The reason why it cannot be traced.
    pub fn start(program: Command, role: Role, aim: Option<Aim>) -> Result<Self, String> {
        let (send, started) = channel();
        let exit = Arc::new(OnceLock::new());
        let tracer = Tracer::new(role, aim, exit.clone());
        let thread = thread::spawn(move || tracer.run(program, &send));
        let pid = started.recv().map_err(|e| e.to_string())??;
        Ok(Self { pid, exit, thread })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// How its first process ended; `None` while it runs.
    pub fn exit(&self) -> Option<Exit> {
        self.exit.get().copied()
    }

    /// Whether all its processes have ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// The results, once all its processes have ended.
    pub fn trace(self) -> Trace {
        self.thread.join().unwrap_or_default()
    }
}

/// The work that remains when a call returns.
#[derive(Clone, Copy)]
enum Owed {
    Error(Errno),
    /// The original count; the process is killed then, or not.
    Count(u64, Fault),
}

struct Tracer {
    root: Pid,
    root_role: Role,
    aim: Option<Aim>,
    exit: Arc<OnceLock<Exit>>,
    trace: Trace,
    /// `None` until the stop of its parent has reported it; the process does not run before.
    tasks: HashMap<Pid, Option<Role>>,
    owed: HashMap<Pid, Owed>,
    counts: HashMap<(Role, c_long), u32>,
    /// Whether it is past the loader and the standard library's work before main.
    in_main: bool,
    serving: bool,
    accepted: bool,
    /// The session that was forked last, until the parent watches its link.
    forked: Option<(Pid, Role)>,
    /// The parent's ends of links.
    links: HashMap<u64, (Pid, Role)>,
    sessions: u32,
}

impl Tracer {
    fn new(root_role: Role, aim: Option<Aim>, exit: Arc<OnceLock<Exit>>) -> Self {
        Self {
            root: Pid::from_raw(0),
            root_role,
            aim,
            exit,
            trace: Trace::default(),
            tasks: HashMap::new(),
            owed: HashMap::new(),
            counts: HashMap::new(),
            in_main: false,
            serving: false,
            accepted: false,
            forked: None,
            links: HashMap::new(),
            sessions: 0,
        }
    }

    fn run(mut self, program: Command, started: &Sender<Result<i32, String>>) -> Trace {
        match seize(program) {
            Ok(pid) => {
                self.root = pid;
                self.tasks.insert(pid, Some(self.root_role));
                let _ = started.send(Ok(pid.as_raw()));
                self.follow();
            }
            Err(e) => drop(started.send(Err(e))),
        }
        self.trace
    }

    /// Traces until none of the processes is left.
    fn follow(&mut self) {
        let own = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while !self.tasks.is_empty() {
            match waitpid(None, Some(own)) {
                Ok(WaitStatus::PtraceSyscall(pid)) => self.at_call(pid),
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => self.at_event(pid, event),
                Ok(WaitStatus::Stopped(pid, signal)) => resume(pid, Some(signal)),
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, Exit::Killed(signal)),
                Err(Errno::EINTR) | Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn at_event(&mut self, pid: Pid, event: c_int) {
        match event {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = ptrace::getevent(pid).ok().and_then(|child| i32::try_from(child).ok()).map(Pid::from_raw);
                if let Some(child) = child {
                    let role = if event == libc::PTRACE_EVENT_CLONE { Role::Resolver } else { self.role_of(child) };
                    if self.tasks.insert(child, Some(role)).is_some() {
                        resume(child, None);
                    }
                }
            }
            libc::PTRACE_EVENT_STOP if !self.tasks.contains_key(&pid) => {
                self.tasks.insert(pid, None);
                return;
            }
            _ => {}
        }
        resume(pid, None);
    }

    /// A fork after an accept that returned a connection is a session's, any other fork the draw's.
    fn role_of(&mut self, forked: Pid) -> Role {
        if !std::mem::take(&mut self.accepted) {
            return Role::Draw;
        }
        let role = self.next_session();
        self.sessions += 1;
        self.forked = Some((forked, role));
        role
    }

    fn next_session(&self) -> Role {
        if self.sessions == 0 { Role::First } else { Role::Session }
    }

    fn at_call(&mut self, pid: Pid) {
        let is_entry = ptrace::syscall_info(pid).is_ok_and(|info| info.op == libc::PTRACE_SYSCALL_INFO_ENTRY);
        if let (Ok(regs), Some(&Some(role))) = (ptrace::getregs(pid), self.tasks.get(&pid)) {
            if is_entry { self.entry(pid, role, regs) } else { self.leave(pid, role, regs) }
        }
        resume(pid, None);
    }

    fn entry(&mut self, pid: Pid, role: Role, regs: user_regs_struct) {
        let call = regs.orig_rax as c_long;
        if !self.in_main {
            // The last step before main: the handlers for a stack overflow.
            self.in_main = call == libc::SYS_rt_sigaction && regs.rdi == libc::SIGBUS as u64 && regs.rsi != 0;
            return;
        }
        if table::name(call).is_none() {
            self.trace.unknown.insert(call);
        }
        // The first descriptor that a parent watches after a fork is the link.
        if (role, call) == (Role::Parent, libc::SYS_epoll_ctl)
            && let Some(child) = self.forked.take()
        {
            self.links.insert(regs.rdx, child);
        }
        self.serving |= role == Role::Parent && call == libc::SYS_epoll_wait;
        let on = table::on(pid.as_raw(), call, [regs.rdi, regs.rsi, regs.rdx, regs.r10]);
        if let Some(hit) = &mut self.trace.hit {
            hit.answered |= hit.pid == pid.as_raw() && call == libc::SYS_sendto && on == On::Stream;
        }
        let nth = self.counts.entry((role, call)).or_default();
        *nth += 1;
        let position = Position { role, call, nth: *nth, on };
        self.trace.positions.push(position);
        let is_meant = |aim: &mut Aim| (aim.role, aim.call, aim.nth) == (role, call, position.nth);
        // The n-th call may differ a little from run to run, and different targets have different errors.
        if let Some(aim) = self.aim.take_if(is_meant)
            && table::faults(role, call, on).contains(&aim.fault)
        {
            self.strike(pid, aim, on, regs);
        }
    }

    fn strike(&mut self, pid: Pid, aim: Aim, on: On, regs: user_regs_struct) {
        let fd = if aim.call == libc::SYS_epoll_ctl { regs.rdx } else { regs.rdi };
        let peer = self.links.get(&fd).copied().filter(|_| aim.role == Role::Parent);
        let about = match (peer, aim.role) {
            (Some((_, child)), _) => child,
            (None, Role::Parent) => self.next_session(),
            (None, own) => own,
        };
        self.trace.hit = Some(Hit { pid: pid.as_raw(), on, serving: self.serving, answered: false, about });
        // A living child has not closed its link.
        if let (Some((child, _)), libc::SYS_sendto, Fault::Error(Errno::EPIPE | Errno::ECONNRESET)) =
            (peer, aim.call, aim.fault)
        {
            let _ = kill(child, Signal::SIGKILL);
        }
        self.inject(pid, aim, regs);
    }

    fn inject(&mut self, pid: Pid, aim: Aim, mut regs: user_regs_struct) {
        match aim.fault {
            Fault::Kill => drop(kill(pid, Signal::SIGKILL)),
            Fault::Error(errno) => {
                self.owed.insert(pid, Owed::Error(errno));
                if !table::is_done_all_the_same(aim.call) {
                    regs.orig_rax = u64::MAX;
                }
            }
            Fault::Short | Fault::Torn => {
                self.owed.insert(pid, Owed::Count(regs.rdx, aim.fault));
                regs.rdx = regs.rdx.div_ceil(2);
            }
        }
        let _ = ptrace::setregs(pid, regs);
    }

    fn leave(&mut self, pid: Pid, role: Role, mut regs: user_regs_struct) {
        if role == Role::Parent && regs.orig_rax as c_long == libc::SYS_accept4 {
            self.accepted = (regs.rax as i64) >= 0;
        }
        match self.owed.remove(&pid) {
            None => return,
            Some(Owed::Error(errno)) => regs.rax = i64::from(-(errno as i32)) as u64,
            Some(Owed::Count(count, fault)) => {
                regs.rdx = count;
                if fault == Fault::Torn {
                    let _ = kill(pid, Signal::SIGKILL);
                }
            }
        }
        let _ = ptrace::setregs(pid, regs);
    }

    fn ended(&mut self, pid: Pid, exit: Exit) {
        if let Some(Some(role)) = self.tasks.remove(&pid)
            && role != Role::Resolver
        {
            self.trace.ends.push((pid.as_raw(), role, exit));
        }
        if pid == self.root {
            let _ = self.exit.set(exit);
        }
    }
}

/// Starts `program`, waits until it has stopped itself, and continues it under the tracer.
fn seize(mut program: Command) -> Result<Pid, String> {
    let child = program.spawn().map_err(|e| e.to_string())?;
    let pid = Pid::from_raw(child.id().try_into().map_err(|_| "no pid")?);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    let seized = waitpid(pid, Some(WaitPidFlag::WUNTRACED))
        .and_then(|_| ptrace::seize(pid, options))
        .and_then(|()| kill(pid, Signal::SIGCONT));
    seized.map(|()| pid).map_err(|errno| {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, None);
        format!("ptrace: {errno}")
    })
}

/// Resumes a process; one that has just been killed needs no resuming.
fn resume(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(pid, signal);
}
