//! What the documentation says can be done: its links lead somewhere, its manifests are taken by an API server, its
//! commands exist with the flags that they are given, its statements make what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cataloger_tests::cluster::{apply, cluster, dry_run};
use cataloger_tests::command::{Cataloger, program};
use cataloger_tests::databases::{self, Server};
use cataloger_tests::operator::rendered;
use cataloger_tests::script::{repository, tool};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::process::Command;

/// Where the objects of the documentation would be.
const NAMESPACE: &str = "cataloger-tests-docs";

/// A fenced block of a page.
struct Block {
    page: PathBuf,
    line: usize,
    language: String,
    text: String,
}

impl Block {
    fn at(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }
}

/// All pages, from the top of the repository.
async fn pages() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"])
        .current_dir(repository())
        .output()
        .await
        .expect("git is there");
    let text = String::from_utf8(listed.stdout).expect("names are text");
    let pages: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(repository().join(page)).expect("it can be read")
}

fn blocks(page: &Path) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in read(page).lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    page: page.to_owned(),
                    line: number + 1,
                    language: language.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block has no end", page.display());
    blocks
}

/// The text without what stands in code.
fn prose(page: &Path) -> String {
    let mut prose = String::new();
    let mut fenced = false;
    for line in read(page).lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            let outside = line.split('`').step_by(2);
            prose += &outside.collect::<Vec<_>>().join("`");
            prose.push('\n');
        }
    }
    prose
}

/// As GitHub makes them of headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    let mut fenced = false;
    for line in read(page).lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|it| it.is_alphanumeric() || [' ', '-', '_'].contains(it))
            .map(|it| if it == ' ' { '-' } else { it })
            .collect();
        let times = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *times == 0 {
            anchor
        } else {
            format!("{anchor}-{times}")
        });
        *times += 1;
    }
    anchors
}

#[tokio::test]
async fn links_lead_to_what_is_there() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages().await {
        let prose = prose(&page);
        for (start, _) in prose.match_indices("](") {
            let Some(link) = prose[start + 2..].split(')').next() else {
                continue;
            };
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("it is in the repository").join(file),
            };
            let there = repository().join(&target);
            if !there.exists() {
                broken.push(format!("{}: {link}", page.display()));
            } else if !anchor.is_empty() && !anchors(&target).contains(anchor) {
                broken.push(format!("{}: {link}: no such heading", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 100, "only {followed} links were found");
}

/// The kinds that the API server of the tests has; those of Argo CD, Flux and the like are checked elsewhere.
fn is_known(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    ["v1", "apps/v1", "batch/v1", "policy/v1"].contains(&version)
        || version.starts_with("cataloger.dev/")
        || version.contains(".k8s.io/") && !version.starts_with("kustomize.")
}

/// Objects of a text, if it is YAML of such.
fn objects(text: &str) -> Vec<Value> {
    // After an error it would go on for ever.
    serde_yaml::Deserializer::from_str(text)
        .map_while(|document| Value::deserialize(document).ok())
        .filter(|object| object["kind"].is_string() && object["apiVersion"].is_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_taken_by_an_api_server() {
    let cluster = cluster().await;
    for object in rendered().await {
        if object["kind"] == "CustomResourceDefinition" {
            apply(&cluster.admin, &object).await;
        }
    }
    cluster.namespace(NAMESPACE).await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages().await {
        for block in blocks(&page) {
            // Also those that a command is given.
            for mut object in objects(&block.text).into_iter().chain(heredocs(&block.text)) {
                if !is_known(&object) {
                    continue;
                }
                tried += 1;
                // The namespaces of the documentation are not there.
                if let Some(namespace) = object["metadata"].get_mut("namespace") {
                    *namespace = NAMESPACE.into();
                }
                if let Err(error) = dry_run(&cluster.admin, &object, NAMESPACE).await {
                    wrong.push(format!("{}: {error}", block.at()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(tried > 3, "only {tried} manifests were found");
}

fn heredocs(text: &str) -> Vec<Value> {
    let inner = text
        .split_once("<<END\n")
        .and_then(|(_, rest)| rest.split_once("\nEND"));
    inner.map(|(inner, _)| objects(inner)).unwrap_or_default()
}

/// The commands of a block: lines that were continued are one, and what comes after a pipe is another.
fn commands(block: &Block) -> Vec<Vec<String>> {
    let text = block.text.replace("\\\n", " ");
    let console = block.language == "console" || block.text.starts_with("$ ");
    let mut commands = Vec::new();
    let mut heredoc = false;
    for line in text.lines() {
        if heredoc {
            heredoc = line != "END";
            continue;
        }
        heredoc = line.ends_with("<<END");
        let line = match (console, line.strip_prefix("$ ")) {
            (true, Some(line)) => line,
            (true, None) => continue,
            (false, _) => line,
        };
        for command in line.split(" | ") {
            let words: Vec<String> = words(command);
            let words: Vec<String> = words
                .into_iter()
                .skip_while(|word| word.contains('=') && !word.starts_with('-'))
                .collect();
            if !words.is_empty() {
                commands.push(words);
            }
        }
    }
    commands
}

/// As a shell divides a line; what is behind `#` is a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => return words,
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[tokio::test]
async fn commands_exist_with_their_flags() {
    let makefile = read(Path::new("Makefile"));
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::<String, usize>::new();
    for page in pages().await {
        for block in blocks(&page) {
            if !["sh", "bash", "console"].contains(&block.language.as_str()) {
                continue;
            }
            for command in commands(&block) {
                let name = command[0].rsplit('/').next().unwrap_or_default().to_owned();
                let problem = match name.as_str() {
                    "make" => (!makefile.contains(&format!("\n{}:", command[1])))
                        .then(|| "there is no such verb".to_owned()),
                    "cataloger" => cataloger(&command[1..]).await,
                    "helm" => helm(&command[1..]).await,
                    "kubectl" => kubectl(&command[1..]).await,
                    _ => continue,
                };
                *seen.entry(name).or_default() += 1;
                if let Some(problem) = problem {
                    wrong.push(format!("{}: {}: {problem}", block.at(), command.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for name in ["make", "cataloger", "helm", "kubectl"] {
        assert!(seen.get(name).is_some_and(|times| *times > 2), "{seen:?}");
    }
}

async fn help(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("it is there");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Flags that a help does not name.
fn unknown(help: &str, arguments: &[String]) -> Option<String> {
    let known: BTreeSet<&str> = help
        .split(|it: char| !(it.is_alphanumeric() || it == '-'))
        .filter(|word| word.starts_with('-'))
        .collect();
    let flags = arguments.iter().take_while(|word| *word != "--");
    let mut flags = flags.filter(|word| word.starts_with('-') && word.len() > 1);
    let unknown = flags.find(|flag| {
        let flag = flag.split('=').next().unwrap_or_default();
        // `-oyaml` and `-n NAME`.
        let short: String = flag.chars().take(2).collect();
        !known.contains(flag) && (flag.starts_with("--") || !known.contains(short.as_str()))
    });
    unknown.map(|flag| format!("it does not know {flag}"))
}

async fn cataloger(arguments: &[String]) -> Option<String> {
    let verb = arguments.first().filter(|word| !word.starts_with('-'))?;
    let Some(help) = help(&program(), &[verb, "--help"]).await else {
        return Some("there is no such subcommand".to_owned());
    };
    unknown(&help, arguments)
}

async fn kubectl(arguments: &[String]) -> Option<String> {
    let script = repository().join("tests/cluster/kubectl");
    let verbs: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .take_while(|word| !word.starts_with('-'))
        .collect();
    // `create secret generic` and `rollout status` are commands of their own.
    for depth in [3, 2, 1] {
        let Some(verb) = verbs.get(..depth) else { continue };
        if depth > 1 && !["create", "rollout"].contains(&verb[0]) {
            continue;
        }
        let asked = [verb, &["--help"]].concat();
        if let Some(text) = help(&script, &asked).await {
            let all = help(&script, &["options"]).await.unwrap_or_default();
            return unknown(&(text + &all), arguments);
        }
    }
    Some("there is no such command".to_owned())
}

async fn helm(arguments: &[String]) -> Option<String> {
    let program = tool("helm");
    let Some(text) = help(&program, &[&arguments[0], "--help"]).await else {
        return Some("there is no such command".to_owned());
    };
    if let Some(problem) = unknown(&text, arguments) {
        return Some(problem);
    }
    // What is set has to be a value of the chart.
    if !["install", "upgrade"].contains(&arguments[0].as_str()) {
        return None;
    }
    let mut asked = vec!["template", "cataloger", "charts/cataloger"];
    for (at, word) in arguments.iter().enumerate() {
        if word == "--set" {
            asked.extend(["--set", arguments.get(at + 1)?]);
        }
    }
    let output = Command::new(&program)
        .args(&asked)
        .current_dir(repository())
        .output()
        .await
        .expect("it is there");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Policies and the like are JSON, and values of the chart are what it takes.
#[tokio::test]
async fn documents_in_blocks_are_well_formed() {
    let directory = tempfile::tempdir().expect("a directory");
    for page in pages().await {
        for block in blocks(&page) {
            match block.language.as_str() {
                "json" => {
                    let read = serde_json::from_str::<Value>(&block.text.replace('…', ""));
                    assert!(read.is_ok(), "{}: {read:?}", block.at());
                }
                "yaml" => {
                    for document in serde_yaml::Deserializer::from_str(&block.text) {
                        let read = Value::deserialize(document);
                        assert!(read.is_ok(), "{}: {read:?}", block.at());
                        let values = read.unwrap_or_default();
                        if values["networkPolicy"].is_null() {
                            continue;
                        }
                        let file = directory.path().join("values.yaml");
                        std::fs::write(&file, &block.text).expect("it is written");
                        let output = Command::new(tool("helm"))
                            .args(["template", "cataloger", "charts/cataloger", "--values"])
                            .arg(&file)
                            .current_dir(repository())
                            .output()
                            .await
                            .expect("it is there");
                        let said = String::from_utf8_lossy(&output.stderr).into_owned();
                        assert!(output.status.success(), "{}: {said}", block.at());
                    }
                }
                _ => {}
            }
        }
    }
}

/// The statements of a page, by the heading that they stand below.
fn statements(page: &str, heading: &str) -> String {
    let page = Path::new(page);
    let lines: Vec<String> = read(page).lines().map(str::to_owned).collect();
    let from = lines
        .iter()
        .position(|line| line == heading)
        .unwrap_or_else(|| panic!("{heading}"));
    let block = blocks(page)
        .into_iter()
        .find(|block| block.language == "sql" && block.line > from);
    block.expect("it has statements").text
}

/// Catalogs as a role that the documentation's statements have made: it must be able to read, and unable to write.
async fn reads_and_cannot_write(server: &Server, database: &str) {
    let (scheme, rest) = server.url().split_once("://").map(owned).expect("a URL");
    let (_, place) = rest.split_once('@').map(owned).expect("with a user");
    let place = place.replace("/shop", &format!("/{database}"));
    let url = format!("{scheme}://cataloger_reader:CHOOSE-A-PASSWORD@{place}");
    let pages = tempfile::tempdir().expect("a directory");
    let output = pages.path().to_str().expect("a path is text");
    let arguments = [
        "run",
        "--model",
        "builtin",
        "--table",
        "sales.orders",
        "--output",
        output,
    ];
    let ended = Cataloger::new(arguments)
        .await
        .env("DATABASE_URL", &url)
        .run()
        .await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[tokio::test]
async fn statements_make_readers_that_pass() {
    let before = "CREATE ROLE owner; CREATE SCHEMA sales AUTHORIZATION owner;
        CREATE TABLE sales.orders (id integer PRIMARY KEY); INSERT INTO sales.orders VALUES (1);";
    let statements_of = |heading| statements("docs/databases.md", heading);
    let server = databases::postgres(&(before.to_owned() + &statements_of("## PostgreSQL")));
    reads_and_cannot_write(&server, "shop").await;
    let before = "CREATE DATABASE sales; CREATE TABLE sales.orders (id integer PRIMARY KEY);
        INSERT INTO sales.orders VALUES (1);";
    let server = databases::mariadb(&(before.to_owned() + &statements_of("## MySQL, MariaDB")));
    reads_and_cannot_write(&server, "sales").await;
}
