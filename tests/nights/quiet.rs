//! A night that has nothing to do in an account leaves its messages' records alone. Two states of the same store are
//! kept side by side: one may take the short way, of the other the seals are removed before every night. Both must
//! answer and record the same, whatever happened in between.

use super::records::{older, open_in};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROUNDS: usize = 48;
const ACCOUNTS: usize = 4;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    all.retain(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file()));
    all.sort();
    all
}

fn deliver(mailbox: &Path, number: usize) {
    let text = format!(
        "From: a@example.com\nTo: b@example.org\nSubject: {number}\nMessage-ID: <{number}@x>\n\nhello {number}\n"
    );
    fs::write(mailbox.join("cur").join(format!("17000000{number:03}.M1P1.mx,S={}:2,S", text.len())), text).unwrap();
}

fn build(store: &Path) {
    for account in 0..ACCOUNTS {
        for (nth, folder) in ["", ".Sent", ".Empty"].iter().enumerate() {
            let mailbox = store.join(format!("example.org/u{account}")).join(folder);
            ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(mailbox.join(sub)).unwrap());
            (0..[6, 3, 0][nth]).for_each(|n| deliver(&mailbox, account * 20 + nth * 7 + n));
        }
        fs::write(store.join(format!("example.org/u{account}/subscriptions")), "Sent\n").unwrap();
    }
}

/// One thing that happens to a store, of each kind that a verify tells apart.
fn change(rng: &mut Rng, store: &Path, number: usize) -> String {
    let account = store.join(format!("example.org/u{}", rng.usize(..ACCOUNTS)));
    let mailbox = account.join(["", ".Sent"][rng.usize(..2)]);
    let all = files(&mailbox.join("cur"));
    let what = rng.usize(..13);
    let Some(file) = rng.choice(&all) else { return "nothing".to_owned() };
    let name = file.file_name().unwrap().to_str().unwrap();
    match what {
        0 => deliver(&mailbox, 200 + number),
        1 => fs::remove_file(file).unwrap(),
        2 => fs::rename(file, format!("{}R", file.display())).unwrap(),
        3 => fs::rename(file, account.join(".Empty/cur").join(name)).unwrap(),
        4 => fs::File::options().write(true).open(file).unwrap().set_modified(std::time::SystemTime::now()).unwrap(),
        5 => fs::write(file, vec![0; 40]).unwrap(),
        6 => fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap(),
        7 => fs::set_permissions(&mailbox, fs::Permissions::from_mode(0o750)).unwrap(),
        8 => drop(symlink("/dev/null", mailbox.join(format!("cur/link{number}")))),
        9 => fs::write(mailbox.join("dovecot-uidlist"), "3 V1 N1\n").unwrap(),
        10 => drop(fs::remove_file(account.join("subscriptions"))),
        11 => {
            let old = fs::File::create(mailbox.join(format!("tmp/{number}.old"))).unwrap();
            old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
        }
        _ => drop(fs::create_dir_all(account.join(format!(".New{number}/cur")))),
    }
    format!("{what} at {}", file.display())
}

/// What a night said, without what is another every time.
fn night(store: &Path, state: &Path) -> (Option<i32>, Vec<serde_json::Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailmend"));
    // What a disk turns out to be like is another each time.
    command.env_clear().args(["verify", "--json", "--disk", "flash", "--backups", "0", "--budget", "1B", "--state"]);
    command.arg(state).arg(store);
    let answer = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line["type"] != "progress");
    for line in &mut lines {
        let map = line.as_object_mut().unwrap();
        ["run", "elapsed_s", "time"].iter().for_each(|key| drop(map.remove(*key)));
    }
    (answer.status.code(), lines)
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    }
}

/// Table, plain columns and the row's own times.
type Row = (&'static str, Vec<String>, Vec<Option<(i64, i64)>>);

/// Everything on record of mailboxes, messages and companions, with times as ranks: the two states look at other moments.
fn records(state: &Path) -> BTreeMap<String, Vec<String>> {
    let conn = open_in(state);
    let times = ["listed", "verified", "first_seen", "last_seen"];
    let mut stamps: Vec<(i64, i64)> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for (table, own) in [("mailbox", &times[..2]), ("message", &times[1..]), ("companion", &[][..])] {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let names: Vec<String> = statement.column_names().iter().map(|name| (*name).to_owned()).collect();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let apart = |name: &str| {
                own.iter().any(|own| name == *own || name == format!("{own}_ns")) || name.starts_with("seen")
            };
            let plain = names.iter().filter(|name| !apart(name));
            let plain = plain.map(|name| format!("{name}={}", shown(row.get_ref(name.as_str()).unwrap()))).collect();
            let stamp = |name: &&str| {
                let sec: Option<i64> = row.get(*name).unwrap();
                sec.map(|sec| (sec, row.get(format!("{name}_ns").as_str()).unwrap()))
            };
            let own: Vec<_> = own.iter().map(stamp).collect();
            stamps.extend(own.iter().flatten());
            rows.push((table, plain, own));
        }
    }
    stamps.sort_unstable();
    stamps.dedup();
    let rank = |stamp: &Option<(i64, i64)>| stamp.map(|stamp| stamps.binary_search(&stamp).unwrap());
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, plain, own) in &rows {
        let own: Vec<_> = own.iter().map(rank).collect();
        all.entry((*table).to_owned()).or_default().push(format!("{plain:?} {own:?}"));
    }
    all
}

fn seals(state: &Path) -> i64 {
    let conn = open_in(state);
    conn.query_row("SELECT count(*) FROM seal", [], |row| row.get(0)).unwrap()
}

/// One store and two states that look at it, night after night.
struct Twins {
    dir: tempfile::TempDir,
    happened: Vec<String>,
    most: i64,
}

impl Twins {
    fn new() -> Twins {
        let twins = Twins { dir: tempfile::tempdir().unwrap(), happened: Vec::new(), most: 0 };
        build(&twins.store());
        twins
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn states(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("short"), self.dir.path().join("long"))
    }

    fn night(&mut self) {
        let (short, long) = self.states();
        if long.exists() {
            open_in(&long).execute("DELETE FROM seal", []).unwrap();
            // Budgets tell seconds apart: a night of one state must not begin in the second of the night before.
            [&short, &long].into_iter().for_each(|state| older(&open_in(state), 600));
        }
        let (one, two) = (night(&self.store(), &short), night(&self.store(), &long));
        assert_eq!(one.0, two.0, "after {:?}", self.happened);
        let differ = one.1.iter().zip(&two.1).find(|(one, two)| one != two);
        assert!(differ.is_none() && one.1.len() == two.1.len(), "{differ:#?} after {:?}", self.happened);
        let (one, two) = (records(&short), records(&long));
        let rows = one.values().flatten().zip(two.values().flatten());
        let differ: Vec<_> = { rows }.filter(|(one, two)| one != two).take(2).collect();
        assert!(one == two, "{differ:#?} after {:?}", self.happened);
        self.most = self.most.max(seals(&short));
    }
}

#[test]
fn the_short_way_answers_and_records_what_the_long_way_does() {
    for seed in [9, 10, 11] {
        let mut rng = Rng::with_seed(seed);
        let mut twins = Twins::new();
        for round in 0..ROUNDS {
            // Quiet nights between, in which mailboxes are sealed and found again.
            if round % 3 == 2 {
                let what = change(&mut rng, &twins.store(), round);
                twins.happened.push(format!("{round}: {what}"));
            }
            twins.night();
        }
        assert!(twins.most >= 9, "hardly anything was ever sealed: {}", twins.most);
        let check = Command::new(env!("CARGO_BIN_EXE_mailmend"))
            .env_clear()
            .args(["catalog", "check", "--state"])
            .arg(twins.states().0)
            .output()
            .unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

/// Without this the test above would also pass where nothing is ever short. A name on record that is not the file's is
/// corrected by whoever looks at the records of messages.
#[test]
fn the_short_way_is_taken_until_a_seal_is_broken() {
    let mut twins = Twins::new();
    (0..3).for_each(|_| twins.night());
    let state = twins.states().0;
    let spoil = || {
        let conn = open_in(&state);
        let sql = "UPDATE message SET name = CAST('17000000041.M1P1.mx,S=1:2,S' AS BLOB) WHERE CAST(key AS TEXT) LIKE '17000000041.%'";
        assert_eq!(conn.execute(sql, []).unwrap(), 1);
    };
    let corrected = || {
        let conn = open_in(&state);
        let sql = "SELECT CAST(name AS TEXT) FROM message WHERE CAST(key AS TEXT) LIKE '17000000041.%'";
        !conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap().contains("S=1:")
    };
    spoil();
    assert_eq!(night(&twins.store(), &state).0, Some(0));
    assert!(!corrected(), "the long way was taken in an account where nothing had happened");
    // Something else in the same mailbox.
    deliver(&twins.store().join("example.org/u2"), 300);
    assert_eq!(night(&twins.store(), &state).0, Some(0));
    assert!(corrected(), "the short way was taken where a message had come");
}
