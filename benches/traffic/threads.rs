//! Clients at the same time, each in a thread of its own.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::RwLock;
use std::thread;
use std::time::{Duration, Instant};

use ipc::events::PollFlags;
use loteria::agency::stop::StopSignal;

use super::process::Running;
use crate::Result;

/// Runs `client` once for each of `agents`, all at the same time, with the server's port. If a client fails, a signal
/// arrives, or `limit` passes, the server is killed; this ends all clients.
pub fn all_at_once<A: Sync, T: Send>(
    server: &mut Running,
    (stop, limit): (&StopSignal, Duration),
    agents: &[A],
    client: impl Fn(u16, &A) -> io::Result<T> + Sync,
) -> Result<Vec<T>> {
    let (ended, working) = io::pipe()?;
    let handles = agents.iter().map(|_| working.try_clone()).collect::<io::Result<Vec<_>>>()?;
    drop(working);
    let (port, gate) = (server.port(), RwLock::new(()));
    let run = &|agent, mut working: PipeWriter| {
        drop(gate.read());
        client(port, agent).inspect_err(|e| drop(working.write_all(format!("{e}\n").as_bytes())))
    };
    thread::scope(|scope| {
        let closed = gate.write();
        let spawn = |(agent, working)| thread::Builder::new().spawn_scoped(scope, move || run(agent, working));
        let clients = agents.iter().zip(handles).map(spawn).collect::<io::Result<Vec<_>>>();
        drop(closed);
        let waited: Result<_> = clients.map_err(Into::into).and_then(|clients| {
            await_end(ended, stop, limit)?;
            Ok(clients)
        });
        let clients = waited.inspect_err(|_| server.kill())?;
        clients.into_iter().map(|client| Ok(client.join().map_err(|_| "a client panicked")??)).collect()
    })
}

/// Waits until every client has closed the other end of `ended`. A client that fails first writes its error there.
fn await_end(mut ended: PipeReader, stop: &StopSignal, limit: Duration) -> Result<()> {
    let events = stop.wait(ended.as_fd(), PollFlags::POLLIN, Some(Instant::now() + limit))?;
    if events.is_empty() {
        return Err(format!("the clients are not done within {limit:?}").into());
    }
    // A signal to the whole process group also ends the server: then that is the cause.
    stop.check()?;
    let mut error = [0; 200];
    let len = ended.read(&mut error)?;
    match String::from_utf8_lossy(&error[..len]).lines().next() {
        None => Ok(()),
        Some(error) => Err(format!("a client failed: {error}").into()),
    }
}
