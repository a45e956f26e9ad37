//! Small drawings of how values are spread: one path for a histogram, one bar for a few values.
//!
//! They repeat what stands beside them, so that readers of text lose nothing.

use std::fmt::Write as _;

const WIDTH: u64 = 120;
const HEIGHT: u64 = 28;
/// The shades of a bar of a few values.
const SHADES: usize = 5;

/// A histogram.
pub(super) fn histogram(bins: &[u64]) -> String {
    let most = bins.iter().copied().max().unwrap_or_default();
    let number = u64::try_from(bins.len()).unwrap_or(u64::MAX);
    if most == 0 || number == 0 || number > WIDTH {
        return String::new();
    }
    let mut path = String::new();
    for (at, rows) in (0_u64..).zip(bins) {
        if *rows == 0 {
            continue;
        }
        // In tenths, so that all bins are equally wide; what is there at all is seen.
        let left = at * WIDTH * 10 / number;
        let right = (at + 1) * WIDTH * 10 / number;
        let height = (u128::from(*rows) * u128::from(HEIGHT) * 10)
            .div_ceil(u128::from(most))
            .max(10);
        let width = (right - left).saturating_sub(8).max(4);
        // Writing to a string can't fail.
        let _ = write!(
            path,
            "M{} {HEIGHT}v-{}h{}v{}z",
            tenths(left),
            tenths(u64::try_from(height).unwrap_or_default()),
            tenths(width),
            tenths(u64::try_from(height).unwrap_or_default()),
        );
    }
    format!(
        "<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" aria-hidden=\"true\"><path d=\"{path}\"></path></svg>"
    )
}

fn tenths(number: u64) -> String {
    if number.is_multiple_of(10) {
        (number / 10).to_string()
    } else {
        format!("{}.{}", number / 10, number % 10)
    }
}

/// A bar of a few values; what is left of the whole is the last part.
pub(super) fn bar(parts: &[u64], whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let mut out =
        format!("<svg viewBox=\"0 0 {WIDTH} 10\" width=\"{WIDTH}\" height=\"10\" aria-hidden=\"true\">");
    let mut left = 0;
    let shown = parts.iter().take(SHADES).copied();
    let rest = whole.saturating_sub(shown.clone().sum());
    for (at, rows) in shown.chain([rest]).enumerate() {
        let width = u128::from(rows) * u128::from(WIDTH) * 10 / u128::from(whole);
        let width = u64::try_from(width).unwrap_or_default();
        if width == 0 {
            continue;
        }
        let shade = if at < parts.len().min(SHADES) { at } else { SHADES };
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "<rect class=\"s{shade}\" x=\"{}\" width=\"{}\" height=\"10\"></rect>",
            tenths(left),
            tenths(width.saturating_sub(5).max(1)),
        );
        left += width;
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(histogram(&[]), "");
        assert_eq!(histogram(&[0, 0]), "");
        assert_eq!(bar(&[], 0), "");
    }

    #[test]
    fn a_single_row_is_seen() {
        let drawn = histogram(&[1_000_000, 1]);
        assert_eq!(drawn.matches('M').count(), 2, "{drawn}");
        assert!(histogram(&[u64::MAX; 20]).len() < 700);
    }
}
