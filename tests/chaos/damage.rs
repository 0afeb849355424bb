//! Damage to the files of a stopped server, files that are moved under a running one, and how an operator goes on.
//!
//! A start either goes on with everything that was acknowledged, or ends with exit code 4 and leaves all files unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::wait::WaitStatus;

use crate::agency::{Mark, Setback};
use crate::faults::STORAGE_BROKEN;
use crate::plan::{Damage, Durability, Incident, Replaced, Way};
use crate::processes::{Outcome, PATIENCE, is_success};
use crate::run::Run;
use crate::spoil::{Found, spoiled};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Time for clients to log the last answers of a server that has ended.
const TO_LOG: Duration = Duration::from_millis(5);
/// The name of the file to which a link `bets.csv` refers.
const ELSEWHERE: &str = "elsewhere.csv";
const AWAY: &str = "bets.csv.away";

/// The content of each file of a directory; of a link, its target.
type Files = BTreeMap<String, Vec<u8>>;

/// What a repair took from the agencies.
#[derive(Default)]
struct Losses {
    named: BTreeSet<usize>,
    /// An end was removed that does not name its agency.
    unnamed: bool,
}

impl Losses {
    /// From the lines of a repair.
    fn in_log(log: &str) -> Self {
        let mut losses = Self::default();
        for line in log.lines() {
            let Some((_, fields)) = line.split_once("action: repair | result: in_progress | ") else { continue };
            match fields.split_once("agencia: ") {
                Some((_, id)) => losses.named.extend(id.split(' ').next().and_then(|id| id.parse::<usize>().ok())),
                None => losses.unnamed |= fields.starts_with("aviso: "),
            }
        }
        losses
    }

    fn are_of(&self, agency: usize) -> bool {
        self.unnamed || self.named.contains(&agency)
    }
}

impl Run {
    // ---- a stopped server ----

    /// The fault [`crate::plan::Fault::Damage`]; returns how many victims it had.
    pub fn damage(&mut self, incident: Incident, pick: usize) -> Outcome<usize> {
        let marks = self.stop_quietly(incident.kill)?;
        let path = self.lottery.file(incident.damage.file());
        let before = fs::read(&path).ok();
        let is_proved = self.is_of_this_boot();
        let is_unnoticeable = incident.damage == Damage::DrawOlder
            && (!is_proved || (incident.another_boot && self.plan.durability == Durability::Process));
        if let Some(disk) = self.disk.as_ref().filter(|_| incident.another_boot && !is_unnoticeable) {
            disk.another_boot()?;
        }
        let is_proved = self.is_of_this_boot();
        let found = Found { bytes: before.as_deref(), draw: self.lottery.draw(), is_proved, older: &self.older_draw };
        let after = if is_unnoticeable { None } else { spoiled(incident.damage, found, pick) };
        let Some(after) = after else {
            self.note(&marks, |_| (!is_proved).then_some(Setback::Tail));
            self.lottery.start(&mut self.reaper);
            return Ok(0);
        };
        write(&path, after.as_deref());
        self.tally.one("hits", if is_proved { "damage in this boot" } else { "damage in another boot" });
        let is_of_rows = incident.damage.file() == "bets.csv";
        let unproved = if is_of_rows { Setback::Rows } else { Setback::Tail };
        let is_certain = is_proved && incident.damage != Damage::BooksRemoved;
        let there = files(&self.dir.join("store"));
        self.lottery.start(&mut self.reaper);
        if !self.is_refused()? {
            self.tally.one("hits", "damage overcome by a start");
            self.note(&marks, |_| (!is_certain).then_some(unproved));
            return Ok(1);
        }
        self.tally.one("hits", "start refused");
        self.must_be_unchanged(&there, "a start");
        let losses = if incident.way == Way::Repair { self.repair_or_refuse(&there)? } else { None };
        match &losses {
            Some(losses) => {
                let unproved = if is_proved { Setback::Tail } else { unproved };
                self.note(&marks, |id| Some(if losses.are_of(id) { Setback::All } else { unproved }));
                self.restart_clients();
            }
            None => {
                self.tally.one("hits", "file restored");
                write(&path, before.as_deref());
                self.note(&marks, |_| (!is_proved).then_some(Setback::Tail));
            }
        }
        self.lottery.start(&mut self.reaper);
        self.lottery.await_listening(&mut self.reaper).map(|()| 1)
    }

    /// Stops the server and waits until none of its processes is left. Returns how far each agency's client has come.
    fn stop_quietly(&mut self, kill: bool) -> Outcome<Vec<Mark>> {
        if kill {
            self.lottery.kill(&mut self.reaper)?;
            // Every process of a server holds this lock until its end.
            let bets = File::open(self.lottery.file("bets.csv")).map_err(|e| format!("bets.csv: {e}"))?;
            let lock = ipc::lock::exclusive(&bets, PATIENCE).map_err(|e| format!("flock: {e}"))?;
            lock.map(drop).ok_or("the children of a killed server still live")?;
        } else {
            self.lottery.await_listening(&mut self.reaper)?;
            self.stop()?;
        }
        sleep(TO_LOG);
        Ok(self.agencies.iter().map(|agency| agency.mark()).collect())
    }

    fn note(&mut self, marks: &[Mark], setback: impl Fn(usize) -> Option<Setback>) {
        for (agency, mark) in self.agencies.iter_mut().zip(marks) {
            if let Some(setback) = setback(agency.id) {
                agency.note(*mark, setback);
            }
        }
    }

    /// Whether `books` was written in this boot, so that it proves the rows.
    fn is_of_this_boot(&self) -> bool {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        self.lottery.books().is_some_and(|books| books.boot() == boot.trim())
    }

    /// Waits until the server that was just started listens, or has refused the files with exit code 4: then true.
    pub fn is_refused(&mut self) -> Outcome<bool> {
        match self.lottery.await_listening_or_end(&mut self.reaper)? {
            None => Ok(false),
            Some(WaitStatus::Exited(_, STORAGE_BROKEN)) => {
                self.refusals.push(self.lottery.pid());
                Ok(true)
            }
            Some(end) => Err(format!("the server ended at its start: {end:?}\n{}", self.lottery.own_log())),
        }
    }

    /// Repairs the files of a stopped server; what is lost, or `None` if that is refused and nothing has changed.
    fn repair_or_refuse(&mut self, there: &Files) -> Outcome<Option<Losses>> {
        let is_held = self.lottery.is_held() || self.lottery.books().is_some_and(|books| books.was_drawn());
        match self.lottery.repair(&mut self.reaper)? {
            end if is_success(end) => {
                let losses = Losses::in_log(&self.lottery.own_log());
                self.tally.one("hits", "files repaired");
                self.tally.add("hits", "agency opened by a repair", losses.named.len());
                Ok(Some(losses))
            }
            WaitStatus::Exited(_, STORAGE_BROKEN) if is_held => {
                self.refusals.push(self.lottery.pid());
                self.tally.one("hits", "repair of a held draw refused");
                self.must_be_unchanged(there, "a repair");
                Ok(None)
            }
            end => Err(format!("the repair ended with {end:?}\n{}", self.lottery.own_log())),
        }
    }

    /// Repairs files that a start has refused after a power cut, and starts the server.
    pub fn repair_after_cut(&mut self) -> Outcome<()> {
        let there = files(&self.dir.join("store"));
        if self.repair_or_refuse(&there)?.is_none() {
            return Err("a repair after a power cut was refused".to_owned());
        }
        self.lottery.start(&mut self.reaper);
        self.lottery.await_listening(&mut self.reaper)
    }

    fn must_be_unchanged(&mut self, before: &Files, who: &str) {
        let after = files(&self.dir.join("store"));
        let names = before.keys().chain(after.keys());
        let changed: BTreeSet<_> = names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect();
        if !changed.is_empty() {
            self.failures.push(format!("{who} ended with exit code 4 and changed {changed:?}"));
        }
    }

    // ---- a running server ----

    /// The fault [`crate::plan::Fault::Replacement`]; returns how many victims it had.
    pub fn replace(&mut self, of: Replaced, time: Duration) -> Outcome<usize> {
        self.lottery.await_listening(&mut self.reaper)?;
        self.replacements += 1;
        let [bets, away, elsewhere] = ["bets.csv", AWAY, ELSEWHERE].map(|name| self.lottery.file(name));
        let changed = match of {
            Replaced::BetsAway => fs::rename(&bets, &away),
            Replaced::BetsLinked if bets.is_symlink() => fs::rename(&elsewhere, &bets),
            Replaced::BetsLinked => fs::rename(&bets, &elsewhere).and_then(|()| symlink(ELSEWHERE, &bets)),
            Replaced::BooksRemoved => fs::remove_file(self.lottery.file("books")),
        };
        changed.map_err(|e| format!("{of:?}: {e}"))?;
        if of == Replaced::BetsAway {
            sleep(time);
            fs::rename(&away, &bets).map_err(|e| format!("{of:?}: {e}"))?;
            return self.sync_names().map(|()| 1);
        }
        self.sync_names()?;
        sleep(time);
        let marks = self.stop_quietly(true)?;
        if of == Replaced::BooksRemoved {
            self.note(&marks, |_| Some(Setback::Tail));
        }
        self.lottery.start(&mut self.reaper);
        Ok(1)
    }

    /// Makes the names of the files durable, or a power cut may take back a part of the changes.
    fn sync_names(&self) -> Outcome<()> {
        File::open(self.dir.join("store")).and_then(|directory| directory.sync_all()).map_err(|e| e.to_string())
    }
}

fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let content = |path: &Path| match fs::read_link(path) {
        Ok(target) => target.into_os_string().into_encoded_bytes(),
        Err(_) => fs::read(path).unwrap(),
    };
    let is_file = |path: &Path| path.is_symlink() || path.is_file();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(_, path)| is_file(path)).map(|(name, path)| (name, content(&path))).collect()
}

/// Gives a file this content, or removes it. Writes only from the first byte that differs, since a disk may be slow.
fn write(path: &Path, content: Option<&[u8]>) {
    let Some(content) = content else { return fs::remove_file(path).unwrap() };
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path).unwrap();
    let there = fs::read(path).unwrap();
    let same = there.iter().zip(content).take_while(|(there, wanted)| there == wanted).count();
    let end = if there.len() == content.len() {
        content.len() - there.iter().rev().zip(content.iter().rev()).take_while(|(a, b)| a == b).count()
    } else {
        content.len()
    };
    file.set_len(content.len() as u64).unwrap();
    file.write_all_at(&content[same..end.max(same)], same as u64).unwrap();
    file.sync_all().unwrap();
}
