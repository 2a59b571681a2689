//! Rust source as `tidy` looks at it: code with comments, strings and characters blanked, line by line the same.
//!
//! A scanner, not a parser: it knows just enough to find words, `mod` lines, imports and functions.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Source {
    pub path: PathBuf,
    /// Below the package.
    pub name: String,
    pub text: String,
    /// `text` with everything that is no code blanked.
    pub code: String,
}

/// One `mod name;`.
pub struct Declared {
    /// Behind `#[cfg(test)]`.
    pub testing: bool,
    /// Files that it may mean.
    pub candidates: Vec<PathBuf>,
}

/// Every .rs file below a folder, sorted; none if it does not exist.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    entries.map(|entry| entry.into_path()).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

impl Source {
    pub fn read(root: &Path, path: PathBuf) -> Source {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        Source { code: blank(&text), path, name, text }
    }

    /// `src/cli/args.rs` belongs to `cli`; the two roots belong to none.
    pub fn top_module(&self) -> Option<String> {
        let below = self.name.strip_prefix("src/")?;
        let first = below.split('/').next()?.trim_end_matches(".rs");
        (!["lib", "main"].contains(&first)).then(|| first.to_owned())
    }

    /// The same file with the blocks behind `#[cfg(test)]` blanked.
    pub fn without_tests(&self) -> Source {
        let mut code = self.code.clone();
        while let Some(start) = code.find("#[cfg(test)]") {
            let rest = &code[start..];
            let open = rest.find('{').unwrap_or(rest.len());
            let semicolon = rest.find(';').unwrap_or(rest.len());
            let end = if semicolon < open { semicolon + 1 } else { closing(rest, open) };
            let blanked: String = rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..start + end, &blanked);
        }
        Source { path: self.path.clone(), name: self.name.clone(), text: self.text.clone(), code }
    }

    /// Numbers of the lines on which `word` stands as a word.
    pub fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let holds = move |line: &str| {
            line.match_indices(word).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                !before.is_some_and(is_name) && (word.ends_with('!') || !after.is_some_and(is_name))
            })
        };
        self.code.lines().enumerate().filter(move |(_, line)| holds(line)).map(|(number, _)| number + 1)
    }

    /// Top modules of this crate that the code names, with their lines.
    pub fn crate_uses(&self) -> Vec<(usize, String)> {
        let mut uses = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            // `$crate::` in a macro is the same; `some_crate::` is not.
            if self.code[..at].chars().next_back().is_none_or(|c| !is_name(c)) {
                uses.extend(self.named(at + "crate::".len()));
            }
        }
        let depth = self.depth();
        for (at, _) in self.code.match_indices("super::") {
            let chained = self.code[..at].ends_with("super::");
            let supers = self.code[at..].split("super::").take_while(|part| part.is_empty()).count();
            // A file at depth 2 reaches the top by two supers; inline modules only lessen that.
            if !chained && supers >= depth && depth > 0 {
                uses.extend(self.named(at + supers * "super::".len()));
            }
        }
        uses
    }

    /// Names at `at`: one, or the first of each branch of `{a::b, c}`.
    fn named(&self, at: usize) -> Vec<(usize, String)> {
        let line = self.code[..at].matches('\n').count() + 1;
        let rest = &self.code[at..];
        let name = |text: &str| text.trim_start().chars().take_while(|&c| is_name(c)).collect::<String>();
        if !rest.starts_with('{') {
            return vec![(line, name(rest))];
        }
        let mut names = Vec::new();
        let (mut depth, mut start) = (0, 1);
        for (offset, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    names.push((line, name(&rest[start..])));
                    start = offset + 1;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        names.push((line, name(&rest[start..])));
        names
    }

    /// How many modules deep the file is: `src/cli/mod.rs` 1, `src/cli/args.rs` 2.
    fn depth(&self) -> usize {
        let Some(below) = self.name.strip_prefix("src/") else { return 0 };
        let parts = below.split('/').count();
        match below {
            "lib.rs" | "main.rs" => 0,
            _ if below.ends_with("/mod.rs") => parts - 1,
            _ => parts,
        }
    }

    /// The `mod name;` lines.
    pub fn declared_modules(&self) -> Vec<Declared> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let stem = self.path.file_stem().unwrap_or_default();
        let is_root = ["mod", "lib", "main"].iter().any(|name| stem == *name) || self.top_of_tests();
        let base = if is_root { folder.to_owned() } else { folder.join(stem) };
        let mut modules = Vec::new();
        let lines: Vec<(&str, &str)> = self.code.lines().zip(self.text.lines()).collect();
        for (number, (line, _)) in lines.iter().enumerate() {
            let line = line.trim();
            let line = line.strip_prefix("pub").map_or(line, |rest| {
                let rest = rest.trim_start();
                rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest).trim_start()
            });
            let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
            let attributes: Vec<&str> = lines[..number]
                .iter()
                .rev()
                .map(|(_, text)| text.trim())
                .take_while(|text| text.starts_with('#') || text.starts_with("//"))
                .collect();
            let path = attributes.iter().find_map(|text| text.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
            modules.push(Declared {
                testing: attributes.iter().any(|text| text.starts_with("#[cfg(") && text.contains("test")),
                candidates: match path {
                    Some(path) => vec![folder.join(path)],
                    None => vec![base.join(format!("{name}.rs")), base.join(name).join("mod.rs")],
                },
            });
        }
        modules
    }

    /// A file directly in `tests` or `benches` is a crate of its own.
    fn top_of_tests(&self) -> bool {
        self.name.split_once('/').is_some_and(|(top, rest)| top != "src" && !rest.contains('/'))
    }

    /// Every function with a body: name, line, number of lines.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            let rest = &self.code[at..];
            let name: String = rest[3..].chars().take_while(|&c| is_name(c)).collect();
            let open = rest.find('{').unwrap_or(rest.len());
            let is_declared = !name.is_empty() && self.code[..at].chars().next_back().is_none_or(|c| !is_name(c));
            if is_declared && rest.find(';').is_none_or(|semicolon| semicolon > open) {
                let line = self.code[..at].matches('\n').count() + 1;
                let lines = rest[..closing(rest, open)].matches('\n').count() + 1;
                functions.push((name, line, lines));
            }
        }
        functions
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// One past the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + offset + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments, strings and character literals by blanks; line ends stay where they are.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !code.ends_with(is_name)) {
            length
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let gone = &rest[..skipped];
            code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// Length of a block comment; they nest.
fn comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of `r"..."`, `r#"..."#`, `br"..."`; `None` if none begins here.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = text[prefix.len()..].bytes().take_while(|&b| b == b'#').count();
    let start = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// Length of a literal up to its closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted(text, '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { path: PathBuf::from(name), name: name.into(), text: text.into(), code: blank(text) }
    }

    #[test]
    fn only_code_is_left() {
        let text = "a/*x/*y*/z*/b // c\n\"q\\\"{\" 'x' '\\'' b\"s\" r#\"}\"\"# <'a> br\"t\"";
        assert_eq!(blank(text).split_whitespace().collect::<Vec<_>>(), ["a", "b", "b", "<'a>"]);
        assert_eq!(blank(text).matches('\n').count(), 1);
    }

    #[test]
    fn imports_are_found_in_every_form() {
        let text =
            "use crate::{model::{A, B}, sys};\nfn f() { crate::store::x(); super::super::plan::y(); super::z() }";
        let names: Vec<String> =
            source("src/cli/args.rs", text).crate_uses().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["model", "sys", "store", "plan"]);
        let text = "use super::engine;\n#[cfg(test)]\nmod tests { use crate::cli; }";
        let uses = source("src/plan/mod.rs", text).without_tests().crate_uses();
        assert_eq!(uses, [(1, "engine".to_owned())]);
    }

    #[test]
    fn functions_and_words() {
        let text = "fn a() {\n x();\n}\ntrait T { fn b();\n fn c() { } }\nlet f: fn (u8) = g;\n#![deny(unsafe_code)]\nunsafe {}";
        let source = source("src/x.rs", text);
        assert_eq!(source.functions(), [("a".into(), 1, 3), ("c".into(), 5, 1)]);
        assert_eq!(source.lines_with("unsafe").collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn module_lines() {
        let declared =
            source("src/a/mod.rs", "pub mod b;\n#[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod tests;\nmod x {}")
                .declared_modules();
        assert_eq!(declared.len(), 2);
        assert_eq!(declared[0].candidates[0], Path::new("src/a/b.rs"));
        assert!(declared[1].testing && declared[1].candidates == [Path::new("src/a/c_tests.rs")]);
        assert!(
            source("src/a/b.rs", "pub(crate) mod c;").declared_modules()[0].candidates[0] == Path::new("src/a/b/c.rs")
        );
    }
}
