//! What the scenario tests share: the real binary, its answers, stores to run it on.

// Every test program uses a part of this.
#![allow(dead_code)]

pub mod bench;
pub mod corpus;
pub mod device;

use mailmend::drill::{DrillError, Found, Heard, Repair, Result, Tool};
use mailmend::model::path::unescape;
use mailmend::model::{Assurance, Missing, RelPath, Verdict};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Whom tests become when they must not be root.
pub const NOBODY: u32 = 65_534;

/// The binary with a state folder of its own.
pub struct Mailmend {
    pub binary: PathBuf,
    pub state: PathBuf,
    /// Run as this user (needs root).
    pub user: Option<u32>,
    /// A program and its arguments that run the binary: strace, for a kernel that has less.
    pub wrapper: Vec<OsString>,
}

impl Mailmend {
    pub fn with_state(state: PathBuf) -> Mailmend {
        Mailmend { binary: PathBuf::from(env!("CARGO_BIN_EXE_mailmend")), state, user: None, wrapper: Vec::new() }
    }

    /// Runs `mailmend --json --state DIR ARGS`.
    pub fn run<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Answer {
        self.start(args).end()
    }

    /// The same, while something is done to it.
    pub fn start<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let mut command = self.command();
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        command.arg("--json").arg("--state").arg(&self.state).args(&args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        let pid = child.id();
        Run { args, pid, output: std::thread::spawn(move || child.wait_with_output()) }
    }

    /// The binary without arguments, in a clean environment.
    pub fn command(&self) -> Command {
        let mut line: Vec<OsString> = Vec::new();
        if let Some(user) = self.user {
            line.extend(words(&["setpriv", &format!("--reuid={user}"), &format!("--regid={user}")]));
            line.extend(words(&["--clear-groups", "--"]));
        }
        line.extend(self.wrapper.iter().cloned().chain([self.binary.clone().into()]));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        // Nothing of the administrator's own may leak into a test.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"MAILMEND_")) {
            command.env_remove(name);
        }
        command.env_remove("STATE_DIRECTORY").env("NO_COLOR", "1");
        command
    }

    #[track_caller]
    pub fn verify(&self, store: &Path) -> Answer {
        self.run(words(&["verify"]).chain([store.into()])).complete()
    }

    /// `repair STORE --from SPEC... [--undecided HOW] [--apply]`.
    #[track_caller]
    pub fn repair(&self, store: &Path, repair: &Repair) -> Answer {
        let mut args: Vec<OsString> = words(&["repair"]).chain([store.into()]).collect();
        for source in &repair.sources {
            args.extend(words(&["--from", source]));
        }
        args.extend(words(&["--undecided", repair.undecided.name()]));
        if repair.apply {
            args.push("--apply".into());
        }
        self.run(args).complete()
    }

    #[track_caller]
    pub fn undo(&self, run: &str) -> Answer {
        self.run(["undo", run, "--apply"]).complete()
    }
}

/// A run of the binary that goes on; what it says is taken from it all the time.
pub struct Run {
    args: Vec<OsString>,
    pub pid: u32,
    output: std::thread::JoinHandle<std::io::Result<Output>>,
}

impl Run {
    pub fn ended(&self) -> bool {
        self.output.is_finished()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Answer {
        let output = self.output.join().expect("the thread that listens");
        Answer::of(&self.args, output.expect("its output"))
    }
}

/// Arguments as the system takes them.
pub fn words(words: &[&str]) -> impl Iterator<Item = OsString> {
    words.iter().map(OsString::from).collect::<Vec<_>>().into_iter()
}

/// A path as a source on the command line.
pub fn spec(path: &Path) -> String {
    path.to_str().expect("test folders have UTF-8 names").to_string()
}

/// What one run of the binary said.
#[derive(Debug)]
pub struct Answer {
    /// What was typed, for messages.
    pub typed: String,
    /// -1 where a signal ended it.
    pub status: i32,
    /// The lines of standard output.
    pub lines: Vec<Value>,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    fn of(args: &[OsString], output: Output) -> Answer {
        let typed: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        let stdout = String::from_utf8(output.stdout).expect("output is UTF-8");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"));
        Answer {
            typed: format!("mailmend {}", typed.join(" ")),
            status: output.status.code().unwrap_or(-1),
            lines: stdout.lines().map(parse).collect(),
            stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Insists that a run which was not refused ended with its summary: silence is no success.
    #[track_caller]
    fn complete(self) -> Answer {
        assert!(self.status >= 0, "a signal ended {self}");
        if self.status & 16 == 0 {
            self.summary();
        }
        self
    }

    /// Insists on an exit status.
    #[track_caller]
    pub fn expect(self, status: i32) -> Answer {
        assert_eq!(self.status, status, "exit status of {self}");
        self
    }

    /// Insists on bits of the exit status.
    #[track_caller]
    pub fn expect_bits(self, bits: i32) -> Answer {
        assert!(self.status >= 0 && self.status & bits == bits, "exit status {} lacks {bits}: {self}", self.status);
        self
    }

    /// Insists on a refusal: a usage error, explained, with nothing on standard output but JSON.
    #[track_caller]
    pub fn expect_refusal(self, word: &str) -> Answer {
        let answer = self.expect(16);
        assert!(answer.mentions(word), "the refusal does not mention {word:?}: {answer}");
        answer
    }

    /// Whether either stream contains the word, in any case.
    pub fn mentions(&self, word: &str) -> bool {
        let said = format!("{}\n{}", self.stdout, self.stderr).to_lowercase();
        said.contains(&word.to_lowercase())
    }

    /// The last line.
    #[track_caller]
    pub fn summary(&self) -> &Value {
        let last = self.lines.last().unwrap_or_else(|| panic!("no output: {self}"));
        assert_eq!(last["type"], "summary", "the last line is no summary: {self}");
        last
    }

    /// A counter of the summary, `missing.undecided` for one inside another.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let value = name.split('.').fold(self.summary(), |value, part| &value[part]);
        value.as_u64().unwrap_or_else(|| panic!("the summary has no {name}: {self}"))
    }

    /// The name of the run, for `undo`.
    #[track_caller]
    pub fn run_name(&self) -> String {
        let name = self.summary()["run"].as_str();
        name.unwrap_or_else(|| panic!("the summary names no run: {self}")).to_string()
    }

    pub fn findings(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line["type"] == "finding")
    }

    /// The findings as the drill judges them.
    pub fn found(&self) -> Vec<Found> {
        self.findings().map(|line| found(line).unwrap_or_else(|e| panic!("{e} in a finding: {line}"))).collect()
    }

    /// Findings whose step would change the store, sorted.
    pub fn steps(&self) -> Vec<String> {
        let mut steps: Vec<String> = self.found().iter().filter(|f| f.writes()).map(|f| f.path.to_string()).collect();
        steps.sort();
        steps
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<&str> = self.stdout.lines().collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n");
        write!(f, "`{}` (status {})\n{tail}\nstderr:\n{}", self.typed, self.status, self.stderr)
    }
}

/// One `finding` line.
fn found(line: &Value) -> std::result::Result<Found, &'static str> {
    let path = line["path"].as_str().and_then(unescape).ok_or("no path")?;
    let text = |value: &Value| value.as_str().map(str::to_string);
    let outcome = &line["outcome"];
    Ok(Found {
        path: RelPath::new(path).map_err(|_| "a path that leaves the store")?,
        verdict: verdict(line)?,
        action: text(&line["action"]["kind"]),
        outcome: text(outcome).or_else(|| outcome.as_object().and_then(|o| text(o.get("kind").or(o.get("outcome"))?))),
    })
}

fn verdict(line: &Value) -> std::result::Result<Verdict, &'static str> {
    let missing = [Missing::Lost, Missing::Undecided, Missing::Deleted, Missing::Moved, Missing::PresumedDeleted];
    Ok(match line["verdict"].as_str().ok_or("no verdict")? {
        "intact" => {
            let named = Assurance::ALL.into_iter().find(|a| line["assurance"] == a.name());
            Verdict::Intact(named.unwrap_or(Assurance::Plausible))
        }
        "suspect" => Verdict::Suspect,
        "damaged" => Verdict::Damaged,
        "unreadable" => Verdict::Unreadable,
        "undetermined" => Verdict::Undetermined,
        "missing" => {
            let reason = missing.into_iter().find(|m| line["missing"] == m.name());
            Verdict::Missing(reason.ok_or("a missing message without its reason")?)
        }
        _ => return Err("an unknown verdict"),
    })
}

/// The drill's tool, implemented by the binary.
impl Tool for Mailmend {
    fn verify(&mut self, store: &Path) -> Result<Heard> {
        heard(Mailmend::verify(self, store))
    }

    fn repair(&mut self, store: &Path, repair: &Repair) -> Result<Heard> {
        heard(Mailmend::repair(self, store, repair))
    }

    fn undo(&mut self, run: &str) -> Result<Heard> {
        heard(Mailmend::undo(self, run))
    }
}

fn heard(answer: Answer) -> Result<Heard> {
    let exit = u8::try_from(answer.status).ok().filter(|s| s & (8 | 16) == 0);
    let exit = exit.ok_or_else(|| DrillError::Tool(answer.to_string()))?;
    Ok(Heard { run: answer.run_name(), exit, found: answer.found() })
}

/// Says loudly that a test cannot run here. In CI that is a failure.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} cannot run in CI: {why}");
    eprintln!("\n*** SKIPPED: {test}: {why} ***\n");
}

/// Whether there is time for the long tests.
pub fn long() -> bool {
    std::env::var_os("MAILMEND_LONG").is_some()
}

/// Whether we are root, by what we own.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// Programs that are not installed, by name.
pub fn absent(programs: &[&str]) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin".into(), "/sbin".into()]);
    let missing = |name: &&&str| !dirs.iter().any(|dir| dir.join(name).is_file());
    programs.iter().filter(missing).map(|name| name.to_string()).collect()
}

/// Runs a helper program that must succeed, and returns what it printed.
#[track_caller]
pub fn must(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}
