//! What the command line accepts and how it refuses. May not run any command.

use super::*;

fn parsed(line: &[&str]) -> Result<Cli, Exit> {
    parse([&["mailmend"], line].concat())
}

fn refused(line: &[&str]) -> String {
    let exit = parsed(line).expect_err("must be refused");
    assert_eq!(exit.status, USAGE, "{}", exit.text);
    exit.text
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn an_audit_takes_many_stores_and_sources() {
    let cli = parsed(&["audit", "/a", "/b", "--from", "/x", "--from", "n=/y*", "--json", "-vv"]).unwrap();
    assert!(cli.global.json && cli.global.verbose == 2 && !cli.global.quiet);
    let Command::Audit(audit) = cli.command else { panic!() };
    assert_eq!(audit.stores.len(), 2);
    assert_eq!(audit.from[1].name.as_deref(), Some("n"));
    assert!(audit.from[1].pattern);
}

#[test]
fn an_unquoted_pattern_never_becomes_a_store() {
    let text = refused(&["repair", "/m", "--from", "/b/daily.0", "/b/daily.1", "/b/daily.2"]);
    assert!(text.contains("repair takes one STORE"), "{text}");
    assert!(text.contains("'/b/daily.1' and 1 more"), "{text}");
    assert!(text.contains("--from '/backup/daily.*'"), "{text}");
    refused(&["repair", "--from", "/b/daily.0", "/b/daily.1", "/m"]);
    assert!(parsed(&["repair", "--from", "/b/daily.0", "/m"]).is_ok());
    assert!(!refused(&["repair"]).contains("EXTRA"), "the trap is not shown");
}

#[test]
fn a_plan_excludes_what_made_it() {
    assert!(parsed(&["repair", "/m", "--plan", "p", "--apply"]).is_ok());
    refused(&["repair", "/m", "--plan", "p", "--from", "/b"]);
    refused(&["repair", "/m", "--plan", "p", "--save-plan", "q"]);
    refused(&["repair", "/m", "--plan", "p", "--undecided", "restore"]);
    refused(&["repair", "/m", "--from", "/b", "--write-to-sick-device"]);
}

#[test]
fn known_formats_are_refused_by_name() {
    assert!(refused(&["audit", "cyrus:/var/mail"]).contains("format 'cyrus' is known, not supported yet"));
    assert!(parsed(&["audit", "maildir:/var/vmail"]).is_ok());
}

#[test]
fn losses_are_accepted_with_a_reason() {
    assert!(parsed(&["accept", "r1", "--reason", "gone"]).is_ok());
    assert!(parsed(&["accept", "--account", "a", "--key", "k", "--reason", "gone"]).is_ok());
    refused(&["accept", "r1"]);
    refused(&["accept", "r1", "--reason", ""]);
    refused(&["accept", "--reason", "gone"]);
    refused(&["accept", "r1", "--key", "k", "--reason", "gone"]);
    refused(&["undo", "../../etc"]);
}

#[test]
fn a_purge_names_what_it_purges() {
    assert!(parsed(&["quarantine", "purge", "r1"]).is_ok());
    assert!(parsed(&["quarantine", "purge", "--older-than", "30", "--apply"]).is_ok());
    refused(&["quarantine", "purge"]);
    refused(&["quarantine", "purge", "r1", "--older-than", "3"]);
    refused(&["quarantine"]);
}

#[test]
fn a_plugin_is_known_whatever_stands_before_its_name() {
    let meant = |line: &[&str]| crate::cli::check::is_meant([&["mailmend"], line].concat().into_iter().map(Into::into));
    assert!(meant(&["check"]) && meant(&["--state", "/s", "-q", "--catalog=/c", "check", "--nonsense"]));
    assert!(meant(&["--nonsense", "check", "/m"]));
    assert!(
        !meant(&["catalog", "check"]) && !meant(&["--state", "check"]) && !meant(&["verify", "check"]) && !meant(&[])
    );
}

#[test]
fn thresholds_are_numbers_times_or_off() {
    let check = |line: &[&str]| match parsed(&[&["check", "/m"], line].concat()).map(|cli| cli.command) {
        Ok(Command::Check(check)) => Ok(check),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(check(&[]).unwrap().warn_age, None, "the default follows a budget");
    assert_eq!(check(&["--crit-age", "2w"]).unwrap().crit_age, Some(crate::cli::values::Span(Some(14 * 86_400))));
    assert_eq!(check(&["--crit-age", "off", "--crit-lost", "off"]).unwrap().crit_lost.0, None);
    for bad in ["", "h", "12", "-1h", "1.5h", "1y", "h1", "ä", "99999999999999999999d", "9999999999999999999d"] {
        assert!(check(&["--warn-age", bad]).is_err(), "{bad}");
    }
    assert!(check(&["--crit-lost", "-1"]).is_err() && check(&["--crit-lost", "many"]).is_err());
}

#[test]
fn a_triage_has_time_for_something() {
    let cli =
        parsed(&["triage", "/a", "/b", "--within", "60", "--save-accounts", "hit", "--read-timeout", "2"]).unwrap();
    let Command::Triage(triage) = cli.command else { panic!() };
    assert_eq!((triage.stores.len(), triage.within, triage.read_timeout), (2, Some(60), Some(2)));
    refused(&["triage"]);
    refused(&["triage", "/a", "--within", "4"]);
    refused(&["triage", "/a", "--accounts", "x"]);
}

#[test]
fn help_and_version_are_no_errors() {
    let help = parsed(&["--help"]).unwrap_err();
    assert_eq!(help.status, 0);
    assert!(help.text.contains("Exit status (or-ed):") && !help.text.contains("lane"), "{}", help.text);
    assert_eq!(parsed(&["-V"]).unwrap_err().text, concat!("mailmend ", env!("CARGO_PKG_VERSION"), "\n"));
    refused(&[]);
    refused(&["repiar"]);
    assert!(matches!(parsed(&["lane"]).unwrap().command, Command::Lane));
}

#[test]
fn a_hostile_file_name_in_an_error_is_harmless() {
    let text = refused(&["repair", "/m", "\u{1b}[2J"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let text = refused(&["audit", "/m", "--since", "\u{1b}[2J"]);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn every_help_line_is_imperative_and_open_ended() {
    fn walk(command: &clap::Command) {
        let about = command.get_about().unwrap_or_else(|| panic!("{} has no help", command.get_name())).to_string();
        assert!(!about.ends_with('.'), "{about}");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.ends_with('.'), "{} {}: {help}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(walk);
    }
    walk(&command());
}
