//! The format of the server's file: a part of Python's ConfigParser. Used by the server's settings.
//!
//! The only section is `[DEFAULT]`. A key is written `key = value` or `key: value`, and its case does not matter. A
//! line that starts with `#` or `;` is a comment. Values are literal: no inline comments, quotes or escapes. The rest
//! of ConfigParser's format (other sections, values over several lines) is an error, and so is a key that is given
//! twice: a setting must not be ignored silently.

use std::collections::BTreeMap;

const SECTION: &str = "[DEFAULT]";

/// The keys, in upper case, and their values.
///
/// # Errors
/// The number of the first wrong line, and its defect.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut keys = BTreeMap::new();
    let mut in_section = false;
    let mut key_indent = usize::MAX;
    // Python accepts three line ends: LF, CRLF, CR.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if content.contains(|c: char| c.is_control() && c != '\t') {
            return Err(format!("line {number}: {content:?} holds a control character"));
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if indent > key_indent {
            return Err(format!("line {number}: a value must be on one line: {content:?}"));
        }
        if content.starts_with('[') {
            if content != SECTION {
                return Err(format!("line {number}: {content:?} is not allowed, the only section is {SECTION}"));
            }
            (in_section, key_indent) = (true, usize::MAX);
            continue;
        }
        if !in_section {
            return Err(format!("line {number}: {content:?} stands before {SECTION}"));
        }
        key_indent = indent;
        let (key, value) =
            key_value(content).ok_or_else(|| format!("line {number}: {content:?} is not key = value"))?;
        if keys.insert(canonical(key), value.to_owned()).is_some() {
            return Err(format!("line {number}: key {key:?} is given twice"));
        }
    }
    Ok(keys)
}

fn key_value(content: &str) -> Option<(&str, &str)> {
    let (key, value) = content.split_once(['=', ':'])?;
    let key = key.trim_end();
    (!key.is_empty()).then_some((key, value.trim_start()))
}

/// Two keys are equal if Python's `str.lower` returns the same text for both: a KELVIN SIGN equals a K.
fn canonical(key: &str) -> String {
    key.to_lowercase().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Prints how Python reads the same text: `key=value` lines, or nothing if Python refuses it.
    const PYTHON: &str = "
import configparser, io, sys
c = configparser.ConfigParser(interpolation=None)
try:
    c.read_file(io.StringIO(sys.argv[1], newline=None))
except configparser.Error:
    sys.exit()
print('\\n'.join(f'{k}={v}' for k, v in sorted(c.defaults().items())) + '\\n.', end='')
";

    fn python(text: &str) -> Option<String> {
        let out = Command::new("python3").args(["-c", PYTHON, text]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().strip_suffix("\n.").map(str::to_owned)
    }

    fn ours(text: &str) -> Option<String> {
        let keys = parse(text).ok()?;
        Some(
            keys.iter()
                .map(|(key, value)| format!("{}={value}", key.to_ascii_lowercase()))
                .collect::<Vec<_>>()
                .join("\n"),
        )
    }

    #[test]
    fn accepted_texts_have_the_same_meaning_in_python() {
        for text in [
            "[DEFAULT]\nSERVER_PORT = 12345\nSERVER_IP=server\nlogging_level: DEBUG\n",
            "\n# comment\n; other\n[DEFAULT]\n\nA = 1 # no comment\nB = \"quoted\" \\n\nC=a=b:c\nD : x = y\n",
            "[DEFAULT]\r\nA = 1\r\nB=  spaced out  \r\n",
            "[DEFAULT]\n  A = 1\n  B = 2\n C = 3\n",
            "[DEFAULT]\nA =\nB = 100%\n[DEFAULT]\nC = 1",
            "[DEFAULT]\n  # indented comment\nA = 1\n  ; another\nB = 2\n",
            "[DEFAULT]\nÑ = sí\n",
            "[DEFAULT]\nBAC\u{212a}LOG = 5\n",
            "[DEFAULT]\rA = 1\rB = 2\r",
            "[DEFAULT]\n\u{3000}A = 1\n B = 2\n",
            "",
        ] {
            let ours = ours(text);
            assert!(ours.is_some(), "{text:?}");
            assert_eq!(ours, python(text), "{text:?}");
        }
    }

    #[test]
    fn texts_refused_by_python_are_refused() {
        for text in [
            "A = 1\n",
            "[DEFAULT]\nA = 1\na = 2\n",
            "[DEFAULT]\njust words\n",
            "[DEFAULT]\n= 1\n",
            "\u{feff}[DEFAULT]\nA=1\n",
        ] {
            assert_eq!(python(text), None, "{text:?}");
            assert_eq!(ours(text), None, "{text:?}");
        }
    }

    #[test]
    fn long_s_and_s_are_different_keys() {
        assert!(parse("[DEFAULT]\nS = 1\nſ = 2\n").unwrap().into_keys().eq(["S", "ſ"]));
    }

    #[test]
    fn unused_syntax_is_refused_with_its_line() {
        for (text, line) in [
            ("[DEFAULT]\nA = 1\n  more\n", 3),
            ("[OTHER]\nA = 1\n", 1),
            ("[DEFAULT]\nA = 1\n\n\tmore\n", 4),
            ("[DEFAULT]\n\u{3000}A = 1\n  more\n", 3),
            ("[DEFAULT]\nA = 1\x1f\n", 2),
            ("[DEFAULT]\nA = 1\0\n", 2),
        ] {
            assert!(parse(text).unwrap_err().starts_with(&format!("line {line}: ")), "{text:?}");
        }
    }
}
