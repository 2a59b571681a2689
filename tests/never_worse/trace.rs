//! strace as the hand of fate: which calls of a run change a file, and the same run with one of them hit.

use crate::common::Mailmend;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every call that can change a file, its names or its attributes, or put them on the medium.
const CHANGING: &str = "/^(rename|link|unlink|mkdir|rmdir|mknod|symlink|open|creat|write|pwrite|truncate|ftruncate|\
    fallocate|fsync|fdatasync|syncfs|sync_file_range|msync|chown|fchown|lchown|chmod|fchmod|utime|futime|setxattr|\
    fsetxattr|lsetxattr|removexattr|fremovexattr|copy_file_range|sendfile|splice)";

/// One call of a run: the n-th of its name.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    pub nth: u32,
    /// As strace shows it.
    pub text: String,
}

/// The binary under strace, which does what [`Tracer::set`] was told last. Only the process that writes is traced:
/// lanes are children, cannot write, and are restarted where they die.
pub struct Tracer {
    binary: PathBuf,
    options: PathBuf,
    log: PathBuf,
}

impl Tracer {
    pub fn new(dir: &Path, real: &Path) -> Tracer {
        let [binary, options, log] = ["traced", "strace.options", "strace.log"].map(|n| dir.join(n));
        let script = format!(
            "#!/bin/sh\nexec strace -o '{}' $(cat '{}') -- '{}' \"$@\"\n",
            log.display(),
            options.display(),
            real.display()
        );
        fs::write(&binary, script).expect("a script");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("an executable script");
        Tracer { binary, options, log }
    }

    /// The tool with these words for strace; they may hold no spaces.
    pub fn set(&self, tool: &Mailmend, options: &[String]) -> Mailmend {
        fs::write(&self.options, options.join(" ")).expect("options");
        Mailmend {
            binary: self.binary.clone(),
            state: tool.state.clone(),
            user: tool.user,
            wrapper: tool.wrapper.clone(),
        }
    }

    /// The tool whose calls are written down.
    pub fn listening(&self, tool: &Mailmend) -> Mailmend {
        self.set(tool, &["-y".into(), "-e".into(), format!("trace={CHANGING}")])
    }

    /// The tool with something happening at one call: `signal=KILL`, `error=EIO`.
    pub fn at(&self, tool: &Mailmend, call: &Call, what: &str) -> Mailmend {
        let Call { name, nth, .. } = call;
        let inject = format!("inject={name}:{what}:when={nth}");
        self.set(tool, &["-e".into(), format!("trace={name}"), "-e".into(), inject])
    }

    /// Calls of the last run that went to one of these places.
    pub fn calls(&self, places: &[&Path]) -> Vec<Call> {
        let log = fs::read_to_string(&self.log).expect("strace's log");
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let mut calls = Vec::new();
        for line in log.lines() {
            let Some((name, rest)) = line.split_once('(').filter(|(name, _)| !name.contains(['+', '-', ' '])) else {
                continue;
            };
            let nth = seen.entry(name).or_default();
            *nth += 1;
            let made = !name.starts_with("open") || rest.contains("O_CREAT") || rest.contains("O_TRUNC");
            let ours = places.iter().any(|place| rest.contains(&format!("{}", place.display())));
            if made && ours {
                calls.push(Call { name: name.to_owned(), nth: *nth, text: line.chars().take(200).collect() });
            }
        }
        calls
    }
}

/// Whether everything is to be tried, however long it takes.
pub fn long() -> bool {
    std::env::var_os("MAILMEND_LONG").is_some()
}

/// Of each kind of call the first, the last and every `stride`-th; all of them in a long run.
pub fn sample(calls: &[Call], stride: u32) -> Vec<&Call> {
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    let mut of_kind: BTreeMap<&str, u32> = BTreeMap::new();
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    for (at, call) in calls.iter().enumerate() {
        last.insert(&call.name, at as u32);
        let count = of_kind.entry(&call.name).or_default();
        if long() || count.is_multiple_of(stride) {
            chosen.insert(at);
        }
        *count += 1;
    }
    chosen.extend(last.values().map(|at| *at as usize));
    chosen.into_iter().map(|at| &calls[at]).collect()
}
