//! Secrets of all shapes, thrown about by careless and by hostile code and by the model itself: none leaves a
//! run as it is, nor in any of the ways of writing that `docs/redaction.md` names.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use cataloger::redact::Redactor;
use cataloger::run::{Database, Event, Parts, Plan, Sandboxes};
use cataloger::store::{Depth, Store as _, list_all};
use cataloger_tests::author::{Asker, page, place};
use cataloger_tests::databases::{PASSWORD, postgres};
use cataloger_tests::model_server::{Failure, KEY, Recorded, Say, Script};
use cataloger_tests::s3;
use serde_json::{Value, json};

use crate::scene::{self, Scene};
use crate::stage::{Warm, start};

/// How many secrets a run has, and how many of them are in the URL of its database.
const PER_RUN: usize = 100;
const IN_URL: usize = 3;
/// So many at once leave their code's output whole.
const AT_ONCE: usize = 4;

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn secret(&mut self) -> String {
        let printable: String = (' '..='~').collect();
        let alphabets = [
            printable.as_str(),
            printable.as_str(),
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "0123456789abcdef",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=",
            "\\\"'`%&;<>{}[]()/?#@:+= $!|^~*,.-_a1",
            "\\\\\\nrtu0x41\"'/",
            "%%%2541aF0+ ",
            "&amp;lt#x39;quo",
            "äöüßéñçøЖдщ密码🦀ẞ abcdefgh123456%\\",
        ];
        let alphabet: Vec<char> = alphabets[self.roll(alphabets.len())].chars().collect();
        // Of those that are long in every way of writing, shorter ones.
        let most = if alphabet[0].is_ascii() { 79 } else { 40 };
        let length = 6 + self.roll(most - 6);
        let mut secret: Vec<char> = (0..length).map(|_| alphabet[self.roll(alphabet.len())]).collect();
        // Words and numbers are weak, and that is another matter.
        secret.insert(1 + self.roll(3), 'Q');
        secret.push('7');
        secret.into_iter().collect()
    }

    fn secrets(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.secret()).collect()
    }
}

fn percent(text: &str, upper: bool, keep: &[u8]) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(byte.into());
        } else if upper {
            write!(out, "%{byte:02X}").unwrap();
        } else {
            write!(out, "%{byte:02x}").unwrap();
        }
    }
    out
}

fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn in_ascii(text: &str) -> String {
    let mut out = String::new();
    for unit in in_json(text).encode_utf16() {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => out.push(byte.into()),
            None => write!(out, "\\u{unit:04x}").unwrap(),
        }
    }
    out
}

fn in_html(text: &str, apostrophe: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', apostrophe)
}

/// What must not be found.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        in_json(secret),
        in_ascii(secret),
        in_json(&in_json(secret)),
        in_json(&in_ascii(secret)),
        secret.replace('\\', "\\\\").replace('\'', "\\'"),
        percent(secret, true, b"_.-~"),
        percent(secret, true, b"_.-~/"),
        percent(secret, false, b"_.-~"),
        percent(&percent(secret, true, b"_.-~"), true, b"_.-~"),
        percent(secret, true, b"_.-~ ").replace(' ', "+"),
        in_html(secret, "&#x27;"),
        in_html(secret, "&#39;"),
        in_json(&in_html(secret, "&#x27;")),
        hex::encode(secret),
        hex::encode_upper(secret),
    ];
    for shift in 0..3 {
        // What does not depend on what stands before and after it.
        let inner = &secret.as_bytes()[(3 - shift) % 3..];
        let inner = &inner[..inner.len() / 3 * 3];
        forms.push(STANDARD_NO_PAD.encode(inner));
        forms.push(URL_SAFE_NO_PAD.encode(inner));
    }
    forms.retain(|form| form.len() >= 8);
    forms
}

/// Looks for secrets.
struct Search {
    automaton: AhoCorasick,
    forms: Vec<String>,
}

impl Search {
    fn new<S: AsRef<str>>(secrets: &[S]) -> Self {
        let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret.as_ref())).collect();
        Self {
            automaton: AhoCorasick::new(&forms).unwrap(),
            forms,
        }
    }

    fn is_clean(&self, place: &str, text: &str) {
        if let Some(found) = self.automaton.find(text) {
            let from = text.floor_char_boundary(found.start().saturating_sub(60));
            let to = text.ceil_char_boundary((found.end() + 60).min(text.len()));
            panic!(
                "{place} holds {:?}: …{}…",
                self.forms[found.pattern().as_usize()],
                &text[from..to]
            );
        }
    }

    /// All files below a directory.
    fn are_clean(&self, directory: &Path) -> usize {
        let mut count = 0;
        for name in scene::names(directory) {
            let path = directory.join(name);
            if path.is_dir() {
                count += self.are_clean(&path);
            } else {
                self.is_clean(&path.display().to_string(), &scene::read(&path));
                count += 1;
            }
        }
        count
    }
}

/// What code makes of secrets. `{file}` holds them.
const CARELESS: &str = r#"
import base64, html, json, os, re, sys
from urllib.parse import quote, quote_plus
secrets = json.load(open({file}))
url = os.environ.get('DATABASE_URL', '')

def show(first, last):
    for it in secrets[first:last]:
        print(it)
        print(repr(it), [it], {it: it})
        print(json.dumps(it), json.dumps(it, ensure_ascii=False), json.dumps(json.dumps({'k': it})))
        print(quote(it), quote(it, safe=''), quote_plus(it), re.sub('%..', lambda it: it[0].lower(), quote(it, safe='')), quote(quote(it, safe='')))
        print(html.escape(it), json.dumps(html.escape(it)))
        raw = it.encode()
        for at in range(3):
            around = b'xyz'[:at] + raw + b' and so on'
            print(base64.b64encode(around).decode(), base64.urlsafe_b64encode(around).decode())
        print(raw.hex(), raw.hex().upper(), raw)
        print(f'postgresql://reader:{quote(it, safe="")}@db/shop?x=1', f'key={it}; next')

def pieces(first, last):
    for it in secrets[first:last]:
        for at in range(0, len(it), 3):
            sys.stdout.write(it[at:at + 3])
            sys.stdout.flush()
        sys.stderr.write(it + '\n')
        sys.stderr.flush()

def blame(it):
    raise type(it, (Exception,), {})(it)
"#;

/// The code of each turn of the agent that catalogs.
fn turns(file: &Path, count: usize) -> Vec<String> {
    let file = format!("{:?}", file.display().to_string());
    let mut turns = vec![
        CARELESS.replace("{file}", &file),
        "print(url); print(os.environ); print(dict(os.environ)); json.dumps(dict(os.environ))".to_owned(),
        "os.system('env; cat /proc/self/environ')".to_owned(),
        "print(quote(url), quote_plus(url), base64.b64encode(url.encode()).decode()); raise KeyError(url)"
            .to_owned(),
    ];
    for first in (0..count).step_by(AT_ONCE) {
        let last = first + AT_ONCE;
        turns.push(format!(
            "show({first}, {last}); pieces({first}, {last}); blame((secrets * 2)[{first}])"
        ));
    }
    turns
}

/// A model that says all that it has heard, and more.
fn blabber(secrets: Vec<String>, file: &Path) -> impl FnMut(&Recorded) -> Script + Send + 'static {
    let turns = turns(file, secrets.len());
    let mut failed = false;
    move |recorded| {
        let (asker, turn) = place(recorded);
        let some = &secrets[turn * 7 % secrets.len()];
        let other = &secrets[turn * 11 % secrets.len()];
        let id = format!("call_{asker:?}_{turn}");
        if turn == 2 && !std::mem::replace(&mut failed, true) {
            return Script::Fail(
                Failure::new(529).saying("overloaded_error", &format!("no {some}, nor {other}")),
            );
        }
        let text = format!(
            "I have seen {some}, {:?} and {}.",
            other,
            percent(other, true, b"")
        );
        let said = Say::text(&text).thinking(&format!("{some} is odd"), "c2lnbmVk");
        let literal = format!(
            "{}\nkept = {}",
            turns.get(turn).cloned().unwrap_or_default(),
            in_ascii_quotes(other)
        );
        let said = match (asker, turn) {
            (Asker::Catalog, turn) if turn < turns.len() => {
                let said = said.calls(&id, "execute_python", &json!({"code": literal}).to_string());
                // Wrong calls, and half of one.
                match turn {
                    3 => said.calls(&format!("{id}_b"), some, "{}"),
                    4 => said.calls(
                        &format!("{id}_b"),
                        "execute_python",
                        &json!({some.as_str(): 1}).to_string(),
                    ),
                    5 => said.calls(&format!("{id}_b"), "execute_python", &format!("{other} {{")),
                    6 => said.model(&format!("claude {some}")),
                    _ => said,
                }
            }
            (Asker::Summary, 0) => {
                let code = format!("{}\nshow(0, 3)\nprint(os.environ)", turns[0]);
                said.calls(&id, "execute_python", &json!({"code": code}).to_string())
            }
            (Asker::Catalog, _) => {
                let mut body = String::new();
                for secret in &secrets {
                    let shown = in_html(secret, "&#39;");
                    write!(
                        body,
                        "<p title=\"{shown}\">{shown}</p><p>{}</p>",
                        hex::encode(secret)
                    )
                    .unwrap();
                }
                said.calls(&id, "submit_html", &json!({"content": page(&body)}).to_string())
            }
            (Asker::Summary, _) => {
                let body = format!("<p>{}</p>", in_html(some, "&#39;"));
                said.calls(&id, "submit_html", &json!({"content": page(&body)}).to_string())
            }
        };
        Script::Say(Box::new(said))
    }
}

fn in_ascii_quotes(text: &str) -> String {
    format!("\"{}\"", in_ascii(text))
}

/// All that is said of a run while it goes on.
fn said(events: &[Event]) -> String {
    let mut out = String::new();
    let mut output = String::new();
    for event in events {
        if let Event::Output(text) = event {
            output.push_str(text);
        }
        writeln!(out, "{event:?}").unwrap();
    }
    out + &output
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_a_thousand_gets_out() {
    let mut dice = Dice(0x5eed);
    let warm = Warm::new().await;
    for number in 0..10 {
        let secrets = dice.secrets(PER_RUN);
        let scene = Scene::new().await;
        let file = scene.directory.path().join("secrets.json");
        std::fs::write(&file, json!(secrets).to_string()).unwrap();
        scene.server.think(blabber(secrets.clone(), &file));
        let [a, b, c] = [0, 1, 2].map(|at| percent(&secrets[at], true, b""));
        let url = format!(
            "{}?password={a}&sslpassword={b}&access_token={c}",
            scene.database()
        );
        let plan = Plan {
            database: Database::new(&url.clone().into()).unwrap(),
            ..scene.plan()
        };
        let keys = secrets[IN_URL..].iter();
        let redactor = keys
            .fold(
                Redactor::builder().database_url(plan.database.url()),
                |builder, key| builder.secret("a key", &key.clone().into()),
            )
            .build();
        assert!(redactor.weak().is_empty());
        let parts = Parts {
            sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
            redactor,
            ..scene.parts(&plan).await
        };
        let (result, events) = start(&plan, &parts).await;
        let outcome = result.unwrap();
        assert_eq!(outcome.summary_failure, None, "run {number}");
        assert_eq!(scene.server.problems(), Vec::<String>::new(), "run {number}");

        let search = Search::new(&secrets);
        assert!(search.are_clean(&scene.pages()) > 40, "run {number}");
        search.is_clean("an event", &said(&events));
        for request in scene.server.requests() {
            search.is_clean("a request", &request.body);
        }
        // The code has run and shown all, as a whole.
        let records = scene.records();
        let ran: Vec<&Value> = records.iter().filter_map(|record| record.get("ran")).collect();
        let told: Vec<&str> = ran.iter().map(|ran| ran["told"].as_str().unwrap()).collect();
        assert_eq!(told.len(), turns(&file, PER_RUN).len() + 1, "run {number}");
        for told in &told[4..] {
            assert!(told.contains(parts.redactor.marker()), "run {number}: {told}");
            assert!(!told.contains("bytes left out"), "run {number}: {told}");
        }
    }
}

/// Where the password is the database's own, between a user and a host, and is used.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_a_real_database() {
    let database = postgres("CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (1);");
    let mut dice = Dice(0xda7a);
    let warm = Warm::new().await;
    for number in 0..12 {
        let secret = dice.secret();
        let scene = Scene::new().await;
        let known = secret.clone();
        scene.server.think(move |recorded| {
            let (asker, turn) = place(recorded);
            let code = match turn {
                0 => "db = connect_database(); print(db.con.info.password, vars(db)); str(db.con.info.dsn)",
                1 => "import os; print(os.environ['DATABASE_URL'], end=''); print(repr(os.environ))",
                2 => "import psycopg; psycopg.connect(os.environ['DATABASE_URL'] + '?no_such=1')",
                3 => "from urllib.parse import urlsplit, unquote; u = urlsplit(os.environ['DATABASE_URL']); print(u, u.password, unquote(u.password)); raise RuntimeError(u)",
                _ => "",
            };
            let call = match (asker, code) {
                (Asker::Catalog, code) if !code.is_empty() => ("execute_python", json!({"code": code})),
                _ => ("submit_html", json!({"content": page(&format!("<p>{}</p>", in_html(&known, "&#39;")))})),
            };
            Script::Say(Box::new(Say::call(&format!("c{asker:?}{turn}"), call.0, &call.1)))
        });
        let url = database
            .url()
            .replace(&percent(PASSWORD, true, b""), &percent(&secret, true, b""));
        assert!(url.contains(&percent(&secret, true, b"")), "{url}");
        database.set_password("reader", &secret);
        let plan = Plan {
            database: Database::new(&url.into()).unwrap(),
            ..scene.plan()
        };
        let parts = Parts {
            sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
            ..scene.parts(&plan).await
        };
        let (result, events) = start(&plan, &parts).await;
        let outcome = result.unwrap_or_else(|error| panic!("run {number}: {error}: {}", said(&events)));
        assert_eq!(outcome.summary_failure, None, "run {number}");
        let search = Search::new(&[&secret]);
        assert!(search.are_clean(&scene.pages()) > 15, "run {number}");
        search.is_clean("an event", &said(&events));
        for request in scene.server.requests() {
            search.is_clean("a request", &request.body);
        }
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Output(text) if text.contains("redacted")))
        );
    }
}

/// Where something is cut, by the sandbox or by us, what is left of a secret goes too.
#[tokio::test(flavor = "multi_thread")]
async fn no_half_of_one_stays_where_something_was_cut() {
    let secret = "kQ7/tz\"vR'4m%Yp-9wXs";
    let scene = Scene::new().await;
    let url = format!("{}?password={}", scene.database(), percent(secret, true, b""));
    let plan = Plan {
        database: Database::new(&url.into()).unwrap(),
        ..scene.plan()
    };
    let codes: Vec<String> = [5, 9, 13, 17, 20]
        .into_iter()
        .flat_map(|part| {
            let head = format!("print('a' * (8192 - {part}) + secret + 'b' * 20000)");
            // And the line's end.
            let tail = format!("print('a' * 20000 + secret + 'b' * (8191 - {part}))");
            let raised = format!("raise ValueError('x' * (500 - {part}) + secret)");
            [head, tail, raised]
        })
        .collect();
    scene.server.think(move |recorded| {
        let (asker, turn) = place(recorded);
        let id = format!("{asker:?}_{turn}");
        let begin = "import os\nfrom urllib.parse import unquote\nsecret = unquote(os.environ['DATABASE_URL'].split('=')[1])\n";
        let said = match (asker, codes.get(turn)) {
            (Asker::Catalog, Some(code)) => {
                let wrong = format!("{}{secret}", "w".repeat(300 - 4 - turn));
                Say::call(&id, "execute_python", &json!({"code": format!("{begin}{code}")}))
                    .calls(&format!("{id}_b"), "execute_python", &wrong)
            }
            _ => Say::call(&id, "submit_html", &json!({"content": page("<p>done</p>")})),
        };
        Script::Say(Box::new(said))
    });
    let parts = scene.parts(&plan).await;
    let (result, events) = start(&plan, &parts).await;
    result.unwrap();
    let mut texts = vec![said(&events)];
    texts.extend(scene.records().iter().map(Value::to_string));
    texts.extend(scene.server.requests().into_iter().map(|request| request.body));
    let (first, last) = (&secret[..5], &secret[secret.len() - 5..]);
    for text in &texts {
        for half in [first, last] {
            let at = text.find(half).map(|at| &text[at.saturating_sub(40)..at + 10]);
            assert_eq!(at, None, "{half}");
        }
    }
    assert!(texts.iter().any(|text| text.contains("bytes left out")));
}

/// What the command itself says, as much as it can be made to.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_none() {
    let database = postgres("CREATE TABLE orders (id integer PRIMARY KEY); INSERT INTO orders VALUES (1);");
    let bucket = s3::Server::start();
    let mut dice = Dice(0xc0de);
    for (number, json) in [false, true, true].into_iter().enumerate() {
        // Headers take no more than this.
        let printable = |secret: String| -> String {
            let ascii = secret.chars().map(|it| if it.is_ascii() { it } else { '~' });
            ascii.collect::<String>().trim().to_owned()
        };
        let mut secrets = dice.secrets(PER_RUN);
        for secret in &mut secrets[1..3] {
            *secret = printable(std::mem::take(secret));
        }
        let scene = Scene::new().await;
        let file = scene.directory.path().join("secrets.json");
        std::fs::write(&file, json!(secrets[..3]).to_string()).unwrap();
        scene.server.think(blabber(secrets[..3].to_vec(), &file));
        let url = database
            .url()
            .replace(&percent(PASSWORD, true, b""), &percent(&secrets[0], true, b""));
        database.set_password("reader", &secrets[0]);
        let mut command = scene.command(if json { &["--json"] } else { &[] }).await;
        if number == 2 {
            command = scene
                .command(&["--json", "--output", "s3://pages/docs"])
                .await
                .bucket(bucket.endpoint());
            secrets.truncate(2);
            secrets.push(s3::SECRET.to_owned());
        } else {
            command = command.env("AWS_SECRET_ACCESS_KEY", &secrets[2]);
        }
        let output = command
            .env("DATABASE_URL", &url)
            .env("OPENAI_API_KEY", &secrets[1])
            .env("RUST_LOG", "debug")
            .env("RUST_BACKTRACE", "1")
            .run()
            .await;
        assert_eq!(output.code(), Some(0), "run {number}: {}", output.stderr);
        secrets.truncate(3);
        secrets.push(KEY.to_owned());
        let search = Search::new(&secrets);
        search.is_clean("standard output", &output.stdout);
        search.is_clean("standard error", &output.stderr);
        assert!(output.stderr.contains("DEBUG"), "{}", output.stderr);
        if number == 2 {
            let store = bucket.store().await;
            let all = list_all(&store, None, Depth::Everything, 1000).await.unwrap();
            assert!(all.objects.len() > 20);
            for listed in &all.objects {
                let object = store.get(&listed.key).await.unwrap().unwrap();
                search.is_clean(listed.key.as_str(), &String::from_utf8_lossy(&object.content));
            }
        } else {
            assert!(search.are_clean(&scene.pages()) > 20);
        }
        for request in scene.server.requests() {
            search.is_clean("a request", &request.body);
        }
    }
    // Nor where it fails.
    let secret = dice.secret();
    let url = format!(
        "postgresql://reader:{}@127.0.0.1:1/shop",
        percent(&secret, true, b"")
    );
    let scene = Scene::new().await;
    let output = scene
        .command(&["--json"])
        .await
        .env("DATABASE_URL", &url)
        .env("RUST_LOG", "debug")
        .run()
        .await;
    assert_eq!(output.code(), Some(4), "{}", output.stderr);
    let search = Search::new(&[secret]);
    search.is_clean("standard output", &output.stdout);
    search.is_clean("standard error", &output.stderr);
    search.are_clean(&scene.pages());
}
