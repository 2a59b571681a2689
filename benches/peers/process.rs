//! Runs programs: how long they take, and what memory they and their children had at most.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK_EACH: Duration = Duration::from_millis(5);

/// Runs it to its end. An exit status that is not one of `good` ends the benchmark: a fast failure is no result.
pub fn timed(command: &mut Command, good: &[i32]) -> Duration {
    let began = Instant::now();
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let took = began.elapsed();
    let ended = ended.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code().is_some_and(|code| good.contains(&code)), "{command:?}: {}: {text}", ended.status);
    took
}

/// The most memory, in bytes, that it and its descendants had: the sum of what each had at most.
pub fn peak(command: &mut Command) -> u64 {
    let mut child: Child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut most = std::collections::HashMap::new();
    while child.try_wait().expect("a child").is_none() {
        for pid in family(child.id()) {
            let known = most.entry(pid).or_insert(0);
            *known = high_water(pid).unwrap_or(0).max(*known);
        }
        std::thread::sleep(LOOK_EACH);
    }
    most.values().sum()
}

fn family(pid: u32) -> Vec<u32> {
    let (mut all, mut at) = (vec![pid], 0);
    while let Some(&pid) = all.get(at) {
        at += 1;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}

fn high_water(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
