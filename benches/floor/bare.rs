//! A floor with the bare system calls: accept, fork, the child's work, `_exit`, reap.
//!
//! This module has `unsafe` blocks: fork(2) and `_exit` without the project's `ipc` crate, which is one of the things that
//! are measured, and a signal handler, because a signal pipe would cost a poll(2) per connection.

#![allow(unsafe_code, reason = "the bare system calls are the floor; each block says why it is sound")]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, wait, waitpid};
use nix::unistd::{ForkResult, fork};

use super::{Sync, session};

/// The listening socket, for the signal handler.
static LISTENER: AtomicI32 = AtomicI32::new(-1);

/// Holds the first `held` connections until their client closes. Each later one gets an answer.
pub fn answer(listener: &TcpListener, held: u32) -> io::Result<()> {
    let mut accepted = 0;
    accept_all(listener, |client| {
        accepted += 1;
        in_child(|| if accepted <= held { session::hold(client) } else { session::answer(client) })
    })
}

/// Stores the batches of `agencies` agencies, of which each connects once.
pub fn store(listener: &TcpListener, agencies: u32, sync: Sync) -> io::Result<()> {
    let (all_ended, not_ended) = io::pipe()?;
    let mut not_ended = Some(not_ended);
    let mut left = agencies;
    accept_all(listener, |client| {
        // The child drops its copy of the writing end when its agency has ended; the reading end is never closed.
        in_child(|| session::store(client, &all_ended, not_ended.take(), sync))?;
        left = left.saturating_sub(1);
        not_ended.take_if(|_| left == 0);
        Ok(())
    })
}

/// Forks a child that does `work` and exits.
fn in_child(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this process has one thread, so the child may use everything that it inherits.
    match unsafe { fork() }? {
        // SAFETY: _exit(2) never returns. It runs no destructor, and the kernel closes the descriptors.
        ForkResult::Child => unsafe { libc::_exit(work().is_err().into()) },
        ForkResult::Parent { .. } => Ok(()),
    }
}

/// Accepts until SIGTERM, and reaps after each connection; then waits for the children that are left.
fn accept_all(listener: &TcpListener, mut serve: impl FnMut(TcpStream) -> io::Result<()>) -> io::Result<()> {
    shut_down_at_sigterm(listener.as_raw_fd())?;
    // A listener that is shut down accepts nothing.
    while let Ok((client, _)) = listener.accept() {
        serve(client)?;
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {}
    }
    while wait().is_ok() {}
    Ok(())
}

fn shut_down_at_sigterm(listener: RawFd) -> io::Result<()> {
    LISTENER.store(listener, Ordering::Relaxed);
    let action = SigAction::new(SigHandler::Handler(shut_down), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler only reads an atomic and calls shutdown(2), which is async-signal-safe.
    unsafe { signal::sigaction(Signal::SIGTERM, &action) }?;
    Ok(())
}

/// Ends accept(2), the current call or the next one.
extern "C" fn shut_down(_: libc::c_int) {
    // SAFETY: shutdown(2) takes any number; an unknown descriptor is only an error.
    unsafe { libc::shutdown(LISTENER.load(Ordering::Relaxed), libc::SHUT_RD) };
}
