//! The names of parts, subjects and quantities: the parts of the benchmark measure under them, and the goals and plots
//! look figures up by them.

/// The floor of the ingest: bare fork, flock(2), one append a batch.
pub const FLOCK: &str = "floor: flock + append";
/// The same, and fdatasync(2) a batch.
pub const FDATASYNC: &str = "floor: flock + append + fdatasync";
/// The project's server, driven by the minimal client.
pub const SERVER: &str = "server, minimal client";
/// Start of the name of the project's server with its own client.
pub const OWN: &str = "server, own client";
/// The client's default window.
pub const OWN_DEFAULT: &str = "server, own client, default window";
/// A window of one batch.
pub const OWN_1: &str = "server, own client, window 1";
/// Redis, stop and wait.
pub const REDIS: &str = "Redis, AOF everysec, a command a batch";
/// Redis, with several commands without an answer.
pub const REDIS_PIPELINED: &str = "Redis, AOF everysec, 16 commands in flight";
/// PostgreSQL, asynchronous commit.
pub const COPY_LATER: &str = "PostgreSQL, COPY a batch, commit off";
/// PostgreSQL, synchronous commit.
pub const COPY_DURABLE: &str = "PostgreSQL, COPY a batch, commit on";

/// A connection with one line.
pub const WITH_ECHO: &str = "one line";
/// A connection with one message 6.
pub const WITH_TALLY: &str = "one message 6";
/// The project's client and server without TLS.
pub const PLAINTEXT: &str = "own client, plaintext";
/// The same over TLS.
pub const TLS: &str = "own client, TLS";

/// Bets a second, until the last one is stored.
pub const STORED: &str = "bets stored";
/// Connections a second.
pub const CONNECTIONS: &str = "connections";
/// Proportional memory of an idle child.
pub const CHILD: &str = "idle child, PSS";
/// Memory of the parent beyond a fixed part, divided by its children.
pub const PARENT: &str = "parent beyond 3.3 MB, a child";
/// The last acknowledgement of a draw's agencies.
pub const ACKNOWLEDGED: &str = "last acknowledgement";
/// The last winners after that.
pub const WINNERS: &str = "all winners, after it";
/// The end of the last child after its client left.
pub const LEFT: &str = "no child left, after the clients left";
/// Conversations that failed.
pub const ERRORS: &str = "errors";
/// The time of a message 6, a batch, an end, a query for winners.
pub const MESSAGES: [&str; 4] = ["message 6", "batch of 100", "end", "winners' query"];
/// The rate of a draw.
pub const SCAN: &str = "draw";

/// The subject of a comparison with so many idle children.
pub fn with_idle(server: &str, idle: u32) -> String {
    format!("{server}, {idle} idle")
}

/// The subject of the project's client with a window.
pub fn own(window: Option<u32>) -> String {
    window.map_or_else(|| OWN_DEFAULT.to_owned(), |window| format!("{OWN}, window {window}"))
}

/// The subject of connections of a kind, at a value of SANDBOX.
pub fn sandboxed(what: &str, sandbox: &str) -> String {
    format!("{what}, SANDBOX={sandbox}")
}

/// A subject with so many agencies.
pub fn with_agencies(server: &str, agencies: u32) -> String {
    format!("{server}, {agencies} agencies")
}
