//! The one static binary of a rescue disk. Building it takes minutes, so only a long run does.

use crate::common::must;
use crate::kit;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

#[test]
fn a_static_binary_recovers_a_store() {
    if std::env::var_os("MAILMEND_LONG").is_none() {
        return eprintln!("left out: the static build takes minutes; tests/run --long has it");
    }
    if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) || !kit::can("a static binary", false, &["cargo", "ldd"])
    {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--target", TARGET, "--target-dir"]).arg(&target);
    let built = build.env("RUSTFLAGS", "-C target-feature=+crt-static").current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(built.status().expect("cargo").success(), "the static build");
    let binary = target.join(TARGET).join("debug/mailmend");
    let ldd = Command::new("ldd").arg(&binary).output().expect("ldd");
    let said = [ldd.stdout, ldd.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("statically linked") || said.contains("not a dynamic executable"), "{said}");
    must(binary.to_str().expect("UTF-8"), &["drill", "--size", "3x30"]);
}
