//! What a mailbox's list of UIDs, its table of keywords and its count of changes have to be, so that clients find every
//! message as they knew it: told from the server's files as they are here, and as the sources have them.
//!
//! Pure. May not decide which messages come back. UIDs only ever grow (RFC 9051, 2.3.1.1): of two that one message had
//! under one UIDVALIDITY the smaller is the older, and of two UIDVALIDITYs the smaller is the older.

use crate::model::Key;
use crate::model::server::{Ledger, Line, Whole};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How far beyond what is known numbers go on, where the newest witness may not have seen the last ones: a number that
/// clients know must never be given to something else.
pub const GAP: u32 = 1000;

/// Letters `a` to `z`.
const LETTERS: u8 = 26;

/// How Dovecot begins the name of a letter for which it has none.
const UNKNOWN: &[u8] = b"unknown-";

/// A next UID beyond this was told by garbage: nobody has four thousand million messages.
const UID_SANE: u32 = 0xc000_0000;

/// One mailbox, and everything that tells of it.
#[derive(Debug, Default)]
pub struct Books {
    pub own: Ledger,
    /// Of the sources, the newest first.
    pub theirs: Vec<Ledger>,
    /// Messages that are there.
    pub here: BTreeMap<Key, Here>,
    /// Of those that come back.
    pub returning: BTreeMap<Key, Vec<u8>>,
    /// Letters of keywords in the names of both, with the UIDs of the messages here, by our list, whose names have it.
    pub used: BTreeMap<u8, BTreeSet<u32>>,
    /// The indexes count a message that comes back as gone for good.
    pub expunged: bool,
    /// The folder itself comes back.
    pub reborn: bool,
    /// Now, for a count of changes that nothing tells: more than any mailbox reaches. Unix seconds.
    pub now: u64,
}

/// A message that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Here {
    /// Its file, without flags.
    pub file: Vec<u8>,
    /// It is in `cur`, where the server puts what it has given a UID.
    pub seen: bool,
    /// When its name was made. Unix seconds.
    pub named: Option<i64>,
}

/// What has to be written, and why. Nothing where all is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mending {
    pub list: Option<List>,
    pub letters: Option<BTreeMap<u8, Vec<u8>>>,
    /// The indexes are made anew, and count on from here.
    pub modseq: Option<u64>,
    /// What is wrong with the files as they are, whether or not a message comes back; in words.
    pub troubles: Vec<String>,
    /// The UIDVALIDITY that the mailbox has now, where it gets its old one back.
    pub restarted: Option<u32>,
    /// Messages that came since, and that get a new UID so that the old ones keep theirs.
    pub moved_on: u64,
}

/// A list of UIDs to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    pub uid_validity: u32,
    pub next_uid: u32,
    pub mailbox_guid: Option<[u8; 16]>,
    pub head: Vec<(u8, Vec<u8>)>,
    pub lines: Vec<Line>,
}

impl Books {
    /// How the file of a message that is here or comes back is called.
    fn file(&self, key: &Key) -> Option<&Vec<u8>> {
        self.here.get(key).map(|here| &here.file).or_else(|| self.returning.get(key))
    }
}

impl Mending {
    pub fn is_needed(&self) -> bool {
        self.list.is_some() || self.letters.is_some() || self.modseq.is_some()
    }
}

/// Tells what has to be written.
pub fn mend(books: &Books) -> Mending {
    let mut mending = Mending::default();
    letters(books, &mut mending);
    if let Some(era) = Era::of(books) {
        list(books, &era, &mut mending);
        count(books, &era, &mut mending);
    }
    mending
}

/// The UIDVALIDITY that counts, and who tells of it.
struct Era<'a> {
    uid_validity: u32,
    /// Our own list is of a later one.
    restarted: bool,
    /// Sources that are of this one.
    theirs: Vec<&'a Ledger>,
}

impl<'a> Era<'a> {
    fn of(books: &'a Books) -> Option<Era<'a>> {
        let own = books.own.uid_validity;
        let trusted = |ledger: &&Ledger| ledger.list == Whole::Sound && !ledger.lines.is_empty();
        let newest = books.theirs.iter().find(trusted).and_then(|ledger| ledger.uid_validity);
        let old = newest.filter(|&theirs| own.is_none_or(|own| theirs < own && is_restart(books, theirs)));
        let uid_validity = old.or(own).or(newest)?;
        let same = |ledger: &&Ledger| ledger.uid_validity == Some(uid_validity);
        let restarted = own.is_some_and(|own| own != uid_validity);
        Some(Era { uid_validity, restarted, theirs: books.theirs.iter().filter(same).collect() })
    }

    /// Lines of all who are of this UIDVALIDITY, with whether they are a source's; sources first.
    fn lines(&self, books: &'a Books) -> impl Iterator<Item = (bool, &'a Line)> {
        let theirs = self.theirs.iter().flat_map(|ledger| &ledger.lines).map(|line| (true, line));
        let own = if self.restarted { &[][..] } else { &books.own.lines };
        theirs.chain(own.iter().map(|line| (false, line)))
    }

    /// All UIDs that sources know.
    fn theirs_uids(&self) -> impl Iterator<Item = u32> {
        self.theirs.iter().flat_map(|ledger| &ledger.lines).map(|line| line.uid)
    }

    /// The first UID that nobody has.
    fn next_uid(&self, books: &Books) -> u32 {
        let own = if self.restarted || books.own.next_uid > UID_SANE { 1 } else { books.own.next_uid };
        let known = self.theirs.iter().map(|ledger| ledger.next_uid).fold(own.max(1), u32::max);
        // The head of our own list, or its index, saw every UID that was given away.
        let sure = !self.restarted && (books.own.list == Whole::Sound || books.own.index == Whole::Sound);
        if sure { known } else { known.saturating_add(GAP) }
    }
}

/// Whether messages that are lost, or that a lost list knew, were listed under an older UIDVALIDITY.
fn is_restart(books: &Books, older: u32) -> bool {
    let mut theirs = books.theirs.iter().filter(|ledger| ledger.uid_validity == Some(older));
    let lost_list = books.own.list != Whole::Sound;
    theirs.any(|ledger| {
        let back = |line: &Line| books.returning.contains_key(&line.key);
        let here = |line: &Line| lost_list && books.here.contains_key(&line.key);
        ledger.lines.iter().any(|line| back(line) || here(line))
    })
}

/// The list as it has to be, where ours is another.
fn list(books: &Books, era: &Era<'_>, mending: &mut Mending) {
    let own = own_lines(books);
    let mut uids = given(books, era);
    let differs = |line: &&&Line| own.get(&line.key).is_some_and(|own| own.uid != line.uid);
    // From here on the server numbered what it had numbered before.
    let since = uids.values().filter(differs).filter_map(|line| own.get(&line.key)).map(|line| line.uid).min();
    let since = since.filter(|_| !era.restarted);
    let found = by_elimination(books, era, &uids, since);
    uids.extend(found.iter().map(|(key, line)| (*key, line)));
    let late = late(books, &uids);
    let strange = uids.values().filter(|line| own.get(&line.key).is_none_or(|own| own.uid != line.uid)).count();
    let (renamed, any_renamed) = renamed(books);
    // A list of nothing that no source has lines for is the server's to make.
    let unsound = books.own.list != Whole::Sound && !(uids.is_empty() && late.is_empty());
    let other_guid = is_another_mailbox(books, era);
    if !(unsound || strange > 0 || any_renamed || !late.is_empty() || era.restarted || other_guid) {
        return;
    }
    let short = has_short_guids(books, era);
    let made =
        |line: &Line| since.is_some_and(|since| line.uid >= since) || found.iter().any(|(key, _)| **key == line.key);
    let line = |line: &&Line| Some(named(line, books.file(&line.key)?, short && made(line)));
    let mut lines: Vec<Line> = uids.values().filter_map(line).collect();
    // Lines of messages that are neither here nor come back are the server's business.
    let taken: BTreeSet<u32> = lines.iter().map(|line| line.uid).chain(era.theirs_uids()).collect();
    let rest = |line: &&Line| books.file(&line.key).is_none() && !taken.contains(&line.uid);
    if !era.restarted {
        lines.extend(books.own.lines.iter().filter(rest).cloned());
    }
    let mut next_uid = era.next_uid(books);
    for line in &late {
        lines.push(Line { uid: next_uid, ..named(line, books.file(&line.key).unwrap_or(&line.file), false) });
        next_uid = next_uid.saturating_add(1);
    }
    lines.sort_by_key(|line| line.uid);
    mending.moved_on = late.len() as u64;
    mending.restarted = books.own.uid_validity.filter(|_| era.restarted);
    let renumbered = uids.values().filter(differs).count().max(renamed);
    mending.troubles.extend(list_troubles(books, era, renumbered));
    if other_guid && mending.troubles.is_empty() {
        mending
            .troubles
            .push("the list of UIDs was made anew, and partners know the mailbox by another GUID".to_owned());
    }
    // A list that was made anew has a new GUID, too.
    let anew = era.restarted || since.is_some() || other_guid || books.own.mailbox_guid.is_none();
    let witness = era.theirs.first().copied().filter(|_| anew).unwrap_or(&books.own);
    mending.list = Some(List {
        uid_validity: era.uid_validity,
        next_uid,
        mailbox_guid: witness.mailbox_guid.or(books.own.mailbox_guid),
        head: witness.head.clone(),
        lines,
    });
}

/// Whether our list was made anew with the UIDs that it had, but with a GUID of its own: one that was made after the
/// source wrote its list. Dovecot's GUIDs say when they were made.
fn is_another_mailbox(books: &Books, era: &Era<'_>) -> bool {
    let (Some(own), Some(theirs)) = (books.own.mailbox_guid, era.theirs.first()) else { return false };
    let made = |guid: [u8; 16]| i64::from(u32::from_le_bytes([guid[4], guid[5], guid[6], guid[7]]));
    let list = theirs.files.iter().find(|(name, _)| name == b"dovecot-uidlist").map(|(_, stat)| stat.mtime.sec);
    let other = theirs.mailbox_guid.filter(|guid| *guid != own);
    list.zip(other).is_some_and(|(written, other)| made(own) > written && made(other) <= written)
}

/// Messages whose UID under our list is not theirs, and that no other list gives one.
fn late<'b>(books: &'b Books, uids: &BTreeMap<&Key, &Line>) -> Vec<&'b Line> {
    let mut seen = BTreeSet::new();
    let displaced = |line: &&Line| books.file(&line.key).is_some() && !uids.contains_key(&line.key);
    books.own.lines.iter().filter(displaced).filter(|line| seen.insert(&line.key)).collect()
}

/// Messages whose file is called otherwise than our list says: the server took a wrong size out of a name, or the file
/// that comes back is called as elsewhere. How many of them are here, and whether there is any.
fn renamed(books: &Books) -> (usize, bool) {
    let stale = |line: &&Line| books.file(&line.key).is_some_and(|file| *file != line.file);
    let keys: BTreeSet<&Key> = books.own.lines.iter().filter(stale).map(|line| &line.key).collect();
    (keys.iter().filter(|key| books.here.contains_key(**key)).count(), !keys.is_empty())
}

/// Messages whose old UID no list tells any more, and whose UIDs no message has any more: where there are as many of
/// both, and their order is sure, each has its own. Only where nothing is lost beside the list.
fn by_elimination<'b>(
    books: &'b Books,
    era: &Era<'b>,
    uids: &BTreeMap<&'b Key, &'b Line>,
    since: Option<u32>,
) -> Vec<(&'b Key, Line)> {
    let unknown = |key: &Key| uids.get(key).is_none_or(|line| since.is_some_and(|since| line.uid >= since));
    let mut files: Vec<(&Key, &Here)> = books.here.iter().filter(|(key, _)| unknown(key)).collect();
    files.sort_by_key(|(_, here)| here.named);
    let in_order = files.len() == 1 || files.windows(2).all(|pair| pair[0].1.named < pair[1].1.named);
    let owned: BTreeSet<u32> = era.lines(books).map(|(_, line)| line.uid).collect();
    let known = books.own.indexed.iter().chain(&books.own.noticed).copied();
    let free: BTreeSet<u32> = known.filter(|uid| !owned.contains(uid)).collect();
    let all_seen = files.iter().all(|(_, here)| here.seen);
    let disturbed = books.own.list != Whole::Sound || since.is_some();
    let sure = disturbed && !era.restarted && books.returning.is_empty();
    if !sure || files.len() != free.len() || !in_order || !all_seen {
        return Vec::new();
    }
    let line = |(key, here): (&'b Key, &Here), uid| {
        (key, Line { uid, key: key.clone(), file: here.file.clone(), fields: Vec::new() })
    };
    files.into_iter().zip(free).map(|(file, uid)| line(file, uid)).collect()
}

/// Whether the GUIDs of this mailbox are names without the sizes in them, as Dovecot gives them to compressed mail.
fn has_short_guids(books: &Books, era: &Era<'_>) -> bool {
    let is_short = |line: &Line| {
        let file = books.file(&line.key)?;
        let short = sizeless(file).filter(|short| short != file)?;
        (line.guid() == short || line.guid() == file).then(|| line.guid() == short)
    };
    let mut told = era.theirs.iter().flat_map(|ledger| &ledger.lines).filter_map(is_short);
    told.next().is_some_and(|first| first && told.all(|short| short))
}

/// A name up to its sizes.
fn sizeless(name: &[u8]) -> Option<&[u8]> {
    name.split(|&byte| byte == b',').next()
}

/// A line for the same message in a file that may be called otherwise here. One that the server made anew, or that is
/// made here, has lost the `short` GUID that the message had.
fn named(line: &Line, file: &[u8], short: bool) -> Line {
    let mut fields: Vec<(u8, Vec<u8>)> = line.fields.iter().filter(|(letter, _)| *letter != b'G').cloned().collect();
    let guid = if short && line.guid() == file { sizeless(file).unwrap_or(file) } else { line.guid() };
    if guid != file {
        fields.push((b'G', guid.to_vec()));
    }
    Line { uid: line.uid, key: line.key.clone(), file: file.to_vec(), fields }
}

/// The UID of each message that is here or comes back: the smallest that anybody gives it, unless that one is another
/// message's.
fn given<'b>(books: &'b Books, era: &Era<'b>) -> BTreeMap<&'b Key, &'b Line> {
    // A source's word on whose a UID is goes before ours, which may have been given away twice.
    let mut owner: HashMap<u32, &Key> = HashMap::new();
    for (_, line) in era.lines(books) {
        owner.entry(line.uid).or_insert(&line.key);
    }
    let mut uids: BTreeMap<&Key, &Line> = BTreeMap::new();
    for (_, line) in era.lines(books) {
        let is_its = owner.get(&line.uid) == Some(&&line.key);
        let older = uids.get(&line.key).is_none_or(|known| line.uid < known.uid);
        if is_its && older && books.file(&line.key).is_some() {
            uids.insert(&line.key, line);
        }
    }
    uids
}

fn own_lines(books: &Books) -> HashMap<&Key, &Line> {
    let mut lines = HashMap::new();
    for line in &books.own.lines {
        lines.entry(&line.key).or_insert(line);
    }
    lines
}

fn list_troubles(books: &Books, era: &Era<'_>, renumbered: usize) -> Vec<String> {
    let mut troubles = Vec::new();
    match books.own.list {
        _ if era.restarted => {
            let now = books.own.uid_validity.unwrap_or_default();
            troubles.push(format!(
                "the server began anew here: UIDVALIDITY is {now} and was {}, so that clients would download everything \
                 again",
                era.uid_validity
            ));
        }
        Whole::Absent if books.here.is_empty() => {}
        Whole::Absent => troubles.push("the list of UIDs is gone".to_owned()),
        Whole::Damaged => troubles.push("the list of UIDs is damaged".to_owned()),
        Whole::Sound => {}
    }
    if renumbered > 0 {
        troubles.push(format!("{renumbered} message(s) have other UIDs than clients know them by"));
    }
    troubles
}

/// Whether the indexes have to be made anew, and from which count of changes they go on.
fn count(books: &Books, era: &Era<'_>, mending: &mut Mending) {
    let own = &books.own;
    let newest = era.theirs.iter().max_by_key(|ledger| ledger.highest_modseq);
    let theirs = newest.map_or(0, |ledger| ledger.highest_modseq);
    let fell = newest.is_some_and(|newest| begun_anew(own, newest)) && own.highest_modseq < theirs;
    let damaged = own.index == Whole::Damaged;
    let gone = own.index == Whole::Absent && own.list != Whole::Absent && theirs > 0 && !books.here.is_empty();
    // Indexes that are there know a mailbox of which the list, or a message, is another now.
    let contradict = own.index != Whole::Absent && (mending.list.is_some() || mending.letters.is_some());
    let reborn = own.index == Whole::Absent && (books.reborn || mending.list.is_some());
    if !(fell || damaged || gone || contradict || reborn || books.expunged) {
        return;
    }
    if damaged {
        mending.troubles.push("the server's index of it is damaged".to_owned());
    } else if gone && !books.reborn {
        mending.troubles.push("the server's indexes of it are gone".to_owned());
    } else if fell && !era.restarted {
        let words = format!("its count of changes (HIGHESTMODSEQ) fell from {theirs} to {}", own.highest_modseq);
        mending.troubles.push(words);
    }
    let known = own.highest_modseq.max(theirs);
    // Somebody who kept no count may have had one.
    let sure = own.index == Whole::Sound && !era.restarted && !fell;
    mending.modseq = Some(match (known, sure) {
        (0, _) => books.now,
        (known, true) => known,
        (known, false) => known.saturating_add(u64::from(GAP)),
    });
}

/// Whether our indexes were begun when the last change of a source's was over.
fn begun_anew(own: &Ledger, theirs: &Ledger) -> bool {
    let index = |(name, _): &&(Vec<u8>, crate::model::Stat)| name.starts_with(b"dovecot.index");
    let last = theirs.files.iter().filter(index).map(|(_, stat)| stat.mtime.sec).max();
    own.index != Whole::Absent && last.is_some_and(|last| i64::from(own.begun) > last)
}

/// Names of letters that ours has lost: from the sources, from what the indexes say of the messages whose names have the
/// letter, and, where one letter and one keyword are left, from that.
fn letters(books: &Books, mending: &mut Mending) {
    let own = &books.own.letters;
    // What Dovecot calls a letter that has lost its name; then what it wrote beside is a guess, too.
    let guessed = own.values().any(|name| name.starts_with(UNKNOWN));
    let has_name = |letter: &u8| letter.checked_sub(b'a').is_some_and(|number| own.contains_key(&number));
    let damaged = books.own.keywords == Whole::Damaged || guessed;
    if books.used.keys().all(has_name) && !damaged && !books.reborn {
        return;
    }
    let mut all = if guessed { BTreeMap::new() } else { own.clone() };
    let mut add = |number: u8, name: &[u8]| {
        let free = !all.contains_key(&number) && !all.values().any(|other| other == name) && !name.starts_with(UNKNOWN);
        if free && number < LETTERS {
            all.insert(number, name.to_vec());
        }
    };
    books.theirs.iter().flat_map(|ledger| &ledger.letters).for_each(|(number, name)| add(*number, name));
    let number = |letter: &u8| letter.saturating_sub(b'a');
    for (letter, uids) in books.used.iter().filter(|(_, uids)| !guessed && !uids.is_empty()) {
        let mut same = books.own.marked.iter().filter(|(_, marked)| marked.iter().eq(uids.iter()));
        if let (Some((name, _)), None) = (same.next(), same.next()) {
            add(number(letter), name);
        }
    }
    let nameless: Vec<u8> = books.used.keys().map(number).filter(|number| !all.contains_key(number)).collect();
    let is_left = |name: &&Vec<u8>| !all.values().any(|known| known == *name) && !name.starts_with(UNKNOWN);
    let left: Vec<&Vec<u8>> = books.own.marked.iter().map(|(name, _)| name).filter(is_left).collect();
    if let ([number], [name]) = (&nameless[..], &left[..]) {
        all.insert(*number, (*name).clone());
    }
    if all == *own {
        return;
    }
    if !books.reborn {
        let how = if books.own.keywords == Whole::Damaged { "is damaged" } else { "has lost names" };
        let how = if books.own.keywords == Whole::Absent { "is gone" } else { how };
        mending.troubles.push(format!("the table of keywords {how}"));
    }
    mending.letters = Some(all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Stamp, Stat};
    use proptest::prelude::*;

    fn line(uid: u32, name: &str) -> Line {
        Line { uid, key: Key(name.into()), file: name.into(), fields: Vec::new() }
    }

    fn ledger(uid_validity: u32, lines: &[(u32, &str)]) -> Ledger {
        let lines: Vec<Line> = lines.iter().map(|&(uid, name)| line(uid, name)).collect();
        Ledger {
            list: Whole::Sound,
            uid_validity: Some(uid_validity),
            next_uid: lines.last().map_or(1, |line| line.uid + 1),
            lines,
            index: Whole::Sound,
            highest_modseq: 40,
            ..Ledger::default()
        }
    }

    fn named(names: &[&str]) -> BTreeMap<Key, Vec<u8>> {
        names.iter().map(|name| (Key((*name).into()), (*name).into())).collect()
    }

    fn there(names: &[&str]) -> BTreeMap<Key, Here> {
        let here = |name: &&str| Here { file: (*name).into(), seen: true, named: None };
        names.iter().map(|name| (Key((*name).into()), here(name))).collect()
    }

    fn uids(list: &List) -> Vec<(u32, &str)> {
        list.lines.iter().map(|line| (line.uid, std::str::from_utf8(&line.file).unwrap())).collect()
    }

    #[test]
    fn nothing_is_written_where_all_agree() {
        let own = ledger(7, &[(1, "a"), (2, "b"), (4, "d")]);
        let theirs = vec![ledger(7, &[(1, "a"), (2, "b"), (3, "c")])];
        let books = Books { own, theirs, here: there(&["a", "b", "d"]), ..Books::default() };
        assert_eq!(mend(&books), Mending::default());
    }

    #[test]
    fn a_loss_that_the_server_did_not_notice_needs_nothing() {
        let own = ledger(7, &[(1, "a"), (2, "b")]);
        let books = Books { own, here: there(&["a"]), returning: named(&["b"]), ..Books::default() };
        assert_eq!(mend(&books), Mending::default());
    }

    #[test]
    fn a_forgotten_message_gets_its_line_and_the_indexes_begin_anew() {
        let own = ledger(7, &[(1, "a"), (5, "e")]);
        let theirs = vec![ledger(7, &[(1, "a"), (2, "b")])];
        let (here, returning) = (there(&["a", "e"]), named(&["b"]));
        let mending = mend(&Books { own, theirs, here, returning, expunged: true, ..Books::default() });
        let list = mending.list.unwrap();
        assert_eq!((uids(&list), list.next_uid), (vec![(1, "a"), (2, "b"), (5, "e")], 6));
        assert_eq!((mending.modseq, mending.troubles), (Some(40), vec![]));
    }

    #[test]
    fn renumbered_messages_get_their_old_uids_and_none_is_given_twice() {
        // The server lost its list: it numbered "a" and "b" again, and gave UID 3 to a new message.
        let own = ledger(7, &[(3, "new"), (8, "a"), (9, "b")]);
        let theirs = vec![ledger(7, &[(1, "a"), (2, "b"), (3, "gone")])];
        let mending = mend(&Books { own, theirs, here: there(&["a", "b", "new"]), ..Books::default() });
        let list = mending.list.unwrap();
        assert_eq!((uids(&list), list.next_uid), (vec![(1, "a"), (2, "b"), (10, "new")], 11));
        assert_eq!((mending.moved_on, mending.troubles.len()), (1, 1));
        assert!(mending.modseq.is_some_and(|modseq| modseq >= 40));
    }

    #[test]
    fn a_server_that_began_anew_gets_the_old_numbers_back() {
        let own = ledger(99, &[(1, "late"), (2, "later")]);
        let theirs = vec![ledger(7, &[(1, "a"), (2, "b")])];
        let books =
            Books { own, theirs, here: there(&["late", "later"]), returning: named(&["a", "b"]), ..Books::default() };
        let mending = mend(&books);
        let list = mending.list.unwrap();
        assert_eq!(list.uid_validity, 7);
        assert_eq!(uids(&list), [(1, "a"), (2, "b"), (3 + GAP, "late"), (4 + GAP, "later")]);
        assert_eq!((mending.restarted, mending.moved_on), (Some(99), 2));
        assert!(mending.modseq.is_some_and(|modseq| modseq > 40));
    }

    #[test]
    fn a_younger_uidvalidity_of_a_source_and_one_that_loses_nothing_change_nothing() {
        for (own, theirs) in [(7, 99), (99, 7)] {
            let returning = if own == 7 { named(&["b"]) } else { named(&[]) };
            let theirs = vec![ledger(theirs, &[(1, "a"), (2, "b")])];
            let own = ledger(own, &[(5, "a")]);
            let mending = mend(&Books { own, theirs, here: there(&["a"]), returning, ..Books::default() });
            assert_eq!(mending, Mending::default());
        }
    }

    #[test]
    fn a_lost_list_comes_back_and_goes_on_beyond_what_anybody_saw() {
        let own = Ledger { index: Whole::Absent, ..Ledger::default() };
        let theirs = vec![ledger(7, &[(1, "a"), (2, "b"), (3, "deleted")])];
        let here = there(&["a", "b", "new"]);
        let mending = mend(&Books { own, theirs: theirs.clone(), here: here.clone(), ..Books::default() });
        let list = mending.list.unwrap();
        // The server gives the new one a UID itself.
        assert_eq!((uids(&list), list.next_uid), (vec![(1, "a"), (2, "b")], 4 + GAP));
        assert_eq!(mending.troubles, ["the list of UIDs is gone"]);
        // Our own index saw every UID.
        let own = Ledger { index: Whole::Sound, uid_validity: Some(7), next_uid: 9, ..Ledger::default() };
        assert_eq!(mend(&Books { own, theirs, here, ..Books::default() }).list.unwrap().next_uid, 9);
    }

    #[test]
    fn a_damaged_list_keeps_what_is_whole_without_any_source() {
        let own = Ledger { list: Whole::Damaged, ..ledger(7, &[(1, "a"), (5, "e")]) };
        let list = mend(&Books { own, here: there(&["a", "e", "x"]), ..Books::default() }).list.unwrap();
        assert_eq!(uids(&list), [(1, "a"), (5, "e")]);
        let nothing = Ledger { list: Whole::Damaged, uid_validity: Some(7), ..Ledger::default() };
        assert_eq!(mend(&Books { own: nothing, here: there(&["a"]), ..Books::default() }).list, None);
    }

    #[test]
    fn a_message_of_another_name_keeps_its_identity() {
        let mut theirs = ledger(7, &[(1, "a"), (2, "b")]);
        theirs.lines[0].file = "copy".into();
        theirs.lines[0].fields = vec![(b'G', b"a".to_vec()), (b'P', b"uidl".to_vec())];
        let books = Books { theirs: vec![theirs], returning: named(&["a", "b"]), reborn: true, ..Books::default() };
        let list = mend(&books).list.unwrap();
        assert_eq!(uids(&list), [(1, "a"), (2, "b")]);
        assert_eq!(list.lines[0].fields, [(b'P', b"uidl".to_vec())]);
    }

    #[test]
    fn the_count_of_changes_never_falls() {
        let begun = |begun, modseq| Ledger { begun, highest_modseq: modseq, ..ledger(7, &[(1, "a")]) };
        let log = |sec| (b"dovecot.index.log".to_vec(), Stat { mtime: Stamp { sec, nsec: 0 }, ..Stat::default() });
        let theirs = Ledger { files: vec![log(1000)], ..begun(10, 50) };
        let case = |own: Ledger| {
            let books = Books { own, theirs: vec![theirs.clone()], here: there(&["a"]), now: 9999, ..Books::default() };
            mend(&books).modseq
        };
        assert_eq!(case(begun(10, 45)), None, "a partner may be ahead");
        assert_eq!(case(begun(900, 3)), None, "begun while the source still changed");
        assert_eq!(case(begun(1001, 3)), Some(50 + u64::from(GAP)));
        assert_eq!(case(begun(1001, 50)), None);
        let gone = Ledger { index: Whole::Absent, highest_modseq: 0, ..begun(0, 0) };
        assert_eq!(case(gone), Some(50 + u64::from(GAP)));
        let damaged = Ledger { index: Whole::Damaged, ..begun(10, 60) };
        assert_eq!(case(damaged), Some(60 + u64::from(GAP)));
        let unknown = Ledger { index: Whole::Damaged, highest_modseq: 0, ..begun(0, 0) };
        let books = Books { own: unknown, here: there(&["a"]), now: 9999, ..Books::default() };
        assert_eq!(mend(&books).modseq, Some(9999), "more than any mailbox counts");
    }

    #[test]
    fn a_mailbox_keeps_the_guid_that_its_partners_know() {
        let guid = |made: u32| {
            let [a, b, c, d] = made.to_le_bytes();
            Some([1, 2, 3, 4, a, b, c, d, 9, 9, 9, 9, 9, 9, 9, 9])
        };
        let list = (b"dovecot-uidlist".to_vec(), Stat { mtime: Stamp { sec: 500, nsec: 0 }, ..Stat::default() });
        let theirs = Ledger { mailbox_guid: guid(100), files: vec![list], ..ledger(7, &[(1, "a")]) };
        let case = |made| {
            let own = Ledger { mailbox_guid: guid(made), ..ledger(7, &[(1, "a")]) };
            mend(&Books { own, theirs: vec![theirs.clone()], here: there(&["a"]), ..Books::default() })
        };
        assert_eq!((case(100), case(400)), (Mending::default(), Mending::default()), "nothing says which is the older");
        let mending = case(900);
        assert_eq!(mending.list.unwrap().mailbox_guid, guid(100));
        assert_eq!((mending.troubles.len(), mending.modseq), (1, Some(40)));
    }

    #[test]
    fn letters_get_their_names_back_and_keep_those_they_have() {
        let table = |names: &[(u8, &str)]| names.iter().map(|&(n, name)| (n, name.as_bytes().to_vec())).collect();
        let theirs = Ledger { letters: table(&[(0, "One"), (1, "Two"), (2, "Three")]), ..ledger(7, &[(1, "a")]) };
        let own = Ledger { letters: table(&[(0, "Mine"), (3, "Two")]), ..ledger(7, &[(1, "a")]) };

        let case = |own: Ledger, used: &[u8]| {
            let used = used.iter().map(|&letter| (letter, BTreeSet::new())).collect();
            mend(&Books { own, theirs: vec![theirs.clone()], here: there(&["a"]), used, ..Books::default() })
        };
        assert_eq!(case(own.clone(), b"ad"), Mending::default());
        let none = Ledger { letters: BTreeMap::new(), ..own.clone() };
        assert_eq!(case(none, b""), Mending::default(), "nobody uses keywords here");
        let mending = case(own, b"ac");
        assert_eq!(mending.letters, Some(table(&[(0, "Mine"), (2, "Three"), (3, "Two")])));
        assert_eq!(mending.troubles.len(), 1);
        assert!(mending.modseq.is_some(), "the index forgot them too");
    }

    proptest! {
        /// Whatever the witnesses say: no UID twice, none that a source knows for another message, nothing below the
        /// next one, and what was mended needs no more mending.
        #[test]
        fn the_laws_of_uids(
            own in proptest::collection::btree_map(1u32..12, 0u8..8, 0..8),
            theirs in proptest::collection::btree_map(1u32..12, 0u8..8, 0..8),
            validity in prop_oneof![Just(7u32), Just(9u32)],
            state in 0u8..3,
            here in proptest::collection::btree_set(0u8..8, 0..8),
            back in proptest::collection::btree_set(0u8..8, 0..8),
        ) {
            let name = |n: &u8| format!("m{n}");
            let once = |lines: &BTreeMap<u32, u8>| {
                let mut seen = BTreeSet::new();
                lines.iter().filter(|(_, n)| seen.insert(**n)).map(|(uid, n)| line(*uid, &name(n))).collect::<Vec<_>>()
            };
            let mut mine = Ledger { lines: once(&own), ..ledger(validity, &[]) };
            mine.next_uid = mine.lines.last().map_or(1, |line| line.uid + 1);
            match state {
                0 => mine = Ledger { index: Whole::Absent, ..Ledger::default() },
                1 => mine.list = Whole::Damaged,
                _ => {}
            }
            let mut source = Ledger { lines: once(&theirs), ..ledger(7, &[]) };
            source.next_uid = source.lines.last().map_or(1, |line| line.uid + 1);
            let names = |set: &BTreeSet<u8>| set.iter().map(|n| (Key(name(n).into()), name(n).into())).collect();
            let returning: BTreeSet<u8> = back.difference(&here).copied().collect();
            let mut books = Books {
                own: mine.clone(), theirs: vec![source.clone()], returning: names(&returning),
                here: here.iter().map(|n| (Key(name(n).into()), Here { file: name(n).into(), seen: true, named: None })).collect(),
                ..Books::default()
            };
            let mending = mend(&books);
            if let Some(list) = &mending.list {
                prop_assert!(list.lines.is_sorted_by(|a, b| a.uid < b.uid));
                prop_assert!(list.lines.iter().all(|line| line.uid < list.next_uid || list.next_uid == 0));
                let keys: BTreeSet<_> = list.lines.iter().map(|line| &line.key).collect();
                prop_assert_eq!(keys.len(), list.lines.len(), "one line for each message");
                if list.uid_validity == 7 {
                    for line in &source.lines {
                        let given = list.lines.iter().find(|other| other.uid == line.uid);
                        let wanted = books.here.contains_key(&line.key) || books.returning.contains_key(&line.key);
                        prop_assert!(given.is_none_or(|given| given.key == line.key || !wanted));
                    }
                }
                books.own = Ledger {
                    list: Whole::Sound,
                    uid_validity: Some(list.uid_validity),
                    next_uid: list.next_uid,
                    lines: list.lines.clone(),
                    index: Whole::Sound,
                    highest_modseq: mending.modseq.unwrap_or(40),
                    ..Ledger::default()
                };
                let again = mend(&books);
                prop_assert_eq!(again.list, None, "done once and for all");
            }
        }
    }
}
