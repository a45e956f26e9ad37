//! Input that is made to break what reads it, or to keep it busy.

use proptest::prelude::*;

use super::super::tree::{Content, Tree};
use super::super::{Frame, Rules, clean, framed, text};
use super::{page, said};

/// Pages of some hundred kilobytes that are worst for one part or another.
fn monsters() -> Vec<String> {
    let many = |part: &str| part.repeat(100_000 / part.len());
    let numbered = |begin: &str, end: &str| super::numbered(8_000, begin, end);
    vec![
        many("<div>"),
        many("<b>"),
        many("<svg>"),
        many("<svg><g>"),
        many("<table>"),
        many("<table><tr><td>"),
        many("<p><a href=#x>"),
        many("<pre>"),
        many("<template>"),
        many("<!--"),
        many("<"),
        many("</"),
        many("<!"),
        many("&"),
        many("&a"),
        many("&#"),
        many("<a title="),
        many("</svg>"),
        many("</p>"),
        many("<b><p></b>"),
        many("\u{202e}"),
        many("\0"),
        many("<td>"),
        many("\""),
        many("--"),
        format!("<p {}>", numbered("a", " ")),
        format!("<p {}", numbered("a", "=x ")),
        format!("<p a{}>", numbered("", "/b")),
        numbered("<b class=x", "><p>"),
        numbered("<b class=x", "></p><p>x"),
        numbered("<x-", ">"),
        numbered("<p id=x", " onclick=y>"),
        numbered("<html a", ">"),
        numbered("<body a", ">"),
        format!("<style>{}", numbered("@x", " url(y)")),
        format!("<style>{}", many("/*")),
        format!("<style>{}", many("url(")),
        format!("<style>{}", many("'")),
        format!("<style>{}", many("</styl")),
        format!("<div>{}", many("<i></i>")) + &many("<b><div></b>"),
        format!("<svg><style><a {}>", numbered("a", " ")),
    ]
}

#[test]
fn monsters_are_refused_and_read_to_the_end() {
    for monster in monsters() {
        let page = page(&monster);
        let name: String = monster.chars().take(20).collect();
        let text = text(&page, 1000);
        assert!(text.chars().count() < 1100, "{name}");
        // Some are harmless to a page, but none for a summary.
        assert!(clean(&page, Rules::SUMMARY).is_err(), "{name}");
    }
}

#[test]
fn text_reads_what_is_nested_without_end() {
    let deep = format!("{}core{}", "<div>".repeat(100_000), "</div>".repeat(100_000));
    assert_eq!(text(&deep, 100), "core");
    let long = "<p>word</p>".repeat(500_000);
    assert!(text(&long, 100).ends_with("more characters were left out]"));
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| page(&format!("{}x{}", "<div>".repeat(depth), "</div>".repeat(depth)));
    assert_eq!(said(&nested(93)), "");
    assert!(said(&nested(95)).contains("elements nested more than 96 deep"));
    assert!(said(&nested(101)).contains("elements nested more than 96 deep"));
    let drawing = |depth: usize| {
        page(&format!(
            "<svg>{}{}</svg>",
            "<g>".repeat(depth),
            "</g>".repeat(depth)
        ))
    };
    assert_eq!(said(&drawing(90)), "");
    assert!(said(&drawing(101)).contains("elements nested more than 96 deep"));
}

#[test]
fn what_multiplies_is_stopped() {
    let many = super::numbered(90, "<b class=x", ">");
    let page = page(&format!("<p>{many}{}", "<p>x".repeat(5000)));
    assert!(
        said(&page).contains("elements that overlap or are not closed"),
        "{}",
        said(&page)
    );
}

/// Some of the parts between `¦`, in any order.
fn mixed(parts: &'static str, most: usize) -> impl Strategy<Value = String> {
    let parts: Vec<&str> = parts.split('¦').collect();
    prop::collection::vec(prop::sample::select(parts), 0..most).prop_map(|parts| parts.concat())
}

/// Parts of markup that mean something.
fn soup() -> impl Strategy<Value = String> {
    mixed(
        "<¦>¦/¦=¦\"¦'¦`¦ ¦\n¦&¦;¦#¦-¦!¦?¦\0¦x¦é¦<!--¦-->¦--!>¦<!doctype html>¦<![CDATA[¦]]>¦<p¦<p>¦</p>¦\
         <b>¦</b>¦<i class=1>¦</i>¦<a href=#x>¦</a>¦<div>¦</div>¦<table>¦</table>¦<tr>¦<td>¦</td>¦\
         <caption>¦<svg>¦</svg>¦<svg/>¦<g>¦</g>¦<path d=''/>¦<title>¦</title>¦<desc>¦</desc>¦<style>¦\
         </style>¦<use href=#x />¦<text>¦</text>¦<pre>¦</pre>¦\n\n¦<br>¦<br/>¦</br>¦<math>¦<mi>¦</math>¦\
         <foreignObject>¦<template>¦</template>¦<textarea>¦</textarea>¦<select>¦<option>¦</select>¦\
         <plaintext>¦<script>¦</script>¦<iframe>¦</iframe>¦<noscript>¦</noscript>¦<img src=x>¦<form>¦\
         <input>¦<html>¦</html>¦<head>¦</head>¦<body>¦</body>¦<frameset>¦<colgroup>¦<col>¦<li>¦<ul>¦\
         </ul>¦<h1>¦</h2>¦<details>¦<summary>¦ onclick=x¦ href=javascript:x¦ title=\"¦ class='¦&lt;¦\
         &amp¦&#60;¦&#x202e;¦&nbsp;¦&notit;¦url(x)¦@import¦\\¦/*¦*/¦<marquee>¦<font color=x>¦\
         <annotation-xml encoding=text/html>¦<hr>¦<nobr>",
        40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_is_total_and_clean(input in prop_oneof![soup(), any::<String>()], most in 0_usize..200) {
        let seen = text(&input, most);
        prop_assert!(seen.chars().all(|it| it == '\n' || !it.is_control()));
        let has_unseen = seen.contains(['\u{202e}', '\u{2066}']);
        prop_assert!(!has_unseen);
        prop_assert!(!seen.contains("\n\n") && !seen.contains("  "));
        let (cut, note) = match seen.rsplit_once('\n') {
            Some((before, last)) if last.ends_with("left out]") => (before, true),
            _ if seen.ends_with("left out]") => ("", true),
            _ => (seen.as_str(), false),
        };
        prop_assert!(cut.chars().count() <= most);
        let whole = text(&input, usize::MAX);
        prop_assert!(whole.starts_with(cut));
        prop_assert_eq!(note, whole.chars().count() > most);
    }

    #[test]
    fn text_has_no_tags(words in prop::collection::vec("[a-z]{1,5}", 1..20), tags in prop::collection::vec("</?(p|b|td|tr|div|svg|table|x-y)( (a|b)=('[^']{0,3}'|\"[^\"]{0,3}\"))?/?>", 1..20)) {
        let input: Vec<_> = tags.iter().cycle().zip(&words).flat_map(|(tag, word)| [tag.as_str(), word]).collect();
        let input = input.concat();
        let seen = text(&input, usize::MAX);
        prop_assert!(!seen.contains(['<', '>']), "{input}: {seen}");
        let letters = |text: &str| text.chars().filter(char::is_ascii_lowercase).collect::<String>();
        prop_assert_eq!(letters(&seen), words.concat());
    }

    /// Whatever is handed in: it is refused in few words, or what is published does nothing.
    #[test]
    fn what_is_published_does_nothing(input in prop_oneof![soup(), mild(), any::<String>()], whole in any::<bool>()) {
        let page = if whole { page(&input) } else { format!("<h1>x</h1>{input}<p>y</p>") };
        match clean(&page, Rules::CATALOG) {
            Err(refusal) => {
                prop_assert!(refusal.to_string().len() < 20_000);
                prop_assert!(refusal.to_string().chars().all(|it| it == '\n' || !it.is_control()));
            }
            Ok(clean) => {
                let published = framed(&clean, &Frame { kind: "Catalog".into(), ..Frame::default() });
                prop_assert!(published.is_ok(), "{}", page);
                let published = published.unwrap_or_default();
                prop_assert!(!acts(&published), "{}", published);
            }
        }
    }

    /// What was cleaned stays as it is.
    #[test]
    fn clean_is_clean(input in prop_oneof![soup(), mild()]) {
        if let Ok(once) = clean(&page(&input), Rules::CATALOG) {
            let again = clean(&format!("<title>t</title>{}<!-- end -->", once.body), Rules::CATALOG);
            prop_assert_eq!(again.map(|it| it.body.trim().to_owned()), Ok(once.body.trim().to_owned()), "{}", input);
        }
    }
}

/// Markup that is mostly harmless, so that some of it is taken.
fn mild() -> impl Strategy<Value = String> {
    mixed(
        "<p>¦</p>¦<b>¦</b>¦<a href=#x>¦</a>¦<div title=\"&lt;p\">¦</div>¦<table><tr><td>¦<td>¦</table>¦\
         <svg><g>¦</g></svg>¦<svg><title>¦</title></svg>¦<path d=''/>¦<pre>\n¦</pre>¦<ul><li>¦</ul>¦\
         <h1>¦</h1>¦<br>¦x¦&amp;¦&#60;script&#62;¦<!-- x -->¦< 5¦\n¦<p onclick=x>¦<a href=x>¦\
         <img src=x>¦<script>¦</script>¦<style>¦</style>¦\" ¦' ¦`¦<!--¦-->¦<main>¦</main>¦<style>a{}</style>¦\
         <p style='color: red'>¦<meta name=x>¦<title>¦</title>",
        12,
    )
}

/// Whether something in a page runs, loads or sends, judged crudely and not by our lists.
pub(super) fn acts(page: &str) -> bool {
    let Ok(tree) = Tree::parse(page) else {
        return true;
    };
    let count = |wanted: &str| tree.named(wanted).count();
    let is_doubled = ["html", "head", "body", "title", "style", "main", "footer"]
        .into_iter()
        .any(|name| count(name) != 1);
    is_doubled
        || tree.nodes.iter().any(|node| match &node.content {
            Content::Element(name, attributes) => {
                let acting = "script img image iframe form input select button textarea template math foreignObject noscript \
                              object embed link base video audio set animate marquee frameset";
                let is_ours = &*name.local == "meta" && count("meta") == 5;
                acting.split(' ').any(|acting| acting == &*name.local)
                    || attributes.iter().any(|it| {
                        let (name, value) = (&*it.name.local, it.value.to_lowercase());
                        name.starts_with("on")
                            || matches!(name, "src" | "background" | "ping" | "style")
                            || (name == "http-equiv" && !is_ours)
                            || (name == "href" && !value.starts_with('#'))
                            || value.contains("url(/")
                    })
            }
            _ => false,
        })
}
