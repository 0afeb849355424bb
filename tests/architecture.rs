//! The map is true: every module imports only from floors below its own.
//!
//! The floors are the rows of the table "Modules, from the bottom up" in `src/lib.rs`, and of the same table in the
//! `mod.rs` of each folder. The imports are all paths in the code that begin with `crate::` or `super::`, and the modules
//! that `use` brings in, as the parser `syn` finds them. Unit tests inside of a module may import what they want.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The macros of the crate root, and the module of each.
const MACROS: [(&str, [&str; 2]); 1] = [("event", ["logging", "event"])];

/// Modules that must not import each other although the floors would allow it: the client and the server share only what
/// is below the storage.
const NEVER: [(&str, &[&str]); 2] =
    [("agency", &["storage", "session", "server"]), ("dataset", &["storage", "session", "server"])];

/// One import: the file, and the module path inside of the crate that it names.
#[derive(Debug)]
struct Import {
    file: PathBuf,
    path: Vec<String>,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files below `dir` but the binaries.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true if entry.ends_with("bin") => {}
            true => found.extend(sources(&entry)),
            false => found.push(entry),
        }
    }
    found.sort();
    found
}

/// The module path of a file: `["server", "claims"]`; `["server"]` for its mod.rs; empty for lib.rs.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src()).unwrap().with_extension("");
    let mut module: Vec<_> = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// The floor of each module, from the table in the documentation of `file`.
fn floors(file: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(file).unwrap();
    let (_, table) =
        text.split_once("# Modules, from the bottom up").unwrap_or_else(|| panic!("no map: {}", file.display()));
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let rows = rows.filter(|row| row.starts_with('|')).skip(2);
    let mut floors = BTreeMap::new();
    for (floor, row) in rows.enumerate() {
        let modules = row.split('|').nth(1).unwrap();
        for module in modules.split('`').skip(1).step_by(2) {
            assert_eq!(floors.insert(module.to_owned(), floor), None, "{module} is twice in {}", file.display());
        }
    }
    floors
}

/// Collects the paths of one file, outside of its unit tests.
struct Paths {
    module: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    /// Notes `segments` if they name something of this crate.
    fn note(&mut self, segments: &[String]) {
        let Some(first) = segments.first() else { return };
        let base = match first.as_str() {
            "crate" => Vec::new(),
            "super" => {
                let mut parent = self.module.clone();
                parent.pop();
                parent
            }
            "self" => self.module.clone(),
            _ => return,
        };
        let home = |name: &String| match MACROS.iter().find(|(of, _)| of == name) {
            Some((_, home)) => home.map(str::to_owned).to_vec(),
            None => vec![name.clone()],
        };
        self.found.push(base.into_iter().chain(segments[1..].iter().flat_map(home)).collect());
    }

    fn note_use(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(tree, before)),
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        visit::visit_path(self, path);
    }
}

fn imports_of(file: &Path) -> Vec<Import> {
    let parsed = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
    let mut paths = Paths { module: module_of(file), found: Vec::new() };
    paths.visit_file(&parsed);
    paths.found.into_iter().map(|path| Import { file: file.to_owned(), path }).collect()
}

fn imports() -> Vec<Import> {
    sources(&src()).iter().flat_map(|file| imports_of(file)).collect()
}

/// The complaint about an import of `to` by `from`, two modules of the folder whose floors these are.
fn complaint(floors: &BTreeMap<String, usize>, from: &str, to: &str, import: &Import) -> Option<String> {
    let place = format!("{}: {}", import.file.display(), import.path.join("::"));
    match (floors.get(from), floors.get(to)) {
        (None, _) => Some(format!("{from} is missing in the map ({place})")),
        (_, None) => Some(format!("{to} is no module of the map: {place}")),
        (Some(own), Some(other)) if own <= other => {
            Some(format!("{from} imports {to}, which is not below it: {place}"))
        }
        _ => None,
    }
}

#[test]
fn modules_import_only_from_floors_below() {
    let map = floors(&src().join("lib.rs"));
    let mut complaints = Vec::new();
    for import in imports() {
        let module = module_of(&import.file);
        if let ([from, ..], [to, ..]) = (&module[..], &import.path[..])
            && from != to
        {
            complaints.extend(complaint(&map, from, to, &import));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn modules_of_a_folder_import_only_from_floors_below() {
    let mut complaints = Vec::new();
    for import in imports() {
        let module = module_of(&import.file);
        // Only files beside a mod.rs: that one is the top of its folder, and may import from all of it.
        let ([folder, from], [to_folder, rest @ ..]) = (&module[..], &import.path[..]) else { continue };
        if folder != to_folder {
            continue;
        }
        let map = floors(&src().join(folder).join("mod.rs"));
        match rest.first() {
            Some(to) if to == from => {}
            Some(to) => complaints.extend(complaint(&map, from, to, &import)),
            None => complaints.push(format!("{} imports its own folder as a whole", import.file.display())),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_module_is_in_its_map_and_the_maps_name_no_other() {
    let mut folders = vec![(src().join("lib.rs"), src())];
    for entry in fs::read_dir(src()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.join("mod.rs").exists() {
            folders.push((entry.join("mod.rs"), entry));
        }
    }
    for (map, folder) in folders {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let names = names.map(|path| path.with_extension("").file_name().unwrap().to_str().unwrap().to_owned());
        let mut modules: Vec<_> = names.filter(|name| !["lib", "mod", "bin"].contains(&name.as_str())).collect();
        modules.sort();
        assert_eq!(modules, floors(&map).into_keys().collect::<Vec<_>>(), "{}", map.display());
    }
}

#[test]
fn the_architecture_page_shows_the_same_floors() {
    let page = fs::read_to_string(src().join("../docs/architecture.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter_map(|(floor, rest)| Some((floor.parse::<usize>().ok()?, rest.split(" | ").next()?)));
    let modules =
        rows.flat_map(|(floor, cell)| cell.split('`').skip(1).step_by(2).map(move |name| (name.to_owned(), floor)));
    // Floor 0 of the page is the crate `ipc`.
    let page: BTreeMap<_, _> = modules.filter(|(_, floor)| *floor > 0).map(|(name, floor)| (name, floor - 1)).collect();
    assert_eq!(page, floors(&src().join("lib.rs")));
}

#[test]
fn the_client_shares_nothing_above_the_protocol_with_the_server() {
    for import in imports() {
        let module = module_of(&import.file);
        for (from, never) in NEVER {
            if module.first().is_some_and(|module| module == from) {
                let to = import.path.first().map_or("", String::as_str);
                assert!(!never.contains(&to), "{} imports {to}", import.file.display());
            }
        }
    }
}

#[test]
fn ipc_knows_nothing_about_the_lottery() {
    let ipc = Path::new(env!("CARGO_MANIFEST_DIR")).join("ipc/src");
    for file in sources(&ipc) {
        let text = fs::read_to_string(&file).unwrap().to_lowercase();
        for word in ["loteria::", "agency", "bets", "lottery"] {
            // The map of the crate may say that it does not know them.
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            assert!(!code.clone().any(|line| line.contains(word)), "{} knows {word:?}", file.display());
        }
    }
}
