//! Processes of the project's own client, one per agency.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use crate::Result;
use crate::stop::Stop;

/// Longest time until a signal is noticed, in milliseconds.
const INTERVAL: u16 = 50;
/// How long a client tries to reach its server. So it does not outlive a benchmark that was killed.
const RETRY: &str = "2s";

/// The setting `batch.window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The client's default.
    Default,
    /// So many batches.
    Of(u32),
}

/// Running clients. When dropped, they are killed and reaped.
pub struct Programs(Vec<Child>);

impl Programs {
    /// Runs a client for each of `files`, agency 1 first, against the server at `port`. Returns the time from the first
    /// start to the last exit. With the folder of `make certs`, they speak TLS.
    ///
    /// # Errors
    /// A client fails, a signal arrives, or `limit` passes.
    pub fn play(
        port: u16,
        files: &[PathBuf],
        (window, most, tls): (Window, u8, Option<&Path>),
        (stop, limit): (&Stop, Duration),
    ) -> Result<Duration> {
        let (log, their_log) = io::pipe()?;
        let start = Instant::now();
        let mut programs = Self(Vec::new());
        for (file, agency) in files.iter().zip(1..) {
            let mut command = command(port, agency, (window, most));
            command.envs(tls.into_iter().flat_map(|folder| tls_settings(folder, agency)));
            command.env("CLI_DATA_PATH", file).stdout(their_log.try_clone()?).stderr(their_log.try_clone()?);
            programs.0.push(command.spawn()?);
        }
        // Each client holds the writing end until it exits.
        drop(their_log);
        let log = read_to_end(log, start + limit, stop)?;
        let took = start.elapsed();
        for program in &mut programs.0 {
            let status = program.wait()?;
            if !status.success() {
                return Err(format!("a client ended with {status}:\n{log}").into());
            }
        }
        Ok(took)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        for program in &mut self.0 {
            // After its end both calls do nothing.
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn command(port: u16, agency: u32, (window, most): (Window, u8)) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.env_clear().current_dir("/").stdin(Stdio::null()).envs([
        ("CLI_ID", agency.to_string()),
        ("CLI_SERVER_ADDRESS", format!("127.0.0.1:{port}")),
        ("CLI_LOG_LEVEL", "ERROR".to_owned()),
        ("CLI_BATCH_MAXAMOUNT", most.to_string()),
        ("CLI_RETRY_TIMEOUT", RETRY.to_owned()),
    ]);
    if let Window::Of(batches) = window {
        command.env("CLI_BATCH_WINDOW", batches.to_string());
    }
    command
}

fn tls_settings(folder: &Path, agency: u32) -> [(&'static str, PathBuf); 3] {
    let own = |ending| folder.join(format!("agency-{agency}.{ending}"));
    [("CLI_TLS_CA", folder.join("ca.pem")), ("CLI_TLS_CERTIFICATE", own("pem")), ("CLI_TLS_KEY", own("key"))]
}

/// Reads until every writer has closed the pipe.
fn read_to_end(mut log: PipeReader, end: Instant, stop: &Stop) -> Result<String> {
    let mut text = Vec::new();
    loop {
        stop.check()?;
        let ready = poll(&mut [PollFd::new(log.as_fd(), PollFlags::POLLIN)], INTERVAL);
        if matches!(ready, Ok(0) | Err(Errno::EINTR)) {
            if Instant::now() > end {
                return Err("the clients are not done in time".into());
            }
            continue;
        }
        ready?;
        let mut buffer = [0; 4096];
        match log.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            len => text.extend_from_slice(&buffer[..len]),
        }
    }
}
