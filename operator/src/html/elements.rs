//! Which elements a page may have, which attributes they may carry, and what to do instead of the others.
//!
//! It must not know how a page is read: it judges one start tag at a time. What is not listed is refused.

use std::borrow::Cow;

use super::css::{self, Css};
use super::refusal::{Finding, excerpt, is_unwanted, named};
use super::words::{Words, set};

/// A start tag, as browsers understand it.
pub(super) struct Element<'a> {
    /// Its name, in small letters.
    pub(super) name: &'a str,
    /// Whether it belongs to a drawing.
    pub(super) in_svg: bool,
    /// Names in small letters, values with references replaced.
    pub(super) attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Elements of text, lists, tables and the page itself.
static HTML: Words = Words::new(|| {
    set(
        "a abbr address article aside b bdi blockquote body br caption cite code col colgroup data dd del \
         details dfn div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 head header hgroup hr html i ins \
         kbd li main mark meta meter nav ol p pre progress q s samp section small span strong style sub summary \
         sup svg table tbody td tfoot th thead time title tr u ul var wbr",
    )
});

/// The same that have no content.
static VOID: Words = Words::new(|| set("br col hr meta wbr"));

/// Elements of drawings.
static SVG: Words = Words::new(|| {
    set(
        "a circle clippath defs desc ellipse g line lineargradient marker mask path pattern polygon polyline \
         radialgradient rect stop svg symbol text textpath title tspan use",
    )
});

/// Elements of drawings that may refer to others.
static REFERRING: Words = Words::new(|| set("a lineargradient pattern radialgradient textpath use"));

/// What every element may carry, beside `aria-…` and `data-…`.
static GLOBAL: Words = Words::new(|| set("class dir id lang role tabindex title translate xml:lang"));

/// What elements of drawings may carry. All of it may refer to parts of drawings on the page, and to nothing else.
static DRAWING: Words = Words::new(|| {
    set(
        "alignment-baseline baseline-shift baseprofile clip-path clip-rule clippathunits color color-interpolation cx cy d \
         direction display dominant-baseline dx dy fill fill-opacity fill-rule focusable font-family font-size \
         font-stretch font-style font-variant font-weight fr fx fy gradienttransform gradientunits height \
         lengthadjust letter-spacing marker marker-end marker-mid marker-start markerheight markerunits \
         markerwidth mask maskcontentunits maskunits method mix-blend-mode offset opacity orient overflow \
         paint-order pathlength patterncontentunits patterntransform patternunits pointer-events points \
         preserveaspectratio r refx refy rotate rx ry shape-rendering side spacing spreadmethod startoffset \
         stop-color stop-opacity stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin \
         stroke-miterlimit stroke-opacity stroke-width text-anchor text-decoration text-rendering textlength \
         transform transform-origin vector-effect version viewbox visibility white-space width word-spacing \
         writing-mode x x1 x2 xml:space y y1 y2",
    )
});

/// What a page may say of itself.
static META: Words = Words::new(|| {
    set(
        "application-name author color-scheme date description generator keywords robots theme-color viewport",
    )
});

/// What the value of an attribute may be.
#[derive(Debug, Clone, Copy)]
enum Value {
    Text,
    /// An anchor on the page.
    Anchor,
    Css(Css),
    /// This, in small letters or capitals.
    Exactly(&'static str),
}

/// Whether an element has no content and no end tag.
pub(super) fn is_void(name: &str) -> bool {
    VOID.contains(name)
}

impl Element<'_> {
    /// What is wrong with it, and with which of its attributes.
    pub(super) fn findings(&self) -> Vec<(Option<usize>, Finding)> {
        let allowed = if self.in_svg { &SVG } else { &HTML };
        if !allowed.contains(self.name) {
            let what = format!("<{}>{} is not allowed", excerpt(self.name), self.within());
            return vec![(None, Finding::new(what, instead_of(self.name, self.in_svg)))];
        }
        let mut findings = Vec::new();
        for (index, (name, value)) in self.attributes.iter().enumerate() {
            if let Some(finding) = self.attribute(name, value) {
                findings.push((Some(index), finding));
            }
        }
        if self.name == "meta" && !self.in_svg && findings.is_empty() {
            findings.extend(self.meta().map(|finding| (None, finding)));
        }
        findings
    }

    /// The value of an attribute.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, value)| value.as_ref())
    }

    fn within(&self) -> &'static str {
        if self.in_svg { " within <svg>" } else { "" }
    }

    fn attribute(&self, name: &str, value: &str) -> Option<Finding> {
        let Some(kind) = self.kind(name) else {
            let what = format!("{} on <{}> is not allowed", excerpt(name), self.name);
            return Some(Finding::new(what, instead_of_attribute(name)));
        };
        if let Some(it) = value.chars().find(|it| is_unwanted(*it)) {
            return Some(unwanted(it));
        }
        match kind {
            Value::Text => None,
            Value::Anchor if value.starts_with('#') => None,
            Value::Anchor => Some(Finding::new(
                format!("{name} on <{}> that leads out of the page", self.name),
                "link only to anchors on the page (href=\"#id\"), and write addresses as text",
            )),
            // The first is enough: an attribute is short.
            Value::Css(kind) => css::findings(value, kind)
                .into_iter()
                .next()
                .map(|(_, finding)| finding),
            Value::Exactly(only) if value.eq_ignore_ascii_case(only) => None,
            Value::Exactly(only) => {
                let what = format!("{name}=\"{}\" on <{}>", excerpt(value), self.name);
                Some(Finding::new(what, format!("it can only be \"{only}\"")))
            }
        }
    }

    fn kind(&self, name: &str) -> Option<Value> {
        let is_data = ["aria-", "data-"].iter().any(|start| name.starts_with(start));
        if is_data || GLOBAL.contains(name) {
            return Some(Value::Text);
        }
        let root = if self.name == "svg" {
            "http://www.w3.org/2000/svg"
        } else {
            "http://www.w3.org/1999/xhtml"
        };
        match (self.name, name) {
            (_, "style") => Some(Value::Css(Css::Declarations)),
            ("svg" | "html", "xmlns") => Some(Value::Exactly(root)),
            ("svg", "xmlns:xlink") => Some(Value::Exactly("http://www.w3.org/1999/xlink")),
            (it, "href" | "xlink:href") if self.in_svg && REFERRING.contains(it) => Some(Value::Anchor),
            _ if self.in_svg || self.name == "svg" => {
                DRAWING.contains(name).then_some(Value::Css(Css::Value))
            }
            ("a", "href") => Some(Value::Anchor),
            ("meta", "charset") => Some(Value::Exactly("utf-8")),
            ("style", "type") => Some(Value::Exactly("text/css")),
            (it, _) if own(it).contains(&name) => Some(Value::Text),
            _ => None,
        }
    }

    fn meta(&self) -> Option<Finding> {
        let name = self.value("name").map(str::to_ascii_lowercase);
        match (self.value("charset"), name) {
            (Some(_), None) if self.value("content").is_none() => None,
            (None, Some(name)) if META.contains(name.as_str()) => None,
            (None, Some(name)) => Some(Finding::new(
                format!("<meta name=\"{}\"> is not allowed", excerpt(&name)),
                "remove it; charset, viewport, description and color-scheme are fine",
            )),
            _ => Some(Finding::new(
                "a <meta> with neither charset nor name alone",
                "write <meta charset=\"utf-8\"> and <meta name=\"…\" content=\"…\">",
            )),
        }
    }
}

/// A character that must not stand anywhere.
pub(super) fn unwanted(it: char) -> Finding {
    Finding::new(
        format!("the invisible character {}", named(it)),
        "leave it out, or write its number where a reader should know of it",
    )
}

/// What single elements of text may carry beyond what all do.
fn own(element: &str) -> &'static [&'static str] {
    match element {
        "td" | "th" => &[
            "abbr", "align", "colspan", "headers", "height", "nowrap", "rowspan", "scope", "valign", "width",
        ],
        "table" => &["align", "border", "cellpadding", "cellspacing", "width"],
        "tr" | "thead" | "tbody" | "tfoot" | "caption" => &["align", "valign"],
        "col" | "colgroup" => &["align", "span", "width"],
        "ol" => &["reversed", "start", "type"],
        "ul" => &["type"],
        "li" | "data" => &["value"],
        "details" => &["name", "open"],
        "time" | "del" | "ins" => &["datetime"],
        "meter" => &["high", "low", "max", "min", "optimum", "value"],
        "progress" => &["max", "value"],
        "style" => &["media"],
        "meta" => &["content", "name"],
        _ => &[],
    }
}

fn instead_of(element: &str, in_svg: bool) -> &'static str {
    match element {
        "script" => "remove it: pages run no code; compute in Python and write the result",
        "style" => "put all rules into the page's one <style>, in <head>",
        "foreignobject" => "use <text> and <tspan>",
        "animate" | "animatecolor" | "animatemotion" | "animatetransform" | "discard" | "mpath" | "set" => {
            "remove it: drawings do not move"
        }
        "img" | "image" | "feimage" | "picture" | "source" | "canvas" | "map" | "area" => {
            "draw as inline SVG: <svg viewBox=\"0 0 100 20\"><path d=\"M0 20h10v-8z\"/></svg>"
        }
        "filter" | "metadata" | "switch" | "view" => "remove it",
        "path" | "g" | "rect" | "circle" | "line" | "text" | "polyline" | "polygon" if !in_svg => {
            "put it into <svg>"
        }
        _ if in_svg => {
            "use <path>, <rect>, <line>, <circle>, <text>, <g>, and close <svg> before other elements"
        }
        "link" | "base" => "remove it: nothing is loaded; put rules into <style>",
        "iframe" | "frame" | "frameset" | "object" | "embed" | "applet" | "portal" | "fencedframe" => {
            "remove it: a page holds no other pages; write its content here"
        }
        "form" | "input" | "button" | "select" | "option" | "textarea" | "label" | "fieldset" | "dialog"
        | "output" | "datalist" | "keygen" | "isindex" => {
            "remove it: nobody can send anything; use <details>, tables and links to anchors"
        }
        "audio" | "video" | "track" | "bgsound" => "remove it: pages play nothing",
        "math" => "write formulas as text, with <sub> and <sup>",
        "center" | "font" | "big" | "tt" | "strike" | "marquee" | "blink" => "use <span class=\"…\"> and CSS",
        "template" | "noscript" | "plaintext" | "xmp" | "listing" | "noembed" | "noframes" => {
            "remove it; use <pre><code> for text as it is"
        }
        _ => {
            "use elements of text such as <div>, <section>, <p>, <span>, <ul>, <table>; escape < as &lt; if it is data"
        }
    }
}

fn instead_of_attribute(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("on") => "remove it: pages run no code",
        "src" | "srcset" | "href" | "xlink:href" | "action" | "formaction" | "background" | "cite"
        | "data" | "longdesc" | "manifest" | "ping" | "poster" | "profile" | "usemap" | "xml:base" => {
            "remove it: a page refers to nothing but its own anchors"
        }
        "http-equiv" => "remove it; write <meta charset=\"utf-8\"> for the encoding",
        "target" | "rel" | "download" => "remove it: links lead to anchors on the page only",
        "bgcolor" | "face" | "size" | "color" => "use a class and CSS",
        _ => "remove it; class, id, title, role, aria-… and data-… are fine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(name: &str, in_svg: bool, attributes: &[(&'static str, &'static str)]) -> Vec<String> {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let element = Element {
            name,
            in_svg,
            attributes,
        };
        element
            .findings()
            .into_iter()
            .map(|(_, finding)| finding.what)
            .collect()
    }

    #[test]
    fn what_is_listed_is_taken() {
        assert_eq!(
            whats(
                "td",
                false,
                &[("colspan", "2"), ("data-n", "1"), ("style", "color: red")]
            ),
            [""; 0]
        );
        assert_eq!(
            whats("a", false, &[("href", "#orders"), ("aria-label", "a < b")]),
            [""; 0]
        );
        assert_eq!(whats("use", true, &[("xlink:href", "#dot"), ("x", "1")]), [""; 0]);
        assert_eq!(whats("meta", false, &[("charset", "UTF-8")]), [""; 0]);
        assert_eq!(
            whats(
                "svg",
                false,
                &[("xmlns", "http://www.w3.org/2000/svg"), ("viewbox", "0 0 1 1")]
            ),
            [""; 0]
        );
    }

    #[test]
    fn all_else_is_not() {
        for (found, what) in [
            (
                whats("scr\u{202e}ipt", false, &[]),
                "<scrU+202Eipt> is not allowed",
            ),
            (whats("style", true, &[]), "<style> within <svg> is not allowed"),
            (whats("path", false, &[]), "<path> is not allowed"),
            (
                whats("p", false, &[("onclick", "x()")]),
                "onclick on <p> is not allowed",
            ),
            (
                whats("rect", true, &[("href", "#x")]),
                "href on <rect> is not allowed",
            ),
            (
                whats("a", false, &[("href", " #x")]),
                "href on <a> that leads out of the page",
            ),
            (
                whats("p", false, &[("title", "a\u{202e}b")]),
                "the invisible character U+202E",
            ),
            (
                whats("rect", true, &[("fill", "url(//x)")]),
                "url() in CSS that leads out of the page",
            ),
            (
                whats("meta", false, &[("charset", "utf-7")]),
                "charset=\"utf-7\" on <meta>",
            ),
            (
                whats("meta", false, &[("name", "referrer"), ("content", "x")]),
                "<meta name=\"referrer\"> is not allowed",
            ),
            (
                whats("meta", false, &[("content", "x")]),
                "a <meta> with neither charset nor name alone",
            ),
        ] {
            assert_eq!(found, [what]);
        }
    }
}
