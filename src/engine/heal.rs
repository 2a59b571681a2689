//! From harms to steps: finds and reads copies, lets the planner decide, writes the plan.

use super::absent::Shape;
use super::account::{Account, EngineError, Mailbox};
use super::find::{self, Found, Sources};
use super::folders::{self, Folders};
use super::harm::{self, Harm, Haul};
use super::job::{Job, Mode, is_harm};
use super::mending::{Menders, Returning, Scene};
use super::rebuild::{Ward, rebuild};
use super::sdbox;
use super::splice::{self, Spliced};
use super::strays;
use super::{closer, deep};
use super::{frames, mbox};
use crate::model::event::{ActionSummary, Finding};
use crate::model::form::Form;
use crate::model::message::CopyFacts;
use crate::model::plan::{Action, Details, Fingerprint, Location, Step};
use crate::model::wire::Place;
use crate::model::{Assurance, Attrs, Digest, Encoding, FaultKind, Format, Missing, RelPath, Stamp, Stat, Verdict};
use crate::plan::attrs::{Witnesses, settle};
use crate::plan::decide::Present;
use crate::plan::guards::{self, Thinned};
use crate::plan::{Candidate, Case, Choice, Identity, Undecided, decide};
use crate::store;
use crate::store::maildir::{self, Layout, companion, name};
use std::collections::BTreeMap;

/// Everything that was found for one harm.
pub(super) struct Patient {
    pub(super) harm: Harm,
    pub(super) candidates: Vec<Candidate>,
    /// Where each candidate lies.
    pub(super) found: Vec<Found>,
}

/// What is to be done about one harm.
struct Treatment {
    action: Action,
    assurance: Assurance,
    why: String,
    source: String,
    /// Where it goes, below the store.
    target: RelPath,
    /// Steps that must come before.
    needs: Vec<u64>,
}

/// Plans for every harm of an account, reports the rest.
pub fn heal(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    haul: &mut Haul,
    folders: &mut Folders,
) -> Result<(), EngineError> {
    let harms = std::mem::take(&mut haul.harms);
    let mut patients: Vec<Patient> =
        harms.into_iter().map(|harm| Patient { harm, candidates: Vec::new(), found: Vec::new() }).collect();
    patients.sort_by(|a, b| (a.harm.mailbox, &a.harm.key).cmp(&(b.harm.mailbox, &b.harm.key)));
    let gathered = gather(job, mailboxes, sources, &mut patients);
    let held = held(job, mailboxes, &patients);
    menders(job, mailboxes, sources, haul, &patients)?;
    let mut patients = patients.into_iter();
    let done = gathered.and_then(|()| {
        while !job.stopped()
            && let Some(mut patient) = patients.next()
        {
            let compared = deep::compare(job, mailboxes, &mut patient);
            if let Err(error) =
                compared.and_then(|()| treat(job, account, mailboxes, haul, folders, &held, &mut patient))
            {
                haul.harms.push(patient.harm);
                return Err(error);
            }
        }
        Ok(())
    });
    haul.harms.extend(patients.map(|p| p.harm));
    rebuild(job, account, mailboxes, (folders, &mut haul.menders), std::mem::take(&mut haul.wards))?;
    let scene = Scene { account, mailboxes };
    if !job.stopped() {
        haul.menders.rest(job, &scene, folders, &|m| held.contains_key(&m))?;
    }
    strays::report(job, account, mailboxes, haul);
    done
}

/// Reports harms that an interruption or a device that fell silent left without a plan.
pub fn unplanned(job: &mut Job<'_>, account: &Account, mailboxes: &[Mailbox], haul: &mut Haul) {
    for harm in std::mem::take(&mut haul.harms) {
        let finding = harm::finding(job, &account.name, mailboxes, &harm);
        count_and_report(job, finding);
    }
}

/// Looks at the server's own files of every mailbox, in the light of what comes back to it.
fn menders(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    haul: &mut Haul,
    patients: &[Patient],
) -> Result<(), EngineError> {
    let mut returning: BTreeMap<usize, (Vec<Returning>, bool)> = BTreeMap::new();
    let insisted = job.options.undecided == Undecided::Restore;
    for patient in patients.iter().filter(|patient| comes_back(patient, insisted)) {
        let Harm { mailbox, key, name, witnessed, .. } = &patient.harm;
        job.risk.lost(witnessed.says);
        let compared = job.options.against;
        let counted = |found: &&Found| found.identity == Identity::Key && !compared;
        for found in patient.found.iter().filter(counted) {
            let shelf = sources.shelf(job, found.generation, &mailboxes[*mailbox].rel)?;
            if shelf.top().any(|entry| entry.name == companion::INDEX_LOG) {
                let label = job.generations[found.generation].label.clone();
                *job.risk.copies.entry(label).or_default() += 1;
            }
        }
        let (names, expunged) = returning.entry(*mailbox).or_default();
        names.push((key.clone(), name.clone()));
        *expunged |= witnessed.expunged || witnessed.unlisted;
    }
    let whole = |m: &usize| mailboxes[*m].selected && mailboxes[*m].complete();
    // What a replica's server keeps, the store's need not.
    let hidden = if job.against().is_some() { std::mem::take(&mut job.generations) } else { Vec::new() };
    let mut looked = Ok(());
    for m in (0..mailboxes.len()).filter(whole) {
        let (names, expunged) = returning.remove(&m).unwrap_or_default();
        looked = looked.and_then(|()| haul.menders.look(job, sources, mailboxes, m, names, expunged));
    }
    job.generations.extend(hidden);
    looked
}

/// Whether a missing message may come back to its own mailbox.
fn comes_back(patient: &Patient, insisted: bool) -> bool {
    match patient.harm.verdict {
        Verdict::Missing(Missing::Lost) => !patient.candidates.is_empty() || patient.harm.expected().is_some(),
        Verdict::Missing(Missing::Undecided) => insisted && !is_final(&patient.harm),
        _ => false,
    }
}

/// Whether somebody said that its owner deleted it: what is undecided and comes back does so without that.
fn is_final(harm: &Harm) -> bool {
    let accepted = harm.row.as_ref().is_some_and(|row| row.accepted);
    accepted && harm.verdict == Verdict::Missing(Missing::Undecided)
}

/// Mailboxes in which nothing missing may be restored now, with the reason.
fn held(job: &Job<'_>, mailboxes: &[Mailbox], patients: &[Patient]) -> BTreeMap<usize, String> {
    let mut thin: BTreeMap<usize, Thinned> = BTreeMap::new();
    let missing = |p: &&Patient| matches!(p.harm.verdict, Verdict::Missing(Missing::Lost | Missing::Undecided));
    for patient in patients.iter().filter(missing) {
        let mailbox = &mailboxes[patient.harm.mailbox];
        let thin = thin.entry(patient.harm.mailbox).or_insert_with(|| Thinned {
            known: mailbox.rows.values().filter(|row| row.state.on_disk()).count() as u64,
            blank: mailbox.messages().next().is_none(),
            insisted: job.options.undecided != Undecided::Report,
            ..Thinned::default()
        });
        thin.gone += 1;
        thin.held += u64::from(matches!(choose(patient), Choice::Take { .. }));
    }
    thin.into_iter().filter_map(|(mailbox, thin)| Some((mailbox, guards::thinned(&thin)?))).collect()
}

/// Whether copies of this message are worth looking for.
fn curable(harm: &Harm) -> bool {
    if is_final(harm) {
        return false;
    }
    // The message's own file is whole, and so would be no other.
    let apart = |facts: &CopyFacts| facts.evidence.faults().iter().any(|fault| fault.kind == FaultKind::Attachment);
    if harm.facts.as_ref().is_some_and(apart) {
        return false;
    }
    match harm.verdict {
        Verdict::Damaged | Verdict::Unreadable | Verdict::Missing(Missing::Lost | Missing::Undecided) => true,
        // A copy may show by the sender's signature that this one is damaged.
        Verdict::Suspect => true,
        Verdict::Undetermined => harm.expected().is_some(),
        Verdict::Intact(_) | Verdict::Missing(_) => false,
    }
}

/// Reads candidates generation by generation, in the order of trust, until one is identical. Without a recorded
/// digest all of them are read: the planner compares them.
fn gather(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    sources: &mut Sources,
    patients: &mut [Patient],
) -> Result<(), EngineError> {
    for generation in 0..job.generations.len() {
        let mut wanted: Vec<(usize, Found, Option<Digest>)> = Vec::new();
        for (index, patient) in patients.iter().enumerate().filter(|(_, p)| curable(&p.harm)) {
            if job.stopped() {
                return Ok(());
            }
            let expected = patient.harm.expected();
            if expected.is_some() && patient.candidates.iter().any(|c| c.facts.digest == expected) {
                continue;
            }
            let rel = &mailboxes[patient.harm.mailbox].rel;
            // A file of the same size counts only by digest or by equal bytes.
            let size = patient.harm.size().filter(|_| patient.harm.present || expected.is_some());
            let mailbox = &mailboxes[patient.harm.mailbox];
            let format = mailbox.format;
            let found = match frames::named(mailbox, &patient.harm).and_then(|named| named.guid) {
                Some(guid) => sources.find_by_guid(job, generation, (rel, &patient.harm.key), guid)?,
                None => sources.find(job, generation, rel, &patient.harm.key, size)?,
            };
            let foreign = sources.find_foreign(job, generation, &patient.harm, format)?;
            wanted.extend(found.into_iter().chain(foreign).map(|f| (index, f, expected)));
        }
        let lasts = |patient: &Patient| mailboxes[patient.harm.mailbox].store().keys_last();
        let (rank, label) = (job.generations[generation].rank, job.generations[generation].label.clone());
        for (index, found, result) in find::read(job, generation, wanted) {
            match result {
                Ok(facts) => {
                    // Another message may bear the name by now: there the two must call themselves the same.
                    let patient = &patients[index];
                    let own = patient.harm.facts.as_ref().filter(|_| patient.harm.present);
                    let named = lasts(patient) || own.is_none_or(|own| find::same_message(own, &facts));
                    let identity = if named { found.identity } else { Identity::Size };
                    patients[index].candidates.push(Candidate {
                        rank,
                        source: label.clone(),
                        identity,
                        facts,
                        outside: None,
                    });
                    patients[index].found.push(found);
                }
                // A copy that vanished while a source rotates is no copy.
                Err(trouble) if trouble.errno == Some(2) => {}
                Err(trouble) => job.not_checked(&trouble),
            }
        }
    }
    Ok(())
}

/// Decides on one patient and reports it.
fn treat(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    haul: &mut Haul,
    folders: &mut Folders,
    held: &BTreeMap<usize, String>,
    patient: &mut Patient,
) -> Result<(), EngineError> {
    let Some((treatment, refused)) = treatment(job, account, mailboxes, haul, patient)? else { return Ok(()) };
    let mut finding = harm::finding(job, &account.name, mailboxes, &patient.harm);
    let held_back =
        patient.harm.verdict == Verdict::Missing(Missing::Undecided) && job.options.undecided == Undecided::Report;
    let held = held.get(&patient.harm.mailbox).filter(|_| matches!(patient.harm.verdict, Verdict::Missing(_)));
    let insisted = job.options.both_sides || job.options.undecided != Undecided::Report;
    let undone = patient.harm.witnessed.deleted_at_partner && !insisted;
    let partner = undone.then(|| {
        "held: the loss was noticed and synced, so that a source has deleted the message too, and the next sync would \
         delete it here again; stop the sync and name the other side with --peer, or end the sync for good and insist \
         with --undecided restore"
            .to_owned()
    });
    let far = matches!(patient.harm.verdict, Verdict::Missing(_))
        .then(|| haul.menders.out_of_reach(job, patient.harm.mailbox))
        .flatten()
        .filter(|_| job.options.undecided == Undecided::Report);
    let unfit = unfit(job, mailboxes, &haul.menders, &patient.harm);
    let held = held.or(partner.as_ref()).or(far.as_ref()).or(unfit.as_ref());
    match (treatment, held) {
        (Some(treatment), Some(why)) => {
            job.tally.held += 1;
            finding.action = Some(ActionSummary {
                kind: "report".to_owned(),
                source: Some(treatment.source),
                assurance: Some(treatment.assurance),
                why: why.clone(),
            });
            count_and_report(job, finding);
        }
        (Some(treatment), None) if held_back => {
            finding.action = Some(ActionSummary {
                kind: "report".to_owned(),
                source: Some(treatment.source),
                assurance: Some(treatment.assurance),
                why: format!("--undecided restore would put it back ({})", treatment.why),
            });
            count_and_report(job, finding);
        }
        (Some(mut treatment), None) => {
            let mailbox = &mailboxes[patient.harm.mailbox];
            if mailbox.format.is_packed() {
                haul.wards.extend(ward(patient, finding, treatment));
                return Ok(());
            }
            let returns = store::split_message_path(&treatment.target).is_some_and(|(_, dir, _)| dir == mailbox.dir);
            if returns && matches!(patient.harm.verdict, Verdict::Missing(_)) {
                let scene = Scene { account, mailboxes };
                treatment.needs = haul.menders.needs(job, &scene, folders, patient.harm.mailbox)?;
            }
            if job.options.mode == Mode::Repair {
                // What its journal does not show as done, it owes.
                haul.no_longer_missed(patient.harm.mailbox, &patient.harm.key);
            }
            plan(job, account, mailboxes, folders, patient, finding, treatment)?;
        }
        (None, _) => {
            if !refused.is_empty() && !job.generations.is_empty() {
                finding.action =
                    Some(ActionSummary { kind: "report".to_owned(), source: None, assurance: None, why: refused });
            }
            count_and_report(job, finding);
        }
    }
    Ok(())
}

/// What is to be done about one patient, and else why nothing is; `None` where nothing has to be, after all.
fn treatment(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    haul: &mut Haul,
    patient: &mut Patient,
) -> Result<Option<(Option<Treatment>, String)>, EngineError> {
    let mut refused = String::new();
    let mut treatment = None;
    if curable(&patient.harm) {
        treatment = home_again(job, mailboxes, haul, &patient.harm);
        if treatment.is_none() {
            let mut choice = choose(patient);
            if matches!(choice, Choice::Refuse { .. }) && closer::look(job, mailboxes, patient)? {
                if patient.harm.verdict.is_intact() {
                    // It came at another try.
                    haul.changes[patient.harm.mailbox].remove(&patient.harm.key);
                    job.tally.count(patient.harm.verdict);
                    return Ok(None);
                }
                choice = choose(patient);
            }
            match choice {
                Choice::Take { index, assurance, why } => {
                    // A message that is thought missing, but whose content stands under a new name, was moved.
                    let content = patient.candidates[index].facts.digest;
                    if let (Verdict::Missing(_), Some(&(m, _))) =
                        (patient.harm.verdict, content.and_then(|d| haul.fresh.get(&d)))
                    {
                        patient.harm.verdict = Verdict::Missing(Missing::Moved);
                        haul.no_longer_missed(patient.harm.mailbox, &patient.harm.key);
                        patient.harm.reason = format!("now in {}", mailboxes[m].name);
                    } else {
                        treatment = Some(restore(job, account, mailboxes, patient, index, assurance, why)?);
                    }
                }
                Choice::Refuse { why } => match together(job, mailboxes, patient, why)? {
                    Ok(whole) => treatment = Some(whole),
                    Err(why) => refused = why,
                },
            }
        }
    }
    Ok(Some((treatment, refused)))
}

/// What several damaged copies come to; else why nothing is done.
fn together(
    job: &mut Job<'_>,
    mailboxes: &[Mailbox],
    patient: &Patient,
    why: String,
) -> Result<Result<Treatment, String>, EngineError> {
    Ok(match splice::splice(job, mailboxes, patient)? {
        Spliced::Whole { action, source, why } => {
            let (assurance, target) = (Assurance::Identical, patient.harm.path(mailboxes));
            Ok(Treatment { action, assurance, why, source, target, needs: Vec::new() })
        }
        Spliced::Lacking(lacking) => Err(format!("{why}; {lacking}")),
        Spliced::Nothing => Err(why),
    })
}

/// Why a missing message cannot simply come back to a mailbox of its format.
fn unfit(job: &Job<'_>, mailboxes: &[Mailbox], menders: &Menders, harm: &Harm) -> Option<String> {
    let (mailbox, undecided) = (&mailboxes[harm.mailbox], job.options.undecided);
    if let Some(why) = frames::holds_back(mailbox, harm, undecided == Undecided::Folder) {
        return Some(why.to_owned());
    }
    if !matches!(harm.verdict, Verdict::Missing(_)) {
        return taken(mailbox, harm).map(str::to_owned);
    }
    let remade = menders.remakes(harm.mailbox);
    let held = sdbox::holds_back(mailbox, harm, undecided, remade).or(mbox::holds_back(mailbox, undecided));
    held.or_else(|| taken(mailbox, harm)).map(str::to_owned)
}

/// Why a missing message cannot come back under its name.
fn taken(mailbox: &Mailbox, harm: &Harm) -> Option<&'static str> {
    let taken = !harm.present && mailbox.files.contains_key(&harm.key);
    taken.then_some("held: another message has its number by now")
}

/// A message that is put right together with others of its file.
fn ward(patient: &Patient, finding: Finding, treatment: Treatment) -> Option<Ward> {
    let Treatment { action: Action::Restore { from, content, length, .. }, assurance, why, source, .. } = treatment
    else {
        return None;
    };
    Some(Ward { harm: patient.harm.clone(), finding, from, content, length, assurance, why, source })
}

/// Counts a finding under its verdict, or as accepted, and reports it unless it is of no interest to anybody.
pub(super) fn count_and_report(job: &mut Job<'_>, finding: Finding) {
    let before = job.tally.clone();
    job.tally.count(finding.verdict);
    if finding.verdict == Verdict::Undetermined && finding.reason.starts_with("a check") {
        job.tally.not_checked += 1;
    }
    let quiet = matches!(finding.verdict, Verdict::Missing(Missing::Moved | Missing::Deleted));
    if quiet {
        return;
    }
    if is_harm(finding.verdict) && job.is_accepted(&finding) {
        let own_errors = job.tally.own_errors;
        job.tally = before;
        job.tally.own_errors = own_errors;
        job.tally.accepted += 1;
    }
    job.finding(finding);
}

fn choose(patient: &Patient) -> Choice {
    let harm = &patient.harm;
    let present = harm.facts.as_ref().filter(|_| harm.present);
    decide(&Case {
        verdict: harm.verdict,
        expected: harm.expected(),
        present: present.map(Present::of),
        candidates: patient.candidates.clone(),
    })
}

/// A file that belongs to nobody and holds exactly the missing message goes back under its name.
fn home_again(job: &Job<'_>, mailboxes: &[Mailbox], haul: &mut Haul, harm: &Harm) -> Option<Treatment> {
    if harm.present {
        return None;
    }
    let expected = harm.expected()?;
    let stray =
        haul.strays.iter_mut().find(|s| !s.claimed && s.facts.digest == Some(expected) && s.is_orphan(mailboxes))?;
    stray.claimed = true;
    let from = mailboxes[stray.mailbox].path(&mailboxes[stray.mailbox].listing.entries[stray.entry])?;
    Some(Treatment {
        why: format!("{from} holds the recorded content"),
        action: Action::Rename { from, inode: stray.facts.stat, content: expected, length: stray.facts.length },
        assurance: Assurance::Identical,
        source: job.store.text.clone(),
        target: harm.path(mailboxes),
        needs: Vec::new(),
    })
}

/// The restore that a chosen candidate makes possible: bytes, name, flags, owner, mode and received date.
fn restore(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    patient: &Patient,
    index: usize,
    assurance: Assurance,
    why: String,
) -> Result<Treatment, EngineError> {
    let (harm, found, facts) = (&patient.harm, &patient.found[index], &patient.candidates[index].facts);
    let generation = job.generations[found.generation].clone();
    let mailbox = &mailboxes[harm.mailbox];
    let named = mailbox.store().delivered(&harm.name);
    let kept = mailbox.format != Format::Maildir || name::received(&found.name, facts.stat.mtime) == facts.stat.mtime;
    // A server that notes the date in the file does not keep it in the file's time.
    let noted = facts.marks.as_ref().filter(|_| mailbox.format != Format::Sdbox);
    let received = noted.map_or(facts.stat.mtime, |marks| Stamp { sec: marks.received, nsec: 0 });
    let present = harm.facts.as_ref().filter(|f| harm.present && f.stat.ino != 0).map(|f| f.stat);
    let attrs: Attrs = settle(&Witnesses {
        present: present.as_ref(),
        folder: folders::standing(mailboxes, mailbox),
        catalog: harm.row.as_ref().map(|r| &r.attrs),
        given: job.options.owner,
        source: Some((&facts.stat, kept.then_some(received))),
        named,
        // Those of the file to be replaced and of the copy are read when the step is carried out.
        xattrs: &[],
    });
    let stored_as = stored_as(harm, facts, mailbox.format);
    let target = target(job, account, mailboxes, patient, found);
    let foreign = mailbox.format == Format::Sdbox && facts.encoding != Encoding::Sdbox;
    let frame = harm.facts.as_ref().and_then(|own| own.marks.clone()).filter(|_| foreign);
    let form = Form { frame, ..found.form.clone() };
    let from = Location { source: Some(found.generation as u32), path: found.path.clone(), form };
    let content = facts.digest.ok_or_else(|| EngineError::Refused("a copy without a digest was chosen".to_owned()))?;
    Ok(Treatment {
        action: Action::Restore { from, stored_as, attrs, content, length: facts.length },
        assurance,
        why,
        source: generation.label,
        target,
        needs: Vec::new(),
    })
}

/// In which form the message is stored again: as it stands, else as it was recorded, else as the source has it.
fn stored_as(harm: &Harm, source: &CopyFacts, format: Format) -> Encoding {
    let present = harm.facts.as_ref().filter(|f| harm.present && f.stat.size > 0).map(|f| f.encoding);
    let recorded = harm.row.as_ref().map(|r| r.encoding);
    // A zeroed beginning shows no magic: there, what was recorded knows better than what is left.
    let wanted = present.filter(|&e| e != Encoding::Plain).or(recorded).unwrap_or(source.encoding);
    match wanted {
        _ if format == Format::Sdbox => Encoding::Sdbox,
        // A frame that a copy has is its own server's.
        Encoding::Sdbox => Encoding::Plain,
        Encoding::Crypted => source.encoding,
        wanted => wanted,
    }
}

/// Where the message goes: its own name, or a new mailbox for undecided ones if the user wants that. A missing
/// message gets the newest known flags: the catalog's, or those of a source that is newer.
fn target(job: &Job<'_>, account: &Account, mailboxes: &[Mailbox], patient: &Patient, found: &Found) -> RelPath {
    let harm = &patient.harm;
    let mailbox = &mailboxes[harm.mailbox];
    let (mut place, mut file) = (harm.place, harm.name.clone());
    if !harm.present && found.identity == Identity::Key {
        let seen = harm.row.as_ref().map(|r| r.last_seen);
        let newer = job
            .generations
            .iter()
            .enumerate()
            .filter(|(_, g)| seen.is_none_or(|seen| g.time > seen))
            .max_by_key(|(_, g)| g.time)
            .and_then(|(n, _)| patient.found.iter().find(|f| f.generation == n && f.identity == Identity::Key));
        if let Some(newer) = newer {
            place = newer.place;
            file = if mailbox.key(&newer.name) == harm.key {
                newer.name.clone()
            } else {
                // dsync named the copy: only its flags are news.
                [name::base(&harm.name), &newer.name[name::base(&newer.name).len()..]].concat()
            };
        }
    }
    let undecided = harm.verdict == Verdict::Missing(Missing::Undecided);
    if undecided && job.options.undecided == Undecided::Folder {
        let dir = recovered_folder(account, mailboxes, mailbox, &job.run);
        return store::message_path(mailbox.format, &dir, Place::Cur, &file).unwrap_or_else(|| harm.path(mailboxes));
    }
    store::message_path(mailbox.format, &mailbox.dir, place, &file).unwrap_or_else(|| harm.path(mailboxes))
}

/// The new mailbox `Recovered.DATE` of an account, in the account's own layout. Where names are not the account's but the
/// mailbox's, each has its own in it.
fn recovered_folder(account: &Account, mailboxes: &[Mailbox], mailbox: &Mailbox, run: &str) -> RelPath {
    let date = run.get(..8).unwrap_or(run);
    if mailbox.format != Format::Maildir {
        let above = account.dir.join(format!("Recovered.{date}").as_bytes()).unwrap_or_default();
        return above.join_path(&mailbox.rel);
    }
    let name = match maildir::layout(mailboxes.iter().filter(|m| m.folder.is_some()).map(|m| &m.rel)) {
        Layout::PlusPlus => format!(".Recovered.{date}"),
        Layout::Nested => format!("Recovered.{date}"),
    };
    account.dir.join(name.as_bytes()).unwrap_or_else(|_| account.dir.clone())
}

/// Writes the step, with the folders that it needs before it, and reports or holds back its finding.
fn plan(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    folders: &mut Folders,
    patient: &Patient,
    mut finding: Finding,
    treatment: Treatment,
) -> Result<(), EngineError> {
    let harm = &patient.harm;
    let present = standing(job, mailboxes, harm)?;
    if let Some((format, mailbox, _)) = store::split_message_path(&treatment.target) {
        folders.need(job, account, mailboxes, (format, &mailbox))?;
    }
    let before = match present {
        Some(stat) => Fingerprint::Inode(stat),
        None => Fingerprint::Nothing,
    };
    finding.action = Some(ActionSummary {
        kind: treatment.action.name().to_owned(),
        source: Some(treatment.source.clone()),
        assurance: Some(treatment.assurance),
        why: treatment.why.clone(),
    });
    let mut step = Step {
        number: 0,
        account: account.name.clone(),
        mailbox: finding.mailbox.clone(),
        key: Some(harm.key.clone()),
        verdict: harm.verdict,
        target: treatment.target,
        before,
        action: treatment.action,
        assurance: Some(treatment.assurance),
        why: treatment.why,
        needs: treatment.needs,
        details: details(&finding, harm.facts.as_ref(), treatment.source),
    };
    job.push_step(&mut step)?;
    job.tally.count(harm.verdict);
    job.tally.repairable += 1;
    if job.options.hold_findings {
        job.remember(&finding);
    } else {
        job.finding(finding);
    }
    Ok(())
}

/// The file that stands at the target now. One that could not be opened is known by its `lstat` alone.
fn standing(job: &mut Job<'_>, mailboxes: &[Mailbox], harm: &Harm) -> Result<Option<Stat>, EngineError> {
    if !harm.present {
        return Ok(None);
    }
    if let Some(facts) = harm.facts.as_ref().filter(|f| f.stat.ino != 0) {
        return Ok(Some(facts.stat));
    }
    let root = job.store.root;
    Ok(job.store_lane().stat(root, &harm.path(mailboxes))?.ok().map(|stated| stated.stat))
}

pub(super) fn details(finding: &Finding, facts: Option<&CopyFacts>, source: String) -> Details {
    Details {
        reason: finding.reason.clone(),
        source: Some(source),
        uid: finding.uid,
        size: finding.size,
        internal_date: finding.internal_date,
        envelope: finding.envelope.clone(),
        evidence: facts.map(|f| f.evidence.clone()),
        device: finding.device.clone(),
    }
}

/// Mailbox folders that come back with this plan, so that their companion files come back too.
pub fn returning(job: &Job<'_>, account: &Account, mailboxes: &[Mailbox], haul: &Haul, shape: &Shape) -> Vec<RelPath> {
    let restores = |harm: &&Harm| match harm.verdict {
        Verdict::Missing(Missing::Lost) => true,
        Verdict::Missing(Missing::Undecided) => job.options.undecided == Undecided::Restore,
        _ => false,
    };
    let mut dirs: Vec<RelPath> = haul.harms.iter().filter(restores).map(|h| mailboxes[h.mailbox].dir.clone()).collect();
    if shape.blank && !shape.unknown {
        dirs.extend(mailboxes.iter().filter(|m| m.selected && m.expected && m.folder.is_none()).map(|m| m.dir.clone()));
    }
    if !dirs.is_empty() {
        dirs.push(account.dir.clone());
    }
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Plans the folders of a blank account that held no message, for clients expect them, and those that an earlier
/// repair could not make.
pub fn empty_folders(
    job: &mut Job<'_>,
    account: &Account,
    mailboxes: &[Mailbox],
    shape: &Shape,
    folders: &mut Folders,
) -> Result<(), EngineError> {
    if job.plan.is_none() {
        return Ok(());
    }
    let blank = shape.blank && !shape.unknown;
    let comes_back = |m: &&Mailbox| {
        let missing = m.folder.is_none() && ((blank && m.expected) || job.resumed.owes(&m.dir));
        let owed = |sub: &&[u8]| m.dir.join(sub).is_ok_and(|path| job.resumed.owes(&path));
        m.selected && (missing || m.store().subfolders().iter().any(owed))
    };
    for mailbox in mailboxes.iter().filter(comes_back).collect::<Vec<_>>() {
        folders.need(job, account, mailboxes, (mailbox.format, &mailbox.dir))?;
    }
    Ok(())
}
