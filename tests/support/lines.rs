//! The form of a log line, and questions about the lines of a log.

/// Every line has the form that other programs can parse.
#[track_caller]
pub fn assert_well_formed(log: &str) {
    if let Some(offence) = log.split_inclusive('\n').find_map(offence) {
        panic!("{offence}\n{log}");
    }
}

/// The log of a start that failed: the line of the settings, then one line that names `what`.
#[track_caller]
pub fn assert_one_complaint(log: &str, what: &str) {
    assert_well_formed(log);
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("action: config | result: success"), "{log}");
    assert!(lines[1].contains("CRITICAL action: exit | result: fail | error: ") && lines[1].contains(what), "{log}");
}

/// The defect of `line`, which includes its line feed; `None` if it is well formed. The form is
/// `YYYY-MM-DD HH:MM:SS LEVEL     action: X | result: Y | key: value | …`, in at most 4096 bytes.
pub fn offence(line: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("{what}: {line:?}"));
    let Some(text) = line.strip_suffix('\n') else { return wrong("a line without end") };
    if line.len() > 4096 {
        return wrong("a line of more than 4096 bytes");
    }
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return wrong("a control character");
    }
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let Some((time, rest)) = text.split_at_checked("0000-00-00 00:00:00 ".len()) else { return wrong("no timestamp") };
    if time.chars().map(shape).collect::<String>() != "0000-00-00 00:00:00 " {
        return wrong("no timestamp");
    }
    let levels = ["CRITICAL ", "ERROR    ", "WARNING  ", "INFO     ", "DEBUG    "];
    let Some(event) = levels.iter().find_map(|level| rest.strip_prefix(level)) else { return wrong("no padded level") };
    let mut fields = event.split(" | ");
    let value = |name: &str, field: Option<&str>| Some(field?.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if !value("action", fields.next()).is_some_and(|action| is_name(&action)) {
        return wrong("no action");
    }
    if !matches!(value("result", fields.next()).as_deref(), Some("success" | "fail" | "in_progress")) {
        return wrong("no result");
    }
    for field in fields {
        match field.split_once(':') {
            Some(("action" | "result" | "source", _)) => return wrong("a reserved field"),
            Some((key, value)) if is_name(key) && value.starts_with(' ') && !value.contains('|') => {}
            _ => return wrong("a field without its name"),
        }
    }
    None
}

/// The lines of `log` from the level on.
pub fn events(log: &str) -> Vec<&str> {
    log.lines().map(|line| line.get("0000-00-00 00:00:00 ".len()..).unwrap_or(line)).collect()
}

/// How many lines of `log`, from the level on, begin with `beginning`.
pub fn count_events(log: &str, beginning: &str) -> usize {
    events(log).iter().filter(|event| event.starts_with(beginning)).count()
}
