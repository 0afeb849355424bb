//! Durations as Go writes them.

use std::time::Duration;

/// Units and their length in seconds. Go writes microseconds with either of two letters.
const UNITS: [(&str, f64); 7] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
const HOUR: (&str, f64) = ("h", 3600.0);
/// As in Go: what nanoseconds in 63 bits can count, 292 years. Every clock can be set so far ahead.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// `0`, or numbers with units in a row (`1m30s`, `1.5h`); not negative, at most 292 years. `None` for anything else.
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let unit = &behind[..behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len())];
        let (_, seconds) = UNITS.into_iter().chain([HOUR]).find(|(name, _)| *name == unit)?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part).filter(|&total| total <= LONGEST)?;
        rest = &behind[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
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
