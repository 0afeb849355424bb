//! `--repair`: keeps everything that the files of a lottery prove, and makes them usable again.
//!
//! Used by the server's parent, which then starts as usual, but does not listen. The plan is complete before anything is
//! changed.
//!
//! | found | plan |
//! |---|---|
//! | files that a start takes | nothing |
//! | a held draw | draw again from the rows, and keep everything if the result is the same; otherwise refuse |
//! | an agency with the rows of its end, or of its slot in this boot | keep its rows and its end |
//! | an agency with other rows | remove all its rows and its end: its client sends from the first row |
//! | an agency without proof | keep its rows before the first invalid one; it has not ended |
//! | files of an older version | convert them |

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;

use super::adoption::{self, Decision, OnDisk};
use super::boot;
use super::conversion;
use super::draw_file::{self, ResultRecord, Unit};
use super::error::{Defect, Error, Result};
use super::evidence::{Evidence, Proof};
use super::files::{StopCheck, open_if_there};
use super::lifelock::LifeLock;
use super::older;
use super::paths::Paths;
use super::plan::{Content, Loss, Rows};
use super::record::Found;
use super::redraw;
use super::slots::{Slot, Slots};
use super::start;
use super::survey::{Kept, Survey};
use crate::bet::AgencyId;
use crate::row::Tally;

pub use super::plan::Plan;
pub use super::redraw::Settings;

const REFUTED: &str = "its rows differ from the recorded tally, so all of them and its end are removed: \
                       start its client again";
const REOPENED: &str = "its end cannot be proved and is removed: its client must send the rest and the end again";
const SHORTENED: &str =
    "its rows after an invalid row or past the committed length are removed: start its client again";
const UNREADABLE: &str =
    "ends that cannot be read are removed: clients of agencies that had ended must be started again";

/// Makes the plan. Changes no file.
///
/// # Errors
/// [`Error::BeyondRepair`] if the draw is held and other files contradict it; [`Error::NotAStore`] if `bets.csv` belongs to
/// another program; [`Error::Stopped`] if `stop` returns true; [`Error::Sync`] if a sync fails; [`Error::Io`] if
/// another system call fails.
pub fn plan(paths: &Paths, lock: &LifeLock, settings: Settings, stop: StopCheck<'_>) -> Result<Plan> {
    make(paths, lock, settings, stop).map_err(|e| match e {
        Error::Damaged { path, defect } => Error::BeyondRepair { path, defect },
        other => other,
    })
}

fn make(paths: &Paths, lock: &LifeLock, settings: Settings, stop: StopCheck<'_>) -> Result<Plan> {
    let [books, draw] = [&paths.books, &paths.draw].map(|path| open_if_there(path));
    let (books, draw) = (books?, draw?);
    start::sync_and_drop_cache(paths, lock, books.as_ref(), draw.as_ref())?;
    let len = lock.bets().metadata().map_err(Error::io("stat", &paths.bets))?.len();
    let (books, draw, boot) = (books.as_ref(), draw.as_ref(), boot::current()?);
    let on_disk = OnDisk { paths, bets: lock.bets(), len, books, draw, boot };
    let is_older = older::found(paths)?.is_some();
    let mut plan = if is_older && books.is_none() && !is_converted(paths, draw)? {
        conversion::plan(&on_disk, settings.agencies, stop)?
    } else {
        match adoption::decide(&on_disk, stop) {
            Ok(decision) => unchanged(&on_disk, &decision),
            Err(refusal @ (Error::Damaged { .. } | Error::NotAStore { .. })) if books.is_some() || draw.is_some() => {
                damaged(&on_disk, settings, refusal, stop)?
            }
            Err(refusal) => return Err(refusal),
        }
    };
    plan.renames_older |= is_older;
    plan.copies.extend(copies(&on_disk, &plan)?);
    Ok(plan)
}

/// Whether `draw` has the present layout: an earlier conversion was killed after it had written it.
fn is_converted(paths: &Paths, draw: Option<&File>) -> Result<bool> {
    let header = draw.map(draw_file::Header::read).transpose().map_err(Error::io("read", &paths.draw))?;
    Ok(matches!(header, Some(Found::Valid(_))))
}

/// The files that the plan changes and that have content. The start that follows always makes new books.
fn copies(on_disk: &OnDisk<'_>, plan: &Plan) -> Result<Vec<std::path::PathBuf>> {
    let OnDisk { paths, bets, books, draw, .. } = *on_disk;
    let changed = [
        (Some(bets), &paths.bets, plan.rows.is_some()),
        (draw, &paths.draw, plan.draw.is_some()),
        (books, &paths.books, true),
    ];
    let mut copies = Vec::new();
    for (file, path, _) in changed.into_iter().filter(|(.., is_changed)| *is_changed) {
        let len = file.map(File::metadata).transpose().map_err(Error::io("stat", path))?.map_or(0, |found| found.len());
        if len > 0 && !plan.copies.contains(path) {
            copies.push(path.clone());
        }
    }
    Ok(copies)
}

/// Files that a start takes. It may still cut off a tail, or complete the ends.
fn unchanged(on_disk: &OnDisk<'_>, decision: &Decision) -> Plan {
    let OnDisk { paths, len, draw, .. } = *on_disk;
    let completes_draw = draw.is_some() && (!decision.missing.is_empty() || decision.unfinished.is_some());
    let changed = [(decision.tallies.len() < len, &paths.bets), (completes_draw, &paths.draw)];
    let copies = changed.into_iter().filter(|(is_changed, _)| *is_changed).map(|(_, path)| path.clone()).collect();
    Plan { copies, ..Plan::default() }
}

/// Files that a start refuses for the reason `refusal`.
fn damaged(on_disk: &OnDisk<'_>, settings: Settings, refusal: Error, stop: StopCheck<'_>) -> Result<Plan> {
    let OnDisk { paths, bets, len, .. } = *on_disk;
    let evidence = Evidence::read(on_disk)?;
    match evidence.place {
        Found::Valid(ResultRecord::Held(extent)) => {
            return redraw::plan(on_disk, &evidence, extent, settings, refusal, stop);
        }
        _ if evidence.was_drawn => return Err(Error::damaged(&paths.draw, Defect::Held)),
        // Only a process of this boot may have torn the record, and only before it set the flag in the head.
        Found::Damaged if !evidence.slots_prove || !evidence.has_head => {
            return Err(Error::damaged(&paths.draw, Defect::Held));
        }
        Found::Damaged | Found::Blank | Found::Valid(ResultRecord::Planned { .. }) => {}
    }
    let survey = Survey::take(bets, &paths.bets, [len, evidence.limit], stop)?;
    if survey.front == 0 && len > 0 && evidence.is_empty() {
        return Err(Error::NotAStore { path: paths.bets.clone() });
    }
    Ok(Judgement::new(&evidence, &survey).plan(on_disk))
}

// ---- the agencies ----

/// What is kept of an agency.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// Its valid rows up to this offset.
    to: u64,
    /// These rows.
    tally: Tally,
    /// Its end.
    has_ended: bool,
    /// Why.
    ground: Ground,
}

/// The ground for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// The rows are those of a proof.
    Proved,
    /// The rows are not those of any proof.
    Refuted,
    /// There is no proof.
    Unproved,
}

/// The verdicts on all agencies of a lottery whose draw is not held.
struct Judgement<'a> {
    evidence: &'a Evidence<'a>,
    survey: &'a Survey,
    verdicts: Vec<(AgencyId, Verdict)>,
}

impl<'a> Judgement<'a> {
    fn new(evidence: &'a Evidence<'a>, survey: &'a Survey) -> Self {
        let mut proofs = evidence.proofs();
        let knows_all = evidence.knows_all_agencies();
        for agency in survey.agencies().filter(|_| knows_all) {
            let nothing = Proof { tally: Tally::default(), has_ended: false };
            proofs.entry(agency).or_insert_with(|| vec![nothing]);
        }
        let ended = evidence.ends().map(|slot| slot.agency);
        let agencies: BTreeSet<_> = proofs.keys().copied().chain(survey.agencies()).chain(ended).collect();
        let judge = |agency| (agency, judge(survey, agency, proofs.get(&agency).map_or(&[], Vec::as_slice)));
        Self { evidence, survey, verdicts: agencies.into_iter().map(judge).collect() }
    }

    fn plan(&self, on_disk: &OnDisk<'_>) -> Plan {
        let (units, damaged) = (self.units(), self.evidence.units.contains(&Found::Damaged));
        let is_sound = self.evidence.began.is_some()
            && self.evidence.place == Found::Blank
            && !damaged
            && self.evidence.valid_units().eq(units.iter().copied());
        let content = Content { began: self.evidence.began, units, result: None };
        Plan {
            rows: self.keeps_less_than(on_disk.len).then(|| Rows::Keep(self.kept())),
            draw: (!is_sound).then_some(content),
            removes_books: on_disk.books.is_some(),
            losses: self.losses(damaged || self.evidence.has_lost_ends()),
            ..Plan::default()
        }
    }

    /// The ends that are kept, by their numbers: those that they have, as far as possible.
    fn units(&self) -> Vec<(u32, Unit)> {
        let ended: HashMap<_, _> =
            self.verdicts.iter().filter(|(_, v)| v.has_ended).map(|(agency, v)| (*agency, v.tally)).collect();
        let mut slots = Slots::default();
        for slot in self.evidence.ends().filter(|slot| ended.contains_key(&slot.agency)) {
            // A contradiction between the records gives the agency another number.
            let _ = slots.keep(slot);
        }
        for (agency, _) in self.verdicts.iter().filter(|(_, v)| v.has_ended) {
            let _ = slots.assign(*agency);
        }
        let unit = |Slot { agency, number }| Some((number, Unit { agency, tally: *ended.get(&agency)? }));
        slots.iter().filter_map(unit).collect()
    }

    fn keeps_less_than(&self, len: u64) -> bool {
        let all_rows = |(agency, verdict): &(AgencyId, Verdict)| verdict.tally == self.survey.of(*agency).whole;
        self.survey.front < len || !self.verdicts.iter().all(all_rows)
    }

    fn kept(&self) -> Kept {
        let by_agency = self.verdicts.iter().map(|(agency, verdict)| (*agency, verdict.to)).collect();
        Kept { len: self.survey.len, limit: self.survey.limit, by_agency }
    }

    fn losses(&self, ends_are_lost: bool) -> Vec<Loss> {
        let ended: HashSet<_> = self.evidence.ends().map(|slot| slot.agency).collect();
        let loss = |&(agency, verdict): &(AgencyId, Verdict)| {
            let reason = match verdict {
                Verdict { ground: Ground::Refuted, .. } => REFUTED,
                Verdict { has_ended: false, .. } if ended.contains(&agency) => REOPENED,
                Verdict { ground: Ground::Unproved, tally, .. } if tally != self.survey.of(agency).whole => SHORTENED,
                _ => return None,
            };
            Some(Loss { agency: Some(agency), kept: verdict.tally.count, reason })
        };
        let unreadable = Loss { agency: None, kept: 0, reason: UNREADABLE };
        self.verdicts.iter().filter_map(loss).chain(ends_are_lost.then_some(unreadable)).collect()
    }
}

fn judge(survey: &Survey, agency: AgencyId, proofs: &[Proof]) -> Verdict {
    let counts = survey.of(agency);
    let found = [(survey.limit, counts.limited), (survey.len, counts.whole)];
    for &Proof { tally, has_ended } in proofs {
        if let Some((to, _)) = found.into_iter().find(|(_, found)| *found == tally) {
            return Verdict { to, tally, has_ended, ground: Ground::Proved };
        }
    }
    if !proofs.is_empty() && proofs.iter().all(|proof| proof.tally == Tally::default()) {
        // The agency has no bets: all its rows are removed, and its end is kept.
        let has_ended = proofs.iter().any(|proof| proof.has_ended);
        return Verdict { to: 0, tally: Tally::default(), has_ended, ground: Ground::Proved };
    }
    let (ground, (to, tally)) = match proofs.is_empty() {
        true => (Ground::Unproved, (survey.front.min(survey.limit), counts.front)),
        false => (Ground::Refuted, (0, Tally::default())),
    };
    Verdict { to, tally, has_ended: false, ground }
}
