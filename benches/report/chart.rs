//! A drawing of bars or lines as SVG: light background, few colours, title, axes and units.

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::SegmentedCoord;
use plotters::coord::types::{RangedCoordf64, RangedCoordusize};
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

/// Lines over categories, such as sizes, with a logarithmic y axis.
pub struct Lines {
    /// Above the chart.
    pub title: String,
    /// Below the x axis and beside the y axis.
    pub axes: [String; 2],
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

/// The axes of lines, and of bars.
type LineChart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<SegmentedCoord<RangedCoordusize>, LogCoord<f64>>>;
type BarChart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, SegmentedCoord<RangedCoordusize>>>;

impl Lines {
    /// Draws the chart.
    pub fn draw(&self) -> Drawn {
        let values = || self.lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| value));
        let highest = values().map(|value| value.high).fold(f64::MIN_POSITIVE, f64::max) * 1.1;
        let lowest = values().map(|value| value.low).filter(|low| *low > 0.0).fold(highest, f64::min) / 1.5;
        draw(&self.title, HEIGHT, |area| {
            let mut builder = ChartBuilder::on(area);
            builder.caption(&self.title, font(TITLE_SIZE)).margin(14).x_label_area_size(48).y_label_area_size(72);
            let axes = (positions(self.categories.len()), (lowest..highest).log_scale());
            let mut chart = builder.build_cartesian_2d(axes.0, axes.1).map_err(failure)?;
            self.draw_axes(&mut chart)?;
            for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
                draw_line(&mut chart, (name, *colour), points)?;
            }
            let mut legend = chart.configure_series_labels();
            legend.position(self.legend_position()).background_style(WHITE.mix(0.85)).border_style(GRID);
            legend.label_font(font(LABEL_SIZE)).draw().map_err(failure)
        })
    }

    fn draw_axes(&self, chart: &mut LineChart<'_, '_>) -> Result<(), Failure> {
        let [x_title, y_title] = &self.axes;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().light_line_style(WHITE).bold_line_style(GRID).axis_style(INK);
        mesh.label_style(font(LABEL_SIZE)).x_desc(x_title).y_desc(y_title).x_labels(self.categories.len());
        let label = |x: &SegmentValue<usize>| match x {
            SegmentValue::CenterOf(position) => self.categories.get(*position).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        mesh.x_label_formatter(&label).y_label_formatter(&|y| number(*y)).draw().map_err(failure)
    }

    /// The upper corner where the lines are lower.
    fn legend_position(&self) -> SeriesLabelPosition {
        let sum = |last: bool| {
            let end =
                |points: &[(usize, Quartiles)]| if last { points.last().copied() } else { points.first().copied() };
            self.lines.iter().filter_map(|(_, points)| end(points)).map(|(_, value)| value.median).sum::<f64>()
        };
        if sum(false) < sum(true) { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::UpperRight }
    }
}

/// Draws a line through the medians, and a vertical one from quartile to quartile.
fn draw_line(
    chart: &mut LineChart<'_, '_>,
    (name, colour): (&str, RGBColor),
    points: &[(usize, Quartiles)],
) -> Result<(), Failure> {
    // A logarithmic axis has no zero.
    let shown = || points.iter().filter(|(_, value)| value.low > 0.0).copied();
    let at = |position: usize, value: f64| (SegmentValue::CenterOf(position), value);
    let style = colour.stroke_width(2);
    let line = LineSeries::new(shown().map(|(position, value)| at(position, value.median)), style);
    let drawn = chart.draw_series(line).map_err(failure)?;
    drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    let spread = |(position, value): (usize, Quartiles)| {
        PathElement::new([at(position, value.low), at(position, value.high)], colour)
    };
    chart.draw_series(shown().map(spread)).map_err(failure)?;
    let dot = |(position, value): (usize, Quartiles)| Circle::new(at(position, value.median), 4, colour.filled());
    chart.draw_series(shown().map(dot)).map_err(failure)?;
    Ok(())
}

impl Bars {
    /// Draws the chart.
    pub fn draw(&self) -> Drawn {
        let height = BARS_HEAD + BAR_HEIGHT * u32::try_from(self.bars.len()).map_err(|e| e.to_string())?;
        let values = self.bars.iter().map(|(_, value, _)| value.high).chain(self.marks.iter().copied());
        let highest = values.fold(f64::MIN_POSITIVE, f64::max) * 1.15;
        draw(&self.title, height, |area| {
            let mut builder = ChartBuilder::on(area);
            builder.caption(&self.title, font(TITLE_SIZE)).margin(14).x_label_area_size(48).y_label_area_size(330);
            let mut chart = builder.build_cartesian_2d(0.0..highest, positions(self.bars.len())).map_err(failure)?;
            self.draw_axes(&mut chart)?;
            (0..self.bars.len()).try_for_each(|at| self.draw_bar(&mut chart, at))?;
            let line = |mark: &f64| PathElement::new([(*mark, self.edge(0)), (*mark, SegmentValue::Last)], COLOURS[1]);
            chart.draw_series(self.marks.iter().map(line)).map_err(failure)?;
            Ok(())
        })
    }

    fn draw_axes(&self, chart: &mut BarChart<'_, '_>) -> Result<(), Failure> {
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().light_line_style(WHITE).bold_line_style(GRID).axis_style(INK);
        mesh.label_style(font(LABEL_SIZE)).x_desc(&self.axis).y_labels(self.bars.len());
        let label = |y: &SegmentValue<usize>| match y {
            SegmentValue::CenterOf(position) | SegmentValue::Exact(position) => {
                self.bars.iter().rev().nth(*position).map_or_else(String::new, |(label, ..)| label.clone())
            }
            SegmentValue::Last => String::new(),
        };
        mesh.y_label_formatter(&label).draw().map_err(failure)
    }

    /// Draws a bar, its whisker and its value. The first bar is the highest one on the page, where the axis ends.
    fn draw_bar(&self, chart: &mut BarChart<'_, '_>, at: usize) -> Result<(), Failure> {
        let (_, value, colour) = &self.bars[at];
        let position = self.bars.len() - 1 - at;
        let middle = || SegmentValue::CenterOf(position);
        let corners = [(0.0, self.edge(position)), (value.median, self.edge(position + 1))];
        let mut bar = Rectangle::new(corners, COLOURS[colour % COLOURS.len()].mix(0.75).filled());
        bar.set_margin(5, 5, 0, 0);
        chart.draw_series([bar]).map_err(failure)?;
        chart.draw_series([PathElement::new([(value.low, middle()), (value.high, middle())], INK)]).map_err(failure)?;
        let text = Text::new(number(value.median), (6, 0), font(LABEL_SIZE).pos(Pos::new(HPos::Left, VPos::Center)));
        chart.draw_series([EmptyElement::at((value.high, middle())) + text]).map_err(failure)?;
        Ok(())
    }

    /// The beginning of `position`, or the end of the axis.
    fn edge(&self, position: usize) -> SegmentValue<usize> {
        if position < self.bars.len() { SegmentValue::Exact(position) } else { SegmentValue::Last }
    }
}
