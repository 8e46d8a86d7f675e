//! `--format prometheus`: a text file for node_exporter's textfile collector. `--output` writes it whole or not at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::part::Metric;

/// Longest value of a label: job names and such are shorter, and a label is no place for a text.
const LABEL: usize = 200;

/// Renders figures: each name once with its help, the samples of a name together, no sample twice, nothing for what was
/// not measured.
pub fn text(metrics: &[Metric]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&Metric>> = BTreeMap::new();
    for metric in metrics.iter().filter(|metric| metric.value.is_some_and(f64::is_finite)) {
        let group = groups.entry(metric.name).or_insert_with(|| {
            order.push(metric.name);
            Vec::new()
        });
        // Two samples of one name and labels make the whole file invalid.
        if !group.iter().any(|known| known.labels == metric.labels) {
            group.push(metric);
        }
    }
    let mut out = String::new();
    for name in order {
        let Some(group) = groups.get(name) else { continue };
        let help = group.first().map_or("", |metric| metric.help).replace('\\', "\\\\").replace('\n', " ");
        let _ = writeln!(out, "# HELP healer_{name} {help}\n# TYPE healer_{name} gauge");
        for metric in group {
            let _ = write!(out, "healer_{name}");
            if !metric.labels.is_empty() {
                let labels: Vec<String> =
                    metric.labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
                let _ = write!(out, "{{{}}}", labels.join(","));
            }
            let _ = writeln!(out, " {}", metric.value.unwrap_or_default());
        }
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().take(LABEL) {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            // A carriage return would end the line for some readers.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_newlines_and_backslashes_in_a_label_are_escaped() {
        let metric = Metric::new("x", "a help", &[("job", "a \"b\"\nc\\d\r")], Some(1.5));
        let lines = text(&[metric]);
        assert_eq!(
            lines,
            "# HELP healer_x a help\n# TYPE healer_x gauge\nhealer_x{job=\"a \\\"b\\\"\\nc\\\\d \"} 1.5\n"
        );
    }

    #[test]
    fn what_was_not_measured_is_not_told_and_nothing_is_told_twice() {
        let metric = |value| Metric::new("x", "a help", &[("job", "a")], value);
        assert_eq!(text(&[metric(None), metric(Some(f64::NAN))]), "");
        assert_eq!(text(&[metric(Some(1.0)), metric(Some(2.0))]).lines().count(), 3);
    }

    #[test]
    fn samples_of_one_name_stand_together() {
        let metric = |name, job| Metric::new(name, "a help", &[("job", job)], Some(1.0));
        let lines = text(&[metric("x", "a"), metric("y", "a"), metric("x", "b")]);
        let names: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).map(|line| &line[..8]).collect();
        assert_eq!(names, ["healer_x", "healer_x", "healer_y"]);
    }
}
