//! The documents say what the programs do: the dumps in docs/protocol.md are the bytes that the code sends, and both
//! READMEs name the same commands and keys. `UPDATE_DOCS=1` writes the dumps anew.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};

use loteria::bet::{AgencyId, Bet};
use loteria::protocol::batch::{self, Batch};
use loteria::protocol::{Answer, Code, Generation, encoder, single, typed};
use loteria::row::Tally;

/// A message's name, its bytes, and how they fall into fields: length in bytes, and what they mean.
type Example = (&'static str, Vec<u8>, Vec<(usize, &'static str)>);

/// Bytes in a line of a dump.
const WIDTH: usize = 8;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn examples() -> Vec<Example> {
    let agency = AgencyId::new(1).unwrap();
    let bet =
        |names, document, birthdate: &str, number| Bet::new(agency, names, document, birthdate.as_bytes(), number);
    let lorca = bet([b"Santiago Lionel", b"Lorca"], 30_904_465, "1999-03-17", 7574).unwrap();
    let nunez = bet(["Zoë".as_bytes(), "Núñez".as_bytes()], 0, "2000-02-29", 1).unwrap();
    let answer = |answer: Answer| encoder::encode(&answer, Generation::Typed);
    let batch_fields = vec![
        (4, "agency 1"),
        (1, "2 bets"),
        (16, "first name: Santiago Lionel"),
        (6, "last name: Lorca"),
        (4, "document: 30904465"),
        (11, "birthdate: 1999-03-17"),
        (4, "number: 7574"),
        (5, "first name: Zoë"),
        (8, "last name: Núñez"),
        (4, "document: 0"),
        (11, "birthdate: 2000-02-29"),
        (4, "number: 1"),
    ];
    let typed_fields = [vec![(1, "type 1: ENVIO_BATCH")], batch_fields.clone()].concat();
    let held = Answer::Tally { agency: 1, tally: Tally { count: 26936, crc: 0x1c29_1ca3 }, ended: false };
    let bets = [lorca.clone(), nunez];
    let batch = Batch::new(&bets).unwrap();
    vec![
        (
            "echo",
            encoder::encode(&Answer::Echo("[CLIENT 1] Message N°1".into()), Generation::Echo),
            vec![(23, "text"), (1, "LF")],
        ),
        (
            "single bet",
            single::encode(&lorca).unwrap(),
            vec![
                (4, "agency 1"),
                (16, "first name: Santiago Lionel"),
                (6, "last name: Lorca"),
                (4, "document: 30904465"),
                (11, "birthdate: 1999-03-17"),
                (4, "number: 7574"),
            ],
        ),
        ("untyped batch", batch::encode(agency, batch), batch_fields),
        ("1 ENVIO_BATCH", typed::encode_batch(agency, batch), typed_fields),
        (
            "1 ENVIO_BATCH, the end",
            typed::encode_end(agency),
            vec![(1, "type 1: ENVIO_BATCH"), (4, "agency 1"), (1, "no bets: the end")],
        ),
        (
            "2 CONFIRMACION_RECEPCION",
            answer(Answer::Confirmation(Err(Code::InvalidBet))),
            vec![(1, "type 2: CONFIRMACION_RECEPCION"), (1, "code 1: invalid bet")],
        ),
        (
            "3 SOLICITUD_GANADORES",
            typed::encode_winners_query(agency),
            vec![(1, "type 3: SOLICITUD_GANADORES"), (4, "agency 1")],
        ),
        ("4 SORTEO_NO_REALIZADO", answer(Answer::NotDrawn), vec![(1, "type 4: SORTEO_NO_REALIZADO")]),
        (
            "5 RESPUESTA_GANADORES",
            answer(Answer::Winners(vec![30_904_465, 0])),
            vec![(1, "type 5: RESPUESTA_GANADORES"), (4, "2 winners"), (4, "document: 30904465"), (4, "document: 0")],
        ),
        (
            "6 CONSULTA_RECIBIDAS",
            typed::encode_tally_query(agency),
            vec![(1, "type 6: CONSULTA_RECIBIDAS"), (4, "agency 1")],
        ),
        (
            "7 RECIBIDAS",
            answer(held),
            vec![
                (1, "type 7: RECIBIDAS"),
                (4, "agency 1"),
                (8, "26936 bets"),
                (1, "not ended"),
                (4, "CRC-32 of their rows: 1c291ca3"),
            ],
        ),
    ]
}

/// The bytes field by field, each with its offset and meaning.
fn dump((name, bytes, fields): &Example) -> String {
    assert_eq!(fields.iter().map(|(len, _)| len).sum::<usize>(), bytes.len(), "the fields of {name}");
    let mut text = String::new();
    let mut offset = 0;
    for &(len, meaning) in fields {
        for (line, chunk) in bytes[offset..offset + len].chunks(WIDTH).enumerate() {
            let hex: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let row = format!(
                "{:04x}  {:<23}  {}",
                offset + line * WIDTH,
                hex.join(" "),
                if line == 0 { meaning } else { "" }
            );
            text += row.trim_end();
            text.push('\n');
        }
        offset += len;
    }
    text
}

#[test]
fn the_dumps_in_the_protocol_page_are_the_bytes_that_are_sent() {
    let page = read("docs/protocol.md");
    let mut expected = page.clone();
    for example in examples() {
        let marker = format!("<!-- hex: {} -->\n```text\n", example.0);
        let start = expected.find(&marker).unwrap_or_else(|| panic!("no dump of {}", example.0)) + marker.len();
        let end = start + expected[start..].find("```").unwrap();
        expected.replace_range(start..end, &dump(&example));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join("docs/protocol.md"), &expected).unwrap();
    }
    assert_eq!(page.matches("<!-- hex: ").count(), examples().len());
    assert!(page == expected, "docs/protocol.md is out of date: run the tests once with UPDATE_DOCS=1");
}

/// What stands between backticks or in code blocks, comments aside.
fn code(readme: &str) -> Vec<String> {
    let mut code = Vec::new();
    for (n, part) in readme.split("```").enumerate() {
        if n % 2 == 1 {
            code.extend(part.lines().map(|line| line.split(" # ").next().unwrap_or(line).trim_end().to_owned()));
        } else {
            code.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code.sort();
    code
}

#[test]
fn both_readmes_have_the_same_commands_keys_and_links() {
    let [english, spanish] = ["README.md", "README.es.md"].map(read);
    assert_eq!(code(&english), code(&spanish));
    let headings = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(headings(&english), headings(&spanish));
    let rows = |text: &str| text.lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows(&english), rows(&spanish));
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    for page in pages.chain(["README.md", "README.es.md"].map(|page| root().join(page))) {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            assert!(page.parent().unwrap().join(file).exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn the_readme_names_every_key_of_the_server() {
    let readme = read("README.md");
    for key in loteria::config::server::KEYS {
        assert!(readme.contains(&format!("| `{key}` | ")), "{key}");
    }
}

#[test]
fn every_test_that_the_fault_matrix_names_is_one_of_its_target() {
    let page = read("docs/promises.md");
    let tests: Vec<_> = fault_matrix(&page).iter().flat_map(|[_, tests, _]| tests_in(tests)).collect();
    assert!(tests.len() > 100, "{}", tests.len());
    for (target, name) in tests {
        assert!(sources_of(target).contains(&format!("#[test]\nfn {name}()")), "{target}: {name}");
    }
}

#[test]
fn every_row_of_the_fault_matrix_names_mutants_that_its_tests_judge() {
    let page = read("docs/promises.md");
    for [fault, tests, mutants] in fault_matrix(&page) {
        let tests = tests_in(tests);
        assert!(mutants.contains('`'), "no mutant: {fault}");
        for name in mutants.split('`').skip(1).step_by(2) {
            let patch = root().join(format!("tests/mutants/{name}.patch"));
            let patch = fs::read_to_string(patch).unwrap_or_else(|e| panic!("{name}: {e}"));
            let judge = patch.lines().find_map(|line| line.strip_prefix("Judge: ")).unwrap();
            let is_judge = |(target, test): &(&str, &str)| {
                judge.contains(&format!("--test {target} ")) && judge.rsplit([' ', ':']).next() == Some(test)
            };
            assert!(tests.iter().any(is_judge), "{fault}: {name} is judged by {judge}");
        }
    }
}

/// The rows of the fault matrix: fault, tests, mutants.
fn fault_matrix(page: &str) -> Vec<[&str; 3]> {
    let (_, matrix) = page.split_once("## Fault matrix").unwrap();
    let rows = matrix.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| match cells[..] {
            ["", fault, _, tests, mutants, ""] => [fault, tests, mutants],
            _ => panic!("{cells:?}"),
        })
        .collect()
}

/// The tests that a cell of the matrix names (all code with an underscore), each with its target: the last word with a
/// colon in front of it.
fn tests_in(cell: &str) -> Vec<(&str, &str)> {
    let mut target = "";
    let mut tests = Vec::new();
    for (n, part) in cell.split('`').enumerate() {
        if n % 2 == 0 {
            target = part.rsplit_once(':').map_or(target, |(text, _)| text.rsplit(' ').next().unwrap());
        } else if part.contains('_') {
            tests.push((target, part));
        }
    }
    tests
}

/// The sources of one test target.
fn sources_of(target: &str) -> String {
    let directory = root().join("tests").join(target);
    if directory.is_dir() { sources_in(&directory) } else { read(&format!("tests/{target}.rs")) }
}

/// All Rust sources below `dir`, one behind the other.
fn sources_in(dir: &Path) -> String {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => sources_in(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}
