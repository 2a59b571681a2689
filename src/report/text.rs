//! Single events as people read them: a finding in two lines, an account, an error, a progress line.
//!
//! Pure. Everything that a stranger may have written passes `sanitise` or `model::path::escape` here.

use super::sanitise::{FIELD, SENTENCE, inline};
use super::words::{self, count, number};
use crate::model::container::shown;
use crate::model::event::{ActionSummary, Finding, Phase, Subject};
use crate::model::tally::Tally;
use crate::model::{Agrees, Assurance, Envelope, Fault, Missing, Outcome, Signed, Stamp, Verdict, journal};

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    pub colour: bool,
    /// How many times `-v` was given.
    pub verbose: u8,
}

/// Columns of the verdict at the left.
const MARGIN: usize = 14;

/// Colours by meaning, as ANSI codes.
#[derive(Clone, Copy)]
pub(super) enum Tone {
    Bad,
    Doubtful,
    Good,
    Heading,
}

impl Style {
    /// `text` in a colour, where colours are wanted.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bad => "31",
            Tone::Doubtful => "33",
            Tone::Good => "32",
            Tone::Heading => "1",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Whether people see this finding without `-v`. What its owner deleted or moved is no news.
pub fn is_shown(finding: &Finding, style: Style) -> bool {
    let quiet = matches!(
        finding.verdict,
        Verdict::Intact(_) | Verdict::Missing(Missing::Deleted | Missing::Moved | Missing::PresumedDeleted)
    );
    style.verbose > 0 || !quiet || finding.outcome.is_some()
}

/// A finding: what and where and why; whose mail it is and what is to be done; under `-v` ranges and path.
pub fn finding(finding: &Finding, style: Style) -> String {
    let word = verdict(finding.verdict);
    let gap = " ".repeat(MARGIN.saturating_sub(word.len()));
    let mut text = format!("{}{gap}{}", style.paint(tone(finding.verdict), word), place(finding));
    let why = reason(finding);
    if !why.is_empty() {
        text.push_str(": ");
        text.push_str(&why);
    }
    text.push('\n');
    let mut more = Vec::new();
    more.extend(finding.envelope.as_ref().and_then(envelope));
    more.extend(deed(finding, style));
    indented(&mut text, &more.join("; "));
    if style.verbose > 0 {
        details(&mut text, finding, style);
    }
    text
}

fn indented(text: &mut String, line: &str) {
    if !line.is_empty() {
        text.push_str(&" ".repeat(MARGIN));
        text.push_str(line);
        text.push('\n');
    }
}

/// The verdict in one or two words.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Missing(Missing::PresumedDeleted) => "gone",
        Verdict::Missing(missing) => missing.name(),
        verdict => verdict.name(),
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Damaged | Verdict::Unreadable | Verdict::Missing(Missing::Lost) => Tone::Bad,
        Verdict::Suspect | Verdict::Undetermined | Verdict::Missing(Missing::Undecided) => Tone::Doubtful,
        Verdict::Intact(_) | Verdict::Missing(_) => Tone::Good,
    }
}

/// Account, mailbox and key; the path for what is no message.
fn place(finding: &Finding) -> String {
    let mut parts = Vec::new();
    for name in [&finding.account, &finding.mailbox] {
        if !name.is_empty() {
            parts.push(inline(name, FIELD));
        }
    }
    match (finding.subject, &finding.key) {
        (Subject::Message, Some(key)) => parts.push(key.to_string()),
        (Subject::Message, None) => parts.push(shown(&finding.path).to_string()),
        (Subject::Stray, _) => parts.push(format!("stray file {}", shown(&finding.path))),
        (Subject::Companion, _) => parts.push(format!("server's file {}", finding.path)),
        (Subject::Folder, _) => parts.push(format!("folder {}", finding.path)),
    }
    parts.join("  ")
}

/// What the checks blame, then the engine's own words. They often repeat the faults: nothing is said twice.
fn reason(finding: &Finding) -> String {
    let own = inline(&finding.reason, SENTENCE);
    let mut words: Vec<&str> = Vec::new();
    for fault in &finding.faults {
        let word = fault.kind.words();
        if !words.contains(&word) && !own.contains(word) {
            words.push(word);
        }
    }
    words.extend((!own.is_empty()).then_some(&own[..]));
    words.join("; ")
}

/// `"Subject" from Ann <ann@example.org>, 2026-03-01 04:05`, as far as known.
fn envelope(envelope: &Envelope) -> Option<String> {
    let mut text = String::new();
    if let Some(subject) = &envelope.subject {
        text.push_str(&format!("\"{}\"", inline(subject, FIELD)));
    }
    if let Some(from) = &envelope.from {
        text.push_str(if text.is_empty() { "from " } else { " from " });
        text.push_str(&inline(from, FIELD));
    }
    if let Some(date) = envelope.date.and_then(|sec| words::minute(Stamp { sec, nsec: 0 })) {
        text.push_str(if text.is_empty() { "of " } else { ", " });
        text.push_str(&date);
    }
    (!text.is_empty()).then_some(text)
}

/// What would be, was or could not be done.
fn deed(finding: &Finding, style: Style) -> Option<String> {
    let action = finding.action.as_ref();
    let accepted = finding.accepted.then(|| "accepted as final".to_owned());
    let Some((outcome, detail)) = &finding.outcome else {
        return accepted.or_else(|| action.map(|action| intention(finding.verdict, action)));
    };
    let detail = inline(detail, SENTENCE);
    let with = |words: &str| if detail.is_empty() { words.to_owned() } else { format!("{words}: {detail}") };
    Some(match outcome {
        journal::Outcome::Done if style.verbose > 0 => style.paint(Tone::Good, &with(&done(action))),
        journal::Outcome::Done => style.paint(Tone::Good, &done(action)),
        journal::Outcome::Already => "done already".to_owned(),
        journal::Outcome::Failed => style.paint(Tone::Bad, &with("failed, nothing changed")),
        journal::Outcome::Conflict => style.paint(Tone::Doubtful, &with("left alone, it changed since the plan")),
        journal::Outcome::Held => style.paint(Tone::Doubtful, &with("held, not now")),
        journal::Outcome::Skipped => with("nothing done"),
    })
}

fn intention(verdict: Verdict, action: &ActionSummary) -> String {
    let why = inline(&action.why, SENTENCE);
    match action.kind.as_str() {
        // Only an undo restores without a source.
        "restore" if action.source.is_none() => format!("would put back: {why}"),
        "remove_folder" => "would remove the folder, if it is empty".to_owned(),
        "restore" => format!("would restore{}", origin(action)),
        "splice" => format!("would piece it together{}", origin(action)),
        "rename" => format!("would give it its name back{}", origin(action)),
        "make_folder" => "would make the folder".to_owned(),
        "quarantine" => "would move it to quarantine".to_owned(),
        _ if action.why.is_empty() => "nothing to repair it with".to_owned(),
        // A copy is there: the user's word is missing, not the repair.
        _ if verdict == Verdict::Missing(Missing::Undecided) && action.source.is_some() => {
            format!("left as it is; {why}")
        }
        _ => format!("not repaired: {why}"),
    }
}

fn done(action: Option<&ActionSummary>) -> String {
    // Undos name no action: the repair's own is just what they take back.
    let Some(action) = action else { return "put back as it was before the run".to_owned() };
    match action.kind.as_str() {
        "restore" => format!("restored{}", origin(action)),
        "splice" => format!("pieced together{}", origin(action)),
        "rename" => format!("has its name back{}", origin(action)),
        "make_folder" => "folder made".to_owned(),
        "quarantine" => "moved to quarantine".to_owned(),
        _ => "done".to_owned(),
    }
}

/// ` from daily.0 (identical)`.
fn origin(action: &ActionSummary) -> String {
    let source = action.source.as_ref().map(|source| format!(" from {}", inline(source, FIELD))).unwrap_or_default();
    let assurance = action.assurance.map(|assurance| format!(" ({})", assurance.name())).unwrap_or_default();
    source + &assurance
}

/// `-v`: the path, the ranges, why this action; `-vv`: every check.
fn details(text: &mut String, finding: &Finding, style: Style) {
    if finding.subject == Subject::Message && finding.key.is_some() {
        indented(text, &format!("path {}", shown(&finding.path)));
    }
    for fault in &finding.faults {
        indented(text, &range(fault));
    }
    if let Some(signed) = &finding.signed {
        indented(text, &signature(signed));
    }
    indented(text, meaning(finding));
    if let Some(action) = &finding.action
        && action.kind != "report"
        && !action.why.is_empty()
    {
        indented(text, &format!("because {}", inline(&action.why, SENTENCE)));
    }
    if style.verbose > 1 && !finding.checks.is_empty() {
        let checks: Vec<String> =
            finding.checks.iter().map(|(name, outcome)| format!("{name} {}", outcome.name())).collect();
        indented(text, &format!("checks {}", checks.join(", ")));
    }
}

/// What the verdict on a message means, and what follows from it.
fn meaning(finding: &Finding) -> &'static str {
    if finding.subject != Subject::Message {
        return "";
    }
    let failed = |outcome| finding.checks.iter().any(|(_, said)| *said == outcome);
    match finding.verdict {
        Verdict::Intact(assurance) => match assurance {
            Assurance::Plausible => "plausible: it reads and parses clean; nothing outside it says more",
            Assurance::Consistent => "consistent: what the server recorded of it agrees",
            Assurance::Corroborated => "corroborated: an equal copy stands on another file system",
            Assurance::Authenticated => "authenticated: the hash in its signature agrees with the body",
            Assurance::Identical => "identical: it equals what was recorded",
        },
        Verdict::Suspect if finding.faults.is_empty() && !failed(Outcome::Fail) => {
            "suspect: its structure is nested deeper than the checks follow"
        }
        Verdict::Suspect => {
            "suspect: whole mail may look like this; only a copy equal to what was recorded replaces it"
        }
        Verdict::Damaged => "damaged: bytes were lost or changed; no whole mail looks like this",
        Verdict::Unreadable => "unreadable: the rest of it may be whole",
        Verdict::Undetermined => "undetermined: neither whole nor damaged is proven",
        Verdict::Missing(_) => "",
    }
}

/// `body: the DKIM body hash (d=example.org, key not checked) agrees: authenticated`.
fn signature(signed: &Signed) -> String {
    let says = match signed.agrees {
        Agrees::Whole => "agrees: authenticated, whatever looks strange in it".to_owned(),
        Agrees::UpTo(end) => {
            format!(
                "agrees up to byte {}, where it ends (l=): what follows is not proven",
                number(end.saturating_sub(1))
            )
        }
        Agrees::No => "does not agree; that alone proves nothing: mailing lists rewrite bodies".to_owned(),
        Agrees::Unread => "cannot be compared: bytes are missing".to_owned(),
    };
    format!("body: {} {says}", inline(&signed.words(), SENTENCE))
}

/// `bytes 512 to 1,023 (512): a run of zero bytes [pattern]`.
fn range(fault: &Fault) -> String {
    let span = fault.span;
    let place = match span.length {
        0 => format!("at byte {}", number(span.offset)),
        1 => format!("byte {}", number(span.offset)),
        n => format!("bytes {} to {} ({})", number(span.offset), number(span.end() - 1), number(n)),
    };
    let errno = fault.errno.map(|errno| format!(", error {errno}")).unwrap_or_default();
    format!("{place}: {} [{}{errno}]", fault.kind.words(), fault.check.name())
}

/// What a run looks at and with what.
pub fn start(command: &str, store: &str, sources: &[(String, Stamp)]) -> String {
    let mut text = format!("{command} {}\n", inline(store, SENTENCE));
    for (name, time) in sources {
        let time = words::minute(*time).unwrap_or_else(|| "an impossible time".into());
        text.push_str(&format!("  source {}, taken {time} UTC\n", inline(name, SENTENCE)));
    }
    text
}

/// A finished account.
pub fn account(name: &str, tally: &Tally, style: Style) -> String {
    let wrong = tally.harmed();
    let state = if wrong == 0 {
        style.paint(Tone::Good, "whole")
    } else {
        style.paint(Tone::Bad, &format!("{} damaged or lost", number(wrong)))
    };
    let unchecked = match tally.not_checked {
        0 => String::new(),
        n => format!(", {} not checked", number(n)),
    };
    let messages = count(tally.messages, "message");
    format!("{:MARGIN$}{}: {messages}, {state}{unchecked}\n", "account", inline(name, FIELD))
}

/// Something that could not be done.
pub fn error(path: &str, what: &str, hint: Option<&str>, style: Style) -> String {
    let place = if path.is_empty() { String::new() } else { format!("{}: ", inline(path, SENTENCE)) };
    let mut text = format!("{} {place}{}\n", style.paint(Tone::Bad, "error:"), inline(what, SENTENCE));
    if let Some(hint) = hint {
        text.push_str(&format!("  hint: {}\n", inline(hint, SENTENCE)));
    }
    text
}

/// Something to know that is no damage.
pub fn note(text: &str) -> String {
    format!("note: {}\n", inline(text, SENTENCE))
}

/// How far a run is, on one line. `per_second` and `left_s` are `None` as long as nothing can be said.
pub fn progress(phase: Phase, done: u64, total: u64, per_second: Option<f64>, left_s: Option<f64>) -> String {
    let what = match phase {
        Phase::Discover => "mailbox",
        Phase::Verify => "message",
        Phase::Repair | Phase::Undo => "step",
    };
    let mut text = format!("{}: ", phase.name());
    if total > 0 {
        text.push_str(&format!("{} of {}", number(done), count(total, what)));
    } else {
        text.push_str(&count(done, what));
    }
    if let Some(rate) = per_second {
        text.push_str(&format!(", {}/s", number(rate.max(0.0).round() as u64)));
    }
    if let Some(left) = left_s {
        text.push_str(&format!(", {} left", words::duration(left)));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, FaultKind, Key, RelPath, Span};
    use crate::report::sanitise::is_dangerous;
    use proptest::prelude::*;

    const PLAIN: Style = Style { colour: false, verbose: 0 };
    const VERBOSE: Style = Style { colour: false, verbose: 2 };

    fn damaged() -> Finding {
        let fault = |offset| Fault {
            check: Check::Pattern,
            kind: FaultKind::NulRun,
            span: Span::new(offset, 512),
            errno: None,
        };
        Finding {
            subject: Subject::Message,
            store: "/var/vmail".into(),
            account: "ann@example.org".into(),
            mailbox: "Archive/2025".into(),
            key: Some(Key(b"1.M2P3.h".to_vec())),
            uid: None,
            guid: None,
            path: RelPath::new(&b"ann/.Archive.2025/cur/1.M2P3.h,S=9:2,S"[..]).unwrap(),
            size: None,
            device: None,
            internal_date: None,
            verdict: Verdict::Damaged,
            checks: vec![("read", Outcome::Pass), ("pattern", Outcome::Fail)],
            faults: vec![fault(512), fault(4096)],
            signed: None,
            reason: String::new(),
            envelope: Some(Envelope {
                message_id: None,
                from: Some("Bob <bob@example.net>".into()),
                date: Some(1_772_323_200),
                subject: Some("Lunch\u{1b}[2J".into()),
            }),
            action: Some(ActionSummary {
                kind: "restore".into(),
                source: Some("daily.0".into()),
                assurance: Some(Assurance::Identical),
                why: "it equals the catalog's digest".into(),
            }),
            outcome: None,
            accepted: false,
        }
    }

    #[test]
    fn a_finding_is_two_lines() {
        assert_eq!(
            finding(&damaged(), PLAIN),
            "damaged       ann@example.org  Archive/2025  1.M2P3.h: a run of zero bytes\n              \
             \"Lunch\u{fffd}[2J\" from Bob <bob@example.net>, 2026-03-01 00:00; \
             would restore from daily.0 (identical)\n"
        );
    }

    #[test]
    fn verbose_names_ranges_and_reasons() {
        let text = finding(&damaged(), VERBOSE);
        let lines: Vec<&str> = text.lines().skip(2).map(str::trim_start).collect();
        assert_eq!(
            lines,
            [
                "path ann/.Archive.2025/cur/1.M2P3.h,S=9:2,S",
                "bytes 512 to 1,023 (512): a run of zero bytes [pattern]",
                "bytes 4,096 to 4,607 (512): a run of zero bytes [pattern]",
                "damaged: bytes were lost or changed; no whole mail looks like this",
                "because it equals the catalog's digest",
                "checks read pass, pattern fail",
            ]
        );
    }

    #[test]
    fn every_verdict_on_a_message_is_explained() {
        let said = |verdict, faults: bool| {
            let mut finding = damaged();
            finding.verdict = verdict;
            if !faults {
                (finding.faults, finding.checks) = (Vec::new(), vec![("mime", Outcome::Unknown)]);
            }
            let text = super::finding(&finding, Style { colour: false, verbose: 1 });
            text.lines().rev().nth(1).unwrap_or_default().trim().to_owned()
        };
        let verdicts = [Verdict::Suspect, Verdict::Damaged, Verdict::Unreadable, Verdict::Undetermined];
        for verdict in Assurance::ALL.map(Verdict::Intact).into_iter().chain(verdicts) {
            let text = said(verdict, true);
            let word = if let Verdict::Intact(assurance) = verdict { assurance.name() } else { verdict.name() };
            assert!(text.starts_with(&format!("{word}: ")), "{verdict:?}: {text}");
        }
        assert_eq!(said(Verdict::Suspect, false), "suspect: its structure is nested deeper than the checks follow");
    }

    #[test]
    fn verbose_says_what_the_signature_says() {
        let said = |agrees| {
            let mut finding = damaged();
            finding.signed = Some(Signed { domain: Some("a\u{1b}[2J".into()), agrees, header: None, body: 9 });
            assert!(!super::finding(&finding, PLAIN).contains("DKIM"), "only under -v");
            let text = super::finding(&finding, VERBOSE);
            assert!(!text.contains('\u{1b}'), "a stranger wrote the domain");
            text.lines().map(str::trim_start).find(|line| line.starts_with("body: ")).unwrap().to_owned()
        };
        let body = "body: the DKIM body hash (d=a\u{fffd}[2J, key not checked)";
        assert_eq!(said(Agrees::Whole), format!("{body} agrees: authenticated, whatever looks strange in it"));
        assert_eq!(
            said(Agrees::UpTo(5000)),
            format!("{body} agrees up to byte 4,999, where it ends (l=): what follows is not proven")
        );
        assert!(said(Agrees::No).ends_with("that alone proves nothing: mailing lists rewrite bodies"));
        assert!(said(Agrees::Unread).ends_with("bytes are missing"));
    }

    #[test]
    fn outcomes_in_words() {
        let said = |outcome, detail: &str| {
            let mut finding = damaged();
            finding.envelope = None;
            finding.outcome = Some((outcome, detail.into()));
            super::finding(&finding, PLAIN).lines().nth(1).unwrap().trim_start().to_owned()
        };
        assert_eq!(said(journal::Outcome::Done, ""), "restored from daily.0 (identical)");
        assert_eq!(said(journal::Outcome::Failed, "no space"), "failed, nothing changed: no space");
        assert_eq!(said(journal::Outcome::Conflict, ""), "left alone, it changed since the plan");
        assert_eq!(said(journal::Outcome::Held, "in use"), "held, not now: in use");
    }

    #[test]
    fn faults_that_the_reason_names_are_not_named_again() {
        let mut finding = damaged();
        let first = |finding: &Finding| super::finding(finding, PLAIN).lines().next().unwrap().to_owned();
        finding.reason = "a run of zero bytes".into();
        assert!(first(&finding).ends_with("1.M2P3.h: a run of zero bytes"), "{}", first(&finding));
        finding.reason = "the content is not what was recorded".into();
        assert!(first(&finding).ends_with(": a run of zero bytes; the content is not what was recorded"));
    }

    #[test]
    fn what_waits_for_a_word_is_not_called_unrepairable() {
        let mut undecided = damaged();
        (undecided.verdict, undecided.envelope) = (Verdict::Missing(Missing::Undecided), None);
        undecided.action = Some(ActionSummary {
            kind: "report".into(),
            source: Some("daily.0".into()),
            assurance: None,
            why: "--undecided restore would put it back (daily.0: reads clean)".into(),
        });
        let text = super::finding(&undecided, PLAIN);
        assert!(text.contains("left as it is; --undecided restore") && !text.contains("not repaired"), "{text}");
    }

    #[test]
    fn an_undo_says_what_it_does_itself() {
        let mut finding = damaged();
        finding.envelope = None;
        finding.action =
            Some(ActionSummary { kind: "remove_folder".into(), source: None, assurance: None, why: String::new() });
        assert!(super::finding(&finding, PLAIN).contains("would remove the folder, if it is empty\n"));
        (finding.action, finding.outcome) = (None, Some((journal::Outcome::Done, String::new())));
        assert!(super::finding(&finding, PLAIN).contains("put back as it was before the run\n"));
    }

    #[test]
    fn what_owners_deleted_is_no_news() {
        let mut gone = damaged();
        gone.verdict = Verdict::Missing(Missing::Deleted);
        assert!(!is_shown(&gone, PLAIN) && is_shown(&gone, VERBOSE) && is_shown(&damaged(), PLAIN));
        gone.verdict = Verdict::Missing(Missing::Lost);
        assert!(is_shown(&gone, PLAIN));
    }

    #[test]
    fn folders_and_hopeless_cases() {
        let mut folder = damaged();
        folder.subject = Subject::Folder;
        folder.verdict = Verdict::Missing(Missing::Lost);
        (folder.key, folder.envelope, folder.faults) = (None, None, Vec::new());
        folder.reason = "the backup has it".into();
        folder.action = Some(ActionSummary { kind: "report".into(), source: None, assurance: None, why: "".into() });
        assert_eq!(
            finding(&folder, PLAIN),
            "lost          ann@example.org  Archive/2025  folder ann/.Archive.2025/cur/1.M2P3.h,S=9:2,S: \
             the backup has it\n              nothing to repair it with\n"
        );
    }

    #[test]
    fn small_lines() {
        assert_eq!(
            progress(Phase::Verify, 1200, 2000, Some(99.7), Some(8.0)),
            "verify: 1,200 of 2,000 messages, 100/s, 8.0 s left\n"
        );
        assert_eq!(progress(Phase::Discover, 1, 0, None, None), "discover: 1 mailbox\n");
        assert_eq!(
            error("/m", "open: denied", Some("run as root"), PLAIN),
            "error: /m: open: denied\n  hint: run as root\n"
        );
        assert_eq!(
            start("audit", "/m", &[("daily.0".into(), Stamp { sec: 0, nsec: 0 })]),
            "audit /m\n  source daily.0, taken 1970-01-01 00:00 UTC\n"
        );
        let tally = Tally { messages: 1, not_checked: 2, ..Tally::default() };
        assert_eq!(account("ann", &tally, PLAIN), "account       ann: 1 message, whole, 2 not checked\n");
    }

    proptest! {
        #[test]
        fn no_stranger_reaches_the_terminal(wild in any::<String>(), raw in proptest::collection::vec(1u8..=255, 1..40)) {
            let mut finding = damaged();
            finding.account = wild.clone();
            finding.mailbox = wild.clone();
            finding.reason = wild.clone();
            finding.key = Some(Key(raw));
            finding.envelope =
                Some(Envelope { message_id: None, from: Some(wild.clone()), date: Some(i64::MAX), subject: Some(wild.clone()) });
            finding.outcome = Some((journal::Outcome::Failed, wild.clone()));
            let all = super::finding(&finding, VERBOSE) + &error(&wild, &wild, Some(&wild), PLAIN) + &note(&wild)
                + &start("audit", &wild, &[(wild.clone(), Stamp { sec: i64::MIN, nsec: 0 })]);
            prop_assert!(!all.chars().any(|c| c != '\n' && is_dangerous(c)), "{all:?}");
        }
    }
}
