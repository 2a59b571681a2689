//! Files that a server keeps beside the mail: which of them are the user's, which the server makes again.

/// What a file beside the mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Companion {
    /// UIDs of the messages (`dovecot-uidlist`, `courierimapuiddb`).
    UidList,
    /// Names of the keyword letters.
    Keywords,
    /// Who may do what with the mailbox.
    Acl,
    /// Metadata that clients stored (`dovecot-attributes`).
    Attributes,
    Subscriptions,
    /// Which messages of an MH folder are unseen, flagged and so on; programs take it away when none is.
    Sequences,
    /// The empty file that marks a Maildir++ folder.
    Marker,
    /// The next UIDVALIDITY.
    UidValidity,
    /// A filter that the user wrote.
    Sieve,
    /// The server recalculates or rebuilds it: `maildirsize`, indexes, logs, locks, compiled filters.
    Rebuilt,
}

impl Companion {
    /// Whether it is put back where it is lost.
    pub fn restored(self) -> bool {
        self != Companion::Rebuilt
    }

    /// Whether its owner can delete it through a server or a client, so that its absence alone shows no loss.
    pub fn owner_may_delete(self) -> bool {
        matches!(self, Companion::Sieve | Companion::Acl | Companion::Attributes | Companion::Sequences)
    }

    /// Whether its presence shows that a server still knows the mailbox: a mailbox that lost its messages
    /// and these was not emptied by its owner.
    pub fn is_witness(self) -> bool {
        matches!(self, Companion::UidList)
    }

    pub fn words(self) -> &'static str {
        match self {
            Companion::UidList => "list of UIDs",
            Companion::Keywords => "list of keyword names",
            Companion::Acl => "access list",
            Companion::Attributes => "file of mailbox attributes",
            Companion::Subscriptions => "list of subscriptions",
            Companion::Sequences => "list of MH sequences",
            Companion::Marker => "folder marker",
            Companion::UidValidity => "record of UIDVALIDITY",
            Companion::Sieve => "mail filter",
            Companion::Rebuilt => "server's own file",
        }
    }
}

/// What the file `name` in a mailbox folder is; `None` for what nobody knows.
pub fn in_mailbox(name: &[u8]) -> Option<Companion> {
    Some(match name {
        b"dovecot-uidlist" | b"courierimapuiddb" => Companion::UidList,
        b"dovecot-keywords" => Companion::Keywords,
        b"dovecot-acl" | b"courierimapacl" => Companion::Acl,
        b"dovecot-attributes" => Companion::Attributes,
        b"subscriptions" | b".subscriptions" | b"courierimapsubscribed" => Companion::Subscriptions,
        super::super::mh::SEQUENCES => Companion::Sequences,
        b"maildirfolder" => Companion::Marker,
        b"maildirsize" => Companion::Rebuilt,
        _ if name.starts_with(b"dovecot-uidvalidity") => Companion::UidValidity,
        _ if name.starts_with(b"dovecot.") || name.starts_with(b"dovecot-") => Companion::Rebuilt,
        _ if name.starts_with(b".dovecot.sieve") || name.ends_with(b".sieve") => sieve(name),
        _ if name.starts_with(b".dovecot.") || name.starts_with(b".temp.") => Companion::Rebuilt,
        _ => return None,
    })
}

/// Whether a file is one of Dovecot's indexes of one mailbox: made again from the mail and the lists, except for what
/// only they know (who expunged what, how often the mailbox changed).
pub fn is_index(name: &[u8]) -> bool {
    INDEX.contains(&name)
}

/// Whether a file is the index of an account's mailboxes.
pub fn is_mailbox_index(name: &[u8]) -> bool {
    MAILBOX_INDEX.contains(&name)
}

/// Whether a file is the map of a storage that mailboxes share (mdbox), or its log.
pub fn is_map(name: &[u8]) -> bool {
    MAP.contains(&name)
}

/// The index of the map and its logs, oldest first.
pub const MAP: [&[u8]; 3] = [b"dovecot.map.index", b"dovecot.map.index.log.2", MAP_LOG];
pub const MAP_LOG: &[u8] = b"dovecot.map.index.log";

pub const MAILBOX_INDEX: [&[u8]; 4] =
    [b"dovecot.list.index", b"dovecot.list.index.cache", b"dovecot.list.index.log.2", b"dovecot.list.index.log"];

/// `dovecot.index` is first: without it the logs decide, and they are next.
pub const INDEX: [&[u8]; 4] = [b"dovecot.index", b"dovecot.index.cache", b"dovecot.index.log.2", INDEX_LOG];
pub const INDEX_LOG: &[u8] = b"dovecot.index.log";

/// Whether a file is one of the lists that a server keeps of a mailbox.
pub fn is_list(name: &[u8]) -> bool {
    matches!(name, b"dovecot-uidlist" | b"dovecot-keywords")
}

/// What the file `name` in an account's home or its `sieve` folder is.
pub fn in_home(name: &[u8]) -> Option<Companion> {
    if name == b".dovecot.sieve" || name.ends_with(b".sieve") { Some(sieve(name)) } else { None }
}

fn sieve(name: &[u8]) -> Companion {
    if name.ends_with(b".svbin") || name.ends_with(b".log") { Companion::Rebuilt } else { Companion::Sieve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_files_are_restored_and_the_servers_left() {
        for name in [
            "dovecot-uidlist",
            "dovecot-keywords",
            "subscriptions",
            "dovecot-acl",
            "dovecot-attributes",
            "maildirfolder",
        ] {
            assert!(in_mailbox(name.as_bytes()).unwrap().restored(), "{name}");
        }
        for name in
            ["maildirsize", "dovecot.index", "dovecot.index.log.2", "dovecot-uidlist.lock", "dovecot.list.index"]
        {
            assert!(!in_mailbox(name.as_bytes()).unwrap().restored(), "{name}");
        }
        assert_eq!(in_mailbox(b"#12345"), None);
        assert_eq!(in_home(b".dovecot.sieve"), Some(Companion::Sieve));
        assert_eq!(in_home(b".bashrc"), None);
    }
}
