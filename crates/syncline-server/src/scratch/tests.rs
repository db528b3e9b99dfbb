//! What somebody holds stays, what nobody holds goes, and what is not ours is not touched.

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_a_killed_node_left_goes_and_what_one_holds_stays() {
    let data = tempfile::tempdir().unwrap();
    let place = |name: &str| data.path().join(name);
    // As one that was killed at work, and one that was killed before it had its lock.
    std::fs::create_dir(place(".scratch-killed")).unwrap();
    std::fs::write(place(".scratch-killed/lock"), "").unwrap();
    std::fs::write(place(".scratch-killed/upload"), vec![0; 1 << 16]).unwrap();
    std::fs::create_dir(place(".scratch-young")).unwrap();
    // Not ours: a directory without a lock, a file, a dataset.
    std::fs::create_dir_all(place(".scratch-other/files")).unwrap();
    std::fs::write(place(".scratch-file"), "x").unwrap();
    std::fs::create_dir(place("prices")).unwrap();
    let kept = [".scratch-file", ".scratch-other", "prices"];

    let first = ScratchDir::beside(data.path()).unwrap();
    std::fs::write(first.path(), "input").unwrap();
    assert_eq!(names(data.path()).len(), kept.len() + 1, "{:?}", names(data.path()));
    let second = ScratchDir::beside(data.path()).unwrap();
    assert_ne!(first.path(), first.path());
    assert_eq!(names(first.dir.path()).len(), 2, "a second node leaves the first one's files alone");
    drop(first);
    drop(second);
    assert_eq!(names(data.path()), kept);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    for scratch in [ScratchDir::beside(data.path()).unwrap(), ScratchDir::of_the_system().unwrap()] {
        let mode = std::fs::metadata(scratch.dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
