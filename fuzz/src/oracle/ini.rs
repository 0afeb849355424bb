//! Python's ConfigParser (as `ConfigParser(interpolation=None).read(file)`), line by line, and the part of its format
//! that the server accepts.

use std::collections::BTreeMap;

/// A file as Python reads it.
#[derive(Debug, Default)]
pub struct Read {
    /// The keys of all sections, in lower case.
    pub keys: BTreeMap<String, String>,
    /// Whether the file uses syntax that the server refuses: another section, a value over several lines, words after a
    /// section's name, or a key that starts like a section.
    pub beyond: bool,
    /// Whether the file has control characters, which the server may refuse.
    pub strange: bool,
}

/// Reads a file. `None` if Python refuses it.
pub fn read(text: &str) -> Option<Read> {
    let mut read = Read::default();
    let mut section: Option<String> = None;
    let mut key = None;
    let mut key_indent = 0;
    for line in text.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
        let content = line.trim_matches(is_space);
        read.strange |= line.contains(|c: char| c.is_control() && c != '\t');
        if content.starts_with(['#', ';']) || content.is_empty() {
            continue;
        }
        let indent = line.chars().take_while(|&c| is_space(c)).count();
        if section.is_some() && key.is_some() && indent > key_indent {
            read.beyond = true;
            continue;
        }
        key_indent = indent;
        read.beyond |= content.starts_with('[') && content != "[DEFAULT]";
        if let Some(end) = content.rfind(']').filter(|&end| content.starts_with('[') && end > 1) {
            (section, key) = (Some(content[1..end].to_owned()), None);
            continue;
        }
        section.as_ref()?;
        let (name, value) = content.split_once(['=', ':'])?;
        let name = name.trim_end_matches(is_space).to_lowercase();
        let known = read.keys.insert(name.clone(), value.trim_start_matches(is_space).to_owned());
        if name.is_empty() || known.is_some() {
            return None;
        }
        key = Some(name);
    }
    Some(read)
}

/// Python's `str.isspace`, which includes four separators that Unicode's White_Space does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
