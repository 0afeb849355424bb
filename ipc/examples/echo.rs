//! An echo server with one process per connection. It prints its address, serves until SIGTERM, and exits with code 0
//! after its last child has ended. `cargo run -p ipc --example echo` starts it, and `nc` talks to it.
//!
//! The map of the crate explains the traps that this program avoids.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use ipc::descriptors::Inherited;
use ipc::events::{Poller, Token};
use ipc::process::{self, Handover, Pid};
use ipc::signals::{Signal, SignalSource};

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
const CHILD_ENDED: Token = Token(2);

struct Connection(TcpStream);

impl Handover for Connection {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }
}

fn main() -> io::Result<()> {
    Inherited::list()?.close();
    let stop = SignalSource::subscribe(&[Signal::SIGTERM])?;
    let child_ended = SignalSource::subscribe(&[Signal::SIGCHLD])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // A client may be gone again before accept(2), which must not block then.
    listener.set_nonblocking(true)?;
    // The line feed flushes standard output: a child must not inherit unwritten bytes.
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;

    let mut poller = Poller::new()?;
    poller.watch_readable(&listener, LISTENER)?;
    poller.watch_readable(&stop, STOP)?;
    poller.watch_readable(&child_ended, CHILD_ENDED)?;
    let mut listener = Some(listener);
    let mut children = HashSet::new();
    let mut ready = Vec::new();
    while listener.is_some() || !children.is_empty() {
        ready.clear();
        poller.wait(None, &mut ready)?;
        for &token in &ready {
            match (token, &listener) {
                (LISTENER, Some(listener)) => children.extend(accept(listener)?),
                (STOP, _) => {
                    stop.drain();
                    if let Some(listener) = listener.take() {
                        poller.remove(&listener)?;
                    }
                    // An echo has nothing to finish. A child that has work to finish would get an order over a link.
                    children.iter().copied().for_each(process::kill);
                }
                (CHILD_ENDED, _) => {
                    child_ended.drain();
                    while let Some((child, _)) = process::reap() {
                        children.remove(&child);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Accepts the next client and spawns the child that serves it.
fn accept(listener: &TcpListener) -> io::Result<Option<Pid>> {
    match listener.accept() {
        Ok((client, _)) => process::spawn(Connection(client), &[], |connection, _| serve(&connection.0)).map(Some),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Runs in the child: sends each byte back until the client ends. Returns the exit code.
fn serve(client: &TcpStream) -> u8 {
    let (mut input, mut output) = (client, client);
    u8::from(io::copy(&mut input, &mut output).is_err())
}
