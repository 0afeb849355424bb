//! Names to addresses, off the main thread.
//!
//! Owns the helper thread. Used by the connection. A stopped peer's name takes 10 s to fail, and nothing interrupts the
//! system's resolver: so it runs in a thread of its own, the main thread waits for that and for signals, and a request to
//! stop leaves the thread behind (it holds nothing, and ends with the process).

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
/// [`Lost::Resolve`] where there are none; [`Error::Stopped`].
pub fn resolve(address: &str, stop: &StopSignal) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(literal) = address.parse() {
        return Ok(vec![literal]);
    }
    let name = address.to_owned();
    look_up(address, stop, move || Ok(name.to_socket_addrs()?.collect()))
}

/// Runs `system`, which may take long, beside a wait for signals.
fn look_up(
    address: &str,
    stop: &StopSignal,
    system: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Result<Vec<SocketAddr>, Error> {
    let failed = |source| Error::from(Lost::Resolve { address: address.to_owned(), source });
    let (done, running) = UnixStream::pair().map_err(failed)?;
    let (send, receive) = mpsc::channel();
    let helper = thread::Builder::new().name("resolver".to_owned());
    helper
        .spawn(move || {
            // Nobody receives after a stop. The other end of `running` wakes the main thread when this one is dropped.
            let _ = send.send(system());
            drop(running);
        })
        .map_err(failed)?;
    stop.wait(done.as_fd(), PollFlags::POLLIN, None)?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
    match receive.recv() {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Err(error)) => Err(failed(error)),
        _ => Err(failed(none())),
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
    fn a_name_without_address_is_an_error_that_names_it() {
        let stop = StopSignal::never();
        let error = look_up("nowhere:80", &stop, || Ok(Vec::new())).unwrap_err();
        assert!(error.passes() && error.to_string().contains("nowhere:80"), "{error}");
    }

    #[test]
    fn a_signal_does_not_wait_for_the_resolver() {
        let stop = StopSignal::of(&[Signal::SIGALRM]).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let looked_up = look_up("slow:80", &stop, move || {
            raise(Signal::SIGALRM)?;
            // Ends when the main thread, done with its wait, has dropped `release`.
            let _ = held.recv();
            Ok(Vec::new())
        });
        assert!(matches!(looked_up, Err(Error::Stopped)));
        drop(release);
    }
}
