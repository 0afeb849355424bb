//! Forking at a constant cost, however many descriptors the parent has open.
//!
//! Owns the handed-over descriptors until a new child has a table of its own. The parent process of a server uses it.
//!
//! A plain fork copies every descriptor of the parent, and the child closes each copy. A server that holds one link for each
//! child pays for all of them at each connection. A child of a [`Nursery`] instead *shares* the parent's table at first
//! (`CLONE_FILES`), and its first system call, close_range(2) with `CLOSE_RANGE_UNSHARE`, copies only the low part of the
//! table. The links are not in it: the server [parks](crate::descriptors::park) them at higher numbers.
//!
//! ```text
//!   parent                                       child
//!   clone(CLONE_FILES) ────────────────────────▶ close_range(FIRST_PARKED, …, UNSHARE): now it has its own table
//!   holds the handed-over descriptors    ┌────── writes its number into the pipe
//!   closes them when it reads the number ◀       closes all but its own, runs
//! ```
//!
//! # Trap: a descriptor that one closes is closed in both
//!
//! While the table is shared,
//!
//! - the child makes no other system call and runs no destructor. If it cannot unshare, it ends by _exit(2);
//! - the parent keeps the descriptors of the handover open. It never waits for the child: it closes them when the child's
//!   number arrives, or when the child has been reaped. Meanwhile it may open and close others. Those of the low part may
//!   appear in the child's copy, and the child closes them there with everything else that is not its own. They cannot take
//!   the numbers of the handover, which are still in use.
//!
//! `docs/processes.md` lists what happens when either process dies or stops at each step.
//!
//! # Trap: a system call forks without glibc
//!
//! fork(3) also runs the handlers of pthread_atfork(3), resets locks of glibc that another thread may hold, and updates
//! the thread's id in memory. In a process with one thread no lock is held, and neither Rust nor this workspace registers
//! such handlers. The stale id has no effect with glibc 2.25 or later, whose raise(3) asks the kernel; musl's does not, so
//! without glibc, each child is a plain [`process::spawn`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::unistd;

use crate::descriptors::{FIRST_PARKED, close_range};
use crate::process::{self, Forked, Handover, NOT_SET_UP, Pid};
use crate::signals::{Signal, SignalSource};

/// Most children whose descriptors are held. Two descriptors for each and those of a program leave room below
/// [`FIRST_PARKED`]. Beyond that, for example because children are stopped, children are plain forks.
pub const MOST_HELD: usize = 48;
/// Bytes of a child's number in the pipe.
const NUMBER: usize = size_of::<u64>();
/// Whether the raw system call may be used ([the trap](self#trap-a-system-call-forks-without-glibc)). On s390 its arguments
/// have another order.
const MAY_CLONE: bool = cfg!(all(target_env = "gnu", not(target_arch = "s390x")));

/// A [`Handover`] of which the parent keeps the descriptors open for a while.
pub trait Parting: Handover {
    /// Returns the descriptors that only this handover owns, and drops the rest of it. The other
    /// [descriptors](Handover::descriptors) must stay open in the parent as long as children start.
    fn part(self) -> Vec<OwnedFd>;
}

/// Forks children, and holds their descriptors until each has a table of its own. Readable when one has.
#[derive(Debug)]
pub struct Nursery {
    arrivals: OwnedFd,
    announce: OwnedFd,
    held: Vec<Held>,
    most_held: usize,
    /// The number of the next child. Numbers are never used again, unlike pids.
    next: u64,
    can_share: bool,
}

#[derive(Debug)]
struct Held {
    number: u64,
    child: Pid,
    _descriptors: Vec<OwnedFd>,
}

impl Nursery {
    /// Creates a nursery without children. It holds the descriptors of at most `most_held` children, and never those of more
    /// than [`MOST_HELD`]. A process with few descriptors left allows fewer, so that no connection fails for want of them.
    ///
    /// # Errors
    /// Any error of pipe(2), for example EMFILE.
    pub fn new(most_held: usize) -> io::Result<Self> {
        let most_held = most_held.min(MOST_HELD);
        let (arrivals, announce) = unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Closes nothing: no descriptor has this number. ENOSYS before Linux 5.9.
        let can_share = MAY_CLONE && close_range(RawFd::MAX, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE).is_ok();
        Ok(Self { arrivals, announce, held: Vec::with_capacity(most_held), most_held, next: 0, can_share })
    }

    /// As [`process::spawn`], except that the parent closes the descriptors of `handover` later: call
    /// [`Nursery::settle`] when this nursery is readable, and [`Nursery::reaped`] for each reaped child.
    ///
    /// # Errors
    /// As for [`process::spawn`].
    pub fn spawn<H, F>(&mut self, handover: H, signals: &[Signal], run: F) -> io::Result<Pid>
    where
        H: Parting,
        F: FnOnce(H, SignalSource) -> u8 + 'static,
    {
        if self.held.len() >= self.most_held {
            self.settle();
        }
        if !self.can_share || self.held.len() >= self.most_held || !are_low(&handover) {
            return process::spawn(handover, signals, run);
        }
        let (parent, number) = (unistd::getpid(), self.next);
        self.next += 1;
        // SAFETY: as for the fork of `process::spawn`. The child shares the table of descriptors: its next step ends that.
        let forked = process::with_signals_blocked(|| unsafe { clone_with_shared_table() });
        match forked? {
            Forked::Parent(child) => {
                self.held.push(Held { number, child, _descriptors: handover.part() });
                Ok(child)
            }
            Forked::Child(mask) => {
                own_table_or_exit();
                self.announce(number);
                process::live(parent, &mask, handover, signals, run)
            }
        }
    }

    /// Closes the descriptors of the children that have announced themselves. Never blocks.
    pub fn settle(&mut self) {
        let mut numbers = [0; MOST_HELD * NUMBER];
        while let Ok(len @ 1..) = unistd::read(&self.arrivals, &mut numbers) {
            for number in numbers[..len].chunks_exact(NUMBER) {
                self.held.retain(|held| held.number.to_ne_bytes() != number);
            }
            if len < numbers.len() {
                return;
            }
        }
    }

    /// Closes what is held for a reaped child, which may have died before it announced itself.
    pub fn reaped(&mut self, child: Pid) {
        self.held.retain(|held| held.child != child);
    }

    /// The children that have not announced themselves yet, at most [`MOST_HELD`]. While the parent holds the other end of a
    /// child's link, the link does not end with the child: look at these children after each SIGCHLD.
    pub fn unsettled(&self) -> impl Iterator<Item = Pid> {
        self.held.iter().map(|held| held.child)
    }

    /// In the child. It cannot fail: the pipe has room for many more numbers than there are held children. If it did, the
    /// parent would hold the descriptors until it has reaped the child.
    fn announce(&self, number: u64) {
        let _ = unistd::write(&self.announce, &number.to_ne_bytes());
    }
}

impl AsFd for Nursery {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.as_fd()
    }
}

/// Whether the child's copy of the low part of the table has all descriptors of `handover`.
fn are_low(handover: &impl Handover) -> bool {
    handover.descriptors().iter().all(|fd| fd.as_raw_fd() < FIRST_PARKED)
}

/// Forks a child that shares this process's table of descriptors. Returns its pid, or `None` in the child.
///
/// # Safety
/// The process has one thread. The child calls [`own_table_or_exit`] before anything else.
unsafe fn clone_with_shared_table() -> nix::Result<Option<Pid>> {
    let flags = libc::c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
    let zero: libc::c_long = 0;
    // SAFETY: without CLONE_VM and with a null stack, the child goes on with a copy of this stack, as after fork(2).
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, zero, zero, zero, zero) };
    let pid = Errno::result(pid)?;
    Ok((pid > 0).then(|| Pid::from_raw(i32::try_from(pid).expect("the kernel returns a pid"))))
}

/// The first step of a child: copies the low part of the table, and leaves the shared one. If that fails (out of memory),
/// the process ends, and closes nothing in the parent's table.
fn own_table_or_exit() {
    if close_range(FIRST_PARKED, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE).is_err() {
        process::exit_at_once(NOT_SET_UP);
    }
}
