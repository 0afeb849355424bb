//! The plan of a repair: what it changes, and the steps that carry it out.
//!
//! | step | remains if the process dies after this step |
//! |---|---|
//! | copy each file that will change to a name with the date, sync | the same files, and copies |
//! | replace `bets.csv` by its kept rows | files that a start refuses, unless the bets alone were damaged |
//! | replace `draw` | the same, unless `books` agrees |
//! | remove `books` | repaired files |
//! | rename the files of an older version, the committed length last | the same |
//!
//! `books` goes last, because in this boot it proves which rows were there. As long as it contradicts the other files, a
//! start refuses them, and a repetition of the command comes to the same plan.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::draw_file::{Header, ResultRecord, Unit};
use super::error::{Error, Result};
use super::files::{self, StopCheck, open_if_there, remove_if_there, sync_directory};
use super::lifelock::{self, LifeLock};
use super::new_draw::free_name;
use super::paths::{Paths, replacement};
use super::reader::Range;
use super::results;
use super::survey::Kept;
use crate::bet::AgencyId;
use crate::event;

/// The changes that a repair makes.
#[derive(Debug, Default)]
pub struct Plan {
    /// The files that will change, each to be copied first. Those that do not exist or are empty are left out.
    pub copies: Vec<PathBuf>,
    /// The rows that `bets.csv` keeps; `None` if it keeps all of them.
    pub rows: Option<Rows>,
    /// The new content of `draw`; `None` if it stays.
    pub draw: Option<Content>,
    /// Whether `books` is removed, so that a start makes new ones from the other files.
    pub removes_books: bool,
    /// Whether files of an older version are renamed.
    pub renames_older: bool,
    /// The agencies that lose something.
    pub losses: Vec<Loss>,
}

/// A change of `bets.csv`.
#[derive(Debug)]
pub enum Rows {
    /// It is cut to this length in bytes. The file stays the same, as the older committed length is that of one file.
    Cut(u64),
    /// It is replaced by a file with a part of its rows.
    Keep(Kept),
}

/// An agency whose client must send something again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The agency; `None` if its record cannot be read.
    pub agency: Option<AgencyId>,
    /// The number of its rows that are kept.
    pub kept: u64,
    /// What it loses, and why.
    pub reason: &'static str,
}

/// The content of a new `draw`.
#[derive(Debug, Default)]
pub struct Content {
    /// When the lottery began, in seconds since 1970; `None` for now.
    pub began: Option<u64>,
    /// The ends, each with the number of its slot.
    pub units: Vec<(u32, Unit)>,
    /// The result and its offset, if the draw is held.
    pub result: Option<(u64, Vec<u8>)>,
}

impl Content {
    fn write(&self, draw: &File) -> io::Result<()> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Header { began: self.began.unwrap_or_else(now) }.write(draw)?;
        for (number, unit) in &self.units {
            unit.write(draw, *number)?;
        }
        let Some((offset, result)) = &self.result else { return Ok(()) };
        ResultRecord::Held(results::write(draw, *offset, result)?).write(draw)
    }
}

impl Plan {
    /// Logs the plan, one line for each change.
    pub fn log(&self, paths: &Paths) {
        for Loss { agency, kept, reason } in &self.losses {
            match agency {
                Some(agency) => {
                    event!(Info, "repair", in_progress, agencia = agency, apuestas = kept, aviso = reason);
                }
                None => event!(Info, "repair", in_progress, aviso = reason),
            }
        }
        let line = |path: &Path, what: &str| {
            event!(Info, "repair", in_progress, archivo = path.display(), aviso = what);
        };
        self.copies.iter().for_each(|path| line(path, "is copied"));
        match self.rows {
            Some(Rows::Cut(_)) => line(&paths.bets, "loses the bytes after its committed rows"),
            Some(Rows::Keep(_)) => line(&paths.bets, "keeps only the rows that no other file refutes"),
            None => {}
        }
        if let Some(content) = &self.draw {
            let (ends, sorteo) = (content.units.len(), if content.result.is_some() { "held" } else { "not held" });
            let (file, what) = (paths.draw.display(), "is written again");
            event!(
                Info,
                "repair",
                in_progress,
                archivo = file,
                agencias_terminadas = ends,
                sorteo = sorteo,
                aviso = what
            );
        }
        if self.removes_books {
            line(&paths.books, "is removed, a start makes a new one");
        }
        if self.renames_older {
            line(&paths.older.record, "and ends, the files of an older version, are renamed");
        }
        if self.rows.is_none() && self.draw.is_none() && !self.removes_books && !self.renames_older {
            line(&paths.bets, "the files need no repair");
        }
    }

    /// Makes the changes under the life lock. Returns the lock, which is that of the new `bets.csv`.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` returns true while rows are copied; [`Error::Io`] if a system call fails. Then the
    /// command can be repeated.
    pub fn carry_out(&self, paths: &Paths, mut lock: LifeLock, stop: StopCheck<'_>) -> Result<LifeLock> {
        let stamp = chrono::Local::now().format("%Y%m%d-%H%M%S").to_string();
        let copies = self.copy_files(paths, &stamp)?;
        match &self.rows {
            None => {}
            Some(Rows::Cut(to)) => {
                let cut = lock.bets().set_len(*to).and_then(|()| lock.bets().sync_all());
                cut.map_err(Error::io("truncate", &paths.bets))?;
            }
            Some(Rows::Keep(kept)) => {
                lock = replace_rows(paths, lock, kept, stop).inspect_err(|e| {
                    if matches!(e, Error::Stopped) {
                        // No file has changed.
                        remove_all(&copies);
                    }
                })?;
            }
        }
        if let Some(content) = &self.draw {
            replace_draw(&paths.draw, content)?;
        }
        if self.removes_books {
            remove_if_there(&paths.books)?;
            sync_directory(&paths.books)?;
        }
        if self.renames_older {
            // Without the committed length, another start would take a tail of valid rows for bets. Here it has been cut.
            for path in [&paths.older.ends, &paths.older.record] {
                rename_aside(path, &stamp)?;
            }
            sync_directory(&paths.bets)?;
        }
        Ok(lock)
    }

    /// Returns the names of the copies.
    fn copy_files(&self, paths: &Paths, stamp: &str) -> Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        for path in &self.copies {
            let copy = free_name(path, stamp);
            let copied = fs::copy(path, &copy).and_then(|_| File::open(&copy)?.sync_all());
            made.push(copy);
            if let Err(e) = copied {
                remove_all(&made);
                return Err(Error::io("copy", path)(e));
            }
        }
        if !made.is_empty() {
            sync_directory(&paths.bets)?;
        }
        made.iter().for_each(|copy| event!(Info, "repair", in_progress, copia = copy.display()));
        Ok(made)
    }
}

/// Replaces `bets.csv` by its kept rows. The new file is locked before any other process can open it by that name.
fn replace_rows(paths: &Paths, old: LifeLock, kept: &Kept, stop: StopCheck<'_>) -> Result<LifeLock> {
    let path = &paths.bets;
    let new = replacement(path);
    let bets = lifelock::make_locked(&new, path)?;
    let filled = fill(&bets, &old, paths, kept, stop);
    if filled.is_err() {
        let _ = remove_if_there(&new);
        filled?;
    }
    match fs::rename(&new, path) {
        Err(e) if is_mount(&e) => {
            // With O_APPEND, everything is written at the end.
            let rewrite =
                old.bets().set_len(0).and_then(|()| io::copy(&mut Range::new(&bets, 0, u64::MAX), &mut old.bets()));
            rewrite.and_then(|_| old.bets().sync_all()).map_err(Error::io("write", path))?;
            remove_if_there(&new)?;
            Ok(old)
        }
        renamed => {
            renamed.map_err(Error::io("rename", &new))?;
            sync_directory(path)?;
            Ok(old.moved_to(bets))
        }
    }
}

/// Copies the kept rows to the new file, which gets the mode of the old one.
fn fill(bets: &File, old: &LifeLock, paths: &Paths, kept: &Kept, stop: StopCheck<'_>) -> Result<()> {
    let write = || Error::io("write", &paths.bets);
    let mode = old.bets().metadata().map_err(write())?.permissions();
    bets.set_permissions(mode).map_err(write())?;
    let mut rows = BufWriter::new(bets);
    kept.copy(old.bets(), &paths.bets, &mut rows, stop)?;
    rows.into_inner().map_err(|e| write()(e.into_error()))?.sync_all().map_err(write())
}

fn replace_draw(path: &Path, content: &Content) -> Result<()> {
    let old = open_if_there(path)?;
    let replaced = files::replace(path, |new| {
        if let Some(old) = &old {
            new.set_permissions(old.metadata()?.permissions())?;
        }
        content.write(new)
    });
    match (replaced, old) {
        (Err(Error::Io { action: "rename", source, .. }), Some(old)) if is_mount(&source) => {
            let written = old.set_len(0).and_then(|()| content.write(&old)).and_then(|()| old.sync_all());
            written.map_err(Error::io("write", path))?;
            remove_if_there(&replacement(path))
        }
        (replaced, _) => replaced.map(drop),
    }
}

/// Whether rename(2) failed because the file is a mount of its own.
fn is_mount(e: &io::Error) -> bool {
    [Errno::EBUSY, Errno::EXDEV].iter().any(|&errno| e.raw_os_error() == Some(errno as i32))
}

fn remove_all(copies: &[PathBuf]) {
    // A copy that stays does no harm.
    copies.iter().for_each(|copy| _ = fs::remove_file(copy));
}

/// Renames a file to a name with the date, if it exists.
fn rename_aside(path: &Path, stamp: &str) -> Result<()> {
    let aside = free_name(path, stamp);
    match fs::rename(path, &aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(Error::io("rename", path))?,
    }
    event!(Info, "repair", in_progress, archivo = path.display(), copia = aside.display());
    Ok(())
}
