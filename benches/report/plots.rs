//! The plots of each part.

use super::chart::{Bars, Lines};
use super::names;
use super::results::{Figure, Measured, Results};
use super::stats::Quartiles;

/// All plots that `results` has figures for: name of the file, without ending, and SVG.
pub fn draw_all(results: &Results) -> Result<Vec<(&'static str, String)>, String> {
    let part = |name: &str| results.parts.get(name);
    let plots = [
        ("ingest", part("ingest").and_then(|part| ingest(part, names::FLOCK, "bets a second, as a ratio to the flock floor"))),
        (
            "durable",
            part("durable").and_then(|part| {
                ingest(part, names::FDATASYNC, "bets a second if each batch is durable, as a ratio to the fdatasync floor")
            }),
        ),
        ("flat", part("flat").and_then(flat)),
        ("distance", part("distance").and_then(distance)),
    ];
    let bars = plots.into_iter().filter_map(|(name, plot)| Some((name, plot?.draw())));
    let lines = [
        ("batch", part("batch").map(|part| lines(part, &[names::STORED], BATCH))),
        ("connections", part("connections").map(|part| lines(part, &[names::CONNECTIONS], CONNECTIONS))),
        ("draw", part("draw").map(|part| lines(part, &[names::ACKNOWLEDGED, names::WINNERS, names::LEFT], DRAW))),
    ];
    let lines = lines.into_iter().filter_map(|(name, plot)| Some((name, plot?.draw())));
    bars.chain(lines).map(|(name, svg)| Ok((name, svg?))).collect()
}

/// Title, x axis, y axis.
type Titles = [&'static str; 3];

const BATCH: Titles = ["Bets a second by size of the batch (five agencies, stop and wait)", "most bets in a batch", "1000 bets a second"];
const CONNECTIONS: Titles =
    ["Connections a second while other children wait", "live idle children", "connections a second"];
const DRAW: Titles = ["One draw, 100 bets an agency, all agencies connected at once", "agencies", "seconds"];

/// Lines of the figures that have a point. With several quantities, each is a line of its own.
fn lines(part: &Measured, quantities: &[&str], [title, x, y]: Titles) -> Lines {
    let shown = |figure: &&Figure| quantities.contains(&figure.quantity.as_str());
    let figures: Vec<&Figure> = part.figures.iter().filter(shown).collect();
    let mut positions: Vec<f64> = figures.iter().filter_map(|figure| Some(figure.point.as_ref()?.1)).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let mut lines: Vec<(String, Vec<(usize, Quartiles)>)> = Vec::new();
    for figure in figures {
        let Some(((line, x), value)) = figure.point.as_ref().zip(figure.quartiles()) else { continue };
        let several = quantities.len() > 1;
        let name = if several { format!("{line}: {}", figure.quantity) } else { line.clone() };
        let point = (positions.iter().position(|position| position == x).unwrap_or_default(), value);
        match lines.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push(point),
            None => lines.push((name, vec![point])),
        }
    }
    Lines {
        title: title.to_owned(),
        axes: [x, y].map(str::to_owned),
        logarithmic: quantities.len() > 1,
        categories: positions.iter().map(f64::to_string).collect(),
        lines,
    }
}

/// Bars of the ratios to `base` in the largest group.
fn ingest(part: &Measured, base: &str, axis: &str) -> Option<Bars> {
    let base = part.find(base, names::STORED)?;
    let figures = part.group(&base.group).filter(|figure| figure.quantity == names::STORED);
    let bar = |figure: &Figure| {
        let colour = match figure.subject.as_str() {
            subject if subject.starts_with("floor") => 4,
            subject if subject.starts_with("server") => 0,
            _ => 2,
        };
        Some((figure.subject.clone(), figure.ratio_to(base)?, colour))
    };
    Some(Bars {
        title: base.group.clone(),
        axis: axis.to_owned(),
        marks: vec![1.0],
        bars: figures.filter_map(bar).collect(),
    })
}

/// Bars of the ratios to the smallest server.
fn flat(part: &Measured) -> Option<Bars> {
    let mut bars = Vec::new();
    for (quantity, colour) in names::MESSAGES.into_iter().zip(0..) {
        for figure in part.figures.iter().filter(|figure| figure.quantity == quantity) {
            let base = part.sibling(figure, figure.base.as_ref()?)?;
            if base.subject != figure.subject {
                bars.push((format!("{quantity}: {}", figure.subject), figure.ratio_to(base)?, colour));
            }
        }
    }
    Some(Bars {
        title: "Cost of a message by agencies and stored bets".to_owned(),
        axis: "time, as a ratio to a server with 10 agencies and few bets".to_owned(),
        marks: vec![0.8, 1.2],
        bars,
    })
}

/// Bars of bets a second.
fn distance(part: &Measured) -> Option<Bars> {
    let figures: Vec<&Figure> = part.figures.iter().filter(|figure| figure.quantity == names::STORED).collect();
    let bar = |figure: &&Figure| Some((figure.subject.clone(), figure.quartiles()?, 0));
    Some(Bars {
        title: "A client at a distance: round trip of 10 ms".to_owned(),
        axis: "1000 bets a second".to_owned(),
        marks: Vec::new(),
        bars: figures.iter().filter_map(bar).collect(),
    })
}
