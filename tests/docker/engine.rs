//! Commands with a time limit, without the environment variables that would change their meaning.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit of a command that takes seconds on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Time limit of a command that may compile everything on a busy machine.
pub const BUILD_PATIENCE: Duration = Duration::from_secs(1800);
/// Seconds between SIGTERM and SIGKILL for a command that takes too long.
const KILL_AFTER: &str = "--kill-after=10";

/// The result of a command.
pub struct Ran {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// The command `words` in `dir`, for `limit` at most, without variables of git, of compose and of the agencies'
/// settings.
pub fn command<W: AsRef<OsStr>>(dir: &Path, limit: Duration, words: &[W]) -> Command {
    let mut command = Command::new("timeout");
    command.arg(KILL_AFTER).arg(limit.as_secs().to_string()).args(words).current_dir(dir).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let foreign = ["GIT_", "COMPOSE_", "CLI_"];
        if name.to_str().is_some_and(|name| foreign.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "test-docker")
        .env("GIT_AUTHOR_EMAIL", "test-docker@localhost")
        .env("GIT_COMMITTER_NAME", "test-docker")
        .env("GIT_COMMITTER_EMAIL", "test-docker@localhost");
    command
}

/// Runs a command to its end.
pub fn run<W: AsRef<OsStr>>(dir: &Path, limit: Duration, words: &[W]) -> Ran {
    let begun = Instant::now();
    let output = command(dir, limit, words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), took: begun.elapsed() }
}

/// Runs a command that must succeed, and returns its standard output.
#[track_caller]
pub fn must<W: AsRef<OsStr>>(dir: &Path, limit: Duration, words: &[W]) -> String {
    let ran = run(dir, limit, words);
    let line: Vec<_> = words.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    assert_eq!(ran.code, Some(0), "{} (after {:?})\n{}{}", line.join(" "), ran.took, ran.stdout, ran.stderr);
    ran.stdout
}

/// Waits until `holds`, which asks the engine.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
    }
}

/// The reason why the tests cannot begin, if any: no engine, or the system runs already.
pub fn obstacle() -> Option<String> {
    let here = Path::new(".");
    for words in [&["docker", "info"][..], &["docker", "compose", "version"]] {
        let ran = run(here, PATIENCE, words);
        if ran.code != Some(0) {
            return Some(format!("`{}` fails: {}", words.join(" "), ran.stderr.trim()));
        }
    }
    let ours = must(
        here,
        PATIENCE,
        &["docker", "ps", "--all", "--format", "{{.Names}} {{.Label \"com.docker.compose.project\"}}"],
    );
    let taken = |line: &&str| {
        let (name, project) = line.split_once(' ').unwrap_or((line, ""));
        project == PROJECT
            || name == "server"
            || name.strip_prefix("client").is_some_and(|id| id.parse::<u32>().is_ok())
    };
    let found = ours.lines().find(taken)?;
    Some(format!(
        "a container is in the way, since its name or project is the system's: {found:?} (`docker compose -p {PROJECT} down` removes the system)"
    ))
}

/// The compose project that `generar-compose.sh` names.
pub const PROJECT: &str = "tp0";
