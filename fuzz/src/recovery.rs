//! A start of the server on files with any content. The start refuses them and changes no file, or it adopts them: the
//! committed rows, the ends that match their agency's rows, and the held draw, as an independent reader of the same bytes
//! finds them. The other bytes of bets.csv are moved aside. A second start finds the same, and changes only `books`. Then
//! the store accepts bets and ends, unless the draw is held.
//!
//! Input: a byte of [`Options`]; then bets.csv, books, draw, and the result of the draw, with [`SEPARATOR`] between them.

use std::fs;

use loteria::bet::{AgencyId, Bet};
use loteria::durability::Durability;
use loteria::row::Rows;
use loteria::storage::lifelock::{LifeLock, Lockout, MissingBets};
use loteria::storage::start::{self, Adopted};
use loteria::storage::{Error, Origin, Paths, Store, Stored};

use super::oracle::csv;
use super::oracle::records::page_after;
use super::oracle::seal;
use super::oracle::start::{Decision, Files, decide, has_typed};
use super::scratch;

/// Separates the files of an input. Never part of valid UTF-8.
const SEPARATOR: &[u8] = b"\xff=\xff";
/// CLIENT_AMOUNT.
const AGENCIES: u32 = 2;

/// The bits of the first byte.
struct Options(u8);

impl Options {
    /// Whether the bytes that no record uses are left out of the input: those before the head and the slots, and those
    /// before the result.
    fn is_folded(&self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether all records get the right magic and checksum, and the books the id of this boot.
    fn is_sealed(&self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the fields of sealed records that depend on other bytes are combined with the right values: zeros are
    /// right.
    fn is_relative(&self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether sealed books are of another boot.
    fn is_of_another_boot(&self) -> bool {
        self.0 & 8 != 0
    }

    fn durability(&self) -> Durability {
        if self.0 & 0x10 != 0 { Durability::End } else { Durability::Process }
    }

    fn has_books(&self) -> bool {
        self.0 & 0x20 == 0
    }

    fn has_draw(&self) -> bool {
        self.0 & 0x40 == 0
    }
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((&options, rest)) = input.split_first() else { return };
    let (options, paths) = (Options(options), Paths::beside(&scratch::path("bets.csv")));
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok();
    let boot = boot.as_deref().and_then(|id| id.get(..36));
    let files = files_of(&options, boot, rest);
    lay_out(&paths, &files);
    let Some(mut decision) = decide(&files, boot) else { return refused(&paths, &files, options.durability()) };
    let first = adopts(&paths, &files, &decision, options.durability());
    cut_zeros(&mut decision, first.1.slots.count());
    let (store, again) = adopts(&paths, &files, &decision, options.durability());
    for (agency, slot) in first.1.slots.iter().map(|slot| (slot.agency, slot)) {
        assert!(decision.ended.get(&agency).is_none_or(|&number| number == slot.number as usize), "{slot:?}");
    }
    accepts_more(&paths, &store, again, &files, &decision);
}

// ---- the files ----

fn files_of(options: &Options, boot: Option<&[u8]>, input: &[u8]) -> Files {
    let mut parts = split(input).map(<[u8]>::to_vec);
    let [bets, mut books, mut draw, mut result] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if options.is_folded() {
        seal::unfold(&mut books);
        if !result.is_empty() {
            draw.resize(draw.len().next_multiple_of(4096), 0);
        }
    }
    let at = draw.len();
    if options.is_sealed() {
        let rows = if options.is_relative() { seal::Right::of(&bets) } else { seal::Right::default() };
        seal::books(&mut books, boot.filter(|_| !options.is_of_another_boot()), &rows);
        seal::result(&mut result, &rows);
        seal::draw(&mut draw, &rows.with_result(at, &result));
    }
    draw.append(&mut result);
    Files { bets, books: options.has_books().then_some(books), draw: options.has_draw().then_some(draw) }
}

fn split(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut done = false;
    std::iter::from_fn(move || {
        let end = input.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        input = rest.strip_prefix(SEPARATOR).unwrap_or_default();
        (!std::mem::replace(&mut done, end.is_none())).then_some(part)
    })
}

fn lay_out(paths: &Paths, files: &Files) {
    for path in [&paths.rejected, &paths.books, &paths.draw] {
        let _ = fs::remove_file(path);
    }
    for (path, bytes) in
        [(&paths.bets, Some(&files.bets)), (&paths.books, files.books.as_ref()), (&paths.draw, files.draw.as_ref())]
    {
        bytes.into_iter().for_each(|bytes| fs::write(path, bytes).unwrap());
    }
}

/// Checks the content of a file; `None` if it must not exist.
#[track_caller]
fn file_is(path: &std::path::Path, expected: Option<&[u8]>) {
    let found = fs::read(path).ok();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.escape_ascii().to_string());
    assert!(found.as_deref() == expected, "{}: {:?}, not {:?}", path.display(), text(found.as_deref()), text(expected));
}

// ---- starts ----

fn started(paths: &Paths, durability: Durability) -> Result<(Store, Adopted), Error> {
    let Lockout::Locked(lock) = LifeLock::try_take(paths, MissingBets::Refuse)? else { panic!("the files are locked") };
    start::prepare(paths, &lock, durability, AGENCIES, &|| false)
}

fn refused(paths: &Paths, files: &Files, durability: Durability) {
    let refused = started(paths, durability).map(|(_, adopted)| adopted);
    let is_refusal = matches!(refused, Err(Error::NotAStore { .. } | Error::Damaged { .. } | Error::Older { .. }));
    assert!(is_refusal, "{refused:?}");
    file_is(&paths.bets, Some(&files.bets));
    file_is(&paths.books, files.books.as_deref());
    file_is(&paths.draw, files.draw.as_deref());
    file_is(&paths.rejected, None);
}

fn adopts(paths: &Paths, files: &Files, decision: &Decision, durability: Durability) -> (Store, Adopted) {
    let (store, adopted) = started(paths, durability).unwrap();
    let (kept, rest) = files.bets.split_at(decision.committed);
    file_is(&paths.bets, Some(kept));
    file_is(&paths.rejected, (!rest.is_empty()).then_some(rest));
    match &decision.draw {
        Some(draw) => file_is(&paths.draw, Some(draw)),
        None => assert_eq!(fs::read(&paths.draw).unwrap().len(), 32, "only the header of a new file"),
    }
    assert!(adopted.ended.iter().eq(decision.ended.keys()), "{:?}, not {:?}", adopted.ended, decision.ended);
    assert_eq!(adopted.bets, decision.rows.values().map(|tally| tally.count).sum::<u64>());
    assert!(decision.rows.keys().chain(decision.ended.keys()).all(|&agency| adopted.slots.of(agency).is_some()));
    let terms = decision.drawn.as_ref().map(|drawn| drawn.terms);
    assert_eq!((adopted.drawn, store.result().unwrap()), (terms, terms));
    let books = fs::read(&paths.books).unwrap();
    for slot in adopted.slots.iter() {
        let (tally, has_ended) = (decision.rows.get(&slot.agency), decision.ended.contains_key(&slot.agency));
        let expected = Stored { tally: tally.copied().unwrap_or_default(), has_ended };
        assert_eq!(store.stored(slot).unwrap(), expected, "{slot:?}");
        let typed = has_typed(files.books.as_deref(), slot.agency, expected.tally);
        assert_eq!(has_typed(Some(&books), slot.agency, expected.tally), typed, "{slot:?}");
        let documents = decision.drawn.as_ref().and_then(|drawn| drawn.documents(slot.number as usize, slot.agency));
        assert_eq!(store.winners(slot).unwrap(), documents, "{slot:?}");
    }
    (store, adopted)
}

/// With books of this boot, a start knows where the units end without a held draw, and removes what follows them. After
/// another start only zeros can be there.
fn cut_zeros(decision: &mut Decision, slots: u32) {
    let end = usize::try_from(page_after(slots.into())).unwrap();
    let Some(draw) = decision.draw.as_mut().filter(|draw| decision.drawn.is_none() && draw.len() > end) else { return };
    assert!(draw[end..].iter().all(|&byte| byte == 0));
    draw.truncate(end);
}

/// The store adds new bets and an end to what it has found, and the next start finds them, too.
fn accepts_more(paths: &Paths, store: &Store, mut adopted: Adopted, files: &Files, decision: &Decision) {
    let agency = (1..).filter_map(AgencyId::new).find(|agency| !adopted.ended.contains(agency)).unwrap();
    let slot = adopted.slots.assign(agency).unwrap();
    let bet = Bet::new(agency, ["Ana, \"La\"".as_bytes(), "Díaz".as_bytes()], 1, b"2000-02-29", 7574).unwrap();
    if decision.drawn.is_some() {
        assert!(matches!(store.store(slot, &Rows::from_iter([&bet]), Origin::Typed), Err(Error::Ended)));
        store.end(slot).unwrap();
        return file_is(&paths.bets, Some(&files.bets[..decision.committed]));
    }
    store.store(slot, &Rows::from_iter([&bet]), Origin::Typed).unwrap();
    store.end(slot).unwrap();
    assert!(matches!(store.store(slot, &Rows::from_iter([&bet]), Origin::Typed), Err(Error::Ended)));
    let all = [&files.bets[..decision.committed], &csv::row(&bet)].concat();
    file_is(&paths.bets, Some(&all));
    let (_, rows) = super::oracle::start::run(&all);
    let stored = Stored { tally: rows[&agency], has_ended: true };
    assert_eq!(store.stored(slot).unwrap(), stored);
    let (store, again) = started(paths, Durability::Process).unwrap();
    assert_eq!((again.bets, again.ended.len()), (adopted.bets + 1, adopted.ended.len() + 1));
    assert_eq!(again.slots.of(agency), Some(slot));
    assert_eq!(store.stored(slot).unwrap(), stored);
}
