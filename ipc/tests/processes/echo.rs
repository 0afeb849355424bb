//! The example `echo`, as a real server: it serves several clients at once, and ends in order.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use ipc::process::Pid;
use ipc::signals::Signal;
use nix::sys::signal;

use crate::support::{PATIENCE, children_of, wait_until};

const CLIENTS: usize = 8;

pub fn clients_at_once_get_their_bytes_back() {
    let mut server = Server::start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for round in 0..3 {
        let bytes = |client: usize| format!("round {round} of client {client} ").repeat(1000);
        // All clients have sent before the first one reads.
        clients.iter_mut().enumerate().for_each(|(n, client)| client.write_all(bytes(n).as_bytes()).unwrap());
        for (n, client) in clients.iter_mut().enumerate() {
            let mut echo = vec![0; bytes(n).len()];
            client.read_exact(&mut echo).unwrap();
            assert_eq!(String::from_utf8(echo).unwrap(), bytes(n));
        }
    }
    assert_eq!(server.children().len(), CLIENTS, "one process per connection");
    for mut client in clients {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "a byte that was never sent");
    }
    assert_eq!(server.stop().code(), Some(0));
}

pub fn ended_connections_leave_no_child() {
    let mut server = Server::start();
    for _ in 0..10 {
        let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        clients.iter().for_each(echo_one_byte);
    }
    wait_until("the server has reaped its children", || server.children().is_empty());
    assert_eq!(server.stop().code(), Some(0));
}

pub fn sigterm_ends_the_server_and_its_children() {
    let mut server = Server::start();
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    clients.iter().for_each(echo_one_byte);
    let children = server.children();
    assert_eq!(children.len(), CLIENTS);
    assert_eq!(server.stop().code(), Some(0));
    assert!(children.into_iter().all(|child| status(child).is_none()), "a child is left");
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(TcpStream::connect(server.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

pub fn sigterm_ends_a_child_whose_client_reads_nothing() {
    let mut server = Server::start();
    let mut client = server.connect();
    echo_one_byte(&client);
    let [child] = server.children()[..] else { panic!("not one child") };
    client.set_nonblocking(true).unwrap();
    wait_until("neither the client nor the child can send", || {
        while client.write(&[0; 4096]).is_ok() {}
        status(child).unwrap().contains("State:\tS") && client.write(b"x").is_err()
    });
    assert_eq!(server.stop().code(), Some(0));
}

fn echo_one_byte(mut client: &TcpStream) {
    client.write_all(b"x").unwrap();
    let mut echo = [0];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"x");
}

/// The text of /proc/PID/status, or `None` if the process does not exist.
fn status(process: Pid) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/status")).ok()
}

/// The example, running. Dropping it kills it; the kernel then kills its children.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(example()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().parse().unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn children(&self) -> Vec<Pid> {
        children_of(self.pid())
    }

    fn stop(&mut self) -> ExitStatus {
        signal::kill(self.pid(), Signal::SIGTERM).unwrap();
        let mut status = None;
        wait_until("SIGTERM has ended the server", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `cargo test` builds the examples into a directory next to that of the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/echo");
    assert!(example.exists(), "no {}: run cargo build -p ipc --example echo", example.display());
    example
}
