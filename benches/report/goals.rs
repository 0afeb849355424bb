//! The goals of the project for speed and memory: ratios to the floors of the same run, and a few absolute bounds.

use super::names;
use super::results::{Measured, Results};
use super::stats::Quartiles;

/// A goal.
pub struct Goal {
    /// In words.
    pub text: &'static str,
    /// The part that measures it.
    pub part: &'static str,
    quantity: &'static str,
    measure: Measure,
    bound: Bound,
}

enum Measure {
    /// The quantity of this subject.
    Value(&'static str),
    /// Its ratio between two subjects of a group.
    Ratio(&'static str, &'static str),
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Between(f64, f64),
}

/// The state of a goal.
pub struct Verdict {
    /// The measured value, with quartiles.
    pub value: Quartiles,
    /// Whether the median keeps the bound.
    pub reached: bool,
}

use Bound::{AtLeast, AtMost, Between};
use Measure::{Ratio, Value};

const fn goal(
    text: &'static str,
    (part, quantity): (&'static str, &'static str),
    measure: Measure,
    bound: Bound,
) -> Goal {
    Goal { text, part, quantity, measure, bound }
}

const INGEST: (&str, &str) = ("ingest", names::STORED);
const DURABLE: (&str, &str) = ("durable", names::STORED);
const CONNECTIONS: (&str, &str) = ("connections", names::CONNECTIONS);
const FLAT: Measure = Ratio("10000 agencies, many bets", "10 agencies, few bets");
const CROWD: &str = "server, 10000 agencies";

/// All goals, in the order of the parts.
pub const GOALS: [Goal; 21] = [
    goal("server under the minimal client / flock floor", INGEST, Ratio(names::SERVER, names::FLOCK), AtLeast(0.9)),
    goal("own client, window 1 / flock floor", INGEST, Ratio(names::OWN_1, names::FLOCK), AtLeast(0.75)),
    goal("own client, default window / flock floor", INGEST, Ratio(names::OWN_DEFAULT, names::FLOCK), AtLeast(1.6)),
    goal(
        "own client, default window / Redis, a command a batch",
        INGEST,
        Ratio(names::OWN_DEFAULT, names::REDIS),
        AtLeast(2.5),
    ),
    goal(
        "each batch durable: own client, default window / fdatasync floor",
        DURABLE,
        Ratio(names::OWN_DEFAULT, names::FDATASYNC),
        AtLeast(6.0),
    ),
    goal(
        "each batch durable: own client, default window / PostgreSQL, commit on",
        DURABLE,
        Ratio(names::OWN_DEFAULT, names::COPY_DURABLE),
        AtLeast(5.0),
    ),
    goal("connections / fork floor", CONNECTIONS, Ratio("server, 0 idle", "floor: bare fork, 0 idle"), AtLeast(0.85)),
    goal(
        "connections with 10,000 idle children / with none",
        CONNECTIONS,
        Ratio("server, 10000 idle", "server, 0 idle"),
        AtLeast(0.5),
    ),
    goal("PSS of an idle child of 1,000, kB", ("memory", names::CHILD), Value("server, 1000 children"), AtMost(90.0)),
    goal(
        "parent with 1,000 children beyond 3.3 MB, bytes a child",
        ("memory", names::PARENT),
        Value("server, 1000 children"),
        AtMost(300.0),
    ),
    goal("10,000 agencies: last acknowledgement, s", ("draw", names::ACKNOWLEDGED), Value(CROWD), AtMost(8.0)),
    goal("10,000 agencies: all winners after it, s", ("draw", names::WINNERS), Value(CROWD), AtMost(1.0)),
    goal("10,000 agencies: no child left after the clients left, s", ("draw", names::LEFT), Value(CROWD), AtMost(5.0)),
    goal("10,000 agencies: errors", ("draw", names::ERRORS), Value(CROWD), AtMost(0.0)),
    goal("message 6, largest / smallest server", ("flat", names::MESSAGES[0]), FLAT, Between(0.8, 1.2)),
    goal("batch, largest / smallest server", ("flat", names::MESSAGES[1]), FLAT, Between(0.8, 1.2)),
    goal("end, largest / smallest server", ("flat", names::MESSAGES[2]), FLAT, Between(0.8, 1.2)),
    goal("winners' query, largest / smallest server", ("flat", names::MESSAGES[3]), FLAT, Between(0.8, 1.2)),
    goal("draw of the large file, GB/s", ("flat", names::SCAN), Value("10 agencies, many bets"), AtLeast(2.0)),
    goal(
        "connections with one line, SANDBOX=on / off",
        ("security", names::CONNECTIONS),
        Ratio("one line, SANDBOX=on", "one line, SANDBOX=off"),
        AtLeast(0.8),
    ),
    goal(
        "connections with one message 6, SANDBOX=on / off",
        ("security", names::CONNECTIONS),
        Ratio("one message 6, SANDBOX=on", "one message 6, SANDBOX=off"),
        AtLeast(0.8),
    ),
];

impl Goal {
    /// The bound in signs.
    pub fn bound(&self) -> String {
        match self.bound {
            AtLeast(bound) => format!("≥ {bound}"),
            AtMost(bound) => format!("≤ {bound}"),
            Between(low, high) => format!("{low} – {high}"),
        }
    }

    /// Compares the goal with `results`; `None` if its figures are missing.
    pub fn verdict(&self, results: &Results) -> Option<Verdict> {
        let value = self.value(results.parts.get(self.part)?)?;
        let reached = match self.bound {
            AtLeast(bound) => value.median >= bound,
            AtMost(bound) => value.median <= bound,
            Between(low, high) => (low..=high).contains(&value.median),
        };
        Some(Verdict { value, reached })
    }

    fn value(&self, part: &Measured) -> Option<Quartiles> {
        match self.measure {
            Value(subject) => part.find(subject, self.quantity)?.quartiles(),
            Ratio(subject, base) => {
                let figure = part.find(subject, self.quantity)?;
                figure.ratio_to(part.sibling(figure, base)?)
            }
        }
    }
}
