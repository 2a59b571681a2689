//! Names of users and groups, from /etc/passwd and /etc/group alone.
//!
//! May not ask name services: the program is one static binary, and a directory server may be what is down.

use std::io;
use std::path::Path;

/// The tables as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<(String, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// Why a text names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOwner {
    #[error("no user is given; expected USER:GROUP, USER or UID:GID")]
    Empty,
    #[error("unknown user '{0}' (not in /etc/passwd; give its number)")]
    User(String),
    #[error("unknown group '{0}' (not in /etc/group; give its number)")]
    Group(String),
    #[error("user {0} is not in /etc/passwd, so its group must be given: {0}:GID")]
    NoGroup(u32),
}

impl Users {
    /// Reads both tables. A missing file is an empty table: containers and rescue systems may have none.
    pub fn read() -> io::Result<Users> {
        Ok(Users::parse(&read_or_empty(Path::new("/etc/passwd"))?, &read_or_empty(Path::new("/etc/group"))?))
    }

    /// Parses the two files' contents. Lines that are no entries are left out.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Users {
        let users = entries(passwd).filter_map(|fields| {
            let name = fields.first().filter(|name| !name.is_empty())?.clone();
            Some(User { name, uid: number(fields.get(2)?)?, gid: number(fields.get(3)?)? })
        });
        let groups = entries(group).filter_map(|fields| {
            let name = fields.first().filter(|name| !name.is_empty())?.clone();
            Some((name, number(fields.get(2)?)?))
        });
        Users { users: users.collect(), groups: groups.collect() }
    }

    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|user| user.name == name).map(|user| user.uid)
    }

    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.0 == name).map(|group| group.1)
    }

    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|user| user.uid == uid).map(|user| user.name.as_str())
    }

    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|group| group.1 == gid).map(|group| group.0.as_str())
    }

    /// `user:group` by name where there is one, else by number.
    pub fn owner_text(&self, uid: u32, gid: u32) -> String {
        let user = self.user_name(uid).map_or_else(|| uid.to_string(), str::to_owned);
        let group = self.group_name(gid).map_or_else(|| gid.to_string(), str::to_owned);
        format!("{user}:{group}")
    }

    /// `U:G`, or `U` (or `U:`) with the user's own group. Each is a name or, if nothing has that name, a number.
    pub fn parse_owner(&self, text: &str) -> Result<(u32, u32), BadOwner> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(BadOwner::Empty);
        }
        let uid = self.uid(user).or_else(|| number(user)).ok_or_else(|| BadOwner::User(user.to_owned()))?;
        if !group.is_empty() {
            let gid = self.gid(group).or_else(|| number(group));
            return gid.map(|gid| (uid, gid)).ok_or_else(|| BadOwner::Group(group.to_owned()));
        }
        let named = self.users.iter().find(|entry| entry.name == user);
        match named.or_else(|| self.users.iter().find(|entry| entry.uid == uid)) {
            Some(entry) => Ok((uid, entry.gid)),
            None => Err(BadOwner::NoGroup(uid)),
        }
    }
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

fn entries(table: &[u8]) -> impl Iterator<Item = Vec<String>> {
    let lines = table.split(|&b| b == b'\n').filter(|line| !line.starts_with(b"#"));
    lines.map(|line| line.split(|&b| b == b':').map(|field| String::from_utf8_lossy(field).into_owned()).collect())
}

/// A decimal id; the highest value means "no change" to the kernel and is none.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&id| digits && id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn users() -> Users {
        Users::parse(
            b"root:x:0:0:root:/root:/bin/sh\nvmail:x:5000:5001::/var/vmail:/bin/false\n99:x:7:8:::\n+::::\nbad:x:y:z\n",
            b"root:x:0:\nmail:x:8:ann,bob\nvmail:x:5001:\nhuge:x:4294967295:\n",
        )
    }

    #[test]
    fn names_and_numbers_both_ways() {
        let users = users();
        assert_eq!((users.uid("vmail"), users.gid("mail"), users.uid("bad")), (Some(5000), Some(8), None));
        assert_eq!((users.user_name(5000), users.group_name(5001)), (Some("vmail"), Some("vmail")));
        assert_eq!(users.owner_text(5000, 12), "vmail:12");
        assert_eq!(users.gid("huge"), None);
    }

    #[test]
    fn owners_in_every_form() {
        let users = users();
        for (text, owner) in [
            ("vmail:mail", (5000, 8)),
            ("vmail", (5000, 5001)),
            ("vmail:", (5000, 5001)),
            ("1000:1000", (1000, 1000)),
            ("5000", (5000, 5001)),
            ("99", (7, 8)),
        ] {
            assert_eq!(users.parse_owner(text), Ok(owner), "{text}");
        }
        assert_eq!(users.parse_owner(""), Err(BadOwner::Empty));
        assert_eq!(users.parse_owner(":mail"), Err(BadOwner::Empty));
        assert_eq!(users.parse_owner("ann"), Err(BadOwner::User("ann".into())));
        assert_eq!(users.parse_owner("vmail:no"), Err(BadOwner::Group("no".into())));
        assert_eq!(users.parse_owner("1000"), Err(BadOwner::NoGroup(1000)));
        assert_eq!(users.parse_owner("4294967295:0"), Err(BadOwner::User("4294967295".into())));
        assert_eq!(users.parse_owner("+1:0"), Err(BadOwner::User("+1".into())));
    }

    #[test]
    fn reads_this_machine() {
        assert_eq!(Users::read().unwrap().uid("root"), Some(0));
    }

    proptest! {
        #[test]
        fn any_tables_and_owners_are_parsed_without_panic(
            passwd in proptest::collection::vec(any::<u8>(), 0..100), owner in ".{0,20}"
        ) {
            let users = Users::parse(&passwd, &passwd);
            prop_assert!(users.parse_owner(&owner).is_ok_and(|ids| ids.0 != u32::MAX) || users.parse_owner(&owner).is_err());
        }
    }
}
