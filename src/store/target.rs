//! Which places in a tree of mail a step may write to. A plan file can be edited; this is what it may say.

use super::maildir::{companion, name};
use crate::model::container::STORAGE;
use crate::model::journal::{Change, Intent};
use crate::model::plan::{Action, Slice, Step};
use crate::model::{Attrs, RelPath};
use std::io;

/// Whether the step's target is a message, a companion file or a folder of a Maildir tree, as its action wants.
///
/// # Errors
/// Words for the user.
pub fn permitted(step: &Step) -> Result<(), String> {
    let target = &step.target;
    match &step.action {
        Action::Report => Ok(()),
        Action::MakeFolder { .. } if target.is_root() => Err("may not make the store itself".to_owned()),
        // Servers use the group's set-id bit to share mailboxes.
        Action::MakeFolder { attrs } => plain(target, attrs, 0o2777),
        Action::Restore { attrs, .. } => {
            plain(target, attrs, 0o777)?;
            if is_message(target) || is_companion(target) {
                return Ok(());
            }
            Err(format!("{target} is neither a message in new/ or cur/ nor a file that belongs to a mailbox"))
        }
        Action::Splice { attrs, .. } => {
            plain(target, attrs, 0o777)?;
            match is_message(target) {
                true => Ok(()),
                false => Err(format!("{target} is no message in a file of its own")),
            }
        }
        Action::Rebuild { parts, attrs, .. } => {
            plain(target, attrs, 0o777)?;
            rebuilt(target, parts)
        }
        Action::Write { attrs, .. } => {
            plain(target, attrs, 0o777)?;
            match companion::is_index(target.name()) || companion::is_list(target.name()) || is_map(target) {
                true => Ok(()),
                false => Err(format!("{target} is no file that a server makes")),
            }
        }
        Action::Quarantine if made_again(target) => Ok(()),
        Action::Quarantine => Err(format!("{target} is no index that a server makes again")),
        Action::Rename { .. } if !is_message(target) => {
            Err(format!("{target}: a file can only be given the name of a message"))
        }
        Action::Rename { from, .. } if is_message(from) && name::is_orphan(from.name()) => Ok(()),
        Action::Rename { from, .. } => Err(format!("{from} did not lose its name, so it can be given no other")),
    }
}

/// Whether a file of this path may be put together from such parts. Whether it is an mbox is known only by its content,
/// which is looked at when the step is carried out.
fn rebuilt(target: &RelPath, parts: &[Slice]) -> Result<(), String> {
    let name = target.name();
    let within = target.parent().unwrap_or_default();
    let servers = is_companion(target) || companion::is_index(name) || companion::is_list(name);
    if name.starts_with(b".") || name.is_empty() || servers || matches!(within.name(), b"cur" | b"new" | b"tmp") {
        return Err(format!("{target} is no file that holds messages"));
    }
    let own = |part: &&Slice| matches!(part, Slice::Copy { from, .. } if from.source.is_none());
    match parts.iter().find(own) {
        Some(_) => Err(format!("{target}: a part would be copied from the store itself")),
        None => Ok(()),
    }
}

/// Whether the file that a step renames lies in the account of its target: all accounts may be one user's to the
/// system, so nothing else would keep an edited plan from giving one user's mail to another. `begins` says of a
/// folder whether discovery would see an account in it.
///
/// # Errors
/// Words for the user, also where a folder cannot be looked at.
pub fn stays_home(step: &Step, begins: &mut dyn FnMut(&RelPath) -> io::Result<bool>) -> Result<(), String> {
    let Action::Rename { from, .. } = &step.action else { return Ok(()) };
    let mailbox = |path| super::split_message_path(path).map(|(_, mailbox, _)| mailbox);
    let (Some(there), Some(here)) = (mailbox(from), mailbox(&step.target)) else {
        return Err(format!("{from} is no message"));
    };
    let mut common = here.clone();
    while there.strip_prefix(&common).is_none() {
        common = common.parent().unwrap_or_default();
    }
    // The folders of a Maildir++ say by their names whose they are, also where the one above them is lost.
    let dotted = |dir: &RelPath| {
        let below = dir.strip_prefix(&common).unwrap_or_default();
        below.is_root() || (below.as_bytes().starts_with(b".") && !below.as_bytes().contains(&b'/'))
    };
    if there == here || (dotted(&there) && dotted(&here) && !common.is_root()) {
        return Ok(());
    }
    let mut above = Some(common);
    while let Some(dir) = above {
        match begins(&dir) {
            Ok(true) => return Ok(()),
            Ok(false) => above = dir.parent(),
            Err(error) => return Err(format!("cannot tell whose {from} is: {dir}: {error}")),
        }
    }
    Err(format!("{from} lies in another account than {}", step.target))
}

/// Whether attributes are such as mail has: no mode but `allowed`, and no extended attribute by which the system
/// grants privileges (`security.capability`) or labels.
fn plain(target: &RelPath, attrs: &Attrs, allowed: u32) -> Result<(), String> {
    if attrs.mode & !allowed != 0 {
        return Err(format!("{target}: mode {:o} has more than permission bits", attrs.mode));
    }
    match attrs.xattrs.iter().find(|xattr| !crate::model::message::is_kept(&xattr.name)) {
        Some(xattr) => Err(format!("{target}: {} is no attribute of mail", crate::model::path::escape(&xattr.name))),
        None => Ok(()),
    }
}

/// Whether a change of a journal, which is a file that can be edited too, is made where mail is.
pub fn lawful(intent: &Intent) -> bool {
    let rebuilt = matches!(intent.step.action, Action::Rebuild { .. }) && intent.at == intent.step.target;
    let place = |path: &RelPath| rebuilt || is_message(path) || is_companion(path) || made_again(path);
    let placed = match &intent.change {
        Change::Exchange | Change::Put | Change::Take => place(&intent.at),
        Change::Carry { from } => place(&intent.at) && place(from),
        Change::MakeFolder | Change::RemoveFolder => !intent.at.is_root(),
    };
    placed && permitted(&intent.step).is_ok()
}

/// Whether a path is a file that is one message. What lies among others in a file is written by no step.
pub fn is_message(path: &RelPath) -> bool {
    super::split_message_path(path).is_some_and(|(format, _, name)| !format.is_packed() && !name.starts_with(b"."))
}

/// Whether a file is an index that a server makes again.
fn made_again(path: &RelPath) -> bool {
    companion::is_index(path.name()) || companion::is_mailbox_index(path.name()) || is_map(path)
}

/// Whether a file is the map of a storage that mailboxes share.
fn is_map(path: &RelPath) -> bool {
    companion::is_map(path.name()) && path.parent().is_some_and(|dir| dir.name() == STORAGE)
}

fn is_companion(path: &RelPath) -> bool {
    let restored = |kind: Option<companion::Companion>| kind.is_some_and(companion::Companion::restored);
    restored(companion::in_mailbox(path.name())) || restored(companion::in_home(path.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::{Details, Fingerprint, Location};
    use crate::model::{Attrs, Digest, Encoding, Verdict};

    fn restore(target: &str, mode: u32) -> Step {
        Step {
            number: 1,
            account: "a".into(),
            mailbox: "INBOX".into(),
            key: None,
            verdict: Verdict::Damaged,
            target: RelPath::new(target.as_bytes()).unwrap(),
            before: Fingerprint::Nothing,
            action: Action::Restore {
                from: Location { source: Some(0), path: RelPath::root(), form: Default::default() },
                stored_as: Encoding::Plain,
                attrs: Attrs { mode, ..Attrs::default() },
                content: Digest([0; 32]),
                length: 1,
            },
            assurance: None,
            why: String::new(),
            needs: Vec::new(),
            details: Details::default(),
        }
    }

    #[test]
    fn only_mail_and_what_belongs_to_it() {
        let plain = ["ann/inbox/12", "ann/inbox/.mh_sequences", "ann/export/a b.EML"];
        let server = ["ann/cur/1.a:2,", "ann/.Sent/new/1.a", "ann/dovecot-uidlist", "ann/sieve/x.sieve"];
        for target in server.into_iter().chain(plain) {
            assert!(permitted(&restore(target, 0o600)).is_ok(), "{target}");
        }
        let plain = [
            "ann/inbox/,12",
            "ann/inbox/#12",
            "ann/inbox/012",
            "ann/.a.eml",
            "ann/.eml",
            "ann/12/x",
            "ann/.mailmend/run/1",
            "ann/mail/Work/:mbox/u.1,f=0+1,m=2",
        ];
        let others = ["ann/tmp/1.a", "ann/authorized_keys", "cron.d/x", "ann/cur/.hidden", "dovecot.index"];
        for target in others.into_iter().chain(plain) {
            assert!(permitted(&restore(target, 0o600)).is_err(), "{target}");
        }
        assert!(permitted(&restore("ann/cur/1.a", 0o4755)).is_err());
    }

    #[test]
    fn no_step_hands_out_privileges() {
        let folder = |mode| Step {
            action: Action::MakeFolder { attrs: Attrs { mode, ..Attrs::default() } },
            ..restore("ann/.New", 0)
        };
        assert!(permitted(&folder(0o2770)).is_ok());
        assert!(permitted(&folder(0o4700)).is_err() && permitted(&folder(0o1777)).is_err());
        let with = |name: &str| {
            let mut step = restore("ann/cur/1.a", 0o600);
            if let Action::Restore { attrs, .. } = &mut step.action {
                attrs.xattrs = vec![crate::model::message::Xattr { name: name.into(), value: vec![1] }];
            }
            step
        };
        assert!(permitted(&with("user.comment")).is_ok() && permitted(&with("system.posix_acl_access")).is_ok());
        for name in ["security.capability", "security.selinux", "trusted.overlay.opaque", "system.nfs4_acl", ""] {
            assert!(permitted(&with(name)).is_err(), "{name}");
        }
    }

    fn rename(from: &str, target: &str) -> Step {
        let from = RelPath::new(from.as_bytes()).unwrap();
        let action = Action::Rename { from, inode: Default::default(), content: Digest([0; 32]), length: 1 };
        Step { action, ..restore(target, 0) }
    }

    #[test]
    fn only_what_lost_its_name_gets_one() {
        assert!(permitted(&rename("ann/cur/#12", "ann/cur/1.a:2,")).is_ok());
        for from in ["ann/cur/1.b:2,S", "ann/tmp/#12", "ann/#12", "#12", "ann/cur/#1x", "ann/.ssh/id"] {
            assert!(permitted(&rename(from, "ann/cur/1.a:2,")).is_err(), "{from}");
        }
        assert!(permitted(&rename("ann/cur/#12", "ann/authorized_keys")).is_err());
    }

    #[test]
    fn no_file_goes_from_one_account_to_another() {
        let check = |accounts: &[&str], from, target| {
            let mut begins = |dir: &RelPath| Ok(accounts.contains(&&dir.to_string()[..]));
            stays_home(&rename(from, target), &mut begins).is_ok()
        };
        let nobody: &[&str] = &[];
        assert!(check(nobody, "x/ann/cur/#1", "x/ann/new/1.a"), "one mailbox");
        assert!(check(nobody, "x/ann/.Sent/cur/#1", "x/ann/.Junk/cur/1.a"), "of one Maildir++, its inbox lost");
        assert!(check(nobody, "x/ann/cur/#1", "x/ann/.Junk/cur/1.a"));
        assert!(check(&["x/ann"], "x/ann/Sent/cur/#1", "x/ann/Work/2024/cur/1.a"), "nested");
        assert!(check(&[""], "Sent/cur/#1", "cur/1.a"), "the store is the account");
        for (from, target) in [
            ("x/bob/cur/#1", "x/ann/cur/1.a"),
            ("x/bob/Maildir/cur/#1", "x/ann/Maildir/cur/1.a"),
            ("x/bob/.maildir/cur/#1", "x/ann/.maildir/cur/1.a"),
            ("x/bob/.Sent/cur/#1", "x/ann/.Sent/cur/1.a"),
            ("x/annabel/cur/#1", "x/ann/cur/1.a"),
            (".bob/cur/#1", ".ann/cur/1.a"),
        ] {
            assert!(!check(&["x/ann", "x/bob", "x/ann/Maildir"], from, target), "{from} {target}");
        }
        let mut unread = |_: &RelPath| Err(io::Error::other("cannot be read"));
        assert!(stays_home(&rename("x/bob/cur/#1", "x/ann/cur/1.a"), &mut unread).is_err());
    }

    #[test]
    fn a_journal_too_tells_of_mail_alone() {
        let step = restore("ann/cur/1.a", 0o600);
        let path = |text: &str| RelPath::new(text.as_bytes()).unwrap();
        let intent = |change, at: &str| Intent {
            step: step.clone(),
            change,
            at: path(at),
            slot: Some("1".into()),
            staged: None,
            replaced: None,
        };
        assert!(lawful(&intent(Change::Put, "ann/cur/1.a:2,S")) && lawful(&intent(Change::Take, "ann/subscriptions")));
        assert!(lawful(&intent(Change::Carry { from: path("ann/cur/#12") }, "ann/cur/1.a")));
        assert!(!lawful(&intent(Change::Put, "ann/.ssh/authorized_keys")));
        assert!(!lawful(&intent(Change::Take, "ann/tmp/1.a")));
        assert!(!lawful(&intent(Change::Carry { from: path("cron.d/x") }, "ann/cur/1.a")));
        assert!(!lawful(&intent(Change::RemoveFolder, "")));
    }
}
