//! The commands of the servers that are compared.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::Result;
use crate::floor::{self, Floor};
use crate::process::{Ready, Role, Running, tied};
use crate::stop::Stop;
use crate::traffic::wire::Framing;

/// How long a server without bets may take to listen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Longer than any run.
const NEVER: &str = "1h";
/// Connections besides the idle ones.
const SPARE: u32 = 64;

/// A server.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    /// The project's server.
    Own {
        /// Number of agencies in its draw.
        agencies: u32,
        /// Its level of durability.
        durability: Durability,
    },
    /// A floor.
    Floor(Floor),
}

/// The setting `DURABILITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Rows survive the processes.
    Process,
    /// Rows survive a power cut from the end of their agency; the default.
    End,
    /// Rows survive a power cut from their acknowledgement.
    Batch,
}

impl Server {
    /// The project's server at its default durability.
    pub fn own(agencies: u32) -> Self {
        Self::Own { agencies, durability: Durability::End }
    }

    /// Whether a length precedes its messages.
    pub fn framing(self) -> Framing {
        match self {
            Self::Own { .. } => Framing::Plain,
            Self::Floor(_) => Framing::Prefixed,
        }
    }

    /// Starts it in a fresh directory and waits until it listens.
    pub fn start(self, stop: &Stop) -> Result<Running> {
        self.start_in(tempfile::tempdir()?, &[], (stop, PATIENCE))
    }

    /// Starts it for `count` connections that send nothing, and some more.
    pub fn start_for_idle(self, count: u32, stop: &Stop) -> Result<Running> {
        let settings = [
            ("MAX_CONNECTIONS", (count + SPARE).to_string()),
            ("IDLE_TIMEOUT", NEVER.to_owned()),
            ("MESSAGE_TIMEOUT", NEVER.to_owned()),
            ("NEWCOMER_TIMEOUT", NEVER.to_owned()),
        ];
        self.start_in(tempfile::tempdir()?, &settings, (stop, PATIENCE))
    }

    /// Starts it in `dir`, where files of it may be, with further settings, and waits at most `patience` until it listens.
    pub fn start_in(
        self,
        dir: TempDir,
        settings: &[(&str, String)],
        (stop, patience): (&Stop, Duration),
    ) -> Result<Running> {
        let mut command = self.command()?;
        command.envs(settings.iter().map(|(key, value)| (key, value)));
        Running::start(command, dir, &Ready::Logged, (stop, patience))
    }

    fn command(self) -> Result<Command> {
        match self {
            Self::Own { agencies, durability } => {
                let mut command = tied(&Role::Program(Path::new(env!("CARGO_BIN_EXE_server")).as_os_str()))?;
                let durability = match durability {
                    Durability::Process => "process",
                    Durability::End => "end",
                    Durability::Batch => "batch",
                };
                command.env_clear().envs([("SERVER_PORT", "0"), ("LOGGING_LEVEL", "INFO"), ("DURABILITY", durability)]);
                command.env("STORAGE_FILEPATH", floor::FILE).env("CLIENT_AMOUNT", agencies.to_string());
                command.env("SERVER_LISTEN_BACKLOG", floor::BACKLOG.to_string());
                Ok(command)
            }
            Self::Floor(floor) => {
                let mut command = tied(&Role::Own)?;
                command.arg("floor").args(floor.arguments());
                Ok(command)
            }
        }
    }
}
