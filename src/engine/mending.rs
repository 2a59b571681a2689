//! The server's own lists and indexes of a mailbox, made what they have to be: before its messages come back, and where
//! they were damaged themselves.
//!
//! Dovecot never gives a message back its UID once its indexes count it as gone. They are made anew from the mail and
//! the list of UIDs, so they are moved aside; and a new log says how often the mailbox had changed, because that count
//! (HIGHESTMODSEQ, RFC 7162) must never fall. May not decide which messages come back.

use super::account::{Account, EngineError, Mailbox};
use super::dbox_index::{self, Told};
use super::find::{Shelf, Sources};
use super::folders::Folders;
use super::job::{Job, Mode};
use super::server;
use super::storage_anew;
use crate::model::event::{ActionSummary, Finding, Subject};
use crate::model::limits::LIST_MAX;
use crate::model::plan::{Action, Details, Fingerprint, Step};
use crate::model::server::{Ledger, Line, Shown};
use crate::model::wire::{Entry, Place};
use crate::model::{Attrs, Format, Key, Missing, RelPath, Stat, Verdict, container};
use crate::plan::attrs::{Owner, Witnesses, settle};
use crate::plan::ledger::{Books, Here, List, Mending, mend};
use crate::store::dovecot::fresh::{self, Marks, Numbered, Register};
use crate::store::dovecot::{flag, keywords, uidlist};
use crate::store::maildir::{companion, name};
use crate::sys::clock;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

const UIDLIST: &[u8] = b"dovecot-uidlist";
const KEYWORDS: &[u8] = b"dovecot-keywords";

/// What the mailboxes of an account need, by mailbox.
#[derive(Default)]
pub struct Menders {
    known: HashMap<usize, Known>,
    /// What tells of mailboxes of mdbox.
    told: HashMap<usize, Told>,
    /// Numbers of the steps that were planned.
    planned: HashMap<usize, Vec<u64>>,
    /// The files that these steps write.
    targets: HashSet<RelPath>,
    /// The account's index of its mailboxes goes aside already.
    forgotten: bool,
    /// The map of its mdbox has been looked at.
    believed: bool,
}

/// One mailbox's files as they are, and what they need.
pub(super) struct Known {
    pub own: Ledger,
    pub mending: Mending,
    /// What clients see of each message, where the indexes begin anew.
    pub marks: Vec<Marks>,
    /// In sdbox and mdbox: what else the index is made with.
    pub register: Option<Register>,
    pub storage: Option<Numbered>,
    /// Steps that come before.
    pub after: Vec<u64>,
    /// The source that knows best, and its files.
    pub source: Option<String>,
    pub theirs: Vec<(Vec<u8>, Stat)>,
}

/// A message that comes back: how it is called here.
pub type Returning = (Key, Vec<u8>);

/// What of an account a step is made with.
pub struct Scene<'a> {
    pub account: &'a Account,
    pub mailboxes: &'a [Mailbox],
}

impl Menders {
    /// Looks at the files of mailbox `m`, and at those of the sources. `expunged` says that its indexes count one of the
    /// messages that come back as gone.
    pub fn look(
        &mut self,
        job: &mut Job<'_>,
        sources: &mut Sources,
        mailboxes: &[Mailbox],
        m: usize,
        returning: Vec<Returning>,
        expunged: bool,
    ) -> Result<(), EngineError> {
        let mailbox = &mailboxes[m];
        if mailbox.format.is_dbox() {
            let shared = mailbox.format == Format::Mdbox;
            // What comes back to an mdbox is numbered once the map is made.
            let (now, expunged) = if shared { (&[][..], false) } else { (&returning[..], expunged) };
            let Some(told) = dbox_index::told(job, sources, mailbox, now, expunged)? else { return Ok(()) };
            self.known.extend(told.made(job, mailbox, &[]).map(|known| (m, known)));
            self.told.extend(shared.then_some((m, told)));
            return Ok(());
        }
        if mailbox.format != Format::Maildir {
            return Ok(());
        }
        let kept = |name: &[u8]| companion::is_list(name) || companion::is_index(name);
        let desk = job.store.desk.is_some();
        if !mailbox.companions().any(kept)
            && !desk
            && returning.is_empty()
            && (mailbox.files.is_empty() || job.generations.is_empty())
        {
            return Ok(());
        }
        let Some(own) = server::ledger(job, mailbox)? else { return Ok(()) };
        let wanted = |shelf: &Shelf, _| shelf.top().any(|entry| kept(&entry.name));
        let told = server::ledgers_of_sources(job, sources, &mailbox.rel, &wanted)?;
        let (theirs, labels): (Vec<Ledger>, Vec<String>) = told.into_iter().unzip();
        let here = here(mailbox, &own);
        let named: BTreeMap<Key, Vec<u8>> = returning.into_iter().collect();
        let returning: BTreeMap<Key, Vec<u8>> =
            named.iter().map(|(key, file)| (key.clone(), name::base(file).to_vec())).collect();
        let books = Books {
            used: letters(mailbox, &own),
            reborn: mailbox.folder.is_none() || (here.is_empty() && !returning.is_empty()),
            now: u64::try_from(clock::now().sec).unwrap_or_default(),
            own,
            theirs,
            here,
            returning,
            expunged,
        };
        let mending = mend(&books);
        if mending.is_needed() || !mending.troubles.is_empty() {
            let marks = if mending.modseq.is_some() { marks(mailbox, &named, &books, &mending) } else { Vec::new() };
            let source = labels.into_iter().next();
            let theirs = books.theirs.into_iter().next().map(|ledger| ledger.files).unwrap_or_default();
            self.known.insert(
                m,
                Known {
                    own: books.own,
                    mending,
                    marks,
                    register: None,
                    storage: None,
                    after: Vec::new(),
                    source,
                    theirs,
                },
            );
        }
        Ok(())
    }

    /// Steps that must come before a message comes back to mailbox `m`; planned once.
    pub fn needs(
        &mut self,
        job: &mut Job<'_>,
        scene: &Scene<'_>,
        folders: &mut Folders,
        m: usize,
    ) -> Result<Vec<u64>, EngineError> {
        if let Some(steps) = self.planned.get(&m) {
            return Ok(steps.clone());
        }
        let mut steps = self.known.get(&m).map(|known| known.after.clone()).unwrap_or_default();
        if let Some(known) = self.known.get(&m).filter(|_| job.store.desk.is_none()) {
            let mailbox = &scene.mailboxes[m];
            folders.need(job, scene.account, scene.mailboxes, (mailbox.format, &mailbox.dir))?;
            let owner = folders.owner(job, scene.account, scene.mailboxes, &mailbox.dir)?;
            if (known.mending.list.is_some() || known.mending.restarted.is_some()) && !self.forgotten {
                self.forgotten = true;
                forget_mailboxes(job, scene, &mut steps)?;
            }
            if known.storage.is_some() && known.after.is_empty() && !self.believed {
                self.believed = true;
                storage_anew::believe(job, scene, mailbox)?;
            }
            let targets = known.plan(job, scene, mailbox, owner, &mut steps)?;
            known.tell(job, scene, mailbox, targets.last());
            self.targets.extend(targets);
        }
        self.planned.insert(m, steps.clone());
        Ok(steps)
    }

    /// Plans what is wrong with mailboxes to which no message comes back. Those that are `held` are only told.
    pub fn rest(
        &mut self,
        job: &mut Job<'_>,
        scene: &Scene<'_>,
        folders: &mut Folders,
        held: &dyn Fn(usize) -> bool,
    ) -> Result<(), EngineError> {
        let wrong = |(m, known): (&usize, &Known)| (!known.mending.troubles.is_empty()).then_some(*m);
        let mut waiting: Vec<usize> = self.known.iter().filter_map(wrong).collect();
        waiting.sort_unstable();
        for m in waiting.into_iter().filter(|m| !self.planned.contains_key(m)).collect::<Vec<_>>() {
            if held(m) || job.store.desk.is_some() || !self.known[&m].mending.is_needed() {
                self.known[&m].tell(job, scene, &scene.mailboxes[m], None);
            } else {
                self.needs(job, scene, folders, m)?;
            }
        }
        Ok(())
    }

    /// Why nothing may come back to mailbox `m` now: its lists or indexes would have to change, and they lie where no step
    /// of this plan can reach.
    pub fn out_of_reach(&self, job: &Job<'_>, m: usize) -> Option<String> {
        let needed = self.known.get(&m).is_some_and(|known| known.mending.is_needed());
        (needed && job.store.desk.is_some()).then(|| {
            "held: the server counts it as gone, and keeps its lists and indexes elsewhere (--layout), where this cannot \
             change them; stop the server, move the dovecot.index* files of this mailbox aside, and insist with \
             --undecided restore"
                .to_owned()
        })
    }

    /// Lets messages come back to a mailbox of mdbox, whose index shows them no more, after these steps. False where nothing
    /// tells what its index has to be.
    pub fn show(&mut self, job: &mut Job<'_>, mailbox: &Mailbox, m: usize, back: &[Shown], after: &[u64]) -> bool {
        let Some(told) = self.told.get_mut(&m).filter(|_| !self.planned.contains_key(&m)) else { return false };
        told.returning(back.iter().map(|shown| shown.uid));
        let Some(known) = told.made(job, mailbox, back) else { return false };
        self.known.insert(m, Known { after: after.to_vec(), ..known });
        self.believed = true;
        true
    }

    /// Makes the index of a mailbox of mdbox anew as it is, if that does not come of other reasons.
    pub fn renew(
        &mut self,
        job: &mut Job<'_>,
        scene: &Scene<'_>,
        folders: &mut Folders,
        m: usize,
    ) -> Result<(), EngineError> {
        if self.known.contains_key(&m) {
            return Ok(());
        }
        let made = self.told.get_mut(&m).and_then(|told| {
            told.renew();
            told.made(job, &scene.mailboxes[m], &[])
        });
        if let Some(known) = made {
            self.known.insert(m, known);
            self.needs(job, scene, folders, m)?;
        }
        Ok(())
    }

    /// When a message was put into a mailbox of mdbox, by its copy. Seconds since 1970.
    pub fn saved(&self, m: usize, uid: u32) -> Option<u32> {
        self.told.get(&m)?.saved(uid)
    }

    /// Whether the plan makes the index of an sdbox mailbox anew.
    pub fn remakes(&self, m: usize) -> bool {
        self.known.get(&m).is_some_and(|known| known.register.is_some())
    }

    /// Whether a step of this plan writes that file.
    pub fn writes(&self, path: &RelPath) -> bool {
        self.targets.contains(path)
    }
}

/// Moves the account's index of its mailboxes aside: it remembers GUIDs and UIDVALIDITYs, and sync goes by them.
fn forget_mailboxes(job: &mut Job<'_>, scene: &Scene<'_>, steps: &mut Vec<u64>) -> Result<(), EngineError> {
    for file in companion::MAILBOX_INDEX {
        let Ok(target) = scene.account.dir.join(file) else { continue };
        let root = job.store.root;
        let Ok(there) = job.store_lane().stat(root, &target)? else { continue };
        let mut step = Step {
            number: 0,
            account: scene.account.name.clone(),
            mailbox: String::new(),
            key: None,
            verdict: Verdict::Missing(Missing::Lost),
            target,
            before: Fingerprint::Inode(there.stat),
            action: Action::Quarantine,
            assurance: None,
            why: WHY.to_owned(),
            needs: Vec::new(),
            details: Details::default(),
        };
        job.push_step(&mut step)?;
        steps.push(step.number);
    }
    Ok(())
}

/// Messages that are there, by the keys that the server's list knows them by.
fn here(mailbox: &Mailbox, own: &Ledger) -> BTreeMap<Key, Here> {
    let renamed = own.lines.iter().filter(|line| name::key(&line.file) != line.key);
    let called: HashMap<&[u8], &Key> = renamed.map(|line| (&line.file[..], &line.key)).collect();
    let files = mailbox.files.values().map(|&at| &mailbox.listing.entries[at]);
    let whole = files.filter(|entry| !name::is_orphan(&entry.name));
    let here = |entry: &Entry| {
        let file = name::base(&entry.name);
        let key = called.get(file).map_or_else(|| name::key(file), |key| (*key).clone());
        let named = name::delivered(file).map(|stamp| stamp.sec);
        (key, Here { file: file.to_vec(), seen: entry.place == Place::Cur, named })
    };
    whole.map(here).collect()
}

/// Letters of keywords in the names of messages that are there, with their UIDs, or on record.
fn letters(mailbox: &Mailbox, own: &Ledger) -> BTreeMap<u8, BTreeSet<u32>> {
    let uids: HashMap<&[u8], u32> = own.lines.iter().map(|line| (&line.file[..], line.uid)).collect();
    let mut letters: BTreeMap<u8, BTreeSet<u32>> = BTreeMap::new();
    let listed = mailbox.messages().filter(|(_, e)| e.place != Place::New).map(|(_, e)| &e.name[..]);
    for file in listed.chain(mailbox.rows.values().map(|row| &row.name[..])) {
        let uid = uids.get(name::base(file));
        for letter in name::parse(file).flags.iter().filter(|letter| letter.is_ascii_lowercase()) {
            letters.entry(*letter).or_default().extend(uid);
        }
    }
    letters
}

/// What clients see of each message of the mailbox as it will be: flags and keywords, from the names of files.
fn marks(mailbox: &Mailbox, returning: &BTreeMap<Key, Vec<u8>>, books: &Books, mending: &Mending) -> Vec<Marks> {
    let lines = mending.list.as_ref().map_or(&books.own.lines, |list| &list.lines);
    let table = keywords::Keywords { names: mending.letters.as_ref().unwrap_or(&books.own.letters).clone() };
    let there = mailbox.messages().filter(|(_, e)| e.place == Place::Cur).map(|(_, e)| &e.name[..]);
    let files: HashMap<&[u8], &[u8]> =
        there.chain(returning.values().map(|n| &n[..])).map(|n| (name::base(n), n)).collect();
    let marks = |line: &Line| {
        let flags = name::parse(files.get(&line.file[..])?).flags;
        let named = flags.iter().filter_map(|&letter| table.name(letter)).map(<[u8]>::to_vec);
        Some(Marks { uid: line.uid, flags: flag::of_letters(flags), keywords: named.collect() })
    };
    lines.iter().filter_map(marks).collect()
}

impl Known {
    /// Plans the steps, each after the one before it; answers which files they write. The last one is the healing, where
    /// something was wrong with the files themselves; the others are only its means.
    fn plan(
        &self,
        job: &mut Job<'_>,
        scene: &Scene<'_>,
        mailbox: &Mailbox,
        owner: Owner,
        steps: &mut Vec<u64>,
    ) -> Result<Vec<RelPath>, EngineError> {
        let mut actions = self.indexes(owner);
        actions.extend(self.texts(job, mailbox, owner));
        let count = actions.len();
        let mut targets = Vec::new();
        for (nth, (file, action)) in actions.into_iter().enumerate() {
            let Ok(target) = container::folder(&mailbox.dir).join(file) else { continue };
            let heals = nth + 1 == count && !self.mending.troubles.is_empty();
            let reason = if heals { self.words() } else { "it has to agree with the mail that comes back".to_owned() };
            let mut step = Step {
                number: 0,
                account: scene.account.name.clone(),
                mailbox: mailbox.name.clone(),
                key: None,
                verdict: if heals { Verdict::Damaged } else { Verdict::Missing(Missing::Lost) },
                target: target.clone(),
                before: self.stat(file).map_or(Fingerprint::Nothing, Fingerprint::Inode),
                action,
                assurance: None,
                why: WHY.to_owned(),
                needs: steps.clone(),
                details: Details { reason, source: self.source.clone(), ..Details::default() },
            };
            job.push_step(&mut step)?;
            steps.push(step.number);
            targets.push(target);
        }
        Ok(targets)
    }

    /// Old indexes go aside. `dovecot.index` is first: without it the logs decide, and the new one is last.
    fn indexes(&self, owner: Owner) -> Vec<(&'static [u8], Action)> {
        let Some(modseq) = self.mending.modseq else { return Vec::new() };
        if let Some(register) = &self.register {
            // The server takes a log without a past for the whole index, whatever lies beside it.
            let seconds = u32::try_from(clock::now().sec).unwrap_or(u32::MAX);
            let bytes = fresh::register(register, seconds, &self.marks, self.storage.as_ref());
            return vec![(
                companion::INDEX_LOG,
                Action::Write { bytes, attrs: self.attrs(owner, companion::INDEX_LOG) },
            )];
        }
        let old =
            companion::INDEX.into_iter().filter(|&file| file != companion::INDEX_LOG && self.stat(file).is_some());
        let mut actions: Vec<(&[u8], Action)> = old.map(|file| (file, Action::Quarantine)).collect();
        let seconds = u32::try_from(clock::now().sec).unwrap_or(u32::MAX);
        let bytes = fresh::log(seconds, self.own.log_seq.saturating_add(1), modseq, &self.marks);
        let attrs = self.attrs(owner, companion::INDEX_LOG);
        actions.push((companion::INDEX_LOG, Action::Write { bytes, attrs }));
        actions
    }

    fn texts(&self, job: &mut Job<'_>, mailbox: &Mailbox, owner: Owner) -> Vec<(&'static [u8], Action)> {
        let mut texts: Vec<(&[u8], Vec<u8>)> = Vec::new();
        if let Some(letters) = &self.mending.letters {
            let table = keywords::write(&keywords::Keywords { names: letters.clone() });
            texts.extend(table.map(|text| (KEYWORDS, text)));
        }
        match self.mending.list.as_ref().map(written) {
            Some(Ok(text)) => texts.push((UIDLIST, text)),
            Some(Err(why)) => {
                job.tally.not_checked += 1;
                job.note(format!("{}: the list of UIDs cannot be made again: {why}", mailbox.dir));
            }
            None => {}
        }
        let write = |(file, bytes)| (file, Action::Write { bytes, attrs: self.attrs(owner, file) });
        texts.into_iter().map(write).collect()
    }

    fn stat(&self, file: &[u8]) -> Option<Stat> {
        self.own.files.iter().find(|(name, _)| name == file).map(|(_, stat)| *stat)
    }

    fn attrs(&self, owner: Owner, file: &[u8]) -> Attrs {
        let old = self.stat(file);
        // One that comes back is as old as it was; one that is written over is new, as clients' caches expect.
        let theirs = self.theirs.iter().find(|(name, _)| name == file && file != companion::INDEX_LOG);
        let mtime = theirs.filter(|_| old.is_none()).map_or_else(clock::now, |(_, stat)| stat.mtime);
        settle(&Witnesses {
            present: old.as_ref(),
            folder: Some(owner),
            source: Some((&Stat { mtime, ..old.unwrap_or_default() }, Some(mtime))),
            ..Witnesses::default()
        })
    }

    /// What is wrong with the files themselves.
    fn words(&self) -> String {
        let mut words = self.mending.troubles.join("; ");
        if self.mending.moved_on > 0 {
            words.push_str(&format!("; {} message(s) that came since get new UIDs", self.mending.moved_on));
        }
        words
    }

    /// Counts and reports what was wrong with the files themselves, and the file that heals it.
    fn tell(&self, job: &mut Job<'_>, scene: &Scene<'_>, mailbox: &Mailbox, healed: Option<&RelPath>) {
        let file = if self.register.is_some() { companion::INDEX_LOG } else { UIDLIST };
        let path = healed.cloned().or_else(|| container::folder(&mailbox.dir).join(file).ok());
        let Some(path) = path.filter(|_| !self.mending.troubles.is_empty()) else { return };
        job.tally.companions_lost += 1;
        job.risk.books += 1;
        let healed = healed.filter(|_| job.options.mode != Mode::Verify);
        let action = healed.map(|_| ActionSummary {
            kind: "write".to_owned(),
            source: self.source.clone(),
            assurance: None,
            why: WHY.to_owned(),
        });
        job.tally.repairable += u64::from(action.is_some());
        let held_back = action.is_some() && job.options.hold_findings;
        let finding = Finding {
            account: scene.account.name.clone(),
            mailbox: mailbox.name.clone(),
            action,
            ..Finding::of_file(Subject::Companion, &job.store.text, path, Verdict::Damaged, self.words())
        };
        if held_back { job.remember(&finding) } else { job.finding(finding) }
    }
}

const WHY: &str = "made again from what the server's files here and in the sources still say, so that messages have \
                   their old UIDs and keywords";

/// The list as the server reads it.
fn written(list: &List) -> Result<Vec<u8>, String> {
    let record = |line: &Line| uidlist::Record { uid: line.uid, fields: line.fields.clone(), name: line.file.clone() };
    let text = uidlist::write(&uidlist::Uidlist {
        version: 3,
        uidvalidity: list.uid_validity,
        head_next_uid: list.next_uid,
        mailbox_guid: list.mailbox_guid,
        extra: list.head.clone(),
        records: list.lines.iter().map(record).collect(),
    });
    let text = text.map_err(|e| e.to_string())?;
    if text.len() as u64 > LIST_MAX { Err("it is too long for a plan".to_owned()) } else { Ok(text) }
}
