//! The start of a run: files, agencies, and how server and clients are started.
//!
//! Owns the bets of the agencies, and so the rows that must be stored and the winners. Used by the play and by the
//! judge; knows the layout of the server's files from `docs/storage.md`, not from the server's code.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::process::Program;
use super::tracer::Role;
use crate::support::books::{ANOTHER_BOOT, Books, CLOSED, DURABLE, Draw, Head, Slot, Unit};
use crate::support::{self, WINNING};

/// The agency whose session or client is hit.
pub const AIMED: u32 = 1;
/// The agency that has sent everything by then and waits for the draw.
pub const OTHER: u32 = 2;
pub const AGENCIES: [u32; 2] = [AIMED, OTHER];
/// Rows of an agency: three batches, the last one not full.
const ROWS: u32 = 7;
const BATCH: usize = 3;
/// A whole row that would win, and one without its line end.
const TAIL: &str = "1,Mala,Cola,666,1999-03-17,7574\r\n1,Mala,Cola,667,1999-03-17,7574";

/// A whole story in which one program is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scene {
    /// A server without files, which syncs every batch.
    Fresh,
    /// A server that finds the bets and the end of one agency, some bets of another, and a tail past the committed length.
    Adopted,
    /// The start of a server that finds the same, but books of another boot.
    Recovered,
    /// The start of a server that must move the files of another lottery aside.
    NewDraw,
    /// A repair after a row of an agency that has ended was changed.
    Repair,
    /// A server that is stopped while an agency waits for the draw.
    Stopping,
    /// A client with a fresh server.
    Client,
    /// A client with a server that has some of its bets.
    Resuming,
}

/// How far an agency has come when the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Sending,
    Ended,
}

impl Scene {
    /// The role of the first traced process.
    pub fn root(self) -> Role {
        if matches!(self, Self::Client | Self::Resuming) { Role::Client } else { Role::Parent }
    }

    /// Whether only the start differs from the other scenes.
    pub fn is_of_start(self) -> bool {
        matches!(self, Self::Recovered | Self::NewDraw | Self::Repair)
    }

    /// The roles whose calls differ from the other scenes.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Fresh | Self::Adopted => &[Role::Parent, Role::Session, Role::Draw],
            Self::Recovered | Self::NewDraw | Self::Repair => &[Role::Parent],
            Self::Stopping => &[Role::Parent, Role::First],
            Self::Client | Self::Resuming => &[Role::Client, Role::Resolver],
        }
    }

    /// The bytes after the last committed row.
    pub fn tail(self) -> &'static str {
        match self {
            Self::Adopted | Self::Resuming => TAIL,
            // With books of another boot, a whole row counts as a bet.
            Self::Recovered => "1,Mala,Cola,667,1999-03-17,7574",
            _ => "",
        }
    }

    /// Puts the files into `dir`.
    pub fn set(self, dir: &Path) -> std::io::Result<()> {
        for agency in AGENCIES {
            let lines = (0..ROWS).map(|i| bet(agency, i).split_once(',').unwrap_or_default().1.to_owned());
            fs::write(dir.join(format!("agency-{agency}.csv")), lines.collect::<String>())?;
        }
        match self {
            Self::Fresh | Self::Stopping | Self::Client => Ok(()),
            Self::Adopted | Self::Recovered | Self::Resuming => {
                let lottery = [(AIMED, expected_rows(AIMED)[..BATCH].concat(), Progress::Sending), ended(OTHER)];
                self.write(dir, &lottery, |bets| bets + self.tail())
            }
            Self::NewDraw => {
                let lottery = [(AIMED, String::new(), Progress::Sending), (OTHER, old_bets(), Progress::Ended)];
                self.write(dir, &lottery, |bets| bets)
            }
            Self::Repair => self.write(dir, &[ended(AIMED), ended(OTHER)], |_| damaged_bets()),
        }
    }

    /// Writes the files of a lottery, each agency of which has sent these rows. `change` is made to the bets afterwards.
    fn write(
        self,
        dir: &Path,
        agencies: &[(u32, String, Progress)],
        change: impl FnOnce(String) -> String,
    ) -> std::io::Result<()> {
        let (mut bets, mut slots, mut units) = (String::new(), Vec::new(), Vec::new());
        for (seq, (agency, rows, progress)) in (1..).zip(agencies) {
            bets += rows;
            let (count, crc) = (rows.matches('\n').count() as u64, crc32fast::hash(rows.as_bytes()));
            let is_ended = *progress == Progress::Ended;
            let flags = if is_ended { CLOSED | DURABLE } else { 0 };
            slots.push(Slot { seq, end: bets.len() as u64, count, crc, agency: *agency, flags });
            units.push(is_ended.then_some(Unit { agency: *agency, count, crc }));
        }
        let head = Head { seq: slots.len() as u64, committed: bets.len() as u64, flags: 0 };
        let this_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let boot = if self == Self::Recovered { ANOTHER_BOOT } else { this_boot.trim() };
        Books::make(boot, 1, head, &slots).write(&dir.join("books"));
        Draw::make(&units, None).write(&dir.join("draw"));
        fs::write(dir.join("bets.csv"), change(bets))
    }

    /// The server on `port`; `again` if one has listened on these files before, or a repair of them has succeeded.
    pub fn server(self, dir: &Path, port: u16, again: bool) -> Program {
        let durability = if matches!(self, Self::Fresh | Self::Stopping | Self::Client) { "batch" } else { "end" };
        let variables = vec![
            ("STORAGE_FILEPATH", dir.join("bets.csv").into()),
            ("CLIENT_AMOUNT", AGENCIES.len().to_string().into()),
            ("SERVER_PORT", port.to_string().into()),
            ("LOGGING_LEVEL", "DEBUG".into()),
            ("DURABILITY", durability.into()),
        ];
        let arguments = match self {
            Self::NewDraw if !again => vec!["--new-draw"],
            Self::Repair if !again => vec!["--repair"],
            _ => vec![],
        };
        let binary = support::server_binary();
        Program { binary, arguments, variables, directory: dir.into(), log: dir.join("server.log") }
    }
}

/// The client of `agency`. The host name makes it use its resolver's thread.
pub fn client(dir: &Path, port: u16, agency: u32) -> Program {
    let binary = support::client_binary();
    let variables: Vec<(_, OsString)> = vec![
        ("CLI_ID", agency.to_string().into()),
        ("CLI_SERVER_ADDRESS", format!("localhost:{port}").into()),
        ("CLI_DATA_PATH", dir.join(format!("agency-{agency}.csv")).into()),
        ("CLI_BATCH_MAXAMOUNT", BATCH.to_string().into()),
        ("CLI_LOG_LEVEL", "DEBUG".into()),
    ];
    Program { binary, arguments: vec![], variables, directory: dir.into(), log: client_log(dir, agency) }
}

pub fn client_log(dir: &Path, agency: u32) -> PathBuf {
    dir.join(format!("client{agency}.log"))
}

/// The rows of `agency` that must be stored, in order.
pub fn expected_rows(agency: u32) -> Vec<String> {
    (0..ROWS).map(|i| bet(agency, i)).collect()
}

/// The documents that must win for `agency`, in order.
pub fn winners(agency: u32) -> Vec<u32> {
    (0..ROWS).filter(|i| wins(agency, *i)).collect()
}

/// The bets before a repair: the first row of an agency that has ended names another document.
pub fn damaged_bets() -> String {
    let bets = AGENCIES.map(|agency| expected_rows(agency).concat()).concat();
    bets.replacen("Ana,Paz,0,", "Ana,Paz,9,", 1)
}

fn ended(agency: u32) -> (u32, String, Progress) {
    (agency, expected_rows(agency).concat(), Progress::Ended)
}

/// The bets of the lottery that is moved aside.
pub fn old_bets() -> String {
    expected_rows(OTHER).concat().replace("Paz", "Vieja")
}

fn bet(agency: u32, document: u32) -> String {
    let number = if wins(agency, document) { WINNING } else { document };
    support::row(agency, document, number)
}

fn wins(agency: u32, document: u32) -> bool {
    document % 4 == agency
}
