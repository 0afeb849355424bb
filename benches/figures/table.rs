//! Tables of figures: one server against another.

/// One line per figure: the medians of both `sides`, then median, lowest and highest of the pairs' ratios.
pub fn table<const N: usize>(
    title: &str,
    [first, second]: [&str; 2],
    figures: [&str; N],
    pairs: &[[[f64; N]; 2]],
) -> String {
    let head = ["median of each", first, second, "ratio", "lowest", "highest"];
    let mut text = format!("\n{title}\n{}", line(head.map(str::to_owned)));
    for (i, figure) in figures.into_iter().enumerate() {
        let [first, second] = [0, 1].map(|side| median(pairs.iter().map(|pair| pair[side][i])));
        let ratios = || pairs.iter().map(|[first, second]| first[i] / second[i]);
        let (lowest, highest) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
        let [first, second] = [first, second].map(|value| format!("{value:.1}"));
        let [ratio, lowest, highest] = [median(ratios()), lowest, highest].map(|ratio| format!("{ratio:.2}"));
        text += &line([figure.to_owned(), first, second, ratio, lowest, highest]);
    }
    text
}

fn line([figure, first, second, ratio, lowest, highest]: [String; 6]) -> String {
    format!("  {figure:<34}{first:>10}{second:>10}{ratio:>9}{lowest:>9}{highest:>9}\n")
}

/// The median of `values`, of which there is at least one.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
