//! Sparklines: a row of small bars, one for each step of time.

/// The bars, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws values as bars between 0 and the largest; what was not measured is a gap, and zero is the lowest bar.
pub fn line(values: &[Option<f64>]) -> String {
    let most = values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    values
        .iter()
        .map(|value| match value {
            Some(value) if value.is_finite() => bar(value.max(0.0), most),
            _ => '·',
        })
        .collect()
}

fn bar(value: f64, most: f64) -> char {
    if most <= 0.0 || value <= 0.0 {
        return BARS[0];
    }
    // What is not zero never looks like zero.
    let place = (1_u8..7).rev().find(|step| value / most * 7.0 >= f64::from(*step) + 0.5);
    if value >= most { BARS[7] } else { BARS[usize::from(place.unwrap_or(1))] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_low_the_largest_is_high_and_a_gap_is_a_gap() {
        assert_eq!(line(&[Some(0.0), Some(0.1), Some(50.0), None, Some(100.0)]), "▁▂▄·█");
        assert_eq!(line(&[Some(0.0), None]), "▁·");
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[Some(f64::NAN), Some(-1.0), Some(f64::INFINITY)]), "·▁·");
    }

    proptest::proptest! {
        #[test]
        fn a_line_has_as_many_bars_as_values(values in proptest::collection::vec(proptest::option::of(proptest::num::f64::ANY), 0..60)) {
            proptest::prop_assert_eq!(line(&values).chars().count(), values.len());
        }
    }
}
