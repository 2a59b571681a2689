//! Which places in a Maildir tree a step may write to. A plan file can be edited; this is what it may say.

use super::companion;
use crate::model::RelPath;
use crate::model::plan::{Action, Step};

/// Whether the step's target is a message, a companion file or a folder of a Maildir tree, as its action wants.
///
/// # Errors
/// Words for the user.
pub fn permitted(step: &Step) -> Result<(), String> {
    let target = &step.target;
    match &step.action {
        Action::Report => Ok(()),
        Action::MakeFolder { .. } if target.is_root() => Err("may not make the store itself".to_owned()),
        Action::MakeFolder { .. } => Ok(()),
        Action::Restore { attrs, .. } => {
            if attrs.mode & !0o777 != 0 {
                return Err(format!("{target}: mode {:o} has more than permission bits", attrs.mode));
            }
            if is_message(target) || is_companion(target) {
                return Ok(());
            }
            Err(format!("{target} is neither a message in new/ or cur/ nor a file that belongs to a mailbox"))
        }
        Action::Rename { from, .. } => match (is_message(target), from.parent()) {
            (true, Some(_)) => Ok(()),
            _ => Err(format!("{target}: a file can only be given the name of a message")),
        },
    }
}

/// Whether a path is a message in `new` or `cur`.
pub fn is_message(path: &RelPath) -> bool {
    super::split_message_path(path).is_some_and(|(_, name)| !name.starts_with(b"."))
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
                from: Location { source: Some(0), path: RelPath::root() },
                stored_as: Encoding::Plain,
                attrs: Attrs { mode, ..Attrs::default() },
                content: Digest([0; 32]),
                length: 1,
            },
            assurance: None,
            why: String::new(),
            details: Details::default(),
        }
    }

    #[test]
    fn only_mail_and_what_belongs_to_it() {
        for target in ["ann/cur/1.a:2,", "ann/.Sent/new/1.a", "ann/dovecot-uidlist", "ann/sieve/x.sieve"] {
            assert!(permitted(&restore(target, 0o600)).is_ok(), "{target}");
        }
        for target in ["ann/tmp/1.a", "ann/authorized_keys", "cron.d/x", "ann/cur/.hidden", "dovecot.index"] {
            assert!(permitted(&restore(target, 0o600)).is_err(), "{target}");
        }
        assert!(permitted(&restore("ann/cur/1.a", 0o4755)).is_err());
    }
}
