//! The man pages in `man/` are those that the command line's definitions give, and man(1) has no complaints.
//!
//! `MAILMEND_UPDATE_MAN=1 cargo test --test man` writes them anew.

use mailmend::cli::man::pages;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Written by hand.
const BY_HAND: [&str; 3] = ["mailmend.toml.5", "mailmend-formats.7", "mailmend-catalog.5"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("man")
}

#[test]
fn pages_are_up_to_date() {
    let pages = pages();
    assert!(!pages.iter().any(|(name, _)| name.contains("lane")), "an internal command has no page");
    if std::env::var_os("MAILMEND_UPDATE_MAN").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for (name, text) in &pages {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(found == *text, "man/{name} is out of date: MAILMEND_UPDATE_MAN=1 cargo test --test man");
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = BY_HAND.contains(&name.as_str()) || pages.iter().any(|(page, _)| *page == name);
        assert!(known, "man/{name} belongs to no command");
    }
}

#[test]
fn no_page_shows_what_is_hidden_or_where_it_was_made() {
    for (name, text) in pages() {
        for word in ["EXTRA", "lane", env!("CARGO_MANIFEST_DIR")] {
            let shown = text.split_whitespace().any(|found| found.trim_matches(['[', ']', '.']) == word);
            assert!(!shown, "{name}: {word}");
        }
    }
}

#[test]
fn man_has_no_complaints() {
    let installed = Command::new("man").arg("--version").output().is_ok_and(|output| output.status.success());
    if !installed {
        assert!(std::env::var_os("CI").is_none(), "man is not installed");
        eprintln!("NOT TESTED: man is not installed");
        return;
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let output = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&path)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
    }
}
