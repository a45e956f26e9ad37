//! Pages as models write them.

use super::super::{Refusal, Rules, clean, text};
use super::{left, page, said, whole};

const CATALOG: &str = include_str!("catalog.html");
const SUMMARY: &str = include_str!("summary.html");

#[test]
fn good_pages_are_taken() {
    assert_eq!(said(CATALOG), "");
    assert_eq!(said(&CATALOG.replace('\n', "\r\n")), "");
    assert_eq!(said(&format!("\u{feff}{CATALOG}")), "");
    assert!(clean(SUMMARY, Rules::SUMMARY).is_ok());
}

#[test]
fn what_is_harmless_is_kept() {
    for (body, kept) in [
        (
            "<P CLASS=x ID='a'>Capitals, no quotes</p>",
            "<p class=\"x\" id=\"a\">Capitals, no quotes</p>",
        ),
        ("<p>One<p>Two</p>", "<p>One</p><p>Two</p>"),
        ("</div>ends that end nothing", "ends that end nothing"),
        ("<b>1 <i>2</i></b>", "<b>1 <i>2</i></b>"),
        (
            "<table border=\"1\" class=\"dataframe\"><tr style=\"text-align: right;\"><th></th><td align=\"right\">1</td></tr></table>",
            "<table border=\"1\" class=\"dataframe\"><tbody><tr><th></th><td align=\"right\">1</td></tr></tbody></table>",
        ),
        ("<pre>\n\n  indented\n</pre>", "<pre>\n\n  indented\n</pre>"),
        (
            "<p>&lt;script&gt;alert(1)&lt;/script&gt; &quot; &copy &unknown; a&b 1 < 2, a <= b, <</p>",
            "<p>&lt;script&gt;alert(1)&lt;/script&gt; \" © &amp;unknown; a&amp;b 1 &lt; 2, a &lt;= b, &lt;</p>",
        ),
        (
            "<p title='&lt;img src=x onerror=alert(1)&gt;' data-x=\"a&quot;b\">x</p>",
            "<p title=\"&lt;img src=x onerror=alert(1)&gt;\" data-x=\"a&quot;b\">x</p>",
        ),
        ("<br><br/><hr /><wbr>", "<br><br><hr><wbr>"),
        (
            "<svg viewBox='0 0 1 1' xmlns='http://www.w3.org/2000/svg'><g/><title>x &amp; y</title></svg>",
            "<svg viewBox=\"0 0 1 1\"><g></g><title>x &amp; y</title></svg>",
        ),
        ("<a href=\"#a b?c:d\">odd</a>", "<a href=\"#a b?c:d\">odd</a>"),
        ("<h2 id=\"onclick\">names</h2>", "<h2 id=\"onclick\">names</h2>"),
        (
            "مرحبا שלום 日本語 é 👩‍🔬 \u{200f}",
            "مرحبا שלום 日本語 é 👩‍🔬 \u{200f}",
        ),
    ] {
        assert_eq!(left(body), kept, "{body}");
    }
}

#[test]
fn looks_and_what_nobody_sees_are_left_out() {
    for (body, kept) in [
        ("<style>p { background: url(https://x.example/) }</style>", ""),
        ("<style>@import '//x.example/a.css';</style>a", "a"),
        ("<p style=\"position: fixed\" bgcolor=red>a</p>", "<p>a</p>"),
        ("<meta http-equiv=\"refresh\" content=\"0;url=//x.example\">", ""),
        ("<!-- plain --><!---->b", "b"),
        (
            "<main class=x data-catalog=1>c</main>",
            "<div class=\"x\" data-catalog=\"1\">c</div>",
        ),
        ("<svg style=\"fill: url(//x)\"></svg>", "<svg></svg>"),
        ("<body class=x onload=y>", ""),
    ] {
        if body.contains("onload") {
            assert!(
                left(body).contains("onload on <body> is not allowed"),
                "{}",
                left(body)
            );
        } else {
            assert_eq!(left(body), kept, "{body}");
        }
    }
    let page = whole("<style>a{}</style><meta name=robots content=noindex>", "");
    let clean = clean(&page, Rules::CATALOG).unwrap();
    assert_eq!((clean.title.as_str(), clean.has_heading), ("t", false));
    assert_eq!(clean.body.trim(), "<p id=\"intro\">Something.</p>");
}

#[test]
fn a_page_is_whole_and_has_a_name() {
    let good = page("");
    assert_eq!(said(&good), "");
    assert_eq!(said("<h1>A part</h1><p>is enough.</p>"), "");
    for (bad, what) in [
        (String::new(), "text before or after the page"),
        ("Sorry, I could not".into(), "text before or after the page"),
        (format!("Here it is:\n{good}"), "text before or after the page"),
        (format!("```html\n{good}```"), "text before or after the page"),
        (good.replace("</html>", ""), "no </html>"),
        (
            "<h1>t</h1><section><table><tr><td>12</td>".into(),
            "a page that ends within an element",
        ),
        (good.replace("<title>t</title>", ""), "neither <title> nor <h1>"),
        (
            good.replace("<title>t<", "<title>&nbsp; <"),
            "neither <title> nor <h1>",
        ),
        (good.replace("Something.", " &nbsp;\n"), "nothing to read"),
        (
            good.replace("Something.", "<svg><title>x</title><desc>y</desc></svg>"),
            "nothing to read",
        ),
    ] {
        assert!(said(&bad).contains(what), "{bad}: {}", said(&bad));
    }
}

#[test]
fn pages_have_a_size() {
    let of = |size: usize, rules: Rules| -> Result<_, Refusal> {
        let rest = size - page("").trim().len();
        clean(&page(&"x".repeat(rest)), rules)
    };
    assert!(of(5119, Rules::SUMMARY).is_ok());
    assert!(
        of(5120, Rules::SUMMARY)
            .unwrap_err()
            .to_string()
            .contains("5120 bytes with all tags closed and all text escaped, where 5119 are the most")
    );
    assert!(of(475_000, Rules::CATALOG).is_ok());
    assert!(of(475_001, Rules::CATALOG).is_err());
    assert_eq!(of(5 << 20, Rules::CATALOG).unwrap_err().count(), 1);
    let both = clean(&page("<script></script>"), Rules { max_bytes: 10 }).unwrap_err();
    assert_eq!(both.count(), 2);
    // What is written anew may be longer.
    let more = clean(&page(&"<p>&".repeat(20_000)), Rules { max_bytes: 100_000 }).unwrap_err();
    assert!(more.to_string().contains("where 100000 are the most"), "{more}");
}

#[test]
fn refusals_say_what_where_and_what_instead() {
    let body = "<section id=orders>\n<p onclick=\"go()\">a</p><p onclick='x'>b</p>\n<img src=\"https://x.example/a.png\"></section>";
    assert_eq!(
        said(&page(body)),
        "The page was not accepted. Mend all of this and hand it in again, whole:\n\
         - onclick on <p> is not allowed; remove it: pages run no code. It is in line 5, in html > body > section#orders > p (and 1 more)\n\
         - <img> is not allowed; draw as inline SVG: <svg viewBox=\"0 0 100 20\"><path d=\"M0 20h10v-8z\"/></svg>. It is in line 6, in html > body > section#orders > img"
    );
    let many = super::numbered(40, "<x-", "></div>");
    let many = said(&page(&many));
    assert!(many.ends_with("\n+20 more"), "{many}");
    assert!(many.len() < 10_000);
}

#[test]
fn text_is_what_a_reader_sees() {
    let text = text(CATALOG, 100_000);
    assert!(
        text.starts_with(
            "shop: 3 of 3 tables & 2 warnings\nSkip to the tables\nshop\nOrders of a small shop."
        ),
        "{text}"
    );
    for line in [
        "No freshness known for public.customers",
        "All tables",
        "Table | Purpose | Rows",
        "public.customers | probably one row per customer (by its name) | ≈1.2 M",
        "id PK | bigint | 0 | all distinct",
        "amount | numeric(10,2) | <0.1 % | 0.01 9,999",
        "CREATE TABLE orders (",
        "note text DEFAULT '<script>alert(1)</script>'",
    ] {
        assert!(text.lines().any(|it| it == line), "{line:?} is not in {text}");
    }
    for unseen in ["written by code", "prefers-color-scheme", "histogram", "viewport"] {
        assert!(!text.contains(unseen), "{unseen}");
    }
}

#[test]
fn text_is_cut_on_a_line() {
    let page = "<p>one</p><p>two</p><p>three</p>";
    assert_eq!(text(page, 13), "one\ntwo\nthree");
    assert_eq!(text(page, 12), "one\ntwo\n[5 more characters were left out]");
    assert_eq!(text(page, 7), "one\ntwo\n[5 more characters were left out]");
    assert_eq!(text(page, 6), "one\n[9 more characters were left out]");
    assert_eq!(text(page, 0), "[13 more characters were left out]");
    assert_eq!(text("äöüß", 2), "äö\n[2 more characters were left out]");
    assert_eq!(
        text(&format!("<p>a</p>{}", "b".repeat(50)), 10).lines().nth(1),
        Some("bbbbbbbb")
    );
}

#[test]
fn text_has_lines_and_cells() {
    for (page, seen) in [
        ("", ""),
        ("  a \n\t b<b>c</b>&nbsp;d<br>e", "a bc d\ne"),
        ("<ul><li>a<li>b</ul>c", "a\nb\nc"),
        (
            "<tr><td>a<td><p>b</p><p>c<br>d</p><td></td><td>e</table>f",
            "a | b c d | | e\nf",
        ),
        ("<table><tr><td></td><td>b</td></tr><tr><th>c</table>", "| b\nc"),
        ("<pre>a\n  b\n\nc</pre>", "a\nb\nc"),
        (
            "a<script>x<p>y</script>b<style>c</style><!-- d --><template>e<template>f</template>g</template>h",
            "abh",
        ),
        (
            "<svg><title>a</title><g><text>b</text></g></svg><svg><desc>c</svg>d",
            "b\nd",
        ),
        (
            "<title>a</title><body>b<noscript>c</noscript><iframe>d</iframe><textarea>e</textarea>",
            "a\nb\ne",
        ),
        ("a\u{202e}b\u{200b}\u{7}c&#x2066;d\u{e0041}e\u{feff}", "abcde"),
        ("a <!doctype b> c <?d?> e </ f> g <", "a c e g <"),
    ] {
        assert_eq!(text(page, 1000), seen, "{page}");
    }
}
