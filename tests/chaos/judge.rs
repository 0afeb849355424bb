//! The checks after a run, and counts of how often the interesting moments were hit.
//!
//! A power cut may take acknowledged data that its level does not promise to keep:
//!
//! | DURABILITY | after kills | after a power cut |
//! |---|---|---|
//! | `process` | no acknowledged batch or end is lost | acknowledged data may be lost, but never after the draw; clients that are started again end with every row stored once, and the right winners |
//! | `end` | the same | no acknowledged end is lost, and so no bet of an agency that has ended |
//! | `batch` | the same | the same, and no acknowledged batch is lost |
//!
//! Damage to a file of a stopped server loses nothing at any level without exit code 4. After exit code 4, a repair may lose
//! the rows and the end of the agencies that it names. In another boot, there is no proof of the rows of an agency that has
//! not ended: those after a damage to `bets.csv` may be lost.
//!
//! At every level: each row once, in order and whole, one draw, the right winners, no panic, no process left.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::agency::{Agency, Event, Setback};
use crate::faults::STORAGE_BROKEN;
use crate::plan::Durability;
use crate::processes::{Failure, is_success};
use crate::rows::{self, Row};
use crate::run::Run;
use crate::support;

/// Exit code of a child whose parent was killed between its fork and its first steps.
const PARENT_GONE: i32 = 102;

impl Run {
    pub fn judge(&mut self) {
        let log = self.lottery.log();
        let mut failures = self.stored();
        failures.extend(self.sorteo(&log));
        failures.extend(self.server_log(&log));
        failures.extend(self.ends());
        failures.extend((0..self.agencies.len()).flat_map(|index| self.client(index)).collect::<Vec<_>>());
        self.failures.extend(failures);
        self.count_evidence(&log);
    }

    /// `bets.csv` has each agency's rows whole, exactly once, in order, and no others.
    fn stored(&self) -> Vec<Failure> {
        let bytes = fs::read(self.lottery.file("bets.csv")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let mut by_agency = BTreeMap::<&str, Vec<&str>>::new();
        for row in text.split_inclusive("\r\n") {
            by_agency.entry(row.split(',').next().unwrap_or_default()).or_default().push(row);
        }
        let mut failures = Vec::new();
        for (id, rows) in (1..).zip(&self.plan.agencies) {
            let found = by_agency.remove(id.to_string().as_str()).unwrap_or_default();
            failures.extend(difference(id, &found, rows));
        }
        failures.extend(by_agency.values().map(|rows| format!("bets.csv has {} foreign rows: {rows:?}", rows.len())));
        failures
    }

    /// The draw is held once and logged once, unless the server was killed in between.
    fn sorteo(&mut self, log: &str) -> Option<Failure> {
        let logged = log.matches(support::SORTEO).count();
        let adopted = log.contains("sorteo: held");
        if logged == 0 && adopted {
            self.tally.one("hits", "sorteo never logged");
            return None;
        }
        (logged != 1).then(|| format!("{:?} is logged {logged} times", support::SORTEO))
    }

    fn server_log(&self, log: &str) -> Vec<Failure> {
        let errors = fs::read_to_string(self.dir.join("server.err")).unwrap_or_default();
        let mut failures = Vec::new();
        if !errors.is_empty() {
            failures.push(format!("the server wrote to standard error: {errors}"));
        }
        let wrong = |line: &&str| line.contains("panic") || self.is_unasked_end(line);
        failures.extend(log.lines().filter(wrong).map(|line| format!("the server logs: {line}")));
        failures
    }

    /// Whether the line reports a child's end that is neither an exit code 0 nor caused by this run.
    fn is_unasked_end(&self, line: &str) -> bool {
        let cut = self.cuts > 0;
        if line.contains("action: sorteo | result: in_progress | error: the process that held it ended") {
            return !cut && self.replacements == 0 && !line.contains("SIGKILL");
        }
        let Some((_, end)) = line.split_once("action: child_exit | result: fail | pid: ") else { return false };
        let pid = end.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        let killed = end.contains("causa: SIGKILL") && self.lottery.killed.contains(&pid);
        let disk_gone = cut && end.contains("causa: código de salida 4");
        !killed && !disk_gone
    }

    /// The ends of orphans, which no server has reported.
    fn ends(&self) -> Vec<Failure> {
        let of_clients: Vec<_> =
            self.agencies.iter().flat_map(|agency| &agency.starts).map(|start| start.pid).collect();
        let wrong = |end: &WaitStatus| match end {
            WaitStatus::Exited(_, 0 | PARENT_GONE) => false,
            WaitStatus::Exited(_, STORAGE_BROKEN) => self.cuts == 0,
            // The process of a draw did not find its files.
            WaitStatus::Exited(_, 1) => self.replacements == 0,
            WaitStatus::Exited(..) => true,
            WaitStatus::Signaled(_, signal, _) => *signal != Signal::SIGKILL,
            _ => true,
        };
        let judged = |pid: &i32| of_clients.contains(pid) || self.refusals.contains(pid);
        let others = self.reaper.ends().filter(|(pid, _)| !judged(pid));
        others.filter(|(_, end)| wrong(end)).map(|(pid, end)| format!("process {pid} ended with {end:?}")).collect()
    }

    // ---- clients ----

    fn client(&mut self, index: usize) -> Vec<Failure> {
        let (agency, rows) = (&self.agencies[index], &self.plan.agencies[index]);
        let right = rows::winners(rows).len();
        let mut failures = Vec::new();
        for (number, start) in agency.starts.iter().enumerate() {
            let (log, errors) = (agency.log(number), agency.errors(number));
            let named = |what: String| format!("client {} (start {}): {what}", agency.id, number + 1);
            if !errors.is_empty() {
                failures.push(named(format!("wrote to standard error: {errors}")));
            }
            let winners: Vec<_> = agency
                .events(number)
                .into_iter()
                .filter_map(|event| if let Event::Winners { count } = event { Some(count) } else { None })
                .collect();
            if winners.iter().any(|&count| count != right) {
                failures.push(named(format!("got {winners:?} winners instead of {right}")));
            }
            let end = self.reaper.end_of(start.pid);
            if !start.killed && (!end.is_some_and(is_success) || winners.len() != 1) {
                let last = log.lines().last().unwrap_or_default();
                failures.push(named(format!("ends with {end:?} and {} winners' lines: {last}", winners.len())));
            }
        }
        let mut claims = Claims::of(self, index);
        failures.extend(claims.judge(&self.agencies[index]));
        self.tally.add("hits", "batch stored, not acknowledged", claims.ahead);
        self.tally.add("hits", "sent again", claims.again);
        failures
    }

    // ---- evidence ----

    fn count_evidence(&mut self, log: &str) {
        let all = self.plan.agencies.len();
        let count = |text: &str| log.matches(text).count();
        let lines = |texts: &[&str]| log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count();
        let ends = format!("agencias_terminadas: {all} | sorteo: not held");
        let hits = [
            ("tail cut off", count("action: descartar_cola") + count("action: apartar_cola")),
            (
                "child killed amid its agency",
                lines(&["action: child_exit | result: fail", "SIGKILL"])
                    - lines(&["action: child_exit | result: fail", "SIGKILL", "agencia: - "]),
            ),
            ("draw begun again", count("action: sorteo | result: in_progress")),
            ("start with all ends and no draw", count(&ends)),
            ("start with a draw", count("sorteo: held")),
            ("start that waited for old children", count("action: lock | result: in_progress")),
            ("agency connected elsewhere", count("codigo: 5")),
            ("storage failed", count("codigo: 4")),
        ];
        for (name, hits) in hits {
            self.tally.add("hits", name, hits);
        }
        self.tally.one("runs", self.plan.durability.name());
    }
}

fn difference(id: usize, found: &[&str], rows: &[Row]) -> Option<Failure> {
    let right: Vec<_> = rows.iter().map(|row| row.stored(id)).collect();
    let at = right.iter().zip(found).take_while(|(right, found)| right == *found).count();
    let same = at == found.len() && at == right.len();
    (!same).then(|| {
        let (found_len, len) = (found.len(), right.len());
        let (found, right) = (found.get(at), right.get(at));
        format!(
            "bets.csv has {found_len} rows of agency {id} instead of {len}; row {}: {found:?} instead of {right:?}",
            at + 1
        )
    })
}

/// What an agency may rely on after the answers so far.
struct Claims {
    level: Durability,
    /// Possible numbers of rows after whole batches; `None` if a setback may have left a part of one.
    whole: Option<Vec<u64>>,
    /// Rows up to the last acknowledgement, and how many of them must not be lost.
    acknowledged: u64,
    kept: u64,
    /// Whether its end is recorded and must not be lost.
    ended: bool,
    drawn: bool,
    /// The setbacks since its last connection.
    setbacks: Vec<Setback>,
    /// How often the server had more rows than it had acknowledged, and how often fewer.
    ahead: usize,
    again: usize,
}

impl Claims {
    fn of(run: &Run, index: usize) -> Self {
        Self {
            level: run.plan.durability,
            whole: Some(rows::batch_ends(&run.plan.agencies[index], run.plan.max_amount)),
            acknowledged: 0,
            kept: 0,
            ended: false,
            drawn: false,
            setbacks: Vec::new(),
            ahead: 0,
            again: 0,
        }
    }

    fn judge(&mut self, agency: &Agency) -> Vec<Failure> {
        let mut failures = Vec::new();
        for number in 0..agency.starts.len() {
            // The server's rows; unknown before the first request on a connection.
            let mut there = None;
            for event in agency.events(number) {
                let wrong = self.next(event, &mut there);
                failures.extend(wrong.map(|what| format!("client {} (start {}): {what}", agency.id, number + 1)));
            }
        }
        failures
    }

    fn next(&mut self, event: Event, there: &mut Option<u64>) -> Option<Failure> {
        match event {
            Event::Connected => {
                *there = None;
                std::mem::take(&mut self.setbacks).into_iter().for_each(|setback| self.lose(setback));
            }
            Event::Counted { bets, ended } => {
                *there = Some(bets);
                return self.count_is(bets, ended);
            }
            Event::Stored { bets } => {
                // A tally of zero has no line.
                let wrong = if there.is_none() { self.count_is(0, false) } else { None };
                let now = there.unwrap_or(0) + bets;
                *there = Some(now);
                (self.acknowledged, self.kept) = (self.acknowledged.max(now), self.kept.max(now));
                return wrong;
            }
            Event::AllSent => self.ended = true,
            Event::Winners { .. } => self.drawn = true,
            Event::Setback(setback) => self.setbacks.push(setback),
        }
        None
    }

    /// Forgets the claims that a setback may have made untrue.
    fn lose(&mut self, setback: Setback) {
        self.whole = None;
        let (may_lose_end, may_lose_rows) = match setback {
            Setback::PowerCut => (self.level == Durability::Process, self.level != Durability::Batch),
            Setback::Tail => (false, false),
            Setback::Rows => (false, true),
            Setback::All => (true, true),
        };
        self.ended &= self.drawn || !may_lose_end;
        if !self.ended && may_lose_rows {
            self.kept = 0;
        }
    }

    fn count_is(&mut self, bets: u64, ended: bool) -> Option<Failure> {
        self.ahead += usize::from(bets > self.acknowledged);
        self.again += usize::from(bets < self.acknowledged);
        if self.ended && !ended {
            return Some("its end was acknowledged, and is lost".to_owned());
        }
        if bets < self.kept {
            return Some(format!("{} rows were acknowledged, and only {bets} are there", self.kept));
        }
        let torn = self.whole.as_ref().is_some_and(|whole| !whole.contains(&bets));
        torn.then(|| format!("{bets} rows are there: a part of a batch"))
    }
}
