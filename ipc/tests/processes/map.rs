//! The map in `src/lib.rs` is true: its traps name existing tests, and its rules about modules hold.

use std::fs;
use std::path::Path;

use crate::TESTS;

/// Each row names at least one test, except for the trap of threads: [`crate::support::spawn`] asserts that one.
pub fn each_trap_names_its_tests() {
    let map = fs::read_to_string(sources().join("lib.rs")).unwrap();
    let (_, traps) = map.split_once("# Traps").unwrap();
    let rows: Vec<_> = traps.lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let [_, _, _, tests, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("not three cells: {row}") };
        assert!(tests.contains('`') || row.contains("a fork copies only one thread"), "no test: {row}");
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(TESTS.iter().any(|(test, _)| *test == name), "no such test: {name}");
        }
    }
}

pub fn modules_import_only_from_lower_ones() {
    for (name, code) in modules() {
        let lower: &[&str] = match name.as_str() {
            "calls" => &["filter"],
            "link" => &["descriptors"],
            "process" => &["descriptors", "signals"],
            "nursery" => &["descriptors", "process", "signals"],
            "sandbox" => &["calls", "filter"],
            _ => &[],
        };
        let imports: Vec<_> = code.lines().filter(|line| line.contains("crate::")).collect();
        let is_lower = |line: &&str| lower.iter().any(|module| line.starts_with(&format!("use crate::{module}::")));
        assert!(imports.iter().all(is_lower), "{name}: {imports:?}");
    }
}

pub fn only_lock_uses_fs2() {
    for (name, code) in modules() {
        assert_eq!(code.contains("fs2"), name == "lock", "{name}");
        assert!(name != "lock" || !code.contains(".unlock("), "a method call may reach std instead of fs2");
    }
}

/// Name and code of each module, without comments.
fn modules() -> Vec<(String, String)> {
    let files = fs::read_dir(sources()).unwrap().map(|entry| entry.unwrap().path());
    let modules: Vec<_> = files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), code.map(|line| format!("{line}\n")).collect())
        })
        .collect();
    assert!(modules.len() > 5, "{modules:?}");
    modules
}

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}
