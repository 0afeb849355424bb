//! Minimal clients at the same time, each in a thread of its own.

use std::io;
use std::sync::{RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::Running;
use crate::stop::Stop;

/// Longest time until a signal is noticed.
const INTERVAL: Duration = Duration::from_millis(50);

/// Runs `client` once for each of `agents`, all at the same time. If a client fails, a signal arrives, or `limit` passes,
/// the server is killed; this ends all clients.
pub fn all_at_once<A: Sync, T: Send>(
    server: &mut Running,
    (stop, limit): (&Stop, Duration),
    agents: &[A],
    client: impl Fn(&A) -> io::Result<T> + Sync,
) -> Result<Vec<T>> {
    let (done, results) = mpsc::channel();
    let gate = RwLock::new(());
    let (client, gate) = (&client, &gate);
    thread::scope(|scope| {
        let closed = gate.write();
        for (at, agent) in agents.iter().enumerate() {
            let done = done.clone();
            thread::Builder::new().spawn_scoped(scope, move || {
                drop(gate.read());
                // The receiver is gone only after another client has failed.
                let _ = done.send((at, client(agent)));
            })?;
        }
        drop((closed, done));
        collect(&results, agents.len(), (stop, limit)).inspect_err(|_| server.kill())
    })
}

/// Receives the results of `count` clients, and returns them in the order of the clients.
fn collect<T>(
    results: &mpsc::Receiver<(usize, io::Result<T>)>,
    count: usize,
    (stop, limit): (&Stop, Duration),
) -> Result<Vec<T>> {
    let end = Instant::now() + limit;
    let mut collected: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let mut missing = count;
    while missing > 0 {
        stop.check()?;
        match results.recv_timeout(INTERVAL) {
            Ok((at, result)) => {
                collected[at] = Some(result.map_err(|e| format!("a client failed: {e}"))?);
                missing -= 1;
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < end => {}
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(format!("not done within {limit:?}").into()),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("a client panicked".into()),
        }
    }
    Ok(collected.into_iter().flatten().collect())
}
