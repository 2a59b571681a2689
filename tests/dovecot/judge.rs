//! What clients see of a whole account, and what is not as it was.

use crate::account::Account;
use crate::imap::{Golden, Imap, Seen};
use std::collections::{BTreeMap, BTreeSet};

/// What a repair is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// `audit` said so before, or said nothing where nothing was wrong.
    Detected,
    /// Every message is there once with its content, and a second `audit` is content.
    Healed,
    /// What its owner deleted stayed away, but nothing told that from a loss any more: it is left to its owner.
    Asked,
    Uid,
    Flags,
    Keywords,
    Date,
    Guid,
    Uidl,
    /// HIGHESTMODSEQ did not fall.
    Modseq,
    /// What its owner deleted stayed away.
    Deleted,
    /// Two syncs with the replica took nothing from either side.
    Sync,
    /// `force-resync` and reading everything gave no complaint and changed nothing.
    Resync,
}

impl Mark {
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What was not as it should be.
#[derive(Debug, Default)]
pub struct Verdict(pub Vec<(Mark, String)>);

impl Verdict {
    pub fn miss(&mut self, mark: Mark, why: impl Into<String>) {
        self.0.push((mark, why.into()));
    }

    pub fn missed(&self) -> BTreeSet<Mark> {
        self.0.iter().map(|(mark, _)| *mark).collect()
    }
}

/// All that clients see of an account.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub mailboxes: BTreeMap<String, Golden>,
    /// By mailbox and UID; POP3 does not know more.
    uidls: BTreeMap<(String, u64), String>,
    /// What could not be seen.
    pub faults: Vec<String>,
}

/// What a repair must end in.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub view: View,
    /// Message-IDs of what owners deleted.
    pub deleted: BTreeSet<String>,
    /// Message-IDs of what came after the damage.
    pub fresh: BTreeSet<String>,
    /// Mailboxes that may be there without having been there before.
    pub new: Vec<&'static str>,
}

impl View {
    pub fn of(account: &Account, user: &str) -> View {
        let mut view = View::default();
        match account.server.imap(user).ask("LIST \"\" *") {
            Ok(lines) => lines.iter().filter_map(|line| listed(line)).for_each(|name| {
                match account.server.imap(user).try_golden(&name) {
                    Ok(golden) => drop(view.mailboxes.insert(name, golden)),
                    Err(why) => view.faults.push(format!("{name}: {why}")),
                }
            }),
            Err(why) => view.faults.push(why),
        }
        let output = account.server.doveadm(&["-f", "tab", "fetch", "-u", user, "mailbox uid pop3.uidl", "ALL"]);
        for line in String::from_utf8_lossy(&output.stdout).lines().skip(1) {
            let mut fields = line.split('\t');
            let (Some(mailbox), Some(uid), Some(uidl)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if let (Ok(uid), false) = (uid.parse(), uidl.is_empty()) {
                view.uidls.insert((mailbox.to_owned(), uid), uidl.to_owned());
            }
        }
        view
    }

    pub fn has_uidls(&self) -> bool {
        !self.uidls.is_empty()
    }

    pub fn message_ids(&self) -> impl Iterator<Item = &String> {
        self.mailboxes.values().flat_map(|golden| golden.messages.values().map(|seen| &seen.message_id))
    }
}

fn listed(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.trim();
    let name = line.strip_prefix("* LIST")?.rsplit(' ').next()?;
    Some(name.trim_matches('"').to_owned())
}

/// Compares an account with what it should be.
pub fn compare(expected: &Expected, now: &View, verdict: &mut Verdict) {
    for fault in &now.faults {
        verdict.miss(Mark::Healed, fault.clone());
    }
    for (name, before) in &expected.view.mailboxes {
        match now.mailboxes.get(name) {
            Some(after) => mailbox(expected, now, name, (before, after), verdict),
            None => verdict.miss(Mark::Healed, format!("{name} is not there")),
        }
    }
    for name in now.mailboxes.keys() {
        if !expected.view.mailboxes.contains_key(name) && !expected.new.contains(&name.as_str()) {
            verdict.miss(Mark::Deleted, format!("{name} is there again"));
        }
    }
    let mut found: BTreeMap<&String, u32> = BTreeMap::new();
    now.message_ids().for_each(|id| *found.entry(id).or_default() += 1);
    for id in expected.fresh.iter().filter(|id| !found.contains_key(id)) {
        verdict.miss(Mark::Healed, format!("the new delivery {id} is lost"));
    }
    for (id, count) in found.iter().filter(|(_, count)| **count > 1) {
        verdict.miss(Mark::Healed, format!("{id} is there {count} times"));
    }
}

fn mailbox(expected: &Expected, now: &View, name: &str, (before, after): (&Golden, &Golden), verdict: &mut Verdict) {
    if before.uidvalidity != after.uidvalidity {
        verdict.miss(Mark::Uid, format!("{name}: UIDVALIDITY {} is {}", before.uidvalidity, after.uidvalidity));
    }
    if after.next_uid < before.next_uid {
        verdict.miss(Mark::Uid, format!("{name}: UIDNEXT {} fell to {}", before.next_uid, after.next_uid));
    }
    if after.modseq < before.modseq {
        verdict.miss(Mark::Modseq, format!("{name}: HIGHESTMODSEQ {} fell to {}", before.modseq, after.modseq));
    }
    let by_id: BTreeMap<&String, (u64, &Seen)> =
        after.messages.iter().map(|(uid, seen)| (&seen.message_id, (*uid, seen))).collect();
    for (uid, was) in &before.messages {
        let Some((now_uid, is)) = by_id.get(&was.message_id) else {
            verdict.miss(Mark::Healed, format!("{name}: UID {uid}, {}, is not there", was.message_id));
            continue;
        };
        let what = |word: &str, was: &dyn std::fmt::Debug, is: &dyn std::fmt::Debug| {
            format!("{name}: {word} of UID {uid} was {was:?}, is {is:?}")
        };
        let split = |seen: &Seen| seen.flags.iter().cloned().partition::<BTreeSet<String>, _>(|f| f.starts_with('\\'));
        let ((flags, keywords), (now_flags, now_keywords)) = (split(was), split(is));
        let uidl = |view: &View, uid: u64| view.uidls.get(&(name.to_owned(), uid)).cloned();
        let (was_uidl, is_uidl) = (uidl(&expected.view, *uid), uidl(now, *now_uid));
        let all = [
            (Mark::Healed, was.body != is.body, what("content", &was.body, &is.body)),
            (Mark::Uid, uid != now_uid, what("UID", uid, now_uid)),
            (Mark::Flags, flags != now_flags, what("flags", &flags, &now_flags)),
            (Mark::Keywords, keywords != now_keywords, what("keywords", &keywords, &now_keywords)),
            (Mark::Date, was.received != is.received, what("date", &was.received, &is.received)),
            (Mark::Guid, was.guid != is.guid, what("GUID", &was.guid, &is.guid)),
            (Mark::Uidl, was_uidl != is_uidl, what("UIDL", &was_uidl, &is_uidl)),
        ];
        for (mark, wrong, why) in all {
            if wrong {
                verdict.miss(mark, why);
            }
        }
    }
    let known: BTreeSet<&String> = before.messages.values().map(|seen| &seen.message_id).collect();
    for (uid, seen) in after.messages.iter().filter(|(_, seen)| !known.contains(&seen.message_id)) {
        let id = &seen.message_id;
        if expected.deleted.contains(id) {
            verdict.miss(Mark::Deleted, format!("{name}: {id}, deleted by its owner, is UID {uid}"));
        } else if !expected.fresh.contains(id) {
            verdict.miss(Mark::Healed, format!("{name}: {id:?} is UID {uid}, and was not there"));
        } else if *uid < before.next_uid {
            verdict.miss(Mark::Uid, format!("{name}: the new delivery {id} has the old UID {uid}"));
        }
    }
}

/// Whether nothing has changed for clients since; counters may have grown.
pub fn unchanged(mark: Mark, when: &str, before: &View, now: &View, verdict: &mut Verdict) {
    let expected = Expected { view: before.clone(), ..Expected::default() };
    let mut changes = Verdict::default();
    compare(&expected, now, &mut changes);
    for (_, why) in changes.0 {
        verdict.miss(mark, format!("{when}: {why}"));
    }
}

/// Whether everything that is here is at the partner too, and nothing that is not.
pub fn same_at_partner(here: &View, there: &View, verdict: &mut Verdict) {
    for (name, mine) in &here.mailboxes {
        let Some(theirs) = there.mailboxes.get(name) else {
            verdict.miss(Mark::Sync, format!("the partner has no {name}"));
            continue;
        };
        let all = |golden: &Golden| -> BTreeMap<String, (u64, BTreeSet<String>, blake3::Hash)> {
            let messages = golden.messages.iter();
            messages.map(|(uid, m)| (m.message_id.clone(), (*uid, m.flags.clone(), m.body))).collect()
        };
        let (mine, theirs) = (all(mine), all(theirs));
        let odd: BTreeSet<&String> =
            mine.keys().chain(theirs.keys()).filter(|id| mine.get(*id) != theirs.get(*id)).collect();
        for id in odd {
            verdict.miss(
                Mark::Sync,
                format!("{name}: {id} is {:?} here, {:?} at the partner", mine.get(id), theirs.get(id)),
            );
        }
    }
    for name in there.mailboxes.keys().filter(|name| !here.mailboxes.contains_key(*name)) {
        verdict.miss(Mark::Sync, format!("only the partner has {name}"));
    }
}

/// A client that reads everything and leaves, whatever it meets.
pub fn read_all(account: &Account, user: &str) {
    let names: Vec<String> = match account.server.imap(user).ask("LIST \"\" *") {
        Ok(lines) => lines.iter().filter_map(|line| listed(line)).collect(),
        Err(_) => Vec::new(),
    };
    for name in names {
        let mut imap: Imap = account.server.imap(user);
        for command in
            [&format!("SELECT {name} (CONDSTORE)"), "UID FETCH 1:* (UID FLAGS)", "UID FETCH 1:* (BODY.PEEK[])"]
        {
            drop(imap.ask(command));
        }
        drop(imap.ask("LOGOUT"));
    }
}
