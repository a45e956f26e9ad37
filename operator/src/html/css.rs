//! Whether style sheets, declarations and values in CSS are harmless: nothing in them reaches out of the page,
//! and nothing hides what it is.
//!
//! It must not know where they stand. What is allowed is a list; it need not know what properties do.

use super::lexer::markup;
use super::refusal::{Finding, excerpt};
use super::words::{Words, set};

/// What a piece of CSS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Css {
    /// What stands in `<style>`.
    Sheet,
    /// What stands in `style=""`.
    Declarations,
    /// What stands in an attribute such as `fill`.
    Value,
}

/// What may stand before `(`, in values and in selectors.
static FUNCTIONS: Words = Words::new(|| {
    set(
        "abs acos asin atan atan2 attr blur brightness calc circle clamp color color-mix conic-gradient \
         contrast cos counter counters cubic-bezier dir drop-shadow ellipse env exp fit-content grayscale \
         has hsl hsla hue-rotate hwb hypot inset invert is lab lang lch light-dark linear-gradient log \
         matrix matrix3d max min minmax mod not nth-child nth-last-child nth-last-of-type nth-of-type oklab \
         oklch opacity path perspective polygon pow radial-gradient rect rem repeat \
         repeating-conic-gradient repeating-linear-gradient repeating-radial-gradient rgb rgba rotate \
         rotate3d rotatex rotatey rotatez round saturate scale scale3d scalex scaley scalez selector sepia \
         sign sin skew skewx skewy sqrt steps tan translate translate3d translatex translatey translatez \
         url var where xywh",
    )
});

/// What may stand after `@`.
static AT_RULES: Words = Words::new(|| set("charset container layer media page property scope supports"));

/// Where looking on is of no use.
const MAX_FOUND: usize = 100;

/// What has run code in some browser.
static FORBIDDEN: Words = Words::new(|| {
    set("-moz-binding -ms-behavior -o-link -o-link-source behavior javascript progid vbscript")
});

/// What is wrong with a piece of CSS, and where in it.
pub(super) fn findings(css: &str, kind: Css) -> Vec<(usize, Finding)> {
    let mut scanner = Scanner {
        css,
        at: 0,
        kind,
        found: Vec::new(),
    };
    if let (Css::Sheet, Some(at)) = (kind, markup(css)) {
        let finding = Finding::new(
            "markup in CSS",
            "close <style> before it; strings and comments hold none, either",
        );
        scanner.found.push((at, finding));
    }
    scanner.scan();
    scanner.found
}

struct Scanner<'a> {
    css: &'a str,
    at: usize,
    kind: Css,
    found: Vec<(usize, Finding)>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.css.get(self.at..).unwrap_or_default()
    }

    fn found(&mut self, what: impl Into<String>, instead: &'static str) {
        if self.found.len() < MAX_FOUND {
            self.found.push((self.at, Finding::new(what, instead)));
        }
    }

    fn scan(&mut self) {
        let mut before = None;
        while let Some(it) = self.rest().chars().next() {
            match it {
                '/' if self.rest().starts_with("/*") => {
                    self.comment(before);
                    continue;
                }
                '"' | '\'' => self.string(it),
                _ if is_name(it) => self.name(before),
                _ => self.sign(it),
            }
            before = self.css[..self.at].chars().next_back();
        }
    }

    fn comment(&mut self, before: Option<char>) {
        let Some(length) = self.rest()[2..].find("*/").map(|at| at + 4) else {
            self.found(
                "a comment in CSS that does not end",
                "end it with */, or remove it",
            );
            self.at = self.css.len();
            return;
        };
        let after = self.rest()[length..].chars().next();
        if before.is_some_and(is_name) && after.is_some_and(|it| is_name(it) || matches!(it, '(' | '/')) {
            self.found("a comment within a name in CSS", "remove the comment");
        }
        self.at += length;
    }

    fn string(&mut self, quote: char) {
        let mut escaped = false;
        for (at, it) in self.rest().char_indices().skip(1) {
            match it {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\n' | '\x0c' | '\r' => break,
                _ if it == quote => {
                    self.at += at + 1;
                    return;
                }
                _ => {}
            }
        }
        self.found("a string in CSS that does not end on its line", "close the quote");
        self.at = self.css.len();
    }

    fn name(&mut self, before: Option<char>) {
        let rest = self.rest();
        let length = rest.find(|it| !is_name(it)).unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        let is_selector = matches!(before, Some('.' | '#'));
        if rest[length..].starts_with('(') {
            if name == "url" {
                self.url(length + 1);
                return;
            }
            if !FUNCTIONS.contains(name.as_str()) {
                self.found(
                    format!("{}() in CSS is not allowed", excerpt(&name)),
                    "use plain values, colours, gradients, calc() or var()",
                );
            }
        } else if FORBIDDEN.contains(name.as_str()) && !is_selector {
            self.found(
                format!("{name} in CSS is not allowed"),
                "remove it: pages run no code",
            );
        }
        self.at += length;
    }

    /// Only what is on the page itself may be referred to.
    fn url(&mut self, opened: usize) {
        let rest = &self.rest()[opened..];
        let end = rest.find(')').unwrap_or(rest.len());
        let target = rest[..end].trim();
        let target = ['"', '\'']
            .into_iter()
            .find_map(|quote| target.strip_prefix(quote)?.strip_suffix(quote))
            .unwrap_or(target);
        let is_local = target
            .strip_prefix('#')
            .is_some_and(|id| !id.is_empty() && id.chars().all(is_name));
        if !is_local || end == rest.len() {
            self.found(
                "url() in CSS that leads out of the page",
                "refer only to a drawing's part on this page, as in url(#id); draw pictures as inline SVG, and use the reader's fonts",
            );
        }
        self.at += opened + end;
    }

    fn sign(&mut self, sign: char) {
        let after = &self.rest()[sign.len_utf8()..];
        match sign {
            '\\' => self.found(
                "a backslash in CSS outside of a string",
                "write the character itself, and choose names of letters, digits, - and _",
            ),
            '@' if self.kind == Css::Sheet => {
                let name = after
                    .split(|it| !is_name(it))
                    .next()
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                if !AT_RULES.contains(name.as_str()) {
                    self.found(
                        format!("@{} in CSS is not allowed", excerpt(&name)),
                        "use only @media, @supports, @page, @layer, @container; nothing is loaded and nothing moves",
                    );
                }
            }
            '@' | '{' | '}' if self.kind != Css::Sheet => {
                self.found(
                    format!("{sign} in an attribute with CSS"),
                    "put rules into the page's <style>",
                );
            }
            ';' if self.kind == Css::Value => {
                self.found("; in a drawing's attribute", "give each attribute one value");
            }
            _ => {}
        }
        self.at += sign.len_utf8();
    }
}

/// What names in CSS are made of.
fn is_name(it: char) -> bool {
    it.is_ascii_alphanumeric() || matches!(it, '-' | '_') || !it.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(css: &str, kind: Css) -> Vec<String> {
        findings(css, kind)
            .into_iter()
            .map(|(_, finding)| finding.what)
            .collect()
    }

    #[test]
    fn harmless_css_is_taken() {
        for sheet in [
            "",
            ":root { color-scheme: light dark; --ink: #222; font: 1rem/1.5 system-ui, \"Segoe UI\", sans-serif }",
            "@media (prefers-color-scheme: dark) { body { background: light-dark(#fff, rgb(0 0 0 / 50%)) } }",
            "@media print and (400px <= width < 900px) { details::details-content { display: block !important } }",
            "@page { margin: 1cm } @supports not (color: color-mix(in srgb, red, blue)) { a { color: red } }",
            "tr:nth-child(2n + 1):not(.x, :has(> b)) > td::before { content: \"\\25B8 \" attr(data-label) '\\'' }",
            ".behavior, #javascript { width: calc((100% - 2px) * .5 / var(--n, 2)) } /* a ' comment */ .b{}",
            ".bar { fill: url(#hatch); clip-path: url( '#clip_1' ) } a[href^='https://x'] { color: red }",
        ] {
            assert_eq!(whats(sheet, Css::Sheet), [""; 0], "{sheet}");
        }
        assert_eq!(
            whats("text-align: right; color: var(--x)", Css::Declarations),
            [""; 0]
        );
        assert_eq!(whats("translate(1, 2) rotate(-90)", Css::Value), [""; 0]);
    }

    #[test]
    fn what_reaches_out_or_hides_is_found() {
        for (sheet, what) in [
            ("@import 'x.css';", "@import in CSS"),
            ("@IMPORT url(#x);", "@import in CSS"),
            ("@font-face { font-family: x }", "@font-face in CSS"),
            ("a { background: url(https://x.example/) }", "url() in CSS"),
            (
                "a { background: URL( \"data:image/png;base64,x\" ) }",
                "url() in CSS",
            ),
            ("a { behavior: url(#default#time2) }", "behavior in CSS"),
            ("a { b: url(#default#time2) }", "url() in CSS"),
            ("a { b: url(#x", "url() in CSS"),
            ("a { b: u\\72l(x) }", "a backslash in CSS"),
            ("\\40 import 'x'", "a backslash in CSS"),
            ("a { b: image-set('x' 1x) }", "image-set() in CSS"),
            (
                "a { b: -webkit-image-set(url(x) 1x) }",
                "-webkit-image-set() in CSS",
            ),
            ("a { b: expression(alert(1)) }", "expression() in CSS"),
            ("a { b: exp/**/ression(alert(1)) }", "a comment within a name"),
            ("a { b: url/**/(x) }", "a comment within a name"),
            ("a { b: url/**//**/(x) }", "a comment within a name"),
            ("a { b: ｕｒｌ(x) }", "ｕｒｌ() in CSS"),
            ("a { b: element(#x); }", "element() in CSS"),
            ("a { -moz-binding: x }", "-moz-binding in CSS"),
            (
                "a { filter: progid:DXImageTransform.Microsoft.x(src='y') }",
                "progid in CSS",
            ),
            ("a { b: 'x\n@import y' }", "a string in CSS"),
            ("a { b: 'x", "a string in CSS"),
            ("/* a", "a comment in CSS"),
            ("a {} <b>", "markup in CSS"),
            ("<!-- a {} -->", "markup in CSS"),
            ("a::after { content: '<img>' } /* </p> */", "markup in CSS"),
        ] {
            let found = whats(sheet, Css::Sheet);
            assert!(
                found.iter().any(|found| found.starts_with(what)),
                "{sheet}: {found:?}"
            );
        }
        assert_eq!(whats("} b {", Css::Declarations).len(), 2);
        assert_eq!(
            whats("red; fill: blue", Css::Value),
            ["; in a drawing's attribute"]
        );
    }
}
