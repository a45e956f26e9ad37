//! Which elements a page may have, which attributes they may carry, and what to do instead of the others.
//!
//! It must not know where an element stands. What is not listed never gets into a page: what only says how a page
//! looks, or what it says of itself, is left out without a word; of all else the model is told.

use html5ever::{Attribute, QualName, ns};

use super::paint;
use super::refusal::{Finding, excerpt, is_unwanted, named};
use super::words::{Words, set};
use super::write::qualified;

/// What becomes of an element or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Kept,
    /// It goes, with all that is in it: nobody will miss it.
    LeftOut,
    /// With it a page is not taken.
    Refused(Finding),
}

/// What the frame around a page calls its own parts.
pub(super) const RESERVED: &str = "cataloger-";

/// Elements of text, lists, tables and the page itself.
static HTML: Words = Words::new(|| {
    set(
        "a abbr address article aside b bdi blockquote body br caption cite code col colgroup data dd del \
         details dfn div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 header hgroup hr html i ins kbd li \
         main mark meter nav ol p pre progress q s samp section small span strong sub summary sup table tbody td \
         tfoot th thead time tr u ul var wbr",
    )
});

/// Those of them that have no content.
static VOID: Words = Words::new(|| set("br col hr meta wbr"));

/// What says how a page looks, or what it says of itself. The frame says both.
static LEFT_OUT: Words = Words::new(|| set("head meta style title"));

/// The same of attributes.
static LOOKS: Words = Words::new(|| {
    set(
        "bgcolor clear color face frame hspace noshade rel rules size style summary target vspace xmlns xmlns:xlink",
    )
});

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
static GLOBAL: Words = Words::new(|| set("dir lang tabindex title translate xml:lang"));

/// What would take the place of the frame, for who listens.
static ROLES: Words = Words::new(|| set("alertdialog application banner contentinfo dialog main"));

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

/// Whether an element has no content and no end tag.
pub(super) fn is_void(name: &str) -> bool {
    VOID.contains(name)
}

/// What becomes of an element.
pub(super) fn element(name: &QualName) -> Verdict {
    let in_svg = name.ns == ns!(svg);
    let local = name.local.to_ascii_lowercase();
    match local.as_ref() {
        local if !in_svg && LEFT_OUT.contains(local) => Verdict::LeftOut,
        local if if in_svg { &SVG } else { &HTML }.contains(local) => Verdict::Kept,
        local => {
            let within = if in_svg && local != "svg" {
                " within <svg>"
            } else {
                ""
            };
            let what = format!("<{}>{within} is not allowed", excerpt(local));
            Verdict::Refused(Finding::new(what, instead_of(local, in_svg)))
        }
    }
}

/// What becomes of an attribute.
pub(super) fn attribute(element: &QualName, attribute: &Attribute) -> Verdict {
    let in_svg = element.ns == ns!(svg);
    let local = element.local.to_ascii_lowercase();
    let (name, value) = (qualified(&attribute.name).to_ascii_lowercase(), &*attribute.value);
    let Some(kind) = kind(&local, &name, in_svg) else {
        if LOOKS.contains(name.as_str()) {
            return Verdict::LeftOut;
        }
        let what = format!("{} on <{}> is not allowed", excerpt(&name), excerpt(&local));
        return Verdict::Refused(Finding::new(what, instead_of_attribute(&name)));
    };
    if let Some(it) = value.chars().find(|it| is_unwanted(*it)) {
        return Verdict::Refused(unwanted(it));
    }
    let finding = match kind {
        Value::Text => None,
        Value::Name => value
            .split_ascii_whitespace()
            .any(|it| it.to_ascii_lowercase().starts_with(RESERVED))
            .then(|| {
                Finding::new(
                    format!("{name}=\"{}\"", excerpt(value)),
                    format!("choose a name that does not begin with {RESERVED}"),
                )
            }),
        Value::Anchor if value.starts_with('#') => None,
        Value::Anchor => Some(Finding::new(
            format!("{name} on <{local}> that leads out of the page"),
            "link only to anchors on the page (href=\"#id\"), and write addresses as text",
        )),
        Value::Part => (!paint::is_part(value)).then(|| {
            Finding::new(
                format!("{name} on <{local}> that leads out of the page"),
                "refer to a part of a drawing as #id, with an id of letters, digits, - and _",
            )
        }),
        Value::Role => ROLES.contains(value.to_ascii_lowercase().trim()).then(|| {
            Finding::new(
                format!("role=\"{}\"", excerpt(value)),
                "remove it: readers would miss the frame around the page",
            )
        }),
        Value::Paint => paint::finding(value),
    };
    finding.map_or(Verdict::Kept, Verdict::Refused)
}

/// What the value of an attribute may be.
#[derive(Debug, Clone, Copy)]
enum Value {
    Text,
    /// An id or classes.
    Name,
    /// An anchor on the page.
    Anchor,
    /// A part of a drawing on the page, written in one way only.
    Part,
    /// What an element is to who listens.
    Role,
    Paint,
}

fn kind(element: &str, name: &str, in_svg: bool) -> Option<Value> {
    let is_data = ["aria-", "data-"].iter().any(|start| name.starts_with(start));
    match name {
        "id" | "class" => Some(Value::Name),
        "role" => Some(Value::Role),
        "aria-modal" | "aria-owns" => None,
        _ if is_data || GLOBAL.contains(name) => Some(Value::Text),
        "href" | "xlink:href" if in_svg => REFERRING.contains(element).then_some(Value::Part),
        _ if in_svg => DRAWING.contains(name).then_some(Value::Paint),
        "href" => (element == "a").then_some(Value::Anchor),
        _ => own(element).contains(&name).then_some(Value::Text),
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
        _ => &[],
    }
}

fn instead_of(element: &str, in_svg: bool) -> &'static str {
    match element {
        "script" => "remove it: pages run no code; compute in Python and write the result",
        "style" => "remove it: looks come from classes of the page's own style sheet",
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
        "link" | "base" => "remove it: nothing is loaded, and the page has a style sheet already",
        "iframe" | "frame" | "frameset" | "object" | "embed" | "applet" | "portal" | "fencedframe" => {
            "remove it: a page holds no other pages; write its content here"
        }
        "form" | "input" | "button" | "select" | "option" | "textarea" | "label" | "fieldset" | "dialog"
        | "output" | "datalist" | "keygen" | "isindex" => {
            "remove it: nobody can send anything; use <details>, tables and links to anchors"
        }
        "audio" | "video" | "track" | "bgsound" => "remove it: pages play nothing",
        "math" => "write formulas as text, with <sub> and <sup>",
        "center" | "font" | "big" | "tt" | "strike" | "marquee" | "blink" => "use <span class=\"…\">",
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
        "download" => "remove it: links lead to anchors on the page only",
        _ => "remove it; class, id, title, role, aria-… and data-… are fine",
    }
}

#[cfg(test)]
mod tests {
    use html5ever::LocalName;
    use html5ever::tendril::StrTendril;

    use super::*;

    fn name(local: &str, in_svg: bool) -> QualName {
        let ns = if in_svg { ns!(svg) } else { ns!(html) };
        QualName::new(None, ns, LocalName::from(local))
    }

    fn of(local: &str, in_svg: bool, (key, value): (&str, &str)) -> Verdict {
        let key = QualName::new(None, ns!(), LocalName::from(key));
        let value = StrTendril::from(value);
        attribute(&name(local, in_svg), &Attribute { name: key, value })
    }

    #[test]
    fn what_is_listed_is_kept() {
        for (local, in_svg) in [
            ("td", false),
            ("main", false),
            ("svg", true),
            ("linearGradient", true),
        ] {
            assert_eq!(element(&name(local, in_svg)), Verdict::Kept, "{local}");
        }
        for (local, in_svg, attribute) in [
            ("td", false, ("colspan", "2")),
            ("td", false, ("data-n", "1")),
            ("a", false, ("href", "#orders")),
            ("a", false, ("aria-label", "a < b")),
            ("use", true, ("href", "#dot")),
            ("svg", true, ("viewBox", "0 0 1 1")),
        ] {
            assert_eq!(
                of(local, in_svg, attribute),
                Verdict::Kept,
                "{local} {attribute:?}"
            );
        }
    }

    #[test]
    fn looks_are_left_out() {
        for local in ["style", "meta", "title", "head"] {
            assert_eq!(element(&name(local, false)), Verdict::LeftOut, "{local}");
        }
        for attribute in [("style", "color: red"), ("bgcolor", "x"), ("target", "_blank")] {
            assert_eq!(of("td", false, attribute), Verdict::LeftOut, "{attribute:?}");
        }
        assert_eq!(of("rect", true, ("style", "fill: url(//x)")), Verdict::LeftOut);
    }

    #[test]
    fn all_else_is_refused() {
        let refused = |verdict| match verdict {
            Verdict::Refused(finding) => finding.what,
            _ => String::new(),
        };
        for (local, in_svg, what) in [
            ("scr\u{202e}ipt", false, "<scrU+202Eipt> is not allowed"),
            ("style", true, "<style> within <svg> is not allowed"),
            ("path", false, "<path> is not allowed"),
        ] {
            assert_eq!(refused(element(&name(local, in_svg))), what);
        }
        for (local, in_svg, attribute, what) in [
            ("p", false, ("onclick", "x()"), "onclick on <p> is not allowed"),
            ("rect", true, ("href", "#x"), "href on <rect> is not allowed"),
            (
                "a",
                false,
                ("href", " #x"),
                "href on <a> that leads out of the page",
            ),
            (
                "p",
                false,
                ("title", "a\u{202e}b"),
                "the invisible character U+202E",
            ),
            ("p", false, ("id", "cataloger-page"), "id=\"cataloger-page\""),
            (
                "p",
                false,
                ("class", "a Cataloger-head"),
                "class=\"a Cataloger-head\"",
            ),
            (
                "rect",
                true,
                ("fill", "url(//x)"),
                "url() that leads out of the page",
            ),
        ] {
            assert_eq!(refused(of(local, in_svg, attribute)), what);
        }
    }
}
