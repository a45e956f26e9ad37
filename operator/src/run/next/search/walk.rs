//! Goes everywhere: all worlds that can come to be, by the shortest way to each, and whether each leads to an end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use super::lore::Lore;
use super::moves::{Move, moves};
use super::world::World;
use super::{Rules, Wrong};

/// What was found.
pub(super) struct Walk {
    pub(super) worlds: Vec<World>,
    pub(super) transitions: u64,
    /// How many of them are ends.
    pub(super) ends: usize,
    /// How many lead to none, if nothing more goes wrong.
    pub(super) dead_ends: usize,
    /// How many journals there are in them.
    pub(super) journals: usize,
    /// The first that is wrong, and how it came to be.
    pub(super) wrong: Option<(Wrong, String)>,
}

struct Walker<'a> {
    rules: &'a Rules,
    lore: Lore,
    worlds: Vec<World>,
    parents: Vec<u32>,
    numbers: HashMap<u64, u32>,
    /// Where nothing goes wrong.
    normal: Vec<(u32, u32)>,
}

/// Goes everywhere, or as far as to the first world that is wrong.
pub(super) fn explore(rules: &Rules) -> Walk {
    let mut walker = Walker {
        rules,
        lore: Lore::new(rules.flaw),
        worlds: Vec::new(),
        parents: Vec::new(),
        numbers: HashMap::new(),
        normal: Vec::new(),
    };
    walker.number(World::first(), 0);
    let (mut transitions, mut ends) = (0, Vec::new());
    let (mut at, mut all) = (0, Vec::new());
    let mut wrong = None;
    while wrong.is_none()
        && let Some(world) = walker.worlds.get(at).copied()
    {
        let number = u32::try_from(at).unwrap();
        if world.is_over() {
            ends.push(number);
        }
        wrong = world.wrong(&mut walker.lore).map(|wrong| (wrong, number, None));
        all.clear();
        moves(&world, &mut walker.lore, rules, &mut all);
        for it in &all {
            transitions += 1;
            let to = walker.number(it.to, number);
            if it.is_normal {
                walker.normal.push((number, to));
            }
            if wrong.is_none()
                && let Some(found) = it.wrong
            {
                wrong = Some((found, number, Some(*it)));
            }
        }
        at += 1;
    }
    let mut dead_ends = 0;
    if wrong.is_none() {
        let alive = walker.alive(&ends);
        let dead = |number: &u32| !alive[*number as usize];
        let all = 0..u32::try_from(alive.len()).unwrap();
        dead_ends = all.clone().filter(dead).count();
        wrong = all.into_iter().find(dead).map(|it| (Wrong::DeadEnd, it, None));
    }
    Walk {
        wrong: wrong.map(|(wrong, number, last)| (wrong, walker.way(number, last))),
        ends: ends.len(),
        journals: walker.lore.len(),
        worlds: walker.worlds,
        transitions,
        dead_ends,
    }
}

impl Walker<'_> {
    /// The number of a world, which may be new.
    fn number(&mut self, world: World, from: u32) -> u32 {
        let mut print = world.fingerprint();
        loop {
            match self.numbers.entry(print) {
                Entry::Occupied(known) if self.worlds[*known.get() as usize] == world => return *known.get(),
                Entry::Occupied(_) => print = print.wrapping_add(1),
                Entry::Vacant(free) => {
                    let number = u32::try_from(self.worlds.len()).unwrap();
                    free.insert(number);
                    self.worlds.push(world);
                    self.parents.push(from);
                    return number;
                }
            }
        }
    }

    /// Which worlds lead to an end if nothing goes wrong any more.
    fn alive(&self, ends: &[u32]) -> Vec<bool> {
        // Where the ways to each world begin, one world after the other.
        let mut begins = vec![0_u32; self.worlds.len() + 1];
        for (_, to) in &self.normal {
            begins[*to as usize + 1] += 1;
        }
        for world in 0..self.worlds.len() {
            begins[world + 1] += begins[world];
        }
        let mut froms = vec![0; self.normal.len()];
        let mut filled = begins.clone();
        for (from, to) in &self.normal {
            froms[filled[*to as usize] as usize] = *from;
            filled[*to as usize] += 1;
        }
        let mut alive = vec![false; self.worlds.len()];
        let mut rest = ends.to_vec();
        while let Some(world) = rest.pop() {
            let world = world as usize;
            if !std::mem::replace(&mut alive[world], true) {
                rest.extend_from_slice(&froms[begins[world] as usize..begins[world + 1] as usize]);
            }
        }
        alive
    }

    /// How a world came to be, a line for each move.
    fn way(&mut self, mut number: u32, last: Option<Move>) -> String {
        let mut lines: Vec<String> = last.iter().map(told).collect();
        let mut all = Vec::new();
        while number != 0 {
            let from = self.parents[number as usize];
            let (before, after) = (self.worlds[from as usize], self.worlds[number as usize]);
            all.clear();
            moves(&before, &mut self.lore, self.rules, &mut all);
            lines.extend(all.iter().find(|it| it.to == after).map(told));
            number = from;
        }
        let mut way = String::new();
        for (line, number) in lines.iter().rev().zip(1..) {
            let _ = writeln!(way, "  {number:>3}. {line}");
        }
        way
    }
}

fn told(it: &Move) -> String {
    match it.who {
        0 => it.what.to_owned(),
        who => format!("driver {who} {}", it.what),
    }
}
