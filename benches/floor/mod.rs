//! The floors: the least that a server of this architecture can do. The real server is compared with them.
//!
//! Each is a process of its own (this program, executed again), because only a process with one thread may fork. It forks
//! a child per connection and leaves out everything that it can: it parses nothing, because each message follows its
//! length, and its type is one byte.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `session` | the work of a child |
//! | `bare` | accept, fork, reap, with the bare system calls |
//! | `project` | the same with the project's own fork, which closes descriptors and ties the child to its parent |

mod bare;
mod project;
mod session;

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};

use nix::sys::socket::{self, Backlog};

use crate::Result;

pub use self::session::{ECHO, FILE};

/// Connections that the kernel completes before a server accepts them: as many as Linux allows by default.
pub const BACKLOG: u16 = 4096;

/// A floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// Bare fork; a child answers with one line and exits. The first connections, this many, are held until their
    /// client closes them.
    Bare(u32),
    /// The same with the project's fork.
    Project(u32),
    /// Bare fork; a child stores the batches of one of so many agencies.
    Store(u32, Sync),
}

/// When the bytes of a batch are synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before an end is acknowledged, as at `DURABILITY=end`.
    AtEnd,
    /// Before each batch is acknowledged, as at `DURABILITY=batch`.
    EachBatch,
}

impl Floor {
    /// The arguments that [`run`] understands.
    pub fn arguments(self) -> [String; 2] {
        let (name, number) = match self {
            Self::Bare(held) => ("bare", held),
            Self::Project(held) => ("project", held),
            Self::Store(agencies, Sync::AtEnd) => ("store", agencies),
            Self::Store(agencies, Sync::EachBatch) => ("store-durably", agencies),
        };
        [name.to_owned(), number.to_string()]
    }
}

/// Serves on a free port until SIGTERM. Prints the port in the same log line as the real server.
pub fn run(name: &str, number: &str) -> Result<()> {
    let number = number.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket::listen(&listener, Backlog::new(BACKLOG)?)?;
    let port = listener.local_addr()?.port();
    io::stdout().write_all(format!("action: listen | result: success | port: {port}\n").as_bytes())?;
    match name {
        "bare" => Ok(bare::answer(&listener, number)?),
        "project" => Ok(project::answer(&listener, number)?),
        "store" => Ok(bare::store(&listener, number, Sync::AtEnd)?),
        "store-durably" => Ok(bare::store(&listener, number, Sync::EachBatch)?),
        _ => Err("unknown floor".into()),
    }
}
