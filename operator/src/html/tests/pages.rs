//! Pages as models write them.

use super::super::{Refusal, Rules, check, text};
use super::{page, said, whole};

const CATALOG: &str = include_str!("catalog.html");
const SUMMARY: &str = include_str!("summary.html");

#[test]
fn good_pages_are_taken() {
    assert_eq!(said(CATALOG), "");
    assert_eq!(said(&CATALOG.replace('\n', "\r\n")), "");
    assert_eq!(said(&format!("\u{feff}{CATALOG}")), "");
    assert_eq!(check(SUMMARY, &Rules::SUMMARY), Ok(()));
}

#[test]
fn what_is_harmless_is_taken() {
    for body in [
        "",
        "<P CLASS=x ID='a'>Capitals, no quotes",
        "<p>One<p>Two<ul><li>a<li>b</ul>",
        "</p></div><p>Ends that end nothing",
        "<b>1 <i>2 <u>3</u></i></b>",
        "<table border=\"1\" class=\"dataframe\"><thead><tr style=\"text-align: right;\"><th></th><th>a</th></tr></thead>\
         <tbody><tr><th>0</th><td align=\"right\">1</td></tr></tbody></table>",
        "<table><tr><td><table><tr><td>in a table</table></table>",
        "<pre>\n\n  indented\n</pre><pre>\n</pre><pre></pre>",
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp;lt;b&amp;gt; &quot; &copy &#x1f600; &unknown; a&b</p>",
        "<p title='&lt;img src=x onerror=alert(1)&gt;' data-x=\"a&quot;b\">escaped</p>",
        "<!-- plain --><!----><!-- a - b ! -->",
        "<p>1 < 2, 3 <4, a <= b, <",
        "<br><br/><hr /><wbr>",
        "<svg/><svg></svg><svg viewBox='0 0 1 1'><svg><g/></svg><title>x &amp; y</title><title/></svg>",
        "<a>no link</a> <a href='#'>up</a> <a href=\"#a b?c:d\">odd</a>",
        "<h2 id=\"onclick\" class=\"script javascript:x url(x)\">names</h2>",
        "مرحبا שלום 日本語 नमस्ते é 👩‍🔬 \u{200f}",
    ] {
        assert_eq!(said(&page(body)), "", "{body}");
    }
    assert_eq!(
        said(&whole(
            "<meta name=robots content=noindex><style>p > b { color: red }</style>",
            ""
        )),
        ""
    );
    assert_eq!(said(&page("").replace("<!doctype html>\n", "")), "");
    assert_eq!(said("<html><meta charset=utf-8><title>t</title>x</html>"), "");
}

#[test]
fn a_page_is_one_whole_document() {
    let good = page("");
    for (bad, what) in [
        (String::new(), "no <html>"),
        ("Sorry, I could not".into(), "text outside of <html>"),
        (format!("Here it is:\n{good}"), "text outside of <html>"),
        (format!("```html\n{good}```"), "text outside of <html>"),
        (format!("{good}<p>x"), "an element outside of <html>"),
        (format!("{good}{good}"), "more than one <html>"),
        (good.replace("</html>", ""), "no </html>"),
        (good.replace("<title>t</title>", ""), "no <title>"),
        (good.replace("<title>t<", "<title>&nbsp; <"), "no <title>"),
        (good.replace("Something.", " &nbsp;\n"), "nothing to read"),
        (
            good.replace("Something.", "<svg><title>x</title><desc>y</desc></svg>"),
            "nothing to read",
        ),
        (good.replace("<meta charset=\"utf-8\">", ""), "no <meta charset"),
        (
            good.replace("<meta charset=\"utf-8\">", "<meta charset=\"latin1\">"),
            "charset=\"latin1\" on <meta>",
        ),
        (
            good.replace("<head>", &format!("<head><!--{}-->", "x".repeat(1024))),
            "no <meta charset",
        ),
        (page("<title>again</title>"), "more than one <title>"),
        (page("<body class=x>"), "more than one <body>"),
        (
            whole("<style>a{}</style>", "<style>b{}</style>"),
            "more than one <style>",
        ),
        (
            good.replace(
                "<!doctype html>",
                "<!DOCTYPE html PUBLIC \"-//W3C//DTD HTML 4.01//EN\">",
            ),
            "another doctype",
        ),
    ] {
        assert!(said(&bad).contains(what), "{bad}: {}", said(&bad));
    }
}

#[test]
fn pages_have_a_size() {
    let of = |size: usize, rules: &Rules| -> Result<(), Refusal> {
        let rest = size - page("").len();
        check(&page(&"x".repeat(rest)), rules)
    };
    assert_eq!(of(5119, &Rules::SUMMARY), Ok(()));
    assert!(
        of(5120, &Rules::SUMMARY)
            .unwrap_err()
            .to_string()
            .contains("5120 bytes, where 5119 are the most")
    );
    assert_eq!(of(512_000, &Rules::CATALOG), Ok(()));
    assert!(of(512_001, &Rules::CATALOG).is_err());
    assert_eq!(of(5 << 20, &Rules::CATALOG).unwrap_err().count(), 1);
    let both = check(&page("<script></script>"), &Rules { max_bytes: 10 }).unwrap_err();
    assert_eq!(both.count(), 2);
}

#[test]
fn refusals_say_what_where_and_what_instead() {
    let body = "<h2 id=orders>Orders</h2>\n<p onclick=\"go()\">a</p><p onclick='x'>b</p>\n<img src=\"https://x.example/a.png\">";
    assert_eq!(
        said(&page(body)),
        "The page was not accepted. Mend all of this and hand it in again, whole:\n\
         - onclick on <p> is not allowed; remove it: pages run no code. It is in line 5, column 4, below id=\"orders\": onclick=\"go()\" (and 1 more)\n\
         - <img> is not allowed; draw as inline SVG: <svg viewBox=\"0 0 100 20\"><path d=\"M0 20h10v-8z\"/></svg>. It is in line 6, column 1, below id=\"orders\": <img src=\"https://x.example/a.png\">"
    );
    let many = super::numbered(40, "<x-", ">");
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
