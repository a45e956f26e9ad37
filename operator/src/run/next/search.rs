//! What is next, explored: all that can come of a run while drivers crash, pause, take over and read what is old, and
//! sandboxes, models and the bucket fail, between any two steps.
//!
//! What is next, what a journal means and what is published is the code that ships; around it the steps of
//! `engine/`, and what may come between them, are played. Within the bounds of [`Rules`] nothing is left out.

mod around;
mod lore;
mod moves;
mod notes;
mod texts;
mod walk;
mod world;

use std::io::Write as _;

use self::notes::Answer;
use self::walk::{Walk, explore};

/// The bounds of a search.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// How many drivers may crash.
    crashes: u8,
    /// How many other things may go wrong.
    mishaps: u8,
    /// How many drivers there may be, one after the other.
    drivers: u8,
    /// What the model may say.
    answers: &'static [Answer],
    flaw: Option<Flaw>,
}

/// What can be wrong with a world, or with what is done in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// Nothing leads to an end.
    DeadEnd,
    /// An object was written over.
    PublishedTwice,
    /// An object was written after the journal said that all is done.
    WrittenAfterTheEnd,
    /// What is published is not what the journal tells of.
    NotWhole,
    /// The model was asked for what was known.
    AskedAgain,
    /// More calls of the model are lost than anything that went wrong can explain.
    PaidTwice,
    /// Something reached out, by what is not in the journal.
    ActedUnheard,
    /// Code ran among variables that are not those which the journal tells of.
    StrangeSession,
    /// Whoever had a sandbox has ended without closing it.
    SandboxLeft,
}

/// A bug planted for the search to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// An object is put where one may be, not created.
    Overwrites,
    /// What is next is asked before an entry is known to be written.
    ActsUnheard,
    /// What is next is asked without the answer that was noted last.
    SkipsAnswer,
    /// Any sandbox is taken for the one that the journal knows.
    TrustsAnySandbox,
    /// Objects say how often the run was driven.
    SaysWhoWrites,
    /// The summary's page is taken for published with its script.
    ForgetsPage,
}

/// What a search begins from. More crashes, or more that goes wrong besides, cost a factor of twenty each.
const SOME: Rules = Rules {
    crashes: 1,
    mishaps: 1,
    drivers: 8,
    answers: &[Answer::Execute, Answer::Both],
    flaw: None,
};

const EVERY: &[Answer] = &[
    Answer::Execute,
    Answer::Submit,
    Answer::Wrong,
    Answer::Both,
    Answer::Refuse,
];

/// A crash and something else; each of them twice; each with all that a model may say.
const SEARCHES: [Rules; 5] = [
    Rules {
        answers: &[Answer::Execute, Answer::Both, Answer::Refuse],
        ..SOME
    },
    Rules {
        crashes: 2,
        mishaps: 0,
        answers: &[Answer::Both],
        ..SOME
    },
    Rules {
        crashes: 0,
        mishaps: 2,
        answers: &[Answer::Both],
        ..SOME
    },
    Rules {
        mishaps: 0,
        answers: EVERY,
        ..SOME
    },
    Rules {
        crashes: 0,
        answers: EVERY,
        ..SOME
    },
];

/// Says it also where the tests' own output is not shown.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn told(rules: &Rules, walk: &Walk) -> String {
    let count = |wrong| usize::from(matches!(&walk.wrong, Some((found, _)) if *found == wrong));
    format!(
        "states: explored={} transitions={} journals={} ends={} crashes<={} other_faults<={} dead_ends={} \
         published_twice={} asked_again={} paid_twice={}",
        walk.worlds.len(),
        walk.transitions,
        walk.journals,
        walk.ends,
        rules.crashes,
        rules.mishaps,
        walk.dead_ends,
        count(Wrong::PublishedTwice),
        count(Wrong::AskedAgain),
        count(Wrong::PaidTwice),
    )
}

#[test]
fn a_run_comes_to_its_end_whatever_comes_between() {
    let mut most = 0;
    for rules in SEARCHES {
        let walk = explore(&rules);
        tell(&told(&rules, &walk));
        if let Some((wrong, way)) = &walk.wrong {
            panic!("{wrong:?}:\n{way}");
        }
        most = most.max(walk.worlds.len());
    }
    assert!(most >= 1_000_000, "too few to have seen much");
}

#[test]
fn planted_bugs_are_found() {
    let planted = [
        (Flaw::Overwrites, Wrong::PublishedTwice),
        (Flaw::ActsUnheard, Wrong::ActedUnheard),
        (Flaw::SkipsAnswer, Wrong::AskedAgain),
        (Flaw::TrustsAnySandbox, Wrong::StrangeSession),
        (Flaw::SaysWhoWrites, Wrong::DeadEnd),
        (Flaw::ForgetsPage, Wrong::NotWhole),
    ];
    for (flaw, expected) in planted {
        // A dead end is one only when all is seen, so there is less of it.
        let rules = Rules {
            mishaps: u8::from(expected != Wrong::DeadEnd),
            flaw: Some(flaw),
            ..SOME
        };
        let walk = explore(&rules);
        let Some((wrong, way)) = walk.wrong else {
            panic!("{flaw:?} was not found among {} states", walk.worlds.len());
        };
        tell(&format!(
            "planted: {flaw:?} is {wrong:?} after states={}",
            walk.worlds.len()
        ));
        println!("{way}");
        assert_eq!(wrong, expected, "{flaw:?}");
    }
}
