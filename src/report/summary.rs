//! The end of a run for people: what was checked and what was not, what is wrong, what to type next.
//!
//! Pure. "Not checked" always stands beside "checked", whatever its number.

use super::sanitise::{SENTENCE, inline};
use super::text::{Style, Tone};
use super::words::{self, count, number, quote};
use crate::model::Assurance;
use crate::model::tally::Tally;

/// What the user typed, as far as the next commands repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub run: String,
    /// The STORE as typed; `None` for commands without one.
    pub store: Option<String>,
    /// Every `--from` as typed.
    pub from: Vec<String>,
    /// The sources stand in the configuration file: a next command need not name any.
    pub configured: bool,
    /// `--plan` as typed.
    pub plan: Option<String>,
    /// Other options that a repeated command must keep (`--accounts`, `--undecided` ...), as typed.
    pub options: Vec<String>,
    /// Options that every next command must keep (`--state`, `--catalog`, `--config`), as typed.
    pub general: Vec<String>,
    /// `--apply` was given.
    pub applied: bool,
    /// The run that an undo takes back.
    pub undoes: Option<String>,
}

/// The final block.
pub fn summary(
    command: &str,
    tally: &Tally,
    elapsed_s: f64,
    plan: Option<&str>,
    origin: &Origin,
    style: Style,
) -> String {
    let mut block = Block { text: String::from("\n"), style };
    if command == "undo" {
        undone(&mut block, tally, origin.applied);
    } else {
        // A plan from a file is carried out, not checked anew.
        if origin.plan.is_none() {
            checked(&mut block, tally, elapsed_s);
        }
        wrong(&mut block, tally);
        if let Some(sides) = &tally.sides {
            for (label, tone, text) in super::sides::block(sides) {
                match tone {
                    Some(tone) => block.toned(label, tone, &text),
                    None => block.line(label, &text),
                }
            }
        }
        mended(&mut block, command, tally, origin.applied);
    }
    if let Some(plan) = plan {
        block.line("Plan", &inline(plan, SENTENCE));
    }
    if !origin.run.is_empty() {
        block.line("Run", &inline(&origin.run, SENTENCE));
    }
    let mut label = "Next";
    for (words, why) in next(command, tally, plan, origin) {
        block.line(label, &format!("{words}\n{:LABEL$}  {why}", ""));
        label = "";
    }
    let status = tally.exit();
    let meaning = match (command, status) {
        ("undo", 0) if origin.applied => "all of it taken back".to_owned(),
        ("undo", 0) => "nothing was changed".to_owned(),
        ("undo", 4) => "not all of it could be taken back".to_owned(),
        _ => words::exit(status),
    };
    block.line(&format!("Exit {status}"), &meaning);
    block.text
}

/// Columns of the labels at the left.
const LABEL: usize = 14;

struct Block {
    text: String,
    style: Style,
}

impl Block {
    fn line(&mut self, label: &str, text: &str) {
        let gap = " ".repeat(LABEL.saturating_sub(label.len()));
        let label = if label.is_empty() { String::new() } else { self.style.paint(Tone::Heading, label) };
        self.text.push_str(&format!("{label}{gap}{text}\n"));
    }

    fn toned(&mut self, label: &str, tone: Tone, text: &str) {
        let text = self.style.paint(tone, text);
        self.line(label, &text);
    }
}

fn checked(block: &mut Block, tally: &Tally, elapsed_s: f64) {
    block.line(
        "Checked",
        &format!(
            "{}, {}, {} ({}) in {}",
            count(tally.accounts, "account"),
            count(tally.mailboxes, "mailbox"),
            count(tally.messages, "message"),
            words::bytes(tally.bytes),
            words::duration(elapsed_s)
        ),
    );
    let unchecked = parts(&[
        (tally.not_checked, "that should have been"),
        (tally.deferred, "left for a later night"),
        (tally.undetermined, "that cannot be judged (encrypted, or a check could not finish)"),
    ]);
    match (unchecked.is_empty(), tally.not_checked) {
        (true, _) => block.line("Not checked", "nothing"),
        (false, 0) => block.line("Not checked", &unchecked),
        (false, _) => block.toned("Not checked", Tone::Bad, &unchecked),
    }
    let classes: Vec<(u64, &str)> =
        Assurance::ALL.iter().rev().map(|&class| (tally.intact[class as usize], class.name())).collect();
    let classes = parts(&classes);
    let classes = if classes.is_empty() { classes } else { format!(": {classes}") };
    block.line("Whole", &format!("{}{classes}", count(tally.intact_total(), "message")));
}

fn wrong(block: &mut Block, tally: &Tally) {
    let harm = parts(&[
        (tally.damaged, "damaged"),
        (tally.unreadable, "unreadable"),
        (tally.lost, "lost"),
        (tally.undecided, "lost or deleted (undecided)"),
    ]);
    let files = (tally.companions_lost > 0).then(|| format!("{} lost", count(tally.companions_lost, "server file")));
    let all: Vec<String> = [(!harm.is_empty()).then_some(harm), files].into_iter().flatten().collect();
    if all.is_empty() && tally.not_checked > 0 {
        block.toned("Wrong", Tone::Doubtful, "nothing in what was checked");
    } else if all.is_empty() {
        block.toned("Wrong", Tone::Good, "nothing");
    } else {
        // A plan from a file tells of no accounts.
        let hit = match tally.accounts {
            0 => String::new(),
            n => format!("; in {} of {}", number(tally.accounts_affected), count(n, "account")),
        };
        block.toned("Wrong", Tone::Bad, &format!("{}{hit}", all.join(", ")));
    }
    if tally.suspect > 0 {
        let odd = format!("{}, odd, but nothing proves damage", count(tally.suspect, "message"));
        block.toned("Suspect", Tone::Doubtful, &odd);
    }
    if tally.read_errors > 0 {
        let errors =
            format!("{}: look at the disk before anything is written to it", count(tally.read_errors, "read error"));
        block.toned("Medium", Tone::Bad, &errors);
    }
    if tally.own_errors > 0 {
        block.toned("Own errors", Tone::Bad, &format!("{}, named above", count(tally.own_errors, "error")));
    }
    let gone = parts(&[
        (tally.deleted, "deleted by their owners"),
        (tally.moved, "moved"),
        (tally.presumed_deleted, "presumed deleted"),
    ]);
    if !gone.is_empty() {
        block.line("Gone", &format!("{gone}; no damage"));
    }
    if tally.accepted > 0 {
        block.line("Accepted", &format!("{} earlier, as final", count(tally.accepted, "loss")));
    }
}

/// An undo checks nothing: what it changed, or would change, is all that it has to tell.
fn undone(block: &mut Block, tally: &Tally, applied: bool) {
    if !applied {
        block.line("Would undo", &format!("{}; nothing was changed", count(tally.repairable, "change")));
    }
    done(block, tally, applied);
    if tally.own_errors > 0 {
        block.toned("Own errors", Tone::Bad, &format!("{}, named above", count(tally.own_errors, "error")));
    }
}

fn mended(block: &mut Block, command: &str, tally: &Tally, applied: bool) {
    if !applied && tally.harmed() > 0 && (tally.repairable > 0 || command == "repair") {
        let total = number(tally.harmed());
        block.line("Repairable", &format!("{} of {total}; nothing was changed", number(tally.repairable)));
    }
    done(block, tally, applied);
    let healed = tally.repaired + tally.companions_repaired;
    if applied && tally.harmed() > healed {
        let left = tally.harmed() - healed;
        block.toned("Remains", Tone::Bad, &format!("{} of {} not repaired", number(left), number(tally.harmed())));
    }
}

fn done(block: &mut Block, tally: &Tally, applied: bool) {
    let outcomes = parts(&[
        (tally.repaired + tally.companions_repaired, "repaired"),
        (tally.put_back, "put back"),
        (tally.held, "held (right, but not now)"),
        (tally.conflicts, "left alone because they changed since"),
        (tally.failed, "failed"),
    ]);
    if !outcomes.is_empty() || applied {
        let tone = if tally.held + tally.conflicts + tally.failed > 0 { Tone::Bad } else { Tone::Good };
        block.toned("Done", tone, if outcomes.is_empty() { "nothing" } else { &outcomes });
    }
}

/// `3 damaged, 1 lost`: only what is not zero.
fn parts(counts: &[(u64, &str)]) -> String {
    let some: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{} {words}", number(*n))).collect();
    some.join(", ")
}

/// A command and what it does.
type Advice = (String, &'static str);

/// What to type next.
fn next(command: &str, tally: &Tally, plan: Option<&str>, origin: &Origin) -> Vec<Advice> {
    let remains = tally.harmed() > tally.repaired + tally.companions_repaired;
    let store = origin.store.as_deref().map(quote);
    let mut steps = match (command, &store) {
        _ if tally.interrupted => {
            vec![("the same command again".to_owned(), "goes on; what is done is not done twice")]
        }
        ("undo", _) => after_undo(origin),
        ("repair", Some(store)) => after_repair(store, tally, origin),
        ("audit" | "verify", Some(store)) if remains => after_audit(store, tally, plan, origin),
        _ => Vec::new(),
    };
    let searched = !origin.from.is_empty() || origin.configured || origin.plan.is_some();
    if searched && remains && tally.harmed() > tally.repairable {
        let command = format!("mailmend accept {} --reason TEXT", quote(&origin.run));
        steps.push((command, "records as final what no source can give back"));
    }
    for (command, _) in steps.iter_mut().filter(|(command, _)| command.starts_with("mailmend ")) {
        for option in &origin.general {
            command.push(' ');
            command.push_str(&quote(option));
        }
    }
    steps
}

fn after_undo(origin: &Origin) -> Vec<Advice> {
    match &origin.undoes {
        Some(run) if !origin.applied => {
            vec![(format!("mailmend undo {} --apply", quote(run)), "takes the repair back")]
        }
        _ => Vec::new(),
    }
}

fn after_repair(store: &str, tally: &Tally, origin: &Origin) -> Vec<Advice> {
    if !origin.applied && tally.repairable > 0 {
        let command = format!("mailmend repair {store}{} --apply", repeated(origin));
        return vec![(command, "does what stands above; 'mailmend undo' can take it back")];
    }
    if !origin.applied || tally.repaired + tally.companions_repaired == 0 {
        return Vec::new();
    }
    let into = origin.options.iter().skip_while(|option| *option != "--into").nth(1);
    let result = into.map_or_else(|| store.to_owned(), |folder| quote(folder));
    vec![
        (format!("mailmend audit {result}"), "checks the result"),
        (format!("mailmend undo {}", quote(&origin.run)), "shows what taking the repair back would do"),
    ]
}

fn after_audit(store: &str, tally: &Tally, plan: Option<&str>, origin: &Origin) -> Vec<Advice> {
    match plan {
        Some(plan) if tally.repairable > 0 => {
            let command = format!("mailmend repair {store} --plan {}", quote(plan));
            vec![(command, "shows the plan again; with --apply it is done")]
        }
        _ if origin.from.is_empty() && !origin.configured => {
            let command = format!("mailmend repair {store}{} --from BACKUP", repeated(origin));
            vec![(command, "shows what a replica or backup can put back; changes nothing")]
        }
        _ if tally.repairable > 0 => {
            let command = format!("mailmend repair {store}{}", repeated(origin));
            vec![(command, "shows the plan; with --apply it is done")]
        }
        _ => Vec::new(),
    }
}

/// The options that lead to the same plan again.
fn repeated(origin: &Origin) -> String {
    let mut text = String::new();
    for option in &origin.options {
        text.push(' ');
        text.push_str(&quote(option));
    }
    match &origin.plan {
        Some(plan) => text.push_str(&format!(" --plan {}", quote(plan))),
        None => origin.from.iter().for_each(|from| text.push_str(&format!(" --from {}", quote(from)))),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;

    fn origin() -> Origin {
        Origin {
            run: "20260301T040000Z-1a2b".into(),
            store: Some("/var/vmail".into()),
            from: vec!["/backup/daily.*".into()],
            ..Origin::default()
        }
    }

    fn plain(command: &str, tally: &Tally, origin: &Origin) -> String {
        summary(command, tally, 12.34, None, origin, Style::default())
    }

    fn healthy() -> Tally {
        let mut tally = Tally { accounts: 2, mailboxes: 5, messages: 1000, bytes: 31_000_000, ..Tally::default() };
        tally.intact[Assurance::Identical as usize] = 900;
        tally.intact[Assurance::Consistent as usize] = 100;
        tally
    }

    #[test]
    fn all_whole() {
        let origin = Origin { from: Vec::new(), ..origin() };
        assert_eq!(
            plain("audit", &healthy(), &origin),
            "
Checked       2 accounts, 5 mailboxes, 1,000 messages (31.0 MB) in 12.3 s
Not checked   nothing
Whole         1,000 messages: 900 identical, 100 consistent
Wrong         nothing
Run           20260301T040000Z-1a2b
Exit 0        all whole
"
        );
    }

    #[test]
    fn a_dry_repair_says_how_to_apply_it() {
        let mut tally = healthy();
        for _ in 0..3 {
            tally.count(Verdict::Damaged);
        }
        (tally.repairable, tally.accounts_affected, tally.read_errors, tally.not_checked) = (2, 1, 1, 1);
        assert_eq!(
            plain("repair", &tally, &origin()),
            "
Checked       2 accounts, 5 mailboxes, 1,000 messages (31.0 MB) in 12.3 s
Not checked   1 that should have been
Whole         1,000 messages: 900 identical, 100 consistent
Wrong         3 damaged; in 1 of 2 accounts
Medium        1 read error: look at the disk before anything is written to it
Repairable    2 of 3; nothing was changed
Run           20260301T040000Z-1a2b
Next          mailmend repair /var/vmail --from '/backup/daily.*' --apply
                does what stands above; 'mailmend undo' can take it back
              mailmend accept 20260301T040000Z-1a2b --reason TEXT
                records as final what no source can give back
Exit 12       damage, loss or undecided messages remain; not everything could be checked or done
"
        );
    }

    #[test]
    fn an_applied_repair_says_how_to_take_it_back() {
        let mut tally = healthy();
        tally.count(Verdict::Damaged);
        (tally.repairable, tally.repaired, tally.accounts_affected) = (1, 1, 1);
        let text = plain("repair", &tally, &Origin { applied: true, ..origin() });
        assert!(text.contains("Done          1 repaired\n"), "{text}");
        assert!(text.contains("mailmend undo 20260301T040000Z-1a2b\n"), "{text}");
        assert!(text.contains("Exit 1        damage found and all of it repaired\n"), "{text}");
        assert!(!text.contains("accept"), "{text}");
    }

    #[test]
    fn what_a_repair_leaves_is_counted() {
        let mut tally = healthy();
        tally.count(Verdict::Damaged);
        tally.count(Verdict::Damaged);
        tally.repaired = 1;
        let text = plain("repair", &tally, &Origin { applied: true, ..origin() });
        assert!(text.contains("Done          1 repaired\nRemains       1 of 2 not repaired\n"), "{text}");
    }

    #[test]
    fn an_undo_does_not_pretend_to_have_checked() {
        let tally = Tally { repairable: 3, ..Tally::default() };
        let undo = Origin { undoes: Some("R".into()), store: None, ..origin() };
        let dry = plain("undo", &tally, &undo);
        assert!(dry.contains("Would undo    3 changes; nothing was changed\n"), "{dry}");
        assert!(!dry.contains("Checked") && !dry.contains("whole"), "{dry}");
        let tally = Tally { put_back: 2, conflicts: 1, ..Tally::default() };
        let done = plain("undo", &tally, &Origin { applied: true, ..undo });
        assert!(done.contains("Done          2 put back, 1 left alone because they changed since\n"), "{done}");
        assert!(done.contains("Exit 4        not all of it could be taken back\n"), "{done}");
    }

    #[test]
    fn an_audit_leads_to_the_repair_that_fits() {
        let mut tally = healthy();
        tally.count(Verdict::Unreadable);
        let without = plain("audit", &tally, &Origin { from: Vec::new(), ..origin() });
        assert!(without.contains("mailmend repair /var/vmail --from BACKUP\n"), "{without}");
        tally.repairable = 1;
        let options = vec!["--accounts".into(), "*@example.org".into()];
        let with = plain("audit", &tally, &Origin { options, ..origin() });
        assert!(with.contains("repair /var/vmail --accounts '*@example.org' --from '/backup/daily.*'\n"), "{with}");
        let configured = plain("audit", &tally, &Origin { from: Vec::new(), configured: true, ..origin() });
        assert!(configured.contains("Next          mailmend repair /var/vmail\n"), "{configured}");
        let general = vec!["--state".into(), "/s t".into()];
        let elsewhere = plain("audit", &tally, &Origin { general, ..origin() });
        assert!(elsewhere.contains("--from '/backup/daily.*' --state '/s t'\n"), "{elsewhere}");
        let saved = summary("audit", &tally, 1.0, Some("p.jsonl"), &origin(), Style::default());
        assert!(saved.contains("mailmend repair /var/vmail --plan p.jsonl\n"), "{saved}");
    }

    #[test]
    fn an_interrupted_run_goes_on() {
        let tally = Tally { interrupted: true, ..healthy() };
        let text = plain("repair", &tally, &Origin { applied: true, ..origin() });
        assert!(text.contains("the same command again\n") && text.contains("Exit 32       interrupted\n"), "{text}");
    }

    #[test]
    fn hostile_names_cannot_colour_the_commands() {
        let tally = Tally { damaged: 1, repairable: 1, ..healthy() };
        let evil = Origin { store: Some("/m/\u{1b}[2J\nrm".into()), ..origin() };
        let text = summary("repair", &tally, 1.0, Some("p\u{1b}"), &evil, Style::default());
        assert!(!text.contains('\u{1b}') && text.contains(r"$'/m/\x1b[2J\x0arm'"), "{text}");
    }
}
