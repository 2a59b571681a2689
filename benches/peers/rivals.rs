//! What people use today: where it comes from, and how it is told to do the same.

use super::process::timed;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Debian's packages of them.
const PACKAGES: [(&str, &str); 6] = [
    ("b3sum", "b3sum"),
    ("hashdeep", "hashdeep"),
    ("aide", "aide"),
    ("rsync", "rsync"),
    ("restic", "restic"),
    ("borg", "borgbackup"),
];

/// Installs what is missing, where we may; what is not there afterwards is left out, and said.
pub fn install() {
    let missing = || PACKAGES.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package);
    let wanted: Vec<&str> = missing().collect();
    if !wanted.is_empty() && rustix::process::geteuid().is_root() {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(&wanted)
            .env("DEBIAN_FRONTEND", "noninteractive");
        let _ended = apt.output();
    }
    missing().for_each(|package| println!("not installed, so left out: {package}"));
}

pub fn there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn shell(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(dir);
    command
}

/// Something that checks all files of a folder against what it noted of them.
pub struct Checker {
    pub name: &'static str,
    program: &'static str,
    note: &'static str,
    check: &'static str,
    /// It takes so long that one round says enough.
    pub slow: bool,
}

/// `$W` is a folder for their notes.
pub const CHECKERS: [Checker; 3] = [
    Checker {
        name: "b3sum -c",
        program: "b3sum",
        note: "find . -type f -print0 | xargs -0 b3sum > $W/b3",
        check: "b3sum --check --quiet $W/b3",
        slow: false,
    },
    Checker {
        name: "hashdeep -a",
        program: "hashdeep",
        note: "hashdeep -r -l . > $W/hashdeep",
        check: "hashdeep -r -l -a -k $W/hashdeep .",
        slow: true,
    },
    Checker {
        name: "aide --check",
        program: "aide",
        note: "printf 'database_in=file:%s/aide\\ndatabase_out=file:%s/aide\\n%s R+sha256\\n' $W $W $PWD > $W/aide.conf
               aide --init --config=$W/aide.conf",
        check: "aide --check --config=$W/aide.conf",
        slow: true,
    },
];

impl Checker {
    /// Notes all files; `None` where it is not installed.
    pub fn ready(&self, store: &Path, notes: &Path) -> Option<impl Fn() -> Command + use<>> {
        there(self.program).then_some(())?;
        timed(shell(store, self.note).env("W", notes), &[0]);
        let (store, notes, check) = (store.to_owned(), notes.to_owned(), self.check);
        Some(move || {
            let mut command = shell(&store, check);
            command.env("W", &notes);
            command
        })
    }
}

/// Something that puts files back from a replica, or from a repository made of it.
pub struct Restorer {
    pub name: &'static str,
    pub program: &'static str,
    note: &'static str,
    restore: &'static str,
}

/// Run in the folder of the replica; `$W` is for their repositories, `$S` the damaged store.
pub const RESTORERS: [Restorer; 3] = [
    Restorer {
        name: "rsync -a --checksum",
        program: "rsync",
        note: "true",
        restore: "rsync -a --checksum ./ $S/ && sync -f $S",
    },
    Restorer {
        name: "restic restore",
        program: "restic",
        note: "restic -q -r $W/restic init && restic -q -r $W/restic backup .",
        restore: "restic -q -r $W/restic restore latest:$PWD --target $S && sync -f $S",
    },
    Restorer {
        name: "borg extract",
        program: "borg",
        note: "borg init -e none $W/borg && borg create $W/borg::a .",
        restore: "cd $S && borg extract $W/borg::a && sync -f $S",
    },
];

impl Restorer {
    pub fn note(&self, replica: &Path, notes: &Path) {
        fs::create_dir_all(notes).expect("a folder");
        timed(&mut self.command(self.note, replica, notes, replica), &[0]);
    }

    pub fn restore(&self, replica: &Path, notes: &Path, store: &Path) -> Command {
        self.command(self.restore, replica, notes, store)
    }

    fn command(&self, script: &str, replica: &Path, notes: &Path, store: &Path) -> Command {
        let mut command = shell(replica, script);
        command.env("W", notes).env("S", store).env("RESTIC_PASSWORD", "of the benchmark").env("HOME", notes);
        command
    }
}
