//! The plots of each part.

use super::chart::{Bars, Drawn, Lines};
use super::names;
use super::results::{Figure, Measured, Results};
use super::stats::Quartiles;

/// The plot of a part; `None` if it has no figures for it.
type Plot = fn(&Measured) -> Option<Drawn>;

/// Each part with a plot. The file has the name of the part.
const PLOTS: [(&str, Plot); 7] = [
    ("ingest", |part| ingest(part, names::FLOCK, "bets a second, as a ratio to the flock floor")),
    ("durable", |part| ingest(part, names::FDATASYNC, "durable bets a second, as a ratio to the fdatasync floor")),
    ("batch", batch),
    ("connections", connections),
    ("draw", draw),
    ("flat", flat),
    ("distance", distance),
];

/// Number of the colour of the project's server, of peers, and of floors.
const OWN_COLOUR: usize = 0;
const PEER_COLOUR: usize = 2;
const FLOOR_COLOUR: usize = 4;

/// All plots that `results` has figures for: name of the file, without ending, and SVG.
pub fn draw_all(results: &Results) -> Result<Vec<(&'static str, String)>, String> {
    let drawn = PLOTS.iter().filter_map(|(name, plot)| Some((*name, plot(results.parts.get(*name)?)?)));
    drawn.map(|(name, svg)| Ok((name, svg?))).collect()
}

/// Ratios to `base` in the largest group.
fn ingest(part: &Measured, base: &str, axis: &str) -> Option<Drawn> {
    let base = part.find(base, names::STORED)?;
    let figures = part.group(&base.group).filter(|figure| figure.quantity == names::STORED);
    let colour = |subject: &str| match subject {
        subject if subject.starts_with("floor") => FLOOR_COLOUR,
        subject if subject.starts_with("server") => OWN_COLOUR,
        _ => PEER_COLOUR,
    };
    let bar = |figure: &Figure| Some((figure.subject.clone(), figure.ratio_to(base)?, colour(&figure.subject)));
    let bars = figures.filter_map(bar).collect();
    draw_bars([&base.group, axis], vec![1.0], bars)
}

fn batch(part: &Measured) -> Option<Drawn> {
    let axes = ["most bets in a batch", "1000 bets a second"];
    draw_lines("Bets a second by size of the batch (five agencies, stop and wait)", axes, points(part, names::STORED))
}

fn connections(part: &Measured) -> Option<Drawn> {
    let axes = ["live idle children", "connections a second"];
    draw_lines("Connections a second while other children wait", axes, points(part, names::CONNECTIONS))
}

fn draw(part: &Measured) -> Option<Drawn> {
    let quantities = [names::ACKNOWLEDGED, names::WINNERS, names::LEFT];
    let of = |quantity| {
        points(part, quantity).into_iter().map(move |(line, x, value)| (format!("{line}: {quantity}"), x, value))
    };
    let title = "One draw, 100 bets an agency, all agencies connected at once";
    draw_lines(title, ["agencies", "seconds"], quantities.into_iter().flat_map(of).collect())
}

/// Ratios to the smallest server.
fn flat(part: &Measured) -> Option<Drawn> {
    let mut bars = Vec::new();
    for (quantity, colour) in names::MESSAGES.into_iter().zip(0..) {
        for figure in part.figures.iter().filter(|figure| figure.quantity == quantity) {
            let bar = part.ratio(figure).map(|ratio| (format!("{quantity}: {}", figure.subject), ratio, colour));
            bars.extend(bar);
        }
    }
    let texts =
        ["Cost of a message by agencies and stored bets", "time, as a ratio to a server with 10 agencies and few bets"];
    draw_bars(texts, vec![0.8, 1.2], bars)
}

fn distance(part: &Measured) -> Option<Drawn> {
    let figures = part.figures.iter().filter(|figure| figure.quantity == names::STORED);
    let bars = figures.filter_map(|figure| Some((figure.subject.clone(), figure.quartiles()?, OWN_COLOUR))).collect();
    draw_bars(["A client at a distance: round trip of 10 ms", "1000 bets a second"], Vec::new(), bars)
}

fn draw_bars([title, axis]: [&str; 2], marks: Vec<f64>, bars: Vec<(String, Quartiles, usize)>) -> Option<Drawn> {
    let chart = Bars { title: title.to_owned(), axis: axis.to_owned(), marks, bars };
    (!chart.bars.is_empty()).then(|| chart.draw())
}

/// Name of the line, position and value.
type Point = (String, f64, Quartiles);

/// The figures of `quantity` that have a point.
fn points(part: &Measured, quantity: &str) -> Vec<Point> {
    let figures = part.figures.iter().filter(|figure| figure.quantity == quantity);
    let point = |figure: &Figure| {
        let (line, x) = figure.point.clone()?;
        Some((line, x, figure.quartiles()?))
    };
    figures.filter_map(point).collect()
}

/// Lines over all positions of `points`, with a logarithmic y axis.
fn draw_lines(title: &str, axes: [&str; 2], points: Vec<Point>) -> Option<Drawn> {
    let mut positions: Vec<f64> = points.iter().map(|(_, x, _)| *x).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let mut lines: Vec<(String, Vec<(usize, Quartiles)>)> = Vec::new();
    for (name, x, value) in points {
        let point = (positions.iter().position(|position| *position == x)?, value);
        match lines.iter_mut().find(|(line, _)| *line == name) {
            Some((_, points)) => points.push(point),
            None => lines.push((name, vec![point])),
        }
    }
    let categories = positions.iter().map(f64::to_string).collect();
    let chart = Lines { title: title.to_owned(), axes: axes.map(str::to_owned), categories, lines };
    (!chart.lines.is_empty()).then(|| chart.draw())
}
