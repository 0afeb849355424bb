//! A lottery of two agencies that was stopped in a known state, and how starts and repairs of its files are judged.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::support::books::*;
use crate::support::*;

/// Bets of agency 1, and how many of them a batch has.
const BETS: u32 = 1000;
const PER_BATCH: usize = 250;
/// A number that most bets of agency 1 are on, and that does not win.
pub const USUAL: u32 = 1;
/// A copy of `draw` from before agency 1 ended.
pub const OLDER_DRAW: &str = "draw-before-the-end";

/// How far the lottery has come when its server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// All bets of both agencies are stored; none has ended.
    Open,
    /// Agency 1 has ended.
    Ended,
    /// Both have ended, and the draw is held.
    Held,
}

/// The boot in which `books` was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    This,
    Another,
}

/// The winners of agencies 1 and 2.
pub fn expected_winners() -> [Vec<u32>; 2] {
    [(0..BETS).step_by(100).collect(), vec![8]]
}

fn bets_of(agency: u32) -> Vec<Bet<'static>> {
    let bet =
        |document: u32, wins: bool| Bet { document, number: if wins { WINNING } else { USUAL }, ..Bet::default() };
    match agency {
        1 => (0..BETS).map(|document| bet(document, document % 100 == 0)).collect(),
        _ => (7..10).map(|document| bet(document, document == 8)).collect(),
    }
}

/// The rows of all bets of an agency.
pub fn all_rows(agency: u32) -> String {
    bets_of(agency).iter().map(|bet| row(agency, bet.document, bet.number)).collect()
}

/// The tally of an agency that has sent all its bets.
pub fn full(agency: u32, ended: bool) -> (u64, bool, u32) {
    (bets_of(agency).len() as u64, ended, crc32fast::hash(all_rows(agency).as_bytes()))
}

/// A lottery of agencies 1 and 2. The rows of agency 2 follow the first batch of agency 1.
pub fn lottery(stage: Stage) -> Setup {
    let server = Server::start(2);
    let one = bets_of(1);
    let mut batches: Vec<_> = one.chunks(PER_BATCH).map(|bets| batch(1, bets)).collect();
    batches.insert(1, batch(2, &bets_of(2)));
    for message in batches {
        assert_eq!(server.store(&message), 0);
    }
    if stage != Stage::Open {
        fs::copy(server.path("draw"), server.path(OLDER_DRAW)).unwrap();
        assert_eq!(server.store(&end(1)), 0);
    }
    if stage == Stage::Held {
        assert_eq!(winners(&server, 2), expected_winners()[1]);
    }
    server.kill()
}

/// The same, with `books` of that boot.
pub fn lottery_of(stage: Stage, boot: Boot) -> Setup {
    let setup = lottery(stage);
    if boot == Boot::Another {
        of_another_boot(&setup.path("books"));
    }
    setup
}

/// A new directory with the same files.
pub fn copy_of(setup: &Setup) -> Setup {
    let copy = Setup::new(2);
    for (name, bytes) in files(&setup.path("")) {
        fs::write(copy.path(&name), bytes).unwrap();
    }
    copy
}

/// Ends `agency` and returns its winners.
#[track_caller]
pub fn winners(server: &Server, agency: u32) -> Vec<u32> {
    let mut client = server.connect();
    assert_eq!(client.send(&end(agency)).send(&ask(agency)).ack(), 0);
    client.winners().unwrap()
}

/// Plays both agencies' clients to the end: each asks, sends its other bets, ends, and gets its winners.
#[track_caller]
pub fn finish(server: &Server) {
    for agency in [1, 2] {
        let mut client = server.connect();
        let (count, ended, _) = client.send(&count(agency)).tally(agency);
        for bets in bets_of(agency)[usize::try_from(count).unwrap()..].chunks(PER_BATCH) {
            assert_eq!(client.send(&batch(agency, bets)).ack(), 0, "agency {agency} has ended: {ended}");
        }
        assert_eq!(client.send(&end(agency)).ack(), 0);
        assert_eq!(rows_of(&server.bets(), agency), all_rows(agency));
    }
    let drawn = [1, 2].map(|agency| server.connect().send(&ask(agency)).winners().unwrap());
    assert_eq!(drawn, expected_winners());
}

// ---- files ----

/// The files of a directory, except the server's log.
pub fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let content = |path: &Path| match fs::read_link(path) {
        Ok(target) => target.into_os_string().into_encoded_bytes(),
        Err(_) => fs::read(path).unwrap(),
    };
    let files = paths.filter(|path| path.is_symlink() || path.is_file()).map(|path| (named(&path), content(&path)));
    files.filter(|(name, _)| name != "server.log").collect()
}

/// The names of the files that differ.
pub fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The names of the dated copies of a file.
pub fn dated(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Vec<String> {
    let beginning = format!("{name}.2");
    files.keys().filter(|other| other.starts_with(&beginning)).cloned().collect()
}

// ---- starts and repairs ----

/// How a start went.
pub enum Start {
    /// The server listens.
    Listens(Server),
    /// It has ended with this exit code and log.
    Ended(Option<i32>, String, Setup),
}

/// Starts the server and waits until it listens or ends.
pub fn try_start(setup: Setup) -> Start {
    let mut server = setup.spawn();
    eventually("it listens or ends", || listens(&server) || !is_alive(server.pid()));
    if listens(&server) {
        return Start::Listens(server);
    }
    let (code, log) = (server.wait().code(), server.own_log());
    Start::Ended(code, log, server.kill())
}

fn listens(server: &Server) -> bool {
    server.own_log().contains("action: listen | result: success")
}

/// Runs the server with `--repair` to its end: the exit code, the output, the setup.
pub fn run_repair(setup: Setup) -> (Option<i32>, String, Setup) {
    let mut server = setup.arg("--repair").spawn();
    let code = server.wait().code();
    let log = server.own_log();
    assert_ne!(code, Some(2), "the program does not know the command");
    (code, log, server.kill().plain())
}

/// A start is refused with exit code 4, changes nothing, and its last line has these words. Returns that line, too.
#[track_caller]
pub fn refused(setup: Setup, words: &[&str]) -> (String, Setup) {
    let before = files(&setup.path(""));
    let Start::Ended(code, log, setup) = try_start(setup) else { panic!("it has started") };
    assert_eq!(code, Some(4), "{log}");
    let last = log.lines().last().unwrap_or_default().to_owned();
    for word in [" CRITICAL ", "--repair", "--new-draw"].iter().chain(words) {
        assert!(last.contains(word), "{word} is missing: {last}");
    }
    assert_eq!(changed(&before, &files(&setup.path(""))), [""; 0]);
    (last, setup)
}

/// The line names the agency and has both numbers.
#[track_caller]
pub fn assert_names(line: &str, agency: u32, numbers: [u64; 2]) {
    let words: Vec<_> = line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let own = agency.to_string();
    let names = words.windows(2).any(|pair| ["agency", "agencia"].contains(&pair[0]) && pair[1] == own);
    assert!(names, "agency {agency} is not named: {line}");
    for number in numbers {
        assert!(words.contains(&&*number.to_string()), "{number} is missing: {line}");
    }
}

/// `--repair` succeeds, and each file that it has changed has a dated copy.
#[track_caller]
pub fn repaired(setup: Setup) -> Setup {
    let before = files(&setup.path(""));
    let (code, log, setup) = run_repair(setup);
    assert_eq!(code, Some(0), "{log}");
    let after = files(&setup.path(""));
    let had_content = |name: &&String| before.get(*name).is_some_and(|bytes| !bytes.is_empty());
    for name in changed(&before, &after).iter().filter(had_content).filter(|name| *name != "server.lock") {
        let copies = dated(&after, name);
        assert!(copies.iter().any(|copy| after[copy] == before[name]), "no copy of {name}: {copies:?}\n{log}");
    }
    setup
}

/// `--repair` ends with exit code 4 and changes nothing.
#[track_caller]
pub fn beyond_repair(setup: Setup) -> Setup {
    let before = files(&setup.path(""));
    let (code, log, setup) = run_repair(setup);
    assert_eq!(code, Some(4), "{log}");
    assert_eq!(changed(&before, &files(&setup.path(""))), [""; 0], "{log}");
    setup
}

/// Checks every case of a table, so that one failure does not hide another. Panics with the names of the failed cases.
#[track_caller]
pub fn for_each<T>(cases: impl IntoIterator<Item = (String, T)>, check: impl Fn(T)) {
    let failed = cases.into_iter().filter_map(|(name, case)| {
        let failed = catch_unwind(AssertUnwindSafe(|| check(case))).is_err();
        failed.then(|| {
            eprintln!("the failed case: {name}");
            name
        })
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "failed cases: {failed:#?}");
}
