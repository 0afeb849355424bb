//! Figures as text.

use std::fmt::Write;

use super::goals::GOALS;
use super::results::{Figure, Measured, Results};
use super::stats::Quartiles;

/// The table of a part: for each group and quantity, a line per subject with median and quartiles, and the ratio to the
/// group's base in the same round.
pub fn part_table(name: &str, part: &Measured) -> String {
    let mut text = String::new();
    for group in part.groups() {
        let head = format!("{name}: {group}");
        let _ = writeln!(text, "\n{head:<58}{:>10}  {:<19}{:>7}  quartiles", "median", "quartiles", "ratio");
        for (quantity, unit) in part.quantities(group) {
            let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
            let _ = writeln!(text, "  {quantity}{unit}");
            for figure in part.group(group).filter(|figure| figure.quantity == quantity) {
                text += &line(part, figure);
            }
        }
    }
    for reason in &part.skipped {
        let _ = writeln!(text, "{name}: SKIPPED: {reason}");
    }
    text
}

fn line(part: &Measured, figure: &Figure) -> String {
    let Some(own) = figure.quartiles() else { return String::new() };
    let ratio =
        part.ratio(figure).map_or_else(String::new, |ratio| format!("{:>7}  {}", number(ratio.median), spread(ratio)));
    let line = format!("    {:<54}{:>10}  {:<19}{ratio}", figure.subject, number(own.median), spread(own));
    format!("{}\n", line.trim_end())
}

/// The goals and the values of `results`: a line each.
pub fn goals_table(results: &Results) -> String {
    let mut text = format!("\n{:<72}{:<12}{:<26}\n", "goal", "bound", "reached");
    for goal in &GOALS {
        let state = match goal.verdict(results) {
            Some(verdict) => {
                let word = if verdict.reached { "yes" } else { "NO" };
                format!("{:<5}{} ({})", word, number(verdict.value.median), spread(verdict.value))
            }
            None => "not measured".to_owned(),
        };
        let _ = writeln!(text, "{:<72}{:<12}{state}", goal.text, goal.bound());
    }
    text
}

/// Low and high quartile.
pub fn spread(quartiles: Quartiles) -> String {
    format!("{} – {}", number(quartiles.low), number(quartiles.high))
}

/// Three significant digits, at most.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        0.1.. => 2,
        0.0 => 0,
        _ => 4,
    };
    format!("{value:.decimals$}")
}
