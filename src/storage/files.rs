//! The open files of one process.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;
use std::sync::Once;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::error::{Error, Result};
use super::identity::Identity;
use super::paths::Paths;
use super::reader::Range;
use super::tallies::{FirstRun, Tallies};
use crate::{event, row_scan};

/// The mode of all files of a lottery: they hold personal data.
const PRIVATE: u32 = 0o600;

/// Whether to stop reading, asked after each block of rows.
pub type StopCheck<'a> = &'a dyn Fn() -> bool;

/// What a process does when it has waited for the data lock for a long time. By default it does nothing.
#[derive(Default)]
pub struct LongWait(pub Option<Box<dyn Fn()>>);

impl LongWait {
    /// Does it.
    pub fn report(&self) {
        self.0.iter().for_each(|report| report());
    }
}

impl fmt::Debug for LongWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LongWait").finish_non_exhaustive()
    }
}

/// Where the files are, and which files the parent has found there.
#[derive(Debug, Clone)]
pub struct Location {
    /// Their names.
    pub paths: Paths,
    /// The files that the names refer to: bets, books and draw.
    identities: [Identity; 3],
}

/// One process's open files.
///
/// Each process opens its own, for two reasons: the trap of inherited locks in [`ipc::lock`], and failed syncs, which the
/// kernel reports once for each open file description.
#[derive(Debug)]
pub struct Files {
    /// Their names.
    pub paths: Paths,
    /// `bets.csv`, open for appending.
    pub bets: File,
    /// `books`.
    pub books: File,
    /// `draw`.
    pub draw: File,
    /// Called by a process that waits for the data lock.
    pub long_wait: LongWait,
}

impl Files {
    /// Opens the files, which must exist.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be opened.
    pub fn open(paths: &Paths) -> Result<Self> {
        Ok(Self {
            bets: open(&paths.bets, OpenOptions::new().append(true))?,
            books: open(&paths.books, &mut OpenOptions::new())?,
            draw: open(&paths.draw, &mut OpenOptions::new())?,
            long_wait: LongWait::default(),
            paths: paths.clone(),
        })
    }

    /// Opens the files that the parent has found.
    ///
    /// # Errors
    /// [`Error::Replaced`] if a name now refers to another file; [`Error::Io`] if a file cannot be opened.
    pub fn open_at(location: &Location) -> Result<Self> {
        let files = Self::open(&location.paths)?;
        let replaced = files.identities()?.into_iter().zip(location.identities).position(|(own, known)| own != known);
        match replaced {
            None => Ok(files),
            Some(index) => {
                let path = [&files.paths.bets, &files.paths.books, &files.paths.draw][index].clone();
                Err(Error::Replaced { path })
            }
        }
    }

    /// Where these files are.
    ///
    /// # Errors
    /// [`Error::Io`] if fstat(2) fails.
    pub fn location(&self) -> Result<Location> {
        Ok(Location { paths: self.paths.clone(), identities: self.identities()? })
    }

    fn identities(&self) -> Result<[Identity; 3]> {
        let Self { paths, bets, books, draw, .. } = self;
        let of = |file: &File, path| file.metadata().map(|found| Identity::of(&found)).map_err(Error::io("stat", path));
        Ok([of(bets, &paths.bets)?, of(books, &paths.books)?, of(draw, &paths.draw)?])
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    options.read(true).write(true).open(path).map_err(Error::io("open", path))
}

/// Opens `path` for appending, or makes it. A new file is private, whatever the umask; a file that is there keeps its mode
/// and its content.
///
/// # Errors
/// [`Error::Io`] if open(2) fails.
pub fn append_or_make(path: &Path) -> Result<File> {
    open(path, OpenOptions::new().create(true).append(true).mode(PRIVATE))
}

/// Opens `path`, if it exists.
///
/// # Errors
/// [`Error::Io`] if open(2) fails otherwise.
pub fn open_if_there(path: &Path) -> Result<Option<File>> {
    match open(path, &mut OpenOptions::new()) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// Replaces `path` by a new file, which `fill` writes: whole and durable, or not at all.
///
/// # Errors
/// [`Error::Io`] if a system call fails.
pub fn replace(path: &Path, fill: impl FnOnce(&File) -> io::Result<()>) -> Result<File> {
    let new = super::paths::replacement(path);
    // The rest of a process that was killed. Made again, so that no symbolic link is followed and no mode is kept.
    remove_if_there(&new)?;
    let file = open(&new, OpenOptions::new().create_new(true).mode(PRIVATE))?;
    keep_owner(&file, path);
    fill(&file).map_err(Error::io("write", &new))?;
    file.sync_all().map_err(Error::io("sync", &new))?;
    std::fs::rename(&new, path).map_err(Error::io("rename", &new))?;
    sync_directory(path)?;
    Ok(file)
}

/// Removes a file, if it exists.
///
/// # Errors
/// [`Error::Io`] if unlink(2) fails otherwise.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}

/// Gives a new file to the owner of the old one, or of the directory: an administrator may repair the files of a server that
/// runs as another user.
pub fn keep_owner(new: &File, path: &Path) {
    let old = fs::metadata(path).or_else(|_| fs::metadata(directory_of(path)));
    if let (Ok(own), Ok(old)) = (new.metadata(), old)
        && (own.uid(), own.gid()) != (old.uid(), old.gid())
    {
        // Only root may do that. Otherwise the file belongs to the user who runs the server, which is right as well.
        let _ = fchown(new, Some(old.uid()), Some(old.gid()));
    }
}

/// The tallies of the longest run of valid rows of `bets` that begins at offset 0 and ends at or before offset `to`.
/// `each` gets every block of valid rows.
///
/// # Errors
/// [`Error::Stopped`] if `stop` returns true; [`Error::Io`] if pread(2) fails.
pub fn valid_rows(
    (bets, path): (&File, &Path),
    to: u64,
    stop: StopCheck<'_>,
    each: &mut dyn FnMut(&[u8]),
) -> Result<Tallies> {
    runs((bets, path), to, row_scan::first_run, stop, each)
}

/// As [`valid_rows`], for the runs that `first_run` finds.
///
/// # Errors
/// As [`valid_rows`].
pub fn runs(
    (bets, path): (&File, &Path),
    to: u64,
    first_run: FirstRun,
    stop: StopCheck<'_>,
    each: &mut dyn FnMut(&[u8]),
) -> Result<Tallies> {
    let mut counted = Tallies::default();
    let mut lines = Range::new(bets, 0, to).lines();
    while let Some(rows) = lines.next_lines().map_err(Error::io("read", path))? {
        if stop() {
            return Err(Error::Stopped);
        }
        let len = counted.add_runs(rows, first_run);
        each(&rows[..len]);
        if len < rows.len() {
            break;
        }
    }
    Ok(counted)
}

/// Drops the cached pages of the file, so that the next read comes from the disk: after a failed sync, the cache may hold
/// more than the disk.
pub fn drop_cache(file: &File) {
    // Only advice: a file system that refuses it either has no cache, or behaves as without this call.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// Makes the directory entry of `file` durable, so that a power cut does not take away a new file's name.
///
/// Some network and user-space file systems cannot sync a directory and return EINVAL. That is logged once, and no error.
///
/// # Errors
/// [`Error::Io`] if open(2) or fsync(2) fails otherwise.
pub fn sync_directory(file: &Path) -> Result<()> {
    static WARNED: Once = Once::new();
    let directory = directory_of(file);
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => {
            WARNED.call_once(|| {
                let aviso = "this file system cannot sync a directory: a power cut may take the name of a new file";
                event!(Warning, "sync_directory", in_progress, archivo = directory.display(), aviso = aviso);
            });
            Ok(())
        }
        synced => synced.map_err(Error::io("sync", directory)),
    }
}

/// The directory of `file`.
pub fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
