//! The durations of `@every`, as Go writes them. Must not know a schedule.

/// Nanoseconds of the units.
const UNITS: [(&str, u128); 8] = [
    // Longer names first: `ms` is no `m`.
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The whole seconds of a duration, at least one; none if it is no duration. Whatever is less than a second is taken
/// for one, even what is less than nothing.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(1);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (part, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && part.is_empty() {
            return None;
        }
        let end = after
            .find(|it: char| it == '.' || it.is_ascii_digit())
            .unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let (_, unit) = UNITS.iter().find(|(known, _)| *known == name)?;
        let number: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // More of it makes no second.
        let part = &part[..part.len().min(15)];
        let fraction: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        nanoseconds = nanoseconds
            .checked_add(number.checked_mul(*unit)?)?
            .checked_add(fraction * unit / scale)?;
        // As much as Go has room for.
        if nanoseconds > i64::MAX as u128 + u128::from(negative) {
            return None;
        }
        rest = after;
    }
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).ok()?;
    Some(if negative { 1 } else { seconds.max(1) })
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len()))
}
