//! How the course reads a line of `docker compose logs`. A line that it cannot read fails a case, and so it does here.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;

/// The bytes that some versions of compose print before every line, even into a pipe.
const ERASE_LINE: &str = "\u{1b}[2K";

/// An event: a log line of a program, or a line of compose about a container's end (action `exit`).
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The container's name.
    pub source: String,
    pub action: String,
    pub result: String,
    /// The fields after action and result: the parts before and after the last colon of each.
    pub fields: BTreeMap<String, String>,
    /// The line.
    pub line: String,
}

impl Event {
    /// Whether it is this action of this container.
    pub fn is(&self, source: &str, action: &str) -> bool {
        self.source == source && self.action == action
    }

    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field {name}: {}", self.line))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> u32 {
        self.field(name).parse().unwrap_or_else(|_| panic!("{name} is not a number: {}", self.line))
    }

    /// Its time stamp, in whole seconds.
    #[track_caller]
    pub fn time(&self) -> NaiveDateTime {
        let (_, text) = self.line.split_once("| ").unwrap();
        let digits = text.get(.."YYYY-MM-DD HH:MM:SS".len()).unwrap_or(text);
        NaiveDateTime::parse_from_str(digits, "%Y-%m-%d %H:%M:%S").unwrap_or_else(|e| panic!("{e}: {}", self.line))
    }
}

/// The line without the prefix that compose may have added.
pub fn clean(line: &str) -> &str {
    line.trim_start_matches(ERASE_LINE).trim_end()
}

/// The event in a line; `None` for a line without one.
///
/// # Errors
/// The defect that would stop the course's reader.
pub fn read(line: &str) -> Result<Option<Event>, String> {
    let line = clean(line);
    if line.contains("action:") {
        return action(line).map(Some);
    }
    let Some((source, code)) = line.split_once(" exited with code ") else { return Ok(None) };
    let code: i32 = code.trim().parse().map_err(|_| format!("no exit code: {line:?}"))?;
    Ok(Some(Event {
        source: source.trim().to_owned(),
        action: "exit".to_owned(),
        result: if code == 0 { "success" } else { "fail" }.to_owned(),
        fields: BTreeMap::new(),
        line: line.to_owned(),
    }))
}

fn action(line: &str) -> Result<Event, String> {
    let mut parts = line.split('|');
    let (Some(source), Some(action), Some(result)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("fewer than three parts: {line:?}"));
    };
    let last = |part: &str| part.rsplit(':').next().unwrap_or_default().trim().to_owned();
    let result = last(result);
    if !["success", "fail", "in_progress"].contains(&&*result) {
        return Err(format!("no known result: {line:?}"));
    }
    let mut fields = BTreeMap::new();
    for part in parts {
        let (name, value) = part.rsplit_once(':').ok_or_else(|| format!("no colon in {part:?}: {line:?}"))?;
        if ["source", "action", "result"].contains(&name.trim()) {
            return Err(format!("a reserved field: {line:?}"));
        }
        fields.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(Event { source: source.trim().to_owned(), action: last(action), result, fields, line: line.to_owned() })
}
