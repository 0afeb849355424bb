//! A relay that stands for a distant network: it forwards the bytes of each connection in both directions after a delay.
//!
//! A process of its own. Knows no message. The order of the bytes stays, and a direction holds a bounded number of them;
//! when it is full, the relay reads no more, as a network does.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Time that a byte takes in one direction: a round trip takes twice as long.
pub const DELAY: Duration = Duration::from_millis(5);
/// Most bytes of a chunk.
const CHUNK: usize = 16 * 1024;
/// Most chunks that a direction holds.
const CHUNKS: usize = 64;

/// Serves on a free port until it is killed. Forwards each connection to `server`, a port of 127.0.0.1.
pub fn run(server: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    io::stdout().write_all(format!("action: listen | result: success | port: {port}\n").as_bytes())?;
    loop {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            to.set_nodelay(true)?;
            thread::spawn(move || carry_stream(from, to));
        }
    }
}

fn carry_stream(from: TcpStream, to: TcpStream) {
    // A broken connection ends both directions: the other side sees the end of its stream.
    let _ = carry(from, &to, DELAY);
    let _ = to.shutdown(Shutdown::Write);
}

/// Copies `from` to `to` until the end of the stream. Each byte is written `delay` after it was read.
pub fn carry(mut from: impl Read + Send + 'static, mut to: impl Write, delay: Duration) -> io::Result<()> {
    let (sender, chunks) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS);
    let reader = thread::spawn(move || -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 || sender.send((Instant::now() + delay, buffer[..len].to_vec())).is_err() {
                return Ok(());
            }
        }
    });
    for (due, chunk) in chunks {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&chunk)?;
    }
    reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))
}
