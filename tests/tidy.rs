//! Reads the source and holds it to the rules of the house: layers, banned calls, sizes, forgotten files.
//!
//! Modules that do not exist yet are skipped; a module that is not in the table is refused.

mod source;

use source::{Source, rust_files};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers in tenths. A module imports only from lower ones.
const LAYERS: [(&str, u32); 13] = [
    ("model", 0),
    ("verify", 10),
    ("plan", 10),
    ("report", 10),
    ("sys", 20),
    ("read", 30),
    ("catalog", 30),
    ("apply", 30),
    ("store", 40),
    ("source", 50),
    ("engine", 60),
    ("drill", 65),
    ("cli", 70),
];

/// Modules that may import less than their layer allows.
const NARROWER: [(&str, &[&str]); 4] =
    [("verify", &["model"]), ("plan", &["model"]), ("report", &["model"]), ("apply", &["model", "sys"])];

const FILE_LINES: usize = 700;
const FUNCTION_LINES: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `src`, with its comments and strings blanked.
fn sources() -> Vec<Source> {
    rust_files(&root().join("src")).into_iter().map(|path| Source::read(root(), path)).collect()
}

fn report(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

#[test]
fn a_module_imports_only_from_lower_layers() {
    let mut offences = Vec::new();
    let test_files = files_only_for_tests();
    for source in sources().iter().filter(|source| !test_files.contains(&source.path)) {
        let Some(module) = source.top_module() else { continue };
        let Some(own) = layer(&module) else {
            offences.push(format!("{}: module '{module}' is in no layer", source.name));
            continue;
        };
        for (line, used) in source.without_tests().crate_uses() {
            let Some(other) = layer(&used) else { continue };
            let narrower = NARROWER.iter().find(|(name, _)| *name == module);
            let allowed =
                used == module || (other < own && narrower.is_none_or(|(_, allowed)| allowed.contains(&used.as_str())));
            if !allowed {
                offences.push(format!("{}:{line}: {module} must not use {used}", source.name));
            }
        }
    }
    report("layers", offences);
}

#[test]
fn banned_words_stand_nowhere_but_where_they_belong() {
    type Rule = (&'static str, &'static [&'static str], fn(&str) -> bool);
    let rules: [Rule; 4] = [
        ("unsafe outside sys/raw.rs", &["unsafe"], |name| name == "src/sys/raw.rs"),
        ("printing outside cli", &["println!", "eprintln!", "print!", "eprint!"], |name| {
            name.starts_with("src/cli/") || name == "src/main.rs"
        }),
        ("leftovers", &["todo!", "unimplemented!", "dbg!"], |_| false),
        ("ending the process", &["process::exit", "process::abort"], |name| {
            name == "src/main.rs" || name == "src/sys/signals.rs"
        }),
    ];
    let test_files = files_only_for_tests();
    let mut offences = Vec::new();
    for source in sources() {
        // A test may print why it could not run, and nothing else that is banned.
        let outside_tests = source.without_tests();
        let is_test = test_files.contains(&source.path);
        for (rule, words, exempt) in &rules {
            let printing = rule.starts_with("printing");
            let source = if printing { &outside_tests } else { &source };
            for word in words.iter().filter(|_| !(exempt(&source.name) || printing && is_test)) {
                offences.extend(source.lines_with(word).map(|line| format!("{}:{line}: {rule}: {word}", source.name)));
            }
        }
    }
    report("banned words", offences);
}

/// A guard bound to `_` is dropped at once.
#[test]
fn no_guard_is_dropped_at_once() {
    const GUARDS: [&str; 8] = [".lock()", ".try_lock(", ".read()", ".write()", "guard", "Guard", "tempdir(", "TempDir"];
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            let dropped = line.trim_start().strip_prefix("let _ =");
            if dropped.is_some_and(|rest| GUARDS.iter().any(|guard| rest.contains(guard))) {
                offences.push(format!("{}:{}: bind it to a name", source.name, number + 1));
            }
        }
    }
    report("guards", offences);
}

#[test]
fn files_and_functions_fit() {
    let mut offences = Vec::new();
    let elsewhere =
        ["tests", "fuzz/src", "fuzz/fuzz_targets"].into_iter().flat_map(|folder| rust_files(&root().join(folder)));
    let tests = elsewhere.map(|path| Source::read(root(), path));
    for source in sources().into_iter().chain(tests) {
        let lines = source.code.lines().count();
        if lines > FILE_LINES {
            offences.push(format!("{}: {lines} lines, at most {FILE_LINES}", source.name));
        }
        for (name, line, lines) in source.functions() {
            if lines > FUNCTION_LINES {
                offences.push(format!("{}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES}", source.name));
            }
        }
    }
    report("sizes", offences);
}

#[test]
fn every_file_says_what_it_is_for() {
    let test_files = files_only_for_tests();
    let bare = |source: &Source| {
        source.name != "src/main.rs" && !test_files.contains(&source.path) && !source.text.starts_with("//!")
    };
    report(
        "module headers (//! at the top)",
        sources().iter().filter(|source| bare(source)).map(|source| source.name.clone()).collect(),
    );
}

/// Files that a `mod` line reaches from one root, each with whether only tests reach it.
fn reach(path: &Path, testing: bool, reached: &mut BTreeMap<PathBuf, bool>) {
    let known = reached.get(path).copied();
    if !path.exists() || known == Some(false) || (known == Some(true) && testing) {
        return;
    }
    reached.insert(path.to_owned(), testing);
    let source = Source::read(root(), path.to_owned());
    for declared in source.declared_modules() {
        for candidate in declared.candidates {
            reach(&candidate, testing || declared.testing, reached);
        }
    }
}

fn files_only_for_tests() -> BTreeSet<PathBuf> {
    let mut reached = BTreeMap::new();
    for name in ["src/lib.rs", "src/main.rs"] {
        reach(&root().join(name), false, &mut reached);
    }
    reached.into_iter().filter(|(_, testing)| *testing).map(|(path, _)| path).collect()
}

#[test]
fn no_file_is_forgotten() {
    let mut reached = BTreeMap::new();
    let mut files = Vec::new();
    for name in ["src/lib.rs", "src/main.rs"] {
        reach(&root().join(name), false, &mut reached);
    }
    for folder in ["tests", "benches"] {
        let here = rust_files(&root().join(folder));
        let is_root = |path: &&PathBuf| path.parent() == Some(&root().join(folder));
        here.iter().filter(is_root).for_each(|path| {
            // A module beside the roots is a root of its own for cargo, which is a mistake only if it was meant as one.
            reach(path, true, &mut reached);
        });
        files.extend(here);
    }
    files.extend(rust_files(&root().join("src")));
    let forgotten = files.iter().filter(|path| !reached.contains_key(*path)).map(|path| path.display().to_string());
    report("no mod line reaches", forgotten.collect());
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut offences = Vec::new();
    let mut inside = false;
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains('=') && !line.trim_start().starts_with('#') {
            let comment = line.split_once(" # ").map_or("", |(_, comment)| comment).trim();
            if comment.len() < 8 {
                offences.push(format!("Cargo.toml:{}: {line}", number + 1));
            }
        }
    }
    report("dependencies without a comment", offences);
}
