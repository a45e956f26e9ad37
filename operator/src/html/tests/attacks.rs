//! Markup that has run code, loaded or sent something, or hidden what it is, in some browser or cleaner.

use super::super::{Frame, Rules, clean, escape, framed};
use super::hostile::acts;
use super::{page, said, whole};

/// What stands in a page's body, and what is said of it: nothing where it is left out, or only text.
#[rustfmt::skip]
const BODIES: &[(&str, &str)] = &[
    // Scripts
    ("<script>alert(1)</script>", "<script> is not allowed"),
    ("<SCRIPT SRC=//x.example/a.js></SCRIPT>", "<script> is not allowed"),
    ("<script/x>alert(1)</script>", "<script> is not allowed"),
    ("<script\n>alert(1)</script\n>", "<script> is not allowed"),
    ("<scr<script>ipt>alert(1)</script>", "<scr<script> is not allowed"),
    ("<<script>alert(1);//<</script>", "<script> is not allowed"),
    ("<script>alert(1)", "<script> is not allowed"),
    ("<script type=\"application/json\">{}</script>", "<script> is not allowed"),
    ("<svg><script>alert(1)</script></svg>", "<script> within <svg> is not allowed"),
    ("<svg><script href=\"data:,alert(1)\"/></svg>", "<script> within <svg> is not allowed"),
    ("<svg><script xlink:href=\"//x.example/a\"></script></svg>", "<script> within <svg> is not allowed"),
    ("<svg:script>alert(1)</svg:script>", "<svg:script> is not allowed"),
    ("<noscript><p title=\"</noscript><script>alert(1)</script>\">", "<noscript> is not allowed"),
    // Events
    ("<p onclick=alert(1)>x</p>", "onclick on <p> is not allowed"),
    ("<p OnMouseOver='alert(1)'>x</p>", "onmouseover on <p> is not allowed"),
    ("<p/onclick=alert(1)>x</p>", "onclick on <p> is not allowed"),
    ("<p\nonclick\n=\nalert(1)>x</p>", "onclick on <p> is not allowed"),
    ("<p\x0conclick=alert(1)>x</p>", "onclick on <p> is not allowed"),
    ("<p title=x\"onclick=alert(1)>x</p>", ""),
    ("<p title=\"x\"onclick=\"alert(1)\">x</p>", "onclick on <p> is not allowed"),
    ("<p title='a' \" onclick=alert(1)>x</p>", "onclick on <p> is not allowed"),
    ("<p title=`x onclick=alert(1)`>x</p>", "onclick on <p> is not allowed"),
    ("<svg onload=alert(1)>", "onload on <svg> is not allowed"),
    ("<svg/onload=alert(1)//", "onload on <svg>"),
    ("<svg><g onload=alert(1)></g></svg>", "onload on <g> is not allowed"),
    ("<details open ontoggle=alert(1)><summary>x</summary></details>", "ontoggle on <details>"),
    ("<p onbeforescriptexecute=alert(1)>", "onbeforescriptexecute on <p>"),
    ("<a href='#x' onpointerrawupdate=alert(1)>x</a>", "onpointerrawupdate on <a>"),
    ("<style onload=alert(1)></style>", ""),
    // Links
    ("<a href=\"javascript:alert(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"JaVaScRiPt:alert(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"&#106;&#x61;vascript&colon;alert(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"java&Tab;script:alert(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"java\nscript:alert(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"\u{1}javascript:alert(1)\">x</a>", "the invisible character U+0001"),
    ("<a href=\" #x\">x</a>", "href on <a> that leads out"),
    ("<a href=\"data:text/html,<script>alert(1)</script>\">x</a>", "href on <a> that leads out"),
    ("<a href=\"vbscript:msgbox(1)\">x</a>", "href on <a> that leads out"),
    ("<a href=\"https://x.example/\">x</a>", "href on <a> that leads out"),
    ("<a href=\"//x.example/\">x</a>", "href on <a> that leads out"),
    ("<a href=\"other.html#x\">x</a>", "href on <a> that leads out"),
    ("<a href=\"\">x</a>", "href on <a> that leads out"),
    ("<a href=\"mailto:x@x.example\">x</a>", "href on <a> that leads out"),
    ("<a href=\"#x\" ping=\"https://x.example/\">x</a>", "ping on <a> is not allowed"),
    ("<a href=\"#x\" target=\"_blank\">x</a>", ""),
    ("<a href=\"#x\" href=\"javascript:alert(1)\">x</a>", ""),
    ("<svg><a xlink:href=\"javascript:alert(1)\"><text>x</text></a></svg>", "xlink:href on <a> that leads out"),
    ("<blockquote cite=\"https://x.example/\">x</blockquote>", "cite on <blockquote> is not allowed"),
    // What loads
    ("<img src=x onerror=alert(1)>", "<img> is not allowed"),
    ("<img src=\"data:image/png;base64,iVBORw0KGgo=\">", "<img> is not allowed"),
    ("<IMG \"\"\"><SCRIPT>alert(1)</SCRIPT>\">", "<img> is not allowed"),
    ("<image src=x onerror=alert(1)>", "<img> is not allowed"),
    ("<picture><source srcset=x></picture>", "<picture> is not allowed"),
    ("<video><source onerror=alert(1)></video>", "<video> is not allowed"),
    ("<audio src=x onerror=alert(1)></audio>", "<audio> is not allowed"),
    ("<link rel=stylesheet href=//x.example/a.css>", "<link> is not allowed"),
    ("<link rel=dns-prefetch href=//secret.x.example>", "<link> is not allowed"),
    ("<base href=\"javascript:/a/-alert(1)///\">", "<base> is not allowed"),
    ("<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>", "<iframe> is not allowed"),
    ("<frameset onload=alert(1)>", ""),
    ("<object data=\"data:text/html,x\"></object>", "<object> is not allowed"),
    ("<embed src=\"javascript:alert(1)\">", "<embed> is not allowed"),
    ("<applet code=x></applet>", "<applet> is not allowed"),
    ("<portal src=\"https://x.example/\"></portal>", "<portal> is not allowed"),
    ("<table background=\"javascript:alert(1)\"><tr><td>x</table>", "background on <table> is not allowed"),
    ("<bgsound src=x>", "<bgsound> is not allowed"),
    ("<meta http-equiv=\"refresh\" content=\"0;url=javascript:alert(1)\">", ""),
    ("<meta name=\"referrer\" content=\"unsafe-url\">", ""),
    ("<meta charset=\"utf-7\">+ADw-script+AD4-", ""),
    ("<canvas></canvas>", "<canvas> is not allowed"),
    ("<x-element is=\"x\">", "<x-element> is not allowed"),
    // What sends
    ("<form action=//x.example><input name=a></form>", "<form> is not allowed"),
    ("<input autofocus onfocus=alert(1)>", "<input> is not allowed"),
    ("<isindex type=image src=1 onerror=alert(1)>", "<isindex> is not allowed"),
    ("<button formaction=\"javascript:alert(1)\">x</button>", "<button> is not allowed"),
    ("<select><option>x</select>", "<select> is not allowed"),
    ("<textarea autofocus></textarea>", "<textarea> is not allowed"),
    ("<dialog open>x</dialog>", "<dialog> is not allowed"),
    ("<p contenteditable autofocus>x</p>", "contenteditable on <p> is not allowed"),
    // CSS
    ("<p style=\"background: url(https://x.example/)\">x</p>", ""),
    ("<p style=\"background: url('javascript:alert(1)')\">x</p>", ""),
    ("<p style=\"background: u\\72l(//x)\">x</p>", ""),
    ("<p style=\"background: &#117;rl(//x)\">x</p>", ""),
    ("<p style=\"width: expression(alert(1))\">x</p>", ""),
    ("<p style=\"width: exp/**/ression(alert(1))\">x</p>", ""),
    ("<p style=\"-moz-binding: url(//x#y)\">x</p>", ""),
    ("<p style=\"behavior: url(#default#time2)\">x</p>", ""),
    ("<p style=\"background-image: image-set('//x' 1x)\">x</p>", ""),
    ("<p style=\"}@import '//x'; a{\">x</p>", ""),
    ("<svg><rect fill=\"url(//x.example/a.svg#b)\"/></svg>", "url() that leads out of the page"),
    ("<svg><rect mask=\"url('https://x.example/a#b')\"/></svg>", "url() that leads out of the page"),
    ("<svg><rect marker-end='url(data:image/svg+xml,x#y)'/></svg>", "url() that leads out of the page"),
    ("<svg><rect cursor=\"url(//x)\"/></svg>", "cursor on <rect> is not allowed"),
    // Drawings
    ("<svg><use href=\"data:image/svg+xml,x#y\"/></svg>", "href on <use> that leads out"),
    ("<svg><use xlink:href=\"//x.example/a.svg#b\"/></svg>", "xlink:href on <use> that leads out"),
    ("<svg><image href=\"//x.example/\"/></svg>", "<image> within <svg> is not allowed"),
    ("<svg><feImage href=\"//x.example/\"/></svg>", "<feimage> within <svg> is not allowed"),
    ("<svg><foreignObject><p>x</p></foreignObject></svg>", "<foreignobject> within <svg> is not allowed"),
    ("<svg><animate attributeName=href values=javascript:alert(1) /></svg>", "<animate> within <svg>"),
    ("<svg><a><set attributeName=href to=javascript:alert(1) /></a></svg>", "<set> within <svg>"),
    ("<svg><animate onbegin=alert(1) /></svg>", "<animate> within <svg>"),
    ("<svg><handler>alert(1)</handler></svg>", "<handler> within <svg> is not allowed"),
    ("<svg><rect xml:base=\"//x\"/></svg>", "xml:base on <rect> is not allowed"),
    ("<svg xmlns=\"http://www.w3.org/1999/xhtml\"><g/></svg>", ""),
    ("<svg><x:script xmlns:x=\"http://www.w3.org/2000/svg\">alert(1)</x:script></svg>", "<x:script> within <svg>"),
    ("<svg><path d=\"M0 0\"><p>x</p></svg>", ""),
    ("<svg><g></svg></g>", ""),
    ("<svg><rect></svg>", ""),
    ("<svg><g>", ""),
    ("</g></svg><rect width=1 />", "<rect> is not allowed"),
    ("<svg><g id=a><use href=#b /></g><g id=b><path d=''/></g><use href=#a /></svg>", "<use> of what holds <use> itself"),
    ("<svg><use id=a href=#b /><use id=b href=#a /></svg>", "<use> of what holds <use> itself"),
    ("<svg id=a><use xlink:href=#a /></svg>", "<use> of what holds <use> itself"),
    // What is read anew as something else
    ("<svg><style><img src=x onerror=alert(1)></style></svg>", "<style> within <svg> is not allowed"),
    ("<svg></p><style><a id=\"</style><img src=1 onerror=alert(1)>\">", "<img> is not allowed"),
    ("<svg><title><img src=x onerror=alert(1)></title></svg>", "<img> in an element where it means something else"),
    ("<svg><desc><g></g></desc></svg>", "<g> in an element where it means something else"),
    ("<svg><title><style><img src=x></style></title></svg>", "<style> in an element where it means something else"),
    ("<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">", "text or an element directly within <table>, <tbody> or <tr>"),
    ("<math href=\"javascript:alert(1)\">x</math>", "<math> is not allowed"),
    ("<math><annotation-xml encoding=\"text/html\"><p>x</annotation-xml></math>", "<math> is not allowed"),
    ("<svg><![CDATA[><img src=x onerror=alert(1)>]]></svg>", ""),
    ("<p><![CDATA[<!--]]><img src=x>--></p>", "a comment with markup in it"),
    ("<template><script>alert(1)</script></template>", "<template> is not allowed"),
    ("<template shadowrootmode=open><p>x</template>", "<template> is not allowed"),
    ("<plaintext>", "<plaintext> is not allowed"),
    ("<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\"></xmp>", "<xmp> is not allowed"),
    ("<noembed><p title=\"</noembed><img src=x>\"></noembed>", "<noembed> is not allowed"),
    ("<listing>\n&lt;img src=x&gt;</listing>", "<listing> is not allowed"),
    ("<!--><img src=x onerror=alert(1)>-->", "<img> is not allowed"),
    ("<!---><img src=x onerror=alert(1)>-->", "<img> is not allowed"),
    ("<!-- --!><img src=x onerror=alert(1)> -->", "<img> is not allowed"),
    ("<!-- <!-- --><img src=x> -->", "a comment with markup in it"),
    ("<!--[if gte IE 4]><script>alert(1)</script><![endif]-->", "a comment with markup in it"),
    ("<!-- a -- b -->", ""),
    ("<!-- a --->", ""),
    ("<!-- never closed", "a tag or a comment that does not end"),
    ("<?xml-stylesheet href=\"//x\"?>", ""),
    ("<?php echo 1 ?>", ""),
    ("<!ENTITY x \"y\">", ""),
    ("<% alert(1) %>", ""),
    ("</ script>x", ""),
    ("</p onclick=alert(1)>", ""),
    ("</br>", ""),
    ("<div/>x", ""),
    ("<p title=\"x>y</p><p class=\"z\">w</p>", "z\" on <p> is not allowed"),
    ("<p title=\"</p><script>alert(1)</script>\">x</p>", ""),
    ("<p title=\"never closed>x</p>", "a tag or a comment that does not end"),
    ("<p =x>y</p>", "=x on <p> is not allowed"),
    ("<p title=>x</p>", ""),
    ("<p a/b>x</p>", "a on <p> is not allowed"),
    ("<p id=a ID=b>x</p>", ""),
    ("<p title=\"a\0b\">x</p>", ""),
    ("a\0b", ""),
    ("<scr\0ipt>alert(1)</scr\0ipt>", "<scr\u{fffd}ipt> is not allowed"),
    ("a\u{1b}$B b", "the invisible character U+001B"),
    ("&#x202e;gnp.exe", "the invisible character U+202E"),
    ("<p data-x=\"\u{2066}\">x</p>", "the invisible character U+2066"),
    ("x\u{e0041}\u{e0042}", "the invisible character U+E0041"),
    // What a browser moves or makes anew
    ("<table><p>x</p></table>", "directly within <table>"),
    ("<table>x<tr><td>y</table>", "directly within <table>"),
    ("<table><tr><b>x</b><td>y</table>", "directly within <table>"),
    ("<h1><i class=x><h1></i>", "means something else"),
];

/// The same for its head.
#[rustfmt::skip]
const HEADS: &[(&str, &str)] = &[
    ("<style>@import url(//x.example/a.css);</style>", ""),
    ("<style>@im\\port '//x';</style>", ""),
    ("<style>@font-face { font-family: a; src: url(//x) }</style>", ""),
    ("<style>@namespace x 'y';</style>", ""),
    ("<style>input[value^=a] { background: url(//x.example/a) }</style>", ""),
    ("<style>a { content: '</style><script>alert(1)</script>' }</style>", "<script> is not allowed"),
    ("<style>a::after { content: '<img>' }</style>", ""),
    ("<style>a <!-- { } --></style>", ""),
    ("<style><p title=\"</style><img src=x onerror=alert(1)>\"></style>", "<img> is not allowed"),
    ("<style media=\"x\" nonce=\"y\"></style>", ""),
    ("<style type=\"text/less\"></style>", ""),
    ("<style>a { color: red", "nothing to read on the page"),
    ("<style/><script>alert(1)</script></style>", ""),
    ("<script src=x></script>", "<script> is not allowed"),
    ("<meta http-equiv=\"Content-Security-Policy\" content=\"x\">", ""),
    ("<meta charset=utf-8 http-equiv=refresh content=0>", ""),
    ("<base target=_blank>", "<base> is not allowed"),
    ("<link rel=icon href=x>", "<link> is not allowed"),
    ("<noscript><link rel=stylesheet href=//x></noscript>", "<noscript> is not allowed"),
];

#[test]
fn all_are_refused_or_do_nothing() {
    let bodies = BODIES.iter().map(|(attack, what)| (page(attack), what));
    let heads = HEADS.iter().map(|(attack, what)| (whole(attack, ""), what));
    for (page, what) in bodies.chain(heads) {
        let said = said(&page);
        assert_eq!(what.is_empty(), said.is_empty(), "of {page}\nis said: {said}");
        assert!(
            said.contains(what),
            "not {what:?}, but of {page}\nis said: {said}"
        );
        does_nothing(&page);
    }
}

/// If it is published at all.
fn does_nothing(page: &str) {
    if let Ok(clean) = clean(page, Rules::CATALOG) {
        let published = framed(&clean, &Frame::default()).unwrap();
        assert!(!acts(&published), "{published}");
    }
}

#[test]
fn titles_hold_no_markup() {
    for title in [
        "</title><script>alert(1)</script>",
        "<!--</title>-->",
        "<script>",
        "<meta charset=utf-7>",
    ] {
        let page = page("").replace("<title>t", &format!("<title>t{title}"));
        does_nothing(&page);
        if let Ok(clean) = clean(&page, Rules::CATALOG) {
            let published = framed(&clean, &Frame::default()).unwrap();
            assert!(
                published.contains(&format!(
                    "<title>t{} ·",
                    escape(title.trim_end_matches("</title>-->"))
                )),
                "{published}"
            );
        }
    }
}

#[test]
fn an_attack_stays_one_wherever_it_stands() {
    for (attack, what) in BODIES {
        for around in [
            "<table><tr><td>{}</td></tr></table>",
            "<details><summary>{}</summary></details>",
            "<pre>{}</pre>",
            "<svg><g>{}</g></svg>",
            "<ul><li>{}",
        ] {
            let page = page(&around.replace("{}", attack));
            assert!(
                what.is_empty() || !said(&page).is_empty(),
                "{page}, which has {what}"
            );
            does_nothing(&page);
        }
    }
}
