//! The client's settings: a YAML file, and environment variables (`log.level` is `CLI_LOG_LEVEL`).
//!
//! Owns the client's keys. Used by the agency.

use std::env;
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::settings::{Settings, Source};
use super::{duration, number, yaml};
use crate::bet::{AgencyId, Bet, Birthdate, Name, decimal};
use crate::logging::Level;
use crate::tls::client::{self as tls, Files};

/// The file that is read if the command line names none.
pub const DEFAULT_FILE: &str = "config/client.yaml";
/// Every key.
pub const KEYS: [&str; 16] = [
    "id",
    "mode",
    "server.address",
    "loop.amount",
    "loop.period",
    "log.level",
    "log.settle",
    "batch.maxAmount",
    "batch.window",
    "data.path",
    "retry.timeout",
    "resume",
    CA,
    CERTIFICATE,
    KEY,
    SERVER_NAME,
];
const CA: &str = "tls.ca";
const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const SERVER_NAME: &str = "tls.serverName";
/// `batch.window` if `resume` is on: as few batches as the server needs to be busy at all times.
const WINDOW: u32 = 16;
/// `batch.window` if `resume` is off: then nobody can say which of several unacknowledged batches a lost connection has
/// stored.
const WINDOW_WITHOUT_RESUME: u32 = 1;
const MODES: &str = "echo, bet, batch or draw";
/// In the modes bet and batch, agency numbers are below this: the server recognizes their messages by a first byte of
/// 0.
const UNTYPED_AGENCIES: u32 = 1 << 24;

/// The exercise that the client runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Exercises 1–4.
    Echo,
    /// Exercise 5: one bet, which the environment holds.
    Bet(Box<Bet<'static>>),
    /// Exercise 6: the agency's file, with one connection per batch.
    Batch,
    /// Exercises 7 and 8: the agency's file, the end and the winners on one connection.
    Draw,
}

impl Mode {
    /// The word for this mode in the settings.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Bet(_) => "bet",
            Self::Batch => "batch",
            Self::Draw => "draw",
        }
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// `id`: the agency.
    pub id: AgencyId,
    /// `mode`.
    pub mode: Mode,
    /// `server.address`: host:port.
    pub server_address: String,
    /// `loop.amount`: number of messages in mode echo.
    pub loop_amount: u32,
    /// `loop.period`: pause after each message.
    pub loop_period: Duration,
    /// `loop.period` as the settings write it, for the log.
    pub loop_period_text: String,
    /// `log.level`: least important level that is logged.
    pub log_level: Level,
    /// `log.settle`: pause before the last log lines.
    pub log_settle: Duration,
    /// `batch.maxAmount`: most bets in a batch, at least 1.
    pub batch_max_amount: u8,
    /// `batch.window`: most batches that are sent and not yet acknowledged, at least 1.
    pub batch_window: u32,
    /// `data.path`: file with the agency's bets.
    pub data_path: PathBuf,
    /// `retry.timeout`: how long to retry without progress.
    pub retry_timeout: Duration,
    /// `resume`: whether to ask for the tally on the server before sending bets.
    pub resume: bool,
    /// The files of TLS, and the name in the server's certificate; `None` without TLS.
    pub tls: Option<Files>,
}

impl Config {
    /// Reads the file `named` (or the default file, if it exists) and the environment. `stop` is readable after a request
    /// to stop, which ends the wait for a file that is a pipe or a terminal; with `None`, nothing ends that wait.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a request to stop; otherwise [`Error`] for the first wrong setting.
    pub fn load(named: Option<&Path>, stop: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let source = Source { default_file: DEFAULT_FILE, parse: yaml::parse, variable };
        Self::from_settings(&Settings::load(named, stop, &source)?)
    }

    fn from_settings(set: &Settings) -> Result<Self, Error> {
        let seconds = |key, default| set.get(key, Duration::from_secs(default), duration::ALLOWED, duration::parse);
        let id = set
            .required("id", "an agency number from 1 to 4294967295", |text| AgencyId::new(decimal(text.as_bytes())?))?;
        let mode = mode(set, id)?;
        if matches!(mode, Mode::Bet(_) | Mode::Batch) {
            set.required("id", "below 16777216 in the modes bet and batch", number::within(1..=UNTYPED_AGENCIES - 1))?;
        }
        let loop_period = seconds("loop.period", 5)?;
        let resume = set.get("resume", true, "true or false", |text| text.parse().ok())?;
        let window = if resume { WINDOW } else { WINDOW_WITHOUT_RESUME };
        let server_address = set.get("server.address", "server:12345".into(), "host:port", address)?;
        Ok(Self {
            id,
            mode,
            tls: tls_files(set, &server_address)?,
            server_address,
            loop_amount: set.get("loop.amount", 5, number::ANY, number::within(0..=u32::MAX))?,
            loop_period,
            loop_period_text: set
                .get("loop.period", "5s".to_owned(), duration::ALLOWED, |text| Some(text.to_owned()))?,
            log_level: set.get("log.level", Level::Info, Level::ALLOWED, |text| text.parse().ok())?,
            log_settle: seconds("log.settle", 0)?,
            batch_max_amount: set.get("batch.maxAmount", 99, "a number from 1 to 255", number::within(1..=u8::MAX))?,
            batch_window: set.get(
                "batch.window",
                window,
                "a number from 1 to 4294967295",
                number::within(1..=u32::MAX),
            )?,
            data_path: set.get("data.path", format!(".data/agency-{id}.csv").into(), "a path", |text| {
                (!text.is_empty()).then(|| text.into())
            })?,
            retry_timeout: seconds("retry.timeout", 60)?,
            resume,
        })
    }
}

fn variable(key: &str) -> String {
    format!("CLI_{}", key.replace('.', "_").to_uppercase())
}

/// Accepts a host, which may be an IPv6 address in brackets, a colon and a port.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    number::within(1..=u16::MAX)(port)?;
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match in_brackets {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(|c: char| c == ':' || c.is_whitespace()),
    };
    is_host.then(|| text.to_owned())
}

/// TLS is on if one of its files is set; then all three must be. The default of the server's name is the host of `address`.
fn tls_files(set: &Settings, address: &str) -> Result<Option<Files>, Error> {
    let allowed = "a DNS name or an IP address";
    let server_name = set.optional(SERVER_NAME, allowed, tls::server_name)?;
    let named = [CA, CERTIFICATE, KEY].map(|key| set.file(key)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let first = named.into_iter().flatten().next().map(|file| file.key);
    let Some(first) = first.or(server_name.as_ref().map(|_| SERVER_NAME)) else { return Ok(None) };
    let why = format!("{first} is set");
    let [ca, certificate, key] = [CA, CERTIFICATE, KEY].map(|key| set.required_file(key, &why));
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let server_name = match server_name.or_else(|| tls::server_name(host)) {
        Some(name) => name,
        // No certificate can have the name of such a host.
        None => set.required(SERVER_NAME, allowed, tls::server_name)?,
    };
    Ok(Some(Files { ca: ca?, certificate: certificate?, key: key?, server_name }))
}

fn mode(set: &Settings, id: AgencyId) -> Result<Mode, Error> {
    let word = set.get("mode", "draw".to_owned(), MODES, |text| {
        ["echo", "bet", "batch", "draw"].contains(&text).then(|| text.to_owned())
    })?;
    Ok(match word.as_str() {
        "echo" => Mode::Echo,
        "bet" => Mode::Bet(Box::new(bet_from_environment(id)?)),
        "batch" => Mode::Batch,
        _ => Mode::Draw,
    })
}

/// The bet of exercise 5, from the environment variables that the assignment names.
fn bet_from_environment(agency: AgencyId) -> Result<Bet<'static>, Error> {
    let name = |key| {
        plain_variable(key, "1 to 255 bytes of UTF-8 without control characters", |text| {
            Name::new(key, text.as_bytes()).ok().filter(|_| text.len() <= u8::MAX.into()).map(Name::into_owned)
        })
    };
    let number = |key| plain_variable(key, number::ANY, |text| decimal(text.as_bytes()));
    let day = |key| plain_variable(key, "a day as YYYY-MM-DD", |text| Birthdate::parse(text.as_bytes()));
    Ok(Bet {
        agency,
        first_name: name("NOMBRE")?,
        last_name: name("APELLIDO")?,
        document: number("DOCUMENTO")?,
        birthdate: day("NACIMIENTO")?,
        number: number("NUMERO")?,
    })
}

fn plain_variable<T>(key: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    let value = env::var_os(key).unwrap_or_default();
    value.to_str().and_then(parse).ok_or_else(|| Error::value(key, &value, allowed, "the environment"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn from(file: &[(&str, &str)]) -> Result<Config, String> {
        let file: BTreeMap<_, _> = file.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings { file, path: "f".into(), variable: |key| format!("UNSET_{key}") };
        Config::from_settings(&settings).map_err(|e| e.to_string())
    }

    #[test]
    fn the_keys_are_those_that_the_program_asks_for() {
        let file = BTreeMap::from([("id".to_owned(), "1".to_owned())]);
        let asked = crate::config::settings::asked::keys(file, Config::from_settings);
        assert_eq!(asked, KEYS.map(str::to_owned).into());
    }

    #[test]
    fn variable_has_the_name_of_its_key() {
        assert_eq!(variable("batch.maxAmount"), "CLI_BATCH_MAXAMOUNT");
    }

    #[test]
    fn defaults_are_as_documented() {
        let config = from(&[("id", "3")]).unwrap();
        assert_eq!((config.batch_max_amount, config.batch_window, config.resume), (99, 16, true));
        assert_eq!(config.data_path, Path::new(".data/agency-3.csv"));
        assert_eq!((config.loop_period_text.as_str(), config.mode), ("5s", Mode::Draw));
    }

    #[test]
    fn the_window_is_1_by_default_without_resume() {
        let window = |file: &[(&str, &str)]| from(file).unwrap().batch_window;
        assert_eq!(window(&[("id", "3"), ("resume", "true")]), WINDOW);
        assert_eq!(window(&[("id", "3"), ("resume", "false")]), 1);
        assert_eq!(window(&[("id", "3"), ("resume", "false"), ("batch.window", "2")]), 2);
    }

    #[test]
    fn tls_needs_its_three_files_and_knows_the_server_by_its_host() {
        let all = [("id", "1"), (CA, "a"), (CERTIFICATE, "c"), (KEY, "k")];
        let name = |more: &[(&str, &str)]| {
            from(&[&all[..], more].concat()).unwrap().tls.unwrap().server_name.to_str().into_owned()
        };
        assert_eq!(name(&[]), "server");
        assert_eq!(name(&[("server.address", "[::1]:1")]), "::1");
        assert_eq!(name(&[("server.address", "10.0.0.1:1")]), "10.0.0.1");
        assert_eq!(name(&[("server.address", "10.0.0.1:1"), (SERVER_NAME, "lottery.example")]), "lottery.example");
        assert!(from(&all[..1]).unwrap().tls.is_none());
        assert!(from(&all[..3]).unwrap_err().starts_with("tls.key is not set"));
        assert!(from(&[("id", "1"), (SERVER_NAME, "a")]).unwrap_err().starts_with("tls.ca is not set"));
    }

    #[test]
    fn error_names_key_value_and_allowed_values() {
        assert!(from(&[]).unwrap_err().starts_with("id is not set"));
        for (key, bad) in [
            ("id", "0"),
            ("mode", "win"),
            ("server.address", "server"),
            ("server.address", ":1"),
            ("server.address", "::1:12345"),
            ("server.address", "[server]:12345"),
            ("server.address", "the server:12345"),
            ("loop.period", "5"),
            ("batch.maxAmount", "0"),
            ("batch.maxAmount", "256"),
            ("batch.window", "0"),
            ("resume", "yes"),
            (CA, ""),
            (SERVER_NAME, "a b"),
        ] {
            let error = from(&[("id", "1"), (key, bad)]).unwrap_err();
            assert!(
                error.starts_with("id:") || error.starts_with(&format!("{key}: {bad:?} is not allowed")),
                "{error}"
            );
        }
    }

    #[test]
    fn untyped_modes_refuse_agencies_from_2_to_the_24() {
        let file = |id, mode| from(&[("id", id), ("mode", mode)]);
        assert!(file("16777215", "batch").is_ok() && file("16777216", "draw").is_ok());
        let error = file("16777216", "batch").unwrap_err();
        assert!(error.starts_with("id: \"16777216\" is not allowed, it must be below 16777216"), "{error}");
    }
}
