//! What a real browser does with hostile pages: nothing, once they are published.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cataloger::html::{Frame, Rules, clean, framed};
use cataloger_tests::browser::{self, Browser, Tab};
use cataloger_tests::command::Cataloger;
use cataloger_tests::databases::postgres;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// A frame without anything in it.
const EMPTY: &str = "</main>";

/// Waits until a page is there and all that it begins by itself has begun, then does what a reader could do.
const STIR: &str = r"(async () => {
    // A tab that is not seen draws nothing.
    const frame = () => Promise.race([new Promise(requestAnimationFrame), new Promise(done => setTimeout(done, 200))]);
    const frames = async n => { while (n--) await frame(); };
    if (document.readyState !== 'complete') await new Promise(done => addEventListener('load', done));
    await frames(3);
    for (const it of document.querySelectorAll('*')) {
        it.focus?.();
        for (const name of ['pointerover', 'mouseover', 'pointermove', 'pointerdown', 'mousedown', 'auxclick', 'contextmenu'])
            it.dispatchEvent(new MouseEvent(name, {bubbles: true}));
    }
    for (const it of document.querySelectorAll('details')) it.open = !it.open;
    for (const it of document.querySelectorAll('form')) it.requestSubmit?.();
    for (const it of document.querySelectorAll('a, area, button, summary, input'))
        it.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
    await frames(3);
    const all = [...document.querySelectorAll('*')];
    return {
        acted: !!window.acted,
        active: document.querySelectorAll('script, iframe, object, embed, form, input, button, img, image, video, audio, link, base, math, template').length,
        handlers: all.filter(it => it.getAttributeNames().some(name => name.startsWith('on'))).length,
        styled: getComputedStyle(document.body).marginTop === '0px',
        out: [...document.querySelectorAll('[href]')].map(it => it.getAttribute('href')).filter(it => !it.startsWith('#')),
    };
})()";

/// A host of the test's own: it has pages, and remembers what else it was asked for.
struct Site {
    address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            pages: Arc::default(),
            asked: Arc::default(),
        };
        let (pages, asked) = (site.pages.clone(), site.asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (pages, asked) = (pages.clone(), asked.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let path = request.uri().path().to_owned();
                    let page = pages.lock().unwrap().get(&path).cloned();
                    if page.is_none() && path != "/favicon.ico" {
                        asked.lock().unwrap().push(request.uri().to_string());
                    }
                    let response = Response::builder()
                        .header("content-type", "text/html; charset=utf-8")
                        .body(Full::new(Bytes::from(page.unwrap_or_default())));
                    async move { Ok::<_, Infallible>(response.unwrap()) }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serve);
            }
        });
        site
    }

    /// Markup that asks this host for what it wants to load, and says here that it acted.
    fn aimed(&self, markup: &str) -> String {
        markup
            .replace("x.example", &self.address.to_string())
            .replace("https:", "http:")
            .replace("//x\"", &format!("//{}/x\"", self.address))
            .replace("//x)", &format!("//{}/x)", self.address))
            .replace("//x>", &format!("//{}/x>", self.address))
            .replace("//x'", &format!("//{}/x'", self.address))
            .replace("alert(1)", "(top.acted=1)")
    }

    /// What a browser does with a page.
    async fn visit(&self, tab: &mut Tab<'_>, page: &str) -> Visit {
        self.asked.lock().unwrap().clear();
        self.pages.lock().unwrap().insert("/page".into(), page.to_owned());
        tab.navigate(&format!("http://{}/page", self.address)).await;
        let seen = tab.evaluate(STIR).await;
        let visit = Visit {
            left: seen.is_err(),
            seen: seen.unwrap_or_default(),
            asked: self.asked.lock().unwrap().clone(),
        };
        // Nothing of it goes on in the next.
        tab.navigate("about:blank").await;
        visit
    }
}

/// What was seen of a page.
#[derive(Debug)]
struct Visit {
    /// It went elsewhere.
    left: bool,
    seen: Value,
    /// What it asked for.
    asked: Vec<String>,
}

impl Visit {
    fn acted(&self) -> bool {
        self.left || !self.asked.is_empty() || self.seen["acted"] == true
    }

    /// It shows text in our style, and holds nothing that could act.
    fn is_dead(&self) -> bool {
        let number = |name: &str| self.seen[name].as_u64();
        !self.acted()
            && number("active") == Some(0)
            && number("handlers") == Some(0)
            && self.seen["styled"] == true
    }
}

struct Attack {
    markup: String,
    in_head: bool,
}

fn attacks(site: &Site) -> Vec<Attack> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/hostile_pages.json");
    let all: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    all.iter()
        .map(|attack| Attack {
            markup: site.aimed(attack["markup"].as_str().unwrap()),
            in_head: attack["in"] == "head",
        })
        .collect()
}

fn chromium() -> PathBuf {
    browser::find().expect("tests/prepare installs a browser")
}

fn frame() -> Frame {
    Frame {
        kind: "Catalog".into(),
        of: "postgresql://db.example/shop".into(),
        time: "2026-11-21 12:00:00 UTC".into(),
        datetime: "2026-11-21T12:00:00Z".into(),
        ..Frame::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_pages_do_nothing_in_a_browser() {
    let site = Site::start().await;
    let mut browser = Browser::start(&chromium());
    let mut tab = browser.tab().await;
    let attacks = attacks(&site);
    let harmless = framed(&clean("<h1>Text</h1>", Rules::CATALOG).unwrap(), &frame()).unwrap();
    assert!(site.visit(&mut tab, &harmless).await.is_dead());

    let (mut acting, mut published, mut held) = (0, 0, 0);
    for Attack { markup, in_head } in &attacks {
        let (above, below) = if *in_head {
            (markup.as_str(), "")
        } else {
            ("", markup.as_str())
        };
        let raw = format!(
            "<!doctype html><html><head><title>t</title>{above}</head><body><p id=\"intro\">Something.</p>{below}</body></html>"
        );
        // As it is, so that it is known what would happen.
        let acts = site.visit(&mut tab, &raw).await.acted();
        acting += usize::from(acts);
        // As it is published, if it is.
        if let Ok(page) = clean(&raw, Rules::CATALOG) {
            let page = framed(&page, &frame()).unwrap();
            let visit = site.visit(&mut tab, &page).await;
            assert!(visit.is_dead(), "{visit:?}\n{page}");
            published += 1;
        }
        // As it would be if nobody had cleaned it: the policy stands alone. It does not keep a reader from links.
        let around = harmless.replacen(EMPTY, &format!("{markup}{EMPTY}"), 1);
        let visit = site.visit(&mut tab, &around).await;
        let links = ["refresh", "<a", "<area", "<base"]
            .iter()
            .any(|it| markup.to_ascii_lowercase().contains(it));
        assert_ne!(visit.seen["acted"], true, "{visit:?}\n{around}");
        assert!(links || !visit.acted(), "{visit:?}\n{around}");
        held += usize::from(acts && !visit.acted());
    }
    tab.close().await;
    browser.close().await;
    println!(
        "hostile pages: shown={} act_as_they_are={acting} published={published} acting_when_published=0 held_by_the_policy_alone={held}",
        attacks.len()
    );
    // Else the test would see nothing.
    assert!(acting > 100, "{acting}");
    assert!(published > 50, "{published}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_databases_do_nothing_in_a_browser() {
    let site = Site::start().await;
    let markup: Vec<String> = attacks(&site)
        .into_iter()
        .map(|attack| attack.markup.replace('\0', ""))
        .filter(|markup| !markup.is_empty())
        .collect();
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    // Names have an end: at most 63 bytes.
    let name = |number: usize, text: &str| {
        let cut = &text[..text.floor_char_boundary(56)];
        format!("\"{}{number}\"", cut.replace('"', "\"\""))
    };
    let mut sql = Vec::new();
    for (number, attacks) in markup.chunks(6).enumerate() {
        let table = name(number, &attacks[0]);
        let columns: Vec<String> = attacks
            .iter()
            .enumerate()
            .map(|(at, attack)| format!("{} text DEFAULT {}", name(at, attack), text(attack)))
            .collect();
        sql.push(format!("CREATE TABLE {table} ({});", columns.join(", ")));
        let values: Vec<String> = attacks.iter().map(|attack| text(attack)).collect();
        let row = format!("({})", values.join(", "));
        sql.push(format!("INSERT INTO {table} VALUES {row}, {row}, {row};"));
        for (at, attack) in attacks.iter().enumerate() {
            sql.push(format!(
                "COMMENT ON COLUMN {table}.{} IS {};",
                name(at, attack),
                text(attack)
            ));
        }
        sql.push(format!("COMMENT ON TABLE {table} IS {};", text(&attacks[0])));
    }
    sql.push(format!(
        "CREATE VIEW {} AS SELECT {} AS a;",
        name(0, "</code><img src=x onerror=alert(1)>"),
        text(&markup[0])
    ));
    let database = postgres(&sql.join("\n"));

    let pages = tempfile::tempdir().unwrap();
    let directory = pages.path().to_str().unwrap();
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    let arguments = [
        "run", "--model", "builtin", "--table", "*", "--intent", hostile, "--output", directory,
    ];
    // Twice: the summary of the second compares.
    for _ in 0..2 {
        let output = Cataloger::new(arguments)
            .await
            .env("DATABASE_URL", &database.url())
            .run()
            .await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
    }

    let mut browser = Browser::start(&chromium());
    let mut tab = browser.tab().await;
    let mut shown = 0;
    for run in std::fs::read_dir(pages.path())
        .unwrap()
        .map(|it| it.unwrap().path())
    {
        for page in ["catalog.html", "recent_summary.html"].map(|name| run.join(name)) {
            let Ok(page) = std::fs::read_to_string(page) else {
                continue;
            };
            // Its own links lead to other pages of the run; following them is what they are for.
            let page = page
                .replace("href=\"../", "href=\"#")
                .replace("href=\"catalog", "href=\"#")
                .replace("href=\"recent", "href=\"#")
                .replace("href=\"summary", "href=\"#");
            let visit = site.visit(&mut tab, &page).await;
            assert!(visit.is_dead(), "{visit:?}");
            shown += 1;
        }
    }
    tab.close().await;
    browser.close().await;
    println!("hostile database: texts={} pages={shown} acting=0", markup.len());
    assert_eq!(shown, 4);
}
