//! Commands: the programs know them, with their flags, and the cluster knows the kinds that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use cataloger_tests::cluster::cluster;
use cataloger_tests::command::program;
use cataloger_tests::operator::define_kinds;
use cataloger_tests::script::{repository, tool};
use tokio::process::Command;

use crate::{Block, blocks, pages, read};

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

/// The programs that a reader has.
const PROGRAMS: [&str; 4] = ["make", "cataloger", "helm", "kubectl"];

/// All commands of a page, and where: of its blocks, of what is indented, and those in the middle of a sentence or a
/// table.
fn all_commands(page: &Path) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for block in blocks(page) {
        if ["sh", "bash", "console"].contains(&block.language.as_str()) {
            let at = block.at();
            all.extend(commands(&block).into_iter().map(|command| (at.clone(), command)));
        }
    }
    let mut fenced = false;
    for (number, line) in read(page).lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let said: Vec<&str> = match line.strip_prefix("    ") {
            Some(indented) => vec![indented.trim_start_matches("$ ")],
            None => line.split('`').skip(1).step_by(2).collect(),
        };
        for text in said {
            // A pipe in a table is written so.
            for text in text.replace("\\|", "|").split(" | ") {
                let words = words(text);
                let is_one = words.len() > 1 && PROGRAMS.contains(&words[0].as_str());
                // Not the name of a program, with a word that is none of its own.
                if is_one && words[1].starts_with(|it: char| it.is_ascii_lowercase()) {
                    all.push((format!("{}:{}", page.display(), number + 1), words));
                }
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_exist_with_their_flags() {
    let makefile = read(Path::new("Makefile"));
    let kinds = kinds().await;
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::<String, usize>::new();
    for page in pages().await {
        for (at, command) in all_commands(&page) {
            let name = command[0].rsplit('/').next().unwrap_or_default().to_owned();
            let problem = match name.as_str() {
                "make" => (!makefile.contains(&format!("\n{}:", command[1])))
                    .then(|| "there is no such verb".to_owned()),
                "cataloger" => cataloger(&command[1..]).await,
                "helm" => helm(&command[1..]).await,
                "kubectl" => kubectl(&command[1..], &kinds).await,
                _ => continue,
            };
            *seen.entry(name).or_default() += 1;
            if let Some(problem) = problem {
                wrong.push(format!("{at}: {}: {problem}", command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for name in PROGRAMS {
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

/// The names of all kinds: those of the API server with ours, long and short, and those of the examples for others.
async fn kinds() -> BTreeSet<String> {
    let cluster = cluster().await;
    let mut kinds: BTreeSet<String> = BTreeSet::from(["all".to_owned()]);
    for definition in define_kinds(&cluster.admin).await {
        let categories = definition["spec"]["names"]["categories"].as_array();
        let categories = categories.into_iter().flatten();
        kinds.extend(categories.filter_map(|it| it.as_str().map(str::to_owned)));
    }
    let script = repository().join("tests/cluster/kubectl");
    let table = help(&script, &["api-resources", "--no-headers"]).await;
    for line in table.expect("the API server can be asked").lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        kinds.insert(columns[0].to_owned());
        kinds.extend(columns.last().map(|kind| kind.to_lowercase()));
        // NAME, SHORTNAMES if there are some, APIVERSION, NAMESPACED, KIND.
        if columns.len() == 5 {
            kinds.extend(columns[1].split(',').map(str::to_owned));
        }
    }
    for tool in ["argocd", "flux"] {
        let folder = repository().join("docs/examples/gitops").join(tool);
        for entry in std::fs::read_dir(folder).expect("there are examples") {
            let path = entry.expect("it can be listed").path();
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let named = text.lines().filter_map(|line| line.strip_prefix("kind: "));
            kinds.extend(named.flat_map(|kind| {
                let one = kind.trim().to_lowercase();
                let many = match one.strip_suffix('y') {
                    Some(stem) => format!("{stem}ies"),
                    None => format!("{one}s"),
                };
                [one, many]
            }));
        }
    }
    kinds
}

/// A kind that a command names and nobody has.
fn unknown_kind(arguments: &[String], kinds: &BTreeSet<String>) -> Option<String> {
    let (verb, rest) = arguments.split_first()?;
    if ![
        "get", "describe", "delete", "explain", "annotate", "label", "patch", "edit",
    ]
    .contains(&verb.as_str())
    {
        return None;
    }
    let named = rest
        .first()
        .filter(|word| word.starts_with(|it: char| it.is_ascii_lowercase()))?;
    named.split(',').find_map(|named| {
        let kind = named.split('/').next().unwrap_or_default();
        // `catalogs.cataloger.dev`, and `catalog.spec.tables` for who wants it explained.
        let kind = kind.split('.').next().unwrap_or_default();
        (!kinds.contains(kind)).then(|| format!("there is no kind {kind}"))
    })
}

async fn kubectl(arguments: &[String], kinds: &BTreeSet<String>) -> Option<String> {
    let script = repository().join("tests/cluster/kubectl");
    if let Some(problem) = unknown_kind(arguments, kinds) {
        return Some(problem);
    }
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
