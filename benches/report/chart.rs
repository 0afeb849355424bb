//! A drawing of bars or lines as SVG: light background, few colours, title, axes and units.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, SegmentedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordusize;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::stats::Quartiles;
use super::table::number;

const WIDTH: u32 = 900;
/// Height of a chart of lines; of a bar, and of the rest of its chart.
const HEIGHT: u32 = 480;
const BAR_HEIGHT: u32 = 30;
const BARS_HEAD: u32 = 110;
const INK: RGBColor = RGBColor(40, 44, 52);
const GRID: RGBColor = RGBColor(222, 224, 228);
/// Colours that are distinct for most colour-blind readers, too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(130, 130, 130),
];
const FONT: &str = "sans-serif";
const TITLE_SIZE: u32 = 20;
const LABEL_SIZE: u32 = 14;

/// The whole drawing.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A drawing that failed. A string as the target cannot fail, so this is an error of this module.
type Failure = String;

/// A chart, as text of an SVG file.
pub type Drawn = Result<String, String>;

fn failure(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// An axis with `count` positions, each as wide as a bar.
fn positions(count: usize) -> SegmentedCoord<RangedCoordusize> {
    // The range includes its end.
    (0..count.saturating_sub(1)).into_segmented()
}

/// The beginning of `position` on such an axis, or the end of the axis.
fn end(position: usize, count: usize) -> SegmentValue<usize> {
    if position < count { SegmentValue::Exact(position) } else { SegmentValue::Last }
}

/// Draws on white, and adds `title` for those who hear the page.
fn draw(title: &str, height: u32, content: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Drawn {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE).map_err(failure)?;
    content(&area)?;
    area.present().map_err(failure)?;
    drop(area);
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    Ok(svg.replacen(">\n", &format!(">\n<title>{title}</title>\n"), 1))
}

/// Lines over categories, such as sizes.
pub struct Lines {
    /// Above the chart.
    pub title: String,
    /// Below the x axis and beside the y axis.
    pub axes: [String; 2],
    /// Whether the y axis is logarithmic.
    pub logarithmic: bool,
    /// Labels of the x axis.
    pub categories: Vec<String>,
    /// Name and points of each line: position in the categories, and value.
    pub lines: Vec<(String, Vec<(usize, Quartiles)>)>,
}

/// Horizontal bars, with whiskers from the low to the high quartile.
pub struct Bars {
    /// Above the chart.
    pub title: String,
    /// Below the x axis.
    pub axis: String,
    /// Vertical lines, for example at the goal.
    pub marks: Vec<f64>,
    /// Label and value of each bar, and the number of its colour.
    pub bars: Vec<(String, Quartiles, usize)>,
}

impl Lines {
    /// Draws the chart.
    pub fn draw(&self) -> Drawn {
        let values = || self.lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| value));
        let highest = values().map(|value| value.high).fold(0.0, f64::max) * 1.1;
        let lowest = values().map(|value| value.low).filter(|low| *low > 0.0).fold(highest, f64::min) / 1.5;
        draw(&self.title, HEIGHT, |area| {
            if self.logarithmic {
                self.draw_with(area, (lowest..highest).log_scale())
            } else {
                self.draw_with(area, 0.0..highest)
            }
        })
    }

    fn draw_with<Y: AsRangedCoord<Value = f64>>(&self, area: &Area<'_>, y: Y) -> Result<(), Failure>
    where
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let x = positions(self.categories.len());
        let mut builder = ChartBuilder::on(area);
        builder.caption(&self.title, font(TITLE_SIZE)).margin(14).x_label_area_size(48).y_label_area_size(72);
        let mut chart = builder.build_cartesian_2d(x, y).map_err(failure)?;
        let [x_title, y_title] = &self.axes;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(LABEL_SIZE))
            .x_labels(self.categories.len())
            .x_label_formatter(&|x| match x {
                SegmentValue::CenterOf(position) => self.categories.get(*position).cloned().unwrap_or_default(),
                _ => String::new(),
            })
            .y_label_formatter(&|y| number(*y))
            .x_desc(x_title)
            .y_desc(y_title)
            .draw()
            .map_err(failure)?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let at = |position: usize, value: f64| (SegmentValue::CenterOf(position), value);
            let style = colour.stroke_width(2);
            let line = points.iter().map(|(position, value)| at(*position, value.median));
            let drawn = chart.draw_series(LineSeries::new(line, style)).map_err(failure)?;
            drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            let spreads = points.iter().map(|(position, value)| {
                PathElement::new([at(*position, value.low.max(f64::MIN_POSITIVE)), at(*position, value.high)], *colour)
            });
            chart.draw_series(spreads).map_err(failure)?;
            let dots = points.iter().map(|(position, value)| Circle::new(at(*position, value.median), 4, colour.filled()));
            chart.draw_series(dots).map_err(failure)?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(self.legend_position()).background_style(WHITE.mix(0.85)).border_style(GRID);
        legend.label_font(font(LABEL_SIZE)).draw().map_err(failure)
    }

    /// The upper corner where the lines are lower.
    fn legend_position(&self) -> SeriesLabelPosition {
        let sum = |last: bool| {
            let end = |points: &[(usize, Quartiles)]| if last { points.last().copied() } else { points.first().copied() };
            self.lines.iter().filter_map(|(_, points)| end(points)).map(|(_, value)| value.median).sum::<f64>()
        };
        if sum(false) < sum(true) {
            SeriesLabelPosition::UpperLeft
        } else {
            SeriesLabelPosition::UpperRight
        }
    }
}

impl Bars {
    /// Draws the chart.
    pub fn draw(&self) -> Drawn {
        let height = BARS_HEAD + BAR_HEIGHT * u32::try_from(self.bars.len()).map_err(|e| e.to_string())?;
        draw(&self.title, height, |area| self.draw_on(area))
    }

    fn draw_on(&self, area: &Area<'_>) -> Result<(), Failure> {
        let values = self.bars.iter().map(|(_, value, _)| value.high).chain(self.marks.iter().copied());
        let highest = values.fold(0.0, f64::max) * 1.15;
        // The first bar is the highest one on the page, where the axis has its last position.
        let count = self.bars.len();
        let mut builder = ChartBuilder::on(area);
        builder.caption(&self.title, font(TITLE_SIZE)).margin(14).x_label_area_size(48).y_label_area_size(330);
        let mut chart = builder.build_cartesian_2d(0.0..highest, positions(count)).map_err(failure)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font(LABEL_SIZE))
            .y_labels(count)
            .y_label_formatter(&|y| match y {
                SegmentValue::CenterOf(position) | SegmentValue::Exact(position) => {
                    count.checked_sub(position + 1).map_or_else(String::new, |at| self.bars[at].0.clone())
                }
                SegmentValue::Last => String::new(),
            })
            .x_desc(&self.axis)
            .draw()
            .map_err(failure)?;
        for (at, (_, value, colour)) in self.bars.iter().enumerate() {
            let position = count - 1 - at;
            let (middle, colour) = (SegmentValue::CenterOf(position), COLOURS[colour % COLOURS.len()]);
            let corners = [(0.0, SegmentValue::Exact(position)), (value.median, end(position + 1, count))];
            let mut bar = Rectangle::new(corners, colour.mix(0.75).filled());
            bar.set_margin(5, 5, 0, 0);
            chart.draw_series([bar]).map_err(failure)?;
            chart.draw_series([PathElement::new([(value.low, middle.clone()), (value.high, middle.clone())], INK)]).map_err(failure)?;
            let text = font(LABEL_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
            let beside = EmptyElement::at((value.high, middle)) + Text::new(number(value.median), (6, 0), text);
            chart.draw_series([beside]).map_err(failure)?;
        }
        for mark in &self.marks {
            let ends = [(*mark, end(0, count)), (*mark, SegmentValue::Last)];
            chart.draw_series([PathElement::new(ends, COLOURS[1])]).map_err(failure)?;
        }
        Ok(())
    }
}
