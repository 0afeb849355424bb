//! The server's settings: INI file and variables of the same names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{DURATION, Error, Settings, ini, number, parse_duration, read};
use crate::durability::Durability;
use crate::logging::{Level, Targets};

/// The file that is read where none is named.
pub const DEFAULT_FILE: &str = "config/server.ini";
/// Connections beyond one an agency that the default of MAX_CONNECTIONS leaves room for.
const SPARE_CONNECTIONS: u32 = 64;
const LEAST_CONNECTIONS: u32 = 1024;
const SYSLOG_SOCKET: &str = "/dev/log";
/// Every key.
pub const KEYS: [&str; 15] = [
    "SERVER_PORT",
    "SERVER_IP",
    "SERVER_LISTEN_BACKLOG",
    "LOGGING_LEVEL",
    "CLIENT_AMOUNT",
    "STORAGE_FILEPATH",
    "LOTTERY_WINNER_NUMBER",
    "MAX_CONNECTIONS",
    "IDLE_TIMEOUT",
    "MESSAGE_TIMEOUT",
    "DRAW_WAIT",
    "SHUTDOWN_GRACE",
    "DURABILITY",
    "LOG_TARGET",
    "SYSLOG_SOCKET",
];

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// TCP port; 0 for any free one.
    pub port: u16,
    /// Connections that the kernel completes ahead of accept(2).
    pub listen_backlog: u32,
    /// What is logged.
    pub logging_level: Level,
    /// Where it is logged.
    pub log_targets: Targets,
    /// How many agencies take part in the draw, ids 1 to this; 0 for no draw.
    pub client_amount: u32,
    /// Where bets are stored; the files around it lie beside it.
    pub storage: PathBuf,
    /// The number that wins.
    pub winning_number: u32,
    /// Children alive at once.
    pub max_connections: u32,
    /// How long a connection may be silent between messages.
    pub idle_timeout: Duration,
    /// How long a message may take, and a client that takes no byte of an answer.
    pub message_timeout: Duration,
    /// How long a query waits for the draw; `None` for ever.
    pub draw_wait: Option<Duration>,
    /// How long children may finish their current message.
    pub shutdown_grace: Duration,
    /// What is synced when.
    pub durability: Durability,
}

impl Config {
    /// Reads the file (`named`, or the default one if it is there) and the environment.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn load(named: Option<&Path>) -> Result<Self, Error> {
        let (path, text) = read(named, DEFAULT_FILE)?;
        let form = |what| Error::Form { path: path.clone(), what };
        let file = text.map(|text| ini::parse(&text)).transpose().map_err(form)?.unwrap_or_default();
        if let Some(unknown) = file.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(form(format!("unknown key {unknown}; known are {}", KEYS.join(", "))));
        }
        Self::from_settings(&Settings { file, path, variable: str::to_owned })
    }

    fn from_settings(set: &Settings) -> Result<Self, Error> {
        let duration = |key, default| set.get(key, Duration::from_secs(default), DURATION, parse_duration);
        let client_amount = set.get("CLIENT_AMOUNT", 5, "a number from 0 to 4294967295", number(0..=u32::MAX))?;
        Ok(Self {
            port: set.get("SERVER_PORT", 12345, "a number from 0 to 65535", number(0..=u16::MAX))?,
            listen_backlog: set.get(
                "SERVER_LISTEN_BACKLOG",
                5,
                "a number from 0 to 2147483647",
                number(0..=i32::MAX as u32),
            )?,
            logging_level: set.get("LOGGING_LEVEL", Level::Info, Level::ALLOWED, |text| text.parse().ok())?,
            log_targets: log_targets(set)?,
            client_amount,
            storage: set.get("STORAGE_FILEPATH", ".data/bets.csv".into(), "a path", |text| {
                (!text.is_empty()).then(|| text.into())
            })?,
            winning_number: set.get(
                "LOTTERY_WINNER_NUMBER",
                7574,
                "a number from 0 to 4294967295",
                number(0..=u32::MAX),
            )?,
            max_connections: max_connections(set, client_amount)?,
            idle_timeout: duration("IDLE_TIMEOUT", 120)?,
            message_timeout: duration("MESSAGE_TIMEOUT", 30)?,
            draw_wait: set.get("DRAW_WAIT", None, "forever or a duration like 5s", |text| match text {
                "forever" => Some(None),
                _ => parse_duration(text).map(Some),
            })?,
            shutdown_grace: duration("SHUTDOWN_GRACE", 5)?,
            durability: set.get("DURABILITY", Durability::End, "process, end or batch", |text| match text {
                "process" => Some(Durability::Process),
                "end" => Some(Durability::End),
                "batch" => Some(Durability::Batch),
                _ => None,
            })?,
        })
    }
}

/// Agencies that wait for the draw hold a connection each: there must be room for all of them, and one more.
fn max_connections(set: &Settings, client_amount: u32) -> Result<u32, Error> {
    let default = client_amount.saturating_add(SPARE_CONNECTIONS).max(LEAST_CONNECTIONS);
    let allowed = format!("a number above CLIENT_AMOUNT, which is {client_amount}");
    set.get("MAX_CONNECTIONS", default, &allowed, |text| number(1..=u32::MAX)(text).filter(|&max| max > client_amount))
}

fn log_targets(set: &Settings) -> Result<Targets, Error> {
    let (stdout, syslog) = set.get("LOG_TARGET", (true, false), "stdout, syslog or both", |text| match text {
        "stdout" => Some((true, false)),
        "syslog" => Some((false, true)),
        "both" => Some((true, true)),
        _ => None,
    })?;
    let socket = set.get("SYSLOG_SOCKET", PathBuf::from(SYSLOG_SOCKET), "a path", |text| Some(text.into()))?;
    Ok(Targets { stdout, syslog: syslog.then_some(socket) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn from(file: &[(&str, &str)]) -> Result<Config, String> {
        let file: BTreeMap<_, _> = file.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        // No variable has such a name, so the test does not depend on its environment.
        let settings = Settings { file, path: "f".into(), variable: |key| format!("UNSET_{key}") };
        Config::from_settings(&settings).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = from(&[]).unwrap();
        assert_eq!((config.port, config.listen_backlog, config.client_amount), (12345, 5, 5));
        assert_eq!((config.winning_number, config.max_connections, config.draw_wait), (7574, 1024, None));
        assert_eq!(from(&[("CLIENT_AMOUNT", "2000")]).unwrap().max_connections, 2064);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_what_is_allowed() {
        for (key, bad) in [
            ("SERVER_PORT", "65536"),
            ("SERVER_PORT", "12345 # x"),
            ("SERVER_PORT", ""),
            ("LOGGING_LEVEL", "LOUD"),
            ("CLIENT_AMOUNT", "-1"),
            ("MAX_CONNECTIONS", "5"),
            ("IDLE_TIMEOUT", "5"),
            ("DRAW_WAIT", "never"),
            ("DURABILITY", "all"),
            ("LOG_TARGET", "file"),
            ("STORAGE_FILEPATH", ""),
        ] {
            let error = from(&[(key, bad)]).unwrap_err();
            assert!(error.starts_with(&format!("{key}: {bad:?} is not allowed, it must be ")), "{error}");
        }
    }
}
