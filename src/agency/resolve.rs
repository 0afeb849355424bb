//! Names of servers to addresses, in a thread of their own.
//!
//! Owns that thread. Used by the connection. The system's resolver may take 10 s to fail for a stopped container, and a
//! signal does not interrupt it. So it runs in a helper thread, while the main thread waits for that thread and for
//! signals. A request to stop abandons the thread: it holds no resources, and it ends with the process.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use ipc::events::PollFlags;

use super::error::{Error, Lost};
use super::stop::StopSignal;

/// The addresses of `address` (host:port), at least one.
///
/// # Errors
/// [`Lost::Resolve`] if the name has no address; [`Error::Stopped`] after a request to stop.
pub fn resolve(address: &str, stop: &StopSignal) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(literal) = address.parse() {
        return Ok(vec![literal]);
    }
    let name = address.to_owned();
    look_up(address, stop, move || Ok(name.to_socket_addrs()?.collect()))
}

/// Runs `resolver`, which may take long, in the helper thread, and waits for its result and for signals.
fn look_up(
    address: &str,
    stop: &StopSignal,
    resolver: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Vec<SocketAddr>, Error> {
    let failed = |source| Error::from(Lost::Resolve { address: address.to_owned(), source });
    let (done, running) = UnixStream::pair().map_err(failed)?;
    let (send, receive) = mpsc::channel();
    let helper = thread::Builder::new().name("resolver".to_owned());
    helper
        .spawn(move || {
            // Fails after a request to stop, when the main thread no longer receives.
            let _ = send.send(resolver());
            // Wakes the main thread, which waits at the other end.
            drop(running);
        })
        .map_err(failed)?;
    stop.wait(done.as_fd(), PollFlags::POLLIN, None)?;
    match receive.recv() {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_)) => Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))),
        Ok(Err(error)) => Err(failed(error)),
        Err(mpsc::RecvError) => Err(failed(io::Error::other("the resolver panicked"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipc::signals::Signal;
    use nix::sys::signal::raise;

    #[test]
    fn names_and_literals_have_addresses() {
        let stop = StopSignal::never();
        assert_eq!(resolve("127.0.0.1:80", &stop).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("[::1]:80", &stop).unwrap(), ["[::1]:80".parse().unwrap()]);
        assert!(resolve("localhost:80", &stop).unwrap().iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn error_names_the_name_that_has_no_address() {
        let stop = StopSignal::never();
        let error = look_up("nowhere:80", &stop, || Ok(Vec::new())).unwrap_err();
        assert!(error.is_temporary() && error.to_string().contains("nowhere:80"), "{error}");
    }

    #[test]
    fn signal_does_not_wait_for_the_resolver() {
        let stop = StopSignal::of(&[Signal::SIGALRM]).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let looked_up = look_up("slow:80", &stop, move || {
            raise(Signal::SIGALRM)?;
            // Ends when the main thread has finished its wait and drops `release`.
            let _ = held.recv();
            Ok(Vec::new())
        });
        assert!(matches!(looked_up, Err(Error::Stopped)));
        drop(release);
    }
}
