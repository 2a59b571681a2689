//! Which of command line, file and environment wins. May not depend on the machine that runs the tests.

use super::*;
use crate::cli::args::parse;

fn cli(line: &[&str]) -> Cli {
    parse([&["mailmend"], line].concat()).unwrap()
}

fn resolve(line: &[&str], file: &str) -> Result<Settings, Exit> {
    let root = Environment { root: true, ..Environment::default() };
    Settings::resolve(&cli(line), &root, File::parse(file).unwrap(), None)
}

#[test]
fn flags_win_over_the_file_and_a_stores_table_over_its_top() {
    let file = "threads = 2\nverbose = 1\nundecided = \"folder\"\nread-timeout = 9\nfrom = \"/b\"\n\
                [store.\"/m\"]\nfrom = [\"/x\", \"/y\"]\nread-timeout = 5";
    let settings = resolve(&["audit", "/m", "--threads", "8", "--undecided", "restore"], file).unwrap();
    assert_eq!((settings.threads, settings.verbose), (Some(8), 1));
    let store = settings.store(Path::new("/m/"));
    assert_eq!((store.from.len(), store.undecided), (2, Undecided::Restore));
    assert_eq!(store.read_timeout, Some(Duration::from_secs(5)));
    assert_eq!(settings.store(Path::new("/other")).from.len(), 1);
    let settings = resolve(&["audit", "/m", "--from", "/z"], file).unwrap();
    assert_eq!(settings.store(Path::new("/m")).from[0].location, "/z");
    assert_eq!(settings.store(Path::new("/m")).from.len(), 1, "sources are replaced, not added");
}

#[test]
fn the_state_folder_and_the_catalog() {
    let settings = resolve(&["status"], "").unwrap();
    assert_eq!(settings.state, Path::new("/var/lib/mailmend"));
    assert_eq!(settings.catalog, Path::new("/var/lib/mailmend/catalog.db"));
    let settings = resolve(&["status", "--state", "/s"], "state = \"/t\"\ncatalog = \"/c.db\"").unwrap();
    assert_eq!((settings.state.to_str(), settings.catalog.to_str()), (Some("/s"), Some("/c.db")));
    let user = |state: Option<&str>, xdg: Option<&str>, home: Option<&str>| {
        let env = Environment {
            root: false,
            state_directory: state.map(Into::into),
            xdg_state_home: xdg.map(Into::into),
            home: home.map(Into::into),
        };
        Settings::resolve(&cli(&["status"]), &env, File::default(), None).map(|settings| settings.state)
    };
    assert_eq!(user(Some("/run/a:/run/b"), None, None).unwrap(), Path::new("/run/a"));
    assert_eq!(user(Some(""), Some("/x"), Some("/h")).unwrap(), Path::new("/x/mailmend"));
    assert_eq!(user(None, Some("relative"), Some("/h")).unwrap(), Path::new("/h/.local/state/mailmend"));
    assert_eq!(user(None, None, None).unwrap_err().status, 16);
}

#[test]
fn a_selection_on_the_command_line_replaces_the_files() {
    let file = "accounts = [\"a*\"]\naccounts-file = \"/list\"\nmailbox = \"INBOX\"";
    let parsed = File::parse(file).unwrap();
    assert_eq!(accounts_file(&cli(&["audit", "/m"]), &parsed), Some("/list".into()));
    assert_eq!(accounts_file(&cli(&["audit", "/m", "--accounts", "b*"]), &parsed), None);
    assert_eq!(accounts_file(&cli(&["audit", "/m", "--accounts-file", "/l"]), &parsed), Some("/l".into()));
    let settings = resolve(&["audit", "/m", "--accounts", "b*"], file).unwrap();
    assert!(settings.selection.account("bob@x") && !settings.selection.account("ann@x"));
    assert!(settings.selection.mailbox("INBOX") && !settings.selection.mailbox("Sent"));
    let listed = Some(BTreeSet::from(["carl".to_owned()]));
    let with = cli(&["audit", "/m", "--accounts-file", "/l"]);
    let env = Environment { root: true, ..Environment::default() };
    let settings = Settings::resolve(&with, &env, parsed, listed).unwrap();
    assert!(settings.selection.account("carl") && !settings.selection.account("ann@x"));
}

#[test]
fn patterns() {
    let all = resolve(&["audit", "/m"], "").unwrap().selection;
    assert!(all.is_all() && all.account("x") && all.mailbox("y"));
    let some = resolve(&["audit", "/m", "--mailbox", "Archive*", "--mailbox", "{Sent,Drafts}"], "").unwrap().selection;
    assert!(some.mailbox("Archive/2025/05") && some.mailbox("Drafts") && !some.mailbox("INBOX"));
    assert_eq!(resolve(&["audit", "/m", "--accounts", "[a"], "").unwrap_err().status, 16);
}

#[test]
fn account_lists_have_comments_and_are_never_empty() {
    let names = parse_accounts("# who is hit\nann@example.org\n\n  bob # his boss\r\n").unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ann@example.org", "bob"]);
    assert!(parse_accounts("# nobody\n").is_err());
}

#[test]
fn a_repair_needs_copies_from_somewhere() {
    let exit = resolve(&["repair", "/m"], "").unwrap_err();
    assert_eq!((exit.status, exit.text.contains("--from SPEC")), (16, true));
    assert!(resolve(&["repair", "/m"], "[store.\"/m\"]\nfrom = \"/b\"").is_ok());
    assert!(resolve(&["repair", "/m", "--plan", "p"], "").is_ok());
}

#[test]
fn a_named_configuration_must_exist_and_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    let load = || read_config(Some(&path));
    assert_eq!(load().unwrap_err().status, 16);
    std::fs::write(&path, "thread = 1").unwrap();
    let text = load().unwrap_err().text;
    assert!(text.contains("m.toml: line 1: unknown key 'thread', did you mean 'threads'?"), "{text}");
    std::fs::write(&path, "threads = 1").unwrap();
    assert_eq!(load().unwrap().1.threads, Some(1));
}
