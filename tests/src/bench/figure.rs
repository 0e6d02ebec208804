//! A figure, and the report that prints the wanted ones.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is for another program in the same run: its name and the value.
    versus: Option<(&'static str, f64)>,
}

impl Figure {
    /// A time.
    pub fn millis(name: impl Into<String>, time: Duration) -> Self {
        Self { name: name.into(), value: time.as_secs_f64() * 1_000.0, unit: "ms", versus: None }
    }

    /// How many times as much as something else.
    pub fn ratio(name: impl Into<String>, ratio: f64) -> Self {
        Self { name: name.into(), value: ratio, unit: RATIO, versus: None }
    }

    /// A number of something.
    pub fn count(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, versus: None }
    }

    /// A share of one core.
    pub fn percent(name: impl Into<String>, share: f64) -> Self {
        Self { name: name.into(), value: share * 100.0, unit: "%", versus: None }
    }

    /// Beside it, the same of another program in the same run.
    pub fn versus(self, whom: &'static str, other: &Self) -> Self {
        Self { versus: Some((whom, other.value)), ..self }
    }

    /// A size, in bytes.
    pub fn bytes(name: impl Into<String>, bytes: f64) -> Self {
        Self { name: name.into(), value: bytes, unit: "B", versus: None }
    }

    /// A size, in millions of bytes.
    pub fn megabytes(name: impl Into<String>, bytes: f64) -> Self {
        Self { name: name.into(), value: bytes / 1e6, unit: "MB", versus: None }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.unit == RATIO { 2 } else { 1 };
        write!(f, "figure {} {:.digits$} {}", self.name, self.value, self.unit)?;
        match self.versus {
            Some((whom, value)) => write!(f, " vs {whom} {value:.1} {}", self.unit),
            None => Ok(()),
        }
    }
}

/// Times of one thing, measured again and again.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// The one in the middle; the later of two.
    pub fn median(&self) -> Duration {
        self.at(self.0.len() / 2)
    }

    /// Of 99 %: the greatest, unless there are more than a hundred.
    pub fn p99(&self) -> Duration {
        self.at((self.0.len() * 99).div_ceil(100).saturating_sub(1))
    }

    /// The shortest.
    pub fn least(&self) -> Duration {
        self.at(0)
    }

    /// The longest.
    pub fn greatest(&self) -> Duration {
        self.at(self.0.len().saturating_sub(1))
    }

    fn at(&self, position: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(position).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

impl Extend<Duration> for Samples {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

/// Where figures and progress go.
pub struct Report<'a> {
    only: String,
    figures: &'a mut dyn Write,
    progress: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    /// A report of the figures whose names begin with `only`.
    pub fn new(only: impl Into<String>, figures: &'a mut dyn Write, progress: &'a mut dyn Write) -> Self {
        Self { only: only.into(), figures, progress }
    }

    /// Whether one of these names is wanted, so that measuring is worth it.
    pub fn wants<S: AsRef<str>>(&self, names: &[S]) -> bool {
        names.iter().any(|name| name.as_ref().starts_with(&self.only))
    }

    /// Prints the figure if it is wanted.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn give(&mut self, figure: &Figure) -> io::Result<()> {
        if !self.wants(&[&figure.name]) {
            return Ok(());
        }
        writeln!(self.figures, "{figure}")?;
        self.figures.flush()
    }

    /// Says what is going on.
    pub fn say(&mut self, text: &str) {
        // Progress that nobody sees is no reason to stop.
        let _ = writeln!(self.progress, "bench: {text}");
    }
}

const RATIO: &str = "times";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_p99_near_the_end() {
        let of = |n: u64| (1..=n).rev().map(Duration::from_millis).collect::<Samples>();
        for (n, median, p99) in [(0, 0, 0), (1, 1, 1), (10, 6, 10), (20, 11, 20), (200, 101, 198)] {
            let samples = of(n);
            let millis = (samples.median().as_millis(), samples.p99().as_millis());
            assert_eq!(millis, (median, p99), "{n}");
        }
    }

    #[test]
    fn only_wanted_figures_are_printed() {
        let (mut figures, mut progress) = (Vec::new(), Vec::new());
        let mut report = Report::new("a_", &mut figures, &mut progress);
        assert!(report.wants(&["b", "a_1"]));
        assert!(!report.wants(&["b"]));
        report.give(&Figure::millis("a_1", Duration::from_micros(1_260))).unwrap();
        report.give(&Figure::megabytes("b", 1.0)).unwrap();
        let other = Figure::millis("", Duration::from_millis(62));
        report.give(&Figure::millis("a_2", Duration::from_millis(2)).versus("other", &other)).unwrap();
        report.give(&Figure::percent("a_3", 0.0284)).unwrap();
        let printed = String::from_utf8(figures).unwrap();
        assert_eq!(printed, "figure a_1 1.3 ms\nfigure a_2 2.0 ms vs other 62.0 ms\nfigure a_3 2.8 %\n");
    }
}
