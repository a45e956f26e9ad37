//! Whether the value of a drawing's attribute is plain: numbers, colours, words, and parts of drawings on the page.
//!
//! It must not know attributes. Browsers read such values as CSS, where names may be written in many ways.

use super::refusal::{Finding, excerpt};
use super::words::{Words, set};

/// What may stand before `(`, beside `url`.
static FUNCTIONS: Words = Words::new(|| {
    set(
        "calc clamp color color-mix hsl hsla hwb lab lch light-dark matrix max min oklab oklch rgb rgba rotate scale \
         skewx skewy translate var",
    )
});

/// What is wrong with a value.
pub(super) fn finding(value: &str) -> Option<Finding> {
    if let Some(sign) = value
        .chars()
        .find(|it| matches!(it, '\\' | '@' | '{' | '}' | ';' | '<'))
    {
        return Some(Finding::new(
            format!("{sign} in a drawing's attribute"),
            "give each attribute one plain value; looks come from classes",
        ));
    }
    if value.contains("/*") {
        return Some(Finding::new("a comment in a drawing's attribute", "remove it"));
    }
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('(') {
        let name = before
            .rsplit(|it| !is_name(it))
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if name == "url" {
            let (target, behind) = after.split_once(')').unwrap_or((after, ""));
            if !is_local(target) || !after.contains(')') {
                return Some(Finding::new(
                    "url() that leads out of the page",
                    "refer only to a drawing's part on this page, as in url(#id)",
                ));
            }
            rest = behind;
            continue;
        }
        if !name.is_empty() && !FUNCTIONS.contains(name.as_str()) {
            return Some(Finding::new(
                format!("{}() in a drawing's attribute", excerpt(&name)),
                "use plain numbers and colours",
            ));
        }
        rest = after;
    }
    None
}

fn is_local(target: &str) -> bool {
    let target = target.trim();
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| target.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(target);
    is_part(bare)
}

/// Whether it is the name of a part of a drawing on the page, and nothing else.
pub(super) fn is_part(target: &str) -> bool {
    target
        .strip_prefix('#')
        .is_some_and(|id| !id.is_empty() && id.chars().all(is_name))
}

fn is_name(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '-' | '_') || !it.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_taken() {
        for value in [
            "",
            "M0 40h10v-38h-10zM10 40",
            "#3465a4",
            "rgb(0 0 0 / 50%)",
            "light-dark(#fff, hsl(120deg 50% 50%))",
            "translate(0 4) scale(1,1) ROTATE(45)",
            "url(#fade)",
            "url( '#fade' ) none",
            "\"Noto Sans\", sans-serif",
            "calc((1px + 2px) * 3)",
        ] {
            assert_eq!(finding(value), None, "{value}");
        }
    }

    #[test]
    fn all_else_is_not() {
        for value in [
            "url(//x.example/a.svg#b)",
            "URL(https://x.example/#b)",
            "url(#a) url(data:x)",
            "url(#a",
            "url(#)",
            "url(# a)",
            "u\\72l(//x)",
            "url/**/(//x)",
            "image-set('//x' 1x)",
            "src(//x)",
            "expression(alert(1))",
            "red; background: blue",
            "}a{",
            "@import 'x'",
            "<b>",
        ] {
            assert!(finding(value).is_some(), "{value}");
        }
    }
}
