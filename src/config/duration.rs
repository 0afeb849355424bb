//! Durations in the form of Go. Used by the settings of both programs.

use std::time::Duration;

/// Description of the durations that [`parse`] accepts, for error messages.
pub(super) const ALLOWED: &str = "a duration like 5s, 150ms or 1m30s";
/// Units and their length in seconds. Go accepts two different letters mu for microseconds.
const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
const HOUR: (&str, f64) = ("h", 3600.0);
/// The limit of Go: 63 bits of nanoseconds, 292 years. An `Instant` can be moved by this much.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// Parses `0`, or a sequence of numbers with units (`1m30s`, `1.5h`), up to 292 years. `None` for any other text, such
/// as a negative duration.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit = &after[..after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len())];
        let (_, seconds) = UNITS.into_iter().chain([HOUR]).find(|(name, _)| *name == unit)?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part).filter(|&total| total <= LONGEST)?;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_form_of_go() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5000),
            ("150ms", 150),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("2562047h", 9_223_369_200_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "5 s",
            "5s ",
            "1e3s",
            "5sec",
            "1..5s",
            "99999999999999999999h",
            "2562048h",
            ".s",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
