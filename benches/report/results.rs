//! The results of a run: every figure with all its samples.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stats::{Quartiles, ratios};

/// The results of the benchmark, as `results.json` has them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Results {
    /// The machine of the last run.
    pub machine: Machine,
    /// Each part by its name. A run of some parts replaces only those.
    pub parts: BTreeMap<String, Measured>,
}

/// Facts of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Number of processors.
    pub processors: usize,
    /// Total memory, in kB.
    pub memory_kb: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Directory of the temporary files.
    pub tmpdir: String,
    /// Its file system.
    pub file_system: String,
}

/// The results of one part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measured {
    /// When it was measured, in UTC.
    pub date: String,
    /// The commit of the project.
    pub commit: String,
    /// Load of the machine, averaged over the minute before the part began.
    pub load: f64,
    /// Whether it was a full run.
    pub full: bool,
    /// What was not measured, and why.
    pub skipped: Vec<String>,
    /// The figures, in the order of the tables.
    pub figures: Vec<Figure>,
}

/// A measured quantity of a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The subjects of a group were measured in turn, so their samples are pairs.
    pub group: String,
    /// For example a server with a client.
    pub subject: String,
    /// The measured quantity.
    pub quantity: String,
    /// Its unit.
    pub unit: String,
    /// The subject that ratios are computed with, if the group has one.
    pub base: Option<String>,
    /// Line and position in a plot.
    pub point: Option<(String, f64)>,
    /// One sample a round.
    pub samples: Vec<f64>,
}

/// Digits of a sample that are kept: more than a measurement has.
const DIGITS: usize = 6;

impl Figure {
    /// The same figure with short samples.
    pub fn rounded(mut self) -> Self {
        for sample in &mut self.samples {
            // A number in this form is always valid.
            *sample = format!("{sample:.*e}", DIGITS - 1).parse().unwrap_or(*sample);
        }
        self
    }

    /// Quartiles of the samples.
    pub fn quartiles(&self) -> Option<Quartiles> {
        Quartiles::of(&self.samples)
    }

    /// Quartiles of the ratios to `base`, which was measured in the same rounds; `None` if `base` has a zero.
    pub fn ratio_to(&self, base: &Self) -> Option<Quartiles> {
        let ratios = ratios(&self.samples, &base.samples);
        Quartiles::of(&ratios).filter(|_| ratios.iter().all(|ratio| ratio.is_finite()))
    }
}

impl Measured {
    /// The figures of `group`.
    pub fn group<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |figure| figure.group == group)
    }

    /// The names of the groups, in order.
    pub fn groups(&self) -> Vec<&str> {
        distinct(self.figures.iter().map(|figure| figure.group.as_str()))
    }

    /// Name and unit of the quantities of a group, in order.
    pub fn quantities<'a>(&'a self, group: &'a str) -> Vec<(&'a str, &'a str)> {
        distinct(self.group(group).map(|figure| (figure.quantity.as_str(), figure.unit.as_str())))
    }

    /// The subjects of a group, in order.
    pub fn subjects<'a>(&'a self, group: &'a str) -> Vec<&'a str> {
        distinct(self.group(group).map(|figure| figure.subject.as_str()))
    }

    /// The quantity of a subject in the last group that has it: groups grow.
    pub fn find(&self, subject: &str, quantity: &str) -> Option<&Figure> {
        self.figures.iter().rev().find(|figure| figure.subject == subject && figure.quantity == quantity)
    }

    /// Quartiles of the ratios of `figure` to the base of its group; `None` if there is none, or it is `figure` itself.
    pub fn ratio(&self, figure: &Figure) -> Option<Quartiles> {
        let base = figure.base.as_ref().filter(|base| **base != figure.subject)?;
        figure.ratio_to(self.sibling(figure, base)?)
    }

    /// The same quantity of `subject` in the group of `figure`.
    pub fn sibling(&self, figure: &Figure, subject: &str) -> Option<&Figure> {
        let same = |other: &&Figure| other.group == figure.group && other.quantity == figure.quantity;
        self.figures.iter().filter(same).find(|other| other.subject == subject)
    }
}

/// Each of `values` once, in order.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

impl Results {
    /// Reads JSON.
    pub fn from_json(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|e| format!("the results are not valid: {e}"))
    }

    /// JSON with one line per value, so that a difference is readable.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|json| json + "\n").map_err(|e| e.to_string())
    }
}
