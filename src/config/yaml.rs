//! The format of the client's file: YAML. Used by the client's settings. Only this module uses `serde_yaml`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_yaml as yaml;

/// Most opening brackets, and most directives. The parser takes quadratic time in both: minutes for a file of 1 MB.
const LEVELS_MAX: usize = 64;
/// The line ends of YAML 1.1.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// The keys of the file, nested as in the course's file.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    id: Option<Scalar>,
    mode: Option<Scalar>,
    resume: Option<Scalar>,
    server: Option<Server>,
    #[serde(rename = "loop")]
    echo_loop: Option<Loop>,
    log: Option<Log>,
    batch: Option<Batch>,
    data: Option<Data>,
    retry: Option<Retry>,
    tls: Option<Tls>,
}

/// Defines a struct per section, with a method that lists its keys and values.
macro_rules! sections {
    ($($name:ident { $($field:ident $key:literal),* })*) => {$(
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $name { $(#[serde(rename = $key)] $field: Option<Scalar>),* }

        impl $name {
            fn keys(self) -> Vec<(&'static str, Option<Scalar>)> {
                vec![$(($key, self.$field)),*]
            }
        }
    )*};
}

sections! {
    Server { address "address" }
    Loop { amount "amount", period "period" }
    Log { level "level", settle "settle" }
    Batch { max_amount "maxAmount", window "window" }
    Data { path "path" }
    Retry { timeout "timeout" }
    Tls { ca "ca", certificate "certificate", key "key", server_name "serverName" }
}

/// The keys that are set, as `section.key`, and their values as text. Ignores a byte order mark at the start.
///
/// # Errors
/// The defect and its position: an unknown key, a value that is not a scalar, or text that is not YAML. More than
/// [`LEVELS_MAX`] opening brackets or directives.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_levels(text)?;
    let file: Option<File> = yaml::from_str(text).map_err(|e| e.to_string())?;
    let file = file.unwrap_or_default();
    let sections = [
        ("server.", file.server.unwrap_or_default().keys()),
        ("loop.", file.echo_loop.unwrap_or_default().keys()),
        ("log.", file.log.unwrap_or_default().keys()),
        ("batch.", file.batch.unwrap_or_default().keys()),
        ("data.", file.data.unwrap_or_default().keys()),
        ("retry.", file.retry.unwrap_or_default().keys()),
        ("tls.", file.tls.unwrap_or_default().keys()),
        ("", vec![("id", file.id), ("mode", file.mode), ("resume", file.resume)]),
    ];
    let keys = sections
        .into_iter()
        .flat_map(|(section, keys)| keys.into_iter().map(move |(key, value)| (section, key, value)));
    Ok(keys.filter_map(|(section, key, value)| Some((format!("{section}{key}"), value?.0))).collect())
}

/// Refuses a text that takes long to parse.
///
/// Each opening bracket is counted, even if it is in a value or is closed: so no text is nested deeper than the count. A
/// line is only skipped if it is certainly a comment, which a line with quotes is not: a long string may end in it.
fn check_levels(text: &str) -> Result<(), String> {
    let is_comment = |line: &&str| line.trim_start_matches([' ', '\t']).starts_with('#') && !line.contains(['"', '\'']);
    let lines = || text.split(LINE_ENDS).filter(|line| !is_comment(line));
    if lines().map(|line| line.matches(['[', '{']).count()).sum::<usize>() > LEVELS_MAX {
        return Err(format!("more than {LEVELS_MAX} levels: [ and {{ may open {LEVELS_MAX} lists and maps at most"));
    }
    if lines().filter(|line| line.starts_with('%')).count() > LEVELS_MAX {
        return Err(format!("more than {LEVELS_MAX} directives, lines that begin with %"));
    }
    Ok(())
}

/// A string, number or boolean, as text.
#[derive(Debug)]
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_course_is_accepted() {
        let text = "server:\n  address: \"server:12345\"\nloop:\n  amount: 5\n  period: \"5s\"\nlog:\n  level: \"INFO\"\nbatch:\n  maxAmount: 10\n";
        let keys = parse(text).unwrap();
        let expected = [
            ("batch.maxAmount", "10"),
            ("log.level", "INFO"),
            ("loop.amount", "5"),
            ("loop.period", "5s"),
            ("server.address", "server:12345"),
        ];
        assert!(keys.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
    }

    #[test]
    fn empty_files_and_empty_sections_set_nothing() {
        for text in ["", "# nothing\n", "loop:\nlog:\n  level:\n", "---\n"] {
            assert!(parse(text).unwrap().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn unknown_keys_are_named_and_bad_values_refused() {
        for (text, key) in [("lop:\n  amount: 5\n", "lop"), ("batch:\n  maxamount: 5\n", "maxamount")] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
        for bad in ["- a\n", "server: [1]\n", "id: {a: 1}\n", "id: 1\nid: 2\n", "\t:"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
