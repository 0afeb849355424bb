//! The settings: no text makes the parsers panic. Accepted settings have the values of the text, within their ranges.
//! An error is one line that names the key or the file.
//!
//! Input: `i` and an INI file of the server, `y` and a YAML file of the client, or `d` and a duration.

use std::collections::BTreeMap;
use std::env;
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use loteria::config::server::{Config, KEYS, MaxConnections, Plaintext, Sandboxing, Untyped};
use loteria::config::{Error, client, parse_duration};
use loteria::durability::Durability;
use loteria::logging::{Level, value};

use super::oracle::ini;
use super::oracle::numbers::decimal;
use super::scratch;

type Settings = BTreeMap<String, String>;

/// Most bytes of a file.
const BYTES_MAX: usize = 1_000_000;
/// A YAML file with more opening brackets or more percent signs may be refused for that.
const LEVELS_MAX: usize = 64;
/// Least seconds of IDLE_TIMEOUT, MESSAGE_TIMEOUT and NEWCOMER_TIMEOUT, with room for rounding.
const LEAST_TIMEOUT: f64 = 0.01 - 1e-10;

/// Checks one input.
pub fn check(input: &[u8]) {
    static ONCE: Once = Once::new();
    ONCE.call_once(no_variable_overrides_the_file);
    match input.split_first() {
        Some((b'i', text)) => server(text),
        Some((b'y', text)) => client(text),
        Some((b'd', text)) => duration(text),
        _ => {}
    }
}

fn no_variable_overrides_the_file() {
    let set = env::vars_os().filter_map(|(key, _)| key.into_string().ok());
    let ours: Vec<_> = set.filter(|key| KEYS.contains(&key.as_str()) || key.starts_with("CLI_")).collect();
    assert!(ours.is_empty(), "unset {ours:?}: these variables override the file");
}

/// The error is one line when it is printed, and starts with the file, or with the key and its value.
fn error_is_one_line(error: &Error) {
    let text = error.to_string();
    let printed = value(&text).to_string();
    assert!(!printed.contains(char::is_control), "{printed:?}");
    let start = match error {
        Error::Value { key, value, .. } => format!("{key}: {value:?} is not allowed"),
        Error::Missing { key, .. } => format!("{key} is not set"),
        Error::Form { path, .. } | Error::Unreadable { path, .. } => path.display().to_string(),
        Error::Stopped => panic!("nothing stops it"),
    };
    assert!(text.starts_with(&start), "{text}");
}

// ---- the server's INI ----

fn server(bytes: &[u8]) {
    let loaded = Config::load(Some(&scratch::file("server.ini", bytes)), None).inspect_err(error_is_one_line);
    if bytes.len() > BYTES_MAX {
        return assert!(loaded.is_err(), "it is too large");
    }
    let Some(python) = std::str::from_utf8(bytes).ok().and_then(ini::read) else {
        return assert!(loaded.is_err(), "Python refuses it: {loaded:?}");
    };
    let keys: Settings = python.keys.into_iter().map(|(key, value)| (key.to_ascii_uppercase(), value)).collect();
    let unknown = keys.keys().filter(|key| !KEYS.contains(&key.as_str()));
    match loaded {
        Ok(config) => {
            assert!(!python.beyond && unknown.count() == 0, "accepted: {config:?}");
            server_has(&config, &keys);
        }
        Err(_) if python.beyond || python.strange => {}
        Err(error @ Error::Form { .. }) => {
            let text = error.to_string().to_lowercase();
            let named = |key: &&String| text.contains(&format!("unknown key {};", key.to_lowercase()));
            assert!(unknown.clone().any(|key| named(&key)), "refused without reason: {error}");
        }
        Err(Error::Value { key, value, .. }) => {
            assert_eq!(keys.get(&key), Some(&value));
            assert!(!allowed(&keys, &key, &value), "{key}: {value:?} is allowed");
        }
        Err(Error::Missing { key, .. }) => {
            let is_on = keys.get("TLS").is_some_and(|mode| mode != "off") || has_tls_files(&keys);
            assert!(TLS_FILES.contains(&key.as_str()) && is_on && !keys.contains_key(&key), "{key} is not missing");
        }
        Err(other) => panic!("{other}"),
    }
}

/// The files that TLS needs.
const TLS_FILES: [&str; 3] = ["TLS_CERTIFICATE", "TLS_KEY", "TLS_AGENCY_CA"];

fn has_tls_files(keys: &Settings) -> bool {
    keys.keys().any(|key| key.starts_with("TLS_"))
}

/// Every key of `keys` has the same value in `config`, and every other key its default.
fn server_has(config: &Config, keys: &Settings) {
    for (key, value) in keys {
        assert!(allowed(keys, key, value), "{key}: {value:?} is not allowed");
    }
    let number = |key: &str, default| keys.get(key).map_or(Some(default), |value| decimal(value.as_bytes()));
    let text = |key: &str, default: &str| keys.get(key).cloned().unwrap_or(default.into());
    let agencies = number("CLIENT_AMOUNT", 5);
    let connections = agencies.map_or(0, |agencies| agencies.saturating_add(64).max(1024));
    assert_eq!(Some(u32::from(config.port)), number("SERVER_PORT", 12345));
    assert_eq!(Some(config.listen_backlog), number("SERVER_LISTEN_BACKLOG", 5));
    assert_eq!(Some(config.client_amount), agencies);
    assert_eq!(Some(config.max_per_source), number("MAX_PER_SOURCE", 0));
    assert_eq!(Some(config.winning_number), number("LOTTERY_WINNER_NUMBER", 7574));
    let is_set = keys.contains_key("MAX_CONNECTIONS");
    assert_eq!(matches!(config.max_connections, MaxConnections::Set(_)), is_set);
    let most = config.max_connections.get();
    assert_eq!(Some(most), number("MAX_CONNECTIONS", connections));
    assert!(most > config.client_amount || config.client_amount == u32::MAX);
    assert_eq!(config.storage, Path::new(&text("STORAGE_FILEPATH", ".data/bets.csv")));
    assert_eq!(config.logging_level.as_str(), text("LOGGING_LEVEL", "INFO").to_ascii_uppercase());
    let targets = text("LOG_TARGET", "stdout");
    assert_eq!(config.log_targets.stdout, targets != "syslog");
    let socket = (targets != "stdout").then(|| text("SYSLOG_SOCKET", "/dev/log").into());
    assert_eq!(config.log_targets.syslog, socket);
    let mode = text("TLS", if has_tls_files(keys) { "optional" } else { "off" });
    let tls = config.tls.as_ref().map_or("off", |tls| match tls.plaintext {
        Plaintext::Everything => "optional",
        Plaintext::EchoOnly => "required",
    });
    assert_eq!(tls, mode);
    assert!(config.tls.is_none() || TLS_FILES.iter().all(|key| keys.contains_key(*key)));
    let durability = match config.durability {
        Durability::Process => "process",
        Durability::End => "end",
        Durability::Batch => "batch",
    };
    assert_eq!(durability, text("DURABILITY", "end"));
    assert_eq!(config.untyped == Untyped::On, text("UNTYPED", "on") == "on");
    let sandbox = match config.sandbox {
        Sandboxing::On => "on",
        Sandboxing::Require => "require",
        Sandboxing::Off => "off",
    };
    assert_eq!(sandbox, text("SANDBOX", "on"));
    for (key, default, found) in [
        ("PENALTY", "off", config.penalty),
        ("IDLE_TIMEOUT", "120s", Some(config.idle_timeout)),
        ("MESSAGE_TIMEOUT", "30s", Some(config.message_timeout)),
        ("NEWCOMER_TIMEOUT", "30s", Some(config.newcomer_timeout)),
        ("DRAW_WAIT", "forever", config.draw_wait),
        ("SHUTDOWN_GRACE", "5s", Some(config.shutdown_grace)),
    ] {
        match text(key, default).as_str() {
            "forever" | "off" => assert_eq!(found, None),
            length => assert!(found.is_some_and(|found| is_close(found, seconds(length).unwrap_or(-1.0)))),
        }
    }
}

/// Whether the table of settings allows `value` for `key`.
fn allowed(keys: &Settings, key: &str, value: &str) -> bool {
    let up_to = |most: u32| decimal(value.as_bytes()).is_some_and(|number| number <= most);
    match key {
        "SERVER_PORT" => up_to(65535),
        "SERVER_LISTEN_BACKLOG" => up_to(u32::MAX / 2),
        "CLIENT_AMOUNT" | "LOTTERY_WINNER_NUMBER" | "MAX_PER_SOURCE" => up_to(u32::MAX),
        "MAX_CONNECTIONS" => {
            let agencies = keys.get("CLIENT_AMOUNT").map_or(Some(5), |value| decimal(value.as_bytes()));
            up_to(u32::MAX) && decimal(value.as_bytes()) > agencies
        }
        "LOGGING_LEVEL" => is_level(value),
        "STORAGE_FILEPATH" => !value.is_empty(),
        "TLS" => ["off", "optional", "required"].contains(&value),
        key if key.starts_with("TLS_") => !value.is_empty(),
        "IDLE_TIMEOUT" | "MESSAGE_TIMEOUT" | "NEWCOMER_TIMEOUT" => {
            seconds(value).is_some_and(|seconds| seconds >= LEAST_TIMEOUT)
        }
        "SHUTDOWN_GRACE" => seconds(value).is_some(),
        "DRAW_WAIT" => value == "forever" || seconds(value).is_some(),
        "PENALTY" => value == "off" || seconds(value).is_some(),
        "DURABILITY" => ["process", "end", "batch"].contains(&value),
        "UNTYPED" => ["on", "off"].contains(&value),
        "SANDBOX" => ["on", "require", "off"].contains(&value),
        "LOG_TARGET" => ["stdout", "syslog", "both"].contains(&value),
        _ => true,
    }
}

fn is_level(word: &str) -> bool {
    ["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"].contains(&word.to_ascii_uppercase().as_str())
}

// ---- the client's YAML ----

fn client(bytes: &[u8]) {
    let loaded = client::Config::load(Some(&scratch::file("client.yaml", bytes)), None).inspect_err(error_is_one_line);
    if bytes.len() > BYTES_MAX {
        return assert!(loaded.is_err(), "it is too large");
    }
    let is_slow =
        [&b"[{"[..], b"%"].iter().any(|set| bytes.iter().filter(|byte| set.contains(byte)).count() > LEVELS_MAX);
    if is_slow && loaded.is_err() {
        return;
    }
    let keys = std::str::from_utf8(bytes).ok().and_then(flatten);
    match loaded {
        Ok(config) => client_has(&config, &keys.unwrap_or_else(|| panic!("accepted: {config:?}"))),
        Err(error) => assert!(!keys.is_some_and(|keys| client_allows(&keys)), "refused without reason: {error}"),
    }
}

/// Whether the table of settings allows all keys. Mode bet is not allowed, because the environment has no bet.
fn client_allows(keys: &Settings) -> bool {
    let number = |text: &str, least, most| decimal(text.as_bytes()).filter(|number| (least..=most).contains(number));
    let id = |most| keys.get("id").is_some_and(|id| number(id, 1, most).is_some());
    let is_allowed = |(key, value): (&String, &String)| match key.as_str() {
        "mode" if value == "batch" => id((1 << 24) - 1),
        "mode" => ["echo", "draw"].contains(&value.as_str()),
        "server.address" => value.rsplit_once(':').is_some_and(|(host, port)| {
            let brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_name = !host.is_empty() && !host.contains(|c: char| c == ':' || c.is_whitespace());
            number(port, 1, 65535).is_some() && brackets.map_or(is_name, |ip| ip.parse::<Ipv6Addr>().is_ok())
        }),
        "loop.amount" => number(value, 0, u32::MAX).is_some(),
        "log.level" => is_level(value),
        "batch.maxAmount" => number(value, 1, 255).is_some(),
        "batch.window" => number(value, 1, u32::MAX).is_some(),
        "data.path" => !value.is_empty(),
        "loop.period" | "log.settle" | "retry.timeout" => seconds(value).is_some_and(|seconds| seconds <= LONGEST),
        "resume" => ["true", "false"].contains(&value.as_str()),
        // Which names a server may have is not described here.
        key if key.starts_with("tls.") => false,
        _ => true,
    };
    id(u32::MAX) && keys.iter().all(is_allowed)
}

/// Every key of `keys` has the same value in `config`, and every other key its default.
fn client_has(config: &client::Config, keys: &Settings) {
    let text = |key: &str, default: &str| keys.get(key).cloned().unwrap_or(default.into());
    let number = |key, default| decimal(text(key, default).as_bytes());
    let id = config.id.get();
    assert_eq!(Some(id), number("id", ""));
    assert_eq!(config.mode.as_str(), text("mode", "draw"));
    assert!(config.mode != client::Mode::Batch || id < 1 << 24);
    assert_eq!(config.server_address, text("server.address", "server:12345"));
    let port = config.server_address.rsplit(':').next().and_then(|port| decimal(port.as_bytes()));
    assert!(port.is_some_and(|port| (1..=65535).contains(&port)) && !config.server_address.starts_with(':'));
    assert_eq!(Some(config.loop_amount), number("loop.amount", "5"));
    assert_eq!(config.loop_period_text, text("loop.period", "5s"));
    assert!(config.log_level <= Level::Debug && is_level(&text("log.level", "INFO")));
    assert_eq!(config.log_level.as_str(), text("log.level", "INFO").to_ascii_uppercase());
    assert_eq!(Some(config.batch_max_amount.into()), number("batch.maxAmount", "99").filter(|&most| most > 0));
    let window = if text("resume", "true") == "true" { "16" } else { "1" };
    assert_eq!(Some(config.batch_window), number("batch.window", window).filter(|&most| most > 0));
    assert_eq!(config.data_path, Path::new(&text("data.path", &format!(".data/agency-{id}.csv"))));
    assert_eq!(config.resume.to_string(), text("resume", "true"));
    assert_eq!(config.tls.is_some(), keys.keys().any(|key| key.starts_with("tls.")));
    assert!(config.tls.is_none() || ["tls.ca", "tls.certificate", "tls.key"].iter().all(|key| keys.contains_key(*key)));
    for (key, default, found) in [
        ("loop.period", "5s", config.loop_period),
        ("log.settle", "0s", config.log_settle),
        ("retry.timeout", "60s", config.retry_timeout),
    ] {
        assert!(is_close(found, seconds(&text(key, default)).unwrap_or(-1.0)), "{key}: {found:?}");
    }
}

/// The scalars of a YAML file, as `section.key`. `None` if the file has other values or unknown keys. A byte order mark at
/// the start is ignored.
fn flatten(text: &str) -> Option<Settings> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut keys = Settings::new();
    for (key, value) in mapping(&serde_yaml::from_str(text).ok()?)? {
        let is_section =
            client::KEYS.iter().any(|known| known.split_once('.').is_some_and(|(section, _)| section == key));
        if !is_section {
            set(&mut keys, key, value)?;
            continue;
        }
        for (inner, value) in mapping(value)? {
            set(&mut keys, &format!("{key}.{inner}"), value)?;
        }
    }
    Some(keys)
}

/// Sets `key`, unless `value` is null. `None` if the key is unknown or the value is not a scalar.
fn set(keys: &mut Settings, key: &str, value: &serde_yaml::Value) -> Option<()> {
    if !client::KEYS.contains(&key) {
        return None;
    }
    if !value.is_null() {
        keys.insert(key.to_owned(), scalar(value)?);
    }
    Some(())
}

fn mapping(value: &serde_yaml::Value) -> Option<Vec<(&str, &serde_yaml::Value)>> {
    if value.is_null() {
        return Some(Vec::new());
    }
    value.as_mapping()?.iter().map(|(key, value)| Some((key.as_str()?, value))).collect()
}

fn scalar(value: &serde_yaml::Value) -> Option<String> {
    match value {
        serde_yaml::Value::Bool(value) => Some(value.to_string()),
        serde_yaml::Value::Number(number) => {
            let whole = number.as_u64().map(|n| n.to_string()).or(number.as_i64().map(|n| n.to_string()));
            whole.or(number.as_f64().map(|n| n.to_string()))
        }
        serde_yaml::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

// ---- durations ----

/// A little less than the longest duration. Near the limit, a duration may be accepted or refused.
const LONGEST: f64 = 9.2233e9;

fn duration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (parsed, expected) = (parse_duration(text), seconds(text));
    match (parsed, expected) {
        (Some(parsed), Some(seconds)) => assert!(is_close(parsed, seconds), "{text}: {parsed:?}, not {seconds} s"),
        (None, Some(seconds)) => assert!(seconds > LONGEST, "{text} is refused"),
        (parsed, None) => assert_eq!(parsed, None, "{text}"),
    }
}

/// The seconds of a duration in Go's form: "0", or a sequence of decimal numbers without sign, each with an optional
/// fraction and a unit. `None` if it exceeds 63 bits of nanoseconds.
fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    let mut rest: Vec<char> = text.chars().collect();
    while !rest.is_empty() {
        let number = take_while(&mut rest, |c| "0123456789.".contains(c));
        let unit = match take_while(&mut rest, |c| !"0123456789.".contains(c)).as_str() {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let value = |digits: &str| digits.chars().fold(0.0, |value, digit| value * 10.0 + f64::from(digit as u32 - 48));
        let fraction = fraction.get(..300.min(fraction.len())).map(|f| value(f) / 10_f64.powi(f.len() as i32));
        total += (value(whole) + fraction.unwrap_or_default()) * unit;
    }
    (!text.is_empty() && total < 9.2234e9).then_some(total)
}

fn take_while(rest: &mut Vec<char>, take: impl Fn(char) -> bool) -> String {
    let len = rest.iter().position(|&c| !take(c)).unwrap_or(rest.len());
    rest.drain(..len).collect()
}

/// Equal, except for the rounding of each part to floating point and whole nanoseconds.
fn is_close(length: Duration, seconds: f64) -> bool {
    (length.as_secs_f64() - seconds).abs() <= 1e-6 + seconds * 1e-9
}
