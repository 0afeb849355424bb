//! The binaries under test, how programs start, and how a test reports that it was skipped.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The server's binary: the one that Cargo has just built, or `LOTERIA_SERVER`.
pub fn server_binary() -> PathBuf {
    std::env::var_os("LOTERIA_SERVER").map_or_else(|| env!("CARGO_BIN_EXE_server").into(), PathBuf::from)
}

/// The client's binary: the one that Cargo has just built, or `LOTERIA_CLIENT`.
pub fn client_binary() -> PathBuf {
    std::env::var_os("LOTERIA_CLIENT").map_or_else(|| env!("CARGO_BIN_EXE_client").into(), PathBuf::from)
}

/// A command that runs `binary` in `dir`, without input and with no variable of this process but PATH. It starts by way
/// of the words `under`, if any: a program that finally executes its remaining arguments in the same process.
pub fn clean_command<W: AsRef<OsStr>>(under: &[W], binary: PathBuf, dir: &Path) -> Command {
    let mut words = under.iter().map(|word| word.as_ref().to_owned()).chain([OsString::from(binary)]);
    let mut command = Command::new(words.next().unwrap());
    let path = std::env::var_os("PATH").map(|path| ("PATH", path));
    command.args(words).current_dir(dir).stdin(Stdio::null()).env_clear().envs(path);
    command
}

/// Copies a program to a path from which it can be started.
///
/// Trap: if this process had the copy open, a child that another thread forks at that moment would inherit the
/// descriptor, and the kernel executes no file that is open for writing. So install(1) copies it.
pub fn install(from: &Path, to: &Path) {
    assert!(Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

/// Runs a program of the system to its end.
///
/// # Errors
/// The program is missing or fails: its name, its arguments and its standard error.
pub fn run_program(program: &str, arguments: &[impl AsRef<OsStr> + Debug]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {}", errors.trim())) }
}

/// Whether this machine has the program.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// Reports that something was not tested, directly on standard error: the harness would hide a normal print.
pub fn skipped(what: &str, why: &str) {
    // One write, so that lines of the harness cannot come in between.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}: {why}\n").as_bytes());
}

/// The name of the test that runs in this thread, with its module.
pub fn this_test() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// The path as text.
pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes a file of the test.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
}
