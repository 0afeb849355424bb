//! PostgreSQL, with one COPY per batch.
//!
//! Its clients speak the protocol's version 3: a byte for the type, a length that includes itself, the body.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};

use super::is_file;
use crate::Result;
use crate::process::{Ready, Role, Running, free_port, tied};
use crate::stop::Stop;
use crate::traffic::{all_at_once, connect};

/// The folder of the versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user of the database, and of its processes if this process is root's.
const USER: &str = "postgres";
/// How long it may take to listen, and then to serve.
const PATIENCE: Duration = Duration::from_secs(30);
const COPY: &str = "COPY bets FROM STDIN CSV";
const TABLE: &str =
    "CREATE TABLE bets(agency int, first text, last text, document bigint, birthdate date, number bigint)";

/// When a commit is durable: the setting `synchronous_commit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Before it is acknowledged.
    Durable,
    /// Some time after it is acknowledged.
    Later,
}

/// A running PostgreSQL, and the messages of each agency.
pub struct Postgres {
    server: Running,
    messages: Vec<Vec<Vec<u8>>>,
    bets: usize,
}

impl Postgres {
    /// Starts it, with batches of `most` of each agency's `rows`. Returns `None` if it is not installed.
    pub fn start(rows: &[Vec<String>], most: u8, stop: &Stop) -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let port = free_port()?;
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        prepare(dir.path(), &data)?;
        initialize(&programs, &data)?;
        let mut command = own_or_postgres(&programs.join("postgres"))?;
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", "", "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "shared_buffers=256MB"]);
        let server = Running::start(command, dir, &Ready::Port(port), (stop, PATIENCE))?;
        let served = stop.until(PATIENCE, || Ok(Session::open(port, Commit::Later).ok()))?;
        served.ok_or("PostgreSQL does not serve")?.query(TABLE)?;
        let batches = |rows: &Vec<String>| rows.chunks(most.into()).map(copy).collect();
        Ok(Some(Self { server, messages: rows.iter().map(batches).collect(), bets: rows.iter().map(Vec::len).sum() }))
    }

    /// Sends the batches of all agencies `repeat` times. Returns the time, and removes the bets.
    pub fn play(&mut self, repeat: u32, commit: Commit, limit: (&Stop, Duration)) -> Result<Duration> {
        let port = self.server.port();
        let start = Instant::now();
        all_at_once(&mut self.server, limit, &self.messages, |messages| {
            let mut session = Session::open(port, commit)?;
            (0..repeat).flat_map(|_| messages).try_for_each(|message| session.ask(message).map(drop))
        })?;
        let took = start.elapsed();
        let mut session = Session::open(port, Commit::Later)?;
        let (stored, sent) = (session.query("SELECT count(*) FROM bets")?, self.bets * repeat as usize);
        if stored != sent.to_string() {
            return Err(format!("PostgreSQL: {sent} bets were sent, but {stored} are stored").into());
        }
        session.query("TRUNCATE bets")?;
        session.query("CHECKPOINT")?;
        Ok(took)
    }
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let number = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    versions.filter(|bin| is_file(&bin.join("postgres")) && is_file(&bin.join("initdb"))).max_by_key(number)
}

/// PostgreSQL refuses to run as root. Then its own user must reach its data.
fn prepare(dir: &Path, data: &Path) -> Result<()> {
    fs::create_dir(data)?;
    if Uid::effective().is_root() {
        let user = User::from_name(USER)?.ok_or("there is no user postgres")?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
        chown(data, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

fn own_or_postgres(program: &Path) -> io::Result<Command> {
    if Uid::effective().is_root() {
        tied(&Role::ProgramOf(USER, program))
    } else {
        tied(&Role::Program(program.as_os_str()))
    }
}

fn initialize(programs: &Path, data: &Path) -> Result<()> {
    let mut command = own_or_postgres(&programs.join("initdb"))?;
    command.arg("-D").arg(data).args(["-A", "trust", "-U", USER, "-E", "UTF8", "--no-locale", "--no-sync"]);
    let output = command.current_dir("/").stdin(Stdio::null()).output()?;
    let error = || format!("initdb: {}", String::from_utf8_lossy(&output.stderr)).into();
    if output.status.success() { Ok(()) } else { Err(error()) }
}

/// The messages of a COPY: query, data, done. The server reads them in order, so nothing waits for its first answer.
fn copy(rows: &[String]) -> Vec<u8> {
    let data: String = rows.iter().flat_map(|row| [row.as_str(), "\n"]).collect();
    [query(COPY), message(b'd', data.as_bytes()), message(b'c', &[])].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]].concat())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &sized(body)].concat()
}

fn sized(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(size_of::<u32>() + body.len()).expect("a batch has less than 4 GB");
    [&len.to_be_bytes(), body].concat()
}

struct Session(BufReader<TcpStream>);

impl Session {
    fn open(port: u16, commit: Commit) -> io::Result<Self> {
        let mut session = Self(BufReader::new(connect(port)?));
        let commit = if commit == Commit::Durable { "on" } else { "off" };
        let settings = format!("user\0{USER}\0database\0postgres\0options\0-c synchronous_commit={commit}\0\0");
        session.ask(&sized(&[&196_608_u32.to_be_bytes(), settings.as_bytes()].concat()))?;
        Ok(session)
    }

    /// Runs `sql`. Returns the first field of the last row, empty if there is none.
    fn query(&mut self, sql: &str) -> io::Result<String> {
        self.ask(&query(sql))
    }

    /// Sends `messages`, and reads until the server is ready for the next ones.
    fn ask(&mut self, messages: &[u8]) -> io::Result<String> {
        self.0.get_mut().write_all(messages)?;
        let mut field = String::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let [kind, len @ ..] = head;
            let len = (u32::from_be_bytes(len) as usize).saturating_sub(size_of::<u32>());
            let mut body = vec![0; len];
            self.0.read_exact(&mut body)?;
            match kind {
                b'Z' => return Ok(field),
                b'E' => return Err(io::Error::other(format!("PostgreSQL: {}", String::from_utf8_lossy(&body)))),
                // Two bytes for the number of fields, and four for the length of the first.
                b'D' => field = String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned(),
                _ => {}
            }
        }
    }
}
