//! The time zone of the log, as the variable TZ names it: whether its value was understood.
//!
//! Used by [`super::logger`]. The crate `chrono` reads TZ. If it does not understand the value, it uses the zone of the
//! system, or UTC, and reports nothing: a zone that is not installed, a rule with hours above 24 (`IST-2IDT,M3.4.4/26,…`),
//! or summer time without a rule (`EST5EDT4`). It does not report which zone it uses either, so this module compares
//! offsets.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use chrono::{Datelike, Local, NaiveDate, TimeZone};

/// Where `chrono` looks for files of zones.
const FOLDERS: [&str; 4] = ["/usr/share/zoneinfo", "/share/zoneinfo", "/etc/zoneinfo", "/usr/share/lib/zoneinfo"];
/// The first bytes of a zone's file.
const MAGIC: &[u8; 4] = b"TZif";
/// Names of UTC, which need no file.
const UTC: [&str; 6] = ["UTC", "GMT", "UCT", "Zulu", "Universal", "Greenwich"];

/// The value of TZ, if it is set and the log's times do not follow it.
pub(super) fn not_understood() -> Option<String> {
    let value = env::var_os("TZ").filter(|value| !value.is_empty())?;
    let understood = value.to_str().is_some_and(|text| is_file(text) || agrees(text, &offsets()));
    (!understood).then(|| value.to_string_lossy().into_owned())
}

/// The offset from UTC that the log's times have now, for example `-03:00`.
pub(super) fn offset() -> String {
    Local::now().offset().to_string()
}

/// The offsets from UTC, in seconds, in each month of this year.
fn offsets() -> Vec<i32> {
    let months = (1..=12).filter_map(|month| NaiveDate::from_ymd_opt(Local::now().year(), month, 15));
    months.map(|day| Local.offset_from_utc_date(&day).local_minus_utc()).collect()
}

fn is_file(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    let is_zone = |path: &Path| {
        let mut start = [0; MAGIC.len()];
        File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *MAGIC
    };
    let name = if text == "localtime" { "/etc/localtime" } else { name };
    FOLDERS.iter().any(|folder| is_zone(&Path::new(folder).join(name)))
}

/// Whether a year with these `offsets` can follow a name of UTC, or a rule of POSIX.
fn agrees(text: &str, offsets: &[i32]) -> bool {
    if UTC.contains(&text.strip_prefix("Etc/").unwrap_or(text)) {
        return offsets.iter().all(|&offset| offset == 0);
    }
    let Some((standard, summer)) = rule(text) else { return false };
    let changes = offsets.windows(2).any(|pair| pair[0] != pair[1]);
    offsets.contains(&standard) && changes != summer.is_empty()
}

/// The offset from UTC of a POSIX rule's standard time, in seconds, and the part about summer time: `<-03>3`,
/// `CET-1CEST,M3.5.0,M10.5.0/3`.
fn rule(text: &str) -> Option<(i32, &str)> {
    let after_name = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let end = after_name.find(|c: char| !matches!(c, '0'..='9' | ':' | '+' | '-')).unwrap_or(after_name.len());
    let (west, summer) = after_name.split_at(end);
    let digits = west.trim_start_matches(['+', '-']);
    let mut units = digits.split(':').map(|unit| unit.parse::<i32>().ok().filter(|&unit| unit < 60));
    let mut next = || units.next().unwrap_or(Some(0));
    let seconds = next()? * 3600 + next()? * 60 + next()?;
    Some((if west.starts_with('-') { seconds } else { -seconds }, summer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_an_offset_and_perhaps_summer_time() {
        assert_eq!(rule("<-03>3"), Some((-10_800, "")));
        assert_eq!(rule("IST-2IDT,M3.4.4/26,M10.5.0"), Some((7200, "IDT,M3.4.4/26,M10.5.0")));
        assert_eq!(rule("NST3:30:10NDT"), Some((-12_610, "NDT")));
        for text in ["America/Nowhere", "Amerika", "<-03", "X99", "X1:60", "ñ3", ":EST5"] {
            assert_eq!(rule(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_agree_with_a_rule_or_not() {
        let (utc, winter_and_summer) = ([0; 12], [0, 0, 3600]);
        assert!(agrees("UTC", &utc) && agrees("Etc/GMT", &utc) && agrees("UTC0", &utc));
        assert!(agrees("GMT0BST,M3.5.0/1,M10.5.0", &winter_and_summer));
        assert!(!agrees("GMT0BST", &utc) && !agrees("UTC", &winter_and_summer) && !agrees("EST5EDT4", &utc));
        assert!(!agrees("GMT0", &winter_and_summer) && !agrees("Amerika", &utc));
    }
}
