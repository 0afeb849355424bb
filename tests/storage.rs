//! The bets on disk, from outside: the bytes of `bets.csv`, what of it counts, and what survives which misfortune.
//!
//! Where Python is, its csv module judges the bytes; where it is not, those tests say so and check what is written here.

#![allow(clippy::unwrap_used)] // clippy.toml's allowance reaches #[test] functions only

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::*;

/// How long nothing must happen where that is the point; a slow machine makes such a check weaker, never wrong.
const QUIET: Duration = Duration::from_millis(150);
const WINNING: u32 = 7574;
/// A whole row that would win, and the same torn off a number that would not.
const FORGED: &[u8] = b"1,Mala,Fe,666,1999-03-17,7574\r\n";
const TORN: &[u8] = b"1,Mala,Fe,666,1999-03-17,7574";

fn bet() -> Bet<'static> {
    Bet::default()
}

fn named<'a>(first: &'a str, last: &'a str, document: u32) -> Bet<'a> {
    Bet { first: first.as_bytes(), last: last.as_bytes(), document, ..bet() }
}

/// What message 7 tells of `agency`, asked on a connection of its own.
#[track_caller]
fn held(server: &Server, agency: u32) -> (u64, bool, u32) {
    server.connect().send(&count(agency)).received(agency)
}

/// Stores on a connection of its own; the code.
#[track_caller]
fn store(server: &Server, message: &[u8]) -> u8 {
    server.connect().send(message).ack()
}

/// Ends `agency` and asks for its winners.
#[track_caller]
fn winners(server: &Server, agency: u32) -> Vec<u32> {
    let mut client = server.connect();
    assert_eq!(client.send(&end(agency)).send(&ask(agency)).ack(), 0);
    client.winners().unwrap()
}

/// Bytes behind the end of a file, written by a stranger.
fn append(server_or_file: &std::path::Path, bytes: &[u8]) {
    File::options().append(true).open(server_or_file).unwrap().write_all(bytes).unwrap();
}

/// The rows of `agency` as they stand in `bets`.
fn rows_of(bets: &[u8], agency: u32) -> Vec<u8> {
    let prefix = format!("{agency},");
    let rows = bets.split_inclusive(|&b| b == b'\n').filter(|row| row.starts_with(prefix.as_bytes()));
    rows.collect::<Vec<_>>().concat()
}

/// Runs `script` over `input`; `None` where there is no Python.
fn python(script: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let command = Command::new("python3")
        .arg("-c")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = command else {
        skipped(&this_test(), "python3 is not here: not compared with its csv module");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    Some(output.stdout)
}

/// Names that a careless writer or reader of CSV spoils, and some at random.
fn names() -> Vec<String> {
    let nasty = [
        "Ana",
        "Pérez, Ana",
        "Ana \"La\" Paz",
        "\"",
        "\"\"",
        ",",
        ",,",
        "'",
        "O'Brien",
        "=cmd()",
        "+1",
        "-1",
        "@x",
        "a|b",
        "a;b:c|d=e",
        " ",
        "  x ",
        "\\",
        "\\n",
        "\\\"",
        "#",
        "# x",
        "Ñandú",
        "Íñiguez",
        "日本語",
        "🎲🎲",
        "\u{a0}",
        "\u{2028}",
        "\u{2029}x",
        "\u{feff}x",
        "e\u{301}",
        "NULL",
        "nan",
        "0",
        "1e5",
        "a,\"b\",c",
        "\"a",
        "a\"",
        "a\",",
        "$x",
        "`x`",
        "%s",
        "{}",
    ];
    let mut random = fastrand::Rng::with_seed(7574);
    let letters: Vec<char> = ",,\"\"' \\|;=ñÉ日a".chars().collect();
    let mut name = || -> String { (0..random.usize(1..10)).map(|_| letters[random.usize(..letters.len())]).collect() };
    nasty.iter().map(|&name| name.to_owned()).chain(std::iter::repeat_with(&mut name).take(200)).collect()
}

// ---- the bytes of bets.csv ----

#[test]
fn rows_are_quoted_as_python_quotes_them() {
    let server = Server::start(1);
    let bets = [
        Bet { document: 0, number: 0, ..bet() },
        named("Pérez, Ana", "Ana \"La\" Paz", 7),
        named("=cmd()", "a;b:c|d=e", u32::MAX),
        named("O'Brien", " ", 1),
        named("\"", "Ñandú", 2),
    ];
    assert_eq!(store(&server, &batch(1, &bets)), 0);
    let expected = "1,Ana,Paz,0,1999-03-17,0\r\n\
                    1,\"Pérez, Ana\",\"Ana \"\"La\"\" Paz\",7,1999-03-17,1\r\n\
                    1,=cmd(),a;b:c|d=e,4294967295,1999-03-17,1\r\n\
                    1,O'Brien, ,1,1999-03-17,1\r\n\
                    1,\"\"\"\",Ñandú,2,1999-03-17,1\r\n";
    assert_eq!(String::from_utf8(server.bets()).unwrap(), expected);
    server.stop();
}

#[test]
fn pythons_csv_module_reads_and_writes_the_same_bytes() {
    let server = Server::start(1);
    let names = names();
    // The single bet's form has no limit that any of these names could meet.
    let short: Vec<_> = names.iter().filter(|name| name.len() <= 29).collect();
    let bets: Vec<_> = short.iter().zip(short.iter().rev()).zip(0..).map(|((a, b), n)| named(a, b, n)).collect();
    for some in bets.chunks(99) {
        assert_eq!(store(&server, &batch(1, some)), 0);
    }
    let fields = bets.iter().flat_map(|bet| {
        [b"1", bet.first, bet.last, bet.document.to_string().as_bytes(), bet.birthdate, b"1"]
            .join(&b'\x1f')
            .into_iter()
            .chain([b'\n'])
    });
    let fields: Vec<u8> = fields.collect();
    let bets_csv = server.bets_path();
    let script = r#"
import csv, io, sys
sent = [line.split("\x1f") for line in sys.stdin.buffer.read().decode().split("\n")[:-1]]
with open(sys.argv[1], newline="", encoding="utf-8") as f:
    read = list(csv.reader(f, quoting=csv.QUOTE_MINIMAL))
assert read == sent, [pair for pair in zip(read, sent) if pair[0] != pair[1]][:3]
out = io.StringIO(newline="")
csv.writer(out, quoting=csv.QUOTE_MINIMAL).writerows(sent)
assert out.getvalue().encode() == open(sys.argv[1], "rb").read()
"#;
    python(script, &[bets_csv.to_str().unwrap()], &fields);
    assert_eq!(held(&server, 1), (bets.len() as u64, false, crc32fast::hash(&server.bets())));
    // And it reads back what it has written: one line a row, none refused.
    let setup = server.kill();
    fs::remove_file(setup.path("bets.lock")).unwrap();
    let server = setup.start();
    assert_eq!(held(&server, 1).0, bets.len() as u64);
    assert!(!server.path("bets.csv.rejected").exists());
    server.stop();
}

#[test]
fn a_file_that_python_wrote_is_adopted_bet_for_bet() {
    let setup = Setup::new(2);
    let script = r#"
import csv, sys, zlib
names = sys.stdin.buffer.read().decode().split("\n")[:-1]
with open(sys.argv[1], "w", newline="", encoding="utf-8") as f:
    w = csv.writer(f, quoting=csv.QUOTE_MINIMAL)
    for n, name in enumerate(names):
        w.writerow([1 + n % 2, name, names[-1 - n], n, "1999-03-17", 7574 if n % 5 == 0 else 75741])
rows = [l for l in open(sys.argv[1], "rb").read().split(b"\r\n")[:-1] if l.startswith(b"1,")]
print(zlib.crc32(b"".join(l + b"\r\n" for l in rows)), len(rows))
"#;
    let names: Vec<String> = names().into_iter().filter(|name| name.len() <= 29).collect();
    let input: String = names.iter().map(|name| format!("{name}\n")).collect();
    let Some(told) = python(script, &[setup.path("bets.csv").to_str().unwrap()], input.as_bytes()) else { return };
    let told = String::from_utf8(told).unwrap();
    let (crc, rows) = told.trim().split_once(' ').unwrap();
    let before = fs::read(setup.path("bets.csv")).unwrap();

    let server = setup.start();
    assert_eq!(held(&server, 1), (rows.parse().unwrap(), false, crc.parse().unwrap()));
    assert!(server.log().contains(&format!("apuestas: {}", names.len())));
    assert_eq!(store(&server, &batch(2, &[Bet { document: 4711, number: WINNING, ..bet() }])), 0);
    assert!(server.bets().starts_with(&before) && server.rows().len() == names.len() + 1);
    let mut two = server.connect();
    assert_eq!(two.send(&end(2)).send(&ask(2)).ack(), 0);
    let all = 0..u32::try_from(names.len()).unwrap();
    let won = |agency: u32| all.clone().filter(move |n| n % 5 == 0 && n % 2 == agency - 1);
    assert_eq!(winners(&server, 1), won(1).collect::<Vec<_>>());
    assert_eq!(two.winners().unwrap(), won(2).chain([4711]).collect::<Vec<_>>());
    server.stop();
}

#[test]
fn names_of_every_length_in_bytes_are_kept_whole() {
    let server = Server::start(1);
    let names: Vec<String> = (1..=29).map(|len| format!("{}{}", "ñ".repeat(len / 2), "x".repeat(len % 2))).collect();
    let bets: Vec<_> = names.iter().map(|name| named(name, name, 1)).collect();
    assert_eq!(store(&server, &batch(1, &bets)), 0);
    let expected: Vec<_> = names.iter().map(|name| format!("1,{name},{name},1,1999-03-17,1")).collect();
    assert_eq!(server.rows(), expected);
    server.stop();
}

// ---- all or nothing ----

#[test]
fn a_batch_with_one_invalid_bet_anywhere_leaves_no_byte() {
    let server = Server::start(1);
    assert_eq!(store(&server, &batch(1, &[bet()])), 0);
    let before = server.bets();
    for place in [0, 1, 127, 253, 254] {
        let mut bets: Vec<_> = (0..255).map(|document| Bet { document, ..bet() }).collect();
        bets[place].birthdate = b"2000-02-31";
        assert_eq!(server.connect().send(&batch(1, &bets)).rest(), [2, 1], "bet {place}");
    }
    server.await_alone();
    assert_eq!(server.bets(), before);
    assert_eq!(held(&server, 1).0, 1);
    server.stop();
}

#[test]
fn batches_of_eight_children_stand_one_behind_the_other() {
    const AGENCIES: u32 = 8;
    const BATCHES: u32 = 12;
    let server = Setup::new(AGENCIES).set("LOGGING_LEVEL", "INFO").start();
    let long = [b'x'; 29];
    thread::scope(|scope| {
        for agency in 1..=AGENCIES {
            let (server, long) = (&server, &long);
            scope.spawn(move || {
                let mut client = server.connect();
                for n in 0..BATCHES {
                    let bet =
                        |document| Bet { document, first: &long[..1 + (document % 29) as usize], last: long, ..bet() };
                    let bets: Vec<_> = (n * 255..(n + 1) * 255).map(bet).collect();
                    client.send(&batch(agency, &bets));
                }
                for _ in 0..BATCHES {
                    assert_eq!(client.ack(), 0);
                }
            });
        }
    });
    let rows = server.rows();
    assert_eq!(rows.len(), (AGENCIES * BATCHES * 255) as usize);
    let mut next = vec![0; AGENCIES as usize + 1];
    for stored in rows.chunks(255) {
        let agency: usize = stored[0].split(',').next().unwrap().parse().unwrap();
        for row in stored {
            let fields: Vec<_> = row.split(',').collect();
            assert_eq!(fields.len(), 6, "{row}");
            let (document, whose): (u32, usize) = (fields[3].parse().unwrap(), fields[0].parse().unwrap());
            assert_eq!((whose, document), (agency, next[agency]), "a batch is torn or out of order");
            assert_eq!(fields[1].len(), 1 + (document % 29) as usize);
            next[agency] += 1;
        }
    }
    let bets = server.bets();
    for agency in 1..=AGENCIES {
        let crc = crc32fast::hash(&rows_of(&bets, agency));
        assert_eq!(held(&server, agency), (u64::from(BATCHES * 255), false, crc));
    }
    server.stop();
}

// ---- message 7 ----

#[test]
fn what_is_held_of_an_agency_is_its_rows_of_every_form_and_no_other() {
    let server = Server::start(3);
    assert_eq!(held(&server, 1), (0, false, 0));
    // zlib's CRC-32 of the row, as Python computes it
    assert_eq!(store(&server, &batch(1, &[bet()])), 0);
    assert_eq!(server.bets(), b"1,Ana,Paz,30904465,1999-03-17,1\r\n");
    assert_eq!(held(&server, 1), (1, false, 0xb7e5_f50f));
    for n in 0..5 {
        assert_eq!(store(&server, &batch_of(2, n + 1, 1)), 0);
        assert_eq!(server.connect().send(&named("Pérez, Ana", "\"x\"", n).single(1)).rest(), [0]);
        assert_eq!(server.connect().send(&untyped_batch(1, &[bet(), bet()])).rest(), [0]);
    }
    let expected = |server: &Server, agency: u32, rows: u64, ended: bool| {
        assert_eq!(held(server, agency), (rows, ended, crc32fast::hash(&rows_of(&server.bets(), agency))));
    };
    expected(&server, 1, 16, false);
    expected(&server, 2, 15, false);
    assert_eq!(held(&server, 3), (0, false, 0));
    assert_eq!(store(&server, &end(2)), 0);
    expected(&server, 2, 15, true);
    // What was counted at a start, and what came behind it, make one checksum.
    let server = server.kill().start();
    expected(&server, 1, 16, false);
    assert_eq!(store(&server, &batch_of(1, 3, 1)), 0);
    assert_eq!(store(&server, &batch_of(3, 3, 1)), 0);
    assert_eq!(store(&server, &batch_of(1, 4, 1)), 0);
    expected(&server, 1, 23, false);
    expected(&server, 2, 15, true);
    expected(&server, 3, 3, false);
    server.stop();
}

// ---- the committed length ----

#[test]
fn a_tail_behind_the_committed_length_is_cut_off_by_the_next_writer_and_never_wins() {
    let server = Server::start(1);
    let mut client = server.connect();
    for (n, tail) in [FORGED, TORN, &FORGED.repeat(50), b"\r\n", b"x"].into_iter().enumerate() {
        assert_eq!(client.send(&batch_of(1, 2, 1)).ack(), 0);
        let before = server.bets();
        append(&server.bets_path(), tail);
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
        let after = server.bets();
        assert!(after.starts_with(&before) && server.rows().len() == 3 * (n + 1), "not cut off: {tail:?}");
        let dropped = format!("bytes: {} | ", tail.len());
        assert!(server.log().lines().any(|line| line.contains(" WARNING ") && line.contains(&dropped)), "{dropped}");
    }
    append(&server.bets_path(), FORGED);
    client.send(&count(1));
    let (rows, _, _) = client.received(1);
    assert_eq!(rows, 15);
    append(&server.bets_path(), FORGED);
    client.send(&end(1)).send(&ask(1));
    assert_eq!(client.ack(), 0);
    assert_eq!(client.winners(), Some(vec![0; 5]));
    server.stop();
}

#[test]
fn a_tail_found_at_a_start_is_kept_aside_and_wins_nothing() {
    for tail in [FORGED, TORN, &FORGED[..7], b"\xff\xfe\r\n"] {
        let server = Server::start(1);
        assert_eq!(store(&server, &batch_of(1, 4, WINNING)), 0);
        let before = server.bets();
        let setup = server.kill();
        append(&setup.path("bets.csv"), tail);
        let server = setup.start();
        assert_eq!(server.bets(), before, "{tail:?}");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), tail);
        let length = format!("bytes: {} | ", tail.len());
        assert!(server.own_log().lines().any(|line| line.contains(" WARNING ") && line.contains(&length)));
        assert_eq!(held(&server, 1), (4, false, crc32fast::hash(&before)));
        assert_eq!(winners(&server, 1), [0, 1, 2, 3]);
        server.stop();
    }
}

#[test]
fn without_a_record_the_longest_run_of_whole_valid_rows_counts() {
    let tails: [(&str, Vec<u8>); 7] = [
        ("a torn row", TORN.to_vec()),
        ("a row cut in its quotes", b"1,\"Mala, F".to_vec()),
        ("a row that ends in LF alone", [TORN, b"\n"].concat()),
        ("no bet", b"1,Mala,Fe,666,1999-02-30,7574\r\n".to_vec()),
        ("a foreign row and whole ones behind it", [b"hello\r\n", FORGED].concat()),
        ("too many fields", b"1,Mala,Fe,666,1999-03-17,7574,1\r\n".to_vec()),
        ("zeros, as a power cut leaves them", vec![0; 4096]),
    ];
    for (name, tail) in tails {
        let server = Server::start(1);
        assert_eq!(store(&server, &batch_of(1, 4, WINNING)), 0);
        let before = server.bets();
        let setup = server.kill();
        fs::remove_file(setup.path("bets.lock")).unwrap();
        append(&setup.path("bets.csv"), &tail);
        let server = setup.start();
        assert_eq!(server.bets(), before, "{name}");
        assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), tail, "{name}");
        assert_eq!(winners(&server, 1), [0, 1, 2, 3], "{name}");
        server.stop();
    }
}

#[test]
fn a_record_that_is_damaged_or_of_another_file_or_boot_is_not_believed() {
    // Magic, boot id, device, inode, committed length, CRC-32 of these: the record's own tests know the shape, too.
    let of_another_boot = |record: &mut Vec<u8>| {
        record[8..44].copy_from_slice(b"00000000-0000-0000-0000-000000000000");
        let body = record.len() - 4;
        let crc = crc32fast::hash(&record[..body]);
        record[body..].copy_from_slice(&crc.to_be_bytes());
    };
    type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);
    let ways: [(&str, Spoil<'_>); 4] = [
        ("a flipped bit", &|record| record[60] ^= 1),
        ("cut short", &|record| record.truncate(40)),
        ("empty", &Vec::clear),
        ("another boot", &of_another_boot),
    ];
    for (name, spoil) in ways {
        let server = Server::start(1);
        assert_eq!(store(&server, &batch_of(1, 2, 1)), 0);
        let before = server.bets();
        let setup = server.kill();
        // Rows that were written after the record reached the disk, and before the power was cut.
        append(&setup.path("bets.csv"), &[FORGED, TORN].concat());
        let mut record = fs::read(setup.path("bets.lock")).unwrap();
        spoil(&mut record);
        fs::write(setup.path("bets.lock"), record).unwrap();
        let server = setup.start();
        assert_eq!(server.bets(), [&before, FORGED].concat(), "{name}");
        assert_eq!(held(&server, 1).0, 3, "{name}");
        server.stop();
    }
    let server = Server::start(1);
    assert_eq!(store(&server, &batch_of(1, 9, 1)), 0);
    let setup = server.kill();
    fs::write(setup.path("new"), FORGED).unwrap();
    fs::rename(setup.path("new"), setup.path("bets.csv")).unwrap();
    let server = setup.start();
    assert_eq!(held(&server, 1).0, 1, "another file, put there while no server ran");
    server.stop();
}

#[test]
fn bets_of_another_year_are_adopted_from_a_file_without_line_end_at_its_end() {
    let setup = Setup::new(1);
    write_file(
        &setup.path("bets.csv"),
        b"1,Ana,Paz,1,1999-03-17,7574\r\n1,Ana,Paz,2,1999-03-17,7574\r\n1,Ana,Paz,3,1999-03-17,75",
    );
    let server = setup.start();
    assert_eq!(winners(&server, 1), [1, 2]);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), b"1,Ana,Paz,3,1999-03-17,75");
    server.stop();
}

// ---- files that are tampered with while the server runs ----

/// All that writes or counts is answered 4 on `client` or on a connection of its own, and the log says why.
#[track_caller]
fn refuses_with_4(server: &Server, mut client: Conn, why: &str) {
    let begun = server.log().len();
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 4], "a connection that was there");
    drop(client);
    for (name, message, told) in [
        ("a batch", batch_of(1, 1, WINNING), &[2, 4][..]),
        ("an end", end(1), &[2, 4]),
        ("a count", count(1), &[2, 4]),
        ("a single bet", bet().single(1), &[4]),
        ("an untyped batch", untyped_batch(1, &[bet()]), &[4]),
    ] {
        assert_eq!(server.connect().send(&message).rest(), told, "{name}");
    }
    server.await_alone();
    let log = &server.log()[begun..];
    assert_eq!(count_events(log, "ERROR "), 6, "{log}");
    assert!(events(log).iter().filter(|line| line.starts_with("ERROR")).all(|line| line.contains(why)), "{log}");
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n");
}

#[test]
fn bets_truncated_while_the_server_runs_refuse_every_write_until_they_are_restored() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
    let before = server.bets();
    for len in [0, before.len() as u64 - 1] {
        File::options().write(true).open(server.bets_path()).unwrap().set_len(len).unwrap();
        refuses_with_4(&server, client, "bets.csv has ");
        assert_eq!(server.bets().len() as u64, len, "nothing was written");
        fs::write(server.bets_path(), &before).unwrap();
        client = server.connect();
        client.send(&count(1)).received(1);
    }
    drop(client);
    assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
    assert_eq!(server.bets(), before);
    server.stop();
}

#[test]
fn bets_replaced_while_the_server_runs_refuse_every_write() {
    let server = Server::start(1);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
    let before = server.bets();
    fs::hard_link(server.bets_path(), server.path("spare")).unwrap();
    fs::write(server.path("new"), before.repeat(2)).unwrap();
    fs::rename(server.path("new"), server.bets_path()).unwrap();
    refuses_with_4(&server, client, "bets.csv was replaced");
    assert_eq!(server.bets(), before.repeat(2), "nothing was written");
    fs::rename(server.path("spare"), server.bets_path()).unwrap();
    assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
    server.stop();
}

#[test]
fn bets_moved_away_or_removed_while_the_server_runs_refuse_every_write() {
    for removed in [false, true] {
        let server = Server::start(1);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(1, 5, WINNING)).ack(), 0);
        fs::rename(server.bets_path(), server.path("elsewhere")).unwrap();
        if removed {
            fs::remove_file(server.path("elsewhere")).unwrap();
        }
        refuses_with_4(&server, client, "bets.csv: No such file");
        assert!(!server.bets_path().exists());
        if !removed {
            assert_eq!(fs::read(server.path("elsewhere")).unwrap().len(), 5 * "1,Ana,Paz,0,1999-03-17,7574\r\n".len());
            fs::rename(server.path("elsewhere"), server.bets_path()).unwrap();
            assert_eq!(winners(&server, 1), [0, 1, 2, 3, 4]);
        }
        server.stop();
    }
}

#[test]
fn a_lock_or_ends_that_were_replaced_while_the_server_runs_refuse_who_has_them_open() {
    for (file, refused) in [("bets.lock", batch_of(1, 2, WINNING)), ("ends", end(1))] {
        let server = Server::start(2);
        let mut client = server.connect();
        assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
        fs::copy(server.path(file), server.path("new")).unwrap();
        fs::rename(server.path("new"), server.path(file)).unwrap();
        // One that has opened the new files goes on, and nobody beside it.
        assert_eq!(store(&server, &batch_of(2, 1, WINNING)), 0);
        assert_eq!(client.send(&refused).rest(), [2, 4], "{file}");
        assert!(server.log().contains(&format!("{file} was replaced")), "{}", server.log());
        server.await_alone();
        assert_eq!(server.rows().len(), 2);
        assert_eq!(store(&server, &end(1)), 0);
        assert_eq!(winners(&server, 2), [0]);
        server.stop();
    }
}

#[test]
fn bets_behind_a_recorded_end_are_refused_whatever_their_connection_was_told() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).ack(), 0);
    // As an older child of the agency leaves it that could not report it.
    let record = [&b"FIN1"[..], &1_u32.to_be_bytes()].concat();
    append(&server.path("ends"), &record);
    append(&server.path("ends"), &crc32fast::hash(&record).to_be_bytes());
    assert_eq!(client.send(&batch_of(1, 1, WINNING)).rest(), [2, 3]);
    assert_eq!(server.rows().len(), 1);
    server.stop();
}

#[test]
fn a_server_does_not_start_over_bets_that_were_truncated_in_this_boot() {
    let server = Server::start(1);
    assert_eq!(store(&server, &batch_of(1, 5, WINNING)), 0);
    let setup = server.kill();
    File::options().write(true).open(setup.path("bets.csv")).unwrap().set_len(50).unwrap();
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(4));
    let log = refused.own_log();
    assert_eq!(count_events(&log, "CRITICAL action: exit | result: fail | error: "), 1, "{log}");
    assert!(log.lines().last().unwrap().contains("bets.csv has 50 bytes, but "), "{log}");
    assert!(!log.contains("action: listen"));
    assert_eq!(refused.bets().len(), 50);
    // As the line advises.
    let setup = refused.kill();
    fs::remove_file(setup.path("bets.lock")).unwrap();
    let server = setup.start();
    assert_eq!(held(&server, 1).0, 1);
    assert_eq!(fs::read(server.path("bets.csv.rejected")).unwrap(), &b"1,Ana,Paz,1,1999-03-17,7574\r\n"[..21]);
    server.stop();
}

#[test]
fn a_server_does_not_start_over_committed_rows_that_are_no_bets() {
    let server = Server::start(2);
    assert_eq!(store(&server, &batch_of(1, 3, 1)), 0);
    let bets = server.bets();
    let row = bets.len() / 3;
    let (_, setup) = server.stop_and_keep();
    let damaged = [&bets[..row], &vec![0; row], &bets[2 * row..]].concat();
    fs::write(setup.path("bets.csv"), &damaged).unwrap();
    let mut refusing = setup.spawn();
    assert_eq!(refusing.wait().code(), Some(4));
    let log = refusing.own_log();
    assert!(log.lines().last().unwrap().contains(&format!("is damaged: no bet at byte {row}: ")), "{log}");
    assert_eq!(refusing.bets(), damaged);

    let setup = refusing.kill();
    fs::remove_file(setup.path("bets.lock")).unwrap();
    let again = setup.start();
    assert_eq!(held(&again, 1).0, 1);
    assert_eq!(fs::read(again.path("bets.csv.rejected")).unwrap(), damaged[row..]);
    again.stop();
}

#[test]
fn a_path_where_no_bets_can_be_is_exit_code_4_and_one_line() {
    for path in ["missing/bets.csv", "a_file/bets.csv", "."] {
        let setup = Setup::new(1);
        write_file(&setup.path("a_file"), b"");
        let (path, directory) = (setup.path(path), setup.path(""));
        let mut refused = setup.set("STORAGE_FILEPATH", path.display()).spawn();
        assert_eq!(refused.wait().code(), Some(4), "{path:?}");
        assert_one_complaint(&refused.log(), directory.to_str().unwrap());
    }
}

// ---- the data lock in other hands ----

#[test]
fn a_batch_waits_for_the_data_lock_and_is_refused_with_4_when_that_takes_too_long() {
    let server = Server::start(2);
    let mut client = server.connect();
    assert_eq!(client.send(&batch_of(1, 1, 1)).ack(), 0);
    let lock = File::open(server.path("bets.lock")).unwrap();
    lock.lock().unwrap();
    assert!(client.send(&batch_of(1, 2, 1)).is_silent_for(QUIET));
    lock.unlock().unwrap();
    assert_eq!(client.ack(), 0);
    assert_eq!(server.rows().len(), 3);

    lock.lock().unwrap();
    let begun = Instant::now();
    client.send(&batch_of(1, 4, 1));
    assert_eq!(server.connect().send(b"hola\n").rest(), b"hola\n", "others are served");
    assert_eq!(client.rest(), [2, 4]);
    assert!(begun.elapsed() > Duration::from_secs(1), "it waited");
    let log = server.log();
    assert!(log.lines().any(|line| line.contains("cantidad: 4 | ") && line.contains("bets.lock is locked")), "{log}");
    lock.unlock().unwrap();
    server.await_alone();
    assert_eq!(server.rows().len(), 3);
    assert_eq!(store(&server, &batch_of(1, 4, 1)), 0);
    server.stop();
}

#[test]
fn a_server_whose_data_lock_is_in_other_hands_stops_on_request_and_starts_not() {
    let server = Server::start(1);
    let lock = File::open(server.path("bets.lock")).unwrap();
    lock.lock().unwrap();
    let mut client = server.connect();
    assert!(client.send(&batch_of(1, 1, 1)).is_silent_for(QUIET));
    let (_, setup) = server.stop_and_keep();
    assert_eq!(client.rest(), [2, 4]);
    let mut refused = setup.spawn();
    assert_eq!(refused.wait().code(), Some(4));
    assert!(refused.own_log().lines().last().unwrap().contains("bets.lock is locked"), "{}", refused.own_log());
    assert_eq!(refused.bets(), b"");

    let mut stopped = refused.kill().spawn();
    let pid = stopped.pid().to_string();
    eventually("it waits", || fs::read_to_string(stopped.path("server.lock")).unwrap().trim() == pid);
    stopped.signal("TERM");
    assert_eq!(stopped.wait().code(), Some(0), "{}", stopped.own_log());
}

// ---- restarts ----

#[test]
fn a_restart_remembers_bets_ends_and_draw() {
    for (durability, killed) in [("process", true), ("end", true), ("batch", true), ("end", false)] {
        let restart = |server: Server| if killed { server.kill().start() } else { server.stop_and_keep().1.start() };
        let server = Setup::new(2).set("DURABILITY", durability).start();
        assert!(!server.log().contains("adopt_storage"), "nothing was there");
        assert_eq!(store(&server, &batch_of(1, 3, WINNING)), 0);
        assert_eq!(store(&server, &end(1)), 0);
        let bets = server.bets();

        let server = restart(server);
        let line = "INFO     action: adopt_storage | result: success | apuestas: 3 | agencias_terminadas: 1 | sorteo: not held | ";
        assert!(events(&server.own_log()).iter().any(|e| e.starts_with(line) && e.contains("--new-draw")));
        assert_eq!(held(&server, 1), (3, true, crc32fast::hash(&bets)));
        assert_eq!(server.connect().send(&batch_of(1, 1, 1)).rest(), [2, 3], "it has ended");
        assert_eq!(server.connect().send(&bet().single(1)).rest(), [3], "it has ended");
        assert!(server.connect().send(&ask(1)).is_silent_for(QUIET), "there is no draw yet");
        assert_eq!(store(&server, &batch(2, &[Bet { document: 9, number: WINNING, ..bet() }])), 0);
        assert_eq!(winners(&server, 2), [9]);

        let server = restart(server);
        let line =
            "INFO     action: adopt_storage | result: success | apuestas: 4 | agencias_terminadas: 2 | sorteo: held | ";
        assert_eq!(count_events(&server.own_log(), line), 1);
        assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1, 2]), "at once");
        assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![9]));
        assert_eq!(server.connect().send(&batch_of(2, 1, 1)).rest(), [2, 3]);
        assert_eq!(store(&server, &end(2)), 0);
        assert_eq!(server.rows().len(), 4);
        assert!(!server.own_log().contains(SORTEO), "it is logged once for all");
        assert_eq!(server.stop().matches(SORTEO).count(), 1);
    }
}

#[test]
fn a_draw_is_final_whatever_the_settings_say_later() {
    let server = Server::start(2);
    assert_eq!(store(&server, &batch_of(1, 2, WINNING)), 0);
    assert_eq!(store(&server, &batch_of(2, 2, 42)), 0);
    assert_eq!(store(&server, &end(2)), 0);
    assert_eq!(winners(&server, 1), [0, 1]);
    let (_, setup) = server.stop_and_keep();

    let server = setup.set("LOTTERY_WINNER_NUMBER", 42).set("CLIENT_AMOUNT", 3).start();
    let log = server.own_log();
    let warnings: Vec<_> = events(&log).into_iter().filter(|line| line.starts_with("WARNING ")).collect();
    assert!(matches!(warnings[..], [line] if line.contains("final")), "{log}");
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1]));
    assert_eq!(server.connect().send(&ask(2)).winners(), Some(vec![]));
    assert_eq!(server.connect().send(&ask(3)).winners(), Some(vec![]));
    assert_eq!(server.connect().send(&batch_of(3, 1, 42)).rest(), [2, 3], "the draw is over for new agencies, too");
    assert_eq!(server.connect().send(&bet().single(3)).rest(), [3]);
    assert_eq!(store(&server, &end(3)), 0);
    let (log, setup) = server.stop_and_keep();
    assert_eq!(log.matches(SORTEO).count(), 1);

    let server = setup.set("CLIENT_AMOUNT", 0).start();
    assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1]));
    assert_eq!(server.connect().send(&batch_of(9, 1, 42)).rest(), [2, 3]);
    server.stop();
}

#[test]
fn new_draw_moves_the_old_files_aside_and_begins_anew() {
    let server = Server::start(1);
    assert_eq!(store(&server, &batch_of(1, 3, WINNING)), 0);
    assert_eq!(winners(&server, 1), [0, 1, 2]);
    let old = server.bets();
    let (_, setup) = server.stop_and_keep();
    let server = setup.arg("--new-draw").start();
    let own = server.own_log();
    assert!(!own.contains("adopt_storage"), "{own}");
    assert_eq!(server.bets(), b"");
    assert_eq!(held(&server, 1), (0, false, 0));
    assert_eq!(store(&server, &batch(1, &[Bet { document: 8, number: WINNING, ..bet() }])), 0);
    assert_eq!(winners(&server, 1), [8]);
    let directory = server.bets_path().parent().unwrap().to_owned();
    let names = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for file in ["bets.csv", "ends", "draw"] {
        let aside: Vec<_> = names().filter(|name| name.starts_with(&format!("{file}.2"))).collect();
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert!(own.contains(&aside[0]), "{own}");
        if file == "bets.csv" {
            assert_eq!(fs::read(directory.join(&aside[0])).unwrap(), old);
        }
    }
    let (log, setup) = server.stop_and_keep();
    assert_eq!(log.matches(SORTEO).count(), 2);
    // A second time, perhaps in the same second, finds another name.
    let server = setup.start();
    assert_eq!(names().filter(|name| name.starts_with("bets.csv.2")).count(), 2);
    server.stop();
}

#[test]
fn a_torn_or_damaged_record_of_an_end_does_not_count() {
    let record = 12;
    type Spoil = fn(&mut Vec<u8>);
    let ways: [(&str, Spoil); 3] = [
        ("torn", |ends| ends.truncate(ends.len() - 1)),
        ("torn early", |ends| ends.truncate(ends.len() - 11)),
        ("a flipped bit", |ends| *ends.last_mut().unwrap() ^= 1),
    ];
    for (name, spoil) in ways {
        let server = Server::start(3);
        for agency in [3, 2] {
            assert_eq!(store(&server, &batch_of(agency, agency, WINNING)), 0);
            assert_eq!(store(&server, &end(agency)), 0);
        }
        let setup = server.kill();
        let mut ends = fs::read(setup.path("ends")).unwrap();
        assert_eq!(ends.len(), 2 * record);
        spoil(&mut ends);
        fs::write(setup.path("ends"), ends).unwrap();
        let server = setup.start();
        assert_eq!(store(&server, &end(1)), 0);
        assert!(held(&server, 1).1 && !held(&server, 2).1 && held(&server, 3).1, "{name}");
        assert!(server.connect().send(&ask(1)).is_silent_for(QUIET), "{name}");
        assert_eq!(store(&server, &batch_of(2, 1, WINNING)), 0, "{name}: it may go on");
        // What was recorded behind the damage is read again.
        let server = server.kill().start();
        assert!(held(&server, 1).1 && !held(&server, 2).1 && held(&server, 3).1, "{name}");
        assert_eq!(winners(&server, 2), [0, 1, 0], "{name}");
        assert_eq!(server.connect().send(&ask(3)).winners(), Some(vec![0, 1, 2]));
        server.stop();
    }
}

#[test]
fn a_torn_or_damaged_result_is_drawn_again() {
    type Spoil = fn(&mut Vec<u8>);
    let ways: [(&str, Spoil); 4] = [
        ("empty", Vec::clear),
        ("torn", |draw| draw.truncate(draw.len() - 1)),
        ("an index with a flipped bit", |draw| draw[13] ^= 1),
        ("a document with a flipped bit", |draw| *draw.last_mut().unwrap() ^= 1),
    ];
    for (name, spoil) in ways {
        let server = Server::start(1);
        assert_eq!(store(&server, &batch_of(1, 3, WINNING)), 0);
        assert_eq!(winners(&server, 1), [0, 1, 2]);
        let setup = server.kill();
        let mut draw = fs::read(setup.path("draw")).unwrap();
        spoil(&mut draw);
        fs::write(setup.path("draw"), draw).unwrap();
        let server = setup.start();
        assert_eq!(server.connect().send(&ask(1)).winners(), Some(vec![0, 1, 2]), "{name}");
        assert_eq!(server.own_log().matches(SORTEO).count(), 1, "{name}");
        server.stop();
    }
}
