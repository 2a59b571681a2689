//! What reaches which stream, and that a stream which fails harms nothing.

use super::*;
use crate::cli::args::parse;
use crate::cli::config::Environment;
use crate::cli::config_file::File;
use crate::model::event::{Finding, Subject};
use crate::model::{Missing, Verdict};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes `room` writes, then fails.
struct Closing {
    room: usize,
    with: ErrorKind,
}

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room = self.room.checked_sub(1).ok_or(self.with)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn end(tally: Tally) -> Event {
    Event::Summary { command: "audit".into(), tally: Box::new(tally), elapsed_s: 1.0, plan: None }
}

fn start() -> Event {
    Event::Start { command: "audit".into(), store: "/m".into(), sources: Vec::new() }
}

fn finding() -> Finding {
    Finding {
        subject: Subject::Message,
        store: "/m".into(),
        account: "ann".into(),
        mailbox: "INBOX".into(),
        key: None,
        uid: None,
        guid: None,
        path: Default::default(),
        size: None,
        device: None,
        internal_date: None,
        verdict: Verdict::Damaged,
        checks: Vec::new(),
        faults: Vec::new(),
        signed: None,
        reason: String::new(),
        envelope: None,
        action: None,
        outcome: None,
        accepted: false,
    }
}

fn damaged() -> Tally {
    let mut tally = Tally::default();
    tally.count(Verdict::Damaged);
    tally
}

fn screen(look: Look) -> (TextScreen, Tape, Tape) {
    let (out, err) = (Tape::default(), Tape::default());
    (TextScreen::new(out.clone(), err.clone(), look, Origin::default()), out, err)
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let quiet = Look { quiet: true, ..Look::default() };
    let run = |tally| {
        let (mut screen, out, err) = screen(quiet);
        screen.event(start());
        screen.event(Event::Note { text: "sandbox: Landlock".into() });
        screen.advance(Phase::Verify, 1, 2, 3, Instant::now() + LINE_EVERY);
        screen.event(end(tally));
        (out.text(), err.text())
    };
    assert_eq!(run(Tally::default()), (String::new(), String::new()));
    let (out, err) = run(damaged());
    assert!(out.contains("Wrong         1 damaged") && err.is_empty(), "{out}");
}

#[test]
fn quiet_does_not_repeat_every_night_what_sets_no_status() {
    let shown = |finding: Finding| {
        let (mut screen, out, _) = screen(Look { quiet: true, ..Look::default() });
        screen.event(Event::Finding(Box::new(finding)));
        !out.text().is_empty()
    };
    let lost = || Finding { verdict: Verdict::Missing(Missing::Undecided), ..finding() };
    assert!(shown(lost()));
    assert!(!shown(Finding { accepted: true, ..lost() }));
    assert!(!shown(Finding { verdict: Verdict::Suspect, ..finding() }));
}

#[test]
fn results_and_diagnostics_are_two_streams() {
    let (mut screen, out, err) = screen(Look::default());
    screen.event(start());
    screen.event(Event::Note { text: "medium not tested".into() });
    screen.event(Event::Error { path: "/m/x".into(), what: "open: denied".into(), hint: None });
    screen.event(end(Tally::default()));
    assert!(out.text().starts_with("audit /m\n\nChecked"), "{}", out.text());
    assert_eq!(err.text(), "note: medium not tested\nerror: /m/x: open: denied\n");
}

#[test]
fn progress_lines_are_rare_and_come_when_asked_for() {
    let (mut screen, out, err) = screen(Look::default());
    screen.poke();
    let begin = Instant::now();
    for second in 0..=65u64 {
        screen.advance(Phase::Verify, second * 10, 1000, 0, begin + Duration::from_secs(second));
    }
    let lines = err.text();
    assert_eq!(
        lines,
        "starting\nverify: 300 of 1,000 messages, 10/s, 1 min 10 s left\n\
         verify: 600 of 1,000 messages, 10/s, 40.0 s left\n"
    );
    screen.poke();
    assert!(err.text().lines().last().unwrap().starts_with("verify: 650 of 1,000 messages"));
    assert!(out.text().is_empty());
}

#[test]
fn a_reader_that_went_away_is_remembered_and_harms_nothing() {
    for (with, pipe) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
        let closing = || Closing { room: 1, with };
        let text = TextScreen::new(closing(), closing(), Look::default(), Origin::default());
        let json = JsonScreen::new(closing(), "r", false);
        for mut screen in [Screen::Text(Box::new(text)), Screen::Json(json)] {
            screen.event(start());
            assert!(!screen.broken_pipe() && screen.failure().is_none());
            for _ in 0..3 {
                screen.event(end(damaged()));
                screen.poke();
            }
            assert_eq!((screen.broken_pipe(), screen.failure().is_some()), (pipe, !pipe));
        }
    }
}

#[test]
fn json_progress_comes_once_a_second_and_the_summary_last() {
    let out = Tape::default();
    let mut screen = JsonScreen::new(out.clone(), "r", false);
    let begin = Instant::now();
    for tenth in 0..25u64 {
        let event = Event::Progress { phase: Phase::Verify, done: tenth, total: 25, bytes: 0 };
        screen.progress(event, begin + Duration::from_millis(100 * tenth));
    }
    assert_eq!(out.text().lines().count(), 3);
    screen.poke();
    assert!(out.text().lines().last().unwrap().contains("\"done\":24"));
    screen.event(end(Tally::default()));
    assert!(out.text().lines().last().unwrap().contains("\"type\":\"summary\""));
}

#[test]
fn the_next_command_repeats_what_was_typed() {
    let line = "mailmend repair /m --from n=/b* --accounts a* --since 2026-03-01 --into /r --owner vmail:5000 \
                --undecided folder --state /s";
    let cli = parse(line.split_whitespace()).unwrap();
    let env = Environment { root: true, ..Environment::default() };
    let settings = |cli: &Cli| {
        let file = File::parse("[store.\"/m\"]\nfrom = \"/b\"").unwrap();
        Settings::resolve(cli, &env, file, None).unwrap()
    };
    let plain = parse(["mailmend", "audit", "/m"]).unwrap();
    assert!(super::origin(&plain, &settings(&plain), "r1").configured);
    let origin = super::origin(&cli, &settings(&cli), "r1");
    assert!(!origin.configured);
    assert_eq!((origin.store.as_deref(), &origin.from[..]), (Some("/m"), &["n=/b*".to_owned()][..]));
    assert_eq!(
        origin.options.join(" "),
        "--undecided folder --owner vmail:5000 --into /r --accounts a* --since 2026-03-01T00:00:00Z"
    );
    assert_eq!(origin.general, ["--state", "/s"]);
    assert!(!origin.applied);
    let again = format!("mailmend repair /m {} --from n=/b*", origin.options.join(" "));
    assert!(parse(again.split_whitespace()).is_ok());
}

#[test]
fn bars_do_not_disturb_the_text() {
    let (mut screen, out, _) = screen(Look { bars: true, ..Look::default() });
    for phase in [Phase::Discover, Phase::Verify] {
        for done in 0..10 {
            screen.event(Event::Progress { phase, done, total: if done < 3 { 0 } else { 10 }, bytes: 1 << 20 });
        }
        screen.event(start());
    }
    screen.event(end(damaged()));
    assert_eq!(out.text().matches("audit /m\n").count(), 2);
    assert!(screen.bar.is_none());
}
