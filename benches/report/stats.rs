//! Quartiles and ratios of samples.

/// The median and the quartiles of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter of the samples is below it.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// A quarter of the samples is above it.
    pub high: f64,
}

impl Quartiles {
    /// The quartiles of `samples`, with linear interpolation between two neighbours; `None` if there are no samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |part: f64| {
            let position = part * last as f64;
            let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
            below + (above - below) * position.fract()
        };
        Some(Self { low: at(0.25), median: at(0.5), high: at(0.75) })
    }
}

/// The ratio of each sample to the one that was measured in the same round.
pub fn ratios(samples: &[f64], base: &[f64]) -> Vec<f64> {
    samples.iter().zip(base).map(|(sample, base)| sample / base).collect()
}
