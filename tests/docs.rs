//! Compares the documents with the code: dumps of the protocol, settings, exit codes, imports, names of tests; and the
//! documents with each other: both READMEs, every link. `UPDATE_DOCS=1` writes the dumps again.

#![allow(clippy::unwrap_used, reason = "unwrap fails a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use loteria::bet::{AgencyId, Bet};
use loteria::exit_code::ExitStatus;
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
fn dumps_of_the_protocol_page_are_the_sent_bytes() {
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
    assert!(page == expected, "docs/protocol.md is out of date: run this test once with UPDATE_DOCS=1");
}

/// The bytes of a dump without offsets: in each line, two spaces separate the bytes from their meaning.
fn bytes_of(dump: &str) -> Vec<u8> {
    let digits = dump.lines().flat_map(|line| line.split_once("  ").unwrap().0.split(' '));
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn dumps_of_the_spanish_report_are_the_sent_bytes() {
    let (page, examples) = (read("docs/informe.md"), examples());
    let dumps: Vec<_> = page.split("<!-- hex: ").skip(1).collect();
    assert_eq!(dumps.len(), 2);
    for dump in dumps {
        let (name, rest) = dump.split_once(" -->\n```text\n").unwrap();
        let (lines, _) = rest.split_once("```").unwrap();
        let (_, bytes, _) = examples.iter().find(|example| example.0 == name).unwrap();
        assert_eq!(&bytes_of(lines), bytes, "{name}");
    }
}

// ---- both READMEs, and links -------------------------------------------------------------------------------------

/// Most lines of a README: a stranger reads it in a minute, all other pages hold the details.
const README_LINES: usize = 125;

/// The text between backticks and in code blocks, without comments.
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

/// The targets of the links in a page, pictures included.
fn links(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn both_readmes_have_the_same_commands_and_links() {
    let [english, spanish] = ["README.md", "README.es.md"].map(read);
    assert_eq!(code(&english), code(&spanish));
    let count = |text: &str, start| text.lines().filter(|line| line.starts_with(start)).count();
    for start in ['#', '|', '!'] {
        assert_eq!(count(&english, start), count(&spanish, start), "lines that start with {start}");
    }
    let others = |page| {
        let links: BTreeSet<_> = links(page).into_iter().filter(|link| !link.starts_with("README")).collect();
        links
    };
    assert_eq!(others(&english), others(&spanish));
}

#[test]
fn readmes_are_short() {
    for page in ["README.md", "README.es.md"] {
        let lines = read(page).lines().count();
        assert!(lines <= README_LINES, "{page} has {lines} lines");
    }
}

/// Every Markdown page of the project.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "ipc", "wireshark", "fuzz", "benches"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The anchors of a page's headings, as the usual renderers form them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    assert!(pages().len() > 10);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(target).unwrap());
                assert!(headings.iter().any(|heading| heading == anchor), "{}: {link}: {headings:?}", page.display());
            }
        }
    }
}

#[test]
fn pictures_have_a_title_and_load_nothing() {
    for picture in ["docs/processes.svg", "docs/run.svg"] {
        let svg = read(picture);
        assert!(svg.contains("<title ") && svg.contains("<desc ") && svg.contains("prefers-color-scheme: dark"));
        let external = svg.replace("http://www.w3.org/2000/svg", "");
        assert!(
            ["http", "href", "url(", "@import"].iter().all(|word| !external.replace("url(#tip)", "").contains(word))
        );
    }
}

#[test]
fn picture_of_a_run_shows_the_bundled_bets() {
    let picture = read("docs/run.svg");
    for agency in 1..=5 {
        let bets = read(&format!(".data/agency-{agency}.csv")).lines().count();
        assert!(
            picture.contains(&format!(">{agency} {bets:>15} ")),
            "agency {agency} has {bets} bets: run make picture"
        );
    }
}

// ---- settings and exit codes -------------------------------------------------------------------------------------

/// The rows of the first table below `heading` of docs/configuration.md: their cells, without backticks.
fn configuration(heading: &str) -> Vec<Vec<String>> {
    let page = read("docs/configuration.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect();
    rows.skip(2).map(cells).collect()
}

#[test]
fn configuration_page_names_every_key_of_both_programs() {
    let documented = |program| configuration(program).into_iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(documented("Server"), loteria::config::server::KEYS);
    assert_eq!(documented("Client"), loteria::config::client::KEYS);
}

#[test]
fn documented_defaults_of_the_server_are_those_of_the_code() {
    let settings = configuration("Server").into_iter().filter(|row| row[0] != "MAX_CONNECTIONS" && row[1] != "–");
    let file: String = settings.map(|row| format!("{} = {}\n", row[0], row[1])).collect();
    let load = |text: &str| {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(&path, format!("[DEFAULT]\n{text}")).unwrap();
        loteria::config::server::Config::load(Some(path.path()), None).map(|config| format!("{config:?}"))
    };
    assert_eq!(load(&file).unwrap(), load("").unwrap());
}

#[test]
fn documented_defaults_of_the_client_are_those_of_the_code() {
    let settings = configuration("Client").into_iter().filter(|row| row[1] != "–");
    let entries = settings.map(|row| match row[0].split_once('.') {
        Some((section, key)) => (section.to_owned(), format!("  {key}: \"{}\"\n", row[1].replace("{id}", "1"))),
        None => (String::new(), format!("{}: \"{}\"\n", row[0], row[1])),
    });
    let mut file = String::from("id: 1\n");
    let mut current = String::new();
    for (section, entry) in entries.collect::<BTreeSet<_>>() {
        if section != current {
            file += &format!("{section}:\n");
            current = section;
        }
        file += &entry;
    }
    let load = |text: &str| {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(&path, text).unwrap();
        loteria::config::client::Config::load(Some(path.path()), None).map(|config| format!("{config:?}"))
    };
    assert_eq!(load(&file).unwrap(), load("id: 1\n").unwrap());
}

#[test]
fn documented_exit_codes_are_those_of_the_code() {
    let table = ExitStatus::TABLE.map(|(status, meaning)| (status.code(), meaning));
    let documented = configuration("Exit codes").into_iter().map(|row| (row[0].parse().unwrap(), row[1].clone()));
    assert_eq!(documented.collect::<Vec<(u8, String)>>(), table.map(|(code, meaning)| (code, meaning.to_owned())));
}

// ---- architecture ------------------------------------------------------------------------------------------------

/// The rows of the table below `heading` of docs/architecture.md, split into cells.
fn architecture<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The parts of a cell between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The code of a source file, or of all files of a folder: no comments, and no unit tests, which end a file.
fn code_below(path: &Path) -> String {
    let files = if path.is_dir() { files_in(path) } else { vec![fs::read_to_string(path).unwrap()] };
    let code = files.iter().flat_map(|file| without_tests(file).lines());
    code.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

#[test]
fn modules_never_use_what_the_architecture_page_excludes() {
    let page = read("docs/architecture.md");
    let rows = architecture(&page, "Imports that a module never has");
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        for path in names(row[0]) {
            let code = code_below(&root().join(path));
            assert!(!code.is_empty(), "{path}");
            for word in names(row[1]) {
                let found = code.match_indices(word).any(|(at, _)| is_whole_word(&code, at, word.len()));
                assert!(!found, "{path} uses {word}");
            }
        }
    }
}

/// Whether no letter, digit or underscore precedes or follows the word; a word that ends with `::` may go on.
fn is_whole_word(code: &str, at: usize, len: usize) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let goes_on = code[at + len..].starts_with(is_part) && !code[..at + len].ends_with("::");
    !code[..at].ends_with(is_part) && !goes_on
}

#[test]
fn every_test_of_the_architecture_page_exists() {
    let page = read("docs/architecture.md");
    let rows = architecture(&page, "Invariants at run time");
    let tests: Vec<_> = rows.iter().flat_map(|row| tests_in(row[2])).collect();
    assert!(rows.len() > 10 && tests.len() > rows.len(), "{}", tests.len());
    for (target, name) in tests {
        assert!(sources_of(target).contains(&format!("fn {name}()")), "{target}: {name}");
    }
}

#[test]
fn every_function_in_the_map_of_the_model_exists() {
    let source = read("tests/model/main.rs");
    let rows: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1).collect();
    let code = code_below(&root().join("src")) + &code_below(&root().join("ipc/src"));
    let functions: Vec<_> = rows.iter().flat_map(|row| names(row.split_once(" | ").unwrap().1)).collect();
    assert!(rows.len() > 10 && functions.len() > 20, "{functions:?}");
    for function in functions.iter().filter(|name| name.contains("::")) {
        let (_, name) = function.rsplit_once("::").unwrap();
        let is_there = [format!("fn {name}("), format!("fn {name}<"), format!("{name},"), format!("{name} =>")];
        assert!(is_there.iter().any(|form| code.contains(form)), "{function}");
    }
}

// ---- promises ----------------------------------------------------------------------------------------------------

#[test]
fn every_test_of_the_fault_matrix_exists_in_its_target() {
    let page = read("docs/promises.md");
    let tests: Vec<_> = fault_matrix(&page).iter().flat_map(|[_, tests, _]| tests_in(tests)).collect();
    assert!(tests.len() > 100, "{}", tests.len());
    for (target, name) in tests {
        assert!(sources_of(target).contains(&format!("#[test]\nfn {name}()")), "{target}: {name}");
    }
}

#[test]
fn every_row_of_the_fault_matrix_names_judged_mutants() {
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

/// The tests that a cell of the matrix names (all code with an underscore), each with its target: the last word before a
/// colon.
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

/// The sources of one test target; `ipc` means all tests of that crate.
fn sources_of(target: &str) -> String {
    let directory = root().join(if target == "ipc" { "ipc/tests".into() } else { format!("tests/{target}") });
    if directory.is_dir() { files_in(&directory).concat() } else { read(&format!("tests/{target}.rs")) }
}

/// All Rust sources below `dir`.
fn files_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let texts = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => files_in(&path),
        Some(extension) if extension == "rs" => vec![fs::read_to_string(&path).unwrap()],
        _ => Vec::new(),
    };
    entries.flat_map(texts).collect()
}
