//! What is published: the page in its frame.

use super::super::{Clean, Frame, Rules, clean, framed};

fn frame() -> Frame {
    Frame {
        kind: "Catalog".into(),
        of: "postgresql://db.example/shop<b>".into(),
        time: "2026-11-21 12:00:00 UTC".into(),
        datetime: "2026-11-21T12:00:00Z".into(),
        links: vec![("What changed".into(), "recent_summary.html".into())],
        facts: vec![
            (
                "2 tables".into(),
                vec!["public.a".into(), "public.\u{202e}\"b\"</footer>".into()],
            ),
            (
                "Used".into(),
                (0..400).map(|number| format!("{number} times")).collect(),
            ),
            ("Asked for".into(), vec!["x".repeat(400)]),
        ],
    }
}

fn published(page: &str) -> String {
    framed(&clean(page, Rules::CATALOG).unwrap(), &frame()).unwrap()
}

#[test]
fn the_frame_says_where_a_page_comes_from() {
    let page = published("<title>Shop &amp; more</title><p>Text</p>");
    for part in [
        "<title>Shop &amp; more · 2026-11-21 12:00:00 UTC</title>",
        "<strong>Catalog</strong> <code>postgresql://db.example/shop&lt;b&gt;</code> <time datetime=\"2026-11-21T12:00:00Z\">2026-11-21 12:00:00 UTC</time>",
        "<a href=\"recent_summary.html\">What changed</a>",
        "<main id=\"cataloger-page\"><h1>Shop &amp; more</h1>\n<p>Text</p></main>",
        "<dd>public.⟨U+202E⟩&quot;b&quot;&lt;/footer&gt;</dd>",
        "<dd>50 times</dd>",
        " more</dd></div>",
        "xxx…</dd>",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(page.len() < 25_000, "{}", page.len());
}

#[test]
fn a_frame_is_small_whatever_it_says() {
    let long = "\u{202e}".repeat(1000);
    let page = framed(
        &clean(
            &format!("<title>{}</title>x<p>", "&lt;".repeat(500)),
            Rules::CATALOG,
        )
        .unwrap(),
        &Frame {
            of: long.clone(),
            facts: vec![("Tables".into(), vec![long; 1000]); 7],
            ..frame()
        },
    );
    let bytes = page.unwrap().len();
    assert!(bytes < 25_000, "{bytes}");
}

#[test]
fn a_heading_stands_once() {
    let page = published("<title>One</title><h1>Two</h1>");
    assert_eq!(page.matches("<h1>").count(), 1);
    assert!(page.contains("<title>One ·"));
}

#[test]
fn what_was_not_cleaned_does_not_get_out_of_its_frame() {
    for body in [
        "</main><p>outside",
        "<table>",
        "<style>",
        "<!--",
        "<b>",
        "<p title=\"",
        "<title>",
        "<footer>x</footer></main><footer>",
        "<body data-x=y>",
        "<html data-x=y>",
    ] {
        let page = Clean {
            title: "t".into(),
            body: body.into(),
            has_heading: true,
        };
        assert!(framed(&page, &frame()).is_err(), "{body}");
    }
}
