//! The machine's facts, and the files of a report: results, plots, and the block of docs/performance.md.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use chrono::Utc;
use nix::sys::utsname::uname;

use crate::Result;
use crate::report::{self, Figure, Machine, Measured, Results};

const RESULTS: &str = "results.json";
const PAGE: &str = "docs/performance.md";

/// The report of this run, added to the one of earlier runs.
pub struct Output {
    results: Results,
    /// The folder of results and plots.
    dir: PathBuf,
    save: bool,
}

impl Output {
    /// Reads the results of earlier runs, if there are any. With `save`, the report goes into docs.
    pub fn open(save: bool) -> Result<Self> {
        let root = root();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        let dir = if save { root.join("docs/benchmarks") } else { target.join("benchmarks") };
        fs::create_dir_all(&dir)?;
        let results = match fs::read_to_string(dir.join(RESULTS)) {
            Ok(json) => Results::from_json(&json)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Results::default(),
            Err(e) => return Err(e.into()),
        };
        Ok(Self { results, dir, save })
    }

    /// Prints the machine's facts, and keeps them for the results.
    pub fn print_machine(&mut self) -> Result<()> {
        let machine = machine()?;
        let Machine { processor, processors, kernel, file_system, tmpdir, .. } = &machine;
        let load = load()?;
        writeln!(
            io::stdout(),
            "{processor}, {processors} processors, load {load}, Linux {kernel}, {file_system} at {tmpdir}"
        )?;
        self.results.machine = machine;
        Ok(())
    }

    /// Adds a part, and prints its table.
    pub fn add(
        &mut self,
        name: &str,
        (load, full): (f64, bool),
        (skipped, figures): (Vec<String>, Vec<Figure>),
    ) -> Result<()> {
        let date = Utc::now().format("%Y-%m-%d %H:%M").to_string();
        let figures = figures.into_iter().map(Figure::rounded).collect();
        let part = Measured { date, commit: commit(), load, full, skipped, figures };
        write!(io::stdout(), "{}", report::part_table(name, &part))?;
        self.results.parts.insert(name.to_owned(), part);
        Ok(())
    }

    /// Prints the goals and writes the files.
    pub fn write(&self) -> Result<()> {
        write!(io::stdout(), "{}", report::goals_table(&self.results))?;
        fs::write(self.dir.join(RESULTS), self.results.to_json()?)?;
        for (name, svg) in report::draw_all(&self.results)? {
            fs::write(self.dir.join(format!("{name}.svg")), svg)?;
        }
        writeln!(io::stdout(), "\nresults and plots: {}", self.dir.display())?;
        if self.save {
            let page = root().join(PAGE);
            let text = report::replace_block(&fs::read_to_string(&page)?, &report::block(&self.results));
            fs::write(page, text.ok_or("docs/performance.md has no marks for the figures")?)?;
        }
        Ok(())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Load of the machine, averaged over the last minute.
pub fn load() -> Result<f64> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().parse()?)
}

fn machine() -> Result<Machine> {
    let field = |text: &str, name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal");
    let tmpdir = std::env::temp_dir();
    Ok(Machine {
        processor: field(&fs::read_to_string("/proc/cpuinfo")?, "model name"),
        processors: thread::available_parallelism()?.get(),
        memory_kb: memory.trim_end_matches("kB").trim().parse().unwrap_or_default(),
        kernel: uname()?.release().to_string_lossy().into_owned(),
        file_system: file_system(&tmpdir.canonicalize()?)?,
        tmpdir: tmpdir.display().to_string(),
    })
}

/// The type of the file system that `path` lies in, of the mount with the longest matching path.
fn file_system(path: &Path) -> Result<String> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let found = mounts.filter(|(at, _)| path.starts_with(at)).max_by_key(|(at, _)| at.len());
    Ok(found.map_or("unknown", |(_, kind)| kind).to_owned())
}

/// The commit of the project, with `+` if files differ from it; `unknown` without git.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    if changed { commit + "+" } else { commit }
}
