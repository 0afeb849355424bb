//! The bets on disk: appended all or none, read back up to the last committed byte.
//!
//! Owns the files of a lottery, which lie together in one directory ([`Files`]), and what may be written to them when.
//! Used by the session (bets, ends, holdings), by the draw, and by the parent at start ([`start`]). Knows no sockets
//! and no messages.
//!
//! One write(2) under flock is not atomic against SIGKILL, and a row torn from `75741` to `7574` would win. So `bets.lock`
//! holds how long `bets.csv` is by right (`record.rs`), written after the rows and under the same lock: nothing behind
//! that length is ever read as a bet, and the next writer cuts it off.
//!
//! | step of a batch | a process that dies right after it leaves |
//! |---|---|
//! | lock | nothing; the kernel unlocks |
//! | write the rows | a tail behind the committed length, cut off by the next writer |
//! | write the record | a stored batch, acknowledged or not |
//! | unlock, sync, acknowledge | the same |

mod ends;
mod record;
mod results;
pub mod start;
mod tally;

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipc::lock;

use self::record::Record;
pub use self::results::Terms;
use self::tally::Lines;
pub use self::tally::Tally;
use crate::bet::{AgencyId, Bet};
use crate::config::server::Durability;
use crate::draw::Winners;
use crate::event;
use crate::protocol::Holding;
use crate::row;

/// How long to wait for the data lock, which siblings hold for microseconds: whoever holds it longer is a stranger.
/// Below any useful SHUTDOWN_GRACE, so that a child that waits can still end in time.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Why something was not stored, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Data could not be made durable. The kernel tells this once and then forgets it: nothing may be acknowledged any
    /// more, the server must stop.
    #[error("sync {path}: {source}", path = path.display())]
    Sync {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another program holds the data lock.
    #[error("{path} is locked by another process", path = path.display())]
    Locked {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file of that name is not the one that was committed to, or is open.
    #[error("{path} was replaced by another file", path = path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Committed rows are gone.
    #[error(
        "{path} has {len} bytes, but {committed} were committed: restore it, or remove bets.lock to go on with what is left",
        path = path.display()
    )]
    Truncated {
        /// The file of the bets.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length that it should have at least.
        committed: u64,
    },
    /// A committed row is no bet.
    #[error(
        "{path} is damaged: no bet at byte {offset}: restore it, or remove bets.lock to go on with what is in front",
        path = path.display()
    )]
    Damaged {
        /// The file of the bets.
        path: PathBuf,
        /// Where the row begins.
        offset: u64,
    },
    /// The agency has ended: nothing more is stored for it.
    #[error("the agency has already ended")]
    Ended,
}

impl Error {
    /// Wraps what the system said of `action` on `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the files of one lottery are: in the directory of `bets.csv`.
#[derive(Debug, Clone)]
pub struct Files {
    /// The bets. The only truth.
    pub bets: PathBuf,
    /// The data lock, and in it the committed length.
    pub lock: PathBuf,
    /// Which agencies have ended.
    pub ends: PathBuf,
    /// The result of the draw; empty until then.
    pub draw: PathBuf,
    /// Locked by the server, and so by each of its children, for as long as one of them lives.
    pub server_lock: PathBuf,
    /// Tails that were found at a start and are no bets.
    pub rejected: PathBuf,
}

impl Files {
    /// The files around `bets`.
    pub fn beside(bets: &Path) -> Self {
        let mut rejected = bets.as_os_str().to_owned();
        rejected.push(".rejected");
        Self {
            bets: bets.to_owned(),
            lock: bets.with_extension("lock"),
            ends: bets.with_file_name("ends"),
            draw: bets.with_file_name("draw"),
            server_lock: bets.with_file_name("server.lock"),
            rejected: rejected.into(),
        }
    }

    /// Whether each is a file of its own, which depends on the name of the bets'.
    pub fn are_distinct(&self) -> bool {
        let paths = [&self.bets, &self.lock, &self.ends, &self.draw, &self.server_lock, &self.rejected];
        BTreeSet::from(paths).len() == paths.len()
    }
}

/// One process's open files. A lock on an inherited descriptor would exclude nobody, so each process opens its own.
#[derive(Debug)]
pub struct Store {
    files: Files,
    durability: Durability,
    bets: File,
    /// Which file `bets` is.
    identity: Identity,
    lock: File,
    ends: File,
    draw: File,
}

impl Store {
    /// Opens the files, which [`start::prepare`] has made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(files: &Files, durability: Durability) -> Result<Self> {
        let open = |path: &Path, append| {
            OpenOptions::new().read(true).write(true).append(append).open(path).map_err(Error::io("open", path))
        };
        let bets = open(&files.bets, true)?;
        let identity = identity(&bets.metadata().map_err(Error::io("stat", &files.bets))?);
        Ok(Self {
            bets,
            identity,
            lock: open(&files.lock, false)?,
            ends: open(&files.ends, false)?,
            draw: open(&files.draw, false)?,
            files: files.clone(),
            durability,
        })
    }

    /// Appends `bets`, all or none. When this returns, a killed process loses none of them, nor does a power cut where
    /// the durability is [`Durability::Batch`].
    ///
    /// Whether an agency has ended is decided here, under the lock where ends are recorded, whatever its connection was
    /// told: a child that died before it could report an end has recorded it all the same.
    ///
    /// # Errors
    /// [`Error`]; nothing of the batch counts then, though after [`Error::Sync`] it may be there.
    pub fn store_bets(&self, bets: &[Bet]) -> Result<()> {
        let rows = row::format(bets).map_err(|e| Error::io("format", &self.files.bets)(e.into()))?;
        {
            let _guard = self.lock()?;
            let record = self.committed()?;
            let ended = self.ended()?;
            if bets.iter().any(|bet| ended.contains(&bet.agency)) {
                return Err(Error::Ended);
            }
            self.append(&rows, record)?;
        }
        self.sync_from(Durability::Batch, &self.bets, &self.files.bets)
    }

    /// Records that `agency` has ended; doing so again changes nothing. When this returns, neither a killed process nor
    /// (from [`Durability::End`] on) a power cut loses the end, nor any bet of the agency.
    ///
    /// The syncs are outside the lock, so that the ends of different agencies share them.
    ///
    /// # Errors
    /// [`Error`]; the agency may have ended all the same where the sync behind the record fails.
    pub fn end(&self, agency: AgencyId) -> Result<()> {
        self.sync_from(Durability::End, &self.bets, &self.files.bets)?;
        {
            let _guard = self.lock()?;
            // An end says that all of the agency's bets are there: not of a file that was cut or replaced.
            self.committed()?;
            in_place(&self.ends, &self.files.ends)?;
            ends::append(&self.ends, agency).map_err(Error::io("write", &self.files.ends))?;
        }
        self.sync_ends()
    }

    /// Makes durable, from [`Durability::End`] on, what stands in `ends`. For who tells a client of an end that another
    /// process recorded: that one may have died before it came to sync it.
    ///
    /// # Errors
    /// [`Error::Sync`].
    pub fn sync_ends(&self) -> Result<()> {
        self.sync_from(Durability::End, &self.ends, &self.files.ends)
    }

    /// The agencies that have ended. Takes no lock: an end that is being recorded right now may be missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ended(&self) -> Result<BTreeSet<AgencyId>> {
        ends::read(&self.ends).map_err(Error::io("read", &self.files.ends))
    }

    /// What is stored of `agency`: what `known` says, and what came after that.
    ///
    /// # Errors
    /// [`Error`].
    pub fn holding(&self, agency: AgencyId, known: &Tally) -> Result<Holding> {
        let committed = self.committed_len()?;
        let mut tally = known.only(agency);
        tally.extend(self.lines(tally.len(), committed)?, agency).map_err(Error::io("read", &self.files.bets))?;
        Ok(tally.holding(agency))
    }

    /// Every stored bet, in the order in which they were stored.
    ///
    /// # Errors
    /// [`Error`]; the iterator ends behind its first one.
    pub fn load_bets(&self) -> Result<impl Iterator<Item = Result<Bet>>> {
        self.load_rows(self.committed_len()?, |_| true)
    }

    /// Every bet on `number` in front of byte `to`, in the order in which they were stored. The others are not parsed,
    /// which is most of the work.
    ///
    /// # Errors
    /// As [`Store::load_bets`], but that damage in other rows is not noticed.
    pub fn load_bets_on(&self, number: u32, to: u64) -> Result<impl Iterator<Item = Result<Bet>>> {
        let may_be = move |line: &[u8]| row::number(line).is_none_or(|other| other == number);
        Ok(self.load_rows(to, may_be)?.filter(move |bet| bet.as_ref().map_or(true, |bet| bet.number == number)))
    }

    /// The bets in the rows in front of byte `to` that `wanted` picks.
    fn load_rows(&self, to: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<impl Iterator<Item = Result<Bet>>> {
        let mut lines = self.lines(0, to)?;
        let mut broken = false;
        Ok(std::iter::from_fn(move || {
            while !broken {
                let offset = lines.offset();
                let bet = match lines.next_line() {
                    Ok(None) => return None,
                    Ok(Some(line)) if !wanted(line) => continue,
                    Ok(Some(line)) => {
                        row::parse(line).ok_or_else(|| Error::Damaged { path: self.files.bets.clone(), offset })
                    }
                    Err(e) => Err(Error::io("read", &self.files.bets)(e)),
                };
                broken = bet.is_err();
                return Some(bet);
            }
            None
        }))
    }

    /// The length in bytes of what is committed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn committed_len(&self) -> Result<u64> {
        let _guard = self.lock()?;
        Ok(self.committed()?.committed)
    }

    /// Writes the draw's result and makes it durable: it is final. Whatever the durability is, the bets and the ends that
    /// it was held over are made durable first: a result must not outlive them.
    ///
    /// # Errors
    /// [`Error`]; what is there of a result then is to be discarded.
    pub fn write_result(&self, terms: Terms, winners: &Winners) -> Result<()> {
        self.sync(&self.bets, &self.files.bets)?;
        self.sync(&self.ends, &self.files.ends)?;
        let path = &self.files.draw;
        results::write(&self.draw, terms, winners).map_err(Error::io("write", path))?;
        self.sync(&self.draw, path).inspect_err(|_| {
            // What may be lost is not to be found, and taken for final, by the next server.
            let _ = self.draw.set_len(0);
        })
    }

    /// Empties the result of a process that did not live to say that it is durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard_result(&self) -> Result<()> {
        self.draw.set_len(0).map_err(Error::io("truncate", &self.files.draw))
    }

    /// The terms of the draw, if it has been held; whether the winners check, too, is known from the start or from who
    /// wrote them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn result(&self) -> Result<Option<Terms>> {
        results::terms(&self.draw).map_err(Error::io("read", &self.files.draw))
    }

    /// The documents of the agency's winning bets; `None` where the file holds no result.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn winners(&self, agency: AgencyId) -> Result<Option<Vec<u32>>> {
        results::winners(&self.draw, agency).map_err(Error::io("read", &self.files.draw))
    }

    /// Trap: who has locked a file that was moved away or replaced excludes nobody who opens the name.
    fn lock(&self) -> Result<lock::Guard<'_>> {
        let path = &self.files.lock;
        let guard = lock::exclusive(&self.lock, LOCK_PATIENCE)
            .map_err(Error::io("lock", path))?
            .ok_or_else(|| Error::Locked { path: path.clone() })?;
        in_place(&self.lock, path)?;
        Ok(guard)
    }

    /// Under the lock: the record, once `bets.csv` has been found to be the file that it speaks of, and cut off behind
    /// the committed length.
    fn committed(&self) -> Result<Record> {
        let path = &self.files.bets;
        // By path, not by descriptor: a file that was moved away is still open here.
        let found = path.metadata().map_err(Error::io("stat", path))?;
        let Some(record) = Record::read(&self.lock).map_err(Error::io("read", &self.files.lock))? else {
            return self.recover(found.len());
        };
        if record.doubtful {
            let source = io::Error::other("an earlier one has failed");
            return Err(Error::Sync { path: path.clone(), source });
        }
        if [identity(&found), self.identity].iter().any(|&file| !record.is_of(file)) {
            return Err(Error::Replaced { path: path.clone() });
        }
        let (len, committed) = (found.len(), record.committed);
        if len < committed {
            return Err(Error::Truncated { path: path.clone(), len, committed });
        }
        if len > committed {
            self.bets.set_len(committed).map_err(Error::io("truncate", path))?;
            event!(Warning, "descartar_cola", success, bytes = len - committed, archivo = path.display());
        }
        Ok(record)
    }

    /// Under the lock, where the record is lost: what is committed is the longest run of whole valid rows in front of byte
    /// `to`. The rest is kept aside.
    fn recover(&self, to: u64) -> Result<Record> {
        let path = &self.files.bets;
        let found = self.bets.metadata().map_err(Error::io("stat", path))?;
        let committed = self.valid_rows(to)?.len();
        if found.len() > committed {
            self.keep_aside(committed, found.len())?;
            self.bets.set_len(committed).map_err(Error::io("truncate", path))?;
        }
        let record = Record::new(self.identity, committed).map_err(Error::io("read", Path::new(record::BOOT_ID)))?;
        record.write(&self.lock).map_err(Error::io("write", &self.files.lock))?;
        Ok(record)
    }

    /// The longest run of whole valid rows in front of byte `to`.
    fn valid_rows(&self, to: u64) -> Result<Tally> {
        let mut valid = Tally::default();
        valid.extend_valid(self.lines(0, to)?).map_err(Error::io("read", &self.files.bets))?;
        Ok(valid)
    }

    fn keep_aside(&self, from: u64, to: u64) -> Result<()> {
        let path = &self.files.rejected;
        let mut aside = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("open", path))?;
        let copied = io::copy(&mut self.range(from, to)?, &mut aside).map_err(Error::io("write", path))?;
        aside.sync_data().map_err(Error::io("sync", path))?;
        sync_directory(path)?;
        event!(Warning, "apartar_cola", success, bytes = copied, archivo = path.display());
        Ok(())
    }

    /// Under the lock: rows first, record second; what fails in between is taken back.
    fn append(&self, rows: &[u8], record: Record) -> Result<()> {
        let path = &self.files.bets;
        let longer = record.grown_by(rows.len() as u64);
        (&self.bets)
            .write_all(rows)
            .map_err(Error::io("write", path))
            .and_then(|()| longer.write(&self.lock).map_err(Error::io("write", &self.files.lock)))
            .inspect_err(|_| {
                // Whatever of this fails too: the next writer finds the same and does the same.
                let _ = record.write(&self.lock);
                let _ = self.bets.set_len(record.committed);
            })
    }

    fn sync_from(&self, level: Durability, file: &File, path: &Path) -> Result<()> {
        if self.durability < level { Ok(()) } else { self.sync(file, path) }
    }

    /// Trap: the kernel tells a failed sync once, keeps what it could not write in its cache as if it were written, and
    /// lets the next sync succeed. So nobody counts on what is committed any more, until a start has read it anew.
    fn sync(&self, file: &File, path: &Path) -> Result<()> {
        file.sync_data().map_err(|source| {
            self.doubt();
            Error::Sync { path: path.to_owned(), source }
        })
    }

    /// Marks the record, if there is one. It goes on telling that what lies behind it is no bet.
    fn doubt(&self) {
        let Ok(_guard) = self.lock() else { return };
        if let Ok(Some(mut record)) = Record::read(&self.lock) {
            record.doubtful = true;
            let _ = record.write(&self.lock);
        }
    }

    fn lines(&self, from: u64, to: u64) -> Result<Lines<BufReader<impl Read>>> {
        Ok(Lines::new(BufReader::new(self.range(from, to)?), from))
    }

    /// Reads at its own offset: the descriptor's is of no use to anybody else, as writes append.
    fn range(&self, from: u64, to: u64) -> Result<impl Read> {
        let mut bets = &self.bets;
        bets.seek(SeekFrom::Start(from)).map_err(Error::io("seek", &self.files.bets))?;
        Ok(bets.take(to - from.min(to)))
    }
}

/// So that a power cut does not take the name of a file just made.
fn sync_directory(file: &Path) -> Result<()> {
    let directory = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("sync", directory))
}

/// Reads as much of `file` as fits from its start: small files of fixed-size records.
fn read_front<const N: usize>(file: &File) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Which file something is, for as long as it exists: device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Whether `path` still names `file`.
fn in_place(file: &File, path: &Path) -> Result<()> {
    let [own, named] = [file.metadata(), path.metadata()].map(|found| found.map_err(Error::io("stat", path)));
    if identity(&own?) == identity(&named?) { Ok(()) } else { Err(Error::Replaced { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bets_on_a_number_are_those_of_all_bets_that_are_on_it_however_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::beside(&directory.path().join("bets.csv"));
        let row = |document, number| format!("1,Ana,Paz,{document},1999-03-17,{number}\r\n");
        let numbers = ["7574", "75741", "07574", "\"7574\"", "17574", "7575"];
        let rows: String = (0..).zip(numbers).map(|(document, number)| row(document, number)).collect();
        std::fs::write(&files.bets, rows).unwrap();
        let (store, _) = start::prepare(&files, Durability::Process).unwrap();
        let documents = |bets: Vec<Bet>| bets.iter().map(|bet| bet.document).collect::<Vec<_>>();
        let all: Vec<Bet> = store.load_bets().unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(documents(all), [0, 1, 2, 3, 4, 5]);
        let on: Vec<Bet> =
            store.load_bets_on(7574, store.committed_len().unwrap()).unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(documents(on), [0, 2, 3]);
    }
}
