//! The folders that a lane may read: patterns expanded, paths made canonical, then opened.
//!
//! Runs in the lane only: expanding a pattern lists folders, and a listing may hang.

use super::serve::trouble;
use crate::model::wire::{RootInfo, RootSpec, Trouble};
use crate::sys::dir::Root;
use crate::sys::mounts::Mounts;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A canonical path and the specification that it came from.
pub type Expanded = (u32, PathBuf);

/// Expands every specification; sorted by name within a pattern.
pub fn expand(specs: &[RootSpec]) -> (Vec<Expanded>, Vec<Trouble>) {
    let (mut paths, mut troubles) = (Vec::new(), Vec::new());
    for (number, spec) in (0u32..).zip(specs) {
        let path = Path::new(OsStr::from_bytes(&spec.path));
        let found = if spec.pattern { matches(path) } else { Ok(vec![path.to_owned()]) };
        match found {
            Ok(found) if found.is_empty() => troubles.push(Trouble {
                root: number,
                path: spec.path.clone(),
                operation: "expand".to_owned(),
                errno: None,
                detail: "no folder matches the pattern".to_owned(),
            }),
            Ok(found) => {
                for path in found {
                    match crate::sys::links::resolve(&path) {
                        Ok(path) => paths.push((number, path)),
                        Err(error) => {
                            troubles.push(trouble(number, path.as_os_str().as_bytes(), "open", &error));
                        }
                    }
                }
            }
            Err(error) => troubles.push(trouble(number, &spec.path, "expand", &error)),
        }
    }
    (paths, troubles)
}

/// The paths, for the sandbox.
pub fn only_paths(expanded: &[Expanded]) -> Vec<PathBuf> {
    expanded.iter().map(|(_, path)| path.clone()).collect()
}

/// Opens every path; one that fails is a trouble and has no root.
pub fn open(
    expanded: &[Expanded],
    mounts: Option<&Mounts>,
    without_openat2: bool,
    troubles: &mut Vec<Trouble>,
) -> (Vec<Root>, Vec<RootInfo>) {
    let (mut roots, mut infos) = (Vec::new(), Vec::new());
    for (spec, path) in expanded {
        let mount = mounts.and_then(|m| m.of(path));
        match Root::open_with(path, without_openat2).and_then(|root| root.top().stat_self().map(|stat| (root, stat))) {
            Ok((root, stat)) => {
                roots.push(root);
                infos.push(RootInfo {
                    spec: *spec,
                    path: path.as_os_str().as_bytes().to_vec(),
                    stat,
                    is_dir: true,
                    fs_type: mount.map(|m| m.fs_type.clone()).unwrap_or_default(),
                    mount_point: mounts.is_some_and(|m| m.is_mount_point(path)),
                });
            }
            Err(error) => troubles.push(trouble(*spec, path.as_os_str().as_bytes(), "open", &error)),
        }
    }
    (roots, infos)
}

/// All folders that match an absolute or relative path with `*`, `?` and `[…]` in some components.
fn matches(pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str();
        if !text.as_bytes().iter().any(|b| b"*?[{".contains(b)) {
            for path in &mut found {
                path.push(text);
            }
            continue;
        }
        let glob = text.to_str().ok_or_else(|| std::io::Error::other("the pattern is no UTF-8"))?;
        let glob = globset::GlobBuilder::new(glob).literal_separator(true).build().map_err(std::io::Error::other)?;
        let matcher = glob.compile_matcher();
        let mut next = Vec::new();
        for path in found {
            let base = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
            for entry in std::fs::read_dir(base)? {
                let entry = entry?;
                if matcher.is_match(entry.file_name()) && path.join(entry.file_name()).is_dir() {
                    next.push(path.join(entry.file_name()));
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.is_dir());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand_in_order_and_misses_are_told() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["daily.1/mail", "daily.0/mail", "weekly.0/mail", "daily.2"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let spec =
            |text: &str| RootSpec { path: folder.path().join(text).as_os_str().as_bytes().to_vec(), pattern: true };
        let (paths, troubles) = expand(&[spec("daily.*/mail"), spec("hourly.*")]);
        let names: Vec<_> = paths
            .iter()
            .map(|(n, p)| (*n, p.strip_prefix(folder.path().canonicalize().unwrap()).unwrap().to_owned()))
            .collect();
        assert_eq!(names, vec![(0, PathBuf::from("daily.0/mail")), (0, PathBuf::from("daily.1/mail"))]);
        assert_eq!(troubles.len(), 1);
        assert!(troubles[0].detail.contains("no folder matches"));
    }
}
