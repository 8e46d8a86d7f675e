//! Pictures as SVG: bars and lines over the same steps, with a limit and with intervals where there are any.
//!
//! Drawn by hand, not by a library: its colours are classes that the page's style gives a light and a dark meaning, its
//! texts are real texts, and below each picture stands the same as a table for those who cannot see it.

use std::fmt::Write as _;

use super::html::escape;
use super::part::Block;

/// Width of a picture in its own units: a narrow telephone shows it without making letters too small.
const WIDTH: f64 = 360.0;
/// Its height.
const HEIGHT: f64 = 170.0;
/// Room for the numbers of the axis.
const LEFT: f64 = 42.0;
/// Room at the right.
const RIGHT: f64 = 8.0;
/// Room above.
const TOP: f64 = 8.0;
/// Room for the labels below.
const BOTTOM: f64 = 22.0;
/// Series that are told apart by colour; more share the colours again.
const COLOURS: usize = 6;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bars that stand on each other.
    Bars,
    /// Lines, with a band around them where an interval is known.
    Lines,
    /// Points with their intervals, one for each label.
    Points,
}

/// One series.
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// One value for each label; what was not measured is a gap.
    pub values: Vec<Option<f64>>,
    /// From and to of each, where that is known; an infinite end is one that is not known.
    pub bands: Vec<Option<(f64, f64)>>,
    /// A meaning that has a colour of its own: `ok`, `warning`, `critical`.
    pub tone: Option<&'static str>,
}

impl Series {
    /// A series of values.
    pub fn new(name: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), values, bands: Vec::new(), tone: None }
    }

    /// The same with a meaning.
    #[must_use]
    pub fn toned(mut self, tone: &'static str) -> Self {
        self.tone = Some(tone);
        self
    }
}

/// One picture.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What the numbers are: `posts`, `s`, `%`.
    pub unit: &'static str,
    /// One label for each step.
    pub labels: Vec<String>,
    /// What is drawn.
    pub kind: Kind,
    /// The series.
    pub series: Vec<Series>,
    /// A line that must not be crossed, and what it is.
    pub limit: Option<(String, f64)>,
}

/// Letters of a label that stand in a row below a step of the picture, as wide as they usually are.
const LETTER: f64 = 5.6;
/// Room for labels that stand askew because they have none in a row: for the longest, of wide letters.
const ASKEW: f64 = 72.0;
/// Letters of a label that are shown.
const LABEL: usize = 18;

/// How far above the highest number an interval without an end is drawn.
const OPEN: f64 = 1.25;

/// From where to where the axis goes: from 0, where nothing is below it.
#[derive(Debug, Clone, Copy)]
struct Axis {
    floor: f64,
    top: f64,
}

impl Axis {
    /// Where a value stands in the picture.
    fn at(self, value: f64) -> f64 {
        let share = ((value - self.floor) / (self.top - self.floor)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }

    /// The values that have a number: both ends, and the middle or 0.
    fn marks(self) -> [f64; 3] {
        [self.floor, if self.floor < 0.0 { 0.0 } else { self.top / 2.0 }, self.top]
    }
}

/// The next round number that is not below a value.
fn ceiling(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
}

/// A number as short as it can be read.
pub fn short(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 1e9 => return format!("{:.1}G", value / 1e9),
        v if v >= 1e6 => return format!("{:.1}M", value / 1e6),
        v if v >= 1e4 => return format!("{:.0}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

impl Chart {
    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() || self.series.iter().all(|series| series.values.iter().flatten().next().is_none())
    }

    /// The picture, or where it would be empty why it is.
    pub fn or(self, why: &str) -> Block {
        if self.is_empty() { Block::NoChart(self.title, why.to_owned()) } else { Block::Chart(self) }
    }

    fn range(&self) -> Axis {
        let mut least = 0.0_f64;
        let mut most = self.limit.as_ref().map_or(0.0, |(_, limit)| *limit);
        if self.kind == Kind::Bars {
            for step in 0..self.labels.len() {
                let sum: f64 = self.series.iter().filter_map(|series| series.values.get(step).copied().flatten()).sum();
                most = most.max(sum);
            }
        } else {
            for series in &self.series {
                let values = series.values.iter().flatten().copied();
                let bands = series.bands.iter().flatten().flat_map(|(low, high)| [*low, *high]);
                for value in values.chain(bands).filter(|value| value.is_finite()) {
                    (least, most) = (least.min(value), most.max(value));
                }
            }
            // What has no end goes out of the picture: some of it must be seen above all others.
            if self
                .series
                .iter()
                .flat_map(|series| series.bands.iter().flatten())
                .any(|(_, high)| *high == f64::INFINITY)
            {
                most *= OPEN;
            }
        }
        Axis { floor: if least < 0.0 { -ceiling(-least) } else { 0.0 }, top: ceiling(most) }
    }

    /// Whether every label is shown, and too wide to stand in a row.
    fn askew(&self) -> bool {
        let every = match self.kind {
            Kind::Points => true,
            Kind::Bars => self.labels.len() <= 12,
            Kind::Lines => false,
        };
        every && self.labels.iter().any(|label| label.chars().count().min(LABEL) as f64 * LETTER > self.step())
            // What can be counted on (days, hours) is understood from three of its labels.
            && self.labels.iter().any(|label| label.chars().next().is_some_and(char::is_alphabetic))
    }

    /// Whether most of what is drawn where the limit's name stands, at the right, is above the limit: then the name goes
    /// below the line, where there is room for it.
    fn stays_above(&self, limit: f64) -> bool {
        let right = self.labels.len() / 2;
        let values = self.series.iter().flat_map(|series| series.values.iter().skip(right).flatten());
        let (above, all) = values.fold((0, 0), |(above, all), value| (above + usize::from(*value > limit), all + 1));
        2 * above > all
    }

    /// How tall the picture is.
    fn tall(&self) -> f64 {
        if self.askew() { HEIGHT + ASKEW - BOTTOM } else { HEIGHT }
    }

    /// The picture, its legend, and its figures, as HTML.
    pub fn html(&self) -> String {
        let mut out = String::from("<figure class=\"chart\">\n");
        let _ = writeln!(out, "<figcaption>{}</figcaption>", escape(&self.title));
        let top = self.range();
        let tall = self.tall();
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {tall}\" role=\"img\" aria-label=\"{}\" fill=\"currentColor\">",
            escape(&self.words())
        );
        self.axis(&mut out, top);
        match self.kind {
            Kind::Bars => self.bars(&mut out, top),
            Kind::Lines => self.lines(&mut out, top),
            Kind::Points => self.points(&mut out, top),
        }
        if let Some((name, limit)) = &self.limit {
            let y = top.at(*limit);
            let _ = writeln!(
                out,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>\
                 <text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\">{}</text>",
                WIDTH - RIGHT,
                WIDTH - RIGHT,
                if self.stays_above(*limit) { y + 11.0 } else { (y - 3.0).max(10.0) },
                escape(name)
            );
        }
        out.push_str("</svg>\n");
        self.legend(&mut out);
        self.figures(&mut out);
        out.push_str("</figure>\n");
        out
    }

    /// What a screen reader says of it.
    fn words(&self) -> String {
        let mut words = format!("{}, in {}.", self.title, self.unit);
        for series in &self.series {
            let values: Vec<f64> = series.values.iter().flatten().copied().collect();
            if let (Some(last), Some(most)) = (values.last(), values.iter().copied().reduce(f64::max)) {
                let _ = write!(words, " {}: last {}, at most {}.", series.name, short(*last), short(most));
            }
        }
        words
    }

    fn axis(&self, out: &mut String, top: Axis) {
        for mark in top.marks() {
            let y = top.at(mark);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-opacity=\"0.15\"/>\
                 <text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 5.0,
                y + 3.5,
                escape(&short(mark))
            );
        }
        if self.askew() {
            for (place, label) in self.labels.iter().enumerate() {
                let (x, y) = (self.middle(place) + 3.0, HEIGHT - BOTTOM + 10.0);
                let label: String = label.chars().take(LABEL).collect();
                let _ = writeln!(
                    out,
                    "<text class=\"small\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" font-size=\"9\" transform=\"rotate(-35 {x:.1} {y:.1})\">{}</text>",
                    escape(&label)
                );
            }
            return;
        }
        // First, middle and last: more would run into each other on a telephone.
        let count = self.labels.len();
        let places: Vec<usize> = match (self.kind, count) {
            (_, 0) => Vec::new(),
            (Kind::Points, count) if count <= 8 => (0..count).collect(),
            (Kind::Bars, count) if count <= 5 => (0..count).collect(),
            (Kind::Points, count) => (0..count).step_by(count.div_ceil(8)).collect(),
            (_, 1) => vec![0],
            (_, 2) => vec![0, 1],
            (_, count) => vec![0, count / 2, count - 1],
        };
        for place in places {
            let anchor = match (self.kind, place) {
                (Kind::Points, _) => "middle",
                (Kind::Bars, _) if count <= 5 => "middle",
                (_, 0) => "start",
                (_, place) if place + 1 == count => "end",
                _ => "middle",
            };
            let label: String = self.labels[place].chars().take(14).collect();
            let _ = writeln!(
                out,
                "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"10\">{}</text>",
                match anchor {
                    "start" => LEFT,
                    "end" => WIDTH - RIGHT,
                    _ => self.middle(place),
                },
                HEIGHT - 6.0,
                escape(&label)
            );
        }
    }

    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.labels.len().max(1) as f64
    }

    fn middle(&self, place: usize) -> f64 {
        LEFT + (place as f64 + 0.5) * self.step()
    }

    fn bars(&self, out: &mut String, top: Axis) {
        let width = (self.step() * 0.8).max(0.8);
        for place in 0..self.labels.len() {
            let mut below = 0.0;
            for (number, series) in self.series.iter().enumerate() {
                let Some(value) = series.values.get(place).copied().flatten().filter(|value| *value > 0.0) else {
                    continue;
                };
                let (y, base) = (top.at(below + value), top.at(below));
                // What is there is seen, however small beside the others.
                let tall = (base - y).max(1.0);
                let _ = writeln!(
                    out,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\"><title>{} {}: {}</title></rect>",
                    class(number, series),
                    self.middle(place) - width / 2.0,
                    base - tall,
                    escape(&self.labels[place]),
                    escape(&series.name),
                    short(value)
                );
                below += value;
            }
        }
    }

    fn lines(&self, out: &mut String, top: Axis) {
        for (number, series) in self.series.iter().enumerate() {
            let class = class(number, series);
            let mut upper = String::new();
            let mut lower = Vec::new();
            for (place, band) in series.bands.iter().enumerate().take(self.labels.len()) {
                if let Some((low, high)) = band {
                    let x = self.middle(place);
                    let _ = write!(upper, "{x:.1},{:.1} ", top.at(*high));
                    lower.push(format!("{x:.1},{:.1}", top.at(*low)));
                }
            }
            if !lower.is_empty() {
                lower.reverse();
                let _ = writeln!(
                    out,
                    "<polygon class=\"{class} band\" fill-opacity=\"0.2\" points=\"{upper}{}\"/>",
                    lower.join(" ")
                );
            }
            // A gap breaks the line: what was not measured is not drawn as if it had been.
            let mut piece: Vec<(f64, f64)> = Vec::new();
            let mut pieces = Vec::new();
            for place in 0..self.labels.len() {
                match series.values.get(place).copied().flatten().filter(|value| value.is_finite()) {
                    Some(value) => piece.push((self.middle(place), top.at(value))),
                    None => pieces.push(std::mem::take(&mut piece)),
                }
            }
            pieces.push(piece);
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                if let [(x, y)] = piece.as_slice() {
                    let _ = writeln!(out, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
                    continue;
                }
                let points: Vec<String> = piece.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let _ = writeln!(
                    out,
                    "<polyline class=\"{class} line\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.8\"{} points=\"{}\"/>",
                    if dashed(number, series) { " stroke-dasharray=\"5 3\"" } else { "" },
                    points.join(" ")
                );
            }
        }
    }

    fn points(&self, out: &mut String, top: Axis) {
        let shift = self.step() / (self.series.len() + 1) as f64;
        for (number, series) in self.series.iter().enumerate() {
            let class = class(number, series);
            for place in 0..self.labels.len() {
                let x = self.middle(place) + shift * (number as f64 - (self.series.len() as f64 - 1.0) / 2.0);
                if let Some((low, high)) = series.bands.get(place).copied().flatten() {
                    let _ = writeln!(
                        out,
                        "<line class=\"{class} line\" stroke=\"currentColor\" stroke-width=\"2\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                        top.at(low),
                        top.at(high)
                    );
                    if high == f64::INFINITY {
                        let y = top.at(high);
                        let _ = writeln!(
                            out,
                            "<polyline class=\"{class} line\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" points=\"{:.1},{:.1} {x:.1},{y:.1} {:.1},{:.1}\"/>",
                            x - 4.0,
                            y + 6.0,
                            x + 4.0,
                            y + 6.0
                        );
                    }
                }
                if let Some(value) = series.values.get(place).copied().flatten() {
                    let _ = writeln!(
                        out,
                        "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\"><title>{} {}: {}</title></circle>",
                        top.at(value),
                        escape(&self.labels[place]),
                        escape(&series.name),
                        reading(value, series.bands.get(place).copied().flatten())
                    );
                }
            }
        }
    }

    fn legend(&self, out: &mut String) {
        if self.series.len() < 2 {
            return;
        }
        out.push_str("<ul class=\"legend\">");
        for (number, series) in self.series.iter().enumerate() {
            let _ = write!(
                out,
                "<li><span class=\"key {}{}\"></span>{}</li>",
                class(number, series),
                if dashed(number, series) { " hollow" } else { "" },
                escape(&series.name)
            );
        }
        out.push_str("</ul>\n");
    }

    fn figures(&self, out: &mut String) {
        let _ = write!(
            out,
            "<details><summary>figures ({})</summary><div class=\"wide\"><table><thead><tr><th></th>",
            escape(self.unit)
        );
        for series in &self.series {
            let _ = write!(out, "<th>{}</th>", escape(&series.name));
        }
        out.push_str("</tr></thead><tbody>");
        for (place, label) in self.labels.iter().enumerate() {
            let _ = write!(out, "<tr><th>{}</th>", escape(label));
            for series in &self.series {
                let value = series.values.get(place).copied().flatten();
                let band = series.bands.get(place).copied().flatten();
                let text = value.map_or_else(|| "–".into(), |value| reading(value, band));
                let _ = write!(out, "<td>{text}</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div></details>\n");
    }
}

/// A number with its interval, as one reads it.
fn reading(value: f64, band: Option<(f64, f64)>) -> String {
    match band {
        Some((low, high)) if high == f64::INFINITY => format!("{} ({} or more)", short(value), short(low)),
        Some((low, high)) => format!("{} ({} to {})", short(value), short(low), short(high)),
        None => short(value),
    }
}

fn class(number: usize, series: &Series) -> String {
    series.tone.map_or_else(|| format!("c{}", number % COLOURS), |tone| format!("t-{tone}"))
}

/// Whether a series shares its colour with an earlier one: its line is dashed, and its key hollow.
fn dashed(number: usize, series: &Series) -> bool {
    series.tone.is_none() && (number / COLOURS) % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: Kind, values: &[Option<f64>]) -> Chart {
        let labels = (0..values.len()).map(|n| format!("<{n}>")).collect();
        let mut series = Series::new("a & b", values.to_vec());
        series.bands = values.iter().map(|value| value.map(|value| (value * 0.5, value * 2.0))).collect();
        Chart { title: "t".into(), unit: "posts", labels, kind, series: vec![series.clone(), series], limit: None }
    }

    #[test]
    fn the_axis_ends_at_a_round_number() {
        for (value, end) in
            [(0.0, 1.0), (1.0, 1.0), (3.0, 3.0), (11.0, 20.0), (0.045, 0.05), (290.0, 300.0), (f64::NAN, 1.0)]
        {
            assert!((ceiling(value) - end).abs() < 1e-12, "{value}");
        }
        assert_eq!(short(1_234_567.0), "1.2M");
        assert_eq!(short(10.0), "10");
        assert_eq!(short(0.25), "0.25");
    }

    #[test]
    fn what_is_below_zero_is_drawn_below_the_line_of_zero() {
        let told = chart(Kind::Points, &[Some(-10.0), Some(40.0)]);
        let axis = told.range();
        assert!((axis.floor + 20.0).abs() < 1e-9 && (axis.top - 80.0).abs() < 1e-9, "{axis:?}");
        assert!(axis.at(-10.0) > axis.at(0.0) && axis.at(0.0) > axis.at(40.0));
        assert!(told.html().contains(">-20</text>") && told.html().contains(">0</text>"));
        assert!(chart(Kind::Points, &[Some(10.0)]).range().floor.abs() < f64::EPSILON, "the axis begins at 0");
    }

    #[test]
    fn labels_that_have_no_room_in_a_row_stand_askew_and_all_of_them_stand() {
        let of = |labels: &[&str]| Chart {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..chart(Kind::Points, &vec![Some(1.0); labels.len()])
        };
        let jobs = ["archive_export", "peer_scraper", "trend_refresh", "metrics_scraper", "reply_posting", "posting"];
        let askew = of(&jobs);
        assert!(askew.tall() > HEIGHT);
        for job in jobs {
            assert_eq!(askew.html().matches(&format!(">{job}</text>")).count(), 1, "{job}");
        }
        let row = of(&["single", "thread"]);
        assert!((row.tall() - HEIGHT).abs() < f64::EPSILON && !row.html().contains("rotate"));
    }

    #[test]
    fn series_that_share_a_colour_are_told_apart() {
        let many = Chart {
            series: (0..8).map(|n| Series::new(format!("s{n}"), vec![Some(1.0), Some(2.0)])).collect(),
            ..chart(Kind::Lines, &[Some(1.0), Some(2.0)])
        };
        let html = many.html();
        assert_eq!(html.matches("stroke-dasharray").count(), 2, "the seventh and the eighth");
        assert_eq!(html.matches(" hollow\"").count(), 2);
    }

    #[test]
    fn an_interval_without_an_end_leaves_the_picture_and_is_told_in_words() {
        let mut open = chart(Kind::Points, &[Some(5.0), Some(2.0)]);
        open.series.truncate(1);
        open.series[0].bands = vec![Some((3.0, f64::INFINITY)), Some((1.0, 4.0))];
        let html = open.html();
        assert!(html.contains("5 (3 or more)") && html.contains("2 (1 to 4)"), "{html}");
        assert!(!html.contains("inf") && !html.contains("NaN"), "{html}");
        assert_eq!(html.matches("<polyline").count(), 1, "one arrow: {html}");
        assert!(open.range().top > 5.0, "there is room above the middle");
        open.series[0].bands[0] = Some((3.0, 5.0));
        assert!((open.range().top - 5.0).abs() < 1e-9 && !open.html().contains("<polyline"));
    }

    #[test]
    fn the_name_of_a_limit_stands_where_it_crosses_no_line() {
        let name = |values: &[Option<f64>]| {
            let limited = Chart { limit: Some(("limit".into(), 50.0)), ..chart(Kind::Lines, values) };
            let html = limited.html();
            let place = html.split("text-anchor=\"end\" font-size=\"10\">limit<").next().expect("its name");
            let y: f64 = place.rsplit("y=\"").next().and_then(|y| y.split('"').next()?.parse().ok()).expect("a place");
            y - limited.range().at(50.0)
        };
        assert!(name(&[Some(10.0), Some(95.0)]) > 0.0, "below the line where the values are above it");
        assert!(name(&[Some(95.0), Some(10.0)]) < 0.0);
        assert!(name(&[Some(95.0), None, Some(10.0), None]) < 0.0, "what was not measured has no say");
    }

    #[test]
    fn a_picture_of_nothing_is_a_sentence() {
        let none = chart(Kind::Lines, &[None, None]);
        assert!(matches!(none.or("no word"), Block::NoChart(title, why) if title == "t" && why == "no word"));
        assert!(matches!(chart(Kind::Lines, &[Some(0.0)]).or("no word"), Block::Chart(_)));
    }

    proptest::proptest! {
        #[test]
        fn no_picture_holds_what_is_no_number_or_a_bare_bracket(values in proptest::collection::vec(proptest::option::of(-1e12..1e12_f64), 0..40)) {
            for kind in [Kind::Bars, Kind::Lines, Kind::Points] {
                let html = chart(kind, &values).html();
                proptest::prop_assert!(!html.contains("NaN") && !html.contains("inf\""));
                proptest::prop_assert!(!html.contains("<0>") && !html.contains("a & b"));
            }
        }
    }
}
