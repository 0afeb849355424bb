//! Standard output as a log, from outside: files, pipes, sockets and terminals, with fast, slow and missing readers.
//! Lines are whole, none is lost while the log is read, and no process waits long for a reader. The program that logs
//! is `tests/fixtures/log_lines.rs`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{setsockopt, sockopt};
use support::{skipped, this_test};

/// Far more than any step needs, and far less than one wait per line would take.
const BOUND: Duration = Duration::from_secs(30);
/// The most bytes that a process queues.
const QUEUE: usize = 64 * 1024;
/// More lines than a pipe and a queue can hold together.
const TOO_MANY: u64 = 20_000;

// ---- regular files -----------------------------------------------------------------------------------------------

#[test]
fn processes_with_separate_opens_do_not_overwrite_each_other() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = || OpenOptions::new().write(true).open(file.path()).unwrap();
    let helpers = ["a", "b", "c"].map(|who| Helper::start(opened(), &[&format!("lines:{who}:3000")]));
    assert!(helpers.into_iter().all(|helper| helper.ended().success()));
    let log = Log::parse(&std::fs::read_to_string(file.path()).unwrap());
    assert_eq!(log, Log::whole(&[("a", 3000), ("b", 3000), ("c", 3000)]));
}

#[test]
fn lines_of_a_shell_that_writes_to_the_same_file_stay() {
    for redirection in [">", ">>"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = r#"echo before; "$0" lines:a:100; echo between; "$0" lines:b:100 & wait; echo after"#;
        let status = Command::new("sh")
            .args(["-c", &format!("{{ {script}; }} {redirection} \"$1\"")])
            .args([example(), file.path().to_owned()])
            .status();
        assert!(status.unwrap().success());
        let text = std::fs::read_to_string(file.path()).unwrap();
        let shells: Vec<_> = text.lines().enumerate().filter(|(_, line)| !line.contains("action:")).collect();
        assert_eq!(shells, [(0, "before"), (101, "between"), (202, "after")]);
    }
}

#[test]
fn a_full_disk_ends_no_process() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(Helper::start(full, &["lines:a:100", "finish"]).ended().success());
}

// ---- pipes -------------------------------------------------------------------------------------------------------

#[test]
fn a_slow_reader_of_a_full_pipe_loses_no_line_of_many_processes() {
    let (reader, writer) = io::pipe().unwrap();
    let helpers = ["a", "b"].map(|who| {
        let all = format!("lines:{who}:8000");
        Helper::start(writer.try_clone().unwrap(), &["lines:begin:1", "print:ready", "await", &all, "finish"])
    });
    drop(writer);
    let mut helpers = helpers.map(|helper| helper.wait_for("ready"));
    // A smaller pipe would hold no line, and with a larger one the helpers would hardly wait.
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    helpers.iter_mut().for_each(Helper::go_on);
    let text = bounded(move || slowly(reader));
    assert!(helpers.into_iter().all(|helper| helper.ended().success()));
    assert_eq!(Log::parse(&text), Log::whole(&[("a", 8000), ("b", 8000), ("begin", 1), ("begin", 1)]));
}

/// Reads in small pieces, with a pause in the middle that is too short to lose lines.
fn slowly(mut reader: impl Read) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 300];
    for turn in 0.. {
        match reader.read(&mut piece).unwrap() {
            0 => break,
            len => text.extend(&piece[..len]),
        }
        if turn == 100 {
            thread::sleep(Duration::from_millis(50));
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn an_unread_pipe_delays_a_process_once_with_losses_counted() {
    let (reader, writer) = io::pipe().unwrap();
    stuck_then_read(&[], writer, reader, |command| command);
}

#[test]
fn an_event_loop_queues_lines_and_counts_those_that_overflow() {
    let (reader, writer) = io::pipe().unwrap();
    let pipe = reader.try_clone().unwrap();
    let text = stuck_then_read(&["queue"], writer, reader, |command| command);
    let in_time = text.split(" WARNING ").next().unwrap().len();
    let pipe = usize::try_from(fcntl(&pipe, FcntlArg::F_GETPIPE_SZ).unwrap()).unwrap();
    assert!(in_time > pipe + QUEUE / 2, "no more than the pipe of {pipe} bytes held: {in_time}");
}

/// As after a change of user: the process cannot open the pipe again.
#[test]
fn a_pipe_of_another_user_delays_a_process_only_once() {
    const NOBODY: u32 = 65534;
    if let Err(e) = Command::new(example()).uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).status() {
        return skipped(&this_test(), &format!("another user cannot run the helper, or this is not root: {e}"));
    }
    let (reader, writer) = io::pipe().unwrap();
    stuck_then_read(&[], writer, reader, |command| command.uid(NOBODY).gid(NOBODY));
}

/// Starts a helper that logs more than `stdout` holds, then reads the other end and checks that every line is counted.
/// Returns the log.
fn stuck_then_read(
    before: &[&str],
    stdout: impl Into<OwnedFd>,
    reader: impl Read + Send + 'static,
    adapt: fn(&mut Command) -> &mut Command,
) -> String {
    let lines = format!("lines:a:{TOO_MANY}");
    let deeds = [before, &[&lines, "print:stuck", "await", "serve", "lines:b:5", "finish"]].concat();
    let mut command = Helper::command(stdout, &deeds);
    adapt(&mut command);
    let mut helper = Helper::spawn(command).wait_for("stuck");
    let text = in_background(reader);
    helper.go_on();
    assert!(helper.ended().success());
    let text = bounded(|| text.join().unwrap());
    let log = Log::parse(&text);
    assert_eq!(log.notices, 1, "one line reports how many were lost");
    assert!(log.lost > 0);
    assert_eq!(log.numbers["a"].len() as u64 + log.lost, TOO_MANY);
    assert_eq!(log.numbers["b"], [0, 1, 2, 3, 4], "nothing is lost any more");
    text
}

#[test]
fn a_process_ends_even_if_its_log_is_never_read() {
    for mode in ["finish", "queue"] {
        let (_reader, writer) = io::pipe().unwrap();
        let lines = format!("lines:a:{TOO_MANY}");
        assert!(Helper::start(writer, &[mode, &lines, "finish"]).ended().success());
    }
}

#[test]
fn a_forked_child_does_not_write_its_parents_queue() {
    let (reader, writer) = io::pipe().unwrap();
    let lines = format!("lines:a:{TOO_MANY}");
    let deeds = ["queue", &lines, "print:stuck", "fork:await+lines:c:5+finish", "reap", "serve", "finish"];
    let mut helper = Helper::start(writer, &deeds).wait_for("stuck");
    let text = in_background(reader);
    helper.go_on();
    assert!(helper.ended().success());
    let log = Log::parse(&bounded(|| text.join().unwrap()));
    let received = log.numbers.values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(received + log.lost, TOO_MANY + 5);
}

#[test]
fn after_losses_a_child_waits_again_once_the_log_is_read() {
    const LINES: u64 = 3000;
    let (mut reader, writer) = io::pipe().unwrap();
    let (lines, childs) = (format!("lines:a:{TOO_MANY}"), format!("fork:await+lines:c:{LINES}"));
    let mut helper = Helper::start(writer, &["queue", &lines, "print:stuck", &childs, "reap"]).wait_for("stuck");
    // This makes room for the first line, but not nearly for the others.
    let mut text = vec![0; QUEUE];
    reader.read_exact(&mut text).unwrap();
    helper.go_on();
    let rest = bounded(move || slowly(reader));
    assert!(helper.ended().success());
    let log = Log::parse(&(String::from_utf8(text).unwrap() + &rest));
    assert_eq!(log.numbers["c"], Vec::from_iter(0..LINES));
}

#[test]
fn the_last_lines_of_an_event_loop_wait_for_a_reader_once() {
    let (reader, writer) = io::pipe().unwrap();
    let deeds = ["queue", "lines:begin:1", "print:ready", "await", "lines:a:500", "print:full", "finish"];
    let mut helper = Helper::start(writer, &deeds).wait_for("ready");
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    helper.go_on();
    let helper = helper.wait_for("full");
    let text = in_background(reader);
    assert!(helper.ended().success());
    assert_eq!(Log::parse(&bounded(|| text.join().unwrap())), Log::whole(&[("a", 500), ("begin", 1)]));
}

#[test]
fn during_losses_children_do_not_wait_one_after_another() {
    const CHILDREN: usize = 50;
    let (_reader, writer) = io::pipe().unwrap();
    let lines = format!("lines:a:{TOO_MANY}");
    let deeds = [&["queue", &lines][..], &["fork:lines:c:1", "reap"].repeat(CHILDREN)].concat();
    let begin = Instant::now();
    assert!(Helper::start(writer, &deeds).ended().success());
    // Each would wait 200 ms.
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_reader_that_goes_away_ends_no_process() {
    let (reader, writer) = io::pipe().unwrap();
    // The queue must become empty, or an event loop would spin.
    let deeds = ["lines:a:10", "print:on", "await", "lines:a:5000", "queue", "lines:a:5000", "serve", "finish"];
    let mut helper = Helper::start(writer, &deeds).wait_for("on");
    drop(reader);
    helper.go_on();
    assert!(helper.ended().success());
}

#[test]
fn a_missing_reader_ends_no_process() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    assert!(Helper::start(writer, &["lines:a:5000", "queue", "lines:a:5000", "serve", "finish"]).ended().success());
    let status = Command::new("sh").args(["-c", r#""$0" lines:a:100 finish >&-"#]).arg(example()).status();
    assert!(status.unwrap().success(), "closed by the shell");
}

#[test]
fn the_shared_log_stays_blocking_for_others() {
    let (_reader, pipe) = io::pipe().unwrap();
    let (_peer, socket) = UnixStream::pair().unwrap();
    for shared in [OwnedFd::from(pipe), OwnedFd::from(socket)] {
        let deeds = ["lines:a:1", "print:on", "await"];
        let mut helper = Helper::start(shared.try_clone().unwrap(), &deeds).wait_for("on");
        assert!(blocks(&shared));
        helper.go_on();
        assert!(helper.ended().success());
        assert!(blocks(&shared));
    }
}

// ---- sockets and terminals ---------------------------------------------------------------------------------------

#[test]
fn a_line_is_one_write_of_4096_bytes_at_most() {
    let (reader, writer) = UnixDatagram::pair().unwrap();
    let helper = Helper::start(writer, &["lines:a:3", "long:100", "long:10000"]);
    let lines: Vec<String> = (0..5)
        .map(|_| {
            let mut packet = [0; 10_000];
            let len = reader.recv(&mut packet).unwrap();
            String::from_utf8(packet[..len].to_vec()).unwrap()
        })
        .collect();
    assert!(lines.iter().all(|line| line.ends_with('\n') && line.lines().count() == 1));
    assert!(lines[4].ends_with("x…\n") && (4090..=4096).contains(&lines[4].len()), "{}", lines[4].len());
    assert!(helper.ended().success());
}

#[test]
fn an_unread_socket_delays_a_process_once_with_losses_counted() {
    let (reader, writer) = UnixStream::pair().unwrap();
    stuck_then_read(&[], writer, reader, |command| command);
}

/// A stream socket with a small buffer accepts a long line in parts.
#[test]
fn a_partly_written_line_is_completed_before_the_next_line() {
    for mode in ["finish", "queue"] {
        let (reader, writer) = UnixStream::pair().unwrap();
        setsockopt(&writer, sockopt::SndBuf, &1).unwrap();
        let deeds = [&[mode, "lines:a:3"][..], &["long:1900"; 12], &["lines:b:3", "serve", "finish"]].concat();
        let helper = Helper::start(writer, &deeds);
        let text = bounded(move || slowly(reader));
        assert!(helper.ended().success());
        let log = Log::parse(&text);
        assert_eq!((log.numbers["a"].len(), log.numbers["b"].len(), log.long, log.lost), (3, 3, 12, 0));
    }
}

#[test]
fn a_terminal_gets_every_line_and_does_not_become_non_blocking() {
    let script = format!("'{}' lines:a:2000 finish; grep flags /proc/self/fdinfo/1", example().display());
    let mut command = Command::new("script");
    command.args(["-qec", &script, "/dev/null"]).stdin(Stdio::null());
    let output = match command.output() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return skipped(&this_test(), "no script(1), no terminal"),
        output => output.unwrap(),
    };
    let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    let (lines, flags) = text.split_once("flags:").unwrap();
    assert_eq!(Log::parse(lines), Log::whole(&[("a", 2000)]));
    let flags = OFlag::from_bits_retain(i32::from_str_radix(flags.trim(), 8).unwrap());
    assert!(!flags.contains(OFlag::O_NONBLOCK), "{flags:?}");
}

// ---- helpers -----------------------------------------------------------------------------------------------------

/// A running `tests/fixtures/log_lines.rs`.
struct Helper {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Helper {
    fn start(stdout: impl Into<OwnedFd>, deeds: &[&str]) -> Self {
        Self::spawn(Self::command(stdout, deeds))
    }

    fn command(stdout: impl Into<OwnedFd>, deeds: &[&str]) -> Command {
        let mut command = Command::new(example());
        command.args(deeds).stdin(Stdio::piped()).stdout(stdout.into()).stderr(Stdio::piped());
        command
    }

    /// Consumes the command, since its copy of the write end would hide the end of the helper.
    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Waits until it writes `word` to standard error.
    fn wait_for(self, word: &'static str) -> Self {
        bounded(move || {
            let mut helper = self;
            let mut line = String::new();
            helper.stderr.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), word);
            helper
        })
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b".").unwrap();
    }

    fn ended(mut self) -> ExitStatus {
        bounded(move || self.child.wait().unwrap())
    }
}

/// The content of a log, which has no other lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    /// The numbers of each writer's lines, in order.
    numbers: BTreeMap<String, Vec<u64>>,
    long: u64,
    lost: u64,
    notices: u64,
}

impl Log {
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut log = Self::default();
        for line in text.lines() {
            let (time, event) = line.split_at(20);
            assert!(time.starts_with("20") && time.ends_with(' '), "{line}");
            if let Some(lost) = event.strip_prefix("WARNING  action: log | result: fail | lost_lines: ") {
                log.lost += lost.parse::<u64>().unwrap();
                log.notices += 1;
                continue;
            }
            let fields = event.strip_prefix("INFO     action: line | result: success | ").unwrap();
            match fields.strip_prefix("who: ").and_then(|fields| fields.split_once(" | n: ")) {
                Some((who, n)) => log.numbers.entry(who.into()).or_default().push(n.parse().unwrap()),
                None => {
                    let (one, two) = fields.strip_prefix("one: ").unwrap().split_once(" | two: ").unwrap();
                    assert!(one == two && one.chars().all(|c| c == 'x'));
                    log.long += 1;
                }
            }
        }
        log
    }

    /// A log with all lines of these writers, none of them lost.
    fn whole(lines: &[(&str, u64)]) -> Self {
        let mut log = Self::default();
        for &(who, count) in lines {
            log.numbers.entry(who.into()).or_default().extend(0..count);
        }
        log
    }
}

/// The helper. `cargo test` builds it as an example, next to the directory of the tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/log_lines");
    assert!(example.exists(), "not there: cargo build --example log_lines");
    example
}

fn in_background(mut reader: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    })
}

/// Returns the result of `call`, which must finish within [`BOUND`].
fn bounded<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(call());
    });
    receiver.recv_timeout(BOUND).unwrap_or_else(|_| panic!("took too long, or failed"))
}

fn blocks(fd: impl AsFd) -> bool {
    !OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
}
