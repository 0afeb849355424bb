//! Subjects that are measured in turn, round after round.

use crate::Result;
use crate::report::Figure;
use crate::stop::Stop;

/// The figures of one run of a subject, one for each quantity; not a number if the subject does not have it.
pub type Sample<const N: usize> = [f64; N];

/// A subject of a group: for example a server with a client.
pub struct Subject<'a, const N: usize> {
    name: String,
    point: Option<(String, f64)>,
    run: Box<dyn FnMut() -> Result<Sample<N>> + 'a>,
}

/// Subjects that are compared.
pub struct Group<'a, const N: usize> {
    title: String,
    /// Name and unit.
    quantities: [(&'static str, &'static str); N],
    base: Option<String>,
    subjects: Vec<Subject<'a, N>>,
}

impl<'a, const N: usize> Group<'a, N> {
    /// A group without subjects.
    pub fn new(title: String, quantities: [(&'static str, &'static str); N]) -> Self {
        Self { title, quantities, base: None, subjects: Vec::new() }
    }

    /// Compares all subjects with `base`.
    pub fn compared_with(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    /// Adds a subject.
    pub fn add(&mut self, name: impl Into<String>, run: impl FnMut() -> Result<Sample<N>> + 'a) {
        self.subjects.push(Subject { name: name.into(), point: None, run: Box::new(run) });
    }

    /// Adds a subject with its line and position in a plot.
    pub fn add_point(
        &mut self,
        name: impl Into<String>,
        (line, position): (&str, impl Into<f64>),
        run: impl FnMut() -> Result<Sample<N>> + 'a,
    ) {
        let point = Some((line.to_owned(), position.into()));
        self.subjects.push(Subject { name: name.into(), point, run: Box::new(run) });
    }

    /// Runs all subjects once without measuring, then `rounds` times.
    pub fn measure_warm(mut self, rounds: u32, stop: &Stop) -> Result<Vec<Figure>> {
        self.round(stop)?;
        self.measure(rounds, stop)
    }

    /// Runs all subjects `rounds` times.
    pub fn measure(mut self, rounds: u32, stop: &Stop) -> Result<Vec<Figure>> {
        let samples = (0..rounds).map(|_| self.round(stop)).collect::<Result<Vec<_>>>()?;
        let figures = self.subjects.iter().enumerate().flat_map(|(at, subject)| {
            let (samples, group) = (&samples, &self);
            (0..N).map(move |quantity| {
                let samples = samples.iter().map(|round| round[at][quantity]).collect();
                group.figure(subject, quantity, samples)
            })
        });
        Ok(figures.filter(|figure| figure.samples.iter().all(|sample| sample.is_finite())).collect())
    }

    fn round(&mut self, stop: &Stop) -> Result<Vec<Sample<N>>> {
        let run = |subject: &mut Subject<'a, N>| {
            stop.check()?;
            (subject.run)().map_err(|e| format!("{}: {e}", subject.name).into())
        };
        self.subjects.iter_mut().map(run).collect()
    }

    fn figure(&self, subject: &Subject<'a, N>, quantity: usize, samples: Vec<f64>) -> Figure {
        let (name, unit) = self.quantities[quantity];
        Figure {
            group: self.title.clone(),
            subject: subject.name.clone(),
            quantity: name.to_owned(),
            unit: unit.to_owned(),
            base: self.base.clone(),
            point: subject.point.clone(),
            samples,
        }
    }
}
