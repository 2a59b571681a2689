//! `--loss-report`: what became of which message, account by account, for the letter to the users.
//!
//! Pure: findings in, text out. Says of no message more than a finding said; what was deleted or moved is no loss.

use super::sanitise::{FIELD, SENTENCE, inline};
use super::words;
use crate::model::event::{Finding, Subject};
use crate::model::evidence::FaultKind;
use crate::model::journal::Outcome;
use crate::model::tally::Tally;
use crate::model::{Missing, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Healed,
    /// A dry run: a repair would heal it.
    CanBeHealed,
    /// There, and not as it was.
    Partly,
    Lost,
    /// Lost, or deleted by its owner.
    Unclear,
}

impl Fate {
    const ALL: [Fate; 5] = [Fate::Healed, Fate::CanBeHealed, Fate::Partly, Fate::Lost, Fate::Unclear];

    fn words(self) -> &'static str {
        match self {
            Fate::Healed => "healed",
            Fate::CanBeHealed => "can be healed",
            Fate::Partly => "partly there",
            Fate::Lost => "lost",
            Fate::Unclear => "lost or deleted",
        }
    }

    fn of(finding: &Finding) -> Option<Fate> {
        if finding.subject != Subject::Message {
            return None;
        }
        let fate = match finding.verdict {
            Verdict::Damaged | Verdict::Unreadable => Fate::Partly,
            Verdict::Missing(Missing::Lost) => Fate::Lost,
            Verdict::Missing(Missing::Undecided) => Fate::Unclear,
            _ => return None,
        };
        let planned = finding.action.as_ref().is_some_and(|action| action.kind != "report");
        Some(match &finding.outcome {
            Some((Outcome::Done | Outcome::Already, _)) => Fate::Healed,
            None if planned => Fate::CanBeHealed,
            _ => fate,
        })
    }
}

/// One message of an account.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    fate: Fate,
    mailbox: String,
    /// When it was received, as far as anybody knows.
    date: String,
    from: String,
    subject: String,
    /// What of it is missing, and whether a person accepted that.
    remark: String,
}

/// Findings, gathered.
#[derive(Debug, Default)]
pub struct Losses {
    accounts: BTreeMap<(String, String), Vec<Line>>,
}

impl Losses {
    /// Takes a finding in. One that is told a second time, when it was healed, comes only then.
    pub fn note(&mut self, finding: &Finding) {
        let Some(fate) = Fate::of(finding) else { return };
        let envelope = finding.envelope.clone().unwrap_or_default();
        let known = |text: Option<String>| text.map_or_else(|| "?".to_owned(), |text| inline(&text, FIELD));
        let line = Line {
            fate,
            mailbox: inline(&finding.mailbox, FIELD),
            date: known(finding.internal_date.and_then(words::minute)),
            from: known(envelope.from),
            subject: known(envelope.subject),
            remark: remark(finding, fate),
        };
        let account = (inline(&finding.store, SENTENCE), inline(&finding.account, FIELD));
        self.accounts.entry(account).or_default().push(line);
    }

    /// The whole report. `tally` is that of the run: what was not looked at is in no list.
    pub fn text(&mut self, run: &str, tally: &Tally) -> String {
        let mut text = format!("What became of damaged and missing messages (mailmend, run {run}; times are UTC)\n");
        let all: Vec<&Line> = self.accounts.values().flatten().collect();
        let _ =
            writeln!(text, "\n{}", counted(&all).unwrap_or_else(|| "Nothing was found damaged or missing.".to_owned()));
        if let Some(why) = incomplete(tally) {
            let _ = writeln!(text, "NOT COMPLETE: {why}; messages may be hit that are not listed here.");
        }
        if let Some(what) = unlisted(tally) {
            let _ = writeln!(text, "Not listed: {what}.");
        }
        for ((store, account), lines) in &mut self.accounts {
            lines.sort();
            let counted = counted(&lines.iter().collect::<Vec<_>>()).unwrap_or_default();
            let _ = writeln!(text, "\n{account} ({store}): {counted}");
            for Line { fate, mailbox, date, from, subject, remark } in lines {
                let _ = writeln!(
                    text,
                    "  {:<15} {date:<16}  {mailbox}: {subject}\n{:19}from {from}{remark}",
                    fate.words(),
                    ""
                );
            }
        }
        text
    }
}

/// Why there may be more than was found: whatever makes the run's exit status say so.
fn incomplete(tally: &Tally) -> Option<String> {
    let items = |n: u64, noun: &str, what: &str| (n > 0).then(|| format!("{} {what}", words::count(n, noun)));
    let why = [
        items(tally.not_checked, "item", "could not be checked"),
        items(tally.own_errors, "error", "of mailmend's own"),
        items(tally.failed, "repair", "failed"),
        tally.interrupted.then(|| "the run was interrupted".to_owned()),
    ];
    let why: Vec<String> = why.into_iter().flatten().collect();
    (!why.is_empty()).then(|| why.join(", "))
}

/// What was looked at, or left out on purpose, and is no loss that anything proves.
fn unlisted(tally: &Tally) -> Option<String> {
    let messages = |n: u64, what: &str| (n > 0).then(|| format!("{} {what}", words::count(n, "message")));
    let what = [
        messages(tally.suspect, "that look odd and may be whole"),
        messages(tally.undetermined, "that nothing proves whole or damaged"),
        messages(tally.deferred, "left for a later night"),
        tally.partial.then(|| "whatever was not selected".to_owned()),
    ];
    let what: Vec<String> = what.into_iter().flatten().collect();
    (!what.is_empty()).then(|| what.join(", "))
}

fn counted(lines: &[&Line]) -> Option<String> {
    let count = |fate: Fate| lines.iter().filter(|line| line.fate == fate).count() as u64;
    let all = Fate::ALL.map(|fate| (count(fate), fate.words()));
    let told: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{} {words}", words::number(*n))).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn remark(finding: &Finding, fate: Fate) -> String {
    let unread = |kind: FaultKind| matches!(kind, FaultKind::ReadError | FaultKind::ReadTimeout);
    let missing: u64 = finding.faults.iter().filter(|fault| unread(fault.kind)).map(|fault| fault.span.length).sum();
    let mut remark = match (fate, finding.size) {
        (Fate::Partly, Some(size)) if missing > 0 && missing <= size => {
            format!("; {} of {} bytes cannot be read", words::number(missing), words::number(size))
        }
        (Fate::Partly, _) => format!("; {}", inline(&finding.reason, FIELD)),
        _ => String::new(),
    };
    if finding.accepted {
        remark.push_str("; accepted earlier");
    }
    remark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::ActionSummary;
    use crate::model::evidence::{Check, Fault};
    use crate::model::{Envelope, RelPath, Span, Stamp};

    fn finding(account: &str, verdict: Verdict, subject: &str) -> Finding {
        Finding {
            account: account.to_owned(),
            mailbox: "INBOX".to_owned(),
            size: Some(20_000),
            internal_date: Some(Stamp { sec: 1_700_000_000, nsec: 0 }),
            envelope: Some(Envelope {
                from: Some("bob@example.org".to_owned()),
                subject: Some(subject.to_owned()),
                ..Envelope::default()
            }),
            ..Finding::of_file(Subject::Message, "/srv/mail", RelPath::root(), verdict, "not as recorded".to_owned())
        }
    }

    #[test]
    fn each_account_is_told_what_became_of_its_mail() {
        let mut losses = Losses::default();
        let action = |kind: &str| {
            Some(ActionSummary { kind: kind.to_owned(), source: None, assurance: None, why: String::new() })
        };
        let span = Span::new(512, 512);
        let hole = Fault { check: Check::Read, kind: FaultKind::ReadError, span, errno: Some(5) };
        let healed = (Outcome::Done, "replaced".to_owned());
        let all = [
            Finding { outcome: Some(healed), action: action("restore"), ..finding("ann", Verdict::Damaged, "one") },
            Finding { action: action("splice"), ..finding("ann", Verdict::Damaged, "two") },
            Finding {
                faults: vec![hole],
                action: action("report"),
                ..finding("ann", Verdict::Unreadable, "th\u{1b}ree")
            },
            finding("bob", Verdict::Missing(Missing::Lost), "four"),
            Finding { accepted: true, ..finding("bob", Verdict::Missing(Missing::Undecided), "five") },
            finding("bob", Verdict::Missing(Missing::Deleted), "nobody misses it"),
        ];
        all.iter().for_each(|finding| losses.note(finding));
        let text = losses.text("R1", &Tally { not_checked: 3, ..Tally::default() });
        assert_eq!(
            text,
            "What became of damaged and missing messages (mailmend, run R1; times are UTC)\n\n\
             1 healed, 1 can be healed, 1 partly there, 1 lost, 1 lost or deleted\n\
             NOT COMPLETE: 3 items could not be checked; messages may be hit that are not listed here.\n\n\
             ann (/srv/mail): 1 healed, 1 can be healed, 1 partly there\n\
             \x20 healed          2023-11-14 22:13  INBOX: one\n                   from bob@example.org\n\
             \x20 can be healed   2023-11-14 22:13  INBOX: two\n                   from bob@example.org\n\
             \x20 partly there    2023-11-14 22:13  INBOX: th\u{fffd}ree\n                   from bob@example.org; 512 of 20,000 \
             bytes cannot be read\n\n\
             bob (/srv/mail): 1 lost, 1 lost or deleted\n\
             \x20 lost            2023-11-14 22:13  INBOX: four\n                   from bob@example.org\n\
             \x20 lost or deleted 2023-11-14 22:13  INBOX: five\n                   from bob@example.org; accepted earlier\n"
        );
        assert!(Losses::default().text("R2", &Tally::default()).contains("Nothing was found"));
    }

    #[test]
    fn what_is_not_in_the_list_is_told() {
        let told = |tally: Tally| Losses::default().text("R3", &tally);
        let incomplete = [
            Tally { not_checked: 1, ..Tally::default() },
            Tally { own_errors: 1, ..Tally::default() },
            Tally { failed: 1, ..Tally::default() },
            Tally { interrupted: true, ..Tally::default() },
        ];
        for tally in incomplete {
            assert!(tally.exit() & (8 | 32) != 0 && told(tally.clone()).contains("\nNOT COMPLETE: "), "{tally:?}");
        }
        let text = told(Tally { suspect: 2, undetermined: 1, partial: true, ..Tally::default() });
        let line = "\nNot listed: 2 messages that look odd and may be whole, 1 message that nothing proves whole or \
                    damaged, whatever was not selected.\n";
        assert!(text.contains(line) && !text.contains("NOT COMPLETE"), "{text}");
    }
}
