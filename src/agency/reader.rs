//! The agency's file as a stream of its valid bets.
//!
//! Owns the file, the position in it, and which of its rows were refused. A refused row is logged and counted once,
//! even if the file is read again. Used by [`super::batches`] and [`super::progress`]. Knows no server. Memory: one
//! buffer, one line and a sample of the refused rows, for a file of any size.
//!
//! No field of a valid bet holds a line break, so a row is a line: an unclosed quote spoils only its own row.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::defect::{Defect, MAX_LINE, Sample};
use super::error::Error;
use super::stop::StopSignal;
use crate::bet::{AgencyId, Bet, InvalidBet, decimal};
use crate::event;
use crate::protocol::batch;
use crate::row;

/// Bytes of one read(2) from the file. The request to stop is checked between two reads.
const BUFFER: usize = 64 * 1024;
/// The byte order mark that some editors write before UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Fields of a row: first name, last name, document, birthdate, number.
const FIELDS: usize = 5;

/// The bets of one agency. They can be read from the start any number of times.
#[derive(Debug)]
pub struct Reader<'a> {
    agency: AgencyId,
    path: PathBuf,
    input: BufReader<Interruptible<'a>>,
    line: Vec<u8>,
    /// Number of the current line, from 1; 0 before the first.
    line_number: u64,
    at_end: bool,
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

/// A line, of which [`Reader`] holds the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    /// Longer than [`MAX_LINE`]. Only its start is kept.
    TooLong,
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
        Ok(Self {
            agency,
            path: path.to_owned(),
            input: BufReader::with_capacity(BUFFER, Interruptible { file, stop }),
            line: Vec::new(),
            line_number: 0,
            at_end: false,
            refused: Refused::default(),
        })
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
        if self.next_bet()?.is_none()
            && let Some(appearance) = self.refused.sample.appearance()
        {
            return Err(Error::NoBets { path: self.path.clone(), appearance });
        }
        self.rewind()
    }

    /// The next bet that a batch can carry; `None` at the end of the file. Refuses the rows before it that are not
    /// bets; skips blank lines.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read; [`Error::Stopped`] after a request to stop.
    pub fn next_bet(&mut self) -> Result<Option<Bet<'static>>, Error> {
        while let Some(line) = self.next_line()? {
            let row = match line {
                Line::Whole if self.line.trim_ascii().is_empty() => continue,
                Line::Whole => parse(&self.line, self.agency),
                Line::TooLong => Err(Defect::Line),
            };
            match row {
                Ok(bet) => return Ok(Some(bet.into_owned())),
                Err(defect) => self.refuse(defect),
            }
        }
        Ok(None)
    }

    /// Goes back to the first row.
    ///
    /// # Errors
    /// [`Error::File`] if lseek(2) fails.
    pub fn rewind(&mut self) -> Result<(), Error> {
        if self.line_number > 0 {
            self.input.seek(SeekFrom::Start(0)).map_err(|e| self.failed(e))?;
        }
        self.line_number = 0;
        self.at_end = false;
        Ok(())
    }

    /// Counts the lines from the current position to the end, added to those before it; goes back to the first row.
    ///
    /// # Errors
    /// As [`Reader::next_bet`].
    pub fn count_lines(&mut self) -> Result<u64, Error> {
        while self.next_line()?.is_some() {}
        let lines = self.line_number;
        self.rewind()?;
        Ok(lines)
    }

    /// Reads the next line into `self.line`, without its terminator.
    fn next_line(&mut self) -> Result<Option<Line>, Error> {
        if !self.at_end {
            let read = self.read_line();
            read.map_err(|e| self.failed(e))?;
        }
        if self.at_end {
            return Ok(None);
        }
        if self.line_number == 1 && self.line.starts_with(BOM) {
            self.line.drain(..BOM.len());
        }
        Ok(Some(if self.line.len() <= MAX_LINE { Line::Whole } else { Line::TooLong }))
    }

    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        // Room for a BOM, the terminator, and the byte that makes a line too long.
        let most = BOM.len() + MAX_LINE + 3;
        self.input.by_ref().take(most as u64).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            self.at_end = true;
            return Ok(());
        }
        self.line_number += 1;
        let terminated = self.line.pop_if(|last| *last == b'\n').is_some();
        if !terminated && self.line.len() == most {
            self.input.skip_until(b'\n')?;
        }
        self.line.pop_if(|last| *last == b'\r');
        Ok(())
    }

    fn refuse(&mut self, defect: Defect) {
        if self.line_number > self.refused.through {
            self.refused.count += 1;
            self.refused.through = self.line_number;
            event!(Error, "leer_apuesta", fail, line = self.line_number, error = defect);
            self.refused.sample.add(self.line_number, &self.line, defect);
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        if self.input.get_ref().stop.requested() {
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

/// A file whose read(2) fails after a request to stop: otherwise skipping hours of rows would not notice the request.
#[derive(Debug)]
struct Interruptible<'a> {
    file: File,
    stop: &'a StopSignal,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        self.file.read(buffer)
    }
}

impl Seek for Interruptible<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The bet in `line`, which is given without its terminator.
fn parse(line: &[u8], agency: AgencyId) -> Result<Bet<'_>, Defect> {
    if line.contains(&b'"') {
        let fields = row::quoted_fields(line).ok_or(Defect::Csv)?;
        from_fields(fields.iter(), agency).map(Bet::into_owned)
    } else {
        from_fields(line.split(|&b| b == b','), agency)
    }
}

fn from_fields<'a>(fields: impl Iterator<Item = &'a [u8]>, agency: AgencyId) -> Result<Bet<'a>, Defect> {
    let mut row = [&[][..]; FIELDS];
    let mut count = 0;
    for field in fields {
        if let Some(slot) = row.get_mut(count) {
            *slot = field;
        }
        count += 1;
    }
    if count != FIELDS {
        return Err(InvalidBet::Fields(count).into());
    }
    let [first_name, last_name, document, birthdate, number] = row;
    let document = decimal(document).ok_or(InvalidBet::Number("document"))?;
    let number = decimal(number).ok_or(InvalidBet::Number("number"))?;
    let bet = Bet::new(agency, [first_name, last_name], document, birthdate, number)?;
    batch::check_len(&bet)?;
    Ok(bet)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        while let Some(bet) = reader.next_bet().unwrap() {
            names.push(bet.first_name.into_owned());
        }
        assert!(reader.next_bet().unwrap().is_none());
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
        let endless = "x".repeat(3 * BUFFER);
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
        assert!(reader.next_bet().unwrap().is_some() && reader.refused() == 1);
        reader.rewind().unwrap();
        for _ in 0..2 {
            assert!(reader.next_bet().unwrap().is_some() && reader.next_bet().unwrap().is_some());
            assert!(reader.next_bet().unwrap().is_none() && reader.refused() == 2);
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
        assert!(matches!(reader.next_bet(), Err(Error::Stopped)));
    }
}
