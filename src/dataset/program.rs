//! The `dataset` program after its arguments are parsed. Used by `bin/dataset`.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;

use super::arguments::Arguments;
use super::error::Error;
use super::stop::Stop;

/// Writes the files, and one line to `out` for each of them.
///
/// # Errors
/// [`Error::Usage`] before any file is written; [`Error::Folder`], [`Error::Write`] or [`Error::Stopped`] at the first
/// failure, after the files of the agencies before it are complete.
pub fn run(arguments: &Arguments, stop: &Stop, out: &mut (impl Write + AsFd)) -> Result<(), Error> {
    arguments.check_rows()?;
    let folder = &arguments.out;
    fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
    for agency in 1..=arguments.agencies {
        let file = arguments.file(agency);
        let path = file.write_to(folder, stop)?;
        stop.wait_for(out);
        if stop.is_requested() {
            break;
        }
        report(out, &format!("{}: {} rows, {} winners\n", path.display(), file.rows, file.winners));
    }
    Ok(())
}

/// Ignores errors: the files are the result, and a reader that has left (`dataset … | head -1`) is not a failure.
fn report(out: &mut impl Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
