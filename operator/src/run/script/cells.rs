//! How each cell of a script is to stand in it. Must not know what the script says around them.

use super::python::{self, Line, Token};
use super::{Fate, Ran, text};

/// How a cell stands in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it was written.
    Verbatim,
    /// As a text that the helper runs, and why if it is not told anyway.
    Text(Option<&'static str>),
    /// Not run.
    Comment,
}

/// How all cells stand in a script.
pub(super) struct Plan {
    /// One for each cell.
    pub(super) forms: Vec<Form>,
    /// What the whole script imports from `__future__`.
    pub(super) futures: Vec<String>,
    /// What the helper is called, as no cell calls anything.
    pub(super) helper: String,
}

/// What there is to know of a cell.
#[derive(Debug, Default)]
struct Look {
    /// Why it can't stand as it is.
    odd: Option<&'static str>,
    futures: Vec<String>,
    /// It uses `_`, the value of the last expression before it.
    wants_last: bool,
}

pub(super) fn plan(cells: &[Ran<'_>]) -> Plan {
    let looks: Vec<Look> = cells.iter().map(|cell| look(cell.code)).collect();
    let runs: Vec<bool> = cells.iter().map(runs).collect();
    let first = runs.iter().position(|runs| *runs);
    let last_wanted = (0..cells.len()).rfind(|at| runs[*at] && looks[*at].wants_last);
    let mut futures: Vec<String> = Vec::new();
    // Set where a cell changed what its successors mean and the module can't.
    let mut changed = false;
    let mut forms = Vec::new();
    for (at, (cell, look)) in cells.iter().zip(looks).enumerate() {
        if !runs[at] {
            forms.push(Form::Comment);
            continue;
        }
        let odd = if !look.futures.is_empty() {
            if Some(at) == first {
                futures = look.futures;
            } else if look.futures.iter().any(|name| !futures.contains(name)) {
                changed = true;
            }
            Some("it imports from __future__, which only the begin of a file can")
        } else if changed {
            Some("an earlier cell imports from __future__")
        } else if last_wanted.is_some_and(|wanted| at < wanted) {
            Some("a later cell uses `_`, the value of the last expression")
        } else {
            look.odd
        };
        forms.push(match (odd, cell.fate) {
            (_, Fate::Raised { .. }) => Form::Text(None),
            (None, _) => Form::Verbatim,
            (odd, _) => Form::Text(odd),
        });
    }
    Plan {
        forms,
        futures,
        helper: helper(cells),
    }
}

/// Whether a cell had an effect, and can have it again.
fn runs(cell: &Ran<'_>) -> bool {
    match cell.fate {
        Fate::Ok => true,
        Fate::NotFinished(_) => false,
        Fate::Raised { name, message } => {
            let syntax = matches!(name, "SyntaxError" | "IndentationError" | "TabError");
            // One that names the cell was raised before it ran; any other by what it ran.
            !(syntax && message.contains("(<cell "))
        }
    }
}

fn helper(cells: &[Ran<'_>]) -> String {
    let mut name = "_cell".to_owned();
    while cells.iter().any(|cell| cell.code.contains(&name)) {
        name.push('_');
    }
    name
}

fn look(code: &str) -> Look {
    let Some(lines) = python::lines(code) else {
        return Look {
            odd: Some("it is hard to read"),
            // It may do all that is looked for.
            wants_last: has_word(code, "_"),
            futures: Vec::new(),
        };
    };
    let outside = || lines.iter().filter(|line| !line.in_function);
    let odd = if code.chars().any(text::is_odd) {
        Some("it has characters that can't be seen")
    } else if code.lines().any(text::is_mark) {
        Some("it has a line that looks like the begin of a cell")
    } else if outside().any(awaits) {
        Some("it awaits outside of functions")
    } else if outside().any(says_global) {
        Some("it says `global` outside of functions")
    } else {
        None
    };
    Look {
        odd,
        futures: lines.iter().flat_map(futures).collect(),
        wants_last: wants_last(&lines),
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|it: char| !it.is_alphanumeric() && it != '_')
        .any(|it| it == word)
}

/// Also where a function's head does; what a function in one line does is not told apart.
fn awaits(line: &Line<'_>) -> bool {
    (0..line.tokens.len()).any(|at| match line.token(at) {
        Some(Token::Name("await")) => true,
        Some(Token::Name("async")) => line.token(at + 1) != Some(Token::Name("def")),
        _ => false,
    })
}

/// In a module it is an error where the name was used before, also by an earlier cell.
fn says_global(line: &Line<'_>) -> bool {
    !line.is_function()
        && line
            .tokens
            .iter()
            .any(|(token, _)| *token == Token::Name("global"))
}

/// What a line imports from `__future__`.
fn futures(line: &Line<'_>) -> Vec<String> {
    let begins = |at: usize| {
        line.token(at) == Some(Token::Name("from")) && line.token(at + 1) == Some(Token::Name("__future__"))
    };
    let Some(begin) = (0..line.tokens.len()).find(|at| begins(*at)) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut tokens = line.tokens[begin + 2..].iter().map(|(token, _)| *token);
    while let Some(token) = tokens.next() {
        match token {
            Token::Name("import") => {}
            Token::Name("as") => drop(tokens.next()),
            Token::Name(name) => names.push(name.to_owned()),
            Token::Sign(';') => break,
            _ => {}
        }
    }
    names
}

/// Whether `_` is read before it is set. Where that is not clear, it is taken to be.
fn wants_last(lines: &[Line<'_>]) -> bool {
    let first = lines.iter().find_map(|line| {
        let at = (0..line.tokens.len()).find(|at| line.token(*at) == Some(Token::Name("_")))?;
        Some((line, at))
    });
    first.is_some_and(|(line, at)| !sets(line, at))
}

/// Whether the name at a place is given a value there.
fn sets(line: &Line<'_>, at: usize) -> bool {
    let name = |at: usize| match line.token(at) {
        Some(Token::Name(name)) => name,
        _ => "",
    };
    let sign = |at: usize| match line.token(at) {
        Some(Token::Sign(sign)) => sign,
        _ => ' ',
    };
    // A plain `=`, at no end of another operator.
    let assigns = |at: usize| {
        sign(at) == '='
            && sign(at + 1) != '='
            && !at
                .checked_sub(1)
                .is_some_and(|before| "=!<>:+-*/%@&|^".contains(sign(before)) && sign(before) != ' ')
    };
    if matches!(sign(at + 1), '.' | '[' | '(') {
        return false;
    }
    let before = |word: &str| (0..at).rfind(|it| name(*it) == word);
    let in_for = before("for").is_some_and(|start| !(start..at).any(|it| name(it) == "in"));
    let in_lambda = before("lambda").is_some_and(|start| !(start..at).any(|it| sign(it) == ':'));
    let before_it = at.checked_sub(1).map_or("", name);
    let depth = line.tokens[at].1;
    in_for
        || in_lambda
        || line.is_function()
        || name(0) == "case"
        || matches!(before_it, "as" | "import" | "global" | "nonlocal")
        || assigns(at + 1)
        || (sign(at + 1) == ':' && sign(at + 2) == '=')
        // One of several: `a, _ = pair`.
        || (depth == 0 && (at..line.tokens.len()).any(|it| line.tokens[it].1 == 0 && assigns(it)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(cells: &[(&str, Fate<'_>)]) -> (Vec<Form>, Vec<String>) {
        let cells: Vec<Ran<'_>> = (1..)
            .zip(cells)
            .map(|(number, (code, fate))| Ran {
                number,
                code,
                fate: *fate,
            })
            .collect();
        let plan = plan(&cells);
        (plan.forms, plan.futures)
    }

    #[test]
    fn plain_code_stands_as_it_is() {
        for code in [
            "x = 1",
            "# only a comment",
            "async def f():\n    await g()\n    async with h(): pass",
            "def f():\n    global x\n    x = 1",
            "def f(): global x; x = 1",
            "print('await', \"global\", f'{x}')",
            "for _, row in rows: print(row)",
            "x = '''\n #5 %% no mark\n'''",
            "\"\"\"A docstring.\"\"\"\nx = 1",
            "s = \"'''\"",
        ] {
            let (forms, _) = forms(&[(code, Fate::Ok)]);
            assert_eq!(forms, [Form::Verbatim], "{code}");
        }
    }

    #[test]
    fn what_means_something_else_in_a_module_is_text() {
        for (code, why) in [
            ("await f()", "awaits"),
            ("x = [y async for y in z()]", "awaits"),
            ("async with f() as x:\n    pass", "awaits"),
            ("x = f'{await g()}'", "awaits"),
            ("@f(await g())\ndef h(): pass", "awaits"),
            ("global x", "global"),
            ("if x:\n    global y\n    y = 1", "global"),
            ("# %% a\nx = 1", "begin of a cell"),
            ("x = '''\n#%%\n'''", "begin of a cell"),
            ("x = 1\r\ny = 2", "can't be seen"),
            ("x = '\u{202e}abc'", "can't be seen"),
            ("x = '", "hard to read"),
        ] {
            let (forms, _) = forms(&[(code, Fate::Ok)]);
            assert!(
                matches!(forms[0], Form::Text(Some(reason)) if reason.contains(why)),
                "{code}: {forms:?}"
            );
        }
    }

    #[test]
    fn fates_decide_whether_a_cell_is_run() {
        let raised = |name, message| Fate::Raised { name, message };
        for (fate, form) in [
            (raised("ValueError", "no"), Form::Text(None)),
            (
                raised("SyntaxError", "invalid syntax (<cell 3>, line 1)"),
                Form::Comment,
            ),
            (
                raised("IndentationError", "unexpected indent (<cell 3>, line 1)"),
                Form::Comment,
            ),
            (
                raised("SyntaxError", "invalid syntax (<string>, line 1)"),
                Form::Text(None),
            ),
            (raised("ValueError", "(<cell 3>, line 1)"), Form::Text(None)),
            (Fate::NotFinished("was lost"), Form::Comment),
        ] {
            assert_eq!(forms(&[("x = 1", fate)]).0, [form], "{fate:?}");
        }
    }

    #[test]
    fn the_future_begins_with_the_first_cell_or_by_the_helper() {
        let import = "from __future__ import annotations";
        let text = |forms: &[Form]| -> Vec<bool> {
            forms.iter().map(|form| matches!(form, Form::Text(_))).collect()
        };
        let plain = |code| (code, Fate::Ok);
        let (first, futures) = forms(&[
            ("x", Fate::NotFinished("was lost")),
            plain("'''doc'''\nfrom __future__ import (annotations as a,\n  division)\n"),
            plain("x"),
            plain(import),
            plain("x"),
        ]);
        assert_eq!(futures, ["annotations", "division"]);
        assert_eq!(text(&first), [false, true, false, true, false]);
        let (late, futures) = forms(&[plain("x"), plain(import), plain("x")]);
        assert!(futures.is_empty());
        assert_eq!(text(&late), [false, true, true]);
        let (both, _) = forms(&[
            plain(import),
            plain("x"),
            plain("from __future__ import barry_as_FLUFL"),
            plain("x"),
        ]);
        assert_eq!(text(&both), [true, false, true, true]);
    }

    #[test]
    fn the_value_of_the_last_expression_is_kept_for_who_wants_it() {
        for (code, wants) in [
            ("len(_)", true),
            ("_.head()", true),
            ("x = _", true),
            ("x = _[0]", true),
            ("_ == 3", true),
            ("print(f'{_}')", true),
            ("f(_, 1)", true),
            ("f(a=_)", true),
            ("_ += 1", true),
            ("_.x = 1", true),
            ("'_' # _", false),
            ("__ = 1", false),
            ("_ = f(); g(_)", false),
            ("a, _ = f()", false),
            ("_, a = f()", false),
            ("for _ in x: f(_)", false),
            ("for a, (_, b) in x: f(_)", false),
            ("[f() for _ in x]", false),
            ("lambda _: _", false),
            ("with f() as _: g(_)", false),
            ("def f(_): return _", false),
            ("match x:\n    case _: pass", false),
            ("import gettext as _", false),
            ("(_ := f())", false),
        ] {
            let (forms, _) = forms(&[("1 + 1", Fate::Ok), (code, Fate::Ok), ("2 + 2", Fate::Ok)]);
            let kept = matches!(forms[0], Form::Text(_));
            assert_eq!(kept, wants, "{code}");
            assert_eq!(forms[2], Form::Verbatim);
        }
    }

    #[test]
    fn the_helper_has_a_name_of_its_own() {
        let of = |code| {
            helper(&[Ran {
                number: 1,
                code,
                fate: Fate::Ok,
            }])
        };
        assert_eq!(of("x"), "_cell");
        assert_eq!(of("def _cell(x): pass"), "_cell_");
        assert_eq!(of("_cell = _cell_ = 1"), "_cell__");
    }
}
