//! The folders that a lane may read: patterns expanded, paths made canonical, then opened.
//!
//! Runs in the lane only: expanding a pattern lists folders, and a listing may hang.

use super::serve::trouble;
use crate::model::wire::{RootInfo, RootSpec, Trouble};
use crate::model::{RelPath, Stamp, Stat};
use crate::store::{discover, mbox};
use crate::sys::dir::Root;
use crate::sys::mounts::Mounts;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The specification that it came from.
    pub spec: u32,
    /// Canonical.
    pub path: PathBuf,
    /// When the folder that the pattern's last wildcard matched was changed.
    pub matched: Option<Stamp>,
}

/// Expands every specification; sorted by name within a pattern. A folder that a pattern reaches twice, as by
/// restic's `latest`, is one folder.
pub fn expand(specs: &[RootSpec]) -> (Vec<Expanded>, Vec<Trouble>) {
    let (mut paths, mut troubles) = (Vec::new(), Vec::new());
    for (number, spec) in (0u32..).zip(specs) {
        let path = Path::new(OsStr::from_bytes(&spec.path));
        let found = if spec.pattern { matches(path) } else { Ok(vec![(path.to_owned(), None)]) };
        match found {
            Ok(found) if found.is_empty() => troubles.push(Trouble {
                root: number,
                path: spec.path.clone(),
                operation: "expand".to_owned(),
                errno: None,
                detail: "no folder matches the pattern".to_owned(),
            }),
            Ok(found) => {
                for (path, matched) in found {
                    match crate::sys::links::resolve(&path) {
                        Ok(path) if spec.pattern && known(&paths, number, &path) => {}
                        Ok(path) => paths.push(Expanded { spec: number, path, matched }),
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

fn known(paths: &[Expanded], spec: u32, path: &Path) -> bool {
    paths.iter().any(|other| other.spec == spec && other.path == path)
}

/// The paths, for the sandbox.
pub fn only_paths(expanded: &[Expanded]) -> Vec<PathBuf> {
    let beside = |one: &Expanded| {
        let folder = one.path.with_file_name(OsStr::from_bytes(beside(&one.path)?.as_bytes()));
        folder.is_dir().then_some(folder)
    };
    expanded.iter().flat_map(|one| [Some(one.path.clone()), beside(one)]).flatten().collect()
}

/// What belongs to a root that is one file: the indexes of the server, from its folder.
fn beside(path: &Path) -> Option<RelPath> {
    let name = RelPath::new(path.file_name()?.as_bytes()).ok()?;
    mbox::indexes(&name).filter(|_| path.is_file())
}

/// Opens every path; one that fails is a trouble and has no root.
pub fn open(
    expanded: &[Expanded],
    mounts: Option<&Mounts>,
    without_openat2: bool,
    troubles: &mut Vec<Trouble>,
) -> (Vec<Root>, Vec<RootInfo>) {
    let (mut roots, mut infos) = (Vec::new(), Vec::new());
    for Expanded { spec, path, matched } in expanded {
        let mount = mounts.and_then(|m| m.of(path));
        let opened = Root::open_with(path, without_openat2).map(|root| root.with_beside(beside(path)));
        match opened.and_then(top) {
            Ok((root, stat)) => {
                let is_dir = !root.is_file();
                roots.push(root);
                infos.push(RootInfo {
                    spec: *spec,
                    path: path.as_os_str().as_bytes().to_vec(),
                    changed: matched.unwrap_or(stat.mtime),
                    stat,
                    is_dir,
                    fs_type: mount.map(|m| m.fs_type.clone()).unwrap_or_default(),
                    mount_point: mounts.is_some_and(|m| m.is_mount_point(path)),
                });
            }
            Err(error) => troubles.push(trouble(*spec, path.as_os_str().as_bytes(), "open", &error)),
        }
    }
    (roots, infos)
}

/// The root with what it is. A file is one only if it may be an mbox: nothing else that is a file holds mail.
fn top(root: Root) -> std::io::Result<(Root, Stat)> {
    let (_, stat) = root.stat(&RelPath::root())?.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
    if root.is_file() && stat.size > 0 && !discover::begins_as_mbox(&root.open_file(&RelPath::root())?)? {
        return Err(rustix::io::Errno::NOTDIR.into());
    }
    Ok((root, stat))
}

/// All folders that match an absolute or relative path with `*`, `?` and `[…]` in some components, and when the
/// folder that the last of these matched was changed.
fn matches(pattern: &Path) -> std::io::Result<Vec<(PathBuf, Option<Stamp>)>> {
    let mut found = vec![(PathBuf::new(), None)];
    for component in pattern.components() {
        let text = component.as_os_str();
        if !text.as_bytes().iter().any(|b| b"*?[{".contains(b)) {
            for (path, _) in &mut found {
                path.push(text);
            }
            continue;
        }
        let glob = text.to_str().ok_or_else(|| std::io::Error::other("the pattern is no UTF-8"))?;
        let glob = globset::GlobBuilder::new(glob).literal_separator(true).build().map_err(std::io::Error::other)?;
        let matcher = glob.compile_matcher();
        let mut next = Vec::new();
        for (path, _) in found {
            let base = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
            for entry in std::fs::read_dir(base)? {
                let name = entry?.file_name();
                let matched = path.join(&name);
                if matcher.is_match(&name) && matched.is_dir() {
                    let changed = std::fs::metadata(&matched).ok().map(|m| Stamp { sec: m.mtime(), nsec: nsec(&m) });
                    next.push((matched, changed));
                }
            }
        }
        next.sort();
        found = next;
    }
    found.retain(|(path, _)| path.is_dir());
    Ok(found)
}

fn nsec(metadata: &std::fs::Metadata) -> u32 {
    u32::try_from(metadata.mtime_nsec()).unwrap_or_default()
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
            .map(|e| (e.spec, e.path.strip_prefix(folder.path().canonicalize().unwrap()).unwrap().to_owned()))
            .collect();
        assert_eq!(names, vec![(0, PathBuf::from("daily.0/mail")), (0, PathBuf::from("daily.1/mail"))]);
        assert_eq!(troubles.len(), 1);
        assert!(troubles[0].detail.contains("no folder matches"));
    }
    #[test]
    fn a_folder_that_a_pattern_reaches_twice_is_one_and_has_the_time_of_what_matched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("4f2a/mail")).unwrap();
        std::os::unix::fs::symlink("4f2a", folder.path().join("latest")).unwrap();
        let date = std::time::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 5);
        std::fs::File::open(folder.path().join("4f2a")).unwrap().set_modified(date).unwrap();
        let path = folder.path().join("*/mail").as_os_str().as_bytes().to_vec();
        let (paths, troubles) = expand(&[RootSpec { path, pattern: true }]);
        assert!(paths.len() == 1 && troubles.is_empty(), "{paths:?} {troubles:?}");
        assert_eq!(paths[0].matched, Some(Stamp { sec: 1_700_000_000, nsec: 5 }));
    }
}
