//! How mistakes are put into words. Must not know where they are.

use serde_json::Value;

/// How a value is named.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// What a user wrote, as far as it fits.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// Which of the words was meant, if it is near.
pub(super) fn nearest<'a>(said: &str, words: &[&'a str]) -> Option<&'a str> {
    let said = said.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&said, &word.to_lowercase());
    let (distance, word) = words.iter().map(|word| (distance(word), *word)).min()?;
    // A third of the letters may be wrong: beyond that, it is another word.
    (distance <= 3 && distance * 3 <= said.chars().count().max(3)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_well() {
        assert_eq!(list::<&str>(&[]), "none");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["tables", "storage", "maxTokens", "maxRows"];
        for (said, meant) in [
            ("tabels", Some("tables")),
            ("table", Some("tables")),
            ("Storage", Some("storage")),
            ("max_tokens", Some("maxTokens")),
            ("maxtoken", Some("maxTokens")),
            ("rows", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(said, &words), meant, "{said}");
        }
        assert_eq!(nearest("a", &[]), None);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(quote(&"é".repeat(61)), format!("\"{}…\"", "é".repeat(60)));
    }
}
