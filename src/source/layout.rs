//! Where a server keeps lists and indexes, in Dovecot's own terms: `maildir:/var/vmail/%d/%n/Maildir:INDEX=/var/index/%d/%n:CONTROL=…`
//! (mail_location). Pure: opens nothing.

use crate::model::RelPath;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of an account's folder that a template's letter stands for.
type Values = BTreeMap<char, Vec<u8>>;

/// What follows `--layout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// As it was given.
    text: String,
    mail: String,
    control: Option<String>,
    index: Option<String>,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A kind of files that may be kept apart from the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// Lists of UIDs, tables of keywords.
    Control,
    /// Indexes and their logs.
    Index,
}

impl Layout {
    /// # Errors
    /// Words for the user.
    pub fn parse(text: &str) -> Result<Layout, String> {
        let text = text.trim().trim_start_matches("mail_location").trim_start().trim_start_matches('=').trim_start();
        let rest = text.strip_prefix("maildir:").ok_or("it has to begin with maildir:")?;
        let mut parts = rest.split(':');
        let mail = parts.next().unwrap_or_default();
        let mut layout = Layout { text: text.to_owned(), mail: checked(mail)?, control: None, index: None };
        for part in parts {
            match part.split_once('=') {
                Some(("CONTROL", place)) => layout.control = Some(checked(place)?),
                // Indexes that are kept in memory are nowhere.
                Some(("INDEX", "MEMORY")) => {}
                Some(("INDEX", place)) => layout.index = Some(checked(place)?),
                Some(("LAYOUT", "Maildir++" | "maildir++")) => {}
                Some(("LAYOUT", other)) => return Err(format!("LAYOUT={other} is not supported")),
                _ => {}
            }
        }
        for apart in [Apart::Control, Apart::Index] {
            if let (Some(template), None) = (layout.template(apart), layout.base(apart)) {
                return Err(format!("{template}: no folder is common to all accounts; that is not supported"));
            }
        }
        Ok(layout)
    }

    /// The folder that holds these files for all accounts: as far as it has no variable.
    pub fn base(&self, apart: Apart) -> Option<PathBuf> {
        let template = self.template(apart)?;
        let fixed = template.split('/').take_while(|part| !part.contains('%'));
        Some(PathBuf::from(fixed.collect::<Vec<_>>().join("/"))).filter(|base| base.is_absolute())
    }

    /// Where, below that folder, an account has them: `mail` is the account's folder, absolute. `None` where that is not
    /// as the layout says.
    pub fn below(&self, apart: Apart, mail: &Path) -> Option<RelPath> {
        let template = self.template(apart)?;
        let values = values(&self.mail, mail.as_os_str().as_bytes())?;
        let path = filled(template, &values)?;
        let below = Path::new(OsStr::from_bytes(&path)).strip_prefix(self.base(apart)?).ok()?.to_owned();
        RelPath::new(below.as_os_str().as_bytes()).ok()
    }

    fn template(&self, apart: Apart) -> Option<&str> {
        match apart {
            Apart::Control => self.control.as_deref(),
            Apart::Index => self.index.as_deref(),
        }
    }
}

/// The folder of a mailbox where only lists or indexes are: even the INBOX has its own.
pub fn folder(account: &RelPath, mailbox: &RelPath) -> Option<RelPath> {
    if mailbox.is_root() { account.join(b".INBOX").ok() } else { Some(account.join_path(mailbox)) }
}

/// A template of which everything is understood.
fn checked(template: &str) -> Result<String, String> {
    let template = template.replacen('~', "%h", usize::from(template.starts_with('~')));
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter == '%' {
            match letters.next() {
                Some('u' | 'n' | 'd' | 'h') => {}
                other => return Err(format!("%{} in {template} is not supported", other.unwrap_or(' '))),
            }
        }
    }
    if !template.starts_with('/') && !template.starts_with("%h") {
        return Err(format!("{template} is no absolute path"));
    }
    Ok(template.trim_end_matches('/').to_owned())
}

/// What the variables stand for, if the template fits the path. All but the home stay within a component.
fn values(template: &str, path: &[u8]) -> Option<Values> {
    let mut found = Values::new();
    let mut template = template.as_bytes();
    let mut path = path;
    if let Some(tail) = template.strip_prefix(b"%h") {
        // The home is what stands before the tail, which has no variable of its own in any sane set-up.
        let home = path.strip_suffix(tail)?;
        found.insert('h', home.to_vec());
        return Some(found);
    }
    while let Some((&first, rest)) = template.split_first() {
        if first != b'%' {
            path = path.strip_prefix(&[first])?;
            template = rest;
            continue;
        }
        let (&letter, rest) = rest.split_first()?;
        let end = match rest.first() {
            None => path.len(),
            Some(next) => path.iter().position(|byte| byte == next)?,
        };
        let value = path[..end].to_vec();
        let unknown = value.is_empty() || value.contains(&b'/');
        if unknown || found.insert(char::from(letter), value.clone()).is_some_and(|before| before != value) {
            return None;
        }
        (path, template) = (&path[end..], rest);
    }
    path.is_empty().then_some(found)
}

/// The template with its variables filled in; `None` where one is not known.
fn filled(template: &str, values: &Values) -> Option<Vec<u8>> {
    let user = || Some([&values.get(&'n')?[..], b"@", values.get(&'d')?].concat());
    let part = |letter: char, user: Option<Vec<u8>>| match letter {
        'u' => values.get(&'u').cloned().or(user),
        'n' | 'd' => {
            let at = values.get(&'u').map(|user| user.iter().position(|&b| b == b'@').unwrap_or(user.len()));
            let of_user = values.get(&'u').zip(at).map(|(user, at)| match letter {
                'n' => user[..at].to_vec(),
                _ => user.get(at + 1..).unwrap_or_default().to_vec(),
            });
            values.get(&letter).cloned().or(of_user)
        }
        _ => values.get(&letter).cloned(),
    };
    let mut path = Vec::new();
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => path.extend(part(letters.next()?, user())?),
            other => path.extend(other.to_string().bytes()),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(layout: &str, apart: Apart, mail: &str) -> Option<String> {
        Layout::parse(layout).unwrap().below(apart, Path::new(mail)).map(|path| path.to_string())
    }

    #[test]
    fn lists_and_indexes_are_found_where_the_server_keeps_them() {
        let layout = "maildir:/var/vmail/%d/%n/Maildir:INDEX=/ssd/index/%u:CONTROL=/var/control/%d/%n";
        let parsed = Layout::parse(layout).unwrap();
        assert_eq!(parsed.base(Apart::Index), Some(PathBuf::from("/ssd/index")));
        assert_eq!(parsed.base(Apart::Control), Some(PathBuf::from("/var/control")));
        let mail = "/var/vmail/example.org/ann/Maildir";
        assert_eq!(below(layout, Apart::Index, mail).as_deref(), Some("ann@example.org"));
        assert_eq!(below(layout, Apart::Control, mail).as_deref(), Some("example.org/ann"));
        for other in ["/var/vmail/example.org/ann", "/srv/vmail/example.org/ann/Maildir", "/var/vmail//ann/Maildir"] {
            assert_eq!(below(layout, Apart::Control, other), None, "{other}");
        }
        let home = "mail_location = maildir:~/Maildir:INDEX=/index/%u";
        assert_eq!(below(home, Apart::Index, "/home/ann/Maildir"), None, "who that is nobody said");
        let users = "maildir:/mail/%u:CONTROL=/control/%d/%n:INDEX=MEMORY";
        assert_eq!(below(users, Apart::Control, "/mail/ann@example.org").as_deref(), Some("example.org/ann"));
        assert_eq!(Layout::parse(users).unwrap().base(Apart::Index), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "mbox:/x",
            "maildir:",
            "maildir:x",
            "maildir:/x/%Ld",
            "maildir:/x/%",
            "maildir:/x:LAYOUT=fs",
            "maildir:~/m:CONTROL=%h/c",
        ] {
            assert!(Layout::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        let layout = "maildir:/mail/%u:CONTROL=/control/%u";
        for hostile in ["/mail/..", "/mail/a/../b", "/mail/"] {
            assert_eq!(below(layout, Apart::Control, hostile), None, "{hostile}");
        }
    }
}
