//! The agency's file as a stream of its valid bets.
//!
//! Owns the file, and which of its rows were refused. A refused row is logged and counted once, even if the file is read
//! again. Used by [`super::batches`] and [`super::progress`]. Knows no server. Memory: one block of the file and a sample of
//! the refused rows, for a file of any size.
//!
//! No field of a valid bet holds a line break, so a row is a line: an unclosed quote spoils only its own row.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::bet_line;
use super::defect::{Defect, Sample};
use super::error::Error;
use super::lines::{Line, Lines};
use super::stop::StopSignal;
use crate::bet::{AgencyId, Bet};
use crate::event;

/// The bets of one agency. They can be read from the start any number of times.
#[derive(Debug)]
pub struct Reader<'a> {
    agency: AgencyId,
    path: PathBuf,
    stop: &'a StopSignal,
    lines: Lines<'a>,
    refused: Refused,
}

/// The rows that were refused so far.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    /// The last line that was judged. Lines up to this one are not reported again.
    through: u64,
    sample: Sample,
}

impl Refused {
    fn add(&mut self, number: u64, row: &[u8], defect: Defect) {
        if number > self.through {
            self.count += 1;
            self.through = number;
            event!(Error, "leer_apuesta", fail, line = number, error = defect);
            self.sample.add(number, row, defect);
        }
    }
}

impl<'a> Reader<'a> {
    /// Opens `path`, which holds the bets of `agency`.
    ///
    /// # Errors
    /// [`Error::Directory`] if `path` is a directory; [`Error::File`] if it cannot be opened or is not a regular file.
    pub fn open(agency: AgencyId, path: &Path, stop: &'a StopSignal) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        // O_NONBLOCK: otherwise opening a FIFO without a writer is a wait that no signal ends.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(Error::Directory { path: path.to_owned() });
        }
        // Only a regular file can be read again from its start, and has an end that is not just a pause.
        if !kind.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let (path, lines) = (path.to_owned(), Lines::new(file, stop));
        Ok(Self { agency, path, stop, lines, refused: Refused::default() })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of rows that were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.count
    }

    /// Checks that the file is empty or has a bet: reads up to the first bet, and goes back to the first row. Otherwise the
    /// agency would state the end of bets that nobody has read.
    ///
    /// # Errors
    /// [`Error::NoBets`] if the file has rows and none of them is a bet; otherwise as [`Reader::next_bet`].
    pub fn require_bets(&mut self) -> Result<(), Error> {
        if self.next_bet(|_| ())?.is_none()
            && let Some(appearance) = self.refused.sample.appearance()
        {
            return Err(Error::NoBets { path: self.path.clone(), appearance });
        }
        self.rewind()
    }

    /// Calls `look` with the next bet that a batch can carry, and returns its result; `None` at the end of the file.
    /// Refuses the rows before it that are not bets; skips blank lines.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read; [`Error::Stopped`] after a request to stop.
    #[inline]
    pub fn next_bet<T>(&mut self, mut look: impl FnMut(&Bet<'_>) -> T) -> Result<Option<T>, Error> {
        if let Some((bet, len)) = bet_line::usual(self.lines.ahead(), self.agency) {
            let result = look(&bet);
            self.lines.skip(len);
            return Ok(Some(result));
        }
        self.next_unusual_bet(look)
    }

    /// As [`Reader::next_bet`], for any line.
    #[cold]
    fn next_unusual_bet<T>(&mut self, mut look: impl FnMut(&Bet<'_>) -> T) -> Result<Option<T>, Error> {
        loop {
            let number = self.lines.number() + 1;
            let (row, defect) = match self.lines.next() {
                Ok(Some(Line::Whole(line))) => match bet_line::parse(line, self.agency) {
                    Ok(bet) => return Ok(Some(look(&bet))),
                    Err(_) if line.trim_ascii().is_empty() => continue,
                    Err(defect) => (line, defect),
                },
                Ok(Some(Line::TooLong(start))) => (start, Defect::Line),
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.failed(error)),
            };
            self.refused.add(number, row, defect);
        }
    }

    /// Makes the bet that [`Reader::next_bet`] has just shown the next one again.
    pub fn step_back(&mut self) {
        self.lines.step_back();
    }

    /// Goes back to the first row.
    ///
    /// # Errors
    /// [`Error::File`] if lseek(2) fails.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.lines.rewind().map_err(|e| self.failed(e))
    }

    /// Counts the lines from the current position to the end, added to those before it; goes back to the first row.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn count_lines(&mut self) -> Result<u64, Error> {
        loop {
            match self.lines.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(self.failed(error)),
            }
        }
        let lines = self.lines.number();
        self.rewind()?;
        Ok(lines)
    }

    #[cold]
    fn failed(&self, source: io::Error) -> Error {
        if self.stop.requested() {
            return Error::Stopped;
        }
        Error::File { path: self.path.clone(), source }
    }
}

impl Drop for Reader<'_> {
    /// Logs the closing. The file itself is closed right after this, when the fields are dropped.
    fn drop(&mut self) {
        event!(Info, "close_file", success, archivo = self.path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agency::defect::MAX_LINE;
    use crate::agency::lines::BLOCK;
    use crate::exit_code::ExitStatus;
    use std::io::Write;

    const GOOD: &str = "Ana,Paz,7,1999-03-17,8";

    fn agency() -> AgencyId {
        AgencyId::new(1).unwrap()
    }

    /// Reads a file with this text. Returns the first names of its bets, and the number of refused rows.
    fn names_and_refused(text: impl AsRef<[u8]>) -> (Vec<String>, u64) {
        let stop = StopSignal::never();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_ref()).unwrap();
        let mut reader = Reader::open(agency(), file.path(), &stop).unwrap();
        let mut names = Vec::new();
        while let Some(name) = reader.next_bet(|bet| bet.first_name.as_str().to_owned()).unwrap() {
            names.push(name);
        }
        assert_eq!(reader.next_bet(|_| ()).unwrap(), None);
        (names, reader.refused())
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn line_ends_boms_and_blank_lines_make_no_difference() {
        let two = (strings(&["Ana", "Eva"]), 0);
        for text in [
            "Ana,Paz,7,1999-03-17,8\r\nEva,Paz,7,1999-03-17,8\r\n",
            "Ana,Paz,7,1999-03-17,8\nEva,Paz,7,1999-03-17,8\n",
            "Ana,Paz,7,1999-03-17,8\nEva,Paz,7,1999-03-17,8",
            "Ana,Paz,7,1999-03-17,8\r\nEva,Paz,7,1999-03-17,8",
            "Ana,Paz,7,1999-03-17,8\r\nEva,Paz,7,1999-03-17,8\r",
            "\u{feff}Ana,Paz,7,1999-03-17,8\nEva,Paz,7,1999-03-17,8\n",
            "\u{feff}\"Ana\",Paz,7,1999-03-17,8\n\r\n\n  \nEva,Paz,7,1999-03-17,8\r\n\r\n\n",
        ] {
            assert_eq!(names_and_refused(text), two, "{text:?}");
        }
        for nothing in ["", "\n", "\r\n\r\n", "\u{feff}", "\u{feff}\r\n"] {
            assert_eq!(names_and_refused(nothing), (vec![], 0), "{nothing:?}");
        }
    }

    #[test]
    fn bad_row_is_refused_and_its_neighbours_are_not() {
        let long_name = "x".repeat(30);
        let endless = "x".repeat(3 * BLOCK);
        for bad in [
            "Ana,Paz,7,1999-03-17",
            "Ana,Paz,7,1999-03-17,8,9",
            "Ana;Paz;7;1999-03-17;8",
            ",Paz,7,1999-03-17,8",
            "Ana,Paz,-7,1999-03-17,8",
            "Ana,Paz,7,1999-03-17,",
            "Ana,Paz,7,1999-03-17, 8",
            "Ana,Paz,7,1999-02-29,8",
            "Ana,Paz,7,17/03/1999,8",
            "Ana,Paz,4294967296,1999-03-17,8",
            "\"Ana,Paz,7,1999-03-17,8",
            "Ana,Paz,7,1999-03-17,\"8",
            "A\rna,Paz,7,1999-03-17,8",
            "\"A\rna\",Paz,7,1999-03-17,8",
            "A\0na,Paz,7,1999-03-17,8",
            "\"\"",
            "\u{feff}",
            &format!("{long_name},Paz,7,1999-03-17,8"),
            &format!("Ana,{long_name},7,1999-03-17,8"),
            &endless,
        ] {
            let text = format!("{GOOD}\n{bad}\n{GOOD}\n");
            assert_eq!(names_and_refused(text), (strings(&["Ana", "Ana"]), 1), "{bad:?}");
        }
        assert_eq!(names_and_refused(b"\xff\xfeA,Paz,7,1999-03-17,8\n"), (vec![], 1));
    }

    #[test]
    fn fields_keep_spaces_quotes_and_inner_boms() {
        let text = "\"Pérez, Ana\",\"La \"\"Ñ\"\"\",7,1999-03-17,8\n  Ana  ,Paz,007,1999-03-17,8\nAna \"La\" Paz,Paz,7,1999-03-17,8\n\u{feff}Ana,\"Paz\",7,1999-03-17,8\n";
        let names = ["Pérez, Ana", "  Ana  ", "Ana \"La\" Paz", "\u{feff}Ana"];
        assert_eq!(names_and_refused(text), (strings(&names), 0));
    }

    #[test]
    fn longest_line_is_read_and_one_byte_more_is_refused() {
        let zeros = |len: usize| format!("Ana,Paz,{}7,1999-03-17,8", "0".repeat(len - GOOD.len()));
        for end in ["", "\n", "\r\n"] {
            assert_eq!(names_and_refused(zeros(MAX_LINE) + end), (strings(&["Ana"]), 0));
            assert_eq!(names_and_refused(zeros(MAX_LINE + 1) + end), (vec![], 1));
            assert_eq!(names_and_refused(format!("\u{feff}{}{end}", zeros(MAX_LINE))), (strings(&["Ana"]), 0));
            assert_eq!(names_and_refused(format!("\u{feff}{}75741{end}", zeros(MAX_LINE))), (vec![], 1));
        }
    }

    #[test]
    fn refused_row_is_counted_once() {
        let stop = StopSignal::never();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "bad\n{GOOD}\nworse\n{GOOD}\n").unwrap();
        let mut reader = Reader::open(agency(), file.path(), &stop).unwrap();
        assert_eq!(reader.count_lines().unwrap(), 4);
        let is_bet = |reader: &mut Reader<'_>| reader.next_bet(|_| ()).unwrap().is_some();
        assert!(is_bet(&mut reader) && reader.refused() == 1);
        reader.rewind().unwrap();
        for _ in 0..2 {
            assert!(is_bet(&mut reader) && is_bet(&mut reader));
            reader.step_back();
            assert!(is_bet(&mut reader));
            assert!(!is_bet(&mut reader) && reader.refused() == 2);
            reader.rewind().unwrap();
        }
    }

    #[test]
    fn error_names_a_path_that_is_not_a_file() {
        let stop = StopSignal::never();
        let folder = tempfile::tempdir().unwrap();
        let error = Reader::open(agency(), folder.path(), &stop).unwrap_err();
        assert!(error.to_string().contains("is a directory") && error.exit_status() == ExitStatus::Failed, "{error}");
        let error = Reader::open(agency(), &folder.path().join("none.csv"), &stop).unwrap_err();
        assert!(error.to_string().contains("none.csv") && error.exit_status() == ExitStatus::Failed, "{error}");
    }

    #[test]
    fn request_to_stop_ends_reading() {
        let stop = StopSignal::of(&[ipc::signals::Signal::SIGVTALRM]).unwrap();
        // A sparse file: zeros without a line end that need no disk space.
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 32).unwrap();
        let mut reader = Reader::open(agency(), file.path(), &stop).unwrap();
        nix::sys::signal::raise(ipc::signals::Signal::SIGVTALRM).unwrap();
        assert!(matches!(reader.next_bet(|_| ()), Err(Error::Stopped)));
    }
}
