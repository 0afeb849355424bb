//! The server's settings: an INI file, and environment variables with the same names.
//!
//! Owns the server's keys. Used by the server and its sessions.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::settings::{Keys, Settings, Source};
use super::{duration, ini, number};
use crate::durability::Durability;
use crate::logging::{Level, Targets};
use crate::tls::server::Files;

/// The file that is read if the command line names none.
pub const DEFAULT_FILE: &str = "config/server.ini";
/// The default of MAX_CONNECTIONS allows one connection per agency and this many more.
const SPARE_CONNECTIONS: u32 = 64;
/// Lower limit of that default.
const LEAST_CONNECTIONS: u32 = 1024;
const SYSLOG_SOCKET: &str = "/dev/log";
/// The shortest timeout. A busy machine may take this long to run a client that has something to send.
const LEAST_TIMEOUT: Duration = Duration::from_millis(10);
/// Description of the durations that [`timeout`] accepts.
const TIMEOUTS: &str = "a duration from 10ms to 2562047h, like 5s or 1m30s";
/// Most values of LISTEN_ADDRESS: each costs a socket, and a look at it for each connection.
const MOST_ADDRESSES: usize = 8;
/// Description of what [`addresses`] accepts.
const ADDRESSES: &str = "all, or one to eight different IP addresses, like 127.0.0.1 or 192.0.2.7,2001:db8::7";
/// The cause of a `SERVER_PORT` that is an address.
const KUBERNETES: &str =
    "by Kubernetes for a service called server: rename the service or set enableServiceLinks to false";
/// Every key.
pub const KEYS: [&str; 26] = [
    "SERVER_PORT",
    "LISTEN_ADDRESS",
    "SERVER_IP",
    "SERVER_LISTEN_BACKLOG",
    "LOGGING_LEVEL",
    "CLIENT_AMOUNT",
    "STORAGE_FILEPATH",
    "LOTTERY_WINNER_NUMBER",
    "MAX_CONNECTIONS",
    "MAX_PER_SOURCE",
    "PENALTY",
    "IDLE_TIMEOUT",
    "MESSAGE_TIMEOUT",
    "NEWCOMER_TIMEOUT",
    "DRAW_WAIT",
    "SHUTDOWN_GRACE",
    "DURABILITY",
    "UNTYPED",
    "LOG_TARGET",
    "SYSLOG_SOCKET",
    "SANDBOX",
    "TLS",
    CERTIFICATE,
    KEY,
    AGENCY_CA,
    REVOKED,
];
const CERTIFICATE: &str = "TLS_CERTIFICATE";
const KEY: &str = "TLS_KEY";
const AGENCY_CA: &str = "TLS_AGENCY_CA";
const REVOKED: &str = "TLS_REVOKED";

/// The messages that the server accepts without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// Every message: TLS is optional.
    Everything,
    /// Echoes: TLS is required for all other messages.
    EchoOnly,
}

/// The settings of TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What is accepted without it.
    pub plaintext: Plaintext,
    /// The files.
    pub files: Files,
}

/// Whether the processes give up what they do not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandboxing {
    /// As far as the kernel has the means.
    On,
    /// Completely; otherwise the server does not start.
    Require,
    /// Not at all.
    Off,
}

/// Most children that are alive at the same time; above CLIENT_AMOUNT, except for a default that has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxConnections {
    /// MAX_CONNECTIONS sets it.
    Set(u32),
    /// Nothing sets it, so it may be lowered.
    Default(u32),
}

impl MaxConnections {
    /// The number.
    pub fn get(self) -> u32 {
        match self {
            Self::Set(number) | Self::Default(number) => number,
        }
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// SERVER_PORT: TCP port; 0 for any free port.
    pub port: u16,
    /// LISTEN_ADDRESS: the addresses to listen on; empty for every interface.
    pub listen_addresses: Vec<IpAddr>,
    /// SERVER_LISTEN_BACKLOG: connections that the kernel completes before accept(2).
    pub listen_backlog: u32,
    /// LOGGING_LEVEL: least important level that is logged.
    pub logging_level: Level,
    /// LOG_TARGET and SYSLOG_SOCKET: where lines go.
    pub log_targets: Targets,
    /// CLIENT_AMOUNT: the agencies 1 to this number take part in the draw; 0 for no draw.
    pub client_amount: u32,
    /// STORAGE_FILEPATH: the file of the bets; the other files of the lottery are in the same directory.
    pub storage: PathBuf,
    /// LOTTERY_WINNER_NUMBER: the number that wins.
    pub winning_number: u32,
    /// MAX_CONNECTIONS: most children that are alive at the same time.
    pub max_connections: MaxConnections,
    /// MAX_PER_SOURCE: most connections of one IPv4 address or IPv6 network of 64 bits; 0 for any number.
    pub max_per_source: u32,
    /// PENALTY: how long a source is refused after each connection with garbage; `None` for not at all.
    pub penalty: Option<Duration>,
    /// IDLE_TIMEOUT: how long a connection may be silent between messages.
    pub idle_timeout: Duration,
    /// MESSAGE_TIMEOUT: how long a message may take, and how long a client may accept no byte of an answer.
    pub message_timeout: Duration,
    /// NEWCOMER_TIMEOUT: how long a connection may be without a seat.
    pub newcomer_timeout: Duration,
    /// DRAW_WAIT: how long a query waits for the draw; `None` for no limit.
    pub draw_wait: Option<Duration>,
    /// SHUTDOWN_GRACE: how long children may take to finish their current message.
    pub shutdown_grace: Duration,
    /// DURABILITY: when data is synced.
    pub durability: Durability,
    /// UNTYPED: whether bets without a type byte are taken.
    pub untyped: Untyped,
    /// SANDBOX: whether the processes give up what they do not need.
    pub sandbox: Sandboxing,
    /// TLS and its files; `None` if it is off.
    pub tls: Option<Tls>,
}

/// Whether single bets and untyped batches are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untyped {
    /// They are.
    On,
    /// They are refused.
    Off,
}

impl Config {
    /// Reads the file `named` (or the default file, if it exists) and the environment. `stop` is readable after a request
    /// to stop, which ends the wait for a file that is a pipe or a terminal; with `None`, nothing ends that wait.
    ///
    /// # Errors
    /// [`Error::Stopped`] after a request to stop; otherwise [`Error`] for the first wrong setting.
    pub fn load(named: Option<&Path>, stop: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let source = Source { default_file: DEFAULT_FILE, parse: known_keys, variable: str::to_owned };
        Self::from_settings(&Settings::load(named, stop, &source)?)
    }

    fn from_settings(set: &Settings) -> Result<Self, Error> {
        let seconds = |key, default, allowed, parse: fn(&str) -> Option<Duration>| {
            set.get(key, Duration::from_secs(default), allowed, parse)
        };
        let client_amount = set.get("CLIENT_AMOUNT", 5, number::ANY, number::within(0..=u32::MAX))?;
        Ok(Self {
            port: port(set)?,
            listen_addresses: set.get("LISTEN_ADDRESS", Vec::new(), ADDRESSES, addresses)?,
            listen_backlog: set.get(
                "SERVER_LISTEN_BACKLOG",
                5,
                "a number from 0 to 2147483647",
                number::within(0..=i32::MAX as u32),
            )?,
            logging_level: set.get("LOGGING_LEVEL", Level::Info, Level::ALLOWED, |text| text.parse().ok())?,
            log_targets: log_targets(set)?,
            client_amount,
            storage: set.get("STORAGE_FILEPATH", ".data/bets.csv".into(), "a path", |text| {
                (!text.is_empty()).then(|| text.into())
            })?,
            winning_number: set.get("LOTTERY_WINNER_NUMBER", 7574, number::ANY, number::within(0..=u32::MAX))?,
            max_connections: max_connections(set, client_amount)?,
            max_per_source: set.get("MAX_PER_SOURCE", 0, number::ANY, number::within(0..=u32::MAX))?,
            penalty: set.get("PENALTY", None, "off or a duration like 5s", |text| match text {
                "off" => Some(None),
                _ => duration::parse(text).map(Some),
            })?,
            idle_timeout: seconds("IDLE_TIMEOUT", 120, TIMEOUTS, timeout)?,
            message_timeout: seconds("MESSAGE_TIMEOUT", 30, TIMEOUTS, timeout)?,
            newcomer_timeout: seconds("NEWCOMER_TIMEOUT", 30, TIMEOUTS, timeout)?,
            draw_wait: set.get("DRAW_WAIT", None, "forever or a duration like 5s", |text| match text {
                "forever" => Some(None),
                _ => duration::parse(text).map(Some),
            })?,
            shutdown_grace: seconds("SHUTDOWN_GRACE", 5, duration::ALLOWED, duration::parse)?,
            durability: set.get("DURABILITY", Durability::End, "process, end or batch", |text| match text {
                "process" => Some(Durability::Process),
                "end" => Some(Durability::End),
                "batch" => Some(Durability::Batch),
                _ => None,
            })?,
            untyped: set.get("UNTYPED", Untyped::On, "on or off", |text| match text {
                "on" => Some(Untyped::On),
                "off" => Some(Untyped::Off),
                _ => None,
            })?,
            sandbox: set.get("SANDBOX", Sandboxing::On, "on, require or off", |text| match text {
                "on" => Some(Sandboxing::On),
                "require" => Some(Sandboxing::Require),
                "off" => Some(Sandboxing::Off),
                _ => None,
            })?,
            tls: tls(set)?,
        })
    }

    /// Most connections that have a seat: one per agency. With CLIENT_AMOUNT=0, 7/8 of MAX_CONNECTIONS, so that others keep
    /// room.
    pub fn most_seats(&self) -> usize {
        let max = self.max_connections.get();
        let seats = if self.client_amount == 0 { (max - max.div_ceil(8)).max(1) } else { self.client_amount };
        seats as usize
    }
}

/// TLS is off by default without its files, and optional with them. Some of the files without the others are an error.
fn tls(set: &Settings) -> Result<Option<Tls>, Error> {
    let mode = set.optional("TLS", "off, optional or required", |text| match text {
        "off" => Some(None),
        "optional" => Some(Some(Plaintext::Everything)),
        "required" => Some(Some(Plaintext::EchoOnly)),
        _ => None,
    })?;
    let revoked = set.file(REVOKED)?;
    let named = [CERTIFICATE, KEY, AGENCY_CA].map(|key| set.file(key)).into_iter().chain([Ok(revoked.clone())]);
    let first = named.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next();
    let (plaintext, why) = match (mode, first) {
        (Some(None), _) | (None, None) => return Ok(None),
        (mode, Some(file)) => (mode.flatten().unwrap_or(Plaintext::Everything), format!("{} is set", file.key)),
        (Some(Some(plaintext)), None) => (plaintext, "TLS is on".to_owned()),
    };
    let [certificate, key, agency_ca] = [CERTIFICATE, KEY, AGENCY_CA].map(|key| set.required_file(key, &why));
    Ok(Some(Tls { plaintext, files: Files { certificate: certificate?, key: key?, agency_ca: agency_ca?, revoked } }))
}

/// The keys of an INI file, none of which is unknown.
fn known_keys(text: &str) -> Result<Keys, String> {
    let keys = ini::parse(text)?;
    match keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(unknown) => Err(format!("unknown key {unknown}; known are {}", KEYS.join(", "))),
        None => Ok(keys),
    }
}

/// Each agency that waits for the draw holds a connection. There must be room for all of them, and for one more.
fn max_connections(set: &Settings, client_amount: u32) -> Result<MaxConnections, Error> {
    let default = client_amount.saturating_add(SPARE_CONNECTIONS).max(LEAST_CONNECTIONS);
    let allowed = format!("a number above CLIENT_AMOUNT, which is {client_amount}");
    set.get("MAX_CONNECTIONS", MaxConnections::Default(default), &allowed, |text| {
        number::within(1..=u32::MAX)(text).filter(|&max| max > client_amount).map(MaxConnections::Set)
    })
}

/// The port of `SERVER_PORT`. Kubernetes gives every container a variable of this name if a service is called `server`,
/// with a value such as `tcp://10.0.0.1:80`. The error names this cause.
fn port(set: &Settings) -> Result<u16, Error> {
    let port = set.get("SERVER_PORT", 12345, "a number from 0 to 65535", number::within(0..=u16::MAX));
    port.map_err(|error| match error {
        Error::Value { key, value, allowed, origin } if origin == "variable SERVER_PORT" && value.contains("://") => {
            Error::Value { key, value, allowed, origin: format!("{origin} {KUBERNETES}") }
        }
        other => other,
    })
}

/// Different addresses, separated by commas; none for all interfaces.
fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    if text == "all" {
        return Some(addresses);
    }
    for address in text.split(',') {
        let address = address.trim().parse().ok()?;
        if addresses.contains(&address) || addresses.len() == MOST_ADDRESSES {
            return None;
        }
        addresses.push(address);
    }
    Some(addresses)
}

/// A duration that leaves a client time to send or to read.
fn timeout(text: &str) -> Option<Duration> {
    duration::parse(text).filter(|&length| length >= LEAST_TIMEOUT)
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
        // The environment has no such variables, so it does not influence the test.
        let settings = Settings { file, path: "f".into(), variable: |key| format!("UNSET_{key}") };
        Config::from_settings(&settings).map_err(|e| e.to_string())
    }

    #[test]
    fn the_keys_are_those_that_the_program_asks_for() {
        let mut asked = crate::config::settings::asked::keys(BTreeMap::new(), Config::from_settings);
        // The course's files have this key, which changes nothing.
        asked.insert("SERVER_IP".to_owned());
        assert_eq!(asked, KEYS.map(str::to_owned).into());
    }

    #[test]
    fn defaults_are_as_documented() {
        let config = from(&[]).unwrap();
        assert_eq!((config.port, config.listen_backlog, config.client_amount), (12345, 5, 5));
        assert_eq!((config.winning_number, config.draw_wait, config.untyped), (7574, None, Untyped::On));
        assert_eq!((config.max_per_source, config.penalty), (0, None));
        assert_eq!(config.max_connections, MaxConnections::Default(1024));
        assert_eq!(from(&[("CLIENT_AMOUNT", "2000")]).unwrap().max_connections.get(), 2064);
    }

    #[test]
    fn listens_on_every_address_of_the_list() {
        assert!(from(&[]).unwrap().listen_addresses.is_empty());
        assert!(from(&[("LISTEN_ADDRESS", "all")]).unwrap().listen_addresses.is_empty());
        let set = from(&[("LISTEN_ADDRESS", "127.0.0.1, ::1")]).unwrap();
        assert_eq!(set.listen_addresses, ["127.0.0.1", "::1"].map(|address| address.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn an_eighth_of_the_connections_is_without_seat() {
        let seats = |agencies, max| {
            let set = [("CLIENT_AMOUNT", agencies), ("MAX_CONNECTIONS", max)];
            from(&set).unwrap().most_seats()
        };
        assert_eq!(["1", "2", "7", "8", "1024"].map(|max| seats("0", max)), [1, 1, 6, 7, 896]);
        assert_eq!(seats("5", "6"), 5);
    }

    #[test]
    fn tls_needs_its_three_files_or_is_off() {
        let all = [(CERTIFICATE, "c"), (KEY, "k"), (AGENCY_CA, "a")];
        let plaintext = |file: &[(&str, &str)]| from(file).map(|config| config.tls.map(|tls| tls.plaintext));
        assert_eq!(plaintext(&[]), Ok(None));
        assert_eq!(plaintext(&[("TLS", "off"), (KEY, "k")]), Ok(None));
        assert_eq!(plaintext(&all), Ok(Some(Plaintext::Everything)));
        assert_eq!(plaintext(&[&all[..], &[("TLS", "required")]].concat()), Ok(Some(Plaintext::EchoOnly)));
        for (file, missing) in [
            (&[("TLS", "optional")][..], "TLS_CERTIFICATE is not set"),
            (&[("TLS", "required")], "TLS_CERTIFICATE is not set"),
            (&[(REVOKED, "r")], "TLS_CERTIFICATE is not set"),
            (&all[..1], "TLS_KEY is not set"),
            (&all[..2], "TLS_AGENCY_CA is not set"),
        ] {
            assert!(plaintext(file).unwrap_err().starts_with(missing), "{file:?}");
        }
    }

    #[test]
    fn error_names_key_value_and_allowed_values() {
        for (key, bad) in [
            ("SERVER_PORT", "65536"),
            ("SERVER_PORT", "12345 # x"),
            ("SERVER_PORT", ""),
            ("LISTEN_ADDRESS", "localhost"),
            ("LISTEN_ADDRESS", "127.0.0.1,"),
            ("LISTEN_ADDRESS", "::1, ::1"),
            ("LISTEN_ADDRESS", "::1,::2,::3,::4,::5,::6,::7,::8,::9"),
            ("LOGGING_LEVEL", "LOUD"),
            ("CLIENT_AMOUNT", "-1"),
            ("MAX_CONNECTIONS", "5"),
            ("MAX_PER_SOURCE", "-1"),
            ("PENALTY", "on"),
            ("IDLE_TIMEOUT", "5"),
            ("IDLE_TIMEOUT", "9ms"),
            ("NEWCOMER_TIMEOUT", "0s"),
            ("DRAW_WAIT", "never"),
            ("DURABILITY", "all"),
            ("UNTYPED", "no"),
            ("LOG_TARGET", "file"),
            ("STORAGE_FILEPATH", ""),
            ("SANDBOX", "yes"),
            ("TLS", "on"),
            (KEY, ""),
        ] {
            let error = from(&[(key, bad)]).unwrap_err();
            assert!(error.starts_with(&format!("{key}: {bad:?} is not allowed, it must be ")), "{error}");
        }
    }
}
