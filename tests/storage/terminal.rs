//! What a person sees who starts a server on a terminal.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::openpty;

use crate::scene::*;
use crate::support::*;

/// What a start over `rows` rows writes on its standard error, a terminal. Each read of the bets takes `delay`.
fn seen_on_terminal(rows: usize, delay: &str) -> Option<String> {
    let setup = Setup::new(1);
    write_file(&setup.path("bets.csv"), FORGED.repeat(rows));
    let (trace, bets) = (setup.path("trace"), format!("--trace-path={}", setup.path("bets.csv").display()));
    let slow = format!("inject=pread64:delay_enter={delay}");
    let setup = setup.under(&["strace", "-D", "-qq", "-o", path(&trace), &bets, "-e", &slow]);
    let pty = openpty(None, None).unwrap();
    let mut command = setup.command();
    let child = command.stdout(Stdio::piped()).stderr(pty.slave).spawn();
    // The last copy of the terminal's end: otherwise the other end would never end.
    drop(command);
    let Ok(mut child) = child else {
        skipped(&this_test(), "strace is not here");
        return None;
    };
    let mut log = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    while !log.contains("accept_connections") {
        assert!(std::io::BufRead::read_line(&mut stdout, &mut log).unwrap() > 0, "{log}");
    }
    send_signal(child.id().try_into().unwrap(), "TERM");
    assert!(child.wait().unwrap().success(), "{log}");
    let mut seen = Vec::new();
    // EIO: the other end is closed.
    let _ = File::from(pty.master).read_to_end(&mut seen);
    Some(String::from_utf8(seen).unwrap())
}

#[test]
fn a_long_scan_shows_its_progress_on_a_terminal() {
    let Some(seen) = seen_on_terminal(40_000, "250ms") else { return };
    let percents: Vec<u32> =
        seen.split("reading bets: ").skip(1).map(|s| s.split_once(' ').unwrap().0.parse().unwrap()).collect();
    assert!(percents.len() >= 2 && percents.is_sorted() && percents.iter().all(|&percent| percent <= 100), "{seen:?}");
    assert!(seen.ends_with("\r\x1b[K"), "the line is removed: {seen:?}");
}

#[test]
fn a_short_scan_shows_nothing_on_a_terminal() {
    let Some(seen) = seen_on_terminal(10, "1ms") else { return };
    assert_eq!(seen, "");
}
