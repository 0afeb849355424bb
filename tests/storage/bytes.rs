//! The bytes of `bets.csv`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::scene::*;
use crate::support::*;

/// Runs `script` with `input`; `None` without Python, which has been reported.
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

/// Names that a careless writer or reader of CSV damages, and some random ones.
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
    assert_eq!(server.store(&batch(1, &bets)), 0);
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
    // A batch allows names of at most 29 bytes.
    let short: Vec<_> = names.iter().filter(|name| name.len() <= 29).collect();
    let bets: Vec<_> = short.iter().zip(short.iter().rev()).zip(0..).map(|((a, b), n)| named(a, b, n)).collect();
    for some in bets.chunks(99) {
        assert_eq!(server.store(&batch(1, some)), 0);
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
    assert_eq!(server.tally(1), (bets.len() as u64, false, crc32fast::hash(&server.bets())));
    // The server reads its own file back, and refuses no row.
    let setup = server.kill();
    ["books", "draw"].into_iter().for_each(|name| fs::remove_file(setup.path(name)).unwrap());
    let server = setup.start();
    assert_eq!(server.tally(1).0, bets.len() as u64);
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
    let Some(output) = python(script, &[setup.path("bets.csv").to_str().unwrap()], input.as_bytes()) else { return };
    let output = String::from_utf8(output).unwrap();
    let (crc, rows) = output.trim().split_once(' ').unwrap();
    let before = fs::read(setup.path("bets.csv")).unwrap();

    let server = setup.start();
    assert_eq!(server.tally(1), (rows.parse().unwrap(), false, crc.parse().unwrap()));
    assert!(server.log().contains(&format!("apuestas: {}", names.len())));
    assert_eq!(server.store(&batch(2, &[Bet { document: 4711, number: WINNING, ..bet() }])), 0);
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
    assert_eq!(server.store(&batch(1, &bets)), 0);
    let expected: Vec<_> = names.iter().map(|name| format!("1,{name},{name},1,1999-03-17,1")).collect();
    assert_eq!(server.rows(), expected);
    server.stop();
}
