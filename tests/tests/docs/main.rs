//! What the documentation says can be done: its links lead somewhere, its manifests are taken by an API server, its
//! commands exist with the flags that they are given, its statements make what they are for.

mod commands;
mod documents;
mod statements;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cataloger_tests::script::repository;
use tokio::process::Command;

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

#[test]
fn every_reason_is_explained() {
    let pages = ["docs/conditions.md", "docs/providers.md", "docs/schedules.md"];
    let explained: String = pages.iter().map(|page| read(Path::new(page))).collect();
    let (mut reasons, mut missing) = (0, Vec::new());
    for kind in ["catalog", "provider", "schedule"] {
        let source = read(&Path::new("operator/src/controllers").join(kind).join("reason.rs"));
        let (_, variants) = source.split_once("enum Reason {").expect("it has reasons");
        for line in variants.lines().take_while(|line| *line != "}") {
            let Some(reason) = line.trim().strip_suffix(',') else {
                continue;
            };
            reasons += 1;
            if !explained.contains(&format!("`{reason}`")) {
                missing.push(format!("{kind}: {reason}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(reasons > 50, "only {reasons} were found");
}
