//! Machine output: one event, one JSON line (schema `mailmend/1`).
//!
//! Pure. Keys may be added; none changes its meaning.

use super::{base64, sanitise, words};
use crate::model::event::{ActionSummary, Event, Finding};
use crate::model::path::escape;
use crate::model::sides::{Difference, Gap, Side, Sides};
use crate::model::tally::Tally;
use crate::model::{Assurance, Envelope, Fault, RelPath, Stamp, Verdict, container};
use serde::Serialize;
use std::collections::BTreeMap;

/// The schema that every line carries.
pub const SCHEMA: &str = "mailmend/1";

/// The line for one event, with its line end.
pub fn line(run: &str, event: &Event) -> String {
    match event {
        Event::Start { command, store, sources } => {
            let sources = sources.iter().map(|(name, time)| Source { name, time: words::rfc3339(*time) }).collect();
            render(run, "start", Start { command, store, sources })
        }
        Event::Note { text } | Event::Detail { text } => render(run, "note", Note { text }),
        Event::Finding(finding) => render(run, "finding", FindingLine::new(finding)),
        Event::Difference { there, difference } => render(run, "difference", DifferenceLine::new(there, difference)),
        Event::Account { account, tally } => render(run, "account", Account { account, counts: Counts::new(tally) }),
        Event::Progress { phase, done, total, bytes } => {
            render(run, "progress", Progress { phase: phase.name(), done: *done, total: *total, bytes: *bytes })
        }
        Event::Error { path, what, hint } => render(run, "error", Trouble { path, what, hint: hint.as_deref() }),
        Event::Summary { command, tally, elapsed_s, plan } => {
            let counts = Counts::new(tally);
            let elapsed_s = if elapsed_s.is_finite() { *elapsed_s } else { 0.0 };
            render(run, "summary", Summary { command, counts, elapsed_s, plan: plan.as_deref(), exit: tally.exit() })
        }
    }
}

#[derive(Serialize)]
struct Line<'a, T> {
    schema: &'static str,
    run: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: T,
}

fn render<T: Serialize>(run: &str, kind: &'static str, body: T) -> String {
    let line = Line { schema: SCHEMA, run, kind, body };
    // Strings, integers and finite numbers under text keys: nothing in it can fail to become JSON.
    let mut text = serde_json::to_string(&line).expect("every line is plain JSON");
    text.push('\n');
    sanitise::json(text)
}

#[derive(Serialize)]
struct Start<'a> {
    command: &'a str,
    store: &'a str,
    sources: Vec<Source<'a>>,
}

#[derive(Serialize)]
struct Source<'a> {
    name: &'a str,
    time: Option<String>,
}

#[derive(Serialize)]
struct Note<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Account<'a> {
    account: &'a str,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Progress {
    phase: &'static str,
    done: u64,
    total: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Trouble<'a> {
    path: &'a str,
    what: &'a str,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary<'a> {
    command: &'a str,
    #[serde(flatten)]
    counts: Counts,
    elapsed_s: f64,
    plan: Option<&'a str>,
    exit: u8,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    subject: &'static str,
    store: &'a str,
    account: &'a str,
    mailbox: &'a str,
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_raw: Option<String>,
    uid: Option<u32>,
    guid: Option<&'a str>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    size: Option<u64>,
    device: Option<&'a str>,
    internal_date: Option<String>,
    verdict: &'static str,
    missing: Option<&'static str>,
    assurance: Option<&'static str>,
    checks: BTreeMap<&'static str, &'static str>,
    faults: Vec<FaultLine>,
    reason: &'a str,
    envelope: Option<EnvelopeLine<'a>>,
    action: Option<Action<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome<'a>>,
    accepted: bool,
}

impl<'a> FindingLine<'a> {
    fn new(finding: &'a Finding) -> FindingLine<'a> {
        let key = finding.key.as_ref().map(|key| key.0.as_slice());
        let path = container::shown(&finding.path);
        let path = path.as_bytes();
        FindingLine {
            subject: finding.subject.name(),
            store: &finding.store,
            account: &finding.account,
            mailbox: &finding.mailbox,
            key: key.map(escape),
            key_raw: key.and_then(raw),
            uid: finding.uid,
            guid: finding.guid.as_deref(),
            path: escape(path),
            path_raw: raw(path),
            size: finding.size,
            device: finding.device.as_deref(),
            internal_date: finding.internal_date.and_then(words::rfc3339),
            verdict: finding.verdict.name(),
            missing: finding.missing().map(|missing| missing.name()),
            assurance: match finding.verdict {
                Verdict::Intact(assurance) => Some(assurance.name()),
                _ => None,
            },
            checks: finding.checks.iter().map(|&(check, outcome)| (check, outcome.name())).collect(),
            faults: finding.faults.iter().map(FaultLine::new).collect(),
            reason: &finding.reason,
            envelope: finding.envelope.as_ref().map(EnvelopeLine::new),
            action: finding.action.as_ref().map(Action::new),
            outcome: finding.outcome.as_ref().map(|(kind, detail)| Outcome { kind: kind.name(), detail }),
            accepted: finding.accepted,
        }
    }
}

/// The bytes in base64 where the escaped text is not the very name.
fn raw(bytes: &[u8]) -> Option<String> {
    (escape(bytes).as_bytes() != bytes).then(|| base64::encode(bytes))
}

#[derive(Serialize)]
struct FaultLine {
    kind: serde_json::Value,
    offset: u64,
    length: u64,
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
}

impl FaultLine {
    fn new(fault: &Fault) -> FaultLine {
        FaultLine {
            kind: serde_json::to_value(fault.kind).unwrap_or_default(),
            offset: fault.span.offset,
            length: fault.span.length,
            check: fault.check.name(),
            errno: fault.errno,
        }
    }
}

#[derive(Serialize)]
struct EnvelopeLine<'a> {
    message_id: Option<&'a str>,
    from: Option<&'a str>,
    date: Option<String>,
    subject: Option<&'a str>,
}

impl<'a> EnvelopeLine<'a> {
    fn new(envelope: &'a Envelope) -> EnvelopeLine<'a> {
        EnvelopeLine {
            message_id: envelope.message_id.as_deref(),
            from: envelope.from.as_deref(),
            date: envelope.date.and_then(|sec| words::rfc3339(Stamp { sec, nsec: 0 })),
            subject: envelope.subject.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Action<'a> {
    kind: &'a str,
    source: Option<&'a str>,
    assurance: Option<&'static str>,
    why: &'a str,
}

impl<'a> Action<'a> {
    fn new(action: &'a ActionSummary) -> Action<'a> {
        Action {
            kind: &action.kind,
            source: action.source.as_deref(),
            assurance: action.assurance.map(Assurance::name),
            why: &action.why,
        }
    }
}

#[derive(Serialize)]
struct Outcome<'a> {
    kind: &'static str,
    detail: &'a str,
}

/// One message in which a store and its replica differ.
#[derive(Serialize)]
struct DifferenceLine<'a> {
    replica: &'a str,
    account: &'a str,
    mailbox: &'a str,
    key: String,
    difference: &'static str,
    gap: Option<&'static str>,
    here: Option<Spot>,
    there: Option<Spot>,
    right: Option<&'static str>,
    why: &'a str,
    safe: bool,
    deleted_by_sync: bool,
}

#[derive(Serialize)]
struct Spot {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_raw: Option<String>,
    verdict: &'static str,
}

impl<'a> DifferenceLine<'a> {
    fn new(replica: &'a str, difference: &'a Difference) -> DifferenceLine<'a> {
        let spot = |(path, verdict): &(RelPath, Verdict)| Spot {
            path: escape(path.as_bytes()),
            path_raw: raw(path.as_bytes()),
            verdict: verdict.name(),
        };
        DifferenceLine {
            replica,
            account: &difference.account,
            mailbox: &difference.mailbox,
            key: escape(&difference.key.0),
            difference: difference.kind.name(),
            gap: difference.kind.gap().map(Gap::name),
            here: difference.here.as_ref().map(spot),
            there: difference.there.as_ref().map(spot),
            right: difference.kind.right().map(Side::name),
            why: &difference.why,
            safe: difference.kind.is_safe(),
            deleted_by_sync: difference.deleted_by_sync,
        }
    }
}

#[derive(Serialize)]
struct Intact {
    plausible: u64,
    consistent: u64,
    corroborated: u64,
    authenticated: u64,
    identical: u64,
}

#[derive(Serialize)]
struct MissingCounts {
    lost: u64,
    undecided: u64,
}

/// The counters of a run or an account.
#[derive(Serialize)]
struct Counts {
    accounts: u64,
    accounts_affected: u64,
    mailboxes: u64,
    messages: u64,
    bytes: u64,
    intact: Intact,
    suspect: u64,
    damaged: u64,
    unreadable: u64,
    missing: MissingCounts,
    deleted: u64,
    moved: u64,
    presumed_deleted: u64,
    undetermined: u64,
    not_checked: u64,
    deferred: u64,
    accepted: u64,
    repairable: u64,
    repaired: u64,
    held: u64,
    conflicts: u64,
    failed: u64,
    read_errors: u64,
    companions_lost: u64,
    companions_repaired: u64,
    own_errors: u64,
    interrupted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// The store held against its replica.
#[derive(Serialize)]
struct Against {
    #[serde(flatten)]
    counts: Sides,
    veto: bool,
}

impl Counts {
    fn new(tally: &Tally) -> Counts {
        let intact = |assurance: Assurance| tally.intact[assurance as usize];
        Counts {
            accounts: tally.accounts,
            accounts_affected: tally.accounts_affected,
            mailboxes: tally.mailboxes,
            messages: tally.messages,
            bytes: tally.bytes,
            intact: Intact {
                plausible: intact(Assurance::Plausible),
                consistent: intact(Assurance::Consistent),
                corroborated: intact(Assurance::Corroborated),
                authenticated: intact(Assurance::Authenticated),
                identical: intact(Assurance::Identical),
            },
            suspect: tally.suspect,
            damaged: tally.damaged,
            unreadable: tally.unreadable,
            missing: MissingCounts { lost: tally.lost, undecided: tally.undecided },
            deleted: tally.deleted,
            moved: tally.moved,
            presumed_deleted: tally.presumed_deleted,
            undetermined: tally.undetermined,
            not_checked: tally.not_checked,
            deferred: tally.deferred,
            accepted: tally.accepted,
            repairable: tally.repairable,
            repaired: tally.repaired,
            held: tally.held,
            conflicts: tally.conflicts,
            failed: tally.failed,
            read_errors: tally.read_errors,
            companions_lost: tally.companions_lost,
            companions_repaired: tally.companions_repaired,
            own_errors: tally.own_errors,
            interrupted: tally.interrupted,
            against: tally.sides.as_ref().map(|sides| Against { counts: (**sides).clone(), veto: sides.vetoes() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Phase, Subject};
    use crate::model::sides::Kind;
    use crate::model::{Check, FaultKind, Key, Missing, Span, journal};
    use serde_json::{Value, json};

    fn finding() -> Finding {
        Finding {
            subject: Subject::Message,
            store: "/var/vmail".into(),
            account: "ann@example.org".into(),
            mailbox: "INBOX".into(),
            key: Some(Key(b"1.M2P3.h".to_vec())),
            uid: Some(7),
            guid: None,
            path: RelPath::new(&b"ann/cur/1.M2P3.h,S=9:2,S"[..]).unwrap(),
            size: Some(4096),
            device: Some("8:1".into()),
            internal_date: Some(Stamp { sec: 0, nsec: 0 }),
            verdict: Verdict::Damaged,
            checks: vec![("read", crate::model::Outcome::Pass), ("pattern", crate::model::Outcome::Fail)],
            faults: vec![Fault {
                check: Check::Pattern,
                kind: FaultKind::NulRun,
                span: Span::new(512, 512),
                errno: None,
            }],
            signed: None,
            reason: String::new(),
            envelope: None,
            action: Some(ActionSummary {
                kind: "restore".into(),
                source: Some("daily.0".into()),
                assurance: Some(Assurance::Identical),
                why: "equals the catalog's digest".into(),
            }),
            outcome: None,
            accepted: false,
        }
    }

    fn parsed(event: Event) -> Value {
        let text = line("r1", &event);
        assert_eq!(text.matches('\n').count(), 1, "one line");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_finding_has_every_key_of_the_contract() {
        let text = line("r1", &Event::Finding(Box::new(finding())));
        assert!(text.starts_with(r#"{"schema":"mailmend/1","run":"r1","type":"finding","#), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        for key in "store account mailbox key uid guid path size device internal_date verdict missing assurance \
                    checks faults action"
            .split_whitespace()
        {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["internal_date"], "1970-01-01T00:00:00Z");
        assert_eq!(value["checks"], json!({"read": "pass", "pattern": "fail"}));
        assert_eq!(value["faults"], json!([{"kind": "nul_run", "offset": 512, "length": 512, "check": "pattern"}]));
        assert_eq!(value["action"]["assurance"], "identical");
        assert_eq!((value.get("path_raw"), value.get("outcome")), (None, None));
    }

    #[test]
    fn names_that_are_no_utf8_keep_their_bytes() {
        let mut odd = finding();
        odd.path = RelPath::new(&b"ann/cur/\xff%"[..]).unwrap();
        odd.verdict = Verdict::Missing(Missing::Lost);
        odd.outcome = Some((journal::Outcome::Already, "was so".into()));
        odd.internal_date = Some(Stamp { sec: i64::MAX, nsec: 0 });
        let value = parsed(Event::Finding(Box::new(odd)));
        assert_eq!(value["path"], "ann/cur/%FF%25");
        assert_eq!(value["path_raw"], "YW5uL2N1ci//JQ==");
        assert_eq!((&value["verdict"], &value["missing"]), (&json!("missing"), &json!("lost")));
        assert_eq!(value["outcome"], json!({"kind": "done", "detail": "was so"}));
        assert_eq!(value["internal_date"], Value::Null);
    }

    #[test]
    fn a_summary_has_every_key_of_the_contract() {
        let mut tally = Tally { messages: 3, undecided: 1, ..Tally::default() };
        tally.count(Verdict::Intact(Assurance::Consistent));
        let event = Event::Summary { command: "audit".into(), tally: Box::new(tally), elapsed_s: 1.5, plan: None };
        let value = parsed(event);
        for key in "command accounts accounts_affected mailboxes messages bytes intact suspect damaged unreadable \
                    missing deleted moved presumed_deleted undetermined not_checked deferred accepted repairable \
                    repaired held conflicts failed read_errors elapsed_s exit"
            .split_whitespace()
        {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["intact"]["consistent"], 1);
        assert_eq!(value["missing"], json!({"lost": 0, "undecided": 1}));
        assert_eq!(value["exit"], 4);
    }

    #[test]
    fn a_difference_names_both_sides() {
        let difference = Difference {
            account: "ann".into(),
            mailbox: "INBOX".into(),
            key: Key(b"1.h".to_vec()),
            kind: Kind::Only(Side::There, Gap::Lost),
            here: None,
            there: Some((RelPath::new(&b"ann/cur/\xff"[..]).unwrap(), Verdict::Intact(Assurance::Plausible))),
            why: "why".into(),
            deleted_by_sync: true,
            told: true,
        };
        let value = parsed(Event::Difference { there: "/r".into(), difference: Box::new(difference.clone()) });
        for key in "replica account mailbox key difference gap here there right why safe deleted_by_sync".split(' ') {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!((&value["type"], &value["difference"]), (&json!("difference"), &json!("only_there")));
        assert_eq!((&value["gap"], &value["right"], &value["here"]), (&json!("lost"), &json!("there"), &Value::Null));
        assert_eq!(value["there"], json!({"path": "ann/cur/%FF", "path_raw": "YW5uL2N1ci//", "verdict": "intact"}));
        let mut tally = Tally::default();
        tally.sides.get_or_insert_default().count(&difference);
        let event = Event::Summary { command: "verify".into(), tally: Box::new(tally), elapsed_s: 1.5, plan: None };
        let value = parsed(event);
        assert_eq!((&value["against"]["veto"], &value["against"]["only_there"]["lost"]), (&json!(true), &json!(1)));
        assert_eq!((&value["against"]["sync_deletes_there"], &value["exit"]), (&json!(1), &json!(4)));
    }

    #[test]
    fn other_lines() {
        let start = Event::Start {
            command: "audit".into(),
            store: "/m".into(),
            sources: vec![("daily.0".into(), Stamp { sec: 86_400, nsec: 0 })],
        };
        assert_eq!(
            line("r", &start),
            "{\"schema\":\"mailmend/1\",\"run\":\"r\",\"type\":\"start\",\"command\":\"audit\",\"store\":\"/m\",\
             \"sources\":[{\"name\":\"daily.0\",\"time\":\"1970-01-02T00:00:00Z\"}]}\n"
        );
        let progress = parsed(Event::Progress { phase: Phase::Verify, done: 1, total: 2, bytes: 3 });
        assert_eq!(
            (&progress["type"], &progress["phase"], &progress["total"]),
            (&json!("progress"), &json!("verify"), &json!(2))
        );
        let error = parsed(Event::Error { path: "/m/\u{1b}".into(), what: "open".into(), hint: None });
        assert_eq!(error["path"], "/m/\u{1b}");
        let account = parsed(Event::Account { account: "a".into(), tally: Box::default() });
        assert_eq!((&account["type"], &account["damaged"]), (&json!("account"), &json!(0)));
    }
}
